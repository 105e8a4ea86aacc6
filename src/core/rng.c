#include "core/rng.h"

#include <math.h>

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

#define GOLDEN_GAMMA UINT64_C(0x9e3779b97f4a7c15) /* 2^64 / golden ratio, made odd */

uint64_t tinytl_rng_next(tinytl_rng *rng) {
  rng->state += GOLDEN_GAMMA;
  return mix(rng->state);
}

tinytl_rng tinytl_rng_make(uint64_t seed, tinytl_rng_purpose purpose, uint64_t first,
                           uint64_t second) {
  tinytl_rng rng = {mix(seed + GOLDEN_GAMMA)};
  const uint64_t keys[] = {(uint64_t)purpose, first, second};
  for (int i = 0; i < 3; i++) rng.state = mix((rng.state ^ keys[i]) + GOLDEN_GAMMA);
  return rng;
}

float tinytl_rng_uniform(tinytl_rng *rng) {
  return (float)(tinytl_rng_next(rng) >> 40) * 0x1p-24f;
}

uint32_t tinytl_rng_below(tinytl_rng *rng, uint32_t n) {
  return (uint32_t)(((tinytl_rng_next(rng) >> 32) * n) >> 32);
}

float tinytl_rng_normal(tinytl_rng *rng) {
  /* Box-Muller; 1 - u is never 0. */
  double radius = sqrt(-2.0 * log(1.0 - (double)tinytl_rng_uniform(rng)));
  return (float)(radius * cos(6.283185307179586 * (double)tinytl_rng_uniform(rng)));
}

void tinytl_rng_shuffle(tinytl_rng *rng, int *items, int n) {
  for (int i = n - 1; i > 0; i--) {
    int j = (int)tinytl_rng_below(rng, (uint32_t)i + 1);
    int item = items[i];
    items[i] = items[j];
    items[j] = item;
  }
}
