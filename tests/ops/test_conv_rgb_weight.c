/* The gradient of the first convolution's weights; conv_reference, by which it is checked, is
 * itself checked by finite differences in test_conv.c. */
#include "support/cmocka.h"

#include <stdlib.h>

#include "ops/conv_reference.h"
#include "support/op_check.h"

typedef struct rgb_shape {
  int h, w, out_c, kernel, stride;
  tinytl_pad pad;
} rgb_shape;

/* Rows in parts and alone, rows in more than one strip, tiles of output channels and of taps. */
static const rgb_shape SHAPES[] = {
    {32, 32, 16, 3, 2, TINYTL_PAD_SAME},      {33, 31, 33, 3, 2, TINYTL_PAD_SYMMETRIC},
    {5, 7, 8, 3, 1, TINYTL_PAD_SYMMETRIC},    {1, 1, 3, 3, 2, TINYTL_PAD_SAME},
    {9, 300, 5, 7, 2, TINYTL_PAD_SYMMETRIC},  {12, 250, 7, 11, 1, TINYTL_PAD_SAME},
    {40, 41, 4, 2, 32, TINYTL_PAD_SYMMETRIC}, {6, 50, 24, 1, 1, TINYTL_PAD_SYMMETRIC},
    {17, 129, 65, 5, 1, TINYTL_PAD_SAME},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static const float SCALE[3] = {0.017f, 0.018f, 0.019f}, SHIFT[3] = {-2.1f, -2.0f, -1.8f};

static tinytl_conv make(const rgb_shape *s) {
  return tinytl_conv_make(s->h, s->w, 3, s->out_c, s->kernel, s->stride, 1, s->pad);
}

static uint8_t *make_rgb(const tinytl_conv *conv) {
  uint8_t *rgb = malloc(conv_n_in(conv));
  for (size_t i = 0; i < conv_n_in(conv); i++) rgb[i] = (uint8_t)(i * 101 % 256);
  return rgb;
}

/* Adds the gradient to dw. */
static void everything(const tinytl_run *outer, const void *shape, float *dw) {
  const tinytl_conv conv = make(shape);
  tinytl_run run = *outer;
  uint8_t *rgb = make_rgb(&conv);
  float *dy = op_random(conv_n_out(&conv), 3);
  run.scratch =
      aligned_alloc(64, tinytl_round_up(tinytl_conv_backward_weight_rgb_scratch(&conv) + 1, 64));
  tinytl_conv_backward_weight_rgb(&run, &conv, rgb, SCALE, SHIFT, dy, dw);
  free(rgb), free(dy), free(run.scratch);
}

static void check(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const tinytl_conv conv = make(&SHAPES[i]);
    const size_t n_in = conv_n_in(&conv), n_out = conv_n_out(&conv), n = conv_n_weights(&conv);
    float *dw = op_random(n, 7), *dy = op_random(n_out, 3);
    double *want = op_widen(dw, n), *dy64 = op_widen(dy, n_out), *x = malloc(n_in * sizeof *x);
    uint8_t *rgb = make_rgb(&conv);
    for (size_t k = 0; k < n_in; k++) x[k] = rgb[k] * (double)SCALE[k % 3] + SHIFT[k % 3];
    everything(run, &SHAPES[i], dw);
    conv_reference(&conv, (conv_arrays){.x = x, .dy = dy64, .dw = want});
    assert_true(op_error(dw, want, n) < 1e-5);
    free(dw), free(dy), free(want), free(dy64), free(x), free(rgb);
  }
}

static void test_against_reference(void **state) {
  (void)state;
  op_with_each_set(check);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    const tinytl_conv conv = make(&SHAPES[i]);
    assert_true(op_same_with_any_threads(everything, &SHAPES[i], conv_n_weights(&conv)));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_reference),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
