#include "image/budget.h"

#include "image/image.h"

#include <stdlib.h>

#define ALIGN 32
/* Of glibc, for an aligned piece: its header and what alignment wastes. */
#define MALLOC_NBYTES 64
/* Above some size (128 KB, at first) malloc takes whole pages. */
#define PAGES_FROM ((size_t)64 << 10)
#define PAGE_NBYTES 4096

/* In front of what is handed out. */
typedef struct tinytl_piece {
  _Alignas(ALIGN) struct tinytl_piece *previous;
  struct tinytl_piece *next;
  size_t cost;
} piece;

tinytl_budget tinytl_budget_make(size_t limit) {
  return (tinytl_budget){.limit = limit > 0 ? limit : TINYTL_PICTURE_MAX_NBYTES,
                         .used = TINYTL_BUDGET_OUTSIDE_NBYTES};
}

uint64_t tinytl_budget_cost(uint64_t nbytes) {
  if (nbytes > UINT64_MAX / 64) return UINT64_MAX / 64;
  const uint64_t cost = sizeof(piece) + (nbytes + ALIGN - 1) / ALIGN * ALIGN + MALLOC_NBYTES;
  return cost < PAGES_FROM ? cost : cost + PAGE_NBYTES;
}

void *tinytl_budget_take(tinytl_budget *budget, size_t nbytes) {
  const uint64_t cost = tinytl_budget_cost(nbytes);
  if (budget->used > budget->limit || cost > budget->limit - budget->used) {
    budget->exceeded = true;
    return NULL;
  }
  piece *taken = aligned_alloc(ALIGN, sizeof(piece) + tinytl_round_up(nbytes, ALIGN));
  if (!taken) {
    budget->refused_nbytes = nbytes;
    return NULL;
  }
  *taken = (piece){.next = budget->pieces, .cost = (size_t)cost};
  if (taken->next) taken->next->previous = taken;
  budget->pieces = taken;
  budget->used += (size_t)cost;
  return taken + 1;
}

void tinytl_budget_give(tinytl_budget *budget, void *memory) {
  if (!memory) return;
  piece *given = (piece *)memory - 1;
  if (given->next) given->next->previous = given->previous;
  if (given->previous)
    given->previous->next = given->next;
  else
    budget->pieces = given->next;
  budget->used -= given->cost;
  free(given);
}

void tinytl_budget_give_all(tinytl_budget *budget) {
  while (budget->pieces) {
    piece *first = budget->pieces;
    budget->pieces = first->next;
    budget->used -= first->cost;
    free(first);
  }
}

tinytl_status tinytl_budget_fail(const tinytl_budget *budget, tinytl_error *error) {
  if (!budget->exceeded) return tinytl_fail_memory(error, budget->refused_nbytes);
  return tinytl_fail(error, TINYTL_ERROR_DATA, "decoding needs more than the %.1f MB allowed",
                     (double)budget->limit / 1e6);
}
