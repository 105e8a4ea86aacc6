#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>

#include "support/op_check.h"

typedef struct shape {
  int in_h, in_w, out_h, out_w, channels;
} shape;

static const shape SHAPES[] = {
    {1, 1, 1, 1, 3},  {1, 1, 7, 5, 8},  {1, 4, 1, 8, 5},   {3, 1, 7, 2, 4}, {3, 3, 7, 7, 9},
    {2, 3, 4, 6, 16}, {4, 4, 4, 4, 17}, {5, 3, 11, 10, 1}, {7, 6, 3, 5, 2}, {2, 2, 23, 41, 35}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static size_t n_in(const shape *s) {
  return (size_t)s->in_h * s->in_w * s->channels;
}

static size_t n_out(const shape *s) {
  return (size_t)s->out_h * s->out_w * s->channels;
}

/* How much of input pixel `in` output pixel `out` gets: a tent around its place, cut at the edges.
 */
static double share(int out, int in, int out_side, int in_side) {
  double place = fmin(fmax((out + 0.5) * in_side / out_side - 0.5, 0), in_side - 1);
  return fmax(0, 1 - fabs(place - in));
}

static void reference(const void *context, const double *x, double *y) {
  const shape *s = context;
  for (int o = 0; o < s->out_h * s->out_w; o++) {
    for (int i = 0; i < s->in_h * s->in_w; i++) {
      double weight = share(o / s->out_w, i / s->in_w, s->out_h, s->in_h) *
                      share(o % s->out_w, i % s->in_w, s->out_w, s->in_w);
      for (int c = 0; c < s->channels; c++) {
        y[o * s->channels + c] += weight * x[i * s->channels + c];
      }
    }
  }
}

static void check_forward_and_gradient(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    float *x = op_random(n_in(s), i), *dy = op_random(n_out(s), 100 + i);
    float *y = malloc(n_out(s) * sizeof(float)), *dx = op_random(n_in(s), 200 + i);
    double *wide = op_widen(x, n_in(s)), *want = calloc(n_out(s), sizeof(double));
    for (size_t k = 0; k < n_out(s); k++) y[k] = 2; /* what was there is added to */
    tinytl_upsample_forward(run, s->in_h, s->in_w, s->out_h, s->out_w, s->channels, x, y);
    for (size_t k = 0; k < n_out(s); k++) y[k] -= 2;
    reference(s, wide, want);
    assert_true(op_error(y, want, n_out(s)) < 2e-6);
    tinytl_upsample_backward(run, s->in_h, s->in_w, s->out_h, s->out_w, s->channels, dy, dx);
    assert_true(op_gradient_error(reference, s, x, n_in(s), dy, n_out(s), dx) < 2e-6);
    free(x);
    free(dy);
    free(y);
    free(dx);
    free(wide);
    free(want);
  }
}

/* torch.nn.functional.interpolate(tensor([1, 2, 4]), size=N, mode="bilinear"). */
static void check_golden(const tinytl_run *run) {
  const float x[3] = {1, 2, 4};
  const float six[6] = {1.0f, 1.25f, 1.75f, 2.5f, 3.5f, 4.0f};
  const float seven[7] = {1.0f, 1.1428572f, 1.5714285f, 2.0f, 2.8571429f, 3.7142857f, 4.0f};
  float y[7] = {0};
  tinytl_upsample_forward(run, 1, 3, 1, 6, 1, x, y);
  for (int i = 0; i < 6; i++) assert_float_equal(y[i], six[i], 1e-6f);
  for (int i = 0; i < 7; i++) y[i] = 0;
  tinytl_upsample_forward(run, 3, 1, 7, 1, 1, x, y);
  for (int i = 0; i < 7; i++) assert_float_equal(y[i], seven[i], 1e-6f);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  float *x = op_random(n_in(s), 1), *dy = op_random(n_out(s), 2);
  tinytl_upsample_forward(run, s->in_h, s->in_w, s->out_h, s->out_w, s->channels, x, out);
  tinytl_upsample_backward(run, s->in_h, s->in_w, s->out_h, s->out_w, s->channels, dy,
                           out + n_out(s));
  free(x);
  free(dy);
}

static void test_threads(void **state) {
  (void)state;
  shape s = {19, 17, 39, 35, 35};
  assert_true(op_same_with_any_threads(everything, &s, n_in(&s) + n_out(&s)));
}

static void test_forward_and_gradient(void **state) {
  (void)state;
  op_with_each_set(check_forward_and_gradient);
}

static void test_golden(void **state) {
  (void)state;
  op_with_each_set(check_golden);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward_and_gradient),
      cmocka_unit_test(test_golden),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
