/* Deferred gradients beside those that are summed up, weight by weight; a classifier that is made
 * in slices. */
#include "support/cmocka.h"
#include "support/tiny_net.h"

#include "core/rng.h"
#include "train/gradients.h"

#include <stdlib.h>
#include <string.h>

/* 40 features: a slice has 1632 classes. At the small size factors are fewer than a module's
 * weights. */
enum { BATCH = 3, N_CLASSES = 3000, SMALL_SIZE = 8 };

typedef struct fixture {
  tinytl_backbone *backbone;
  tinytl_network network;
  tinytl_params params;
  tinytl_gradients summed, deferred;
  float *values, *vectors[2];
} fixture;

static fixture *make(tinytl_method method, int image_size) {
  fixture *f = calloc(1, sizeof *f);
  const tinytl_kernels *kernels = tinytl_kernels_get();
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  assert_int_equal(tinytl_network_init(&f->network, f->backbone, image_size, N_CLASSES,
                                       tinytl_method_trains_lite(method), NULL),
                   TINYTL_OK);
  tinytl_params_layout(&f->params, &f->network, method);
  f->values = calloc(f->params.n, sizeof *f->values);
  tinytl_params_init(&f->params, &f->network, 5, NULL, f->values);
  tinytl_gradients_layout(&f->summed, &f->params, &f->network, kernels, NONE_DEFERRED);
  tinytl_gradients_layout(&f->deferred, &f->params, &f->network, kernels, BATCH);
  f->vectors[0] = calloc(f->summed.n, sizeof(float));
  f->vectors[1] = calloc(f->deferred.n, sizeof(float));
  tinytl_gradients_place(&f->summed, &f->params, f->vectors[0]);
  tinytl_gradients_place(&f->deferred, &f->params, f->vectors[1]);
  return f;
}

static void destroy(fixture *f) {
  tinytl_backbone_free(f->backbone);
  free(f->values);
  free(f->vectors[0]);
  free(f->vectors[1]);
  free(f);
}

static void fill(float *values, size_t n, uint64_t seed) {
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
  for (size_t i = 0; i < n; i++) values[i] = tinytl_rng_normal(&rng);
}

/* Feeds random factors of one weight to both, and compares what is made of them. */
static void check_weight(fixture *f, int s, const tinytl_conv *conv, float *summed,
                         const tinytl_factors *factors) {
  const tinytl_segment *segment = &f->params.segments[s];
  const size_t scratch =
      conv ? tinytl_conv_backward_weight_scratch(conv, tinytl_kernels_get()) : 64;
  tinytl_run run = {.kernels = tinytl_kernels_get(),
                    .scratch = aligned_alloc(64, tinytl_round_up(scratch, 64))};
  float *x = malloc(factors->n_x * sizeof *x), *dy = malloc(factors->n_dy * sizeof *dy);
  for (int i = 0; i < BATCH; i++) {
    fill(x, factors->n_x, 10 + (uint64_t)i);
    fill(dy, factors->n_dy, 20 + (uint64_t)i);
    tinytl_factors_put(factors, i, x, dy);
    if (conv)
      tinytl_conv_backward_weight(&run, conv, x, dy, summed);
    else
      tinytl_linear_backward(&run, f->network.n_features, N_CLASSES, NULL, x, dy, summed, NULL,
                             NULL);
  }
  unsigned char *memory = aligned_alloc(64, tinytl_round_up(f->deferred.update_nbytes, 64));
  int n_ranges = 0;
  for (size_t done = 0; done < segment->n; n_ranges++) {
    const tinytl_gradient_range made =
        tinytl_gradients_make(&f->deferred, &f->params, &f->network, &run, s, done, BATCH, memory);
    assert_int_equal(made.first, done);
    assert_true(made.n > 0 && made.first + made.n <= segment->n);
    assert_true(made.first % 256 == 0);
    assert_memory_equal(made.gradient, summed + done, made.n * sizeof(float));
    done += made.n;
  }
  assert_int_equal(n_ranges, conv ? 1 : 2);
  free(memory);
  free(run.scratch);
  free(x);
  free(dy);
}

