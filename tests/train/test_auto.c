/* Decisions of method auto from what was measured. */
#include "support/cmocka.h"
#include "support/saved_run.h"

#include "train/auto.h"

#include <math.h>

static tinytl_comparison compare(int n, const float *before, const float *after) {
  tinytl_comparison c = {0};
  for (int i = 0; i < n; i++) tinytl_comparison_add(&c, before[i], after[i]);
  return c;
}

/* Against a mean and a standard error that are worked out by hand. */
static void test_gain_and_noise(void **state) {
  (void)state;
  static const float before[] = {0.25f, 0.5f, 0.75f, 1}, after[] = {0.5f, 0.5f, 1, 0.5f};
  const tinytl_comparison c = compare(4, before, after);
  assert_int_equal(c.n, 4);
  assert_float_equal(tinytl_comparison_gain(&c), 0, 1e-7);
  /* differences 1/4, 0, 1/4, -1/2, and four of 0.2: sum of squares 3/8 + 0.16, of 7 */
  assert_float_equal(tinytl_comparison_noise(&c), sqrt(0.535 / 7 / 4), 1e-7);
}

static void test_unreadable_pictures_do_not_count(void **state) {
  (void)state;
  static const float before[] = {0.5f, NAN, 0.5f, 0.25f}, after[] = {1, 1, NAN, 0.5f};
  const tinytl_comparison c = compare(4, before, after);
  assert_int_equal(c.n, 2);
  assert_float_equal(tinytl_comparison_gain(&c), 0.375, 1e-7);
}

static bool pays(const tinytl_comparison *c, tinytl_method method) {
  return tinytl_auto_expected_gain(c, method) > TINYTL_AUTO_LEAST_GAIN;
}

/* Without anything to compare, what a method gained elsewhere. */
static void test_nothing_to_compare(void **state) {
  (void)state;
  const tinytl_comparison nothing = {0};
  assert_true(isinf(tinytl_comparison_noise(&nothing)));
  assert_float_equal(tinytl_auto_expected_gain(&nothing, TINYTL_METHOD_BIAS), 0.08, 1e-6);
  assert_float_equal(tinytl_auto_expected_gain(&nothing, TINYTL_METHOD_LITE_BIAS), 0.01, 1e-6);
}

/* Few pictures that agree may do so by luck; by hand: noise 0.2 of one, 0.126 of two. */
static void test_few_pictures_are_no_proof(void **state) {
  (void)state;
  static const float low[64] = {0}, high[] = {1, 1};
  const tinytl_comparison one = compare(1, high, low), two = compare(2, low, low),
                          better = compare(2, low, high), many = compare(64, low, low);
  assert_float_equal(tinytl_comparison_noise(&one), 0.2, 1e-6);
  assert_float_equal(tinytl_auto_expected_gain(&one, TINYTL_METHOD_BIAS), 0.08 - 0.2 * 1.08, 1e-6);
  assert_float_equal(tinytl_comparison_noise(&two), sqrt(0.16 / 5 / 2), 1e-6);
  assert_true(pays(&two, TINYTL_METHOD_BIAS));
  assert_false(pays(&many, TINYTL_METHOD_BIAS));
  assert_true(pays(&better, TINYTL_METHOD_LITE_BIAS));
}

/* `n` pictures of which `n_more` become better, the others worse, by as much. */
static tinytl_comparison of(int n, int n_more) {
  tinytl_comparison c = {0};
  for (int i = 0; i < n; i++)
    tinytl_comparison_add(&c, i < n_more ? 0.25f : 0.75f, i < n_more ? 0.75f : 0.25f);
  return c;
}

/* By hand: of 10, gain 0 and variance 2.66 / 13; of 10,000, gain 0.01 and noise 0.005. */
static void test_expected_gain(void **state) {
  (void)state;
  const tinytl_comparison few = of(10, 5), many = of(10000, 5100);
  const double share = 0.01 / (0.01 + 2.66 / 13 / 10);
  assert_float_equal(tinytl_auto_expected_gain(&few, TINYTL_METHOD_BIAS), 0.08 * (1 - share), 1e-6);
  assert_float_equal(tinytl_auto_expected_gain(&many, TINYTL_METHOD_LITE_BIAS), 0.01, 1e-5);
  assert_true(pays(&few, TINYTL_METHOD_BIAS));
  /* The more pictures, the less counts what was before: gains of -0.02 and -0.01. */
  const tinytl_comparison some = of(50, 24), most = of(10000, 4900);
  assert_true(tinytl_auto_expected_gain(&some, TINYTL_METHOD_BIAS) > 0);
  assert_false(pays(&most, TINYTL_METHOD_BIAS));
  assert_float_equal(tinytl_auto_expected_gain(&most, TINYTL_METHOD_BIAS), -0.01, 0.001);
}

static void test_methods_grow(void **state) {
  (void)state;
  assert_int_equal(tinytl_auto_methods[0], TINYTL_METHOD_LAST);
  for (int i = 1; i < TINYTL_N_AUTO_METHODS; i++)
    assert_true(tinytl_auto_methods[i] > tinytl_auto_methods[i - 1]);
  assert_int_equal(tinytl_auto_methods[TINYTL_N_AUTO_METHODS - 1], TINYTL_METHOD_LITE_BIAS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gain_and_noise),
      cmocka_unit_test(test_unreadable_pictures_do_not_count),
      cmocka_unit_test(test_nothing_to_compare),
      cmocka_unit_test(test_few_pictures_are_no_proof),
      cmocka_unit_test(test_expected_gain),
      cmocka_unit_test(test_methods_grow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
