#include "support/cmocka.h"

#include "core/saver.h"

static void test_interval(void **state) {
  (void)state;
  tinytl_saver saver;
  tinytl_saver_begin(&saver, true);
  assert_true(saver.is_saved);
  assert_false(tinytl_saver_change(&saver, 1e6f));
  assert_false(saver.is_saved);
  assert_true(tinytl_saver_change(&saver, 0));
  saver.last -= 2e6;
  assert_true(tinytl_saver_change(&saver, 1e6f));
  tinytl_saver_start(&saver);
  tinytl_saver_end(&saver);
  assert_true(saver.is_saved);
  assert_false(tinytl_saver_change(&saver, 1e6f));
}

/* A save of 100 seconds: the next one is due after 10,000. */
static void test_slow_saves(void **state) {
  (void)state;
  tinytl_saver saver;
  tinytl_saver_begin(&saver, false);
  tinytl_saver_start(&saver);
  saver.start -= 100;
  tinytl_saver_end(&saver);
  saver.last -= 9000;
  assert_false(tinytl_saver_change(&saver, 1));
  saver.last -= 2000;
  assert_true(tinytl_saver_change(&saver, 1));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_interval),
                                     cmocka_unit_test(test_slow_saves)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
