/* Gradient of a depthwise convolution's weights by rows, for kernels_impl.h. */

enum {
  WEIGHT_SUMS = 9, /* taps whose sums are held in registers, at most */
  WEIGHT_GROUP = 4 /* outputs that share the loads of their inputs */
};

/* The terms of WEIGHT_GROUP outputs, all taps of which meet the row; x: of the first of them. */
ALWAYS_INLINE void weight_group(const float *const x[], const float *dy, ptrdiff_t pixel, int lanes,
                                const int n_rows, const int n_taps, const int stride, vf sum[]) {
  vf d[WEIGHT_GROUP];
  UNROLL for (int p = 0; p < WEIGHT_GROUP; p++) d[p] = load_lanes(dy + p * pixel, lanes);
  UNROLL for (int r = 0; r < n_rows; r++) {
    const float *source = opaque(x[r]);
    UNROLL for (int i = 0; i < (WEIGHT_GROUP - 1) * stride + n_taps; i++) {
      const vf v = held(load_lanes(source, lanes));
      UNROLL for (int p = 0; p < WEIGHT_GROUP; p++) {
        const int k = i - p * stride;
        if (k >= 0 && k < n_taps) sum[r * n_taps + k] += v * d[p];
      }
      source = opaque(source + pixel);
    }
  }
}

/* Rows [0, n_rows) of taps from row `ky` on, taps [kx, kx + n_taps) of each: the counts are known
 * to the compiler, their product is at most WEIGHT_SUMS, and none of the rows is NULL. stride: 0
 * where the compiler does not know it. */
ALWAYS_INLINE void weight_taps(const tinytl_depthwise_weight_row *t, int channel, int lanes, int ky,
                               const int n_rows, int kx, const int n_taps, const int stride) {
  const ptrdiff_t pixel = t->pixel, step = t->stride * t->pixel, tap = t->tap;
  const int first = kx - t->pad; /* input pixel of output 0 */
  float *dw = t->dw + (ky * t->kernel + kx) * tap + channel;
  const ptrdiff_t tap_row = t->kernel * tap;
  vf sum[WEIGHT_SUMS];
  UNROLL for (int r = 0; r < n_rows; r++) {
    UNROLL for (int k = 0; k < n_taps; k++) sum[r * n_taps + k] =
        load_lanes(dw + r * tap_row + k * tap, lanes);
  }
  const float *x[WEIGHT_SUMS];
  UNROLL for (int r = 0; r < n_rows; r++) x[r] = t->rows[ky + r] + first * pixel + channel;
  const float *dy = t->dy + channel;
  for (int j = 0; j < t->out_w;) {
    const int left = j * t->stride + first;
    const int right = left + (WEIGHT_GROUP - 1) * t->stride + n_taps;
    if (stride && left >= 0 && right <= t->in_w && j + WEIGHT_GROUP <= t->out_w) {
      weight_group(x, dy, pixel, lanes, n_rows, n_taps, stride, sum);
      UNROLL for (int r = 0; r < n_rows; r++) x[r] += WEIGHT_GROUP * step;
      dy += WEIGHT_GROUP * pixel;
      j += WEIGHT_GROUP;
      continue;
    }
    const vf d = load_lanes(dy, lanes);
    if (left >= 0 && left + n_taps <= t->in_w) {
      UNROLL for (int r = 0; r < n_rows; r++) {
        UNROLL for (int k = 0; k < n_taps; k++) sum[r * n_taps + k] +=
            load_lanes(x[r] + k * pixel, lanes) * d;
      }
    } else {
      UNROLL for (int r = 0; r < n_rows; r++) {
        UNROLL for (int k = 0; k < n_taps; k++) {
          if (left + k >= 0 && left + k < t->in_w)
            sum[r * n_taps + k] += load_lanes(x[r] + k * pixel, lanes) * d;
        }
      }
    }
    UNROLL for (int r = 0; r < n_rows; r++) x[r] += step;
    dy += pixel;
    j++;
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    UNROLL for (int k = 0; k < n_taps; k++)
        store_lanes(dw + r * tap_row + k * tap, sum[r * n_taps + k], lanes);
  }
}

/* One row of taps. */
ALWAYS_INLINE void weight_row(const tinytl_depthwise_weight_row *t, int channel, int lanes, int ky,
                              const int stride) {
  switch (t->kernel) {
  case 3:
    weight_taps(t, channel, lanes, ky, 1, 0, 3, stride);
    break;
  case 5:
    weight_taps(t, channel, lanes, ky, 1, 0, 5, stride);
    break;
  case 7:
    weight_taps(t, channel, lanes, ky, 1, 0, 7, stride);
    break;
  default:
    for (int kx = 0; kx < t->kernel; kx++) weight_taps(t, channel, lanes, ky, 1, kx, 1, 0);
  }
}

ALWAYS_INLINE void weight_channels(const tinytl_depthwise_weight_row *t, int channel, int lanes,
                                   const int stride) {
  if (t->kernel == 3 && t->rows[0] && t->rows[1] && t->rows[2]) {
    weight_taps(t, channel, lanes, 0, 3, 0, 3, stride);
    return;
  }
  for (int ky = 0; ky < t->kernel; ky++)
    if (t->rows[ky]) weight_row(t, channel, lanes, ky, stride);
}

ALWAYS_INLINE void weight_all_channels(const tinytl_depthwise_weight_row *t, const int stride) {
  int channel = 0;
  for (; channel + W <= t->channels; channel += W) weight_channels(t, channel, W, stride);
  if (channel < t->channels) weight_channels(t, channel, t->channels - channel, stride);
}

static void depthwise_weight_row(const tinytl_depthwise_weight_row *given) {
  const tinytl_depthwise_weight_row t = *given; /* which no store changes */
  if (t.stride == 1)
    weight_all_channels(&t, 1);
  else if (t.stride == 2)
    weight_all_channels(&t, 2);
  else
    weight_all_channels(&t, 0);
}
