/* Sums over the pixels of channels, and group norm, for kernels_impl.h. A sum is made in float over
 * few pixels at a time and in double over those: large maps lose nothing. */

enum { SUM_PIXELS = 64 };

ALWAYS_INLINE void add_to_doubles(double *sums, vf v, int lanes) {
  float values[W];
  store(values, v);
  for (int i = 0; i < lanes; i++) sums[i] += values[i];
}

/* `lanes` channels from `channel`. The first pixel is subtracted before and added after: values far
 * from 0 lose nothing. */
ALWAYS_INLINE void sum_channels(const tinytl_channels *map, const float *x, int channel, int lanes,
                                double *sums) {
  x += channel;
  const vf origin = load_lanes(x, lanes);
  for (int i = 0; i < lanes; i++) sums[channel + i] = (double)map->n_pixels * x[i];
  for (int first = 0; first < map->n_pixels; first += SUM_PIXELS) {
    const int end = map->n_pixels - first < SUM_PIXELS ? map->n_pixels : first + SUM_PIXELS;
    vf sum = {0};
    for (int i = first; i < end; i++) sum += load_lanes(x + i * map->pixel, lanes) - origin;
    add_to_doubles(sums + channel, sum, lanes);
  }
}

static void channel_sums(const tinytl_channels *map, const float *x, double *sums) {
  int c = 0;
  for (; c + W <= map->channels; c += W) sum_channels(map, x, c, W, sums);
  if (c < map->channels) sum_channels(map, x, c, map->channels - c, sums);
}

ALWAYS_INLINE void square_channels(const tinytl_channels *map, const float *x, const float *mean,
                                   const float *rest, int channel, int lanes, double *sums) {
  const vf m = load_lanes(mean + channel, lanes), l = load_lanes(rest + channel, lanes);
  x += channel;
  for (int i = 0; i < lanes; i++) sums[channel + i] = 0;
  for (int first = 0; first < map->n_pixels; first += SUM_PIXELS) {
    const int end = map->n_pixels - first < SUM_PIXELS ? map->n_pixels : first + SUM_PIXELS;
    vf sum = {0};
    for (int i = first; i < end; i++) {
      const vf value = load_lanes(x + i * map->pixel, lanes) - m - l;
      sum += value * value;
    }
    add_to_doubles(sums + channel, sum, lanes);
  }
}

static void channel_squares(const tinytl_channels *map, const float *x, const float *mean,
                            const float *rest, double *sums) {
  int c = 0;
  for (; c + W <= map->channels; c += W) square_channels(map, x, mean, rest, c, W, sums);
  if (c < map->channels) square_channels(map, x, mean, rest, c, map->channels - c, sums);
}

ALWAYS_INLINE void normalise_channels(const tinytl_channels *map, const float *mean,
                                      const float *rest, const float *rstd, int channel, int lanes,
                                      float *x) {
  const vf m = load_lanes(mean + channel, lanes), l = load_lanes(rest + channel, lanes);
  const vf r = load_lanes(rstd + channel, lanes);
  x += channel;
  for (int i = 0; i < map->n_pixels; i++, x += map->pixel)
    store_lanes(x, (load_lanes(x, lanes) - m - l) * r, lanes);
}

static void normalise(const tinytl_channels *map, const float *mean, const float *rest,
                      const float *rstd, float *x) {
  int c = 0;
  for (; c + W <= map->channels; c += W) normalise_channels(map, mean, rest, rstd, c, W, x);
  if (c < map->channels) normalise_channels(map, mean, rest, rstd, c, map->channels - c, x);
}

/* Forward and backward must agree on the sign, hence one function. */
ALWAYS_INLINE vf scaled(vf x_hat, vf scale, vf shift) {
  return x_hat * scale + shift;
}

/* All channels of a pixel: the map is read and written in order. */
static void scale_shift(const tinytl_channels *map, const float *x_hat, const float *scale,
                        const float *shift, tinytl_act act, float *y) {
  const vf low = act_low(act), high = act_high(act);
  for (int i = 0; i < map->n_pixels; i++, x_hat += map->pixel, y += map->pixel) {
    int c = 0;
    for (; c + W <= map->channels; c += W)
      store(y + c, clamp(scaled(load(x_hat + c), load(scale + c), load(shift + c)), low, high));
    const int rest = map->channels - c;
    if (rest > 0) {
      const vf value =
          scaled(load_n(x_hat + c, rest), load_n(scale + c, rest), load_n(shift + c, rest));
      store_n(y + c, clamp(value, low, high), rest);
    }
  }
}

ALWAYS_INLINE void grad_sums_channels(const tinytl_channels *map, const float *x_hat,
                                      const float *scale, const float *shift, tinytl_act act,
                                      int channel, int lanes, float *dy, double *dscale,
                                      double *dshift) {
  const vf a = load_lanes(scale + channel, lanes), b = load_lanes(shift + channel, lanes);
  const vf high = act_high(act);
  x_hat += channel;
  dy += channel;
  for (int i = 0; i < lanes; i++) dscale[channel + i] = dshift[channel + i] = 0;
  for (int first = 0; first < map->n_pixels; first += SUM_PIXELS) {
    const int end = map->n_pixels - first < SUM_PIXELS ? map->n_pixels : first + SUM_PIXELS;
    vf sum = {0}, product = {0};
    for (int i = first; i < end; i++) {
      const vf value = load_lanes(x_hat + i * map->pixel, lanes);
      vf gradient = load_lanes(dy + i * map->pixel, lanes);
      if (act != TINYTL_ACT_NONE) {
        const vf y = scaled(value, a, b);
        gradient = (vf)((vi)gradient & (y > 0) & (y < high));
        store_lanes(dy + i * map->pixel, gradient, lanes);
      }
      sum += gradient;
      product += gradient * value;
    }
    add_to_doubles(dshift + channel, sum, lanes);
    add_to_doubles(dscale + channel, product, lanes);
  }
}

static void norm_grad_sums(const tinytl_channels *map, const float *x_hat, const float *scale,
                           const float *shift, tinytl_act act, float *dy, double *dscale,
                           double *dshift) {
  int c = 0;
  for (; c + W <= map->channels; c += W)
    grad_sums_channels(map, x_hat, scale, shift, act, c, W, dy, dscale, dshift);
  if (c < map->channels)
    grad_sums_channels(map, x_hat, scale, shift, act, c, map->channels - c, dy, dscale, dshift);
}

ALWAYS_INLINE void grad_channels(const tinytl_channels *map, const float *x_hat,
                                 const float *factor, const float *slope, const float *offset,
                                 int channel, int lanes, float *dy) {
  const vf f = load_lanes(factor + channel, lanes), s = load_lanes(slope + channel, lanes);
  const vf o = load_lanes(offset + channel, lanes);
  x_hat += channel;
  dy += channel;
  for (int i = 0; i < map->n_pixels; i++, x_hat += map->pixel, dy += map->pixel)
    store_lanes(dy, load_lanes(dy, lanes) * f - (load_lanes(x_hat, lanes) * s + o), lanes);
}

static void norm_grad(const tinytl_channels *map, const float *x_hat, const float *factor,
                      const float *slope, const float *offset, float *dy) {
  int c = 0;
  for (; c + W <= map->channels; c += W) grad_channels(map, x_hat, factor, slope, offset, c, W, dy);
  if (c < map->channels) grad_channels(map, x_hat, factor, slope, offset, c, map->channels - c, dy);
}
