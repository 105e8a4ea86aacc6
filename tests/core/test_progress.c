#include "support/cmocka.h"

#include <math.h>

#include "core/progress.h"

/* Told of at once, then not before a tenth of a second has passed, unless something has finished.
 */
static void test_due(void **state) {
  (void)state;
  tinytl_progress p = tinytl_progress_begin();
  assert_true(tinytl_progress_due(&p, false));
  p.last += 1000;
  assert_false(tinytl_progress_due(&p, false));
  assert_true(tinytl_progress_due(&p, true));
  p.last -= 0.11;
  assert_true(tinytl_progress_due(&p, false));
}

/* 100 seconds for 2 of 10 that were not done before. */
static void test_rest(void **state) {
  (void)state;
  tinytl_progress p = tinytl_progress_begin();
  p.start -= 100;
  p.done_before = 3;
  assert_true(isnan(tinytl_progress_left(&p, 3, 10)));
  assert_float_equal(tinytl_progress_left(&p, 5, 10), 250, 25);
  assert_float_equal(tinytl_progress_rate(&p, 500), 5, 0.5);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_due), cmocka_unit_test(test_rest)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
