#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/supernet.h"
#include "support/batch_reference.h"
#include "support/op_check.h"
#include "support/tiny_net.h"

enum { IMAGES = 3, MOST_IMAGES = 4 };

typedef struct fixture {
  tinytl_backbone *backbone;
  tinytl_batch_net net;
  tinytl_batch_run run;
  float *values, *gradient;
  uint8_t pixels[IMAGES][TINY_SIZE * TINY_SIZE * 3];
  const uint8_t *rgb[IMAGES];
} fixture;

static fixture *make(tinytl_pad pad, bool with_lite) {
  fixture *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_F32, pad, with_lite);
  assert_int_equal(
      tinytl_batch_net_init(&f->net, &f->backbone->arch, TINY_SIZE, MOST_IMAGES, true, NULL),
      TINYTL_OK);
  const size_t n = f->net.params.n;
  f->values = op_random(n, 4);
  f->gradient = calloc(n, sizeof(float));
  for (int i = 0; i < IMAGES; i++) {
    tiny_picture(i, f->pixels[i]);
    f->rgb[i] = f->pixels[i];
  }
  f->run = (tinytl_batch_run){.net = &f->net,
                              .run = {.kernels = tinytl_kernels_get()},
                              .block = aligned_alloc(64, f->net.nbytes),
                              .values = f->values,
                              .rgb = f->rgb,
                              .n_images = IMAGES,
                              .input_scale = {0.01f, 0.012f, 0.008f},
                              .input_shift = {-1, -1.2f, -0.9f}};
  return f;
}

static void discard(fixture *f) {
  tinytl_backbone_free(f->backbone);
  free(f->values);
  free(f->gradient);
  free(f->run.block);
  free(f);
}

static void reference(const fixture *f, const double *values, double *logits) {
  batch_reference_forward(&f->net, values, f->rgb, IMAGES, f->run.input_scale, f->run.input_shift,
                          logits);
}

static void check_forward(tinytl_pad pad, bool with_lite) {
  fixture *f = make(pad, with_lite);
  double expected[IMAGES * TINY_CLASSES], *wide = op_widen(f->values, f->net.params.n);
  /* What is in the block before does not matter. */
  memset(f->run.block, 0xff, f->net.nbytes);
  const float *logits = tinytl_batch_forward(&f->run, NULL);
  reference(f, wide, expected);
  assert_true(op_error(logits, expected, IMAGES * TINY_CLASSES) < 1e-4);
  free(wide);
  discard(f);
}

static double weighted_sum(const fixture *f, const double *values, const float *dlogits) {
  double logits[IMAGES * TINY_CLASSES], sum = 0;
  reference(f, values, logits);
  for (int i = 0; i < IMAGES * TINY_CLASSES; i++) sum += logits[i] * dlogits[i];
  return sum;
}

/* Along a random direction within values [first, first + n). */
static void check_direction(const fixture *f, const float *dlogits, size_t first, size_t n) {
  const double h = 1e-6;
  float *direction = op_random(n, first);
  double *point = op_widen(f->values, f->net.params.n), slope = 0, size = 0;
  for (size_t i = 0; i < n; i++) {
    point[first + i] += h * direction[i];
    slope += (double)f->gradient[first + i] * direction[i];
    size += fabs((double)f->gradient[first + i] * direction[i]);
  }
  double numeric = weighted_sum(f, point, dlogits);
  for (size_t i = 0; i < n; i++) point[first + i] -= 2 * h * direction[i];
  numeric = (numeric - weighted_sum(f, point, dlogits)) / (2 * h);
  assert_true(size > 0);
  assert_true(fabs(slope - numeric) < 1e-3 * size + 1e-5);
  free(direction);
  free(point);
}

