/* Seconds on a clock that is never set. */
#ifndef TINYTL_CORE_CLOCK_H
#define TINYTL_CORE_CLOCK_H

#include <time.h>

static inline double tinytl_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#endif
