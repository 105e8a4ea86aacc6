/* Several processes or threads that do one run together. */
#ifndef TINYTL_RANKS_H
#define TINYTL_RANKS_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Ranks that pre-train together: processes on one machine or several, or threads, of which each
 * calls tinytl_pretrain with the same options and pictures. The functions are called from the
 * training thread, by all ranks in the same order, and return when all have called; false: a rank
 * is gone, and the run ends with INTERNAL. Sums must have the same bits on all ranks. */
typedef struct tinytl_rank_group {
  int rank, n_ranks;                                          /* 0 to n_ranks - 1; 1 or more */
  void *context;                                              /* of the functions */
  bool (*sum_floats)(void *context, float *values, size_t n); /* become their sums over ranks */
  bool (*sum_doubles)(void *context, double *values, size_t n);
  bool (*broadcast)(void *context, int from, void *bytes, size_t nbytes); /* become rank from's */
} tinytl_rank_group;

/* Every rank calls it with the status of something that may have failed on it alone, and the error
 * where it did. All return the same: OK where nobody failed, else the status and error of the first
 * rank that did. group NULL: status, and nothing happens. */
tinytl_status tinytl_rank_group_agree(const tinytl_rank_group *group, tinytl_status status,
                                      tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
