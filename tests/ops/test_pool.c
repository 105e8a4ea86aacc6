#include "support/cmocka.h"

#include <stdlib.h>

#include "support/op_check.h"

typedef struct shape {
  int h, w, channels;
} shape;

/* A side of 1, odd sides whose last row or column is dropped, channels off the vector width. */
static const shape SHAPES[] = {{1, 1, 3}, {1, 8, 5}, {7, 1, 8},  {2, 2, 1},
                               {7, 7, 9}, {3, 5, 4}, {6, 4, 17}, {1, 3, 70}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static size_t n_in(const shape *s) {
  return (size_t)s->h * s->w * s->channels;
}

static size_t n_out(const shape *s) {
  return (size_t)tinytl_avg_pool2_out(s->h) * tinytl_avg_pool2_out(s->w) * s->channels;
}

static void avg_reference(const void *context, const double *x, double *y) {
  const shape *s = context;
  int window_h = s->h == 1 ? 1 : 2, window_w = s->w == 1 ? 1 : 2;
  int out_h = s->h / window_h, out_w = s->w / window_w;
  for (int iy = 0; iy < out_h * window_h; iy++) {
    for (int ix = 0; ix < out_w * window_w; ix++) {
      for (int c = 0; c < s->channels; c++) {
        y[((iy / window_h) * out_w + ix / window_w) * s->channels + c] +=
            x[(iy * s->w + ix) * s->channels + c] / (window_h * window_w);
      }
    }
  }
}

static void global_reference(const void *context, const double *x, double *y) {
  const shape *s = context;
  for (int i = 0; i < s->h * s->w; i++) {
    for (int c = 0; c < s->channels; c++) y[c] += x[i * s->channels + c] / (s->h * s->w);
  }
}

static void test_sides(void **state) {
  (void)state;
  assert_int_equal(tinytl_avg_pool2_out(1), 1);
  assert_int_equal(tinytl_avg_pool2_out(2), 1);
  assert_int_equal(tinytl_avg_pool2_out(3), 1);
  assert_int_equal(tinytl_avg_pool2_out(7), 3);
  assert_int_equal(tinytl_avg_pool2_out(56), 28);
}

static void test_avg_pool2(void **state) {
  (void)state;
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    float *x = op_random(n_in(s), i), *dy = op_random(n_out(s), 100 + i);
    float *y = malloc(n_out(s) * sizeof(float)), *dx = malloc(n_in(s) * sizeof(float));
    double *wide = op_widen(x, n_in(s)), *want = calloc(n_out(s), sizeof(double));
    tinytl_avg_pool2_forward(&run, s->h, s->w, s->channels, x, y);
    avg_reference(s, wide, want);
    assert_true(op_error(y, want, n_out(s)) < 1e-6);

    for (size_t k = 0; k < n_in(s); k++) dx[k] = 3; /* what was there is added to */
    tinytl_avg_pool2_backward(&run, s->h, s->w, s->channels, dy, dx);
    for (size_t k = 0; k < n_in(s); k++) dx[k] -= 3;
    assert_true(op_gradient_error(avg_reference, s, x, n_in(s), dy, n_out(s), dx) < 1e-6);
    free(x);
    free(dy);
    free(y);
    free(dx);
    free(wide);
    free(want);
  }
}

static void test_global_pool(void **state) {
  (void)state;
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    float *x = op_random(n_in(s), i), *dy = op_random(s->channels, 100 + i);
    float *y = malloc(s->channels * sizeof(float)), *dx = op_random(n_in(s), 200 + i);
    double *wide = op_widen(x, n_in(s)), *want = calloc(s->channels, sizeof(double));
    tinytl_global_pool_forward(&run, s->h * s->w, s->channels, x, y);
    global_reference(s, wide, want);
    assert_true(op_error(y, want, s->channels) < 1e-6);
    tinytl_global_pool_backward(&run, s->h * s->w, s->channels, dy, dx);
    assert_true(op_gradient_error(global_reference, s, x, n_in(s), dy, s->channels, dx) < 1e-6);
    free(x);
    free(dy);
    free(y);
    free(dx);
    free(wide);
    free(want);
  }
}

/* All four, one after the other. */
static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  float *x = op_random(n_in(s), 1);
  tinytl_avg_pool2_forward(run, s->h, s->w, s->channels, x, out);
  out += n_out(s);
  tinytl_avg_pool2_backward(run, s->h, s->w, s->channels, x, out);
  out += n_in(s);
  tinytl_global_pool_forward(run, s->h * s->w, s->channels, x, out);
  tinytl_global_pool_backward(run, s->h * s->w, s->channels, x, out + s->channels);
  free(x);
}

static void test_threads(void **state) {
  (void)state;
  shape s = {29, 31, 77};
  assert_true(op_same_with_any_threads(everything, &s, n_out(&s) + 2 * n_in(&s) + s.channels));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sides),
      cmocka_unit_test(test_avg_pool2),
      cmocka_unit_test(test_global_pool),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
