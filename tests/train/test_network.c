#include "support/cmocka.h"

#include "train/network.h"

/* The backbone's ratio, but no more than a file may say. */
static void test_resize(void **state) {
  (void)state;
  tinytl_backbone backbone = {.input = {.size = 224, .resize = 256}};
  assert_int_equal(tinytl_test_resize(&backbone, 224), 256);
  assert_int_equal(tinytl_test_resize(&backbone, 112), 128);
  backbone.input = (tinytl_input){.size = 32, .resize = 256};
  assert_int_equal(tinytl_test_resize(&backbone, 1024), TINYTL_MAX_IMAGE_SIZE);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_resize)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
