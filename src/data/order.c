#include "core/rng.h"
#include "data/data.h"

void tinytl_order(uint64_t seed, uint64_t epoch, int n, int *order) {
  for (int i = 0; i < n; i++) order[i] = i;
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_ORDER, epoch, 0);
  tinytl_rng_shuffle(&rng, order, n);
}
