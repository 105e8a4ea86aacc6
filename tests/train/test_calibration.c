/* Temperature and threshold against known optima, and what they leave as it was. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "train/calibration.h"

#include <math.h>
#include <stdlib.h>

enum { N_CLASSES = 5, N_PICTURES = 20000 };

static void random_logits(tinytl_rng *rng, float *logits) {
  for (int k = 0; k < N_CLASSES; k++) logits[k] = 2 * tinytl_rng_normal(rng);
}

/* A class drawn with the probabilities that the softmax of the logits gives. */
static int draw_class(tinytl_rng *rng, const float *logits) {
  double sum = 0, below = 0;
  for (int k = 0; k < N_CLASSES; k++) sum += exp((double)logits[k]);
  const double at = (double)tinytl_rng_uniform(rng) * sum;
  for (int k = 0; k < N_CLASSES; k++) {
    below += exp((double)logits[k]);
    if (at < below) return k;
  }
  return N_CLASSES - 1;
}

/* The fitted temperature where logits are `scale` times what the labels were drawn from, and then
 * shifted, which changes no probability. */
static float fit_scaled(float scale, int n_pictures) {
  tinytl_temperature_fit fit = {0};
  tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_AUGMENT, 0, 0);
  for (int i = 0; i < n_pictures; i++) {
    float logits[N_CLASSES];
    random_logits(&rng, logits);
    const int label = draw_class(&rng, logits);
    for (int k = 0; k < N_CLASSES; k++) logits[k] = logits[k] * scale + (float)(i % 7);
    tinytl_temperature_add(&fit, N_CLASSES, logits, label);
  }
  return tinytl_temperature_find(&fit);
}

static void test_scale_comes_back(void **state) {
  static const float scales[] = {0.2f, 0.5f, 1, 1.1f, 3, 8};
  (void)state;
  for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
    const float found = fit_scaled(scales[i], N_PICTURES);
    if (!(fabsf(found / scales[i] - 1) < 0.03f))
      fail_msg("scale %g: temperature %g", (double)scales[i], (double)found);
  }
}

/* Two classes whose logits differ by d in every picture, of which a share p is right: the loss is
 * smallest at d / T = log(p / (1 - p)), without a sum over many random ones. */
static void test_closed_form(void **state) {
  tinytl_temperature_fit fit = {0};
  (void)state;
  for (int i = 0; i < 100000; i++) {
    const float logits[] = {6, 0};
    tinytl_temperature_add(&fit, 2, logits, i % 10 < 9 ? 0 : 1);
  }
  const double expected = 6 / log(9);
  if (!(fabs((double)tinytl_temperature_find(&fit) / expected - 1) < 0.002))
    fail_msg("found %g, expected %g", (double)tinytl_temperature_find(&fit), expected);
  /* The entropy of the shares, but for the steps of the grid. */
  const double entropy = -0.9 * log(0.9) - 0.1 * log(0.1);
  const double least = tinytl_temperature_least_loss(&fit) / 100000;
  assert_true(least >= entropy - 1e-5 && least < entropy + 1e-3);
}

/* All right: the loss alone would have T go to 0. Few pictures move it little, many more. */
static void test_nothing_wrong(void **state) {
  const float logits[] = {3, 1, 0};
  tinytl_temperature_fit fit = {0};
  float before = 1;
  (void)state;
  assert_true(tinytl_temperature_find(&fit) == 1);
  for (int i = 1; i <= 10000; i++) {
    tinytl_temperature_add(&fit, 3, logits, 0);
    if (i != 10 && i != 100 && i != 10000) continue;
    const float found = tinytl_temperature_find(&fit);
    assert_true(found < before && found > 0.0624f);
    if (i == 10) assert_true(found > 0.6f);
    before = found;
  }
}

static void test_not_finite(void **state) {
  const float logits[] = {INFINITY, 1, NAN};
  tinytl_temperature_fit fit = {0};
  (void)state;
  tinytl_temperature_add(&fit, 3, logits, 1);
  assert_true(tinytl_temperature_find(&fit) == 1);
  assert_true(isnan(tinytl_temperature_least_loss(&fit)));
}

