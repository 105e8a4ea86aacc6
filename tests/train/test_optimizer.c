/* Adam and SGD against the textbook in double, adam8 against Adam (its codes: test_kernels), the
 * schedule against what it promises. */
#include "support/cmocka.h"
#include "support/op_check.h"

#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    params->n_trained_segments = params->n_segments;
    params->segments[params->n_segments++] =
        (tinytl_segment){.offset = params->n, .n = segments[s].n, .group = segments[s].group};
    params->n += segments[s].n;
  }
}

typedef struct job {
  tinytl_optimizer kind;
  int n_updates, n_threads;
  size_t slice;   /* values a call; 0: the segment in one */
  float exponent; /* gradients are normal numbers times 10^exponent */
} job;

static const tinytl_optimizer kinds[] = {TINYTL_OPTIMIZER_ADAM, TINYTL_OPTIMIZER_SGD,
                                         TINYTL_OPTIMIZER_ADAM8};
enum { N_KINDS = sizeof kinds / sizeof *kinds, N_GUARD = 64 };

/* Gradients of update `t`, as if images had been fed; the caller frees. */
static float *gradients_of(const tinytl_params *params, const job *j, int t) {
  float *gradients = op_random(params->n, 100 + (uint64_t)t);
  for (size_t i = 0; i < params->n; i++) gradients[i] *= powf(10, j->exponent);
  return gradients;
}

static void update_segment(const tinytl_optimizer_state *state, const tinytl_params *params, int s,
                           size_t slice, tinytl_pool *pool, float *gradients, float *values) {
  const tinytl_segment *segment = &params->segments[s];
  if (slice == 0) slice = segment->n;
  for (size_t first = 0; first < segment->n; first += slice) {
    const size_t n = segment->n - first < slice ? segment->n - first : slice;
    tinytl_optimizer_update(state, params, s, first, n, tinytl_kernels_get(), pool,
                            gradients + segment->offset + first, values + segment->offset + first);
  }
}

/* Values [n] after the updates; the caller frees. Checks what is left alone and what is cleared. */
static float *run(const tinytl_params *params, const job *j) {
  tinytl_pool *pool = NULL;
  assert_int_equal(tinytl_pool_create(j->n_threads, &pool, NULL), TINYTL_OK);
  const size_t nbytes = tinytl_optimizer_nbytes(j->kind, params);
  uint8_t guard[N_GUARD], *memory = malloc(nbytes + N_GUARD);
  memset(memory, 0xa5, nbytes + N_GUARD);
  memset(guard, 0xa5, N_GUARD);
  tinytl_optimizer_state state;
  tinytl_optimizer_init(&state, j->kind, params, memory);
  float *values = op_random(params->n, 1), *start = op_random(params->n, 1);
  const size_t at = params->n_trained, n_frozen = params->n - at;
  for (int t = 1; t <= j->n_updates; t++) {
    float *gradients = gradients_of(params, j, t), *frozen = gradients_of(params, j, t);
    tinytl_optimizer_begin(&state, rates, gradient_scale);
    assert_int_equal(state.step, t);
    for (int s = 0; s < params->n_trained_segments; s++)
      update_segment(&state, params, s, j->slice, pool, gradients, values);
    for (size_t i = 0; i < at; i++) assert_true(gradients[i] == 0);
    assert_memory_equal(gradients + at, frozen + at, n_frozen * sizeof(float));
    free(gradients), free(frozen);
  }
  assert_true(n_frozen > 0);
  assert_memory_equal(values + at, start + at, n_frozen * sizeof(float));
  assert_memory_equal(memory + nbytes, guard, N_GUARD);
  free(memory), free(start);
  tinytl_pool_free(pool);
  return values;
}

