/* Depthwise convolution by rows, for kernels_impl.h.
 *
 * A group of neighbouring outputs is summed at a time, so that a source is loaded once for all of
 * them; channels run inside, in vectors. Source x of a group meets output p at tap
 *
 *     x - p * stride                                         forward; backward at stride 1
 *     p + (n_taps - 1) / stride * stride - x * stride        "spread": backward at other strides
 *
 * where there is such a tap, which the compiler knows for kernels 3, 5 and 7. At an edge the range
 * of the group's sources is cut, once for all rows and channels, and outputs beyond it are dropped.
 * Every sum runs over rows, then sources from left to right (where they are
 * spread, of other kernels, from right to left), whatever the group. Other kernels and
 * strides are summed an output at a time. */

typedef struct strip {
  int n_rows;
  const float *rows[TINYTL_MAX_KERNEL], *taps[TINYTL_MAX_KERNEL];
  ptrdiff_t tap_step; /* floats from tap to tap; negative: backwards */
  int n_taps, stride;
  bool spread;
  int pad; /* output j meets source 0 at tap pad - j * stride; spread: at tap j + pad */
  int in_w, out_w, channels;
  ptrdiff_t pixel;
  float *y;
  bool accumulate;
  const float *bias; /* NULL: no epilogue */
  tinytl_act act;
  uint8_t *mask;
  ptrdiff_t mask_pixel;
} strip;

/* Outputs of a group: with a row's taps and a source they fill 16 registers at kernel 7. Maps are
 * mostly multiples of 7 or 4 wide; where sources are spread, groups begin at multiples of 2. */
enum { GROUP = 7, SPREAD_GROUP = 8, SMALL_GROUP = 4 };

/* The outputs [first, end) of a group from pixel j on become the sums. */
ALWAYS_INLINE void put_outputs(const strip *s, int j, int first, int end, int channel, int lanes,
                               const int n, vf sum[]) {
  if (s->bias) {
    const vf low = act_low(s->act), high = act_high(s->act);
    if (s->mask) {
      uint8_t *mask = opaque(s->mask + j * s->mask_pixel);
      UNROLL for (int p = 0; p < n; p++, mask += s->mask_pixel) {
        if (p >= first && p < end)
          put_bits(mask, channel, act_bits(sum[p], low, high, lanes), lanes);
      }
    }
    UNROLL for (int p = 0; p < n; p++) sum[p] = clamp(sum[p], low, high);
  }
  float *y = opaque(s->y + j * s->pixel + channel);
  UNROLL for (int p = 0; p < n; p++, y = opaque(y + s->pixel)) {
    if (p >= first && p < end) store_lanes(y, sum[p], lanes);
  }
}

/* The sums begin with what is there, or the bias. */
ALWAYS_INLINE void get_outputs(const strip *s, int j, int first, int end, int channel, int lanes,
                               const int n, vf sum[]) {
  const vf bias = s->bias ? load_lanes(s->bias + channel, lanes) : (vf){0};
  UNROLL for (int p = 0; p < n; p++) sum[p] = bias;
  if (!s->accumulate) return;
  const float *y = opaque(s->y + j * s->pixel + channel);
  UNROLL for (int p = 0; p < n; p++, y = opaque(y + s->pixel)) {
    if (p >= first && p < end) sum[p] = load_lanes(y, lanes);
  }
}

/* What row r adds to the sums of a group, of whose sources [low, high) are there; cut: that is not
 * all of them. */
ALWAYS_INLINE void add_row(const strip *s, int r, int left, int low, int high, int channel,
                           int lanes, const int n, const int n_taps, const int stride,
                           const bool spread, const bool cut, vf sum[]) {
  const int reach = (n_taps - 1) / stride;
  const int n_sources = spread ? (n - 1) / stride + reach + 1 : (n - 1) * stride + n_taps;
  const float *source = opaque(s->rows[r] + left * s->pixel + channel);
  const float *taps = opaque(s->taps[r] + channel);
  vf tap[7];
  UNROLL for (int t = 0; t < n_taps; t++, taps = opaque(taps + s->tap_step)) tap[t] = load(taps);
  UNROLL for (int x = 0; x < n_sources; x++, source = opaque(source + s->pixel)) {
    if (cut && (x < low || x >= high)) continue;
    const vf v = held(load_lanes(source, lanes));
    UNROLL for (int p = 0; p < n; p++) {
      const int t = spread ? p + (reach - x) * stride : x - p * stride;
      if (t >= 0 && t < n_taps) sum[p] += v * tap[t];
    }
  }
}

/* All channels from `channel` on, `lanes` at a time, of the group of n outputs from pixel j on.
 * cut: it may reach beyond the map, else all of its sources and outputs are there. n_rows: 0 where
 * the compiler does not know it. */
ALWAYS_INLINE void sum_group(const strip *s, int j, int channel, int lanes, const int n,
                             const int n_rows, const int n_taps, const int stride,
                             const bool spread, const bool cut) {
  const int left = spread ? (j + s->pad) / stride - (n_taps - 1) / stride : j * stride - s->pad;
  const int low = -left, high = s->in_w - left;
  const int first = cut && j < 0 ? -j : 0;
  const int end = cut && s->out_w - j < n ? s->out_w - j : n;
  for (; channel + lanes <= s->channels; channel += lanes) {
    vf sum[SPREAD_GROUP];
    get_outputs(s, j, first, end, channel, lanes, n, sum);
    UNROLL for (int r = 0; r < n_rows; r++)
        add_row(s, r, left, low, high, channel, lanes, n, n_taps, stride, spread, cut, sum);
    for (int r = 0; n_rows == 0 && r < s->n_rows; r++)
      add_row(s, r, left, low, high, channel, lanes, n, n_taps, stride, spread, cut, sum);
    put_outputs(s, j, first, end, channel, lanes, n, sum);
  }
}

