/* Separable resampling with a triangle filter as wide as the reduction, in fixed point: rows first,
 * rounded to 8 bits, then columns. The arithmetic is that of Pillow (src/libImaging/Resample.c),
 * so that a network sees the pixels that it was trained on. */
#include "image/image.h"

#include <math.h>
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

/* Outputs and taps of an axis. */
static filter filter_shape(const tinytl_axis *axis, double *scale) {
  *scale = (double)(axis->end - axis->begin) / axis->out_size;
  return (filter){.n_outputs = axis->out_count,
                  .max_taps = (int)ceil(*scale < 1.0 ? 1.0 : *scale) * 2 + 1};
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

/* Elements of filter->weights; SIZE_MAX where they cannot be counted. */
static size_t count_weights(const filter *f) {
  size_t n;
  return tinytl_size_mul((size_t)f->n_outputs, (size_t)f->max_taps, &n) && n < SIZE_MAX / 16
             ? n
             : SIZE_MAX;
}

static bool filter_make(const tinytl_axis *axis, tinytl_budget *budget, filter *f) {
  double scale;
  *f = filter_shape(axis, &scale);
  size_t n_outputs = (size_t)f->n_outputs, n_weights = count_weights(f);
  if (n_weights == SIZE_MAX) {
    budget->exceeded = true;
    return false;
  }
  f->first = tinytl_budget_take(budget, n_outputs * sizeof *f->first);
  f->n_taps = tinytl_budget_take(budget, n_outputs * sizeof *f->n_taps);
  f->weights = tinytl_budget_take(budget, n_weights * sizeof *f->weights);
  double *weights = tinytl_budget_take(budget, (size_t)f->max_taps * sizeof *weights);
  if (tinytl_budget_failed(budget)) return false;
  memset(f->weights, 0, n_weights * sizeof *f->weights);
  filter_fill(axis, scale, f, weights);
  tinytl_budget_give(budget, weights);
  return true;
}

static size_t filter_cost(const filter *f) {
  size_t n_outputs = (size_t)f->n_outputs, n_weights = count_weights(f);
  if (n_weights == SIZE_MAX) return SIZE_MAX / 4;
  return tinytl_budget_cost(n_outputs * sizeof *f->first) +
         tinytl_budget_cost(n_outputs * sizeof *f->n_taps) +
         tinytl_budget_cost(n_weights * sizeof *f->weights) +
         tinytl_budget_cost((size_t)f->max_taps * sizeof(double));
}

size_t tinytl_resizer_cost(const tinytl_axis *x, const tinytl_axis *y) {
  double scale;
  const filter columns = filter_shape(x, &scale), rows = filter_shape(y, &scale);
  size_t row = (size_t)x->out_count * 3;
  return tinytl_budget_cost(sizeof(tinytl_resizer)) + filter_cost(&columns) + filter_cost(&rows) +
         tinytl_budget_cost((size_t)rows.max_taps * row) +
         tinytl_budget_cost(row * sizeof(int32_t));
}

tinytl_status tinytl_resizer_create(const tinytl_axis *x, const tinytl_axis *y, uint8_t *out,
                                    tinytl_budget *budget, tinytl_resizer **resizer,
                                    tinytl_error *error) {
  tinytl_resizer *self = tinytl_budget_take(budget, sizeof *self);
  if (!self) return tinytl_budget_fail(budget, error);
  *self = (tinytl_resizer){.out = out};
  if (!filter_make(x, budget, &self->x) || !filter_make(y, budget, &self->y))
    return tinytl_budget_fail(budget, error);
  size_t row = (size_t)x->out_count * 3;
  self->ring = tinytl_budget_take(budget, (size_t)self->y.max_taps * row);
  self->sums = tinytl_budget_take(budget, row * sizeof *self->sums);
  if (tinytl_budget_failed(budget)) return tinytl_budget_fail(budget, error);
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
