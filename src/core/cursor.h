/* Lays a block out: one function counts its pieces and, run again with the block, places them. */
#ifndef TINYTL_CORE_CURSOR_H
#define TINYTL_CORE_CURSOR_H

#include "core/arena.h"

typedef struct tinytl_cursor {
  unsigned char *base; /* of the block, aligned to TINYTL_ARENA_ALIGN; NULL: only counted */
  size_t used;         /* bytes, up to the next piece */
  bool overflow;       /* more than a block can be was asked for; `used` is of no use then */
} tinytl_cursor;

/* The next piece, [n] of element_nbytes, aligned as the block; NULL where it is only counted. */
void *tinytl_take(tinytl_cursor *cursor, size_t n, size_t element_nbytes);

#endif
