#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/op_check.h"

typedef struct shape {
  int n, label;
  double smoothing;
} shape;

static const shape SHAPES[] = {
    {1, 0, 0.0}, {2, 1, 0.0}, {2, 0, 0.1}, {17, 4, 0.7}, {102, 101, 0.1}};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

static void loss_reference(const void *context, const double *logits, double *loss) {
  const shape *s = context;
  double sum = 0;
  for (int k = 0; k < s->n; k++) sum += exp(logits[k]);
  for (int k = 0; k < s->n; k++) {
    double target = (k == s->label ? 1 - s->smoothing : 0) + s->smoothing / s->n;
    *loss -= target * log(exp(logits[k]) / sum);
  }
}

static void test_loss_and_gradient(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    float *logits = op_random(s->n, i), *gradient = op_random(s->n, i), weight = 0.125f;
    double *wide = op_widen(logits, s->n), want = 0;
    float loss = tinytl_cross_entropy(s->n, s->label, (float)s->smoothing, weight, gradient);
    loss_reference(s, wide, &want);
    assert_true(op_error(&loss, &want, 1) < 1e-6);
    assert_true(op_gradient_error(loss_reference, s, logits, s->n, &weight, 1, gradient) < 1e-6);
    free(logits);
    free(gradient);
    free(wide);
  }
}

/* Logits ln 1, ln 2, ln 5: p = 1/8, 2/8, 5/8. Smoothing 0.3 on label 1: t = 0.1, 0.8, 0.1. */
static void test_by_hand(void **state) {
  (void)state;
  float logits[3] = {0, logf(2), logf(5)};
  float loss = tinytl_cross_entropy(3, 1, 0.3f, 2.0f, logits);
  assert_float_equal(loss, 0.1 * log(8) + 0.8 * log(4) + 0.1 * log(1.6), 1e-6);
  assert_float_equal(logits[0], 2 * (0.125 - 0.1), 1e-6);
  assert_float_equal(logits[1], 2 * (0.25 - 0.8), 1e-6);
  assert_float_equal(logits[2], 2 * (0.625 - 0.1), 1e-6);
}

static void test_softmax(void **state) {
  (void)state;
  float logits[3] = {1000 + logf(1), 1000 + logf(2), 1000 + logf(5)}; /* would overflow exp */
  tinytl_softmax(3, logits);
  assert_float_equal(logits[0], 0.125, 1e-4); /* 1000 + ln 2 has 4 digits left after the point */
  assert_float_equal(logits[1], 0.25, 1e-4);
  assert_float_equal(logits[2], 0.625, 1e-4);
  assert_float_equal(logits[0] + logits[1] + logits[2], 1, 1e-6);
}

static void test_not_finite(void **state) {
  (void)state;
  const float bad[] = {NAN, INFINITY, -INFINITY};
  for (int b = 0; b < 3; b++) {
    for (int at = 0; at < 3; at++) {
      for (int smooth = 0; smooth < 2; smooth++) {
        float logits[3] = {0.5f, -1, 2};
        logits[at] = bad[b];
        assert_false(isfinite(tinytl_cross_entropy(3, 1, 0.1f * smooth, 1, logits)));
      }
    }
  }
  float large[3] = {3e38f, -3e38f, 0}; /* finite, and so is the loss of the larger one */
  assert_float_equal(tinytl_cross_entropy(3, 0, 0, 1, large), 0, 1e-6);
}

static void test_dropout(void **state) {
  (void)state;
  enum { N = 100000 };
  const float rate = 0.2f;
  float *x = malloc(N * sizeof(float)), *again = malloc(N * sizeof(float));
  for (int i = 0; i < N; i++) x[i] = again[i] = 1;
  tinytl_dropout(x, N, rate, 3, 4, 5);
  int n_dropped = 0;
  for (int i = 0; i < N; i++) {
    if (x[i] == 0) {
      n_dropped++;
    } else {
      assert_float_equal(x[i], 1.25, 1e-6);
    }
  }
  /* Binomial: standard deviation sqrt(N * 0.2 * 0.8) = 126. */
  assert_in_range(n_dropped, 20000 - 5 * 126, 20000 + 5 * 126);

  tinytl_dropout(again, N, rate, 3, 4, 5);
  assert_memory_equal(x, again, N * sizeof(float));
  const uint64_t keys[3][3] = {{0, 4, 5}, {3, 0, 5}, {3, 4, 0}};
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < N; i++) again[i] = 1;
    tinytl_dropout(again, N, rate, keys[k][0], keys[k][1], keys[k][2]);
    int n_different = 0;
    for (int i = 0; i < N; i++) n_different += x[i] != again[i];
    assert_in_range(n_different, 32000 - 5 * 150, 32000 + 5 * 150); /* 2 * 0.2 * 0.8 of them */
  }
  free(x);
  free(again);
}

static void test_no_dropout(void **state) {
  (void)state;
  float x[3] = {1, -2, 3};
  const float same[3] = {1, -2, 3};
  tinytl_dropout(x, 3, 0, 1, 2, 3);
  assert_memory_equal(x, same, sizeof x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_loss_and_gradient), cmocka_unit_test(test_by_hand),
      cmocka_unit_test(test_softmax),           cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_dropout),           cmocka_unit_test(test_no_dropout),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
