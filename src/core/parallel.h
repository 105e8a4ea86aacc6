/* Fork and join. */
#ifndef TINYTL_CORE_PARALLEL_H
#define TINYTL_CORE_PARALLEL_H

#include <stdatomic.h>

#include "core/status.h"

typedef struct tinytl_pool tinytl_pool;

int tinytl_n_threads(int wanted); /* 0: one a core that this process may use */

/* n_threads 1 to 64 counts the calling thread; 0 as of tinytl_n_threads. */
tinytl_status tinytl_pool_create(int n_threads, tinytl_pool **pool, tinytl_error *error);
void tinytl_pool_free(tinytl_pool *pool); /* NULL is allowed */
int tinytl_pool_n_threads(const tinytl_pool *pool);

/* What sharing work cost, while it is measured: from the call on. */
typedef struct tinytl_pool_cost {
  uint64_t n_forks;
  double join_seconds; /* that the calling thread waited for the others' last tasks */
} tinytl_pool_cost;
/* cost stays borrowed until the pool is freed; NULL: measure no longer. */
void tinytl_pool_measure(tinytl_pool *pool, tinytl_pool_cost *cost);

typedef void (*tinytl_task_fn)(void *context, int task);

/* Runs task 0 to n_tasks - 1, each once; returns when all are done. Every thread begins with its
 * share, the same neighbouring ones at each call, as their data may still be in its core's cache,
 * and goes on with what others have left. A task must write only what no other task of the call
 * touches, and its result must not depend on the thread: then results do not depend on the number
 * of threads. Not re-entrant. pool NULL: all on the calling thread. */
void tinytl_parallel_for(tinytl_pool *pool, int n_tasks, tinytl_task_fn task, void *context);
/* The same, begun in the order of their numbers, on whichever thread comes first. */
void tinytl_parallel_for_in_order(tinytl_pool *pool, int n_tasks, tinytl_task_fn task,
                                  void *context);

/* Returns when there are `n`, for a task that waits for what another one makes and counts. A task
 * of a call in order may wait only for tasks of lower numbers. */
void tinytl_count_wait(const atomic_int *count, int n);

#endif