ALWAYS_INLINE bool is_inside(const strip *s, int j, const int n, const int n_taps, const int stride,
                             const bool spread) {
  const int last = j + n - 1;
  const int left = spread ? (j + s->pad) / stride - (n_taps - 1) / stride : j * stride - s->pad;
  const int right = spread ? (last + s->pad) / stride : last * stride - s->pad + n_taps - 1;
  return j >= 0 && last < s->out_w && left >= 0 && right < s->in_w;
}

ALWAYS_INLINE void sum_row(const strip *s, const int n_rows, const int n_taps, const int stride,
                           const bool spread) {
  const int n = spread ? SPREAD_GROUP : GROUP;
  const int begin = spread ? -(s->pad % stride) : 0;
  for (int j = begin; j < s->out_w;) {
    const int wanted = s->out_w - j;
    if (wanted % n == 0 || (wanted > SMALL_GROUP && wanted % SMALL_GROUP != 0)) {
      if (is_inside(s, j, n, n_taps, stride, spread))
        sum_group(s, j, 0, W, n, n_rows, n_taps, stride, spread, false);
      else
        sum_group(s, j, 0, W, n, n_rows, n_taps, stride, spread, true);
      j += n;
    } else {
      sum_group(s, j, 0, W, SMALL_GROUP, 0, n_taps, stride, spread, true);
      j += SMALL_GROUP;
    }
  }
  const int lanes = s->channels % W;
  for (int j = begin; lanes > 0 && j < s->out_w; j += SMALL_GROUP)
    sum_group(s, j, s->channels - lanes, lanes, SMALL_GROUP, 0, n_taps, stride, spread, true);
}

/* Any kernel and stride, an output at a time. */
ALWAYS_INLINE void sum_any_row(const strip *s) {
  for (int j = 0; j < s->out_w; j++) {
    const int tap = s->spread ? (j + s->pad) % s->stride : 0; /* and every step-th from it */
    const int step = s->spread ? s->stride : 1;
    const int source = s->spread ? (j + s->pad) / s->stride : j * s->stride - s->pad;
    for (int channel = 0; channel < s->channels; channel += W) {
      const int lanes = s->channels - channel < W ? s->channels - channel : W;
      vf sum[1];
      get_outputs(s, j, 0, 1, channel, lanes, 1, sum);
      for (int r = 0; r < s->n_rows; r++)
        for (int t = tap, x = source; t < s->n_taps; t += step, x += s->spread ? -1 : 1)
          if (x >= 0 && x < s->in_w)
            sum[0] += load_lanes(s->rows[r] + x * s->pixel + channel, lanes) *
                      load(s->taps[r] + t * s->tap_step + channel);
      put_outputs(s, j, 0, 1, channel, lanes, 1, sum);
    }
  }
}

/* Kernels 3, 5 and 7 at strides 1 and 2; rows 0: any number. */
#define KNOWN(rows, taps, step, is_spread)                                               \
  if (((rows) == 0 || s.n_rows == (rows)) && s.n_taps == (taps) && s.stride == (step) && \
      s.spread == (is_spread)) {                                                         \
    sum_row(&s, rows, taps, step, is_spread);                                            \
    return;                                                                              \
  }

/* The strip is a local variable so that the compiler knows that no store changes it. */
static void any_row(const tinytl_depthwise_row *row, bool gradient) {
  const bool flip = gradient && row->stride == 1; /* from the last tap to the first */
  strip s = {.tap_step = flip ? -row->tap : row->tap,
             .n_taps = row->kernel,
             .stride = row->stride,
             .spread = gradient && !flip,
             .pad = flip ? row->kernel - 1 - row->pad : row->pad,
             .in_w = row->in_w,
             .out_w = row->out_w,
             .channels = row->channels,
             .pixel = row->pixel,
             .y = row->y,
             .accumulate = row->accumulate,
             .bias = row->bias,
             .act = row->act,
             .mask = row->mask,
             .mask_pixel = row->mask_pixel};
  for (int ky = 0; ky < row->kernel; ky++) {
    if (!row->rows[ky]) continue;
    s.rows[s.n_rows] = row->rows[ky];
    s.taps[s.n_rows++] = row->taps + ((ky + flip) * row->kernel - flip) * row->tap;
  }
  KNOWN(3, 3, 1, false)
  KNOWN(0, 3, 1, false)
  KNOWN(0, 5, 1, false)
  KNOWN(0, 7, 1, false)
  KNOWN(3, 3, 2, false)
  KNOWN(0, 3, 2, false)
  KNOWN(0, 5, 2, false)
  KNOWN(0, 7, 2, false)
  KNOWN(1, 3, 2, true)
  KNOWN(2, 3, 2, true)
  KNOWN(0, 5, 2, true)
  KNOWN(0, 7, 2, true)
  sum_any_row(&s);
}

static void depthwise_row(const tinytl_depthwise_row *row) {
  any_row(row, false);
}

/* dx[ix] sums dy[(ix + pad - kx) / stride] * taps[kx] over the kx that divide: at stride 1 a
 * correlation with the flipped taps. */
static void depthwise_row_grad(const tinytl_depthwise_row *row) {
  any_row(row, true);
}
