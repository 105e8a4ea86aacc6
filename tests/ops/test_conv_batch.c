#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"

/* The convolution of a batch against that of its images one by one, which test_conv.c checks. */

typedef struct shape {
  int in_h, in_w, in_c, out_c, kernel, stride, groups, n_images;
} shape;

static const shape SHAPES[] = {
    {5, 7, 9, 20, 1, 1, 1, 3},   {1, 1, 33, 5, 1, 1, 1, 17},     {7, 5, 19, 19, 3, 1, 19, 18},
    {9, 9, 24, 24, 5, 2, 24, 2}, {13, 11, 3, 12, 3, 2, 1, 35},   {8, 8, 3, 7, 5, 1, 1, 1},
    {6, 7, 5, 9, 3, 2, 1, 3},    {4, 4, 8, 8, 5, 1, 2, 19},      {8, 7, 40, 44, 5, 2, 4, 5},
    {8, 8, 16, 16, 5, 1, 4, 4},  {1, 1, 1280, 100, 1, 1, 1, 300}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };
static const float SCALE[3] = {0.01f, 0.02f, 0.03f}, SHIFT[3] = {-1, 0.5f, 2};

static tinytl_conv conv_of(const shape *s) {
  return tinytl_conv_make(s->in_h, s->in_w, s->in_c, s->out_c, s->kernel, s->stride, s->groups,
                          TINYTL_PAD_SYMMETRIC);
}

typedef struct problem {
  tinytl_conv conv;
  int n_images;
  size_t n_in, n_out, n_w; /* floats of an image; of the weights */
  float *x, *w, *dy;
  uint8_t *pixels;
  const uint8_t *rgb[300]; /* of the first layer */
} problem;

static problem problem_of(const shape *s) {
  problem p = {.conv = conv_of(s), .n_images = s->n_images};
  p.n_in = (size_t)s->in_h * s->in_w * s->in_c;
  p.n_out = (size_t)p.conv.out_h * p.conv.out_w * s->out_c;
  p.n_w = (size_t)s->kernel * s->kernel * (s->in_c / s->groups) * s->out_c;
  p.x = op_random(p.n_in * s->n_images, 1);
  p.w = op_random(p.n_w, 2);
  p.dy = op_random(p.n_out * s->n_images, 3);
  p.pixels = malloc(p.n_in * s->n_images);
  for (size_t i = 0; i < p.n_in * s->n_images; i++) p.pixels[i] = (uint8_t)(i * 37);
  for (int i = 0; i < s->n_images; i++) p.rgb[i] = p.pixels + i * p.n_in;
  return p;
}

static void problem_free(problem *p) {
  free(p->x);
  free(p->w);
  free(p->dy);
  free(p->pixels);
}

static size_t n_out_of(const problem *p) {
  return (p->n_out + p->n_in) * p->n_images + p->n_w;
}

/* out: y, dx (added to), dw (added to). */
static void run_batch(const tinytl_run *given, const problem *p, float *out) {
  const tinytl_conv *conv = &p->conv;
  const int n = p->n_images;
  float *y = out, *dx = y + p->n_out * n, *dw = dx + p->n_in * n;
  tinytl_run run = *given;
  run.scratch =
      aligned_alloc(64, tinytl_round_up(tinytl_batch_conv_scratch(conv, n, run.kernels), 64) + 64);
  if (conv->in_c == 3) {
    tinytl_batch_conv_forward_rgb(&run, conv, n, p->w, p->rgb, SCALE, SHIFT, y);
    tinytl_batch_conv_backward_weight_rgb(&run, conv, n, p->rgb, SCALE, SHIFT, p->dy, dw);
  } else {
    tinytl_batch_conv_forward(&run, conv, n, p->w, p->x, y);
    tinytl_batch_conv_backward_input(&run, conv, n, p->w, p->dy, dx, true);
    tinytl_batch_conv_backward_weight(&run, conv, n, p->x, p->dy, dw);
  }
  free(run.scratch);
}

