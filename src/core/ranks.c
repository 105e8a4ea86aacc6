#include "core/ranks.h"

static bool can_call(const tinytl_ranks *ranks) {
  return tinytl_ranks_n(ranks) > 1 && !ranks->is_broken;
}

void tinytl_ranks_sum_floats(tinytl_ranks *ranks, float *values, size_t n) {
  const tinytl_rank_group *group = ranks->group;
  if (can_call(ranks)) ranks->is_broken = !group->sum_floats(group->context, values, n);
}

void tinytl_ranks_sum_doubles(tinytl_ranks *ranks, double *values, size_t n) {
  const tinytl_rank_group *group = ranks->group;
  if (can_call(ranks)) ranks->is_broken = !group->sum_doubles(group->context, values, n);
}

static void broadcast_from(tinytl_ranks *ranks, int rank, void *bytes, size_t nbytes) {
  const tinytl_rank_group *group = ranks->group;
  if (can_call(ranks)) ranks->is_broken = !group->broadcast(group->context, rank, bytes, nbytes);
}

void tinytl_ranks_broadcast(tinytl_ranks *ranks, void *bytes, size_t nbytes) {
  broadcast_from(ranks, 0, bytes, nbytes);
}

tinytl_status tinytl_ranks_check(const tinytl_ranks *ranks, tinytl_error *error) {
  if (!ranks->is_broken) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "another rank of the run is gone");
}

tinytl_status tinytl_ranks_agree(tinytl_ranks *ranks, double n_failed, tinytl_status status,
                                 tinytl_error *error) {
  const int n = n_failed > 0 ? tinytl_ranks_n(ranks) : 0;
  for (int rank = 0; rank < n && !ranks->is_broken; rank++) {
    tinytl_error first = {.status = TINYTL_OK};
    if (rank == tinytl_ranks_own(ranks) && status != TINYTL_OK) {
      if (error) first = *error;
      first.status = status;
    }
    broadcast_from(ranks, rank, &first, sizeof first);
    if (first.status == TINYTL_OK || ranks->is_broken) continue;
    if (rank == 0) return tinytl_fail(error, first.status, "%s", first.message);
    return tinytl_fail(error, first.status, "rank %d: %s", rank, first.message);
  }
  TINYTL_TRY(tinytl_ranks_check(ranks, error));
  return n == 0 ? TINYTL_OK
                : tinytl_fail(error, TINYTL_ERROR_INTERNAL,
                              "a rank of the run failed and did not say why");
}

tinytl_status tinytl_rank_group_agree(const tinytl_rank_group *group, tinytl_status status,
                                      tinytl_error *error) {
  tinytl_ranks ranks = {.group = group};
  if (tinytl_ranks_n(&ranks) == 1) return status;
  double n_failed = status != TINYTL_OK;
  tinytl_ranks_sum_doubles(&ranks, &n_failed, 1);
  return tinytl_ranks_agree(&ranks, n_failed, status, error);
}
