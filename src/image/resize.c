/* Separable resampling with a triangle filter as wide as the reduction, in fixed point: rows first,
 * rounded to 8 bits, then columns. The arithmetic is that of Pillow (src/libImaging/Resample.c),
 * so that a network sees the pixels that it was trained on. */
#include "image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 8 bits for the pixel and 2 spare ones, for the sign and for sums that exceed 1. */
#define PRECISION_BITS (32 - 8 - 2)
#define ROUND_HALF (1 << (PRECISION_BITS - 1))

/* The taps of every output pixel of one axis. */
typedef struct filter {
  int n_outputs, max_taps;
  int *first;       /* [n_outputs] first source pixel */
  int *n_taps;      /* [n_outputs] */
  int32_t *weights; /* [n_outputs][max_taps], sum 1 << PRECISION_BITS */
} filter;

struct tinytl_resizer {
  filter x, y;
  uint8_t *out;   /* [y.n_outputs][x.n_outputs][3] */
  uint8_t *ring;  /* [y.max_taps][x.n_outputs][3] rows after the horizontal pass, row y at
                     y % max_taps */
  int32_t *sums;  /* [x.n_outputs][3] */
  int n_finished; /* output rows */
};

static double triangle(double x) {
  x = fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

static int last_tap(const filter *f, int output) {
  return f->first[output] + f->n_taps[output] - 1;
}

/* `weights` is room for max_taps values. */
static void filter_fill(const tinytl_axis *axis, double scale, filter *f, double *weights) {
  double stretch = scale < 1.0 ? 1.0 : scale, support = stretch;
  for (int i = 0; i < f->n_outputs; i++) {
    double centre = axis->begin + ((double)axis->out_first + i + 0.5) * scale, sum = 0;
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    if (first < axis->lo) first = axis->lo;
    if (end > axis->hi) end = axis->hi;
    f->first[i] = first;
    f->n_taps[i] = end - first;
    for (int t = 0; t < end - first; t++) {
      weights[t] = triangle((t + first - centre + 0.5) / stretch);
      sum += weights[t];
    }
    for (int t = 0; t < end - first; t++)
      f->weights[(size_t)i * f->max_taps + t] =
          (int32_t)(0.5 + weights[t] / sum * (1 << PRECISION_BITS));
  }
}

static tinytl_status filter_make(const tinytl_axis *axis, filter *f, tinytl_error *error) {
  double scale = (double)(axis->end - axis->begin) / axis->out_size;
  f->n_outputs = axis->out_count;
  f->max_taps = (int)ceil(scale < 1.0 ? 1.0 : scale) * 2 + 1;
  size_t n_weights;
  if (!tinytl_size_mul((size_t)f->n_outputs, (size_t)f->max_taps, &n_weights) ||
      n_weights > SIZE_MAX / sizeof *f->weights)
    return tinytl_fail_memory(error, SIZE_MAX);
  f->first = calloc((size_t)f->n_outputs, sizeof *f->first);
  f->n_taps = calloc((size_t)f->n_outputs, sizeof *f->n_taps);
  f->weights = calloc(n_weights, sizeof *f->weights);
  double *weights = calloc((size_t)f->max_taps, sizeof *weights);
  bool made = f->first && f->n_taps && f->weights && weights;
  if (made) filter_fill(axis, scale, f, weights);
  free(weights);
  return made ? TINYTL_OK : tinytl_fail_memory(error, n_weights * sizeof *f->weights);
}

static void filter_free(filter *f) {
  free(f->first);
  free(f->n_taps);
  free(f->weights);
}

tinytl_status tinytl_resizer_create(const tinytl_axis *x, const tinytl_axis *y, uint8_t *out,
                                    tinytl_resizer **resizer, tinytl_error *error) {
  tinytl_resizer *self = calloc(1, sizeof *self);
  if (!self) return tinytl_fail_memory(error, sizeof *self);
  self->out = out;
  tinytl_status status = filter_make(x, &self->x, error);
  if (status == TINYTL_OK) status = filter_make(y, &self->y, error);
  if (status == TINYTL_OK) {
    size_t row = (size_t)x->out_count * 3;
    self->ring = calloc((size_t)self->y.max_taps, row);
    self->sums = calloc(row, sizeof *self->sums);
    if (!self->ring || !self->sums) status = tinytl_fail_memory(error, self->y.max_taps * row);
  }
  if (status != TINYTL_OK) {
    tinytl_resizer_free(self);
    return status;
  }
  *resizer = self;
  return TINYTL_OK;
}

static uint8_t to_pixel(int32_t sum) {
  sum >>= PRECISION_BITS;
  return sum > 255 ? 255 : (uint8_t)sum;
}

static void resample_row(const filter *f, const uint8_t *rgb, uint8_t *out) {
  for (int i = 0; i < f->n_outputs; i++) {
    const uint8_t *pixel = rgb + (size_t)f->first[i] * 3;
    const int32_t *weights = f->weights + (size_t)i * f->max_taps;
    int32_t r = ROUND_HALF, g = ROUND_HALF, b = ROUND_HALF;
    for (int t = 0; t < f->n_taps[i]; t++, pixel += 3) {
      r += pixel[0] * weights[t];
      g += pixel[1] * weights[t];
      b += pixel[2] * weights[t];
    }
    *out++ = to_pixel(r);
    *out++ = to_pixel(g);
    *out++ = to_pixel(b);
  }
}

/* Output row `output` from the rows of the ring. */
static void resample_column(tinytl_resizer *self, int output) {
  const filter *f = &self->y;
  const int32_t *weights = f->weights + (size_t)output * f->max_taps;
  size_t n = (size_t)self->x.n_outputs * 3;
  int32_t *restrict sums = self->sums;
  for (size_t i = 0; i < n; i++) sums[i] = ROUND_HALF;
  for (int t = 0; t < f->n_taps[output]; t++) {
    const uint8_t *restrict row = self->ring + (size_t)((f->first[output] + t) % f->max_taps) * n;
    int32_t weight = weights[t];
    for (size_t i = 0; i < n; i++) sums[i] += row[i] * weight;
  }
  uint8_t *restrict out = self->out + (size_t)output * n;
  for (size_t i = 0; i < n; i++) out[i] = to_pixel(sums[i]);
}

void tinytl_resizer_row(tinytl_resizer *self, int y, const uint8_t *rgb) {
  const filter *f = &self->y;
  if (y < f->first[0] || self->n_finished == f->n_outputs) return;
  size_t n = (size_t)self->x.n_outputs * 3;
  resample_row(&self->x, rgb, self->ring + (size_t)(y % f->max_taps) * n);
  while (self->n_finished < f->n_outputs && last_tap(f, self->n_finished) <= y)
    resample_column(self, self->n_finished++);
}

void tinytl_resizer_free(tinytl_resizer *self) {
  if (!self) return;
  filter_free(&self->x);
  filter_free(&self->y);
  free(self->ring);
  free(self->sums);
  free(self);
}
