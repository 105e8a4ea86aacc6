/* tinytl_run's turn: an operator leaves gradients alone until it has come. */
#include "support/cmocka.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ops/conv_reference.h"
#include "support/op_check.h"

enum { N_GRADIENT = 4096, SIDE = 6, WAIT_NS = 5000000 };

/* Adds to gradient. */
typedef void (*operator_fn)(const tinytl_run *run, float *gradient);

static void *scratch(size_t nbytes) {
  return aligned_alloc(64, tinytl_round_up(nbytes + 1, 64));
}

static void weight(const tinytl_run *outer, const tinytl_conv *conv, float *gradient) {
  tinytl_run run = *outer;
  float *x = op_random(conv_n_in(conv), 1), *dy = op_random(conv_n_out(conv), 2);
  run.scratch = scratch(tinytl_conv_backward_weight_scratch(conv, run.kernels));
  tinytl_conv_backward_weight(&run, conv, x, dy, gradient);
  free(x), free(dy), free(run.scratch);
}

static void dense_weight(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 10, 12, 3, 1, 1, TINYTL_PAD_SAME);
  weight(run, &conv, gradient);
}

static void pointwise_weight(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 20, 12, 1, 1, 1, TINYTL_PAD_SAME);
  weight(run, &conv, gradient);
}

static void narrow_weight(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 16, 16, 3, 1, 8, TINYTL_PAD_SAME);
  weight(run, &conv, gradient);
}

static void depthwise_weight(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 20, 20, 5, 1, 20, TINYTL_PAD_SAME);
  weight(run, &conv, gradient);
}

static void rgb_weight(const tinytl_run *outer, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 3, 16, 3, 2, 1, TINYTL_PAD_SAME);
  const float scale[3] = {0.01f, 0.01f, 0.01f}, shift[3] = {-1, -1, -1};
  uint8_t rgb[SIDE * SIDE * 3];
  tinytl_run run = *outer;
  float *dy = op_random(conv_n_out(&conv), 3);
  for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * 101 % 256);
  run.scratch = scratch(tinytl_conv_backward_weight_rgb_scratch(&conv));
  tinytl_conv_backward_weight_rgb(&run, &conv, rgb, scale, shift, dy, gradient);
  free(dy), free(run.scratch);
}

static void gain(const tinytl_run *run, const tinytl_conv *conv, float *gradient) {
  float *w = op_random(conv_n_weights(conv), 4), *dw = op_random(conv_n_weights(conv), 5);
  tinytl_conv_backward_gain(run, conv, &(tinytl_weight){.f32 = w}, dw, gradient);
  free(w), free(dw);
}

static void dense_gain(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 10, 12, 1, 1, 1, TINYTL_PAD_SAME);
  gain(run, &conv, gradient);
}

static void depthwise_gain(const tinytl_run *run, float *gradient) {
  const tinytl_conv conv = tinytl_conv_make(SIDE, SIDE, 20, 20, 3, 1, 20, TINYTL_PAD_SAME);
  gain(run, &conv, gradient);
}

static void epilogue_bias(const tinytl_run *outer, float *gradient) {
  tinytl_run run = *outer;
  float *dy = op_random((size_t)SIDE * SIDE * 20, 6);
  run.scratch = scratch(tinytl_epilogue_backward_scratch(SIDE * SIDE, 20));
  tinytl_epilogue_backward(&run, SIDE * SIDE, 20, NULL, dy, gradient);
  free(dy), free(run.scratch);
}

