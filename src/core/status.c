#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>

#undef tinytl_fail
tinytl_status tinytl_fail(tinytl_error *error, tinytl_status status, const char *format, ...) {
  if (error) {
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
  }
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
