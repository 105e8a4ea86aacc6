/* Updates of trained values, for kernels_impl.h. Every value is computed by the same operations,
 * whole vectors or not, so results do not depend on the cut. */

#define ADAM_EPS 1e-8f
#define SGD_MOMENTUM 0.9f
/* Its square is a float still. Adam's step hardly depends on how large a gradient is. */
#define MAX_GRADIENT 1e18f

/* One Adam step of `lanes` values at i from moments *m, *v, which become the new ones; the root of
 * the new v. */
ALWAYS_INLINE vf adam_step(const tinytl_update *u, size_t i, int lanes, vf *m, vf *v) {
  vf g = load_lanes(u->gradient + i, lanes) * u->gradient_scale;
  g = clamp(g, splat(-MAX_GRADIENT), splat(MAX_GRADIENT));
  *m += (float)(1 - TINYTL_ADAM_BETA1) * (g - *m);
  *v += (float)(1 - TINYTL_ADAM_BETA2) * (g * g - *v);
  const vf root = square_root(*v);
  const vf step = u->rate * *m / (root * u->root_correction + ADAM_EPS);
  store_lanes(u->values + i, load_lanes(u->values + i, lanes) - step, lanes);
  store_lanes(u->gradient + i, (vf){0}, lanes);
  return root;
}

ALWAYS_INLINE void adam_vector(const tinytl_update *u, size_t i, int lanes) {
  vf m = load_lanes(u->moment1 + i, lanes), v = load_lanes(u->moment2 + i, lanes);
  adam_step(u, i, lanes, &m, &v);
  store_lanes(u->moment1 + i, m, lanes);
  store_lanes(u->moment2 + i, v, lanes);
}

ALWAYS_INLINE void sgd_vector(const tinytl_update *u, size_t i, int lanes) {
  const vf g = load_lanes(u->gradient + i, lanes) * u->gradient_scale;
  const vf m = SGD_MOMENTUM * load_lanes(u->moment1 + i, lanes) + g;
  store_lanes(u->moment1 + i, m, lanes);
  store_lanes(u->values + i, load_lanes(u->values + i, lanes) - u->rate * m, lanes);
  store_lanes(u->gradient + i, (vf){0}, lanes);
}

/* The copies of *update tell the compiler that no store changes it. */
static void adam(const tinytl_update *update) {
  const tinytl_update u = *update;
  size_t i = 0;
  for (; i + W <= u.n; i += W) adam_vector(&u, i, W);
  if (i < u.n) adam_vector(&u, i, (int)(u.n - i));
}

static void sgd(const tinytl_update *update) {
  const tinytl_update u = *update;
  size_t i = 0;
  for (; i + W <= u.n; i += W) sgd_vector(&u, i, W);
  if (i < u.n) sgd_vector(&u, i, (int)(u.n - i));
}

/* ---- Moments in 8 bits (train/optimizer.h) ------------------------------------------------- */

#define M_CODES 127         /* and a sign */
#define M_TOP 260046848.0f  /* S(127) */
#define V_TOP 4227858432.0f /* S(255) */
#define MIN_MOST 1e-30f     /* what is smaller moves nothing, and M_TOP over it may overflow */
#define SIGN ((int32_t)0x80000000)
#define ONE 0x3f800000u /* bits of 1.0f */

/* S of a code: the float of bits 4 bits(code) - 3 bits(1), 0 for 0. */
ALWAYS_INLINE vf decode(vi code) {
  const vu bits = (vu) __builtin_convertvector(code, vf);
  return (vf)((vi)((bits << 2) - 3 * ONE) & (code > 0));
}

/* The code whose S is nearest to x: S undone, and rounded. */
ALWAYS_INLINE vi encode(vf x) {
  const vf y = (vf)(((vu)x >> 2) + 3 * (ONE / 4));
  return __builtin_convertvector(y + 0.5f, vi);
}

ALWAYS_INLINE float largest(vf v) {
  float most = v[0];
  for (int i = 1; i < W; i++) most = v[i] > most ? v[i] : most;
  return most;
}

/* A block of n values: a pass that updates, and one that encodes the new moments. whole: n is
 * TINYTL_MOMENT_BLOCK, known to the compiler. */
ALWAYS_INLINE void adam8_block(const tinytl_update *u, size_t first, size_t n, const bool whole) {
  vf m[TINYTL_MOMENT_BLOCK / W], root[TINYTL_MOMENT_BLOCK / W]; /* of v */
  uint8_t *code1 = u->code1 + first, *code2 = u->code2 + first;
  float *m_scale = &u->scale1[first / TINYTL_MOMENT_BLOCK];
  float *root_scale = &u->scale2[first / TINYTL_MOMENT_BLOCK];
  const float old_m_scale = *m_scale, old_root_scale = *root_scale;
  vf m_most = {0}, root_most = {0};
  for (size_t i = 0; i < n; i += W) {
    const int lanes = whole || n - i >= W ? W : (int)(n - i);
    const vi code = load_u8(code1 + i, lanes);
    vf new_m = decode(code & M_CODES) * old_m_scale;
    new_m = (vf)((vi)new_m | ((code << 24) & SIGN));
    vf v = decode(load_u8(code2 + i, lanes)) * old_root_scale;
    v *= v;
    root[i / W] = adam_step(u, first + i, lanes, &new_m, &v);
    m[i / W] = new_m;
    m_most = larger(m_most, (vf)((vi)new_m & ~SIGN));
    root_most = larger(root_most, root[i / W]);
  }
  const float m_max = largest(m_most), root_max = largest(root_most);
  *m_scale = m_max / M_TOP;
  *root_scale = root_max / V_TOP;
  const float per_m = m_max > MIN_MOST ? M_TOP / m_max : 0;
  const float per_root = root_max > MIN_MOST ? V_TOP / root_max : 0;
  for (size_t i = 0; i < n; i += W) {
    const int lanes = whole || n - i >= W ? W : (int)(n - i);
    const vi bits = (vi)m[i / W];
    const vi code = encode(root[i / W] * per_root);
    store_u8(code1 + i, encode((vf)(bits & ~SIGN) * per_m) | ((bits >> 24) & (M_CODES + 1)), lanes);
    store_u8(code2 + i, code - (code == 0), lanes); /* true is -1: no v becomes 0 */
  }
}

static void adam8(const tinytl_update *update) {
  const tinytl_update u = *update;
  size_t i = 0;
  for (; i + TINYTL_MOMENT_BLOCK <= u.n; i += TINYTL_MOMENT_BLOCK)
    adam8_block(&u, i, TINYTL_MOMENT_BLOCK, true);
  if (i < u.n) adam8_block(&u, i, u.n - i, false);
}