static void check_gradients(tinytl_pad pad, bool with_lite) {
  fixture *f = make(pad, with_lite);
  const tinytl_batch_params *params = &f->net.params;
  float *dlogits = op_random(IMAGES * TINY_CLASSES, 9);
  memset(f->run.block, 0xff, f->net.nbytes);
  float *logits = tinytl_batch_forward(&f->run, NULL);
  memcpy(logits, dlogits, IMAGES * TINY_CLASSES * sizeof(float));
  tinytl_batch_backward(&f->run, f->gradient);
  for (int i = 0; i < f->net.arch->n_layers; i++) {
    const tinytl_layer *layer = &f->net.arch->layers[i];
    check_direction(f, dlogits, params->weight[i], tinytl_layer_n_weights(layer));
    check_direction(f, dlogits, params->scale[i], layer->out_c);
    check_direction(f, dlogits, params->shift[i], layer->out_c);
  }
  for (int m = 0; m < f->net.arch->n_lite; m++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&f->net.arch->lite[m], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
      check_direction(f, dlogits, params->lite[m][t], tensors[t].n);
  }
  check_direction(f, dlogits, params->classifier, (size_t)TINY_CLASSES * f->net.arch->n_features);
  check_direction(f, dlogits, params->bias, TINY_CLASSES);
  free(dlogits);
  discard(f);
}

static void test_forward(void **state) {
  (void)state;
  check_forward(TINYTL_PAD_SYMMETRIC, false);
  check_forward(TINYTL_PAD_SAME, false);
  check_forward(TINYTL_PAD_SYMMETRIC, true);
}

static void test_gradients(void **state) {
  (void)state;
  check_gradients(TINYTL_PAD_SYMMETRIC, false);
  check_gradients(TINYTL_PAD_SAME, false);
  check_gradients(TINYTL_PAD_SYMMETRIC, true);
}

/* The batch's own statistics, given, change nothing; with them an image is by itself. */
static void test_given_statistics(void **state) {
  (void)state;
  fixture *f = make(TINYTL_PAD_SYMMETRIC, true);
  const size_t n = f->net.params.n_channels;
  float own_logits[IMAGES * TINY_CLASSES], *kept = malloc(2 * n * sizeof(float));
  memcpy(own_logits, tinytl_batch_forward(&f->run, NULL), sizeof own_logits);
  const tinytl_batch_statistics own = tinytl_batch_own_statistics(&f->run);
  const tinytl_batch_statistics given = {kept, kept + n};
  memcpy(given.mean, own.mean, n * sizeof(float));
  memcpy(given.var, own.var, n * sizeof(float));
  assert_memory_equal(tinytl_batch_forward(&f->run, &given), own_logits, sizeof own_logits);
  f->run.n_images = 1;
  f->run.rgb = &f->rgb[1];
  assert_memory_equal(tinytl_batch_forward(&f->run, &given), own_logits + TINY_CLASSES,
                      TINY_CLASSES * sizeof(float));
  free(kept);
  discard(f);
}

/* Of two equal batches the mean is either; variances are those of all pictures, not of the batch:
 * a search took the batch's. */
static void test_running_statistics(void **state) {
  (void)state;
  fixture *f = make(TINYTL_PAD_SYMMETRIC, false);
  const tinytl_arch *arch = &f->backbone->arch;
  const size_t n = f->net.params.n_channels;
  float *kept = calloc(2 * n, sizeof(float));
  const tinytl_batch_statistics running = {kept, kept + n};
  tinytl_batch_forward(&f->run, NULL);
  const tinytl_batch_statistics own = tinytl_batch_own_statistics(&f->run);
  for (int k = 1; k <= 2; k++)
    tinytl_batch_blend_statistics(&f->run, IMAGES, 1.0f / (float)k, &running);
  for (int i = 0; i < arch->n_layers; i++) {
    const float n_values = (float)(IMAGES * tinytl_conv_n_pixels(&f->net.conv[i]));
    const size_t first = f->net.params.channel[i];
    for (size_t c = first; c < first + (size_t)arch->layers[i].out_c; c++) {
      assert_float_equal(running.mean[c], own.mean[c], 0);
      assert_float_equal(running.var[c], own.var[c] * n_values / (n_values - 1),
                         1e-5f * own.var[c]);
    }
  }
  free(kept);
  discard(f);
}

