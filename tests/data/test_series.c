/* Near copies by their names. */
#include "support/cmocka.h"

#include "data/series.h"

static bool has_both(const char *name, const char *other) {
  return tinytl_series_of(name) == tinytl_series_of(other);
}

static void test_series(void **state) {
  (void)state;
  assert_true(has_both("film_0007.jpg", "film_0008.jpg"));
  assert_true(has_both("7.jpg", "123.png"));
  assert_true(has_both("a/cat.jpg", "a/cat.png"));
  assert_false(has_both("film_0007.jpg", "firm_0007.jpg"));
  assert_false(has_both("00000_00014.jpg", "00001_00014.jpg"));
  assert_false(has_both("film_7a.jpg", "film_8a.jpg"));
  assert_false(has_both("7", "a7"));
}

static void test_runs(void **state) {
  (void)state;
  static const struct {
    const char *name;
    bool goes_on;
  } names[] = {{"dog/film_0090.jpg", false},
               {"dog/film_0091.jpg", true},
               {"dog/film_0119.jpg", true},
               {"dog/film_0120.jpg", false}, /* 30 from the first */
               {"dog/film_0120.jpg", true},
               {"dog/film_0100.jpg", false}, /* lower */
               {"dog/firm_0101.jpg", false},
               {"dog/rex.jpg", false},
               {"dog/rex.jpg", false}, /* without a number there is nothing to go by */
               {"dog/99999999999999999999999.jpg", false},
               {"dog/0.jpg", false},
               {"dog/29.jpg", true}};
  tinytl_series_run run = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (tinytl_series_run_goes_on(&run, names[i].name) != names[i].goes_on)
      fail_msg("%s", names[i].name);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_series),
      cmocka_unit_test(test_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
