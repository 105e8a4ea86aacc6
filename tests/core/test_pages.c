/* Memory by pages: zero at first and after a drop, and what the system counts follows. */
#include "support/cmocka.h"
#include "support/pictures.h"

#include "core/pages.h"

#include <string.h>
#include <unistd.h>

enum { N = 8 << 20 };

static void test_take_and_drop(void **state) {
  (void)state;
  unsigned char *bytes = tinytl_pages_take(N);
  assert_non_null(bytes);
  for (size_t i = 0; i < N; i += 1000) assert_int_equal(bytes[i], 0);
  memset(bytes, 1, N);
  /* Pages that are shared with what is kept stay. */
  tinytl_pages_drop(bytes + 100, N - 200);
  assert_int_equal(bytes[99], 1);
  assert_int_equal(bytes[N - 100], 1);
  assert_int_equal(bytes[100], 1);
  assert_int_equal(bytes[N / 2], 0);
  tinytl_pages_drop(bytes + 1, 10);
  assert_int_equal(bytes[5], 1);
  tinytl_pages_free(bytes, N);
  tinytl_pages_free(NULL, 0);
}

static void test_resident(void **state) {
  (void)state;
  const size_t before = tinytl_resident_nbytes();
  if (before == 0) {
    print_message("skipped: the system does not tell\n");
    skip();
  }
  unsigned char *bytes = tinytl_pages_take(N);
  assert_non_null(bytes);
  const size_t taken = tinytl_resident_nbytes();
  memset(bytes, 1, N);
  const size_t touched = tinytl_resident_nbytes();
  tinytl_pages_drop(bytes, N);
  const size_t dropped = tinytl_resident_nbytes();
  tinytl_pages_free(bytes, N);
  assert_true(taken < before + N / 4);
  assert_true(touched >= taken + N && touched < taken + N + N / 4);
  assert_true(dropped < touched - N + N / 4);
}

static void write_text(const pictures_dir *dir, const char *name, const char *text) {
  pictures_write(dir, name, text, strlen(text));
}

/* Where there was no smaps, a process was taken to hold nothing, and limits were exceeded. */
static void test_resident_without_smaps(void **state) {
  (void)state;
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const pictures_dir process = pictures_dir_make();
  assert_int_equal(tinytl_resident_nbytes_of(process.path), 0);
  write_text(&process, "statm", "nothing\n");
  assert_int_equal(tinytl_resident_nbytes_of(process.path), 0);
  write_text(&process, "statm", "900 600 200 100 0 300 0\n");
  assert_int_equal(tinytl_resident_nbytes_of(process.path), 650 * page);
  write_text(&process, "smaps",
             "5500-5600 r-xp 00000000 08:01 1 /bin/program\nSize: 400 kB\nRss: 200 kB\n"
             "7f00-7f10 rw-p 00000000 00:00 0\nSize: 64 kB\nRss: 4 kB\n");
  assert_int_equal(tinytl_resident_nbytes_of(process.path), 304 * 1024);
  pictures_dir_remove(&process);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_take_and_drop),
      cmocka_unit_test(test_resident),
      cmocka_unit_test(test_resident_without_smaps),
  };
  return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
