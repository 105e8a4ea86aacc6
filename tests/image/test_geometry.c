#include "image/image.h"
#include "support/cmocka.h"

/* As Python's round((resize - size) / 2). */
static void the_centre_is_rounded_to_even(void **state) {
  (void)state;
  static const int first[] = {0, 0, 1, 2, 2, 2, 3, 4, 4};
  for (int more = 0; more < 9; more++) {
    const tinytl_view view = {.size = 8, .resize = 8 + more};
    tinytl_axis x, y;
    tinytl_axes_centre(&view, 100, 50, &x, &y);
    assert_int_equal(y.out_first, first[more]);
    tinytl_axes_centre(&view, 50, 100, &x, &y);
    assert_int_equal(x.out_first, first[more]);
  }
}

/* Twice the pixels that are needed are left, along both axes. */
static void a_reduction_is_not_seen(void **state) {
  (void)state;
  static const struct {
    int width, height, most, reduction;
  } cases[] = {{1600, 1600, 8, 8}, {1600, 1600, 4, 4}, {1599, 1600, 8, 4}, {1600, 799, 8, 2},
               {400, 400, 8, 2},   {400, 399, 8, 1},   {50, 50, 8, 1}};
  const tinytl_view view = {.size = 100};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const tinytl_axis x = tinytl_axis_crop(&view, 7, cases[i].width);
    const tinytl_axis y = tinytl_axis_crop(&view, 0, cases[i].height);
    assert_int_equal(tinytl_axes_reduction(&x, &y, cases[i].most), cases[i].reduction);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_centre_is_rounded_to_even),
      cmocka_unit_test(a_reduction_is_not_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
