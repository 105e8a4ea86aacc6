#include "core/arena.h"

#include <stdlib.h>
#include <string.h>

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

/* Places the buffers in this order, each at the lowest offset that is free during its life; returns
 * the end of the highest, which is order[*highest]. */
static size_t place(tinytl_buffer *const *order, tinytl_buffer **placed, int n, int *highest) {
  size_t end = 0;
  for (int i = 0; i < n; i++) {
    tinytl_buffer *buffer = order[i];
    const size_t nbytes = tinytl_round_up(buffer->nbytes, TINYTL_ARENA_ALIGN);
    size_t offset = 0;
    for (int j = 0; j < i; j++) {
      const tinytl_buffer *other = placed[j];
      if (!lifetimes_meet(buffer, other)) continue;
      if (offset + nbytes <= other->offset) break; /* the gap before it is large enough */
      const size_t other_end = other->offset + tinytl_round_up(other->nbytes, TINYTL_ARENA_ALIGN);
      if (other_end > offset) offset = other_end;
    }
    buffer->offset = offset;
    if (offset + nbytes > end) {
      end = offset + nbytes;
      *highest = i;
    }
    insert_by_offset(placed, i, buffer);
  }
  return end;
}

static int by_first_use(const void *left, const void *right) {
  return (*(const tinytl_buffer *const *)left)->first_use -
         (*(const tinytl_buffer *const *)right)->first_use;
}

static int by_last_use(const void *left, const void *right) {
  return (*(const tinytl_buffer *const *)left)->last_use -
         (*(const tinytl_buffer *const *)right)->last_use;
}

/* No plan is smaller than the bytes that are alive at one step. Orders `begins` and `ends`, which
 * both have all of the n buffers, as they begin and end. */
static size_t most_alive(tinytl_buffer **begins, tinytl_buffer **ends, int n) {
  size_t most = 0, alive = 0;
  qsort(begins, (size_t)n, sizeof *begins, by_first_use);
  qsort(ends, (size_t)n, sizeof *ends, by_last_use);
  for (int i = 0, n_ended = 0; i < n; i++) {
    for (; ends[n_ended]->last_use < begins[i]->first_use; n_ended++)
      alive -= tinytl_round_up(ends[n_ended]->nbytes, TINYTL_ARENA_ALIGN);
    alive += tinytl_round_up(begins[i]->nbytes, TINYTL_ARENA_ALIGN);
    most = tinytl_size_max(most, alive);
  }
  return most;
}

static void move_to_front(tinytl_buffer **order, int i) {
  tinytl_buffer *buffer = order[i];
  memmove(order + 1, order, (size_t)i * sizeof *order);
  order[0] = buffer;
}

static bool sizes_fit(const tinytl_buffer *buffers, int n) {
  size_t sum = 0;
  for (int i = 0; i < n; i++) {
    if (buffers[i].nbytes > SIZE_MAX / 4 || sum > SIZE_MAX / 4) return false;
    sum += tinytl_round_up(buffers[i].nbytes, TINYTL_ARENA_ALIGN);
  }
  return true;
}

/* The order, the best order, and what is placed. */
size_t tinytl_arena_heap_nbytes(int n_buffers) {
  return 3 * ((size_t)n_buffers + 1) * sizeof(tinytl_buffer *);
}

tinytl_status tinytl_arena_plan(tinytl_buffer *buffers, int n_buffers, size_t *total,
                                tinytl_error *error) {
  /* With 512, eight times the work, plans of named networks are 0.3 % smaller in the mean. */
  enum { MAX_ROUNDS = 64 };
  const size_t n = (size_t)n_buffers + 1;
  if (!sizes_fit(buffers, n_buffers))
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT, "the plan overflows the address space");
  tinytl_buffer **order = malloc(tinytl_arena_heap_nbytes(n_buffers));
  if (!order) return tinytl_fail_memory(error, tinytl_arena_heap_nbytes(n_buffers));
  tinytl_buffer **best = order + n, **placed = best + n;
  for (int i = 0; i < n_buffers; i++) order[i] = best[i] = placed[i] = &buffers[i];
  const size_t least = most_alive(best, placed, n_buffers);
  qsort(order, (size_t)n_buffers, sizeof *order, by_size);

  size_t best_end = SIZE_MAX;
  int highest = 0;
  for (int round = 0; round < MAX_ROUNDS && best_end > least; round++) {
    if (round > 0) move_to_front(order, highest);
    const size_t end = place(order, placed, n_buffers, &highest);
    if (end >= best_end) continue;
    best_end = end;
    memcpy(best, order, (size_t)n_buffers * sizeof *order);
  }
  *total = n_buffers > 0 ? place(best, placed, n_buffers, &highest) : 0;
  free(order);
  return TINYTL_OK;
}
