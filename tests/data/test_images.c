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

static size_t more_if_augmented(void *context, const tinytl_view *view) {
  return *(const size_t *)context + view->augment;
}

static void test_load_nbytes(void **state) {
  (void)state;
  size_t of_train = 5, of_val = 5;
  const tinytl_images train = {.context = &of_train, .load_nbytes = more_if_augmented};
  const tinytl_images val = {.context = &of_val, .load_nbytes = more_if_augmented}, untold = {0};
  const tinytl_view augmented = {.augment = true}, as_is = {.augment = false};
  assert_int_equal(tinytl_images_load_nbytes(NULL, &as_is), 0);
  assert_int_equal(tinytl_images_load_nbytes(&untold, &as_is), 0);
  assert_int_equal(tinytl_images_load_nbytes(&train, &as_is), 5);
  assert_int_equal(tinytl_images_run_load_nbytes(&train, NULL, &augmented, &as_is), 6);
  assert_int_equal(tinytl_images_run_load_nbytes(&train, NULL, &as_is, &augmented), 6);
  assert_int_equal(tinytl_images_run_load_nbytes(&train, &val, &augmented, &as_is), 6);
  of_val = 7;
  assert_int_equal(tinytl_images_run_load_nbytes(&train, &val, &augmented, &as_is), 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_check),
                                     cmocka_unit_test(test_load_nbytes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
