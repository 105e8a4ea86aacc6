/* Defaults that depend on the data. */
#include "support/cmocka.h"

#include "tinytl/train.h"
#include "train/rules.h"

enum { MAX_IMAGES = 200, N_CLASSES = 3 };

static void weigh(const int counts[N_CLASSES], float weights[N_CLASSES]) {
  int labels[MAX_IMAGES], n = 0;
  for (int c = 0; c < N_CLASSES; c++)
    for (int i = 0; i < counts[c]; i++) labels[n++] = c;
  const tinytl_images images = {.n_images = n, .n_classes = N_CLASSES, .labels = labels};
  tinytl_rules_weigh_classes(&images, weights);
  float sum = 0;
  for (int c = 0; c < N_CLASSES; c++) sum += (float)counts[c] * weights[c];
  assert_float_equal(sum, n, 1e-3); /* the mean over pictures is 1 */
}

static void test_classes_alike_are_not_weighted(void **state) {
  (void)state;
  static const int counts[][N_CLASSES] = {{5, 5, 5}, {10, 19, 15}, {0, 4, 4}, {1, 1, 1}};
  for (int i = 0; i < 4; i++) {
    float weights[N_CLASSES];
    weigh(counts[i], weights);
    for (int c = 0; c < N_CLASSES; c++) assert_float_equal(weights[c], 1, 1e-6);
  }
}

static void test_rare_classes_weigh_as_much(void **state) {
  (void)state;
  float weights[N_CLASSES];
  weigh((const int[]){10, 20, 60}, weights);
  for (int c = 1; c < N_CLASSES; c++)
    assert_float_equal(weights[c] * (float)(c == 1 ? 20 : 60), weights[0] * 10, 1e-4);
  assert_float_equal(weights[0], 3, 1e-5); /* a third of 90 pictures in 10 */
}

/* One picture of a class does not drown the others. */
static void test_weights_have_a_bound(void **state) {
  (void)state;
  float weights[N_CLASSES];
  weigh((const int[]){1, 160, 0}, weights);
  assert_float_equal(weights[0], 16 * weights[1], 1e-4);
}

static void test_epochs_and_rates(void **state) {
  (void)state;
  const tinytl_rules few =
      tinytl_rules_make(TINYTL_METHOD_BIAS, TINYTL_OPTIMIZER_ADAM, 40, 8, true, 1);
  const tinytl_rules many =
      tinytl_rules_make(TINYTL_METHOD_BIAS, TINYTL_OPTIMIZER_ADAM, 40000, 32, true, 1);
  assert_int_equal(few.epochs, 100); /* 4,000 pictures */
  assert_int_equal(many.epochs, 8);
  for (int g = 0; g < TINYTL_N_GROUPS; g++) assert_float_equal(many.lr[g], 2 * few.lr[g], 1e-6);
  /* Further to go: faster, and for longer where few pictures are seen. */
  const tinytl_rules further =
      tinytl_rules_make(TINYTL_METHOD_BIAS, TINYTL_OPTIMIZER_ADAM, 40, 8, true, 1.5f);
  const tinytl_rules some =
      tinytl_rules_make(TINYTL_METHOD_BIAS, TINYTL_OPTIMIZER_ADAM, 1000, 8, true, 2);
  const tinytl_rules most =
      tinytl_rules_make(TINYTL_METHOD_BIAS, TINYTL_OPTIMIZER_ADAM, 40000, 32, true, 2);
  assert_int_equal(further.epochs, 150);
  assert_int_equal(some.epochs, 40); /* 20 at most */
  assert_int_equal(most.epochs, 8);
  for (int g = 0; g < TINYTL_N_GROUPS; g++)
    assert_float_equal(further.lr[g], 1.5 * (double)few.lr[g], 1e-6);
}

/* About sqrt(m) of m pictures a class, a tenth from 100 on. */
static void test_validation_share(void **state) {
  (void)state;
  static const struct {
    int per_class;
    float share;
  } cases[] = {{1, 0},      {2, 0},     {3, 0.4f},   {5, 0.4f},
               {16, 0.25f}, {25, 0.2f}, {100, 0.1f}, {4000, 0.1f}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_float_equal(tinytl_validation_share(7 * cases[i].per_class, 7), cases[i].share, 1e-6);
  assert_float_equal(tinytl_validation_share(20, 7), 0, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_classes_alike_are_not_weighted),
      cmocka_unit_test(test_rare_classes_weigh_as_much),
      cmocka_unit_test(test_weights_have_a_bound),
      cmocka_unit_test(test_epochs_and_rates),
      cmocka_unit_test(test_validation_share),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
