/* Adam and SGD over a parameter vector, and the learning rate's schedule. */
#ifndef TINYTL_TRAIN_OPTIMIZER_H
#define TINYTL_TRAIN_OPTIMIZER_H

#include "core/parallel.h"
#include "train/params.h"

typedef struct tinytl_optimizer_state {
  tinytl_optimizer kind;
  float *moment1, *moment2; /* [n_trained], zero at the start; moment2 with Adam only */
  uint64_t step;            /* updates done */
} tinytl_optimizer_state;

/* Vectors of n_trained floats that an optimizer keeps. */
int tinytl_optimizer_n_moments(tinytl_optimizer kind);

/* One update of values [n_trained] from gradients * gradient_scale with one learning rate a group;
 * gradients are set to 0.
 *   Adam (Kingma and Ba, 2015; beta 0.9, 0.999, eps 1e-8):
 *     m += 0.1 (g - m), v += 0.001 (g^2 - v), p -= lr m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) +
 * eps) SGD with momentum 0.9:  m = 0.9 m + g, p -= lr m */
void tinytl_optimizer_update(tinytl_optimizer_state *state, const tinytl_params *params,
                             tinytl_pool *pool, const float lr[TINYTL_N_GROUPS],
                             float gradient_scale, float *gradients, float *values);

/* Share of the full learning rate at step (0 to n_steps - 1): linear warm-up over n_warmup steps,
 * then half a cosine down to 0 (Loshchilov and Hutter, 2017). */
float tinytl_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps);

#endif
