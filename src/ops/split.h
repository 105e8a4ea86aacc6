/* How the operators cut their work for the threads: by the shape alone, so that every result is
 * the same whatever the number of threads. */
#ifndef TINYTL_OPS_SPLIT_H
#define TINYTL_OPS_SPLIT_H

#include "ops/ops.h"

enum {
  TINYTL_SPLIT_TASK = 4096,           /* elements of a task, about: some microseconds */
  TINYTL_SPLIT_ALONE = 3 * 4096,      /* below it, waking the threads costs more than the work */
  TINYTL_SPLIT_ALONE_MACS = 96 * 1024 /* the same, in multiply-adds of a matrix product */
};

/* The threads for a product of so many multiply-adds. */
static inline tinytl_pool *tinytl_split_pool(const tinytl_run *run, uint64_t macs) {
  return macs < TINYTL_SPLIT_ALONE_MACS ? NULL : run->pool;
}

typedef struct tinytl_split {
  int n_rows, rows_per_task, n_tasks;
  size_t n_elements;
} tinytl_split;

/* n_rows rows of row_size elements each, in tasks of whole rows. */
static inline tinytl_split tinytl_split_rows(int n_rows, size_t row_size) {
  size_t per_task = row_size < TINYTL_SPLIT_TASK ? TINYTL_SPLIT_TASK / (row_size + !row_size) : 1;
  int rows_per_task = per_task < (size_t)n_rows ? (int)per_task : n_rows;
  if (rows_per_task < 1) rows_per_task = 1;
  return (tinytl_split){
      .n_rows = n_rows,
      .rows_per_task = rows_per_task,
      .n_tasks = tinytl_ceil_div(n_rows, rows_per_task),
      .n_elements = (size_t)n_rows * row_size,
  };
}

static inline int tinytl_split_first(const tinytl_split *split, int task) {
  return task * split->rows_per_task;
}

static inline int tinytl_split_end(const tinytl_split *split, int task) {
  return tinytl_min((task + 1) * split->rows_per_task, split->n_rows);
}

static inline void tinytl_split_run(const tinytl_run *run, const tinytl_split *split,
                                    tinytl_task_fn task, void *context) {
  tinytl_pool *pool = split->n_elements < TINYTL_SPLIT_ALONE ? NULL : run->pool;
  tinytl_parallel_for(pool, split->n_tasks, task, context);
}

#endif
