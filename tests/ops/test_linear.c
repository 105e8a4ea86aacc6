#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"

typedef struct shape {
  int in, out;
} shape;

/* Around the 16 partial sums of a dot product and the strips of 128 features. */
static const shape SHAPES[] = {{1, 1}, {15, 3}, {16, 2}, {17, 5}, {127, 3}, {130, 7}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static size_t n_params_of(const shape *s) {
  return (size_t)s->out * s->in + s->out + s->in;
}

/* params: w [out][in], bias [out], x [in]. */
static void reference(const void *context, const double *params, double *y) {
  const shape *s = context;
  const double *bias = params + s->out * s->in, *x = bias + s->out;
  for (int o = 0; o < s->out; o++) {
    y[o] = bias[o];
    for (int i = 0; i < s->in; i++) y[o] += params[o * s->in + i] * x[i];
  }
}

/* out: y, then the gradients of w, bias, x; those of w and bias are added to. */
static void step(const tinytl_run *run, const shape *s, const float *params, const float *dy,
                 float *out) {
  size_t n_w = (size_t)s->out * s->in;
  const float *bias = params + n_w, *x = bias + s->out;
  tinytl_weight w = {.f32 = params};
  tinytl_linear_forward(run, s->in, s->out, &w, bias, x, out);
  float *dw = out + s->out;
  tinytl_linear_backward(run, s->in, s->out, params, x, dy, dw, dw + n_w, dw + n_w + s->out);
}

static void test_forward_and_gradients(void **state) {
  (void)state;
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    size_t n_params = n_params_of(s);
    float *params = op_random(n_params, i), *dy = op_random(s->out, 100 + i);
    float *out = malloc((s->out + n_params) * sizeof(float));
    double *wide = op_widen(params, n_params), *y = calloc(s->out, sizeof(double));
    for (size_t k = 0; k < s->out + n_params; k++) out[k] = 2;
    step(&run, s, params, dy, out);
    for (int k = 0; k < s->out * s->in + s->out; k++) out[s->out + k] -= 2;
    reference(s, wide, y);
    assert_true(op_error(out, y, s->out) < 1e-6);
    assert_true(op_gradient_error(reference, s, params, n_params, dy, s->out, out + s->out) < 1e-6);
    free(params);
    free(dy);
    free(out);
    free(wide);
    free(y);
  }
}

static void test_int8_rows_have_their_scale(void **state) {
  (void)state;
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  enum { IN = 37, OUT = 3 };
  int8_t rows[OUT * IN];
  float scale[OUT] = {0.5f, 0.01f, 2.0f}, bias[OUT] = {1, -1, 0}, y[OUT];
  double want[OUT];
  float *x = op_random(IN, 5);
  for (int o = 0; o < OUT; o++) {
    want[o] = bias[o];
    for (int i = 0; i < IN; i++) {
      rows[o * IN + i] = (int8_t)((o * IN + i) * 71 % 255 - 127);
      want[o] += (double)rows[o * IN + i] * scale[o] * x[i];
    }
  }
  tinytl_weight w = {.i8 = rows, .scale = scale};
  tinytl_linear_forward(&run, IN, OUT, &w, bias, x, y);
  assert_true(op_error(y, want, OUT) < 1e-6);
  free(x);
}

static void test_input_gradient_may_be_left_out(void **state) {
  (void)state;
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  float w[4] = {1, 2, 3, 4}, x[2] = {5, 6}, dy[2] = {1, -1}, dw[4] = {0}, dbias[2] = {0};
  tinytl_linear_backward(&run, 2, 2, w, x, dy, dw, dbias, NULL);
  const float want[4] = {5, 6, -5, -6};
  assert_memory_equal(dw, want, sizeof dw);
  assert_memory_equal(dbias, dy, sizeof dy);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  float *params = op_random(n_params_of(s), 1), *dy = op_random(s->out, 2);
  step(run, s, params, dy, out);
  free(params);
  free(dy);
}

static void test_threads(void **state) {
  (void)state;
  shape s = {301, 103};
  assert_true(op_same_with_any_threads(everything, &s, s.out + n_params_of(&s)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward_and_gradients),
      cmocka_unit_test(test_int8_rows_have_their_scale),
      cmocka_unit_test(test_input_gradient_may_be_left_out),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
