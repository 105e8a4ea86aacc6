#include "data/order.h"

#include "core/rng.h"

void tinytl_order_by_number(int n, int *order) {
  for (int i = 0; i < n; i++) order[i] = i;
}

void tinytl_order(uint64_t seed, uint64_t epoch, int n, int *order) {
  tinytl_order_by_number(n, order);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_ORDER, epoch, 0);
  tinytl_rng_shuffle(&rng, order, n);
}

tinytl_status tinytl_order_readable(const bool *unreadable, int n_done, int *order, int *n,
                                    tinytl_error *error) {
  int n_readable = 0;
  for (int i = 0; i < *n; i++)
    if (!unreadable[order[i]]) order[n_readable++] = order[i];
  *n = n_readable;
  if (n_done <= n_readable) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_DATA, "%d training pictures could be read before, now %d",
                     n_done, n_readable);
}

int tinytl_count_readable(const bool *unreadable, int n) {
  int n_readable = 0;
  for (int i = 0; i < n; i++) n_readable += !unreadable[i];
  return n_readable;
}
