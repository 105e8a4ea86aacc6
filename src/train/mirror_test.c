#include "train/mirror_test.h"

#include <math.h>
#include <string.h>

#include "core/cursor.h"

#define NOISES 3.0f /* that classes must explain, for mirroring to be left out */
enum {
  LEAST_OF_CLASS = 4,
  LEAST_DIFFERENCES = 8 /* below, their mean square says little */
};

int tinytl_mirror_most_of_class(int n_classes) {
  const int share = TINYTL_MIRROR_PICTURES / n_classes;
  return share > LEAST_OF_CLASS ? share : LEAST_OF_CLASS;
}

/* Five vectors, one after the other. */
size_t tinytl_mirror_test_nbytes(int n_features) {
  return 5 * (size_t)n_features * sizeof(float);
}

tinytl_mirror_test tinytl_mirror_test_place(int n_features, void *memory) {
  float *at = memory;
  memset(memory, 0, tinytl_mirror_test_nbytes(n_features));
  return (tinytl_mirror_test){.n_features = n_features,
                              .d = at,
                              .class_sum = at + n_features,
                              .total = at + 2 * (size_t)n_features,
                              .pair = at + 3 * (size_t)n_features,
                              .difference = at + 4 * (size_t)n_features};
}

static double product(int n, const float *a, const float *b) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

static void add(int n, float factor, const float *from, float *to) {
  for (int i = 0; i < n; i++) to[i] += factor * from[i];
}

/* Differences of disjoint pairs of a class: independent, without the class's mean, and of twice the
 * variance. The product of two of them has the mean square 4 tr(C^2). */
static void pair_up(tinytl_mirror_test *t) {
  const int n = t->n_features;
  if (!t->has_pair) {
    memcpy(t->pair, t->d, (size_t)n * sizeof *t->d);
    t->has_pair = true;
    return;
  }
  t->has_pair = false;
  add(n, -1, t->d, t->pair);
  if (t->has_difference) {
    const double both = product(n, t->pair, t->difference);
    t->differences += both * both;
    t->n_differences++;
  }
  memcpy(t->difference, t->pair, (size_t)n * sizeof *t->pair);
  t->has_difference = true;
}

static void end_copies(tinytl_mirror_test *t) {
  const int n = t->n_features;
  if (t->n_copies == 0) return;
  for (int i = 0; i < n; i++) t->d[i] /= (float)t->n_copies;
  add(n, 1, t->d, t->class_sum);
  t->class_squares += product(n, t->d, t->d);
  t->n_of_class++;
  pair_up(t);
  memset(t->d, 0, (size_t)n * sizeof *t->d);
  t->n_copies = 0;
}

static void end_class(tinytl_mirror_test *t) {
  const int n = t->n_features;
  end_copies(t);
  if (t->n_of_class > 1) {
    const double others = t->n_of_class - 1;
    t->products += (product(n, t->class_sum, t->class_sum) - t->class_squares) / others;
    t->weights += t->n_of_class / others;
    t->squares += t->class_squares;
    t->n += t->n_of_class;
    add(n, 1, t->class_sum, t->total);
  }
  memset(t->class_sum, 0, (size_t)n * sizeof *t->class_sum);
  t->class_squares = 0;
  t->n_of_class = 0;
  t->has_pair = false;
}

static void add_normed(int n, float sign, const float *features, float *to) {
  const double length = sqrt(product(n, features, features));
  if (length > 0) add(n, sign / (float)length, features, to);
}

void tinytl_mirror_test_add(tinytl_mirror_test *t, tinytl_kin kin, const float *features,
                            const float *mirrored) {
  if (kin == TINYTL_KIN_NONE) end_class(t);
  if (kin == TINYTL_KIN_CLASS) end_copies(t);
  add_normed(t->n_features, 1, features, t->d);
  add_normed(t->n_features, -1, mirrored, t->d);
  t->n_copies++;
}

tinytl_mirror_answer tinytl_mirror_test_end(tinytl_mirror_test *t) {
  end_class(t);
  if (t->n == 0) return (tinytl_mirror_answer){0, INFINITY};
  const double n_mean_squares = product(t->n_features, t->total, t->total) / t->n; /* n |m|^2 */
  const double q = t->squares - n_mean_squares;
  if (!(q > 0)) return (tinytl_mirror_answer){0, INFINITY}; /* mirroring changes nothing */
  const double s = t->products - n_mean_squares + q / (t->n - 1);
  if (t->n_differences < LEAST_DIFFERENCES) return (tinytl_mirror_answer){(float)(s / q), INFINITY};
  const double trace = t->differences / t->n_differences / 4; /* tr(C^2) */
  return (tinytl_mirror_answer){(float)(s / q), (float)(sqrt(2 * t->weights * trace) / q)};
}

bool tinytl_mirror_hurts(tinytl_mirror_answer answer) {
  return answer.share > NOISES * answer.noise;
}
