/* Bilinear upsampling along rows, for kernels_impl.h. */

static void upsample_row(int in_w, int out_w, int channels, const float *top, const float *bottom,
                         float weight, float *y) {
  for (int ox = 0; ox < out_w; ox++, y += channels) {
    const tinytl_upsample_tap t = tinytl_upsample_tap_at(ox, in_w, out_w);
    const ptrdiff_t left = (ptrdiff_t)t.first * channels, right = (ptrdiff_t)t.second * channels;
    const vf w00 = splat((1 - weight) * (1 - t.weight)), w01 = splat((1 - weight) * t.weight);
    const vf w10 = splat(weight * (1 - t.weight)), w11 = splat(weight * t.weight);
    for (int c = 0; c < channels; c += W) {
      const int lanes = channels - c < W ? channels - c : W;
      vf sum = load_lanes(y + c, lanes);
      sum += load_lanes(top + left + c, lanes) * w00;
      sum += load_lanes(top + right + c, lanes) * w01;
      sum += load_lanes(bottom + left + c, lanes) * w10;
      sum += load_lanes(bottom + right + c, lanes) * w11;
      store_lanes(y + c, sum, lanes);
    }
  }
}

enum { REACH = 8 /* output pixels of a row that are added to an input pixel at a time */ };

typedef struct reach {
  int n; /* up to REACH */
  ptrdiff_t at[REACH];
  float weights[REACH];
} reach;

/* dx[c] += sum over rows r and i of row_weights[r] * weights[i] * dy[r * row + at[i] + c] */
ALWAYS_INLINE void gather(const reach *from, int n_rows, const float *row_weights, const float *dy,
                          ptrdiff_t row, int channels, float *dx) {
  float weights[TINYTL_UPSAMPLE_ROWS][REACH];
  for (int r = 0; r < n_rows; r++)
    for (int i = 0; i < from->n; i++) weights[r][i] = row_weights[r] * from->weights[i];
  for (int c = 0; c < channels; c += W) {
    const int lanes = channels - c < W ? channels - c : W;
    vf sum = load_lanes(dx + c, lanes);
    for (int r = 0; r < n_rows; r++)
      for (int i = 0; i < from->n; i++)
        sum += load_lanes(dy + r * row + from->at[i] + c, lanes) * weights[r][i];
    store_lanes(dx + c, sum, lanes);
  }
}

static void upsample_row_grad(int in_w, int out_w, int channels, int n_rows, const float *weights,
                              const float *dy, float *dx) {
  const ptrdiff_t row = (ptrdiff_t)out_w * channels;
  int begin = 0; /* the first output that reaches input pixel x or a later one */
  for (int x = 0; x < in_w; x++, dx += channels) {
    reach from = {0};
    while (begin < out_w && tinytl_upsample_tap_at(begin, in_w, out_w).second < x) begin++;
    for (int ox = begin; ox < out_w; ox++) {
      const tinytl_upsample_tap t = tinytl_upsample_tap_at(ox, in_w, out_w);
      if (t.first > x) break;
      if (from.n == REACH) {
        gather(&from, n_rows, weights, dy, row, channels, dx);
        from.n = 0;
      }
      from.at[from.n] = (ptrdiff_t)ox * channels;
      from.weights[from.n++] = (t.first == x ? 1 - t.weight : 0) + (t.second == x ? t.weight : 0);
    }
    gather(&from, n_rows, weights, dy, row, channels, dx);
  }
}
