/* Whether classes tell left from right. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "train/mirror_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_FEATURES = 24, MOST = 1200 };

/* Pictures, class by class, copies side by side. */
typedef struct set {
  int n;
  int labels[MOST], originals[MOST]; /* numbers of the class, and of what it is a copy of */
  float features[MOST][N_FEATURES], mirrored[MOST][N_FEATURES];
} set;

/* n_classes of n_of_class originals, each with as many copies in all. A picture is what it shows,
 * and what it shows of left and right: a class of which this is not 0 in the mean is lopsided by so
 * much. `leaning`: all classes alike. */
static set *draw(uint64_t seed, int n_classes, int n_of_class, int n_copies, float lopsided,
                 float leaning) {
  set *s = calloc(1, sizeof *s);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SPLIT, 0, 0);
  int n_originals = 0;
  for (int c = 0; c < n_classes; c++) {
    float side[N_FEATURES];
    for (int k = 0; k < N_FEATURES; k++) side[k] = lopsided * tinytl_rng_normal(&rng) + leaning;
    for (int i = 0; i < n_of_class; i++, n_originals++) {
      float shown[N_FEATURES], turned[N_FEATURES];
      for (int k = 0; k < N_FEATURES; k++) {
        shown[k] = 3 + tinytl_rng_normal(&rng);
        turned[k] = side[k] + tinytl_rng_normal(&rng);
      }
      for (int copy = 0; copy < n_copies; copy++, s->n++) {
        assert_true(s->n < MOST);
        s->labels[s->n] = c;
        s->originals[s->n] = n_originals;
        for (int k = 0; k < N_FEATURES; k++) {
          const float little = 0.1f * tinytl_rng_normal(&rng);
          s->features[s->n][k] = shown[k] + turned[k] + little;
          s->mirrored[s->n][k] = shown[k] - turned[k] + little;
        }
      }
    }
  }
  return s;
}

static tinytl_mirror_answer ask(const set *s, bool knows_copies) {
  float memory[5 * N_FEATURES];
  assert_true(sizeof memory >= tinytl_mirror_test_nbytes(N_FEATURES));
  memset(memory, 0xff, sizeof memory);
  tinytl_mirror_test test = tinytl_mirror_test_place(N_FEATURES, memory);
  for (int i = 0; i < s->n; i++) {
    const bool same = i > 0 && s->labels[i] == s->labels[i - 1];
    const bool copy = same && knows_copies && s->originals[i] == s->originals[i - 1];
    tinytl_mirror_test_add(&test,
                           copy   ? TINYTL_KIN_COPY
                           : same ? TINYTL_KIN_CLASS
                                  : TINYTL_KIN_NONE,
                           s->features[i], s->mirrored[i]);
  }
  return tinytl_mirror_test_end(&test);
}

/* ---- Reference ---------------------------------------------------------------------------- */

typedef double vector[N_FEATURES];

static double dot(const vector x, const vector y) {
  double sum = 0;
  for (int k = 0; k < N_FEATURES; k++) sum += x[k] * y[k];
  return sum;
}

/* From the definition, pair by pair; classes of one original do not count. Without the noise. */
static double reference_share(const set *s) {
  vector *d = calloc((size_t)s->n, sizeof *d), mean = {0};
  int *labels = calloc((size_t)s->n, sizeof *labels), n = 0, n_counted = 0;
  for (int i = 0, end; i < s->n; i = end, n++) {
    for (end = i; end < s->n && s->originals[end] == s->originals[i];) end++;
    labels[n] = s->labels[i];
    for (int j = i; j < end; j++) {
      double x = 0, y = 0;
      for (int k = 0; k < N_FEATURES; k++) {
        x += (double)s->features[j][k] * (double)s->features[j][k];
        y += (double)s->mirrored[j][k] * (double)s->mirrored[j][k];
      }
      for (int k = 0; k < N_FEATURES; k++)
        d[n][k] +=
            ((double)s->features[j][k] / sqrt(x) - (double)s->mirrored[j][k] / sqrt(y)) / (end - i);
    }
  }
  int *sizes = calloc((size_t)s->n, sizeof *sizes);
  for (int i = 0; i < n; i++) sizes[labels[i]]++;
  for (int i = 0; i < n; i++)
    if (sizes[labels[i]] > 1) {
      n_counted++;
      for (int k = 0; k < N_FEATURES; k++) mean[k] += d[i][k];
    }
  double products = 0, q = 0, all = 0, n_pictures = 0, mean_square = 0;
  for (int i = 0; i < n; i++) {
    if (sizes[labels[i]] < 2) continue;
    for (int j = 0; j < n; j++) {
      vector x, y;
      for (int k = 0; k < N_FEATURES; k++) {
        x[k] = d[i][k] - mean[k] / n_counted;
        y[k] = d[j][k] - mean[k] / n_counted;
      }
      if (i == j) q += dot(x, x);
      if (i != j && labels[i] == labels[j]) products += dot(x, y) / (sizes[labels[i]] - 1);
    }
  }
  /* The variance of single pictures. */
  for (int i = 0; i < s->n; i++) {
    double x = 0, y = 0;
    if (sizes[s->labels[i]] < 2) continue;
    for (int k = 0; k < N_FEATURES; k++) {
      x += (double)s->features[i][k] * (double)s->features[i][k];
      y += (double)s->mirrored[i][k] * (double)s->mirrored[i][k];
    }
    for (int k = 0; k < N_FEATURES; k++) {
      const double change =
          (double)s->features[i][k] / sqrt(x) - (double)s->mirrored[i][k] / sqrt(y);
      all += change * change;
    }
    n_pictures++;
  }
  for (int k = 0; k < N_FEATURES; k++) mean_square += mean[k] / n_counted * mean[k] / n_counted;
  const double variance = all / n_pictures - mean_square;
  free(sizes);
  free(labels);
  free(d);
  return (products + q / (n_counted - 1)) / n_counted / variance;
}

