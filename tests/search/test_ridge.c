/* Leaving each picture out, against a regression on all others for each of them, in double
 * precision. */
#include "search/ridge.h"

#include <math.h>
#include <stdlib.h>

#include "core/pages.h"
#include "core/rng.h"
#include "support/cmocka.h"

enum { FEATURES = 21, CLASSES = 3, MOST = 190 };

typedef struct fixture {
  tinytl_run run;
  tinytl_ridge ridge;
  void *memory, *work;
  size_t nbytes, work_nbytes;
  float features[MOST][FEATURES];
  int labels[MOST];
} fixture;

static fixture *make(tinytl_pool *pool, int n_classes) {
  fixture *f = calloc(1, sizeof *f);
  f->run = (tinytl_run){.kernels = tinytl_kernels_get(), .pool = pool};
  f->nbytes = tinytl_ridge_nbytes(FEATURES, MOST);
  f->work_nbytes = tinytl_ridge_work_nbytes(FEATURES, n_classes, MOST);
  f->memory = tinytl_pages_take(f->nbytes);
  f->work = tinytl_pages_take(f->work_nbytes);
  f->ridge = tinytl_ridge_place(&f->run, FEATURES, n_classes, MOST, f->memory);
  return f;
}

static void discard(fixture *f) {
  tinytl_pages_free(f->memory, f->nbytes);
  tinytl_pages_free(f->work, f->work_nbytes);
  free(f);
}

/* Classes that overlap; `apart`: how far they are from each other. */
static void add(fixture *f, int n, float apart) {
  tinytl_rng rng = tinytl_rng_make(5, TINYTL_RNG_INIT, 0, 0);
  for (int i = 0; i < n; i++) {
    f->labels[i] = i % CLASSES;
    for (int k = 0; k < FEATURES; k++)
      f->features[i][k] = tinytl_rng_normal(&rng) + 2 + (k % CLASSES == f->labels[i] ? apart : 0);
    tinytl_ridge_add(&f->ridge, f->features[i], f->labels[i]);
  }
}

/* x of a x = b [n], by elimination; a [n][n] is lost. */
static void solve(int n, double *a, double *b) {
  for (int k = 0; k < n; k++)
    for (int i = k + 1; i < n; i++) {
      const double factor = a[i * n + k] / a[k * n + k];
      for (int j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
      b[i] -= factor * b[k];
    }
  for (int k = n - 1; k >= 0; k--) {
    for (int j = k + 1; j < n; j++) b[k] -= a[k * n + j] * b[j];
    b[k] /= a[k * n + k];
  }
}

/* Means over all pictures but `out` (-1: over all) of features and classes. */
static void find_means(int n, int out, const double x[MOST][FEATURES], const int *labels,
                       double mean[FEATURES], double shares[CLASSES]) {
  const double weight = 1.0 / (out < 0 ? n : n - 1);
  for (int k = 0; k < FEATURES; k++) mean[k] = 0;
  for (int c = 0; c < CLASSES; c++) shares[c] = 0;
  for (int i = 0; i < n; i++) {
    if (i == out) continue;
    shares[labels[i]] += weight;
    for (int k = 0; k < FEATURES; k++) mean[k] += weight * x[i][k];
  }
}

/* From the features as they are kept. */
static tinytl_ridge_answer reference(const fixture *f, int n) {
  static double x[MOST][FEATURES], a[FEATURES * FEATURES];
  double mean[FEATURES], shares[CLASSES], length = 0, log_sum = 0;
  int n_right = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < FEATURES; k++)
      x[i][k] = (double)f->ridge.scales[i] * f->ridge.features[i * FEATURES + k];
  find_means(n, -1, x, f->labels, mean, shares);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < FEATURES; k++) length += pow(x[i][k] - mean[k], 2) / n;
  for (int out = 0; out < n; out++) {
    double answers[CLASSES], own_shares[CLASSES];
    find_means(n, out, x, f->labels, mean, own_shares);
    for (int c = 0; c < CLASSES; c++) {
      double w[FEATURES] = {0};
      for (int k = 0; k < FEATURES * FEATURES; k++) a[k] = 0;
      for (int k = 0; k < FEATURES; k++) a[k * FEATURES + k] = 0.05 * length;
      for (int i = 0; i < n; i++)
        for (int k = 0; k < FEATURES && i != out; k++) {
          const double own = x[i][k] - mean[k];
          w[k] += own * ((f->labels[i] == c) - own_shares[c]);
          for (int j = 0; j < FEATURES; j++) a[k * FEATURES + j] += own * (x[i][j] - mean[j]);
        }
      solve(FEATURES, a, w);
      answers[c] = own_shares[c] - shares[c];
      for (int k = 0; k < FEATURES; k++) answers[c] += w[k] * (x[out][k] - mean[k]);
    }
    bool right = true;
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
      right =
          right && (c == f->labels[out] || shares[c] == 0 || answers[c] < answers[f->labels[out]]);
    for (int c = 0; c < CLASSES; c++)
      if (shares[c] > 0) sum += exp(20 * answers[c]);
    log_sum += 20 * answers[f->labels[out]] - log(sum);
    n_right += right;
  }
  return (tinytl_ridge_answer){(float)n_right / (float)n, (float)exp(log_sum / n)};
}

