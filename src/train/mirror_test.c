#include "train/mirror_test.h"

#include <math.h>
#include <string.h>

/* What classes must explain, for mirroring to be left out: docs/training.md. */
#define LEAST_SHARE 0.004f
#define LEAST_NOISES 3.0f
enum {
  PICTURES = 4096,      /* with 1,024 a set was missed: docs/training.md */
  LEAST_OF_CLASS = 4,   /* where there are more than 1,024 classes: two pairs of each */
  LEAST_DIFFERENCES = 8 /* below, their mean square says little */
};

int tinytl_mirror_most_of_class(int n_classes) {
  const int share = PICTURES / n_classes;
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
    t->picture_squares += t->class_picture_squares;
    t->n += t->n_of_class;
    t->n_pictures += t->n_pictures_of_class;
    add(n, 1, t->class_sum, t->total);
  }
  memset(t->class_sum, 0, (size_t)n * sizeof *t->class_sum);
  t->class_squares = t->class_picture_squares = 0;
  t->n_of_class = t->n_pictures_of_class = 0;
  t->has_pair = false;
}

/* Of features that are all 0 nothing is known: then d is that of the others, or 0. */
static double inverse_length(int n, const float *features) {
  const double length = sqrt(product(n, features, features));
  return length > 0 ? 1 / length : 0;
}

void tinytl_mirror_test_add(tinytl_mirror_test *t, tinytl_kin kin, const float *features,
                            const float *mirrored) {
  if (kin == TINYTL_KIN_NONE) end_class(t);
  if (kin == TINYTL_KIN_CLASS) end_copies(t);
  const int n = t->n_features;
  const double of_features = inverse_length(n, features), of_mirrored = inverse_length(n, mirrored);
  add(n, (float)of_features, features, t->d);
  add(n, (float)-of_mirrored, mirrored, t->d);
  t->class_picture_squares += (of_features > 0) + (of_mirrored > 0) -
                              2 * of_features * of_mirrored * product(n, features, mirrored);
  t->n_copies++;
  t->n_pictures_of_class++;
}

tinytl_mirror_answer tinytl_mirror_test_end(tinytl_mirror_test *t) {
  end_class(t);
  if (t->n == 0) return (tinytl_mirror_answer){0, INFINITY};
  const double n_mean_squares = product(t->n_features, t->total, t->total) / t->n; /* n |m|^2 */
  const double q = t->squares - n_mean_squares;
  const double all = t->n * (t->picture_squares / t->n_pictures) - n_mean_squares; /* n V */
  if (!(q > 0 && all > 0)) return (tinytl_mirror_answer){0, INFINITY}; /* nothing changes */
  const float share = (float)((t->products - n_mean_squares + q / (t->n - 1)) / all);
  if (t->n_differences < LEAST_DIFFERENCES) return (tinytl_mirror_answer){share, INFINITY};
  const double trace = t->differences / t->n_differences / 4;       /* tr(C^2) */
  if (!(trace > 0)) return (tinytl_mirror_answer){share, INFINITY}; /* copies that were not told */
  return (tinytl_mirror_answer){share, (float)(sqrt(2 * t->weights * trace) / all)};
}

bool tinytl_mirror_hurts(tinytl_mirror_answer answer) {
  return answer.share > LEAST_SHARE && answer.share > LEAST_NOISES * answer.noise;
}
