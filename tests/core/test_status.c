/* Messages that do not fit: they lost their end, where the reason stands. */
#include "core/status.h"
#include "support/cmocka.h"

#include <string.h>

static void short_texts_are_whole(void **state) {
  (void)state;
  char text[16];
  tinytl_format(text, sizeof text, "%s: %d", "twelve bytes", 3);
  assert_string_equal(text, "twelve bytes: 3");
  tinytl_format(text, sizeof text, "%s", "");
  assert_string_equal(text, "");
}

static void the_middle_is_left_out(void **state) {
  (void)state;
  char text[16];
  tinytl_format(text, sizeof text, "%s: %d", "twelve bytes", 34);
  assert_string_equal(text, "twel...ytes: 34");
}

/* No character of UTF-8 is cut in two; what is none is cut anywhere. */
static void characters_are_whole(void **state) {
  (void)state;
  char text[16];
  tinytl_format(text, sizeof text, "abc\u00e4..........\u20ac456789");
  assert_string_equal(text, "abc...456789");
  tinytl_format(text, sizeof text,
                "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
  assert_string_equal(text, "\x80...\x80\x80\x80\x80\x80");
}

static void an_error_ends_in_its_reason(void **state) {
  (void)state;
  char path[4096];
  memset(path, 'd', sizeof path - 1);
  memcpy(path + sizeof path - 8, "/x.jpg", 7);
  tinytl_error error;
  assert_int_equal(tinytl_fail(&error, TINYTL_ERROR_DATA, "%s: not found", path),
                   TINYTL_ERROR_DATA);
  assert_int_equal(error.status, TINYTL_ERROR_DATA);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  assert_non_null(strstr(error.message, "d...d"));
  assert_non_null(strstr(error.message, "d/x.jpg: not found"));
  assert_int_equal(tinytl_fail(NULL, TINYTL_ERROR_DATA, "nobody asks"), TINYTL_ERROR_DATA);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_texts_are_whole),
      cmocka_unit_test(the_middle_is_left_out),
      cmocka_unit_test(characters_are_whole),
      cmocka_unit_test(an_error_ends_in_its_reason),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
