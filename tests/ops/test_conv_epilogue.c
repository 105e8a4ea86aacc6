#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/conv_reference.h"
#include "support/op_check.h"

typedef struct shape {
  int h, w, in_c, out_c, kernel, stride, groups;
} shape;

/* Mask bytes are shared by 8 channels: widths off that, off the vectors, and beyond one panel. */
static const shape SHAPES[] = {
    {1, 1, 3, 5, 1, 1, 1},    {3, 5, 7, 9, 1, 1, 1},       {20, 20, 8, 71, 1, 1, 1},
    {7, 7, 300, 60, 1, 1, 1}, {5, 6, 6, 14, 3, 2, 2},      {4, 5, 4, 11, 3, 1, 1},
    {9, 7, 13, 13, 3, 1, 13}, {3, 2, 150, 150, 5, 2, 150},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static tinytl_conv make(const shape *s) {
  return tinytl_conv_make(s->h, s->w, s->in_c, s->out_c, s->kernel, s->stride, s->groups,
                          TINYTL_PAD_SAME);
}

static double act(tinytl_act act, double x) {
  if (act == TINYTL_ACT_NONE) return x;
  return x < 0 ? 0 : act == TINYTL_ACT_RELU6 && x > 6 ? 6 : x;
}

static bool passes(tinytl_act act, double x) {
  return act == TINYTL_ACT_NONE || (x > 0 && (act == TINYTL_ACT_RELU || x < 6));
}

static size_t mask_nbytes(const tinytl_conv *conv) {
  return (size_t)conv->out_h * conv->out_w * ((conv->out_c + 7) / 8);
}

/* Bits of a kept mask; near a kink rounding decides, so that both are right. */
static void check_mask(const tinytl_conv *conv, tinytl_act kind, const uint8_t *mask,
                       const double *sum) {
  const size_t row = (conv->out_c + 7) / 8;
  for (size_t i = 0; i < conv_n_out(conv); i++) {
    const size_t pixel = i / conv->out_c, channel = i % conv->out_c;
    const bool bit = mask[pixel * row + channel / 8] >> channel % 8 & 1;
    if (fabs(sum[i]) > 1e-4 && fabs(sum[i] - 6) > 1e-4) assert_int_equal(bit, passes(kind, sum[i]));
  }
}

static void check_shape(const tinytl_kernels *kernels, const shape *s, tinytl_act kind,
                        bool with_residual, bool with_mask) {
  const tinytl_conv conv = make(s);
  const size_t n = conv_n_out(&conv);
  float *x = op_random(conv_n_in(&conv), 1), *w = op_random(conv_n_weights(&conv), 2);
  float *bias = op_random(conv.out_c, 3), *residual = op_random(n, 4), *y = malloc(n * sizeof *y);
  double *x64 = op_widen(x, conv_n_in(&conv)), *w64 = op_widen(w, conv_n_weights(&conv));
  double *want = calloc(n, sizeof *want);
  uint8_t *mask = malloc(mask_nbytes(&conv));
  memset(mask, 0xa5, mask_nbytes(&conv));
  const tinytl_run run = {
      .kernels = kernels,
      .scratch =
          aligned_alloc(64, tinytl_round_up(tinytl_conv_forward_scratch(&conv, kernels) + 1, 64))};
  const tinytl_epilogue epilogue = {bias, kind, with_residual ? residual : NULL,
                                    with_mask ? mask : NULL};
  tinytl_conv_forward(&run, &conv, &(tinytl_weight){.f32 = w}, &epilogue, x, y);

  conv_reference(&conv, (conv_arrays){.x = x64, .w = w64, .y = want});
  for (size_t i = 0; i < n; i++) want[i] += bias[i % conv.out_c];
  if (with_mask) check_mask(&conv, kind, mask, want);
  for (size_t i = 0; i < n; i++) want[i] = act(kind, want[i]) + (with_residual ? residual[i] : 0);
  assert_true(op_error(y, want, n) < 1e-5);
  void *owned[] = {x, w, bias, residual, y, x64, w64, want, mask, run.scratch};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

static void test_forward(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int set = 0; set < n_sets; set++)
    for (int i = 0; i < N_SHAPES; i++)
      for (int kind = TINYTL_ACT_NONE; kind <= TINYTL_ACT_RELU6; kind++)
        for (int with = 0; with < 4; with++)
          check_shape(sets[set], &SHAPES[i], kind, with & 1, with & 2);
}

/* Without a bias the shortcut is still added. */
static void test_residual_alone(void **state) {
  (void)state;
  const tinytl_conv conv = tinytl_conv_make(1, 2, 1, 3, 1, 1, 1, TINYTL_PAD_SYMMETRIC);
  const float x[2] = {2, -1}, w[3] = {1, 10, 100}, residual[6] = {1, 2, 3, 4, 5, 6};
  const float want[6] = {3, 22, 203, 3, -5, -94};
  _Alignas(64) float scratch[TINYTL_MAX_NR];
  const tinytl_run run = {.kernels = tinytl_kernels_get(), .scratch = scratch};
  assert_true(tinytl_conv_forward_scratch(&conv, run.kernels) <= sizeof scratch);
  const tinytl_epilogue epilogue = {.residual = residual};
  float y[6];
  tinytl_conv_forward(&run, &conv, &(tinytl_weight){.f32 = w}, &epilogue, x, y);
  assert_memory_equal(y, want, sizeof want);
}

static void test_not_finite(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int set = 0; set < n_sets; set++) {
    float y[40], bias[40] = {0};
    for (int i = 0; i < 40; i++) y[i] = i % 2 ? NAN : 1;
    sets[set]->bias_act(&(tinytl_bias_act){
        .n = 1, .channels = 40, .y = y, .pixel = 40, .bias = bias, .act = TINYTL_ACT_RELU6});
    for (int i = 0; i < 40; i++) assert_true(i % 2 ? isnan(y[i]) : y[i] == 1);
  }
}

