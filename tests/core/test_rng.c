/* Streams depend on their keys alone, differ between keys, and look random enough. */
#include "support/cmocka.h"

#include "core/rng.h"

#include <math.h>
#include <stdlib.h>

static void test_keys(void **state) {
  (void)state;
  tinytl_rng first = tinytl_rng_make(1, TINYTL_RNG_ORDER, 2, 3);
  tinytl_rng same = tinytl_rng_make(1, TINYTL_RNG_ORDER, 2, 3);
  assert_true(tinytl_rng_next(&first) == tinytl_rng_next(&same));
  tinytl_rng other[] = {
      tinytl_rng_make(2, TINYTL_RNG_ORDER, 2, 3), tinytl_rng_make(1, TINYTL_RNG_SPLIT, 2, 3),
      tinytl_rng_make(1, TINYTL_RNG_ORDER, 3, 3), tinytl_rng_make(1, TINYTL_RNG_ORDER, 2, 2),
      tinytl_rng_make(1, TINYTL_RNG_ORDER, 3, 2)};
  for (int i = 0; i < 5; i++) {
    tinytl_rng again = tinytl_rng_make(1, TINYTL_RNG_ORDER, 2, 3);
    assert_true(tinytl_rng_next(&again) != tinytl_rng_next(&other[i]));
  }
}

static void test_moments(void **state) {
  (void)state;
  enum { N = 200000 };
  tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_INIT, 0, 0);
  double uniform = 0, normal = 0, square = 0;
  for (int i = 0; i < N; i++) {
    const float u = tinytl_rng_uniform(&rng);
    assert_true(u >= 0 && u < 1);
    uniform += (double)u;
    const double x = (double)tinytl_rng_normal(&rng);
    assert_true(isfinite(x));
    normal += x;
    square += x * x;
  }
  assert_true(fabs(uniform / N - 0.5) < 0.003);
  assert_true(fabs(normal / N) < 0.01);
  assert_true(fabs(square / N - 1) < 0.015);
}

static void test_below_and_shuffle(void **state) {
  (void)state;
  enum { N = 10, ROUNDS = 20000 };
  tinytl_rng rng = tinytl_rng_make(3, TINYTL_RNG_INIT, 0, 0);
  int first[N] = {0};
  for (int round = 0; round < ROUNDS; round++) {
    int items[N], seen[N] = {0};
    for (int i = 0; i < N; i++) items[i] = i;
    tinytl_rng_shuffle(&rng, items, N);
    for (int i = 0; i < N; i++) seen[items[i]]++;
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    first[items[0]]++;
  }
  for (int i = 0; i < N; i++) assert_true(abs(first[i] - ROUNDS / N) < 250); /* 6 sigma */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_moments),
      cmocka_unit_test(test_below_and_shuffle),
  };
  return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