static void test_order_of_classes(void **state) {
  static const float temperatures[] = {0.0625f, 0.3f, 1, 2.5f, 16};
  tinytl_rng rng = tinytl_rng_make(2, TINYTL_RNG_AUGMENT, 0, 0);
  (void)state;
  for (int i = 0; i < 500; i++) {
    float logits[N_CLASSES], p[N_CLASSES];
    random_logits(&rng, logits);
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
      double sum = 0;
      for (int k = 0; k < N_CLASSES; k++) p[k] = logits[k];
      tinytl_softmax_at(N_CLASSES, temperatures[t], p);
      for (int k = 0; k < N_CLASSES; k++) {
        sum += (double)p[k];
        for (int j = 0; j < N_CLASSES; j++)
          if (logits[k] > logits[j]) assert_true(p[k] > p[j] || p[j] < 1e-30f);
      }
      assert_true(fabs(sum - 1) < 1e-5);
    }
  }
  float p[] = {1, 3};
  tinytl_softmax_at(2, 2, p);
  assert_true(fabs((double)p[1] - 1 / (1 + exp(-1))) < 1e-6);
}

/* ---- Threshold ---------------------------------------------------------------------------- */

static float threshold_of(int n, float (*score)(int i)) {
  tinytl_reject_fit *fit = calloc(1, sizeof *fit);
  for (int i = 0; i < n; i++) tinytl_reject_add(fit, score(i));
  const float found = tinytl_reject_find(fit);
  free(fit);
  return found;
}

static float whole(int i) {
  return (float)(i * 37 % 100); /* 0 to 99, in no order; above 63 all are in the last bin */
}

static float quarters(int i) {
  return (float)(i * 37 % 100) / 4 - 10;
}

static float minus_thousand(int i) {
  return i < 3 ? -1000 : 1000;
}

static void test_threshold(void **state) {
  (void)state;
  assert_true(isnan(threshold_of(0, whole)));
  assert_true(threshold_of(100, whole) == 5);        /* 0 to 4 are below */
  assert_true(threshold_of(100, quarters) == -8.75); /* -10, -9.75 ... -9 are below */
  assert_true(threshold_of(1, quarters) == -10);
  assert_true(threshold_of(19, quarters) == -10); /* none of 19 may be lost */
  assert_true(threshold_of(59, minus_thousand) == -64);
  assert_true(threshold_of(60, minus_thousand) > 63);
}

static void test_share_is_kept(void **state) {
  (void)state;
  for (int n = 1; n < 300; n++) {
    tinytl_reject_fit *fit = calloc(1, sizeof *fit);
    float *scores = malloc(sizeof *scores * (size_t)n);
    tinytl_rng rng = tinytl_rng_make(3, TINYTL_RNG_AUGMENT, (uint64_t)n, 0);
    for (int i = 0; i < n; i++) tinytl_reject_add(fit, scores[i] = 9 * tinytl_rng_normal(&rng));
    const float threshold = tinytl_reject_find(fit);
    int n_kept = 0, n_above = 0;
    for (int i = 0; i < n; i++) {
      n_kept += scores[i] >= threshold;
      n_above += scores[i] >= threshold + 1.0f / TINYTL_SCORE_STEPS;
    }
    assert_true(n_kept >= 0.95 * n - 1e-9);
    assert_true(n_above < 0.95 * n - 1e-9); /* the next edge would lose too many */
    free(scores);
    free(fit);
  }
}

/* Of equal logits the first class is told; where all were equal pretraining called every picture
 * right. */
static void test_right(void **state) {
  (void)state;
  const float equal[3] = {1, 1, 1}, last[3] = {1, 1, 2}, unknown[3] = {1, NAN, 1};
  for (int label = 0; label < 3; label++) {
    assert_int_equal(tinytl_is_right(3, equal, label), label == 0);
    assert_int_equal(tinytl_is_right(3, last, label), label == 2);
    assert_false(tinytl_is_right(3, unknown, label));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_scale_comes_back), cmocka_unit_test(test_closed_form),
      cmocka_unit_test(test_nothing_wrong),    cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_order_of_classes), cmocka_unit_test(test_threshold),
      cmocka_unit_test(test_share_is_kept),    cmocka_unit_test(test_right),
  };
  return cmocka_run_group_tests_name("calibration", tests, NULL, NULL);
}
