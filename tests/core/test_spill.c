/* The file without a name: what is written is read, nothing is left, and errors say where. */
#include "support/cmocka.h"
#include "support/pictures.h"

#include "core/spill.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static int n_entries(const char *path) {
  int n = 0;
  DIR *dir = opendir(path);
  while (dir && readdir(dir)) n++;
  closedir(dir);
  return n - 2; /* . and .. */
}

static void test_round_trip(void **state) {
  (void)state;
  const pictures_dir dir = pictures_dir_make();
  tinytl_spill *spill;
  assert_int_equal(tinytl_spill_create(dir.path, &spill, NULL), TINYTL_OK);
  assert_int_equal(n_entries(dir.path), 0);
  unsigned char bytes[5000], got[5000];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
  /* Out of order, over each other, and with a hole. */
  assert_int_equal(tinytl_spill_write(spill, 10000, bytes, sizeof bytes, NULL), TINYTL_OK);
  assert_int_equal(tinytl_spill_write(spill, 1, bytes, 100, NULL), TINYTL_OK);
  assert_int_equal(tinytl_spill_write(spill, 51, bytes, 10, NULL), TINYTL_OK);
  assert_int_equal(tinytl_spill_read(spill, 10000, got, sizeof got, NULL), TINYTL_OK);
  assert_memory_equal(got, bytes, sizeof got);
  assert_int_equal(tinytl_spill_read(spill, 1, got, 100, NULL), TINYTL_OK);
  memcpy(bytes + 50, bytes, 10);
  assert_memory_equal(got, bytes, 100);
  tinytl_spill_free(spill);
  tinytl_spill_free(NULL);
  assert_int_equal(n_entries(dir.path), 0);
  pictures_dir_remove(&dir);
}

static void test_errors(void **state) {
  (void)state;
  const pictures_dir dir = pictures_dir_make();
  tinytl_error error = {0};
  tinytl_spill *spill;
  const char *nowhere = pictures_path(&dir, "nowhere");
  assert_int_equal(tinytl_spill_create(nowhere, &spill, &error), TINYTL_ERROR_INTERNAL);
  assert_non_null(strstr(error.message, nowhere));
  assert_int_equal(tinytl_spill_create("", &spill, &error), TINYTL_ERROR_INTERNAL);

  assert_int_equal(tinytl_spill_create(dir.path, &spill, NULL), TINYTL_OK);
  char byte = 0;
  assert_int_equal(tinytl_spill_read(spill, 0, &byte, 1, &error), TINYTL_ERROR_INTERNAL);
  assert_non_null(strstr(error.message, dir.path));

  /* A limit on the size of files stands for a full disk. */
  struct rlimit old, small = {4096, 4096};
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small.rlim_max = old.rlim_max;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  const char bytes[8192] = {0};
  assert_int_equal(tinytl_spill_write(spill, 0, bytes, sizeof bytes, &error),
                   TINYTL_ERROR_INTERNAL);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_non_null(strstr(error.message, "written"));
  tinytl_spill_free(spill);
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_errors),
  };
  return cmocka_run_group_tests_name("spill", tests, NULL, NULL);
}
