#include "train/optimizer.h"

#include <math.h>

#define ADAM_BETA1 0.9f
#define ADAM_BETA2 0.999f
#define ADAM_EPS 1e-8f
#define SGD_MOMENTUM 0.9f

enum { CHUNK = 16384 /* values a task: large against the cost of a fork */ };

int tinytl_optimizer_n_moments(tinytl_optimizer kind) {
  return kind == TINYTL_OPTIMIZER_ADAM ? 2 : 1;
}

typedef struct update {
  size_t n;
  float lr, gradient_scale;
  float correction2; /* 1 / (1 - beta2^t) */
  float *values, *gradients, *moment1, *moment2;
} update;

static void adam_task(void *context, int task) {
  const update *u = context;
  const size_t first = (size_t)task * CHUNK;
  const size_t n = u->n - first < CHUNK ? u->n - first : CHUNK;
  float *restrict p = u->values + first, *restrict g = u->gradients + first;
  float *restrict m = u->moment1 + first, *restrict v = u->moment2 + first;
  for (size_t i = 0; i < n; i++) {
    const float gradient = g[i] * u->gradient_scale;
    m[i] += (1 - ADAM_BETA1) * (gradient - m[i]);
    v[i] += (1 - ADAM_BETA2) * (gradient * gradient - v[i]);
    p[i] -= u->lr * m[i] / (sqrtf(v[i] * u->correction2) + ADAM_EPS);
    g[i] = 0;
  }
}

static void sgd_task(void *context, int task) {
  const update *u = context;
  const size_t first = (size_t)task * CHUNK;
  const size_t n = u->n - first < CHUNK ? u->n - first : CHUNK;
  float *restrict p = u->values + first, *restrict g = u->gradients + first;
  float *restrict m = u->moment1 + first;
  for (size_t i = 0; i < n; i++) {
    m[i] = SGD_MOMENTUM * m[i] + g[i] * u->gradient_scale;
    p[i] -= u->lr * m[i];
    g[i] = 0;
  }
}

void tinytl_optimizer_update(tinytl_optimizer_state *state, const tinytl_params *params,
                             tinytl_pool *pool, const float lr[TINYTL_N_GROUPS],
                             float gradient_scale, float *gradients, float *values) {
  const bool adam = state->kind == TINYTL_OPTIMIZER_ADAM;
  const double t = (double)++state->step;
  const float correction1 = (float)(1.0 / (1.0 - pow(ADAM_BETA1, t)));
  const float correction2 = (float)(1.0 / (1.0 - pow(ADAM_BETA2, t)));
  /* Segments of one group that follow each other are one run. */
  for (int s = 0; s < params->n_segments;) {
    const tinytl_segment *first = &params->segments[s];
    if (first->offset >= params->n_trained) break;
    size_t end = first->offset;
    for (; s < params->n_segments && params->segments[s].group == first->group &&
           params->segments[s].offset < params->n_trained;
         s++)
      end = params->segments[s].offset + params->segments[s].n;
    const size_t at = first->offset, n = end - at;
    update u = {.n = n,
                .lr = adam ? lr[first->group] * correction1 : lr[first->group],
                .gradient_scale = gradient_scale,
                .correction2 = correction2,
                .values = values + at,
                .gradients = gradients + at,
                .moment1 = state->moment1 + at,
                .moment2 = adam ? state->moment2 + at : NULL};
    tinytl_parallel_for(pool, (int)((n + CHUNK - 1) / CHUNK), adam ? adam_task : sgd_task, &u);
  }
}

float tinytl_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps) {
  if (step < n_warmup) return (float)(step + 1) / (float)n_warmup;
  if (n_steps <= n_warmup) return 1.0f;
  const double done = (double)(step - n_warmup) / (double)(n_steps - n_warmup);
  return (float)(0.5 * (1.0 + cos(3.141592653589793 * done)));
}
