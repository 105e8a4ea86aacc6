#include "core/cursor.h"

void *tinytl_take(tinytl_cursor *c, size_t n, size_t element_nbytes) {
  size_t nbytes;
  if (!tinytl_size_mul(n, element_nbytes, &nbytes) || nbytes > SIZE_MAX / 4 ||
      c->used > SIZE_MAX / 4) {
    c->overflow = true;
    return NULL;
  }
  void *piece = c->base ? c->base + c->used : NULL;
  c->used += tinytl_round_up(nbytes, TINYTL_ARENA_ALIGN);
  return piece;
}
