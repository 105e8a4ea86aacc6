/* The values of a network with batch norms, as it is pre-trained. */
#ifndef TINYTL_MODEL_BATCH_PARAMS_H
#define TINYTL_MODEL_BATCH_PARAMS_H

#include "model/backbone.h"

/* Where the values of a network lie in one vector: all weights, then norms and the classifier's
 * bias, which do not decay. Weights are laid out as in a backbone. */
typedef struct tinytl_batch_params {
  size_t weight[TINYTL_MAX_LAYERS], scale[TINYTL_MAX_LAYERS], shift[TINYTL_MAX_LAYERS];
  size_t classifier, bias;
  size_t n, n_decayed;
  size_t channel[TINYTL_MAX_LAYERS]; /* where a layer's channels begin in vectors of all channels */
  size_t n_channels;
} tinytl_batch_params;

void tinytl_batch_params_layout(tinytl_batch_params *params, const tinytl_arch *arch);

#endif
