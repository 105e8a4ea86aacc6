#include "pretrain/sgd.h"

enum { TASK = 16384 /* values */ };

static void update_task(void *context, int task) {
  const tinytl_sgd *sgd = context;
  const float momentum = 0.9f, lr = sgd->lr;
  const size_t first = (size_t)task * TASK, end = first + TASK < sgd->n ? first + TASK : sgd->n;
  float *values = sgd->values, *moment = sgd->moment, *gradient = sgd->gradient;
  for (size_t i = first; i < end; i++) {
    const float decay = i < sgd->n_decayed ? sgd->decay : 0;
    const float g = gradient[i] + decay * values[i];
    moment[i] = momentum * moment[i] + g;
    values[i] -= lr * (g + momentum * moment[i]);
    gradient[i] = 0;
  }
}

void tinytl_sgd_update(const tinytl_sgd *sgd, tinytl_pool *pool) {
  tinytl_parallel_for(pool, (int)((sgd->n + TASK - 1) / TASK), update_task, (void *)sgd);
}
