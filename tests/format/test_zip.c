#include "support/cmocka.h"
#include "support/torch_maker.h"

#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

static sink archive_of(zip_maker zip) {
  zip_add(&zip, "a/two", "22", 2);
  zip_add(&zip, "a/empty", "", 0);
  zip_add(&zip, "a/twofold", "4444", 4);
  return zip_finish(&zip);
}

static void expect_entry(const tinytl_zip *zip, const char *name, const char *content) {
  const tinytl_zip_entry *entry = tinytl_zip_find(zip, name, strlen(name));
  assert_non_null(entry);
  assert_int_equal(entry->nbytes, strlen(content));
  assert_memory_equal(entry->data, content, strlen(content));
}

/* Stored, in all forms that writers choose. */
static void test_entries(void **state) {
  static const zip_maker forms[] = {
      {.n = 0}, {.zip64 = true}, {.descriptor = true}, {.zip64 = true, .descriptor = true}};
  (void)state;
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    sink file = archive_of(forms[i]);
    tinytl_zip zip;
    assert_true(tinytl_is_zip(file.bytes, file.nbytes));
    assert_int_equal(tinytl_zip_open(file.bytes, file.nbytes, "file", &zip, NULL), TINYTL_OK);
    assert_int_equal(zip.n, 3);
    expect_entry(&zip, "a/two", "22");
    expect_entry(&zip, "a/empty", "");
    expect_entry(&zip, "a/twofold", "4444");
    assert_null(tinytl_zip_find(&zip, "a/tw", 4));
    assert_null(tinytl_zip_find(&zip, "a/twof", 6));
    tinytl_zip_close(&zip);
    free(file.bytes);
  }
}

static void expect_refused(sink file, const char *reason) {
  tinytl_zip zip;
  tinytl_error error = {0};
  assert_int_equal(tinytl_zip_open(file.bytes, file.nbytes, "file", &zip, &error),
                   TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
  free(file.bytes);
}

static void test_compressed(void **state) {
  (void)state;
  expect_refused(archive_of((zip_maker){.method = 8}), "\"a/two\" is compressed");
}

static void test_same_name(void **state) {
  zip_maker zip = {0};
  (void)state;
  zip_add(&zip, "a", "1", 1);
  zip_add(&zip, "a", "2", 1);
  expect_refused(zip_finish(&zip), "the same name");
}

static void test_too_many(void **state) {
  (void)state;
  sink file = archive_of((zip_maker){.zip64 = true});
  /* The number of entries in the ZIP64 record, which begins 98 bytes before the end. */
  memset(file.bytes + file.nbytes - 98 + 32, 0xFF, 8);
  expect_refused(file, "at most 65536");
}

static int open_only(const void *bytes, size_t nbytes) {
  tinytl_zip zip;
  const tinytl_status status = tinytl_zip_open(bytes, nbytes, "file", &zip, NULL);
  size_t sum = 0; /* touches every byte, so that a sanitizer sees what lies outside */
  if (status != TINYTL_OK) return (int)status;
  for (int i = 0; i < zip.n; i++)
    for (size_t b = 0; b < zip.entries[i].nbytes; b++) sum += zip.entries[i].data[b];
  assert_true(sum < SIZE_MAX);
  tinytl_zip_close(&zip);
  return TINYTL_OK;
}

static void test_damage(void **state) {
  (void)state;
  for (int zip64 = 0; zip64 < 2; zip64++) {
    sink file = archive_of((zip_maker){.zip64 = zip64});
    sink_damage(&file, file.nbytes, TINYTL_ERROR_MODEL, open_only);
    for (size_t i = 0; i < file.nbytes; i++) { /* the largest numbers */
      const uint8_t kept = file.bytes[i];
      file.bytes[i] = 0xFF;
      open_only(file.bytes, file.nbytes);
      file.bytes[i] = kept;
    }
    free(file.bytes);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_entries),   cmocka_unit_test(test_compressed),
      cmocka_unit_test(test_same_name), cmocka_unit_test(test_too_many),
      cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
