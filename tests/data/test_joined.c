#include "support/cmocka.h"
#include "support/memory_images.h"

#include "data/joined.h"

#include <string.h>

enum { SIZE = 32, NBYTES = 3 * SIZE * SIZE };

static const char *first_name(void *context, int index) {
  (void)context;
  return index == 4 ? "first 4" : "first";
}

static const char *second_name(void *context, int index) {
  (void)context;
  return index == 0 ? "second 0" : "second";
}

static size_t load_nbytes(void *context, const tinytl_view *view) {
  (void)context;
  return (size_t)view->size;
}

static void test_joined(void **state) {
  (void)state;
  static memory_images first, second;
  const tinytl_view view = {.size = SIZE, .resize = SIZE};
  uint8_t got[NBYTES], want[NBYTES];
  memory_images_init(&first, 5, 1);
  memory_images_init(&second, 4, 2);
  second.answer[3] = TINYTL_ERROR_DATA;
  first.images.name = first_name;
  second.images.name = second_name;
  second.images.load_nbytes = load_nbytes;
  tinytl_joined joined;
  assert_int_equal(tinytl_joined_make(&joined, &first.images, &second.images, NULL), TINYTL_OK);
  const tinytl_images *all = &joined.images;
  assert_int_equal(all->n_images, 9);
  assert_int_equal(all->n_classes, MEMORY_CLASSES);
  for (int i = 0; i < 8; i++) {
    const tinytl_images *part = i < 5 ? &first.images : &second.images;
    const int index = i < 5 ? i : i - 5;
    assert_int_equal(all->labels[i], part->labels[index]);
    assert_int_equal(all->load(all->context, i, &view, got, NULL), TINYTL_OK);
    assert_int_equal(part->load(part->context, index, &view, want, NULL), TINYTL_OK);
    assert_memory_equal(got, want, NBYTES);
  }
  assert_int_equal(all->load(all->context, 8, &view, got, NULL), TINYTL_ERROR_DATA);
  assert_string_equal(all->name(all->context, 4), "first 4");
  assert_string_equal(all->name(all->context, 5), "second 0");
  assert_int_equal(all->load_nbytes(all->context, &view), SIZE);
  tinytl_joined_clear(&joined);
  second.images.name = NULL; /* then none has */
  assert_int_equal(tinytl_joined_make(&joined, &first.images, &second.images, NULL), TINYTL_OK);
  assert_null(joined.images.name);
  tinytl_joined_clear(&joined);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_joined),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
