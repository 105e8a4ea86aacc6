#include "support/cmocka.h"

#include "model/backbone.h"

/* The model's ratio, but no more than a file may say. */
static void test_resize(void **state) {
  (void)state;
  tinytl_input input = {.size = 224, .resize = 256};
  assert_int_equal(tinytl_input_resize_at(&input, 224), 256);
  assert_int_equal(tinytl_input_resize_at(&input, 112), 128);
  input = (tinytl_input){.size = 32, .resize = 256};
  assert_int_equal(tinytl_input_resize_at(&input, 1024), TINYTL_MAX_IMAGE_SIZE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_resize)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
