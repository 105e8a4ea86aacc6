/* Adam and SGD against the textbook in double; the schedule against what it promises. */
#include "support/cmocka.h"
#include "support/op_check.h"

#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_UPDATES = 6 };

static const float rates[TINYTL_N_GROUPS] = {1e-2f, 3e-3f, 5e-2f};
static const float gradient_scale = 1.0f / 3.0f;

/* Groups of one and of several segments, one longer than a task of the optimizer, and a last
 * segment that is frozen though its group is trained. */
static void make_params(tinytl_params *params) {
  static const struct {
    size_t n;
    tinytl_group group;
  } segments[] = {{21, TINYTL_GROUP_CLASSIFIER}, {3, TINYTL_GROUP_CLASSIFIER},
                  {20000, TINYTL_GROUP_BIAS},    {17000, TINYTL_GROUP_BIAS},
                  {5, TINYTL_GROUP_LITE},        {9, TINYTL_GROUP_LITE}};
  memset(params, 0, sizeof *params);
  for (size_t s = 0; s < sizeof segments / sizeof *segments; s++) {
    params->n_trained = params->n;
    params->segments[params->n_segments++] =
        (tinytl_segment){.offset = params->n, .n = segments[s].n, .group = segments[s].group};
    params->n += segments[s].n;
  }
}

typedef struct vectors {
  float *values, *gradients; /* [n], more than the optimizer may touch */
} vectors;

static vectors make_vectors(const tinytl_params *params) {
  return (vectors){op_random(params->n, 1), op_random(params->n, 2)};
}

static void free_vectors(vectors *v) {
  free(v->values);
  free(v->gradients);
}

/* Gradients of update `t`, as if images had been fed. */
static float *gradients_of(const tinytl_params *params, int t) {
  return op_random(params->n, 100 + (uint64_t)t);
}

static void update_all(tinytl_optimizer_state *state, const tinytl_params *params,
                       const tinytl_kernels *kernels, tinytl_pool *pool, vectors *v) {
  tinytl_optimizer_begin(state, rates, gradient_scale);
  for (int s = 0; s < params->n_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    if (segment->offset < params->n_trained)
      tinytl_optimizer_update(state, params, s, 0, segment->n, kernels, pool,
                              v->gradients + segment->offset, v->values + segment->offset);
  }
}

static void run(const tinytl_params *params, tinytl_optimizer kind, int n_threads, vectors *v) {
  tinytl_pool *pool = NULL;
  assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
  tinytl_optimizer_state state;
  void *memory = malloc(tinytl_optimizer_nbytes(kind, params));
  tinytl_optimizer_init(&state, kind, params, memory);
  for (int t = 1; t <= N_UPDATES; t++) {
    float *gradients = gradients_of(params, t);
    memcpy(v->gradients, gradients, params->n_trained * sizeof(float));
    update_all(&state, params, tinytl_kernels_get(), pool, v);
    for (size_t i = 0; i < params->n_trained; i++) assert_true(v->gradients[i] == 0);
    free(gradients);
  }
  assert_int_equal(state.step, N_UPDATES);
  free(memory);
  tinytl_pool_free(pool);
}

/* Values [n_trained] after the updates; the caller frees. */
static double *expect(const tinytl_params *params, tinytl_optimizer kind) {
  vectors start = make_vectors(params);
  double *p = op_widen(start.values, params->n_trained);
  double *m = calloc(params->n_trained, sizeof *m), *v = calloc(params->n_trained, sizeof *v);
  for (int t = 1; t <= N_UPDATES; t++) {
    float *gradients = gradients_of(params, t);
    for (int s = 0; s < params->n_segments; s++) {
      const tinytl_segment *segment = &params->segments[s];
      const double lr = (double)rates[segment->group];
      if (segment->offset >= params->n_trained) continue;
      for (size_t i = segment->offset; i < segment->offset + segment->n; i++) {
        const double g = (double)gradients[i] * (double)gradient_scale;
        if (kind == TINYTL_OPTIMIZER_SGD) {
          m[i] = 0.9 * m[i] + g;
          p[i] -= lr * m[i];
          continue;
        }
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.999 * v[i] + 0.001 * g * g;
        p[i] -= lr * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
      }
    }
    free(gradients);
  }
  free(m);
  free(v);
  free_vectors(&start);
  return p;
}

static void check_kind(tinytl_optimizer kind) {
  tinytl_params params;
  make_params(&params);
  vectors start = make_vectors(&params), v = make_vectors(&params);
  run(&params, kind, 2, &v);
  double *want = expect(&params, kind);
  assert_true(op_error(v.values, want, params.n_trained) < 1e-5);

  /* Nothing beyond n_trained is touched. */
  const size_t at = params.n_trained, n = (params.n - at) * sizeof(float);
  assert_true(n > 0);
  assert_memory_equal(v.values + at, start.values + at, n);
  assert_memory_equal(v.gradients + at, start.gradients + at, n);

  for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
    vectors other = make_vectors(&params);
    run(&params, kind, n_threads, &other);
    assert_memory_equal(other.values, v.values, params.n * sizeof(float));
    free_vectors(&other);
  }
  free(want);
  free_vectors(&start);
  free_vectors(&v);
}

static void test_adam(void **state) {
  (void)state;
  check_kind(TINYTL_OPTIMIZER_ADAM);
}

static void test_sgd(void **state) {
  (void)state;
  check_kind(TINYTL_OPTIMIZER_SGD);
}

static void test_schedule(void **state) {
  (void)state;
  enum { WARMUP = 4, STEPS = 20 };
  for (uint64_t step = 0; step < WARMUP; step++)
    assert_float_equal(tinytl_schedule(step, WARMUP, STEPS), (float)(step + 1) / WARMUP, 1e-6f);
  assert_float_equal(tinytl_schedule(WARMUP, WARMUP, STEPS), 1, 1e-6f);
  assert_float_equal(tinytl_schedule((WARMUP + STEPS) / 2, WARMUP, STEPS), 0.5f, 1e-6f);
  for (uint64_t step = WARMUP + 1; step < STEPS; step++)
    assert_true(tinytl_schedule(step, WARMUP, STEPS) < tinytl_schedule(step - 1, WARMUP, STEPS));
  const float last = tinytl_schedule(STEPS - 1, WARMUP, STEPS);
  assert_true(last > 0 && last < 0.02f);
  assert_float_equal(tinytl_schedule(STEPS, WARMUP, STEPS), 0, 1e-6f);
}

static void test_schedule_without_warmup(void **state) {
  (void)state;
  assert_true(tinytl_schedule(0, 0, 10) == 1);
  assert_true(tinytl_schedule(1, 0, 10) < 1);
  assert_true(tinytl_schedule(0, 0, 1) == 1);
  /* Nothing but warm-up. */
  assert_true(tinytl_schedule(2, 3, 3) == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_adam),
      cmocka_unit_test(test_sgd),
      cmocka_unit_test(test_schedule),
      cmocka_unit_test(test_schedule_without_warmup),
  };
  return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
