#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"

typedef struct shape {
  int n_pixels, channels;
  tinytl_act act;
} shape;

/* 2 pixels, odd channel counts, several chunks and tasks, a chunk that is not full. */
static const shape SHAPES[] = {{2, 8, TINYTL_ACT_NONE},    {3, 1, TINYTL_ACT_RELU},
                               {49, 17, TINYTL_ACT_RELU6}, {150, 37, TINYTL_ACT_RELU6},
                               {7, 3, TINYTL_ACT_RELU},    {40, 1030, TINYTL_ACT_NONE}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

/* params: x [n_pixels][channels], scale, shift [channels]. */
static void reference(const void *context, const double *params, double *y) {
  const shape *s = context;
  const double *scale = params + s->n_pixels * s->channels, *shift = scale + s->channels;
  for (int c = 0; c < s->channels; c++) {
    double mean = 0, variance = 0;
    for (int i = 0; i < s->n_pixels; i++) mean += params[i * s->channels + c] / s->n_pixels;
    for (int i = 0; i < s->n_pixels; i++)
      variance += pow(params[i * s->channels + c] - mean, 2) / s->n_pixels;
    for (int i = 0; i < s->n_pixels; i++) {
      double x_hat = (params[i * s->channels + c] - mean) / sqrt(variance + 1e-3);
      double value = x_hat * scale[c] + shift[c];
      if (s->act != TINYTL_ACT_NONE) value = fmax(value, 0);
      if (s->act == TINYTL_ACT_RELU6) value = fmin(value, 6);
      y[i * s->channels + c] = value;
    }
  }
}

static size_t n_params_of(const shape *s) {
  return (size_t)s->n_pixels * s->channels + 2 * s->channels;
}

/* Some outputs near 6, none on an edge. */
static float *random_params(const shape *s, uint64_t seed) {
  float *params = op_random(n_params_of(s), seed);
  float *scale = params + (size_t)s->n_pixels * s->channels;
  for (int c = 0; c < s->channels; c++) scale[c] *= 3;
  return params;
}

/* out: y, then the gradients of x, scale and shift. */
static void step(const tinytl_run *given, const shape *s, const float *params, const float *dy,
                 float *out) {
  const size_t n = (size_t)s->n_pixels * s->channels, channels = s->channels;
  const float *scale = params + n, *shift = scale + channels;
  float *sums = malloc(4 * channels * sizeof(float)), *dx = out + n;
  tinytl_run run = *given;
  run.scratch = aligned_alloc(64, tinytl_round_up(tinytl_batch_norm_scratch(s->channels), 64));
  const tinytl_batch_norm norm = {.mean = sums,
                                  .var = sums + channels,
                                  .slope = sums + 2 * channels,
                                  .offset = sums + 3 * channels,
                                  .act = s->act};
  tinytl_batch_norm_statistics(&run, s->n_pixels, s->channels, params, sums, sums + channels);
  tinytl_batch_norm_fold(s->channels, sums, sums + channels, scale, shift, sums + 2 * channels,
                         sums + 3 * channels);
  tinytl_batch_norm_forward(&run, s->n_pixels, s->channels, &norm, params, NULL, out);
  memcpy(dx, dy, n * sizeof(float));
  tinytl_batch_norm_backward(&run, s->n_pixels, s->channels, &norm, params, dx, dx + n,
                             dx + n + channels);
  free(sums);
  free(run.scratch);
}

static void check_forward_and_gradients(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    size_t n = (size_t)s->n_pixels * s->channels, n_params = n_params_of(s);
    float *params = random_params(s, i), *dy = op_random(n, 100 + i);
    float *out = calloc(n + n_params, sizeof(float));
    double *wide = op_widen(params, n_params), *y = calloc(n, sizeof(double));
    step(run, s, params, dy, out);
    reference(s, wide, y);
    assert_true(op_error(out, y, n) < 1e-5);
    if (n_params < 10000)
      assert_true(op_gradient_error(reference, s, params, n_params, dy, n, out + n) < 1e-4);
    free(params);
    free(dy);
    free(out);
    free(wide);
    free(y);
  }
}

/* Far from 0 beside its deviation, over many chunks: sums of squares would lose the variance. */
static void check_large_mean(const tinytl_run *run) {
  enum { PIXELS = 60 * 60, CHANNELS = 24 };
  float *x = op_random(PIXELS * CHANNELS, 7), mean[CHANNELS], var[CHANNELS];
  tinytl_run own = *run;
  own.scratch = aligned_alloc(64, tinytl_round_up(tinytl_batch_norm_scratch(CHANNELS), 64));
  for (int i = 0; i < PIXELS * CHANNELS; i++) x[i] += 1000;
  tinytl_batch_norm_statistics(&own, PIXELS, CHANNELS, x, mean, var);
  for (int c = 0; c < CHANNELS; c++) {
    double exact = 0, squares = 0;
    for (int i = 0; i < PIXELS; i++) exact += (double)x[i * CHANNELS + c] / PIXELS;
    for (int i = 0; i < PIXELS; i++) squares += pow(x[i * CHANNELS + c] - exact, 2) / PIXELS;
    assert_true(fabs(mean[c] - exact) < 1e-4);
    assert_true(fabs(var[c] - squares) < 1e-5 * squares);
  }
  free(x);
  free(own.scratch);
}

static void check_residual_is_added_after_the_activation(const tinytl_run *run) {
  const float x[4] = {-1, 2, 1, 8}, slope[2] = {1, 2}, offset[2] = {0, -1};
  const float residual[4] = {10, 20, 30, 40}, expected[4] = {10, 23, 31, 46};
  const tinytl_batch_norm norm = {.slope = slope, .offset = offset, .act = TINYTL_ACT_RELU6};
  float y[4];
  tinytl_batch_norm_forward(run, 2, 2, &norm, x, residual, y);
  assert_memory_equal(y, expected, sizeof y);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  float *params = random_params(s, 1);
  float *dy = op_random((size_t)s->n_pixels * s->channels, 2);
  step(run, s, params, dy, out);
  free(params);
  free(dy);
}

static void test_threads(void **state) {
  (void)state;
  shape s = {63 * 65, 93, TINYTL_ACT_RELU6};
  size_t n = (size_t)s.n_pixels * s.channels;
  assert_true(op_same_with_any_threads(everything, &s, n + n_params_of(&s)));
}

static void test_forward_and_gradients(void **state) {
  (void)state;
  op_with_each_set(check_forward_and_gradients);
}

static void test_large_mean(void **state) {
  (void)state;
  op_with_each_set(check_large_mean);
}

static void test_residual(void **state) {
  (void)state;
  op_with_each_set(check_residual_is_added_after_the_activation);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward_and_gradients),
      cmocka_unit_test(test_large_mean),
      cmocka_unit_test(test_residual),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
