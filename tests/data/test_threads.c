/* Both kinds of threads start together and end together, and a start that fails leaves none. */
#include "data/threads.h"
#include "support/cmocka.h"
#include "support/memory_images.h"

#include <stdlib.h>

enum { SIZE = 8, N_IMAGES = 6 };

static const tinytl_loader_options options = {.capacity = 2, .n_workers = 1, .max_size = SIZE};

static void count(void *context, int task) {
  ((int *)context)[task]++;
}

static void assert_none(const tinytl_threads *threads) {
  assert_null(threads->pool);
  assert_null(threads->loader);
}

static void test_n_decoders(void **state) {
  (void)state;
  assert_int_equal(tinytl_n_decoders(1), 1);
  assert_int_equal(tinytl_n_decoders(2), 1);
  assert_int_equal(tinytl_n_decoders(3), 2);
  assert_int_equal(tinytl_n_decoders(64), TINYTL_LOADER_MAX_WORKERS);
}

static void test_start_and_stop(void **state) {
  (void)state;
  const tinytl_view view = {.size = SIZE, .resize = SIZE};
  const int indices[N_IMAGES] = {5, 0, 4, 1, 3, 2};
  memory_images set;
  tinytl_threads threads = {0};
  void *memory = malloc(tinytl_loader_nbytes(&options));
  assert_non_null(memory);
  memory_images_init(&set, N_IMAGES, 1);
  for (int round = 0; round < 3; round++) {
    int counts[7] = {0};
    tinytl_sample sample;
    assert_int_equal(tinytl_threads_start(&threads, 3, &options, memory, NULL), TINYTL_OK);
    assert_int_equal(tinytl_pool_n_threads(threads.pool), 3);
    tinytl_parallel_for(threads.pool, 7, count, counts);
    for (int i = 0; i < 7; i++) assert_int_equal(counts[i], 1);
    assert_int_equal(
        tinytl_loader_start(threads.loader, &set.images, indices, N_IMAGES, &view, NULL),
        TINYTL_OK);
    assert_int_equal(tinytl_loader_next(threads.loader, &sample, NULL), TINYTL_OK);
    assert_int_equal(sample.index, indices[0]);
    tinytl_threads_stop(&threads); /* with pictures still being decoded */
    assert_none(&threads);
    tinytl_threads_stop(&threads);
    assert_none(&threads);
  }
  free(memory);
}

static void test_failed_start(void **state) {
  (void)state;
  const tinytl_loader_options no_slots = {.n_workers = 1, .max_size = SIZE};
  tinytl_threads threads = {0};
  tinytl_error error = {0};
  void *memory = malloc(tinytl_loader_nbytes(&options));
  assert_non_null(memory);
  assert_int_equal(tinytl_threads_start(&threads, 65, &options, memory, &error),
                   TINYTL_ERROR_USAGE);
  assert_none(&threads);
  assert_int_equal(tinytl_threads_start(&threads, 2, &no_slots, memory, &error),
                   TINYTL_ERROR_USAGE);
  assert_string_equal(error.message, "loader with 0 slots: expected 1 or more");
  assert_none(&threads);
  free(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_n_decoders),
      cmocka_unit_test(test_start_and_stop),
      cmocka_unit_test(test_failed_start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
