/* The planner against brute force on random lifetimes. */
#include "support/cmocka.h"

#include "core/arena.h"
#include "core/rng.h"

enum { MAX_BUFFERS = 40, STEPS = 30 };

static bool meet(const tinytl_buffer *x, const tinytl_buffer *y) {
  return !(x->last_use < y->first_use || y->last_use < x->first_use);
}

static size_t rounded(size_t nbytes) {
  return (nbytes + TINYTL_ARENA_ALIGN - 1) / TINYTL_ARENA_ALIGN * TINYTL_ARENA_ALIGN;
}

/* Bytes alive at the fullest step: no plan can be smaller. */
static size_t lower_bound(const tinytl_buffer *buffers, int n) {
  size_t most = 0;
  for (int step = 0; step < STEPS; step++) {
    size_t alive = 0;
    for (int i = 0; i < n; i++)
      if (buffers[i].first_use <= step && step <= buffers[i].last_use)
        alive += rounded(buffers[i].nbytes);
    if (alive > most) most = alive;
  }
  return most;
}

static void test_random_lifetimes(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 300; seed++) {
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
    tinytl_buffer buffers[MAX_BUFFERS];
    const int n = 1 + (int)tinytl_rng_below(&rng, MAX_BUFFERS);
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
      const int first = (int)tinytl_rng_below(&rng, STEPS);
      const int last = first + (int)tinytl_rng_below(&rng, (uint32_t)(STEPS - first));
      buffers[i] = (tinytl_buffer){tinytl_rng_below(&rng, 5000), first, last, 0};
      sum += rounded(buffers[i].nbytes);
    }
    size_t total = 0;
    assert_int_equal(tinytl_arena_plan(buffers, n, &total, NULL), TINYTL_OK);
    assert_true(total >= lower_bound(buffers, n) && total <= sum);
    for (int i = 0; i < n; i++) {
      assert_int_equal(buffers[i].offset % TINYTL_ARENA_ALIGN, 0);
      assert_true(buffers[i].offset + buffers[i].nbytes <= total);
      for (int j = 0; j < i; j++)
        if (meet(&buffers[i], &buffers[j]) && buffers[i].nbytes && buffers[j].nbytes)
          assert_true(buffers[i].offset + buffers[i].nbytes <= buffers[j].offset ||
                      buffers[j].offset + buffers[j].nbytes <= buffers[i].offset);
    }
  }
}

static void test_chain_reuses_memory(void **state) {
  (void)state;
  /* A chain of equal maps needs two of them, however long it is. */
  tinytl_buffer buffers[10];
  for (int i = 0; i < 10; i++) buffers[i] = (tinytl_buffer){1024, i, i + 1, 0};
  size_t total = 0;
  assert_int_equal(tinytl_arena_plan(buffers, 10, &total, NULL), TINYTL_OK);
  assert_int_equal(total, 2048);
}

static void test_nothing_to_plan(void **state) {
  (void)state;
  size_t total = 1;
  assert_int_equal(tinytl_arena_plan(NULL, 0, &total, NULL), TINYTL_OK);
  assert_int_equal(total, 0);
}

static void test_overflow_is_refused(void **state) {
  (void)state;
  tinytl_buffer buffers[2] = {{SIZE_MAX / 2, 0, 1, 0}, {SIZE_MAX / 2, 0, 1, 0}};
  size_t total = 7;
  assert_int_equal(tinytl_arena_plan(buffers, 2, &total, NULL), TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(total, 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_lifetimes),
      cmocka_unit_test(test_chain_reuses_memory),
      cmocka_unit_test(test_nothing_to_plan),
      cmocka_unit_test(test_overflow_is_refused),
  };
  return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
