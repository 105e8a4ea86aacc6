/* Errors with a reason, the early return, and checked sizes. */
#ifndef TINYTL_CORE_STATUS_H
#define TINYTL_CORE_STATUS_H

#include "tinytl/status.h"

#if defined(__GNUC__)
#define TINYTL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define TINYTL_PRINTF(text, first)
#endif

/* As snprintf, into text [nbytes], 16 at least; of what does not fit the middle is left out, for
 * messages end in the reason and paths in the file's name. */
void tinytl_format(char *text, size_t nbytes, const char *format, ...) TINYTL_PRINTF(3, 4);

/* Fills *error (may be NULL) and returns status: `return tinytl_fail(error, STATUS, "..." )`. */
tinytl_status tinytl_fail(tinytl_error *error, tinytl_status status, const char *format, ...)
    TINYTL_PRINTF(3, 4);

/* tinytl_fail for an allocation of nbytes that failed. */
tinytl_status tinytl_fail_memory(tinytl_error *error, size_t nbytes);

/* Refuses an option `name` (USAGE) that is not low to high. */
tinytl_status tinytl_check_int(const char *name, int value, int low, int high, tinytl_error *error);
/* INTERRUPTED where the caller of a run has set *stop; NULL: nobody can. */
tinytl_status tinytl_check_stop(const volatile int *stop, tinytl_error *error);

/* Returns from the calling function when `call` fails. */
#define TINYTL_TRY(call)                              \
  do {                                                \
    tinytl_status try_status_ = (call);               \
    if (try_status_ != TINYTL_OK) return try_status_; \
  } while (0)

/* *product = x * y; false, and SIZE_MAX, on overflow. */
static inline bool tinytl_size_mul(size_t x, size_t y, size_t *product) {
  const bool fits = y == 0 || x <= SIZE_MAX / y;
  *product = fits ? x * y : SIZE_MAX;
  return fits;
}

static inline int tinytl_min(int x, int y) {
  return x < y ? x : y;
}
static inline size_t tinytl_size_max(size_t x, size_t y) {
  return x > y ? x : y;
}

/* x / y rounded up, y > 0; of a negative x something that is 0 or less. */
static inline int tinytl_ceil_div(int x, int y) {
  return (x + y - 1) / y;
}

/* x rounded up to a multiple of `step`. */
static inline size_t tinytl_round_up(size_t x, size_t step) {
  return (x + step - 1) / step * step;
}

/* The analyser looks at one file at a time: here it sees that what fails does not return OK. */
#ifdef __clang_analyzer__
#define tinytl_fail(error, status, ...) (tinytl_fail(error, status, __VA_ARGS__), (status))
#define tinytl_fail_memory(error, nbytes) (tinytl_fail_memory(error, nbytes), TINYTL_ERROR_INTERNAL)
#endif

#endif
