#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_inside_utf8(char byte) {
  return ((unsigned char)byte & 0xc0) == 0x80;
}

static void format_v(char *text, size_t nbytes, const char *format, va_list arguments) {
  char whole[8192]; /* a path has 4096 at most */
  vsnprintf(whole, sizeof whole, format, arguments);
  const size_t n = strlen(whole);
  if (n < nbytes) {
    memcpy(text, whole, n + 1);
    return;
  }
  size_t n_begin = nbytes / 4, end = n - (nbytes - n_begin - sizeof "...");
  for (int i = 0; i < 3 && is_inside_utf8(whole[n_begin]); i++) n_begin--;
  for (int i = 0; i < 3 && is_inside_utf8(whole[end]); i++) end++;
  snprintf(text, nbytes, "%.*s...%s", (int)n_begin, whole, whole + end);
}

void tinytl_format(char *text, size_t nbytes, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  format_v(text, nbytes, format, arguments);
  va_end(arguments);
}

tinytl_status tinytl_error_set(tinytl_error *error, tinytl_status status, const char *format,
                               va_list arguments) {
  if (error) {
    error->status = status;
    format_v(error->message, sizeof error->message, format, arguments);
  }
  return status;
}

#undef tinytl_fail
tinytl_status tinytl_fail(tinytl_error *error, tinytl_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  tinytl_error_set(error, status, format, arguments);
  va_end(arguments);
  return status;
}

#undef tinytl_fail_memory
tinytl_status tinytl_fail_memory(tinytl_error *error, size_t nbytes) {
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory: %zu bytes refused", nbytes);
}

tinytl_status tinytl_check_int(const char *name, int value, int low, int high,
                               tinytl_error *error) {
  if (value >= low && value <= high) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE, "%s must be %d to %d, not %d", name, low, high,
                     value);
}

tinytl_status tinytl_check_stop(const volatile int *stop, tinytl_error *error) {
  if (stop && *stop) return tinytl_fail(error, TINYTL_INTERRUPTED, "stopped on request");
  return TINYTL_OK;
}
