/* Counting and placing agree, pieces are aligned and apart, and what cannot be counted is told. */
#include "core/cursor.h"
#include "support/cmocka.h"

#include <stdlib.h>

enum { N = 4 };

static void lay_out(tinytl_cursor *c, unsigned char *pieces[N]) {
  pieces[0] = tinytl_take(c, 3, sizeof(float));
  pieces[1] = tinytl_take(c, 0, sizeof(float));
  pieces[2] = tinytl_take(c, TINYTL_ARENA_ALIGN + 1, 1);
  pieces[3] = tinytl_take(c, 1, sizeof(double));
}

static void test_counted_and_placed(void **state) {
  (void)state;
  const size_t expected[N] = {0, TINYTL_ARENA_ALIGN, TINYTL_ARENA_ALIGN, 3 * TINYTL_ARENA_ALIGN};
  unsigned char *pieces[N];
  tinytl_cursor count = {0};
  lay_out(&count, pieces);
  for (int i = 0; i < N; i++) assert_null(pieces[i]);
  assert_int_equal(count.used, 4 * TINYTL_ARENA_ALIGN);
  tinytl_cursor place = {.base = aligned_alloc(TINYTL_ARENA_ALIGN, count.used)};
  assert_non_null(place.base);
  lay_out(&place, pieces);
  for (int i = 0; i < N; i++) assert_int_equal(pieces[i] - place.base, expected[i]);
  assert_int_equal(place.used, count.used);
  assert_false(place.overflow);
  free(place.base);
}

static void test_overflow(void **state) {
  (void)state;
  const size_t sizes[3][2] = {{SIZE_MAX / 2, 3}, {SIZE_MAX / 3, 1}, {1, SIZE_MAX}};
  for (int i = 0; i < 3; i++) {
    tinytl_cursor c = {0};
    assert_null(tinytl_take(&c, sizes[i][0], sizes[i][1]));
    assert_true(c.overflow);
    tinytl_take(&c, 1, 1);
    assert_true(c.overflow);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_counted_and_placed),
      cmocka_unit_test(test_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
