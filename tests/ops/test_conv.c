#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "ops/conv_reference.h"
#include "support/op_check.h"

typedef struct shape {
  int h, w, in_c, out_c, kernel, stride, groups;
  tinytl_pad pad;
} shape;

/* Around every register tile's edges (rows 4, 6, 8, 12; columns 8, 16, 32), odd channels, 1x1 maps,
 * strides beyond the kernel, kernels beyond the map. */
static const shape SHAPES[] = {
    /* pointwise */
    {1, 1, 1, 1, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {1, 3, 3, 7, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {1, 11, 5, 8, 1, 1, 1, TINYTL_PAD_SAME},
    {3, 4, 16, 9, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {13, 1, 64, 31, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {7, 7, 67, 33, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {4, 4, 129, 32, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {20, 21, 24, 65, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {2, 3, 1100, 130, 1, 1, 1, TINYTL_PAD_SYMMETRIC}, /* panels in more than one block */
    {9, 11, 300, 50, 1, 1, 1, TINYTL_PAD_SYMMETRIC},  /* shared: halves of few panels by parts, */
    {7, 7, 170, 330, 1, 1, 1, TINYTL_PAD_SYMMETRIC},  /* many panels, */
    {13, 12, 40, 300, 1, 1, 1, TINYTL_PAD_SYMMETRIC}, /* and halves of many */
    {5, 6, 8, 72, 1, 1, 1, TINYTL_PAD_SYMMETRIC},     /* outputs that no 16 tiles share evenly */
    {6, 5, 8, 120, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {5, 5, 7, 200, 1, 1, 1, TINYTL_PAD_SYMMETRIC},
    {4, 4, 3, 300, 1, 1, 1, TINYTL_PAD_SYMMETRIC}, /* a first layer of many panels */
    {5, 6, 10, 12, 1, 2, 1, TINYTL_PAD_SAME},
    {6, 5, 10, 12, 1, 1, 2, TINYTL_PAD_SAME},
    /* dense */
    {5, 5, 3, 4, 3, 1, 1, TINYTL_PAD_SYMMETRIC},
    {6, 9, 3, 17, 3, 2, 1, TINYTL_PAD_SAME},
    {7, 14, 6, 10, 3, 2, 2, TINYTL_PAD_SYMMETRIC},
    {8, 7, 12, 16, 5, 1, 2, TINYTL_PAD_SYMMETRIC},
    {9, 10, 12, 8, 5, 2, 4, TINYTL_PAD_SAME},
    {2, 2, 8, 80, 5, 1, 2, TINYTL_PAD_SYMMETRIC},
    {1, 1, 8, 8, 3, 1, 2, TINYTL_PAD_SYMMETRIC},
    {4, 4, 40, 36, 3, 1, 1, TINYTL_PAD_SAME},
    {5, 7, 2, 3, 2, 1, 1, TINYTL_PAD_SAME},
    {7, 8, 2, 3, 2, 3, 1, TINYTL_PAD_SYMMETRIC},
    {7, 6, 4, 4, 4, 3, 2, TINYTL_PAD_SAME},
    {9, 12, 2, 2, 11, 2, 1, TINYTL_PAD_SYMMETRIC},
    {12, 200, 33, 5, 3, 1, 1, TINYTL_PAD_SYMMETRIC}, /* the weight gradient's rows in blocks */
    {9, 9, 40, 96, 3, 1, 2, TINYTL_PAD_SYMMETRIC}, /* panels of groups, large enough for threads */
    /* wide maps by pieces, many channels by some at a time, in both directions */
    {3, 95, 40, 6, 3, 1, 1, TINYTL_PAD_SAME},
    {5, 131, 6, 41, 3, 2, 1, TINYTL_PAD_SYMMETRIC},
    {3, 2, 700, 9, 3, 1, 1, TINYTL_PAD_SYMMETRIC},
    {4, 5, 5, 701, 5, 2, 1, TINYTL_PAD_SAME},
    {3, 70, 70, 70, 5, 3, 1, TINYTL_PAD_SAME},
    /* narrow groups, of 2 to 8 channels */
    {7, 9, 16, 16, 3, 1, 8, TINYTL_PAD_SYMMETRIC},
    {8, 13, 24, 24, 3, 2, 8, TINYTL_PAD_SAME},
    {5, 6, 40, 40, 5, 1, 8, TINYTL_PAD_SYMMETRIC},
    {9, 7, 48, 48, 3, 1, 8, TINYTL_PAD_SAME},
    {6, 11, 56, 56, 5, 2, 8, TINYTL_PAD_SYMMETRIC},
    {4, 4, 64, 64, 3, 1, 8, TINYTL_PAD_SYMMETRIC},
    {3, 5, 21, 21, 3, 1, 7, TINYTL_PAD_SAME},
    {1, 1, 16, 16, 3, 1, 8, TINYTL_PAD_SYMMETRIC},
    {12, 5, 6, 6, 7, 2, 3, TINYTL_PAD_SAME},
    {10, 9, 10, 10, 2, 3, 5, TINYTL_PAD_SYMMETRIC},
    {5, 8, 160, 160, 3, 2, 40, TINYTL_PAD_SYMMETRIC}, /* several panels */
    {28, 28, 24, 24, 3, 1, 8, TINYTL_PAD_SYMMETRIC},  /* large enough for threads */
    /* depthwise */
    {1, 1, 8, 8, 3, 1, 8, TINYTL_PAD_SYMMETRIC},
    {7, 7, 40, 40, 3, 1, 40, TINYTL_PAD_SYMMETRIC},
    {8, 9, 33, 33, 3, 2, 33, TINYTL_PAD_SAME},
    {9, 8, 16, 16, 3, 2, 16, TINYTL_PAD_SYMMETRIC},
    {6, 13, 21, 21, 5, 1, 21, TINYTL_PAD_SAME},
    {11, 12, 19, 19, 5, 2, 19, TINYTL_PAD_SAME},
    {12, 11, 16, 16, 7, 1, 16, TINYTL_PAD_SYMMETRIC},
    {13, 17, 3, 3, 7, 2, 3, TINYTL_PAD_SYMMETRIC},
    {3, 2, 17, 17, 7, 1, 17, TINYTL_PAD_SYMMETRIC},
    {3, 4, 5, 5, 11, 1, 5, TINYTL_PAD_SYMMETRIC},
    {10, 9, 6, 6, 2, 2, 6, TINYTL_PAD_SAME},
    {9, 10, 6, 6, 4, 3, 6, TINYTL_PAD_SAME},
    {7, 9, 4, 4, 1, 1, 4, TINYTL_PAD_SYMMETRIC},
    {9, 9, 5, 5, 2, 4, 5, TINYTL_PAD_SYMMETRIC},
    {40, 3, 150, 150, 3, 1, 150, TINYTL_PAD_SYMMETRIC},
    {5, 6, 300, 300, 5, 1, 300, TINYTL_PAD_SAME}, /* the weight gradient's channels in tasks */
    /* rows with groups of outputs that are inside, of whole and partial vectors */
    {3, 23, 24, 24, 3, 1, 24, TINYTL_PAD_SYMMETRIC},
    {5, 37, 24, 24, 3, 2, 24, TINYTL_PAD_SAME},
    {4, 34, 17, 17, 3, 2, 17, TINYTL_PAD_SYMMETRIC},
    {5, 25, 17, 17, 5, 1, 17, TINYTL_PAD_SYMMETRIC},
    {6, 40, 16, 16, 5, 2, 16, TINYTL_PAD_SAME},
    {7, 30, 18, 18, 7, 1, 18, TINYTL_PAD_SYMMETRIC},
    {7, 45, 16, 16, 7, 2, 16, TINYTL_PAD_SYMMETRIC},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static tinytl_conv make(const shape *s) {
  return tinytl_conv_make(s->h, s->w, s->in_c, s->out_c, s->kernel, s->stride, s->groups, s->pad);
}

static void *scratch_of(size_t nbytes) {
  return aligned_alloc(64, tinytl_round_up(nbytes + 1, 64));
}

/* Values of the weights as 8-bit steps of a scale for each output channel. */
static tinytl_weight quantise(const tinytl_conv *conv, float *values) {
  const size_t n = conv_n_weights(conv), filter = n / (size_t)conv->out_c;
  int8_t *i8 = malloc(n);
  float *scale = malloc((size_t)conv->out_c * sizeof *scale);
  for (int o = 0; o < conv->out_c; o++) scale[o] = 0.01f + 0.001f * (float)(o % 13);
  for (size_t i = 0; i < n; i++) {
    const size_t o = conv_is_depthwise(conv) ? i % (size_t)conv->out_c : i / filter;
    i8[i] = (int8_t)((int)(i * 89 + o * 7) % 255 - 127);
    values[i] = (float)i8[i] * scale[o];
  }
  return (tinytl_weight){.i8 = i8, .scale = scale};
}

typedef struct fixture {
  tinytl_conv conv;
  float *x, *w, *dy, *plain; /* plain: weights without the gain */
  double *x64, *w64, *dy64;
  tinytl_weight weight;
} fixture;

/* Bits: weights of 8 bits, with a gain. w holds what they amount to. */
enum { INT8 = 1, GAIN = 2, N_KINDS = 4 };

static void add_gain(fixture *f) {
  const size_t n = conv_n_weights(&f->conv), filter = n / (size_t)f->conv.out_c;
  float *gain = malloc((size_t)f->conv.out_c * sizeof *gain), *plain = malloc(n * sizeof *plain);
  for (int o = 0; o < f->conv.out_c; o++) gain[o] = 0.5f + 0.25f * (float)(o % 7);
  memcpy(plain, f->w, n * sizeof *plain);
  for (size_t i = 0; i < n; i++)
    f->w[i] *= gain[conv_is_depthwise(&f->conv) ? i % (size_t)f->conv.out_c : i / filter];
  if (f->weight.f32)
    f->weight.f32 = f->plain = plain;
  else
    free(plain);
  f->weight.gain = gain;
}

static fixture fixture_make(const shape *s, int kind) {
  fixture f = {.conv = make(s)};
  f.x = op_random(conv_n_in(&f.conv), 1);
  f.w = op_random(conv_n_weights(&f.conv), 2);
  f.dy = op_random(conv_n_out(&f.conv), 3);
  f.weight = kind & INT8 ? quantise(&f.conv, f.w) : (tinytl_weight){.f32 = f.w};
  if (kind & GAIN) add_gain(&f);
  f.x64 = op_widen(f.x, conv_n_in(&f.conv));
  f.w64 = op_widen(f.w, conv_n_weights(&f.conv));
  f.dy64 = op_widen(f.dy, conv_n_out(&f.conv));
  return f;
}

static void fixture_free(fixture *f) {
  free((void *)(uintptr_t)f->weight.i8);
  free((void *)(uintptr_t)f->weight.scale);
  free((void *)(uintptr_t)f->weight.gain);
  free(f->plain);
  float *floats[] = {f->x, f->w, f->dy};
  double *doubles[] = {f->x64, f->w64, f->dy64};
  for (int i = 0; i < 3; i++) free(floats[i]), free(doubles[i]);
}

/* Rounding of a sum of n terms in float stays far below this. */
static const double TOLERANCE = 1e-5;

static void check(const shape *s, const tinytl_kernels *kernels, const char *what, double error) {
  if (error < TOLERANCE) return;
  fail_msg("%s, %s: %dx%dx%d -> %d, kernel %d stride %d groups %d pad %d: error %g", kernels->name,
           what, s->h, s->w, s->in_c, s->out_c, s->kernel, s->stride, s->groups, s->pad, error);
}

static void check_forward(const shape *s, const fixture *f, tinytl_run run) {
  const size_t n = conv_n_out(&f->conv);
  float *y = malloc(n * sizeof *y);
  double *want = calloc(n, sizeof *want);
  const tinytl_epilogue none = {0};
  run.scratch = scratch_of(tinytl_conv_forward_scratch(&f->conv, run.kernels));
  tinytl_conv_forward(&run, &f->conv, &f->weight, &none, f->x, y);
  conv_reference(&f->conv, (conv_arrays){.x = f->x64, .w = f->w64, .y = want});
  check(s, run.kernels, "forward", op_error(y, want, n));
  free(y), free(want), free(run.scratch);
}

static void check_backward_input(const shape *s, const fixture *f, tinytl_run run) {
  const size_t n = conv_n_in(&f->conv);
  float *dx = malloc(n * sizeof *dx);
  double *want = calloc(n, sizeof *want);
  run.scratch = scratch_of(tinytl_conv_backward_input_scratch(&f->conv, run.kernels));
  tinytl_conv_backward_input(&run, &f->conv, &f->weight, f->dy, dx, false);
  conv_reference(&f->conv, (conv_arrays){.w = f->w64, .dy = f->dy64, .dx = want});
  check(s, run.kernels, "backward input", op_error(dx, want, n));

  memcpy(dx, f->x, n * sizeof *dx);
  for (size_t i = 0; i < n; i++) want[i] += f->x64[i];
  tinytl_conv_backward_input(&run, &f->conv, &f->weight, f->dy, dx, true);
  check(s, run.kernels, "backward input, accumulating", op_error(dx, want, n));
  free(dx), free(want), free(run.scratch);
}

static void check_backward_weight(const shape *s, const fixture *f, tinytl_run run) {
  const size_t n = conv_n_weights(&f->conv);
  float *dw = malloc(n * sizeof *dw);
  double *want = calloc(n, sizeof *want);
  memcpy(dw, f->w, n * sizeof *dw);
  memcpy(want, f->w64, n * sizeof *want);
  run.scratch = scratch_of(tinytl_conv_backward_weight_scratch(&f->conv, run.kernels));
  tinytl_conv_backward_weight(&run, &f->conv, f->x, f->dy, dw);
  conv_reference(&f->conv, (conv_arrays){.x = f->x64, .dy = f->dy64, .dw = want});
  check(s, run.kernels, "backward weight", op_error(dw, want, n));
  free(dw), free(want), free(run.scratch);
}

/* The gradient of the gain of y = gain (w * x) is the sum of dy (w * x). */
static void check_backward_gain(const shape *s, const fixture *f, tinytl_run run) {
  const size_t n_w = conv_n_weights(&f->conv), n_y = conv_n_out(&f->conv);
  const size_t out_c = (size_t)f->conv.out_c;
  float *dw = calloc(n_w, sizeof *dw), *dgain = op_random(out_c, 6);
  double *want = op_widen(dgain, out_c), *y = calloc(n_y, sizeof *y);
  run.scratch = scratch_of(tinytl_conv_backward_weight_scratch(&f->conv, run.kernels));
  tinytl_conv_backward_weight(&run, &f->conv, f->x, f->dy, dw);
  tinytl_conv_backward_gain(&run, &f->conv, &f->weight, dw, dgain);
  conv_reference(&f->conv, (conv_arrays){.x = f->x64, .w = f->w64, .y = y});
  for (size_t i = 0; i < n_y; i++)
    want[i % out_c] += f->dy64[i] * y[i] / (double)f->weight.gain[i % out_c];
  check(s, run.kernels, "backward gain", op_error(dgain, want, out_c));
  free(dw), free(dgain), free(want), free(y), free(run.scratch);
}

static void check_shape(const shape *s, int kind) {
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  fixture f = fixture_make(s, kind);
  for (int set = 0; set < n_sets; set++) {
    const tinytl_run run = {.kernels = sets[set]};
    check_forward(s, &f, run);
    check_backward_input(s, &f, run);
    check_backward_weight(s, &f, run);
    if (kind & GAIN) check_backward_gain(s, &f, run);
  }
  fixture_free(&f);
}

static void test_against_reference(void **state) {
  (void)state;
  for (int i = 0; i < N_KINDS * N_SHAPES; i++) check_shape(&SHAPES[i / N_KINDS], i % N_KINDS);
}

/* 1 to n, most of them small. */
static int draw(tinytl_rng *rng, int n) {
  return 1 + (int)tinytl_rng_below(rng, 1 + tinytl_rng_below(rng, (uint32_t)n));
}

/* What no list of shapes thought of. */
static void test_random_shapes(void **state) {
  (void)state;
  enum { N = 300 };
  for (int i = 0; i < N; i++) {
    tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_INIT, (uint64_t)i, 0);
    shape s = {.h = draw(&rng, 14), .w = draw(&rng, 14), .kernel = draw(&rng, 7)};
    s.stride = draw(&rng, 3);
    s.groups = i % 3 == 0 ? 1 : draw(&rng, 40);
    s.in_c = s.groups * draw(&rng, s.groups == 1 ? 40 : i % 3);
    s.out_c = i % 3 == 1 ? s.in_c : s.groups * draw(&rng, s.groups == 1 ? 260 : 4);
    s.pad = i % 2 ? TINYTL_PAD_SAME : TINYTL_PAD_SYMMETRIC;
    const tinytl_conv conv = make(&s);
    if (conv.out_h > 0 && conv.out_w > 0) check_shape(&s, i % N_KINDS);
  }
}

/* The references of the gradients against differences of the reference of the forward pass: the
 * sum of dy * conv(x, w), along one random direction of x and one of w. conv is linear in each. */
static void test_reference_gradients(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    fixture f = fixture_make(&SHAPES[i], 0);
    const size_t n_x = conv_n_in(&f.conv), n_w = conv_n_weights(&f.conv), n_y = conv_n_out(&f.conv);
    double *dx = calloc(n_x, sizeof *dx), *dw = calloc(n_w, sizeof *dw);
    conv_reference(&f.conv,
                   (conv_arrays){.x = f.x64, .w = f.w64, .dy = f.dy64, .dx = dx, .dw = dw});
    float *step_x = op_random(n_x, 4), *step_w = op_random(n_w, 5);
    const double h = 1e-3;
    double slope = 0, difference = 0;
    for (size_t k = 0; k < n_x; k++) slope += dx[k] * step_x[k];
    for (size_t k = 0; k < n_w; k++) slope += dw[k] * step_w[k];
    for (int sign = -1; sign <= 1; sign += 2) {
      double *x = op_widen(f.x, n_x), *w = op_widen(f.w, n_w), *y = calloc(n_y, sizeof *y);
      for (size_t k = 0; k < n_x; k++) x[k] += sign * h * step_x[k];
      for (size_t k = 0; k < n_w; k++) w[k] += sign * h * step_w[k];
      conv_reference(&f.conv, (conv_arrays){.x = x, .w = w, .y = y});
      for (size_t k = 0; k < n_y; k++) difference += sign * f.dy64[k] * y[k] / (2 * h);
      free(x), free(w), free(y);
    }
    assert_float_equal(slope, difference, 1e-7 * (1 + (slope < 0 ? -slope : slope)));
    free(dx), free(dw), free(step_x), free(step_w);
    fixture_free(&f);
  }
}

/* Everything that a shape computes, one after the other in out. */
static void everything(const tinytl_run *outer, const void *context, float *out) {
  fixture f = fixture_make(context, INT8 | GAIN);
  tinytl_run run = *outer;
  const tinytl_epilogue none = {0};
  run.scratch = scratch_of(tinytl_conv_forward_scratch(&f.conv, run.kernels));
  tinytl_conv_forward(&run, &f.conv, &f.weight, &none, f.x, out);
  free(run.scratch);
  out += conv_n_out(&f.conv);
  run.scratch = scratch_of(tinytl_conv_backward_input_scratch(&f.conv, run.kernels));
  tinytl_conv_backward_input(&run, &f.conv, &f.weight, f.dy, out, false);
  free(run.scratch);
  out += conv_n_in(&f.conv);
  run.scratch = scratch_of(tinytl_conv_backward_weight_scratch(&f.conv, run.kernels));
  tinytl_conv_backward_weight(&run, &f.conv, f.x, f.dy, out);
  free(run.scratch);
  tinytl_conv_backward_gain(&run, &f.conv, &f.weight, out, out + conv_n_weights(&f.conv));
  fixture_free(&f);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    const tinytl_conv conv = make(&SHAPES[i]);
    const size_t n =
        conv_n_out(&conv) + conv_n_in(&conv) + conv_n_weights(&conv) + (size_t)conv.out_c;
    assert_true(op_same_with_any_threads(everything, &SHAPES[i], n));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reference_gradients),
      cmocka_unit_test(test_against_reference),
      cmocka_unit_test(test_random_shapes),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
