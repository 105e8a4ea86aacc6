/* Sums over the ranks of a tinytl_rank_group, for code that cannot return an error in between. */
#ifndef TINYTL_CORE_RANKS_H
#define TINYTL_CORE_RANKS_H

#include "core/status.h"
#include "tinytl/ranks.h"

typedef struct tinytl_ranks {
  const tinytl_rank_group *group; /* NULL: one rank */
  bool is_broken; /* a call failed: nothing is exchanged since, and sums are wrong */
} tinytl_ranks;

static inline int tinytl_ranks_n(const tinytl_ranks *ranks) {
  return ranks->group ? ranks->group->n_ranks : 1;
}
static inline int tinytl_ranks_own(const tinytl_ranks *ranks) {
  return ranks->group ? ranks->group->rank : 0;
}

/* Values become their sums over the ranks, the first rank's values everybody's. With one rank
 * nothing happens. */
void tinytl_ranks_sum_floats(tinytl_ranks *ranks, float *values, size_t n);
void tinytl_ranks_sum_doubles(tinytl_ranks *ranks, double *values, size_t n);
void tinytl_ranks_broadcast(tinytl_ranks *ranks, void *bytes, size_t nbytes);

/* INTERNAL once a call has failed. */
tinytl_status tinytl_ranks_check(const tinytl_ranks *ranks, tinytl_error *error);
/* As tinytl_rank_group_agree, where the number of ranks that failed has been summed already. */
tinytl_status tinytl_ranks_agree(tinytl_ranks *ranks, double n_failed, tinytl_status status,
                                 tinytl_error *error);

#endif
