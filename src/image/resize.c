/* Separable resampling with a triangle filter as wide as the reduction, in fixed point: rows first,
 * rounded to 8 bits, then columns. The arithmetic is that of Pillow (src/libImaging/Resample.c),
 * so that a network sees the pixels that it was trained on. */
#include "image/image.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* 8 bits for the pixel and 2 spare ones, for the sign and for sums that exceed 1. */
#define PRECISION_BITS (32 - 8 - 2)
#define ROUND_HALF (1 << (PRECISION_BITS - 1))

/* The taps of every output pixel of one axis. */
typedef struct filter {
  int n_outputs, max_taps;
  int *first;       /* [n_outputs] first source pixel */
  int *n_taps;      /* [n_outputs] */
  int32_t *weights; /* [n_outputs][max_taps], sum 1 << PRECISION_BITS */
  int hi;           /* end of the source */
  bool is_paired;   /* weights lie as sum_pairs takes them */
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
                  .max_taps = (int)ceil(*scale < 1.0 ? 1.0 : *scale) * 2 + 1,
                  .hi = axis->hi};
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

/* ---- Two taps at a time ------------------------------------------------------------------- */

/* What follows is for rows; sums are the same to the bit. `sum_pairs`: those of an output's
 * colours, and a fourth without meaning. Of a pair of pixels eight bytes are loaded, two of them
 * behind it or, from_before, before it. */
#if defined(__SSE2__)
#define HAS_PAIRS true

enum { LOW_BITS = 11 }; /* of a weight: both halves of one fit into 16 bits with a sign */

/* Two weights, w and next: their upper halves, then their lower ones, in 16 bits each. */
static void pair_weights(int32_t *weights) {
  const int32_t w = weights[0], next = weights[1], low = (1 << LOW_BITS) - 1;
  weights[0] = w >> LOW_BITS | next >> LOW_BITS << 16;
  weights[1] = (w & low) | (next & low) << 16;
}

static inline __m128i sum_pairs(const uint8_t *pixel, const int32_t *weights, int n_taps,
                                bool from_before) {
  __m128i high = _mm_setzero_si128(), low = _mm_set1_epi32(ROUND_HALF);
  for (int t = 0; t < n_taps; t += 2, pixel += 6) {
    const __m128i loaded = _mm_loadl_epi64((const __m128i *)(pixel - 2 * from_before));
    const __m128i both = from_before ? _mm_srli_si128(loaded, 2) : loaded;  /* rgb RGB */
    const __m128i mixed = _mm_unpacklo_epi8(both, _mm_srli_si128(both, 3)); /* rR gG bB */
    const __m128i pairs = _mm_unpacklo_epi8(mixed, _mm_setzero_si128());    /* in 16 bits */
    high = _mm_add_epi32(high, _mm_madd_epi16(pairs, _mm_set1_epi32(weights[t])));
    low = _mm_add_epi32(low, _mm_madd_epi16(pairs, _mm_set1_epi32(weights[t + 1])));
  }
  return _mm_add_epi32(_mm_slli_epi32(high, LOW_BITS), low);
}

/* Four bytes, the first colour in the lowest. */
static inline uint32_t to_pixels(__m128i sums) {
  const __m128i values = _mm_srai_epi32(sums, PRECISION_BITS),
                words = _mm_packs_epi32(values, values);
  return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(words, words));
}

#elif defined(__ARM_NEON)
#define HAS_PAIRS true

static void pair_weights(int32_t *weights) {
  (void)weights; /* as they are */
}

static inline uint32x4_t sum_pairs(const uint8_t *pixel, const int32_t *weights, int n_taps,
                                   bool from_before) {
  uint32x4_t sums = vdupq_n_u32(ROUND_HALF);
  for (int t = 0; t < n_taps; t += 2, pixel += 6) {
    const uint8x8_t loaded = vld1_u8(pixel - 2 * from_before);
    const uint16x8_t both = vmovl_u8(from_before ? vext_u8(loaded, loaded, 2) : loaded);
    const uint16x8_t second = vextq_u16(both, both, 3);
    sums = vmlaq_n_u32(sums, vmovl_u16(vget_low_u16(both)), (uint32_t)weights[t]);
    sums = vmlaq_n_u32(sums, vmovl_u16(vget_low_u16(second)), (uint32_t)weights[t + 1]);
  }
  return sums;
}

static inline uint32_t to_pixels(uint32x4_t sums) {
  const uint16x4_t values = vqmovn_u32(vshrq_n_u32(sums, PRECISION_BITS));
  return vget_lane_u32(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(values, values))), 0);
}

#else
#define HAS_PAIRS false
#endif

#if HAS_PAIRS

/* Brings all outputs to the same even number of taps, with weights of 0, where the source is wide
 * enough for that and for a pixel more. */
static void pair_taps(filter *f, int lo, int hi) {
  int n_taps = 0;
  for (int i = 0; i < f->n_outputs; i++)
    if (f->n_taps[i] > n_taps) n_taps = f->n_taps[i];
  n_taps += n_taps % 2;
  f->is_paired = n_taps <= f->max_taps && n_taps < hi - lo;
  for (int i = 0; i < f->n_outputs && f->is_paired; i++) {
    int32_t *weights = f->weights + (size_t)i * f->max_taps;
    const int beyond = f->first[i] + n_taps - hi, shift = beyond > 0 ? beyond : 0;
    memmove(weights + shift, weights, (size_t)f->n_taps[i] * sizeof *weights);
    memset(weights, 0, (size_t)shift * sizeof *weights);
    f->first[i] -= shift;
    f->n_taps[i] = n_taps;
    for (int t = 0; t < n_taps; t += 2) pair_weights(weights + t);
  }
}

static void resample_row_pairs(const filter *f, const uint8_t *rgb, uint8_t *out) {
  const int n_taps = f->n_taps[0];
  for (int i = 0; i < f->n_outputs; i++) {
    const uint8_t *pixel = rgb + (size_t)f->first[i] * 3;
    const int32_t *weights = f->weights + (size_t)i * f->max_taps;
    const uint32_t bytes = f->first[i] + n_taps < f->hi
                               ? to_pixels(sum_pairs(pixel, weights, n_taps, false))
                               : to_pixels(sum_pairs(pixel, weights, n_taps, true));
    /* The fourth byte is the next output's first, which comes later. */
    memcpy(out + (size_t)i * 3, &bytes, i < f->n_outputs - 1 ? 4 : 3);
  }
}

#else

static void pair_taps(filter *f, int lo, int hi) {
  (void)f, (void)lo, (void)hi;
}

static void resample_row_pairs(const filter *f, const uint8_t *rgb, uint8_t *out) {
  (void)f, (void)rgb, (void)out; /* no filter is paired */
}

#endif

/* ---- The resizer -------------------------------------------------------------------------- */

static uint64_t filter_cost(const filter *f) {
  size_t n_outputs = (size_t)f->n_outputs, n_weights = count_weights(f);
  if (n_weights == SIZE_MAX) return SIZE_MAX / 4;
  return tinytl_budget_cost(n_outputs * sizeof *f->first) +
         tinytl_budget_cost(n_outputs * sizeof *f->n_taps) +
         tinytl_budget_cost(n_weights * sizeof *f->weights) +
         tinytl_budget_cost((size_t)f->max_taps * sizeof(double));
}

uint64_t tinytl_resizer_cost(const tinytl_axis *x, const tinytl_axis *y) {
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
  pair_taps(&self->x, x->lo, x->hi);
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
  if (f->is_paired) {
    resample_row_pairs(f, rgb, out);
    return;
  }
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