static void test_each_picture_is_left_out(void **state) {
  (void)state;
  static const int numbers[] = {2, 6, 31, 32, MOST};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    fixture *f = make(NULL, CLASSES);
    add(f, numbers[i], 1);
    const tinytl_ridge_answer answer = tinytl_ridge_leave_one_out(&f->ridge, f->work);
    const tinytl_ridge_answer expected = reference(f, numbers[i]);
    assert_float_equal(answer.top1, expected.top1, 1e-6f);
    assert_float_equal(answer.score, expected.score, 1e-4f);
    if (numbers[i] == MOST) assert_in_range((int)(100 * answer.top1), 40, 99);
    discard(f);
  }
}

/* Without anything to tell them by none is right, rather than all. */
static void test_pictures_that_are_alike(void **state) {
  (void)state;
  const float features[][FEATURES] = {{1, 2, 3}, {0}, {NAN, 1}, {1, INFINITY}, {1e-42f}};
  for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
    fixture *f = make(NULL, CLASSES);
    for (int k = 0; k < 8; k++) tinytl_ridge_add(&f->ridge, features[i], k % 2);
    assert_true(tinytl_ridge_leave_one_out(&f->ridge, f->work).top1 == 0);
    discard(f);
  }
}

/* Classes without a picture change nothing. */
static void test_absent_classes(void **state) {
  (void)state;
  tinytl_ridge_answer answers[2];
  for (int i = 0; i < 2; i++) {
    fixture *f = make(NULL, CLASSES + 40 * i);
    add(f, MOST, 1);
    answers[i] = tinytl_ridge_leave_one_out(&f->ridge, f->work);
    discard(f);
  }
  assert_true(answers[0].top1 == answers[1].top1 && answers[0].score == answers[1].score);
}

static void test_same_whatever_the_threads(void **state) {
  (void)state;
  tinytl_pool *pool = NULL;
  tinytl_ridge_answer answers[2];
  assert_int_equal(tinytl_pool_create(3, &pool, NULL), TINYTL_OK);
  for (int i = 0; i < 2; i++) {
    fixture *f = make(i ? pool : NULL, CLASSES);
    add(f, MOST, 0.5f);
    answers[i] = tinytl_ridge_leave_one_out(&f->ridge, f->work);
    discard(f);
  }
  assert_true(answers[0].top1 == answers[1].top1 && answers[0].score == answers[1].score);
  tinytl_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_picture_is_left_out),
      cmocka_unit_test(test_pictures_that_are_alike),
      cmocka_unit_test(test_absent_classes),
      cmocka_unit_test(test_same_whatever_the_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
