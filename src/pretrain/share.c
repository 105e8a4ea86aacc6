/* What a rank has of a batch, and what the ranks tell each other about it. */

#include "pretrain/pretrainer.h"

int tinytl_pretrainer_share(const tinytl_pretrainer *p, const int *order, int n, int *own) {
  const int n_ranks = tinytl_ranks_n(&p->ranks), rank = tinytl_ranks_own(&p->ranks);
  int n_own = 0;
  for (int i = 0; i < n; i++)
    if (i % p->batch % n_ranks == rank) own[n_own++] = order[i];
  return n_own;
}

tinytl_status tinytl_pretrainer_hold_share(tinytl_pretrainer *p, int n, tinytl_error *error) {
  const int n_ranks = tinytl_ranks_n(&p->ranks);
  for (int i = tinytl_ranks_own(&p->ranks); i < n; i += n_ranks) {
    tinytl_sample sample;
    TINYTL_TRY(tinytl_loader_next(p->threads.loader, &sample, error));
    p->meeting[1 + i] = sample.skipped;
    if (!sample.skipped) tinytl_pretrainer_hold(p, &sample);
    tinytl_loader_release(p->threads.loader, &sample);
  }
  return TINYTL_OK;
}

tinytl_status tinytl_pretrainer_meet(tinytl_pretrainer *p, int n, tinytl_status status,
                                     tinytl_error *error) {
  p->meeting[0] = status != TINYTL_OK;
  tinytl_ranks_sum_doubles(&p->ranks, p->meeting, 1 + (size_t)n);
  return tinytl_ranks_agree(&p->ranks, p->meeting[0], status, error);
}

bool tinytl_pretrainer_mark(const tinytl_pretrainer *p, const int *order, int n, bool *unreadable) {
  bool any = false;
  for (int i = 0; i < n; i++)
    if (p->meeting[1 + i] > 0) any = unreadable[order[i]] = true;
  return any;
}
