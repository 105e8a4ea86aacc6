/* The figures of `eval` as people see them. */
#include "support/cmocka.h"

#include "eval_report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is printed of metrics with these counts, of two classes and further ones. */
static void print(const int counts[6], char *text, size_t nbytes) {
  static const char *const names[] = {"ants", "bees"};
  cli_metrics metrics;
  assert_true(cli_metrics_init(&metrics, 2, true));
  for (int i = 0; i < 6; i++)
    for (int n = 0; n < counts[i]; n++)
      cli_metrics_add(&metrics, i / 3, i % 3 < 2 ? i % 3 : -1, true, 0.5f);
  const cli_eval_report report = {.metrics = &metrics, .class_names = names, .temperature = 1};
  FILE *file = tmpfile();
  assert_non_null(file);
  fflush(stdout);
  const int real = dup(STDOUT_FILENO);
  dup2(fileno(file), STDOUT_FILENO);
  cli_eval_print(&report);
  fflush(stdout);
  dup2(real, STDOUT_FILENO);
  close(real);
  rewind(file);
  text[fread(text, 1, nbytes - 1, file)] = '\0';
  fclose(file);
  cli_metrics_free(&metrics);
}

static void expect_matrix(const int counts[6], const char *matrix) {
  char text[4096];
  print(counts, text, sizeof text);
  const char *found = strstr(text, "predicted one\n");
  assert_non_null(found);
  assert_string_equal(found + strlen("predicted one\n"), matrix);
}

/* The columns of 10,000 pictures a cell and more ran together; "other" stood a place too far right.
 */
static void test_matrix(void **state) {
  (void)state;
  expect_matrix((const int[]){9999, 0, 1, 20, 3, 0}, "        1    2 other\n"
                                                     "   1 9999    .     1\n"
                                                     "   2   20    3     .\n");
  expect_matrix((const int[]){12345, 10000, 1, 0, 99999, 2}, "         1     2 other\n"
                                                             "   1 12345 10000     1\n"
                                                             "   2     . 99999     2\n");
  expect_matrix((const int[]){100000, 0, 0, 0, 0, 2}, "          1      2  other\n"
                                                      "   1 100000      .      .\n"
                                                      "   2      .      .      2\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
