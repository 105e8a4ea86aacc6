#include "terminal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "utf8.h"

/* True while stderr ends in a progress line. Messages may come from a loader thread: both are
 * written with stderr locked. */
static bool line_is_drawn;

void cli_put_text(FILE *file, const char *text) {
  const unsigned char *at = (const unsigned char *)text;
  while (*at) {
    int n = cli_utf8_length(at);
    bool is_c1_control = n == 2 && at[0] == 0xc2 && at[1] < 0xa0;
    if (*at == '\n')
      fputs("\\n", file);
    else if (*at == '\t')
      fputs("\\t", file);
    else if (n == 0 || *at < 0x20 || *at == 0x7f)
      fprintf(file, "\\x%02x", *at);
    else if (is_c1_control)
      fprintf(file, "\\x%02x\\x%02x", at[0], at[1]);
    else
      fwrite(at, 1, (size_t)n, file);
    at += n ? n : 1;
  }
}

int cli_stdout_error(void) {
  static int first;
  const bool has_failed = fflush(stdout) != 0;
  if (first == 0 && has_failed) first = errno;
  if (first == 0 && ferror(stdout))
    first = EIO; /* while it was filled; errno is of something else */
  return first;
}

static bool stderr_is_terminal(void) {
  const char *term = getenv("TERM");
  return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

/* https://no-color.org: set and not empty means no colour. */
static bool stderr_has_colour(void) {
  const char *no_color = getenv("NO_COLOR");
  return stderr_is_terminal() && !(no_color && *no_color);
}

static void clear_line(void) {
  if (line_is_drawn) fputs("\r\033[K", stderr);
  line_is_drawn = false;
}

static void print_message(const char *colour, const char *format, va_list arguments) {
  char text[8192];
  vsnprintf(text, sizeof text, format, arguments);
  bool coloured = stderr_has_colour();
  flockfile(stderr);
  clear_line();
  fprintf(stderr, "%stinytl:%s ", coloured ? colour : "", coloured ? "\033[0m" : "");
  cli_put_text(stderr, text);
  fputc('\n', stderr);
  funlockfile(stderr);
}

void cli_error(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_message("\033[1;31m", format, arguments);
  va_end(arguments);
}

void cli_note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  print_message("\033[1m", format, arguments);
  va_end(arguments);
}

int cli_report(const tinytl_error *error) {
  cli_error("%s", error->message);
  return error->status;
}

#undef cli_fail
tinytl_status cli_fail(tinytl_error *error, tinytl_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  tinytl_error_set(error, status, format, arguments);
  va_end(arguments);
  return status;
}

/* "  1:07 left" or "  2:03:59 left"; "" where nobody knows yet */
static void format_left(char text[40], double seconds) {
  unsigned long s = seconds > 0 ? (unsigned long)fmin(seconds, 3.5e6) : 0;
  if (!isfinite(seconds))
    *text = '\0';
  else if (s < 3600)
    snprintf(text, 40, "  %lu:%02lu left", s / 60, s % 60);
  else
    snprintf(text, 40, "  %lu:%02lu:%02lu left", s / 3600, s / 60 % 60, s % 60);
}

/* Whether an epoch's line stays: those of the first and of the last one planned do, and between
 * them one every 2 seconds, as hundreds of short epochs would take what else is said out of sight.
 */
static bool stays(const tinytl_epoch *epoch) {
  static double last;
  const bool is_end = epoch->epoch <= 1 || epoch->epoch == epoch->n_epochs;
  if (!epoch->finished || (!is_end && cli_seconds(CLOCK_MONOTONIC) < last + 2)) return false;
  last = cli_seconds(CLOCK_MONOTONIC);
  return true;
}

void cli_progress(const char *what, const tinytl_epoch *epoch) {
  const bool is_line = stays(epoch);
  if (!is_line && !stderr_is_terminal()) return;
  char left[40], val[32] = "";
  format_left(left, epoch->seconds_left);
  if (isfinite(epoch->val_top1)) {
    snprintf(val, sizeof val, "  validation %.1f %%", 100 * (double)epoch->val_top1);
  }
  flockfile(stderr);
  clear_line();
  if (!is_line) fputs("\033[?7l", stderr); /* no second row, which could not be cleared */
  if (what) fprintf(stderr, "%s: ", what);
  if (epoch->epoch == 0)
    fprintf(stderr, "features");
  else
    fprintf(stderr, "epoch %d/%d", epoch->epoch, epoch->n_epochs);
  if (!epoch->finished) fprintf(stderr, "  picture %d/%d", epoch->image, epoch->n_images);
  if (epoch->epoch > 0) {
    fprintf(stderr, "  loss %.3f%s  %.1f pictures/s%s", (double)epoch->loss, val,
            epoch->images_per_second, left);
  }
  fputs(is_line ? "\n" : "\033[?7h", stderr);
  line_is_drawn = !is_line;
  fflush(stderr);
  funlockfile(stderr);
}

void cli_progress_count(const char *what, int done, int n) {
  static double last;
  if (cli_seconds(CLOCK_MONOTONIC) < last + 0.1 || !stderr_is_terminal()) return;
  last = cli_seconds(CLOCK_MONOTONIC);
  flockfile(stderr);
  clear_line();
  fprintf(stderr, "%s %d/%d", what, done, n);
  line_is_drawn = true;
  fflush(stderr);
  funlockfile(stderr);
}

void cli_progress_end(void) {
  flockfile(stderr);
  clear_line();
  funlockfile(stderr);
}
