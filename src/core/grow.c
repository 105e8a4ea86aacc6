#include "core/grow.h"

#include <limits.h>
#include <stdlib.h>

tinytl_status tinytl_grow(void **items, int n, int *room, size_t item_nbytes, tinytl_error *error) {
  if (n < *room) return TINYTL_OK;
  if (*room > INT_MAX / 2) return tinytl_fail_memory(error, SIZE_MAX);
  const int wanted = *room > 0 ? *room * 2 : 16;
  size_t nbytes;
  void *larger =
      tinytl_size_mul((size_t)wanted, item_nbytes, &nbytes) ? realloc(*items, nbytes) : NULL;
  if (!larger) return tinytl_fail_memory(error, nbytes);
  *items = larger;
  *room = wanted;
  return TINYTL_OK;
}

void tinytl_fit(void **items, int n, size_t item_nbytes) {
  if (n == 0) {
    free(*items);
    *items = NULL;
    return;
  }
  void *smaller = realloc(*items, (size_t)n * item_nbytes);
  if (smaller) *items = smaller;
}
