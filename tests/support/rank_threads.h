/* Ranks of a tinytl_rank_group as threads of this process. */
#ifndef TINYTL_TEST_RANK_THREADS_H
#define TINYTL_TEST_RANK_THREADS_H

#include <pthread.h>

#include "tinytl.h"

enum { RANKS_MAX = 4 };

typedef struct rank_room {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  int n_ranks, n_here;
  unsigned n_done;         /* calls that all have made */
  bool is_left;            /* a rank is gone: all calls fail */
  void *values[RANKS_MAX]; /* of the ranks that are here */
} rank_room;

typedef struct rank_thread {
  rank_room *room;
  tinytl_rank_group group; /* its context is this struct: do not copy it */
  unsigned n_calls;
  unsigned leave_at; /* fails its call of this number, from 1, and is gone; 0: never */
} rank_thread;

/* Runs work(contexts[rank]) on a thread a rank, ranks[rank] set up before, and waits for all. */
void rank_threads_run(int n_ranks, rank_thread ranks[], void *(*work)(void *context),
                      void *contexts[]);

#endif
