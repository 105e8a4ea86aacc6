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

/* Every gene has a worth of its own, and there is noise as of counting on a few hundred pictures.
 */
static float worth(const tinytl_subnet *subnet, tinytl_rng *noise) {
  float inputs[TINYTL_GENES_INPUTS], sum = 0.5f;
  tinytl_genes_encode(subnet, inputs);
  tinytl_rng rng = tinytl_rng_make(11, TINYTL_RNG_INIT, 0, 0);
  for (int i = 0; i < TINYTL_GENES_INPUTS; i++) sum += 0.01f * tinytl_rng_uniform(&rng) * inputs[i];
  return sum + 0.002f * tinytl_rng_normal(noise);
}

static fixture *make(void) {
  fixture *f = calloc(1, sizeof *f);
  tinytl_space space;
  assert_int_equal(tinytl_space_named("supernet-0.1", 3, &space, NULL), TINYTL_OK);
  tinytl_genes_set_sizes(&space, 64, NULL, 0);
  tinytl_rng noise = tinytl_rng_make(12, TINYTL_RNG_INIT, 0, 0);
  for (int i = 0; i < ALL; i++) {
    f->subnets[i] = tinytl_genes_draw(&space, 3, (uint64_t)i, 0);
    f->pointers[i] = &f->subnets[i];
    f->accuracies[i] = worth(&f->subnets[i], &noise);
  }
  f->memory = aligned_alloc(64, tinytl_accuracy_predictor_nbytes());
  f->predictor = tinytl_accuracy_predictor_place(f->memory);
  return f;
}

static void discard(fixture *f) {
  free(f->memory);
  free(f);
}

static void fit(fixture *f, int n) {
  tinytl_accuracy_predictor_fit(&f->predictor, f->pointers, f->accuracies, n);
}

static void test_ranks_subnets_that_it_has_not_seen(void **state) {
  (void)state;
  fixture *f = make();
  float predicted[UNSEEN];
  fit(f, TRAIN);
  for (int i = 0; i < UNSEEN; i++)
    predicted[i] = tinytl_accuracy_predictor_run(&f->predictor, f->pointers[TRAIN + i]);
  const float tau = tinytl_kendall_tau(f->accuracies + TRAIN, predicted, UNSEEN);
  if (tau < 0.7f) fail_msg("tau %g", (double)tau);
  /* In the units of what it was given. */
  for (int i = 0; i < UNSEEN; i++)
    assert_true(fabsf(predicted[i] - f->accuracies[TRAIN + i]) < 0.05f);
  discard(f);
}

/* A few sub-nets of every size tell what it is worth. */
static void test_size_of_the_picture_is_hardly_shrunk(void **state) {
  (void)state;
  enum { SUBNETS = 30 };
  fixture *f = make();
  for (int i = 0; i < SUBNETS; i++) f->accuracies[i] = 0.1f * (float)f->subnets[i].size;
  fit(f, SUBNETS);
  tinytl_subnet larger = f->subnets[0], smaller = f->subnets[0];
  larger.size = 3;
  smaller.size = 1;
  const float gain = tinytl_accuracy_predictor_run(&f->predictor, &larger) -
                     tinytl_accuracy_predictor_run(&f->predictor, &smaller);
  assert_true(gain > 0.17f && gain < 0.23f);
  discard(f);
}

/* Where the weights are right, X^T (y - X w) = penalty w, all without their means. */
static void test_normal_equations(void **state) {
  (void)state;
  fixture *f = make();
  double residual[TINYTL_GENES_INPUTS] = {0}, means[TINYTL_GENES_INPUTS] = {0};
  enum { SUBNETS = 40 };
  fit(f, SUBNETS);
  for (int k = 0; k < SUBNETS; k++) {
    float genes[TINYTL_GENES_INPUTS];
    tinytl_genes_encode(f->pointers[k], genes);
    for (int i = 0; i < TINYTL_GENES_INPUTS; i++) means[i] += (double)genes[i] / SUBNETS;
  }
  for (int k = 0; k < SUBNETS; k++) {
    float genes[TINYTL_GENES_INPUTS];
    tinytl_genes_encode(f->pointers[k], genes);
    const double left = (double)f->accuracies[k] -
                        (double)tinytl_accuracy_predictor_run(&f->predictor, f->pointers[k]);
    for (int i = 0; i < TINYTL_GENES_INPUTS; i++)
      residual[i] += left * ((double)genes[i] - means[i]);
  }
  for (int i = 0; i < TINYTL_GENES_INPUTS; i++) {
    const double penalty =
        i < TINYTL_MAX_IMAGE_SIZES ? TINYTL_PREDICTOR_SIZE_PENALTY : TINYTL_PREDICTOR_PENALTY;
    assert_true(fabs(residual[i] - penalty * f->predictor.weights[i]) < 1e-5);
  }
  discard(f);
}

/* One sub-net, or none, is no error. */
static void test_nothing_to_tell_apart(void **state) {
  (void)state;
  fixture *f = make();
  fit(f, 1);
  for (int i = 0; i < 2; i++)
    assert_true(fabsf(tinytl_accuracy_predictor_run(&f->predictor, f->pointers[i]) -
                      f->accuracies[0]) < 1e-6f);
  fit(f, 0);
  assert_true(tinytl_accuracy_predictor_run(&f->predictor, f->pointers[0]) == 0);
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
      cmocka_unit_test(test_size_of_the_picture_is_hardly_shrunk),
      cmocka_unit_test(test_normal_equations),
      cmocka_unit_test(test_nothing_to_tell_apart),
      cmocka_unit_test(test_kendall_tau),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
