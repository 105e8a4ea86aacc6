/* The memory planner: records of first use, last use and size become offsets in one block.
 * A pure function; see docs/architecture.md. */
#ifndef TINYTL_CORE_ARENA_H
#define TINYTL_CORE_ARENA_H

#include "core/status.h"

#define TINYTL_ARENA_ALIGN 64 /* a cache line, and the widest vector */

typedef struct tinytl_buffer {
  size_t nbytes;           /* in */
  int first_use, last_use; /* in: steps, inclusive; first_use <= last_use */
  size_t offset;           /* out: multiple of TINYTL_ARENA_ALIGN */
} tinytl_buffer;

/* Gives every buffer an offset such that buffers whose lifetimes meet do not overlap, and returns
 * the bytes of the block in *total. Largest first, each at the lowest offset that is free during
 * its life; then, while that wastes anything, again with the highest one first. */
tinytl_status tinytl_arena_plan(tinytl_buffer *buffers, int n_buffers, size_t *total,
                                tinytl_error *error);
size_t tinytl_arena_heap_nbytes(int n_buffers); /* while it plans */

#endif