static void block_bias(const tinytl_run *outer, bool expands, float *gradient) {
  const int in_c = expands ? 4 : 24;
  const tinytl_conv expand = tinytl_conv_make(SIDE, SIDE, in_c, 24, 1, 1, 1, TINYTL_PAD_SAME);
  const tinytl_conv depthwise = tinytl_conv_make(SIDE, SIDE, 24, 24, 3, 1, 24, TINYTL_PAD_SAME);
  const tinytl_conv project = tinytl_conv_make(SIDE, SIDE, 24, 4, 1, 1, 1, TINYTL_PAD_SAME);
  float *w = op_random((size_t)24 * 24, 7), *dy = op_random((size_t)SIDE * SIDE * 4, 8);
  float *dx = malloc((size_t)SIDE * SIDE * in_c * sizeof *dx);
  const tinytl_weight weights = {.f32 = w};
  tinytl_fused_block block = {.depthwise = {.conv = &depthwise, .weight = &weights},
                              .project = {.conv = &project, .weight = &weights},
                              .n_threads = 1};
  if (expands) /* whose sums are added alone, after those of depthwise */
    block.expand = (tinytl_block_layer){.conv = &expand, .weight = &weights, .dbias = gradient};
  else
    block.depthwise.dbias = gradient;
  tinytl_run run = *outer;
  run.scratch = scratch(tinytl_fused_block_backward_scratch(&block, run.kernels));
  tinytl_fused_block_backward(&run, &block, dy, dx, false);
  free(w), free(dy), free(dx), free(run.scratch);
}

static void block_expand_bias(const tinytl_run *run, float *gradient) {
  block_bias(run, true, gradient);
}

static void block_depthwise_bias(const tinytl_run *run, float *gradient) {
  block_bias(run, false, gradient);
}

static void norm(const tinytl_run *run, bool scale, float *gradient) {
  float *x_hat = op_random((size_t)SIDE * SIDE * 20, 9), *values = op_random(20, 10);
  float *dy = op_random((size_t)SIDE * SIDE * 20, 11), rstd[3] = {1, 1, 1};
  tinytl_group_norm_backward(run, SIDE * SIDE, 20, x_hat, rstd, values, values, TINYTL_ACT_NONE, dy,
                             scale ? gradient : NULL, scale ? NULL : gradient);
  free(x_hat), free(values), free(dy);
}

static void norm_scale(const tinytl_run *run, float *gradient) {
  norm(run, true, gradient);
}

static void norm_shift(const tinytl_run *run, float *gradient) {
  norm(run, false, gradient);
}

static void linear(const tinytl_run *run, bool weights, float *gradient) {
  float *x = op_random(20, 12), *dy = op_random(5, 13);
  tinytl_linear_backward(run, 20, 5, NULL, x, dy, weights ? gradient : NULL,
                         weights ? NULL : gradient, NULL);
  free(x), free(dy);
}

static void linear_weight(const tinytl_run *run, float *gradient) {
  linear(run, true, gradient);
}

static void linear_bias(const tinytl_run *run, float *gradient) {
  linear(run, false, gradient);
}

static const operator_fn OPERATORS[] = {
    dense_weight, pointwise_weight, narrow_weight, depthwise_weight,  rgb_weight,
    dense_gain,   depthwise_gain,   epilogue_bias, block_expand_bias, block_depthwise_bias,
    norm_scale,   norm_shift,       linear_weight, linear_bias};
enum { N_OPERATORS = sizeof OPERATORS / sizeof OPERATORS[0] };

typedef struct job {
  operator_fn operator;
  tinytl_run run;
  float *gradient;
} job;

static void *job_main(void *argument) {
  const job *j = argument;
  j->operator(&j->run, j->gradient);
  return NULL;
}

static void test_gradients_are_left_alone_until_the_turn(void **state) {
  (void)state;
  for (int i = 0; i < N_OPERATORS; i++) {
    const size_t nbytes = N_GRADIENT * sizeof(float);
    float *before = op_random(N_GRADIENT, 20), *want = op_random(N_GRADIENT, 20);
    float *got = op_random(N_GRADIENT, 20);
    const tinytl_run run = {.kernels = tinytl_kernels_get()};
    OPERATORS[i](&run, want);
    assert_memory_not_equal(want, before, nbytes);

    atomic_int turn = 6;
    job j = {OPERATORS[i], run, got};
    j.run.turn = &turn;
    j.run.turn_at = 7;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, job_main, &j), 0);
    nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
    const bool left_alone = memcmp(got, before, nbytes) == 0;
    atomic_store(&turn, 7);
    pthread_join(thread, NULL);
    assert_true(left_alone);
    assert_memory_equal(got, want, nbytes);
    free(before), free(want), free(got);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradients_are_left_alone_until_the_turn)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
