#include "core/arena.h"

#include <stdlib.h>

static bool lifetimes_meet(const tinytl_buffer *x, const tinytl_buffer *y) {
  return x->first_use <= y->last_use && y->first_use <= x->last_use;
}

/* Larger first; of equal size the earlier one, so that the plan is the same everywhere. */
static int by_size(const void *left, const void *right) {
  const tinytl_buffer *x = *(const tinytl_buffer *const *)left;
  const tinytl_buffer *y = *(const tinytl_buffer *const *)right;
  if (x->nbytes != y->nbytes) return x->nbytes < y->nbytes ? 1 : -1;
  return x < y ? -1 : x > y;
}

/* Inserts `buffer` into `placed`, which is in order of offset. */
static void insert_by_offset(tinytl_buffer **placed, int n_placed, tinytl_buffer *buffer) {
  int i = n_placed;
  for (; i > 0 && placed[i - 1]->offset > buffer->offset; i--) placed[i] = placed[i - 1];
  placed[i] = buffer;
}

tinytl_status tinytl_arena_plan(tinytl_buffer *buffers, int n_buffers, size_t *total,
                                tinytl_error *error) {
  tinytl_buffer **order = malloc(2 * ((size_t)n_buffers + 1) * sizeof *order);
  if (!order) return tinytl_fail_memory(error, 2 * ((size_t)n_buffers + 1) * sizeof *order);
  tinytl_buffer **placed = order + n_buffers;
  for (int i = 0; i < n_buffers; i++) order[i] = &buffers[i];
  qsort(order, (size_t)n_buffers, sizeof *order, by_size);

  size_t end = 0;
  for (int i = 0; i < n_buffers; i++) {
    tinytl_buffer *buffer = order[i];
    if (buffer->nbytes > SIZE_MAX / 4 || end > SIZE_MAX / 4) {
      free(order);
      return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT, "the plan overflows the address space");
    }
    size_t nbytes = tinytl_round_up(buffer->nbytes, TINYTL_ARENA_ALIGN);
    size_t offset = 0;
    for (int j = 0; j < i; j++) {
      const tinytl_buffer *other = placed[j];
      if (!lifetimes_meet(buffer, other)) continue;
      if (offset + nbytes <= other->offset) break; /* the gap before it is large enough */
      size_t other_end = other->offset + tinytl_round_up(other->nbytes, TINYTL_ARENA_ALIGN);
      if (other_end > offset) offset = other_end;
    }
    buffer->offset = offset;
    if (offset + nbytes > end) end = offset + nbytes;
    insert_by_offset(placed, i, buffer);
  }
  free(order);
  *total = end;
  return TINYTL_OK;
}
