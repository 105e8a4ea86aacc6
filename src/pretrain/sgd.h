/* SGD with Nesterov's momentum and weight decay, for training from scratch. */
#ifndef TINYTL_PRETRAIN_SGD_H
#define TINYTL_PRETRAIN_SGD_H

#include "core/parallel.h"

/* One update of n values, of which the first n_decayed decay; the gradient becomes 0:
 *   g += decay * p,  m = 0.9 m + g,  p -= lr * (g + 0.9 m) */
typedef struct tinytl_sgd {
  size_t n, n_decayed;
  float lr, decay;
  float *values, *moment, *gradient; /* [n] */
} tinytl_sgd;

void tinytl_sgd_update(const tinytl_sgd *sgd, tinytl_pool *pool);

#endif
