/* Every task runs once, whatever the number of threads, job after job. */
#include "support/cmocka.h"

#include "core/parallel.h"

#include <stdatomic.h>

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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_task_once),
      cmocka_unit_test(test_free_without_a_job),
      cmocka_unit_test(test_without_pool),
      cmocka_unit_test(test_bad_numbers_of_threads),
  };
  return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
