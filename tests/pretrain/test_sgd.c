#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pretrain/sgd.h"
#include "support/op_check.h"

enum { N = 40000, DECAYED = 17000, UPDATES = 3 };

typedef struct vectors {
  float *values, *moment, *gradient;
} vectors;

static void run_updates(tinytl_pool *pool, vectors *v) {
  v->values = op_random(N, 1);
  v->moment = calloc(N, sizeof(float));
  for (int step = 0; step < UPDATES; step++) {
    v->gradient = op_random(N, 2 + step);
    const tinytl_sgd sgd = {.n = N,
                            .n_decayed = DECAYED,
                            .lr = 0.1f,
                            .decay = 0.01f,
                            .values = v->values,
                            .moment = v->moment,
                            .gradient = v->gradient};
    tinytl_sgd_update(&sgd, pool);
    for (int i = 0; i < N; i++) assert_float_equal(v->gradient[i], 0, 0);
    free(v->gradient);
  }
}

static void discard(vectors *v) {
  free(v->values);
  free(v->moment);
}

static void test_formula(void **state) {
  (void)state;
  vectors v;
  run_updates(NULL, &v);
  float *start = op_random(N, 1), *gradients[UPDATES];
  for (int step = 0; step < UPDATES; step++) gradients[step] = op_random(N, 2 + step);
  for (int i = 0; i < N; i++) {
    double p = start[i], m = 0;
    for (int step = 0; step < UPDATES; step++) {
      const double g = gradients[step][i] + (i < DECAYED ? 0.01 * p : 0);
      m = 0.9 * m + g;
      p -= 0.1 * (g + 0.9 * m);
    }
    assert_true(fabs(v.values[i] - p) < 1e-5);
    assert_true(fabs(v.moment[i] - m) < 1e-5);
  }
  for (int step = 0; step < UPDATES; step++) free(gradients[step]);
  free(start);
  discard(&v);
}

static void test_threads(void **state) {
  (void)state;
  vectors one, three;
  tinytl_pool *pool;
  assert_int_equal(tinytl_pool_create(3, &pool, NULL), TINYTL_OK);
  run_updates(NULL, &one);
  run_updates(pool, &three);
  assert_memory_equal(one.values, three.values, N * sizeof(float));
  tinytl_pool_free(pool);
  discard(&one);
  discard(&three);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_formula),
                                     cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
