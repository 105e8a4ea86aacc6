/* Every task runs once, whatever the number of threads, job after job; tasks wait for earlier ones.
 */
#include "support/cmocka.h"

#include "core/parallel.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_TASKS = 257 };

static void count(void *context, int task) {
  atomic_fetch_add((atomic_int *)context + task, 1);
}

static void test_every_task_once(void **state) {
  (void)state;
  for (int n_threads = 1; n_threads <= 5; n_threads++) {
    tinytl_pool *pool = NULL;
    assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
    assert_int_equal(tinytl_pool_n_threads(pool), n_threads);
    for (int job = 0; job < 3000; job++) {
      atomic_int counts[MAX_TASKS] = {0};
      const int n_tasks = job % MAX_TASKS;
      tinytl_parallel_for(pool, n_tasks, count, counts);
      for (int i = 0; i < MAX_TASKS; i++) assert_int_equal(atomic_load(&counts[i]), i < n_tasks);
    }
    tinytl_pool_free(pool);
  }
}

enum { N_OTHERS = 9 };

/* The first task ends only when all others have. */
static void wait_for_others(void *context, int task) {
  atomic_int *n_others = context;
  if (task > 0) atomic_fetch_add(n_others, 1);
  while (task == 0 && atomic_load(n_others) < N_OTHERS) sched_yield();
}

/* A thread that is held up leaves the rest of its share to the others. */
static void test_others_take_over(void **state) {
  (void)state;
  for (int n_threads = 2; n_threads <= 5; n_threads++) {
    tinytl_pool *pool = NULL;
    assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
    for (int job = 0; job < 100; job++) {
      atomic_int n_others = 0;
      tinytl_parallel_for(pool, 1 + N_OTHERS, wait_for_others, &n_others);
      assert_int_equal(atomic_load(&n_others), N_OTHERS);
    }
    tinytl_pool_free(pool);
  }
}

/* A pool that is freed before its first job: the workers spun for ever, waiting for the job that a
 * number of tasks of 0 announces. */
static void test_free_without_a_job(void **state) {
  (void)state;
  for (int i = 0; i < 200; i++) {
    tinytl_pool *pool = NULL;
    assert_int_equal(tinytl_pool_create(4, &pool, NULL), TINYTL_OK);
    tinytl_pool_free(pool);
  }
}

static void test_without_pool(void **state) {
  (void)state;
  atomic_int counts[3] = {0};
  tinytl_parallel_for(NULL, 3, count, counts);
  for (int i = 0; i < 3; i++) assert_int_equal(atomic_load(&counts[i]), 1);
  assert_int_equal(tinytl_pool_n_threads(NULL), 1);
}

static void test_bad_numbers_of_threads(void **state) {
  (void)state;
  tinytl_error error;
  tinytl_pool *pool = NULL;
  assert_int_equal(tinytl_pool_create(-1, &pool, &error), TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_pool_create(65, &pool, &error), TINYTL_ERROR_USAGE);
  assert_null(pool);
  assert_int_equal(tinytl_pool_create(0, &pool, &error), TINYTL_OK);
  assert_true(tinytl_pool_n_threads(pool) >= 1);
  tinytl_pool_free(pool);
  tinytl_pool_free(NULL);
}

/* ---- In order ------------------------------------------------------------------------------ */

/* Task i writes item k only behind task i - 1, and finds there what that one wrote. */
enum { N_FOLLOWERS = 3, N_ITEMS = 500 };

typedef struct followers {
  atomic_int counts[N_FOLLOWERS];
  int items[N_ITEMS]; /* plain memory */
  bool in_order;
} followers;

static void follow_task(void *context, int task) {
  followers *f = context;
  for (int k = 0; k < N_ITEMS; k++) {
    if (task > 0) tinytl_count_wait(&f->counts[task - 1], k + 1);
    if (f->items[k] != task) f->in_order = false;
    f->items[k] = task + 1;
    atomic_store(&f->counts[task], k + 1);
  }
}

static void test_count(void **state) {
  (void)state;
  for (int n_threads = 1; n_threads <= N_FOLLOWERS + 1; n_threads++) {
    tinytl_pool *pool = NULL;
    assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
    for (int job = 0; job < 30; job++) {
      followers f = {.in_order = true};
      tinytl_parallel_for_in_order(pool, N_FOLLOWERS, follow_task, &f);
      assert_true(f.in_order);
    }
    tinytl_pool_free(pool);
  }
}

static void do_nothing(void *context, int task) {
  (void)context;
  (void)task;
}

/* Only what is shared counts: not a single task, nor what ran before or after. */
static void test_cost(void **state) {
  (void)state;
  tinytl_pool *pool;
  tinytl_pool_cost cost = {0};
  assert_int_equal(tinytl_pool_create(2, &pool, NULL), TINYTL_OK);
  tinytl_parallel_for(pool, 5, do_nothing, NULL);
  tinytl_pool_measure(pool, &cost);
  for (int i = 0; i < 3; i++) tinytl_parallel_for(pool, 5, do_nothing, NULL);
  tinytl_parallel_for(pool, 1, do_nothing, NULL);
  assert_int_equal(cost.n_forks, 3);
  assert_true(cost.join_seconds > 0);
  tinytl_pool_measure(pool, NULL);
  tinytl_parallel_for(pool, 5, do_nothing, NULL);
  assert_int_equal(cost.n_forks, 3);
  tinytl_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_task_once),
      cmocka_unit_test(test_others_take_over),
      cmocka_unit_test(test_free_without_a_job),
      cmocka_unit_test(test_without_pool),
      cmocka_unit_test(test_bad_numbers_of_threads),
      cmocka_unit_test(test_count),
      cmocka_unit_test(test_cost),
  };
  return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
