/* Counter-based random numbers: what is drawn depends on the key alone, never on who drew before.
 * SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
#ifndef TINYTL_CORE_RNG_H
#define TINYTL_CORE_RNG_H

#include <stdint.h>

/* What a stream is for, so that streams of one seed never meet. */
typedef enum tinytl_rng_purpose {
  TINYTL_RNG_INIT = 1, /* initial weights */
  TINYTL_RNG_SPLIT,    /* validation split */
  TINYTL_RNG_ORDER,    /* order of an epoch */
  TINYTL_RNG_AUGMENT,  /* crop, mirror, colour */
  TINYTL_RNG_DROPOUT,
  TINYTL_RNG_SUBNET, /* of a super-net, in a step */
  TINYTL_RNG_SEARCH, /* among sub-nets */
  TINYTL_RNG_SIZE    /* of a step's pictures */
} tinytl_rng_purpose;

typedef struct tinytl_rng {
  uint64_t state;
} tinytl_rng;

/* The stream of (seed, purpose, first, second), e.g. epoch and picture. */
tinytl_rng tinytl_rng_make(uint64_t seed, tinytl_rng_purpose purpose, uint64_t first,
                           uint64_t second);
uint64_t tinytl_rng_next(tinytl_rng *rng);
float tinytl_rng_uniform(tinytl_rng *rng);                   /* [0, 1) */
uint32_t tinytl_rng_below(tinytl_rng *rng, uint32_t n);      /* 0 to n - 1; n > 0 */
float tinytl_rng_normal(tinytl_rng *rng);                    /* mean 0, variance 1 */
void tinytl_rng_shuffle(tinytl_rng *rng, int *items, int n); /* Fisher-Yates */

#endif
