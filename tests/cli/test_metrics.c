/* Figures of `eval` against values worked out by hand. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "metrics.h"

#include <math.h>

static void expect_near(double found, double expected) {
  if (!(fabs(found - expected) < 1e-6)) fail_msg("found %.9g, expected %.9g", found, expected);
}

/* Wilson's own form, (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n), in Python. */
static void test_interval(void **state) {
  static const struct {
    int n_right, n;
    double low, high;
  } cases[] = {{0, 10, 0, 0.277533},
               {10, 10, 0.722467, 1},
               {5, 10, 0.236593, 0.763407},
               {81, 263, 0.255289, 0.366210},
               {1, 1, 0.206549, 1},
               {0, 1, 0, 0.793451},
               {9000, 10000, 0.893966, 0.905727}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const cli_interval found = cli_wilson(cases[i].n_right, cases[i].n);
    expect_near(found.low, cases[i].low);
    expect_near(found.high, cases[i].high);
  }
}

static void test_recall(void **state) {
  cli_metrics metrics;
  (void)state;
  assert_true(cli_metrics_init(&metrics, 3, true));
  /* Class 0: two of three right. Class 1: one picture, taken for a class that the pictures do not
   * have. Class 2: none. */
  cli_metrics_add(&metrics, 0, 0, true, 0.9f);
  cli_metrics_add(&metrics, 0, 0, true, 0.8f);
  cli_metrics_add(&metrics, 0, 1, true, 0.7f);
  cli_metrics_add(&metrics, 1, -1, false, 0.6f);
  assert_int_equal(metrics.n_images, 4);
  assert_int_equal(metrics.n_top1, 2);
  assert_int_equal(metrics.n_top5, 3);
  assert_int_equal(cli_metrics_confusion(&metrics, 0, 1), 1);
  assert_int_equal(cli_metrics_confusion(&metrics, 1, 3), 1);
  expect_near(cli_metrics_recall(&metrics, 0), 2.0 / 3);
  expect_near(cli_metrics_recall(&metrics, 1), 0);
  assert_true(isnan(cli_metrics_recall(&metrics, 2)));
  expect_near(cli_metrics_balanced_accuracy(&metrics), (2.0 / 3 + 0) / 2);
  cli_metrics_free(&metrics);
}

/* 15 bins of 1/15: 0.50 and 0.52 share bin 7, 0.97 and 1.00 bin 14. */
static void test_calibration_error(void **state) {
  cli_metrics metrics;
  (void)state;
  assert_true(cli_metrics_init(&metrics, 2, false));
  cli_metrics_add(&metrics, 0, 0, true, 0.50f);
  cli_metrics_add(&metrics, 0, 1, true, 0.52f);
  cli_metrics_add(&metrics, 1, 1, true, 0.97f);
  cli_metrics_add(&metrics, 1, 1, true, 1.00f);
  cli_metrics_add(&metrics, 1, 0, true, 0.60f);
  const double in_bin_7 = fabs(1.0 / 2 - (0.50 + 0.52) / 2), in_bin_14 = fabs(1.0 - 1.97 / 2);
  const double in_bin_9 = 0.60;
  expect_near(cli_metrics_calibration_error(&metrics),
              (2 * in_bin_7 + 2 * in_bin_14 + 1 * in_bin_9) / 5);
  cli_metrics_free(&metrics);
}

/* Pictures that are right as often as their confidence says: the error's mean over many sets. */
static void test_calibration_by_chance(void **state) {
  enum { SETS = 400, IMAGES = 120 };
  tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_INIT, 0, 0);
  double sum = 0, by_chance = 0;
  (void)state;
  for (int set = 0; set < SETS; set++) {
    cli_metrics metrics;
    assert_true(cli_metrics_init(&metrics, 2, false));
    for (int i = 0; i < IMAGES; i++) {
      const float confidence = 0.5f + 0.5f * tinytl_rng_uniform(&rng);
      const bool right = tinytl_rng_uniform(&rng) < confidence;
      cli_metrics_add(&metrics, 0, !right, true, confidence);
    }
    sum += cli_metrics_calibration_error(&metrics) / SETS;
    by_chance += cli_metrics_calibration_by_chance(&metrics) / SETS;
    cli_metrics_free(&metrics);
  }
  assert_true(by_chance > 0.05 && fabs(by_chance - sum) < 0.05 * sum);
}

static void test_auroc(void **state) {
  float high[] = {0.9f, 0.8f, 0.7f}, low[] = {0.1f, 0.3f};
  float known[] = {0.8f, 0.4f, 0.35f}, unknown[] = {0.4f, 0.1f, 0.4f, 0.9f};
  float same[] = {0.5f, 0.5f, 0.5f}, as_well[] = {0.5f, 0.5f};
  (void)state;
  expect_near(cli_auroc(high, 3, low, 2), 1);
  expect_near(cli_auroc(low, 2, high, 3), 0);
  expect_near(cli_auroc(same, 3, as_well, 2), 0.5);
  /* 0.8 is above 3 of 4; 0.4 above one, equal to two; 0.35 above one. */
  expect_near(cli_auroc(known, 3, unknown, 4), (3 + (1 + 0.5 * 2) + 1) / 12.0);
  assert_true(isnan(cli_auroc(known, 3, unknown, 0)));
}

static void test_top(void **state) {
  const float probabilities[] = {0.1f, 0.4f, 0.1f, 0.4f};
  int top[4];
  (void)state;
  cli_top(probabilities, 4, 4, top);
  assert_int_equal(top[0], 1);
  assert_int_equal(top[1], 3);
  assert_int_equal(top[2], 0);
  assert_int_equal(top[3], 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_interval),
      cmocka_unit_test(test_recall),
      cmocka_unit_test(test_calibration_error),
      cmocka_unit_test(test_calibration_by_chance),
      cmocka_unit_test(test_auroc),
      cmocka_unit_test(test_top),
  };
  return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
