/* The values of a network with batch norms, as it is pre-trained. */
#ifndef TINYTL_MODEL_BATCH_PARAMS_H
#define TINYTL_MODEL_BATCH_PARAMS_H

#include "model/tensors.h"

/* Where the values of a network lie in one vector: all weights, then norms and the classifier's
 * bias, which do not decay; of either kind the layers' first, then the lite modules'. Weights are
 * laid out as in a backbone. */
typedef struct tinytl_batch_params {
  size_t weight[TINYTL_MAX_LAYERS], scale[TINYTL_MAX_LAYERS], shift[TINYTL_MAX_LAYERS];
  size_t lite[TINYTL_MAX_LAYERS / 2][TINYTL_LITE_TENSORS];
  size_t classifier, bias;
  size_t n, n_decayed;
  size_t channel[TINYTL_MAX_LAYERS]; /* where a layer's channels begin in vectors of all channels */
  size_t n_channels;
} tinytl_batch_params;

void tinytl_batch_params_layout(tinytl_batch_params *params, const tinytl_arch *arch);

/* Module m's values. */
tinytl_lite_values tinytl_batch_params_lite(const tinytl_batch_params *params, int m,
                                            const float *values);
void tinytl_batch_params_set_lite(const tinytl_batch_params *params, const tinytl_arch *arch, int m,
                                  const tinytl_lite_values *lite, float *values);

#endif
