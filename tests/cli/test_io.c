/* Reading what has no size of its own. */
#include "support/cmocka.h"

#include "io.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Opens a pipe that holds these bytes, 16 at most. */
static tinytl_status open_pipe(const char *bytes, cli_file *file) {
  int ends[2];
  char path[64];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(write(ends[1], bytes, strlen(bytes)), strlen(bytes));
  close(ends[1]);
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
  const tinytl_status status = cli_file_open(path, 16, file, NULL);
  close(ends[0]);
  return status;
}

/* A stream of exactly as much as is allowed was refused. */
static void test_most_of_a_stream(void **state) {
  (void)state;
  cli_file file;
  assert_int_equal(open_pipe("sixteen bytes...", &file), TINYTL_OK);
  assert_int_equal(file.nbytes, 16);
  assert_memory_equal(file.bytes, "sixteen bytes...", 16);
  cli_file_close(&file);
  assert_int_equal(open_pipe("seventeen bytes..", &file), TINYTL_ERROR_MODEL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_most_of_a_stream)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
