#include "support/cmocka.h"

#include "core/limit.h"

#include <string.h>

/* It can be said with one decimal of a MB, and does for a process that begins a little larger: with
 * 64 KB one run of 24 refused the limit that the run before had named. */
static void test_limit_to_name(void **state) {
  (void)state;
  for (size_t nbytes = 1; nbytes < 400000; nbytes += 999) {
    const size_t limit = tinytl_limit_to_name(nbytes);
    assert_int_equal(limit % 100000, 0);
    assert_true(limit >= nbytes + 96 * 1024);
    assert_true(limit < nbytes + 96 * 1024 + 100000);
  }
}

static void test_limit_for_pictures(void **state) {
  (void)state;
  assert_int_equal(tinytl_limit_for_pictures(0), 0);
  assert_int_equal(tinytl_limit_for_pictures(4000000), 1000000);
  assert_int_equal(tinytl_limit_for_pictures(24000000), 3000000);
}

/* Where the system does not tell what the process holds, no limit can be kept. */
static void test_check_base(void **state) {
  (void)state;
  tinytl_error error;
  assert_int_equal(tinytl_limit_check_base(0, 0, &error), TINYTL_OK);
  assert_int_equal(tinytl_limit_check_base(6000000, 1, &error), TINYTL_OK);
  assert_int_equal(tinytl_limit_check_base(6000000, 0, &error), TINYTL_ERROR_MEMORY_LIMIT);
  assert_non_null(strstr(error.message, "6.0 MB"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_limit_to_name),
      cmocka_unit_test(test_limit_for_pictures),
      cmocka_unit_test(test_check_base),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
