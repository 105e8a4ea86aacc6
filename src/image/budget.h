/* The heap memory of one picture: counted, bounded, and given back as a whole. */
#ifndef TINYTL_IMAGE_BUDGET_H
#define TINYTL_IMAGE_BUDGET_H

#include "core/status.h"

/* What decoding takes outside the budget: the FILE, and what libjpeg allocates before its memory
 * can be taken over (3 KB with glibc and libjpeg-turbo 2.1). Every budget starts with it used. */
#define TINYTL_BUDGET_OUTSIDE_NBYTES ((size_t)4096)

typedef struct tinytl_budget {
  size_t limit, used;          /* bytes, the allocator's own share included */
  bool exceeded;               /* a piece was refused: over the limit */
  size_t refused_nbytes;       /* by malloc */
  struct tinytl_piece *pieces; /* all that are alive */
} tinytl_budget;

/* limit 0: TINYTL_PICTURE_MAX_NBYTES. */
tinytl_budget tinytl_budget_make(size_t limit);

/* What a piece of nbytes uses. */
uint64_t tinytl_budget_cost(uint64_t nbytes);

/* Aligned to 32 bytes, as SIMD code of libjpeg-turbo wants it. NULL: tinytl_budget_fail. */
void *tinytl_budget_take(tinytl_budget *budget, size_t nbytes);
void tinytl_budget_give(tinytl_budget *budget, void *piece); /* NULL is allowed */
void tinytl_budget_give_all(tinytl_budget *budget);

static inline bool tinytl_budget_failed(const tinytl_budget *budget) {
  return budget->exceeded || budget->refused_nbytes > 0;
}
/* Why a piece was refused: TINYTL_ERROR_DATA over the limit, else TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_budget_fail(const tinytl_budget *budget, tinytl_error *error);

#endif
