#include "data/order.h"
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

static void what_cannot_be_read_is_left_out(void **state) {
  (void)state;
  const bool unreadable[5] = {false, true, false, true, false};
  int order[5] = {3, 4, 1, 0, 2}, n = 5;
  tinytl_error error;
  assert_int_equal(tinytl_order_readable(unreadable, 3, order, &n, &error), TINYTL_OK);
  assert_int_equal(n, 3);
  assert_int_equal(n, tinytl_count_readable(unreadable, 5));
  assert_int_equal(order[0], 4);
  assert_int_equal(order[1], 0);
  assert_int_equal(order[2], 2);
  assert_int_equal(tinytl_order_readable(unreadable, 4, order, &n, &error), TINYTL_ERROR_DATA);
  assert_string_equal(error.message, "4 training pictures could be read before, now 3");
  tinytl_order_by_number(5, order);
  for (int i = 0; i < 5; i++) assert_int_equal(order[i], i);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_picture_once),
      cmocka_unit_test(depends_on_seed_and_epoch),
      cmocka_unit_test(what_cannot_be_read_is_left_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