typedef struct rgb_shape {
  int h, w, out_c, kernel, stride;
  tinytl_pad pad;
} rgb_shape;

static const rgb_shape RGB_SHAPES[] = {
    {32, 32, 16, 3, 2, TINYTL_PAD_SAME},      {33, 31, 33, 3, 2, TINYTL_PAD_SYMMETRIC},
    {5, 7, 8, 3, 1, TINYTL_PAD_SYMMETRIC},    {1, 1, 3, 3, 2, TINYTL_PAD_SAME},
    {9, 300, 5, 7, 2, TINYTL_PAD_SYMMETRIC},  {12, 250, 7, 11, 1, TINYTL_PAD_SAME},
    {40, 41, 4, 2, 32, TINYTL_PAD_SYMMETRIC}, {6, 50, 24, 1, 1, TINYTL_PAD_SYMMETRIC},
    {4, 4, 300, 1, 1, TINYTL_PAD_SYMMETRIC}, /* more panels than a pointwise layer's parts */
};
enum { N_RGB_SHAPES = sizeof RGB_SHAPES / sizeof RGB_SHAPES[0] };

static tinytl_conv make_rgb(const rgb_shape *s) {
  return tinytl_conv_make(s->h, s->w, 3, s->out_c, s->kernel, s->stride, 1, s->pad);
}

static const float SCALE[3] = {0.017f, 0.018f, 0.019f}, SHIFT[3] = {-2.1f, -2.0f, -1.8f};

static void rgb_forward(const tinytl_run *outer, const rgb_shape *s, const float *w, uint8_t *rgb,
                        float *y) {
  const tinytl_conv conv = make_rgb(s);
  tinytl_run run = *outer;
  for (size_t i = 0; i < conv_n_in(&conv); i++) rgb[i] = (uint8_t)(i * 101 % 256);
  float *bias = calloc((size_t)s->out_c, sizeof *bias);
  const tinytl_epilogue epilogue = {.bias = bias, .act = TINYTL_ACT_RELU};
  run.scratch =
      aligned_alloc(64, tinytl_round_up(tinytl_conv_forward_scratch(&conv, run.kernels) + 1, 64));
  tinytl_conv_forward_rgb(&run, &conv, &(tinytl_weight){.f32 = w}, &epilogue, rgb, SCALE, SHIFT, y);
  free(bias), free(run.scratch);
}

static void test_rgb(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int i = 0; i < n_sets * N_RGB_SHAPES; i++) {
    const tinytl_conv conv = make_rgb(&RGB_SHAPES[i / n_sets]);
    const size_t n_in = conv_n_in(&conv), n_out = conv_n_out(&conv);
    uint8_t *rgb = malloc(n_in);
    float *w = op_random(conv_n_weights(&conv), 5), *y = malloc(n_out * sizeof *y);
    double *x64 = malloc(n_in * sizeof *x64), *w64 = op_widen(w, conv_n_weights(&conv));
    double *want = calloc(n_out, sizeof *want);
    rgb_forward(&(tinytl_run){.kernels = sets[i % n_sets]}, &RGB_SHAPES[i / n_sets], w, rgb, y);
    for (size_t k = 0; k < n_in; k++) x64[k] = rgb[k] * (double)SCALE[k % 3] + SHIFT[k % 3];
    conv_reference(&conv, (conv_arrays){.x = x64, .w = w64, .y = want});
    for (size_t k = 0; k < n_out; k++) want[k] = act(TINYTL_ACT_RELU, want[k]);
    assert_true(op_error(y, want, n_out) < 1e-5);
    void *owned[] = {rgb, w, y, x64, w64, want};
    for (size_t k = 0; k < sizeof owned / sizeof *owned; k++) free(owned[k]);
  }
}

