#include "support/cmocka.h"

#include "core/grow.h"

#include <limits.h>

static void what_was_there_stays(void **state) {
  (void)state;
  int *items = NULL, room = 0;
  for (int n = 0; n < 1000; n++) {
    assert_int_equal(tinytl_grow((void **)&items, n, &room, sizeof *items, NULL), TINYTL_OK);
    assert_true(room > n);
    items[n] = n;
  }
  tinytl_fit((void **)&items, 600, sizeof *items);
  for (int n = 0; n < 600; n++) assert_int_equal(items[n], n);
  tinytl_fit((void **)&items, 0, sizeof *items);
  assert_null(items);
}

static void what_cannot_be_counted_is_refused(void **state) {
  (void)state;
  int item = 1, *items = &item, room = INT_MAX / 2 + 1;
  assert_int_equal(tinytl_grow((void **)&items, room, &room, 1, NULL), TINYTL_ERROR_INTERNAL);
  room = 4;
  assert_int_equal(tinytl_grow((void **)&items, room, &room, SIZE_MAX / 4, NULL),
                   TINYTL_ERROR_INTERNAL);
  assert_ptr_equal(items, &item);
  assert_int_equal(room, 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_there_stays),
      cmocka_unit_test(what_cannot_be_counted_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