/* Without backward there is less memory, and the same outputs. */
static void test_without_backward(void **state) {
  (void)state;
  fixture *f = make(TINYTL_PAD_SYMMETRIC, true);
  const size_t whole = f->net.nbytes;
  tinytl_space space;
  tinytl_arch *arch = malloc(sizeof *arch);
  assert_int_equal(tinytl_space_named("supernet-0.1", TINY_CLASSES, &space, NULL), TINYTL_OK);
  space.has_lite = true;
  const tinytl_subnet subnet = tinytl_subnet_draw(&space, &(tinytl_opening){3, 3, 3, 2}, 1, 2, 3);
  tinytl_subnet_arch(&space, &subnet, arch, NULL);
  float logits[2][IMAGES * TINY_CLASSES], *values = NULL;
  for (int backward = 1; backward >= 0; backward--) {
    assert_int_equal(
        tinytl_batch_net_init(&f->net, arch, TINY_SIZE, MOST_IMAGES, backward == 1, NULL),
        TINYTL_OK);
    if (backward) values = op_random(f->net.params.n, 4);
    f->run.values = values;
    free(f->run.block);
    f->run.block = aligned_alloc(64, f->net.nbytes);
    memset(f->run.block, 0xff, f->net.nbytes);
    memcpy(logits[backward], tinytl_batch_forward(&f->run, NULL), sizeof *logits);
  }
  assert_memory_equal(logits[0], logits[1], sizeof *logits);
  assert_int_equal(
      tinytl_batch_net_init(&f->net, &f->backbone->arch, TINY_SIZE, MOST_IMAGES, false, NULL),
      TINYTL_OK);
  assert_true(f->net.nbytes < whole);
  free(values);
  free(arch);
  discard(f);
}

/* Operators count a batch's pixels as int. */
static void test_too_many_pixels(void **state) {
  (void)state;
  fixture *f = make(TINYTL_PAD_SYMMETRIC, false);
  tinytl_error error;
  tinytl_batch_net *net = malloc(sizeof *net);
  assert_int_equal(tinytl_batch_net_init(net, &f->backbone->arch, 1024, 4096, false, &error),
                   TINYTL_ERROR_MEMORY_LIMIT);
  assert_non_null(strstr(error.message, "batches of 4096 pictures at image size 1024"));
  free(net);
  discard(f);
}

/* No sub-net takes more memory than the largest one: the block that a run works in is its. */
static void test_sub_nets_take_no_more(void **state) {
  (void)state;
  tinytl_arch *arch = malloc(sizeof *arch);
  tinytl_batch_net *net = malloc(sizeof *net);
  for (int i = 0; i < 8; i++) {
    const int batch = 2 << (i / 4 * 4);
    const bool backward = i % 2;
    tinytl_space space;
    assert_int_equal(tinytl_space_named("supernet-0.5", 10, &space, NULL), TINYTL_OK);
    space.has_lite = i / 2 % 2;
    const tinytl_subnet largest = tinytl_subnet_largest(&space);
    const tinytl_subnet smallest = tinytl_subnet_smallest(&space);
    tinytl_subnet_arch(&space, &largest, arch, NULL);
    assert_int_equal(tinytl_batch_net_init(net, arch, 64, batch, backward, NULL), TINYTL_OK);
    const size_t most = net->nbytes;
    for (int n = 0; n < 100; n++) {
      const tinytl_subnet subnet =
          n == 0 ? smallest : tinytl_subnet_draw(&space, &(tinytl_opening){3, 3, 3, 2}, 5, n, 0);
      tinytl_subnet_arch(&space, &subnet, arch, NULL);
      assert_int_equal(tinytl_batch_net_init(net, arch, 64, batch, backward, NULL), TINYTL_OK);
      assert_true(net->nbytes <= most);
      assert_true(n > 0 || net->nbytes < most);
    }
  }
  free(arch);
  free(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_forward),
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_given_statistics),
      cmocka_unit_test(test_without_backward),
      cmocka_unit_test(test_running_statistics),
      cmocka_unit_test(test_too_many_pixels),
      cmocka_unit_test(test_sub_nets_take_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