/* Adam and SGD by the textbook: values [n_trained]; the caller frees. */
static double *expect(const tinytl_params *params, const job *j) {
  float *start = op_random(params->n, 1);
  double *p = op_widen(start, params->n_trained);
  double *m = calloc(params->n_trained, sizeof *m), *v = calloc(params->n_trained, sizeof *v);
  for (int t = 1; t <= j->n_updates; t++) {
    float *gradients = gradients_of(params, j, t);
    for (int s = 0; s < params->n_segments; s++) {
      const tinytl_segment *segment = &params->segments[s];
      const double lr = (double)rates[segment->group];
      if (segment->offset >= params->n_trained) continue;
      for (size_t i = segment->offset; i < segment->offset + segment->n; i++) {
        const double g = (double)gradients[i] * (double)gradient_scale;
        if (j->kind == TINYTL_OPTIMIZER_SGD) {
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
  free(m), free(v), free(start);
  return p;
}

static void check_against_textbook(tinytl_optimizer kind) {
  tinytl_params params;
  make_params(&params);
  const job j = {.kind = kind, .n_updates = 30, .n_threads = 2};
  float *got = run(&params, &j);
  double *want = expect(&params, &j);
  assert_true(op_error(got, want, params.n_trained) < 1e-5);
  free(got), free(want);
}

static void test_adam(void **state) {
  (void)state;
  check_against_textbook(TINYTL_OPTIMIZER_ADAM);
}

static void test_sgd(void **state) {
  (void)state;
  check_against_textbook(TINYTL_OPTIMIZER_SGD);
}

static void test_cuts_and_threads(void **state) {
  (void)state;
  tinytl_params params;
  make_params(&params);
  for (int k = 0; k < N_KINDS; k++) {
    const job whole = {.kind = kinds[k], .n_updates = 6, .n_threads = 2};
    float *want = run(&params, &whole);
    static const struct {
      int n_threads;
      size_t slice;
    } cuts[] = {{1, 0},
                {3, 0},
                {1, TINYTL_MOMENT_BLOCK},
                {2, 18 * TINYTL_MOMENT_BLOCK},
                {2, 70 * TINYTL_MOMENT_BLOCK}};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
      job cut = whole;
      cut.n_threads = cuts[c].n_threads;
      cut.slice = cuts[c].slice;
      float *got = run(&params, &cut);
      assert_memory_equal(got, want, params.n * sizeof(float));
      free(got);
    }
    free(want);
  }
}

static void test_nbytes(void **state) {
  (void)state;
  tinytl_params params;
  make_params(&params);
  const size_t n = params.n_trained, n_scales = n / TINYTL_MOMENT_BLOCK + 5;
  assert_int_equal(tinytl_optimizer_nbytes(TINYTL_OPTIMIZER_ADAM, &params), 8 * n);
  assert_int_equal(tinytl_optimizer_nbytes(TINYTL_OPTIMIZER_SGD, &params), 4 * n);
  assert_int_equal(tinytl_optimizer_nbytes(TINYTL_OPTIMIZER_ADAM8, &params), 2 * n + 8 * n_scales);
  params.n_trained = params.n = SIZE_MAX / 2;
  for (int k = 0; k < N_KINDS; k++)
    assert_true(tinytl_optimizer_nbytes(kinds[k], &params) == SIZE_MAX);
}

/* Gradients beyond what a float's square holds, below it, and none: a step of Adam has about the
 * size of its rate, or is next to nothing. */
static void test_extreme_gradients(void **state) {
  (void)state;
  static const float exponents[] = {30, 18, -18, -30, -INFINITY};
  tinytl_params params;
  make_params(&params);
  float *start = op_random(params.n, 1);
  for (int k = 0; k < N_KINDS; k++)
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++) {
      const job j = {.kind = kinds[k], .n_updates = 5, .n_threads = 1, .exponent = exponents[e]};
      float *values = run(&params, &j);
      float most = 0;
      for (size_t i = 0; i < params.n_trained; i++) {
        assert_true(isfinite(values[i]));
        most = fmaxf(most, fabsf(values[i] - start[i]));
      }
      if (j.kind != TINYTL_OPTIMIZER_SGD) assert_true(most < 5 * 5e-2f);
      if (exponents[e] < 0) assert_true(most < 1e-6f);
      if (exponents[e] > 0) assert_true(most > 1e-2f);
      free(values);
    }
  free(start);
}

/* Minimises the sum of c (p - target)^2 / 2 from noisy gradients; the curvatures c of neighbours
 * differ by up to six powers of ten, so that a block holds moments of all sizes. Returns the mean
 * of |p - target| over that at the start. */
static double descend(tinytl_optimizer kind) {
  enum { N = 1000, N_STEPS = 600 };
  static tinytl_params params;
  params = (tinytl_params){
      .n = N, .n_trained = N, .n_segments = 1, .n_trained_segments = 1, .segments = {{.n = N}}};
  void *memory = malloc(tinytl_optimizer_nbytes(kind, &params));
  tinytl_optimizer_state state;
  tinytl_optimizer_init(&state, kind, &params, memory);
  float values[N] = {0}, gradients[N] = {0}, *targets = op_random(N, 7);
  for (int t = 0; t < N_STEPS; t++) {
    float *noise = op_random(N, 1000 + (uint64_t)t);
    for (int i = 0; i < N; i++)
      gradients[i] =
          powf(10, (float)(i * 7 % 13) / 2 - 3) * (values[i] - targets[i] + 0.3f * noise[i]);
    const float lr[TINYTL_N_GROUPS] = {2e-2f * tinytl_schedule((uint64_t)t, 30, N_STEPS)};
    tinytl_optimizer_begin(&state, lr, 1);
    update_segment(&state, &params, 0, 0, NULL, gradients, values);
    free(noise);
  }
  double before = 0, after = 0;
  for (int i = 0; i < N; i++) {
    before += fabs((double)targets[i]);
    after += fabs((double)(values[i] - targets[i]));
  }
  free(targets), free(memory);
  return after / before;
}

static void test_adam8_learns_like_adam(void **state) {
  (void)state;
  const double adam = descend(TINYTL_OPTIMIZER_ADAM), adam8 = descend(TINYTL_OPTIMIZER_ADAM8);
  if (!(adam < 0.05 && adam8 < 1.3 * adam)) fail_msg("adam left %g, adam8 %g", adam, adam8);
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

/* Where there is no warm-up it is the other one; with it, below that until both have begun. */
static void test_weight_schedule(void **state) {
  (void)state;
  enum { WARMUP = 8, STEPS = 24 };
  for (uint64_t step = 0; step < STEPS; step++) {
    const float share = tinytl_weight_schedule(step, WARMUP, STEPS);
    const float cosine = tinytl_schedule(step, 0, STEPS);
    const float begun = step < WARMUP ? (float)(step + 1) / WARMUP : 1;
    assert_float_equal(share, begun * begun * cosine, 1e-6f);
    assert_true(tinytl_weight_schedule(step, 0, STEPS) == cosine);
    assert_true(share > 0);
  }
  assert_float_equal(tinytl_weight_schedule(0, WARMUP, STEPS), 1.0f / 64, 1e-6f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_adam),
      cmocka_unit_test(test_sgd),
      cmocka_unit_test(test_cuts_and_threads),
      cmocka_unit_test(test_nbytes),
      cmocka_unit_test(test_extreme_gradients),
      cmocka_unit_test(test_adam8_learns_like_adam),
      cmocka_unit_test(test_schedule),
      cmocka_unit_test(test_schedule_without_warmup),
      cmocka_unit_test(test_weight_schedule),
  };
  return cmocka_run_group_tests_name("optimizer", tests, NULL, NULL);
}
