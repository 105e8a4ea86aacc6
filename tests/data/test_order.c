#include "data/data.h"
#include "support/cmocka.h"

#include <string.h>

enum { N = 1000 };

static void every_picture_once(void **state) {
  (void)state;
  int order[N];
  bool seen[N] = {false};
  tinytl_order(1, 2, N, order);
  for (int i = 0; i < N; i++) {
    assert_in_range(order[i], 0, N - 1);
    assert_false(seen[order[i]]);
    seen[order[i]] = true;
  }
  tinytl_order(1, 2, 0, NULL);
}

static void depends_on_seed_and_epoch(void **state) {
  (void)state;
  int first[N], again[N], other_epoch[N], other_seed[N];
  tinytl_order(1, 2, N, first);
  tinytl_order(1, 2, N, again);
  tinytl_order(1, 3, N, other_epoch);
  tinytl_order(2, 2, N, other_seed);
  assert_memory_equal(first, again, sizeof first);
  assert_memory_not_equal(first, other_epoch, sizeof first);
  assert_memory_not_equal(first, other_seed, sizeof first);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_picture_once),
      cmocka_unit_test(depends_on_seed_and_epoch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
