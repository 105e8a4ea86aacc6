#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"
#include "support/reference.h"

/* Sides of 1 and odd ones, groups 1 to 4, channels that do not fill a norm's group. */
typedef struct shape {
  int in_h, in_w, n_images;
  tinytl_lite lite;
} shape;

static const shape SHAPES[] = {
    {6, 9, 3, {.in_c = 8, .mid_c = 8, .out_c = 12, .kernel = 5, .groups = 2, .stride = 2}},
    {3, 2, 17, {.in_c = 8, .mid_c = 8, .out_c = 8, .kernel = 3, .groups = 4, .stride = 1}},
    {1, 2, 2, {.in_c = 3, .mid_c = 8, .out_c = 5, .kernel = 1, .groups = 1, .stride = 1}},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

/* Where everything lies: params are x of all images, then the values; out is y of all images. */
typedef struct problem {
  shape s;
  tinytl_batch_lite lite;
  size_t n_in, n_out, first[TINYTL_LITE_TENSORS], n_params;
} problem;

static problem problem_of(const shape *s) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  const tinytl_conv block = tinytl_conv_make(s->in_h, s->in_w, s->lite.in_c, s->lite.out_c, 3,
                                             s->lite.stride, 1, TINYTL_PAD_SYMMETRIC);
  problem p = {.s = *s, .lite = tinytl_batch_lite_make(&s->lite, &block, &block)};
  p.n_in = (size_t)s->in_h * s->in_w * s->lite.in_c;
  p.n_out = (size_t)block.out_h * block.out_w * s->lite.out_c;
  p.n_params = p.n_in * s->n_images;
  tinytl_lite_tensors(&s->lite, tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    p.first[t] = p.n_params;
    p.n_params += tensors[t].n;
  }
  return p;
}

static void reference(const void *context, const double *params, double *y) {
  const problem *p = context;
  const double *values[TINYTL_LITE_TENSORS];
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) values[t] = params + p->first[t];
  for (int i = 0; i < p->s.n_images; i++) {
    memset(y + i * p->n_out, 0, p->n_out * sizeof *y);
    reference_lite(&p->s.lite, values, params + i * p->n_in, p->s.in_h, p->s.in_w, y + i * p->n_out,
                   p->lite.out_h, p->lite.out_w);
  }
}

/* y and gradient are added to. */
static void run_both(const tinytl_run *given, const problem *p, const float *params,
                     const float *dy, float *y, float *gradient) {
  const int n = p->s.n_images;
  const tinytl_lite_values values = {.conv = params + p->first[TINYTL_LITE_CONV],
                                     .scale1 = params + p->first[TINYTL_LITE_SCALE1],
                                     .shift1 = params + p->first[TINYTL_LITE_SHIFT1],
                                     .pointwise = params + p->first[TINYTL_LITE_POINTWISE],
                                     .scale2 = params + p->first[TINYTL_LITE_SCALE2],
                                     .shift2 = params + p->first[TINYTL_LITE_SHIFT2]};
  const size_t kept = n * tinytl_batch_lite_kept_floats(&p->lite);
  const size_t room = n * tinytl_batch_lite_room_floats(&p->lite);
  const tinytl_batch_lite_maps maps = {malloc(kept * sizeof(float)), malloc(room * sizeof(float))};
  float *gradients[TINYTL_LITE_TENSORS];
  tinytl_run run = *given;
  run.scratch = aligned_alloc(
      64, tinytl_round_up(tinytl_batch_lite_scratch(&p->lite, n, run.kernels), 64) + 64);
  memset(maps.kept, 0xff, kept * sizeof(float));
  memset(maps.room, 0xff, room * sizeof(float));
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) gradients[t] = gradient + p->first[t];
  tinytl_batch_lite_forward(&run, &p->lite, n, &values, &maps, params, y);
  tinytl_batch_lite_backward(&run, &p->lite, n, &values, &maps, dy, gradient, gradients);
  free(maps.kept);
  free(maps.room);
  free(run.scratch);
}

static void check(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const problem p = problem_of(&SHAPES[i]);
    const size_t n_y = p.n_out * p.s.n_images;
    float *params = op_random(p.n_params, 1), *dy = op_random(n_y, 2);
    float *y = calloc(n_y, sizeof(float)), *gradient = calloc(p.n_params, sizeof(float));
    double *wide = op_widen(params, p.n_params), *expected = calloc(n_y, sizeof(double));
    run_both(run, &p, params, dy, y, gradient);
    reference(&p, wide, expected);
    assert_true(op_error(y, expected, n_y) < 1e-4);
    assert_true(op_gradient_error(reference, &p, params, p.n_params, dy, n_y, gradient) < 1e-3);
    free(params);
    free(dy);
    free(y);
    free(gradient);
    free(wide);
    free(expected);
  }
}

static void test_against_reference(void **state) {
  (void)state;
  op_with_each_set(check);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  const problem p = problem_of(context);
  float *params = op_random(p.n_params, 1), *dy = op_random(p.n_out * p.s.n_images, 2);
  run_both(run, &p, params, dy, out, out + p.n_out * p.s.n_images);
  free(params);
  free(dy);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    const problem p = problem_of(&SHAPES[i]);
    assert_true(
        op_same_with_any_threads(everything, &SHAPES[i], p.n_out * p.s.n_images + p.n_params));
  }
}

/* A part of the module, of a smaller kernel or more groups, finds room in the scratch of the whole.
 */
static void test_parts_take_no_more_scratch(void **state) {
  (void)state;
  const tinytl_kernels *kernels = tinytl_kernels_get();
  for (int side = 2; side <= 64; side += 31)
    for (int channels = 8; channels <= 96; channels *= 2) {
      const tinytl_conv block =
          tinytl_conv_make(side, side, channels, channels, 3, 2, 1, TINYTL_PAD_SYMMETRIC);
      tinytl_lite lite = {
          .in_c = channels, .mid_c = channels, .out_c = channels, .kernel = 5, .stride = 2};
      lite.groups = 2;
      const tinytl_batch_lite whole = tinytl_batch_lite_make(&lite, &block, &block);
      for (int part = 0; part < 4; part++) {
        lite.groups = part % 2 ? 4 : 2;
        lite.kernel = part / 2 ? 3 : 5;
        const tinytl_batch_lite smaller = tinytl_batch_lite_make(&lite, &block, &block);
        assert_true(tinytl_batch_conv_scratch(&smaller.conv, 64, kernels) <=
                    tinytl_batch_lite_scratch(&whole, 64, kernels));
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_reference),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_parts_take_no_more_scratch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