static void move(set *s, int from, int to) {
  s->labels[to] = s->labels[from];
  s->originals[to] = s->originals[from];
  memmove(s->features[to], s->features[from], sizeof s->features[to]);
  memmove(s->mirrored[to], s->mirrored[from], sizeof s->mirrored[to]);
}

/* Classes of different sizes, one of a single picture and its copies. */
static void test_share(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++) {
    set *s = draw(seed, 5, 8, 3, 0.3f, 0.5f);
    const int n = s->n;
    s->n = 0;
    for (int i = 0; i < n; i++) {
      const bool is_left = s->labels[i] == 4 ? s->originals[i] == 39 : i % 7 != (int)seed % 7;
      if (is_left) move(s, i, s->n++);
    }
    assert_float_equal(ask(s, true).share, reference_share(s), 1e-5);
    free(s);
  }
}

/* ---- What it tells ------------------------------------------------------------------------ */

/* Where classes explain nothing the share is 0 in the mean and varies as it says, also where all
 * classes lean to one side. */
static void test_even_classes(void **state) {
  (void)state;
  enum { N = 300 };
  for (int leaning = 0; leaning < 2; leaning++) {
    double sum = 0, squares = 0;
    int n_hurt = 0;
    for (uint64_t seed = 0; seed < N; seed++) {
      set *s = draw(seed, 6, 20, 1, 0, (float)leaning);
      const tinytl_mirror_answer answer = ask(s, true);
      const double z = (double)answer.share / (double)answer.noise;
      sum += z;
      squares += z * z;
      n_hurt += tinytl_mirror_hurts(answer);
      free(s);
    }
    assert_float_equal(sum / N, 0, 3 / sqrt(N));
    assert_float_equal(squares / N, 1, 0.35);
    assert_in_range(n_hurt, 0, N / 50);
  }
}

static void test_lopsided_classes(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++) {
    set *s = draw(seed, 6, 20, 1, 0.5f, 0);
    const tinytl_mirror_answer answer = ask(s, true);
    assert_true(tinytl_mirror_hurts(answer));
    assert_float_equal(answer.share, 0.2, 0.12); /* 1/4 of 1 + 1/4 */
    free(s);
  }
}

/* The share alone does not decide where it is small, nor the noise. */
static void test_threshold(void **state) {
  (void)state;
  assert_false(tinytl_mirror_hurts((tinytl_mirror_answer){0.0039f, 0.0001f}));
  assert_true(tinytl_mirror_hurts((tinytl_mirror_answer){0.0041f, 0.0001f}));
  assert_false(tinytl_mirror_hurts((tinytl_mirror_answer){0.1f, 0.04f}));
  assert_true(tinytl_mirror_hurts((tinytl_mirror_answer){0.1f, 0.03f}));
}

/* Ten near copies of each picture look like a class unless it is known that they are copies. */
static void test_copies(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++) {
    set *s = draw(seed, 6, 20, 10, 0, 0);
    assert_false(tinytl_mirror_hurts(ask(s, true)));
    assert_true(tinytl_mirror_hurts(ask(s, false)));
    free(s);
  }
}

/* Nothing is found, and mirroring stays, where there is too little to tell by. */
static void test_too_little(void **state) {
  (void)state;
  set *none = calloc(1, sizeof *none);
  set *singles = draw(0, 20, 1, 1, 1, 0), *few = draw(0, 2, 8, 1, 1, 0);
  set *same = draw(0, 6, 20, 1, 1, 0), *dark = draw(0, 6, 20, 1, 1, 0);
  set *repeated = draw(0, 6, 20, 1, 1, 0); /* every class one picture again and again */
  for (int i = 0; i < repeated->n; i++) {
    move(repeated, repeated->labels[i] * 20, i);
    repeated->originals[i] = i; /* and nothing tells so */
  }
  memcpy(same->mirrored, same->features, sizeof same->mirrored);
  memset(dark->features, 0, sizeof dark->features);
  memset(dark->mirrored, 0, sizeof dark->mirrored);
  set *const sets[] = {none, singles, few, same, dark, repeated};
  for (int i = 0; i < 6; i++) {
    const tinytl_mirror_answer answer = ask(sets[i], true);
    assert_true(isinf(answer.noise));
    assert_false(isnan(answer.share));
    assert_false(tinytl_mirror_hurts(answer));
    free(sets[i]);
  }
}

static void test_most_of_class(void **state) {
  (void)state;
  assert_int_equal(tinytl_mirror_most_of_class(2), 2048);
  assert_int_equal(tinytl_mirror_most_of_class(100), 40);
  assert_int_equal(tinytl_mirror_most_of_class(5000), 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_share),
      cmocka_unit_test(test_even_classes),
      cmocka_unit_test(test_lopsided_classes),
      cmocka_unit_test(test_threshold),
      cmocka_unit_test(test_copies),
      cmocka_unit_test(test_too_little),
      cmocka_unit_test(test_most_of_class),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