static void test_deferred_is_the_same(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LITE_BIAS, SMALL_SIZE);
  int n_deferred = 0;
  for (int s = 0; s < f->params.n_segments; s++) {
    const tinytl_segment *segment = &f->params.segments[s];
    if (segment->offset >= f->params.n_trained) break;
    if (segment->group == TINYTL_GROUP_CLASSIFIER && !segment->classifier_bias) {
      check_weight(f, s, NULL, f->summed.classifier, &f->deferred.classifier_factors);
      n_deferred++;
    }
    if (segment->group != TINYTL_GROUP_LITE) continue;
    const tinytl_lite_conv *lite = &f->network.lite_conv[segment->lite];
    for (int t = 0; t < 2; t++) {
      const tinytl_factors *factors = &f->deferred.lite_factors[segment->lite][t];
      if (segment->tensor != (t ? TINYTL_LITE_POINTWISE : TINYTL_LITE_CONV) || !factors->x)
        continue;
      assert_null(f->deferred.lite[segment->lite][segment->tensor]);
      check_weight(f, s, t ? &lite->pointwise : &lite->conv,
                   f->summed.lite[segment->lite][segment->tensor], factors);
      n_deferred++;
    }
  }
  assert_true(n_deferred >= 2);
  destroy(f);
}

/* Factors of large maps and batches, which words of 32 bits cannot count, are never fewer than the
 * weight's values. */
static void test_more_than_can_be_counted(void **state) {
  (void)state;
  enum { LARGE_BATCH = 4096, LARGE_SIZE = 1024 };
  fixture *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  assert_int_equal(tinytl_network_init(&f->network, f->backbone, LARGE_SIZE, 2, false, NULL),
                   TINYTL_OK);
  tinytl_params_layout(&f->params, &f->network, TINYTL_METHOD_FULL);
  tinytl_gradients_layout(&f->deferred, &f->params, &f->network, tinytl_kernels_get(), LARGE_BATCH);
  assert_int_equal(f->deferred.n_deferred, 0);
  assert_int_equal(f->deferred.n, f->params.n_trained);
  tinytl_backbone_free(f->backbone);
  free(f);
}

/* All weights of the convolutions but the first, whose input is no map, are deferred where those
 * are small. */
static void test_deferred_convolutions(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_FULL, 2);
  int n_deferred = 0;
  for (int s = 0; s < f->params.n_segments; s++) {
    const tinytl_segment *segment = &f->params.segments[s];
    const int i = segment->layer;
    if (segment->group != TINYTL_GROUP_WEIGHT) continue;
    const tinytl_factors *factors = &f->deferred.weight_factors[i];
    assert_true((factors->x != NULL) != (f->deferred.weight[i] != NULL));
    if (!factors->x) continue;
    assert_true(i > 0);
    check_weight(f, s, &f->network.conv[i], f->summed.weight[i], factors);
    n_deferred++;
  }
  assert_true(n_deferred >= 5);
  destroy(f);
}

/* Only where a batch of factors is smaller than the weight. */
static void test_layout(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LITE_BIAS, TINY_SIZE);
  assert_int_equal(f->summed.n, f->params.n_trained);
  assert_int_equal(f->summed.n_deferred, 0);
  assert_int_equal(f->summed.update_nbytes, 0);
  assert_true(f->deferred.n < f->summed.n);
  assert_true(f->deferred.n_deferred > 0 && f->deferred.update_nbytes > 0);
  tinytl_gradients_layout(&f->deferred, &f->params, &f->network, tinytl_kernels_get(),
                          NONE_DEFERRED);
  assert_int_equal(f->deferred.n, f->params.n_trained);
  assert_int_equal(f->deferred.n_deferred, 0);
  destroy(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_deferred_is_the_same),
      cmocka_unit_test(test_more_than_can_be_counted),
      cmocka_unit_test(test_deferred_convolutions),
      cmocka_unit_test(test_layout),
  };
  return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
