/* Gradient of a depthwise convolution's weights by rows, for kernels_impl.h. */

enum { WEIGHT_SUMS = 9 /* taps whose sums are held in registers, at most */ };

/* Rows [0, n_rows) of taps from row `ky` on, taps [kx, kx + n_taps) of each: the counts are known
 * to the compiler, their product is at most WEIGHT_SUMS, and none of the rows is NULL. */
ALWAYS_INLINE void weight_taps(const tinytl_depthwise_weight_row *t, int channel, int lanes, int ky,
                               const int n_rows, int kx, const int n_taps) {
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
  for (int j = 0; j < t->out_w; j++, dy += pixel) {
    const int left = j * t->stride + first;
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
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    UNROLL for (int k = 0; k < n_taps; k++)
        store_lanes(dw + r * tap_row + k * tap, sum[r * n_taps + k], lanes);
  }
}

/* One row of taps. */
ALWAYS_INLINE void weight_row(const tinytl_depthwise_weight_row *t, int channel, int lanes,
                              int ky) {
  switch (t->kernel) {
  case 3:
    weight_taps(t, channel, lanes, ky, 1, 0, 3);
    break;
  case 5:
    weight_taps(t, channel, lanes, ky, 1, 0, 5);
    break;
  case 7:
    weight_taps(t, channel, lanes, ky, 1, 0, 7);
    break;
  default:
    for (int kx = 0; kx < t->kernel; kx++) weight_taps(t, channel, lanes, ky, 1, kx, 1);
  }
}

ALWAYS_INLINE void weight_channels(const tinytl_depthwise_weight_row *t, int channel, int lanes) {
  if (t->kernel == 3 && t->rows[0] && t->rows[1] && t->rows[2]) {
    weight_taps(t, channel, lanes, 0, 3, 0, 3);
    return;
  }
  for (int ky = 0; ky < t->kernel; ky++)
    if (t->rows[ky]) weight_row(t, channel, lanes, ky);
}

static void depthwise_weight_row(const tinytl_depthwise_weight_row *given) {
  const tinytl_depthwise_weight_row t = *given; /* which no store changes */
  int channel = 0;
  for (; channel + W <= t.channels; channel += W) weight_channels(&t, channel, W);
  if (channel < t.channels) weight_channels(&t, channel, t.channels - channel);
}
