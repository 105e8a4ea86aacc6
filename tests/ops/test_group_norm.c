#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"

typedef struct shape {
  int n_pixels, channels;
  tinytl_act act;
} shape;

/* 1 pixel, remainder groups of 1 and 5 channels, fewer channels than a group, odd sides. */
static const shape SHAPES[] = {
    {1, 8, TINYTL_ACT_NONE},  {1, 16, TINYTL_ACT_RELU}, {49, 8, TINYTL_ACT_RELU},
    {7, 21, TINYTL_ACT_RELU}, {9, 17, TINYTL_ACT_NONE}, {15, 3, TINYTL_ACT_RELU},
    {25, 1, TINYTL_ACT_NONE}, {4, 40, TINYTL_ACT_RELU}, {150, 37, TINYTL_ACT_RELU}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

/* params: x [n_pixels][channels], scale, shift [channels]. */
static void reference(const void *context, const double *params, double *y) {
  const shape *s = context;
  const double *scale = params + s->n_pixels * s->channels, *shift = scale + s->channels;
  for (int first = 0; first < s->channels; first += 8) {
    int end = first + 8 < s->channels ? first + 8 : s->channels;
    double n = (double)s->n_pixels * (end - first), mean = 0, variance = 0;
    for (int i = 0; i < s->n_pixels; i++) {
      for (int c = first; c < end; c++) mean += params[i * s->channels + c] / n;
    }
    for (int i = 0; i < s->n_pixels; i++) {
      for (int c = first; c < end; c++) variance += pow(params[i * s->channels + c] - mean, 2) / n;
    }
    for (int i = 0; i < s->n_pixels; i++) {
      for (int c = first; c < end; c++) {
        double x_hat = (params[i * s->channels + c] - mean) / sqrt(variance + 1e-3);
        double value = x_hat * scale[c] + shift[c];
        y[i * s->channels + c] = s->act == TINYTL_ACT_RELU ? fmax(value, 0) : value;
      }
    }
  }
}

static size_t n_params_of(const shape *s) {
  return (size_t)s->n_pixels * s->channels + 2 * s->channels;
}

/* out: y, then the gradients of x, scale and shift. */
static void step(const tinytl_run *run, const shape *s, const float *params, const float *dy,
                 float *out) {
  size_t n = (size_t)s->n_pixels * s->channels;
  const float *scale = params + n, *shift = scale + s->channels;
  float *x_hat = malloc(n * sizeof(float)), *dx = out + n;
  float *rstd = malloc(tinytl_group_norm_n_groups(s->channels) * sizeof(float));
  memcpy(x_hat, params, n * sizeof(float));
  memcpy(dx, dy, n * sizeof(float));
  tinytl_group_norm_forward(run, s->n_pixels, s->channels, x_hat, rstd);
  tinytl_scale_shift_forward(run, s->n_pixels, s->channels, x_hat, scale, shift, s->act, out);
  tinytl_group_norm_backward(run, s->n_pixels, s->channels, x_hat, rstd, scale, shift, s->act, dx,
                             dx + n, dx + n + s->channels);
  free(x_hat);
  free(rstd);
}

static void check_forward_and_gradients(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    size_t n = (size_t)s->n_pixels * s->channels, n_params = n_params_of(s);
    float *params = op_random(n_params, i), *dy = op_random(n, 100 + i);
    float *out = calloc(n + n_params, sizeof(float));
    double *wide = op_widen(params, n_params), *y = calloc(n, sizeof(double));
    step(run, s, params, dy, out);
    reference(s, wide, y);
    assert_true(op_error(out, y, n) < 1e-5);
    assert_true(op_gradient_error(reference, s, params, n_params, dy, n, out + n) < 2e-5);
    free(params);
    free(dy);
    free(out);
    free(wide);
    free(y);
  }
}

/* A mean a thousand times the deviation, on a large map: float sums would lose the variance. */
static void check_large_mean(const tinytl_run *run) {
  shape s = {56 * 56, 16, TINYTL_ACT_NONE};
  size_t n = (size_t)s.n_pixels * s.channels, n_params = n_params_of(&s);
  float *params = op_random(n_params, 7), *dy = op_random(n, 8);
  float *out = calloc(n + n_params, sizeof(float));
  for (size_t i = 0; i < n; i++) params[i] += 1000;
  double *wide = op_widen(params, n_params), *y = calloc(n, sizeof(double));
  step(run, &s, params, dy, out);
  reference(&s, wide, y);
  assert_true(op_error(out, y, n) < 1e-6);
  free(params);
  free(dy);
  free(out);
  free(wide);
  free(y);
}

static void check_gradients_are_added_or_left_out(const tinytl_run *run) {
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 9}, rstd, dy[8] = {1, 1, 0, 0, 2, 0, 0, 0};
  float scale[8] = {1, 1, 1, 1, 1, 1, 1, 1}, shift[8] = {0}, dx[2][8], dshift[8];
  tinytl_group_norm_forward(run, 1, 8, x, &rstd);
  memcpy(dx[0], dy, sizeof dy);
  memcpy(dx[1], dy, sizeof dy);
  for (int c = 0; c < 8; c++) dshift[c] = 10;
  tinytl_group_norm_backward(run, 1, 8, x, &rstd, scale, shift, TINYTL_ACT_NONE, dx[0], NULL,
                             dshift);
  tinytl_group_norm_backward(run, 1, 8, x, &rstd, scale, shift, TINYTL_ACT_NONE, dx[1], NULL, NULL);
  assert_memory_equal(dx[0], dx[1], sizeof dy);
  for (int c = 0; c < 8; c++) assert_float_equal(dshift[c], 10 + dy[c], 0);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  float *params = op_random(n_params_of(s), 1);
  float *dy = op_random((size_t)s->n_pixels * s->channels, 2);
  step(run, s, params, dy, out);
  free(params);
  free(dy);
}

static void test_threads(void **state) {
  (void)state;
  shape s = {31 * 33, 93, true};
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

static void test_gradients_are_added_or_left_out(void **state) {
  (void)state;
  op_with_each_set(check_gradients_are_added_or_left_out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward_and_gradients),
      cmocka_unit_test(test_large_mean),
      cmocka_unit_test(test_gradients_are_added_or_left_out),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
