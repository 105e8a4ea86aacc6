#include "support/cmocka.h"

#include <string.h>

#include "data/images.h"

static void check_refused(const tinytl_images *train, const tinytl_images *val, const char *words) {
  tinytl_error error = {.message = ""};
  assert_int_equal(tinytl_images_check(train, val, &error), TINYTL_ERROR_DATA);
  if (!strstr(error.message, words)) fail_msg("expected \"%s\" in \"%s\"", words, error.message);
}

static void test_check(void **state) {
  (void)state;
  int labels[] = {0, 2, 1};
  const char *const names[] = {"a", "b", "c"}, *const swapped[] = {"a", "c", "b"};
  tinytl_images train = {.n_images = 3, .n_classes = 3, .class_names = names, .labels = labels};
  tinytl_images val = train;
  assert_int_equal(tinytl_images_check(&train, NULL, NULL), TINYTL_OK);
  assert_int_equal(tinytl_images_check(&train, &val, NULL), TINYTL_OK);
  val.n_images = 1;
  assert_int_equal(tinytl_images_check(&train, &val, NULL), TINYTL_OK);
  val.n_images = 0;
  check_refused(&train, &val, "expected validation pictures, found none");
  val.n_images = 3;
  val.n_classes = 4;
  check_refused(&train, &val, "validation pictures: expected 3 classes, as of training, found 4");
  val.n_classes = 3;
  val.class_names = swapped;
  check_refused(&train, &val, "expected class 1 to be 'b', as of training, found 'c'");
  val.class_names = names;
  labels[2] = 3;
  check_refused(&train, NULL, "training picture 2 has label 3 of 3 classes");
  labels[2] = -1;
  val.n_images = 2;
  check_refused(&train, &val, "training picture 2 has label -1 of 3 classes");
  train.n_images = 2;
  val.n_images = 3;
  check_refused(&train, &val, "validation picture 2 has label -1 of 3 classes");
  train.n_images = 1;
  assert_int_equal(tinytl_images_check(&train, NULL, NULL), TINYTL_OK);
  train.n_images = 0;
  check_refused(&train, NULL, "expected training pictures, found none");
  train.n_images = 3;
  train.n_classes = 1;
  labels[1] = labels[2] = 0;
  check_refused(&train, NULL, "expected 2 to 100000 classes, found 1");
  train.n_classes = 100001;
  check_refused(&train, NULL, "expected 2 to 100000 classes, found 100001");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_check)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
