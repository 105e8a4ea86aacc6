/* What the programs here share: the clock, and numbers to work on. */
#ifndef TINYTL_BENCH_TIMING_H
#define TINYTL_BENCH_TIMING_H

#include <stdint.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/status.h"

static inline float *random_floats(size_t n) {
  float *values = aligned_alloc(64, tinytl_round_up((n + !n) * sizeof *values, 64));
  for (size_t i = 0; i < n; i++) values[i] = (float)(i * 7919 % 1001) / 500 - 1;
  return values;
}

static inline int8_t *random_int8(size_t n) {
  int8_t *values = malloc(n + !n);
  for (size_t i = 0; i < n; i++) values[i] = (int8_t)(i * 89 % 255 - 127);
  return values;
}

#endif