static void rgb_everything(const tinytl_run *run, const void *shape, float *out) {
  const tinytl_conv conv = make_rgb(shape);
  float *w = op_random(conv_n_weights(&conv), 5);
  uint8_t *rgb = malloc(conv_n_in(&conv));
  rgb_forward(run, shape, w, rgb, out);
  free(w), free(rgb);
}

/* dy [n][channels] masked, dbias from 1. */
typedef struct grad_shape {
  int n_pixels, channels;
} grad_shape;

static const grad_shape GRAD_SHAPES[] = {{1, 1}, {9, 7}, {49, 33}, {300, 24}, {1000, 5}, {17, 160}};
enum { N_GRAD_SHAPES = sizeof GRAD_SHAPES / sizeof GRAD_SHAPES[0] };

static size_t n_grad(const grad_shape *s) {
  return (size_t)s->n_pixels * s->channels;
}

static uint8_t *make_mask(const grad_shape *s) {
  const size_t n = (size_t)s->n_pixels * ((s->channels + 7) / 8);
  uint8_t *mask = malloc(n);
  for (size_t i = 0; i < n; i++) mask[i] = (uint8_t)(i * 151 + i / 7);
  return mask;
}

static void backward_everything(const tinytl_run *outer, const void *context, float *out) {
  const grad_shape *s = context;
  tinytl_run run = *outer;
  uint8_t *mask = make_mask(s);
  float *dy = op_random(n_grad(s), 9);
  run.scratch = aligned_alloc(
      64, tinytl_round_up(tinytl_epilogue_backward_scratch(s->n_pixels, s->channels) + 1, 64));
  for (int c = 0; c < s->channels; c++) out[n_grad(s) + c] = 1;
  memcpy(out, dy, n_grad(s) * sizeof *out);
  tinytl_epilogue_backward(&run, s->n_pixels, s->channels, mask, out, out + n_grad(s));
  free(mask), free(dy), free(run.scratch);
}

static void test_backward(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int i = 0; i < n_sets * N_GRAD_SHAPES; i++) {
    const grad_shape *s = &GRAD_SHAPES[i / n_sets];
    const size_t n = n_grad(s), row = (s->channels + 7) / 8;
    uint8_t *mask = make_mask(s);
    float *dy = op_random(n, 9), *got = malloc((n + s->channels) * sizeof *got);
    double *dbias = malloc((size_t)s->channels * sizeof *dbias);
    for (int c = 0; c < s->channels; c++) dbias[c] = 1;
    backward_everything(&(tinytl_run){.kernels = sets[i % n_sets]}, s, got);
    for (size_t k = 0; k < n; k++) {
      const size_t pixel = k / s->channels, c = k % s->channels;
      const float want = mask[pixel * row + c / 8] >> c % 8 & 1 ? dy[k] : 0;
      assert_true(got[k] == want);
      dbias[c] += want;
    }
    assert_true(op_error(got + n, dbias, s->channels) < 1e-5);
    free(mask), free(dy), free(got), free(dbias);
  }
}

/* Without an activation nothing is masked; with a frozen bias nothing is summed. */
static void test_backward_parts(void **state) {
  (void)state;
  float dy[3] = {1, 2, 3}, dbias[3] = {0};
  _Alignas(64) float scratch[64];
  const uint8_t mask = 5;
  const tinytl_run run = {.kernels = tinytl_kernels_get(), .scratch = scratch};
  tinytl_epilogue_backward(&run, 1, 3, NULL, dy, dbias);
  assert_true(dbias[0] == 1 && dbias[1] == 2 && dbias[2] == 3);
  tinytl_epilogue_backward(&run, 1, 3, &mask, dy, NULL);
  assert_true(dy[0] == 1 && dy[1] == 0 && dy[2] == 3);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_RGB_SHAPES; i++) {
    const tinytl_conv conv = make_rgb(&RGB_SHAPES[i]);
    assert_true(op_same_with_any_threads(rgb_everything, &RGB_SHAPES[i], conv_n_out(&conv)));
  }
  for (int i = 0; i < N_GRAD_SHAPES; i++)
    assert_true(op_same_with_any_threads(backward_everything, &GRAD_SHAPES[i],
                                         n_grad(&GRAD_SHAPES[i]) + GRAD_SHAPES[i].channels));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward),    cmocka_unit_test(test_residual_alone),
      cmocka_unit_test(test_not_finite), cmocka_unit_test(test_rgb),
      cmocka_unit_test(test_backward),   cmocka_unit_test(test_backward_parts),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
