/* What is drawn over on a terminal. */
#define _GNU_SOURCE /* posix_openpt */
#include "support/cmocka.h"

#include "terminal.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What cli_progress writes to a terminal. */
static void draw(const tinytl_epoch *epoch, char *text, size_t nbytes) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) skip(); /* a container may have none */
  assert_true(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  const int line = open(ptsname(terminal), O_RDWR | O_NOCTTY);
  assert_true(line >= 0);
  const int real = dup(STDERR_FILENO);
  dup2(line, STDERR_FILENO);
  cli_progress("lite+bias", epoch);
  cli_progress_end();
  dup2(real, STDERR_FILENO);
  close(real);
  size_t n = 0;
  char *end = NULL;
  while (!end) { /* it comes in pieces */
    const ssize_t piece = read(terminal, text + n, nbytes - 1 - n);
    assert_true(piece > 0);
    n += (size_t)piece;
    text[n] = '\0';
    end = strstr(text, epoch->finished ? "\n" : "\r\033[K");
  }
  close(line);
  close(terminal);
}

/* Where it was wider than the terminal, only its last row was cleared: it was drawn again and again
 * below itself. */
static void test_line_does_not_wrap(void **state) {
  (void)state;
  char text[512];
  tinytl_epoch epoch = {.epoch = 10,
                        .n_epochs = 20,
                        .image = 12000,
                        .n_images = 16000,
                        .loss = 2.5f,
                        .val_top1 = NAN,
                        .images_per_second = 69.5,
                        .seconds_left = 3723};
  draw(&epoch, text, sizeof text);
  assert_string_equal(text, "\033[?7llite+bias: epoch 10/20  picture 12000/16000  loss 2.500  "
                            "69.5 pictures/s  1:02:03 left\033[?7h\r\033[K");
  epoch.epoch = 1; /* its line stays */
  epoch.finished = true;
  draw(&epoch, text, sizeof text);
  assert_string_equal(text, "lite+bias: epoch 1/20  loss 2.500  69.5 pictures/s  1:02:03 left\r\n");
}

/* Where a run went on from the end of an epoch no time was left, it said. */
static void test_unknown_time(void **state) {
  (void)state;
  char text[512];
  const tinytl_epoch epoch = {.epoch = 20,
                              .n_epochs = 20,
                              .finished = true,
                              .loss = 1,
                              .val_top1 = 0.5f,
                              .seconds_left = NAN};
  draw(&epoch, text, sizeof text);
  assert_string_equal(text,
                      "lite+bias: epoch 20/20  loss 1.000  validation 50.0 %  0.0 pictures/s\r\n");
}

int main(void) {
  setenv("TERM", "xterm", 1);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_line_does_not_wrap),
                                     cmocka_unit_test(test_unknown_time)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
