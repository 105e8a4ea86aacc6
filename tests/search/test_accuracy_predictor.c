#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>

#include "search/accuracy_predictor.h"

enum { TRAIN = 200, UNSEEN = 60, ALL = TRAIN + UNSEEN };

typedef struct fixture {
  tinytl_accuracy_predictor predictor;
  tinytl_subnet subnets[ALL];
  const tinytl_subnet *pointers[ALL];
  float accuracies[ALL];
  void *memory;
} fixture;

/* Every kernel, expand ratio and block has a worth of its own, and there is noise as of counting on
 * a few hundred pictures. */
static float worth(const tinytl_subnet *subnet, tinytl_rng *noise) {
  float inputs[TINYTL_GENES_INPUTS], sum = 0.5f;
  tinytl_genes_encode(subnet, inputs);
  tinytl_rng rng = tinytl_rng_make(11, TINYTL_RNG_INIT, 0, 0);
  for (int i = 0; i < TINYTL_GENES_INPUTS; i++) sum += 0.01f * tinytl_rng_uniform(&rng) * inputs[i];
  return sum + 0.002f * tinytl_rng_normal(noise);
}

static fixture *make(tinytl_pool *pool) {
  const tinytl_kernels *kernels = tinytl_kernels_get();
  fixture *f = calloc(1, sizeof *f);
  tinytl_space space;
  assert_int_equal(tinytl_space_named("supernet-0.1", 3, &space, NULL), TINYTL_OK);
  tinytl_rng noise = tinytl_rng_make(12, TINYTL_RNG_INIT, 0, 0);
  for (int i = 0; i < ALL; i++) {
    f->subnets[i] = tinytl_genes_draw(&space, 3, (uint64_t)i, 0);
    f->pointers[i] = &f->subnets[i];
    f->accuracies[i] = worth(&f->subnets[i], &noise);
  }
  const tinytl_run run = {.kernels = kernels, .pool = pool};
  f->memory = aligned_alloc(64, tinytl_accuracy_predictor_nbytes(TRAIN, kernels));
  tinytl_accuracy_predictor_place(&f->predictor, &run, TRAIN, f->memory);
  return f;
}

static void discard(fixture *f) {
  free(f->memory);
  free(f);
}

static void fit(fixture *f, int n) {
  assert_int_equal(
      tinytl_accuracy_predictor_fit(&f->predictor, 1, f->pointers, f->accuracies, n, NULL, NULL),
      TINYTL_OK);
}

static void test_ranks_subnets_that_it_has_not_seen(void **state) {
  (void)state;
  fixture *f = make(NULL);
  float predicted[UNSEEN];
  fit(f, TRAIN);
  tinytl_accuracy_predictor_run(&f->predictor, f->pointers + TRAIN, UNSEEN, predicted);
  const float tau = tinytl_kendall_tau(f->accuracies + TRAIN, predicted, UNSEEN);
  if (tau < 0.7f) fail_msg("tau %g", (double)tau);
  /* In the units of what it was given. */
  for (int i = 0; i < UNSEEN; i++)
    assert_true(fabsf(predicted[i] - f->accuracies[TRAIN + i]) < 0.05f);
  discard(f);
}

/* Along a random direction, the difference of the loss is the gradient's part in it. Steps that
 * carry a ReLU over its kink are few among 1200, and small ones. */
static void test_gradient(void **state) {
  (void)state;
  fixture *f = make(NULL);
  tinytl_accuracy_predictor *p = &f->predictor;
  enum { N = 7 };
  fit(f, 8); /* values of a sensible size; gradients of training are 0 again */
  for (int i = 0; i < N; i++) f->accuracies[i] += 0.1f * (float)(i - 3);
  double along = 0, losses[2];
  float *direction = malloc(p->n_values * sizeof *direction);
  float *kept = malloc(p->n_values * sizeof *kept);
  tinytl_accuracy_predictor_add_gradient(p, f->pointers, f->accuracies, N);
  for (size_t i = 0; i < p->n_values; i++) {
    tinytl_rng rng = tinytl_rng_make(5, TINYTL_RNG_INIT, i, 0);
    direction[i] = p->gradient[i] * (0.5f + tinytl_rng_uniform(&rng));
    along += (double)direction[i] * (double)p->gradient[i];
    kept[i] = p->values[i];
  }
  const float h = (float)(1e-3 / sqrt(along));
  for (int side = 0; side < 2; side++) {
    for (size_t i = 0; i < p->n_values; i++)
      p->values[i] = kept[i] + (side ? -h : h) * direction[i];
    losses[side] = tinytl_accuracy_predictor_add_gradient(p, f->pointers, f->accuracies, N);
  }
  const double difference = (losses[0] - losses[1]) / (2 * (double)h);
  if (fabs(difference - along) > 0.02 * along) fail_msg("%g instead of %g", along, difference);
  free(direction);
  free(kept);
  discard(f);
}

static void test_same_whatever_the_threads(void **state) {
  (void)state;
  tinytl_pool *pool;
  assert_int_equal(tinytl_pool_create(3, &pool, NULL), TINYTL_OK);
  fixture *one = make(NULL), *three = make(pool);
  fit(one, 8);
  fit(three, 8);
  assert_memory_equal(one->predictor.values, three->predictor.values,
                      one->predictor.n_values * sizeof(float));
  discard(one);
  discard(three);
  tinytl_pool_free(pool);
}

/* One sub-net, or all alike, is no error. */
static void test_nothing_to_tell_apart(void **state) {
  (void)state;
  fixture *f = make(NULL);
  float predicted;
  fit(f, 1);
  tinytl_accuracy_predictor_run(&f->predictor, f->pointers, 1, &predicted);
  assert_true(fabsf(predicted - f->accuracies[0]) < 1e-3f);
  discard(f);
}

static void test_stops(void **state) {
  (void)state;
  fixture *f = make(NULL);
  volatile int stop = 1;
  assert_int_equal(
      tinytl_accuracy_predictor_fit(&f->predictor, 1, f->pointers, f->accuracies, 9, &stop, NULL),
      TINYTL_INTERRUPTED);
  discard(f);
}

static void test_kendall_tau(void **state) {
  (void)state;
  const float x[] = {1, 2, 3, 4}, reversed[] = {9, 7, 5, 3}, swapped[] = {1, 2, 4, 3};
  const float tied[] = {1, 1, 2, 3}, flat[] = {5, 5, 5, 5};
  assert_true(tinytl_kendall_tau(x, x, 4) == 1);
  assert_true(tinytl_kendall_tau(x, reversed, 4) == -1);
  assert_true(fabsf(tinytl_kendall_tau(x, swapped, 4) - 4.0f / 6) < 1e-6f);
  assert_true(fabsf(tinytl_kendall_tau(x, tied, 4) - 5 / sqrtf(6 * 5)) < 1e-6f);
  assert_true(tinytl_kendall_tau(x, flat, 4) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ranks_subnets_that_it_has_not_seen),
      cmocka_unit_test(test_gradient),
      cmocka_unit_test(test_same_whatever_the_threads),
      cmocka_unit_test(test_nothing_to_tell_apart),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_kendall_tau),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
