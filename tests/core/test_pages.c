/* Memory by pages: zero at first and after a drop, and what the system counts follows. */
#include "support/cmocka.h"

#include "core/pages.h"

#include <string.h>
#include <unistd.h>

enum { N = 8 << 20 };

static void test_take_and_drop(void **state) {
  (void)state;
  unsigned char *bytes = tinytl_pages_take(N);
  assert_non_null(bytes);
  for (size_t i = 0; i < N; i += 1000) assert_int_equal(bytes[i], 0);
  memset(bytes, 1, N);
  /* Pages that are shared with what is kept stay. */
  tinytl_pages_drop(bytes + 100, N - 200);
  assert_int_equal(bytes[99], 1);
  assert_int_equal(bytes[N - 100], 1);
  assert_int_equal(bytes[100], 1);
  assert_int_equal(bytes[N / 2], 0);
  tinytl_pages_drop(bytes + 1, 10);
  assert_int_equal(bytes[5], 1);
  tinytl_pages_free(bytes, N);
  tinytl_pages_free(NULL, 0);
}

static void test_resident(void **state) {
  (void)state;
  const size_t before = tinytl_resident_nbytes();
  if (before == 0) {
    print_message("skipped: the system does not tell\n");
    skip();
  }
  unsigned char *bytes = tinytl_pages_take(N);
  assert_non_null(bytes);
  const size_t taken = tinytl_resident_nbytes();
  memset(bytes, 1, N);
  const size_t touched = tinytl_resident_nbytes();
  tinytl_pages_drop(bytes, N);
  const size_t dropped = tinytl_resident_nbytes();
  tinytl_pages_free(bytes, N);
  assert_true(taken < before + N / 4);
  assert_true(touched >= taken + N && touched < taken + N + N / 4);
  assert_true(dropped < touched - N + N / 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_take_and_drop),
      cmocka_unit_test(test_resident),
  };
  return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
