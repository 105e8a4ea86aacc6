/* Updates of trained values, for kernels_impl.h. Every value is computed by the same operations,
 * whole vectors or not, so results do not depend on the cut. */

#define ADAM_EPS 1e-8f
#define SGD_MOMENTUM 0.9f
#define MAX_GRADIENT 1e18f /* its square is a float still; Adam's step is the same from there on \
                            */

ALWAYS_INLINE vf load_lanes(const float *p, int lanes) {
  return lanes == W ? load(p) : load_n(p, lanes);
}
ALWAYS_INLINE void store_lanes(float *p, vf v, int lanes) {
  if (lanes == W)
    store(p, v);
  else
    store_n(p, v, lanes);
}
ALWAYS_INLINE int lanes_at(size_t i, size_t n) {
  return n - i < W ? (int)(n - i) : W;
}

/* One Adam step of `lanes` values at i from moments *m, *v, which become the new ones. */
ALWAYS_INLINE void adam_step(const tinytl_update *u, size_t i, int lanes, vf *m, vf *v) {
  vf g = load_lanes(u->gradient + i, lanes) * u->gradient_scale;
  g = clamp(g, splat(-MAX_GRADIENT), splat(MAX_GRADIENT));
  *m += (float)(1 - TINYTL_ADAM_BETA1) * (g - *m);
  *v += (float)(1 - TINYTL_ADAM_BETA2) * (g * g - *v);
  const vf step = u->rate * *m / (square_root(*v * u->correction2) + ADAM_EPS);
  store_lanes(u->values + i, load_lanes(u->values + i, lanes) - step, lanes);
  store_lanes(u->gradient + i, (vf){0}, lanes);
}

static void adam(const tinytl_update *u) {
  for (size_t i = 0; i < u->n; i += W) {
    const int lanes = lanes_at(i, u->n);
    vf m = load_lanes(u->moment1 + i, lanes), v = load_lanes(u->moment2 + i, lanes);
    adam_step(u, i, lanes, &m, &v);
    store_lanes(u->moment1 + i, m, lanes);
    store_lanes(u->moment2 + i, v, lanes);
  }
}

static void sgd(const tinytl_update *u) {
  for (size_t i = 0; i < u->n; i += W) {
    const int lanes = lanes_at(i, u->n);
    const vf g = load_lanes(u->gradient + i, lanes) * u->gradient_scale;
    const vf m = SGD_MOMENTUM * load_lanes(u->moment1 + i, lanes) + g;
    store_lanes(u->moment1 + i, m, lanes);
    store_lanes(u->values + i, load_lanes(u->values + i, lanes) - u->rate * m, lanes);
    store_lanes(u->gradient + i, (vf){0}, lanes);
  }
}

/* ---- Moments in 8 bits --------------------------------------------------------------------- */

/* One block, n <= TINYTL_MOMENT_BLOCK. Of m, codes are signed square roots, of v fourth roots:
 *   m = scale1 (c1 / 127) |c1 / 127|, v = scale2 (c2 / 255)^4
 * with the largest of the block as its scale. No v becomes 0, as m over its root would explode. */
static void adam8_block(const tinytl_update *u, size_t first, size_t n) {
  float m_root[TINYTL_MOMENT_BLOCK], v_root[TINYTL_MOMENT_BLOCK];
  const size_t block = first / TINYTL_MOMENT_BLOCK;
  const float m_unit = u->scale1[block], v_unit = u->scale2[block];
  float m_most = 0, v_most = 0;
  for (size_t i = 0; i < n; i += W) {
    const int lanes = lanes_at(i, n);
    vf c1 = {0}, c2 = {0};
    for (int l = 0; l < lanes; l++) {
      c1[l] = u->code1[first + i + l];
      c2[l] = u->code2[first + i + l];
    }
    vf m = c1 * (vf)((vi)c1 & 0x7fffffff) * m_unit, v = c2 * c2 * v_unit;
    v *= v;
    adam_step(u, first + i, lanes, &m, &v);
    const vf magnitude = square_root((vf)((vi)m & 0x7fffffff));
    v = square_root(square_root(v));
    for (int l = 0; l < lanes; l++) {
      if (magnitude[l] > m_most) m_most = magnitude[l];
      if (v[l] > v_most) v_most = v[l];
    }
    m = (vf)((vi)magnitude | ((vi)m & (int32_t)0x80000000));
    memcpy(m_root + i, &m, (size_t)lanes * sizeof(float));
    memcpy(v_root + i, &v, (size_t)lanes * sizeof(float));
  }
  const float m_scale = m_most > 0 ? 127 / m_most : 0, v_scale = v_most > 0 ? 255 / v_most : 0;
  for (size_t i = 0; i < n; i++) {
    const float c2 = v_root[i] * v_scale;
    u->code1[first + i] = (int8_t)lrintf(m_root[i] * m_scale);
    u->code2[first + i] = (uint8_t)(c2 < 1 && c2 > 0 ? 1 : lrintf(c2));
  }
  u->scale1[block] = m_most * m_most / (127 * 127);
  u->scale2[block] = v_most * v_most / (255 * 255);
}

static void adam8(const tinytl_update *u) {
  for (size_t i = 0; i < u->n; i += TINYTL_MOMENT_BLOCK)
    adam8_block(u, i, u->n - i < TINYTL_MOMENT_BLOCK ? u->n - i : TINYTL_MOMENT_BLOCK);
}