static void run_singly(const tinytl_run *given, const problem *p, float *out) {
  const tinytl_conv *conv = &p->conv;
  const tinytl_weight w = {.f32 = p->w};
  const tinytl_epilogue none = {0};
  float *y = out, *dx = y + p->n_out * p->n_images, *dw = dx + p->n_in * p->n_images;
  tinytl_run run = *given;
  run.scratch = aligned_alloc(64, 4 << 20);
  for (int i = 0; i < p->n_images; i++) {
    const float *x = p->x + i * p->n_in, *dy = p->dy + i * p->n_out;
    if (conv->in_c == 3) {
      tinytl_conv_forward_rgb(&run, conv, &w, &none, p->rgb[i], SCALE, SHIFT, y + i * p->n_out);
      tinytl_conv_backward_weight_rgb(&run, conv, p->rgb[i], SCALE, SHIFT, dy, dw);
    } else {
      tinytl_conv_forward(&run, conv, &w, &none, x, y + i * p->n_out);
      tinytl_conv_backward_input(&run, conv, &w, dy, dx + i * p->n_in, true);
      tinytl_conv_backward_weight(&run, conv, x, dy, dw);
    }
  }
  free(run.scratch);
}

static void check_against_single_images(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    problem p = problem_of(&SHAPES[i]);
    const size_t n = n_out_of(&p);
    float *batch = op_random(n, 5), *singly = op_random(n, 5);
    run_batch(run, &p, batch);
    run_singly(run, &p, singly);
    double *wide = op_widen(singly, n);
    assert_true(op_error(batch, wide, n) < 1e-5);
    free(batch);
    free(singly);
    free(wide);
    problem_free(&p);
  }
}

static void test_against_single_images(void **state) {
  (void)state;
  op_with_each_set(check_against_single_images);
}

/* A rank may have fewer images than were planned for. */
static void check_scratch_grows(const tinytl_run *run) {
  for (int i = 0; i < N_SHAPES; i++) {
    const tinytl_conv conv = conv_of(&SHAPES[i]);
    size_t forward = 0, all = 0;
    for (int n = 1; n <= 70; n++) {
      const size_t forward_n = tinytl_batch_conv_forward_scratch(&conv, n, run->kernels);
      const size_t all_n = tinytl_batch_conv_scratch(&conv, n, run->kernels);
      assert_true(forward_n >= forward && all_n >= all);
      forward = forward_n;
      all = all_n;
    }
  }
}

static void test_scratch_grows(void **state) {
  (void)state;
  op_with_each_set(check_scratch_grows);
}

static size_t touched(const unsigned char *bytes, size_t n) {
  while (n > 0 && bytes[n - 1] == 0xa5) n--;
  return n;
}

/* Of narrow groups, and of many inputs, it was more. */
static void check_scratch(const tinytl_run *given) {
  enum { ROOM = 8 << 20 };
  unsigned char *scratch = aligned_alloc(64, ROOM);
  tinytl_run run = *given;
  run.scratch = scratch;
  for (int i = 0; i < N_SHAPES; i++) {
    if (SHAPES[i].in_c == 3) continue;
    problem p = problem_of(&SHAPES[i]);
    float *y = op_random(p.n_out * p.n_images, 5), *dx = op_random(p.n_in * p.n_images, 6);
    memset(scratch, 0xa5, ROOM);
    tinytl_batch_conv_forward(&run, &p.conv, p.n_images, p.w, p.x, y);
    assert_true(touched(scratch, ROOM) <=
                tinytl_batch_conv_forward_scratch(&p.conv, p.n_images, run.kernels));
    tinytl_batch_conv_backward_input(&run, &p.conv, p.n_images, p.w, p.dy, dx, false);
    assert_true(touched(scratch, ROOM) <=
                tinytl_batch_conv_scratch(&p.conv, p.n_images, run.kernels));
    free(y);
    free(dx);
    problem_free(&p);
  }
  free(scratch);
}

static void test_scratch(void **state) {
  (void)state;
  op_with_each_set(check_scratch);
}

static void everything(const tinytl_run *run, const void *context, float *out) {
  problem p = problem_of(context);
  run_batch(run, &p, out);
  problem_free(&p);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    problem p = problem_of(&SHAPES[i]);
    assert_true(op_same_with_any_threads(everything, &SHAPES[i], n_out_of(&p)));
    problem_free(&p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_single_images),
      cmocka_unit_test(test_scratch),
      cmocka_unit_test(test_scratch_grows),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
