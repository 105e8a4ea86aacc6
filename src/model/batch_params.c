#include "model/batch_params.h"

#include <string.h>

static size_t take(size_t *used, size_t n) {
  const size_t first = *used;
  *used += n;
  return first;
}

static bool is_weight(int tensor) {
  return tensor == TINYTL_LITE_CONV || tensor == TINYTL_LITE_POINTWISE;
}

/* The weights of all modules, or the scales and shifts of their norms. */
static void take_lite(tinytl_batch_params *params, const tinytl_arch *arch, bool weights,
                      size_t *n) {
  for (int m = 0; m < arch->n_lite; m++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&arch->lite[m], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
      if (is_weight(t) == weights) params->lite[m][t] = take(n, tensors[t].n);
  }
}

void tinytl_batch_params_layout(tinytl_batch_params *params, const tinytl_arch *arch) {
  size_t n = 0, n_channels = 0;
  for (int i = 0; i < arch->n_layers; i++)
    params->weight[i] = take(&n, tinytl_layer_n_weights(&arch->layers[i]));
  take_lite(params, arch, true, &n);
  params->classifier = take(&n, (size_t)arch->n_classes * (size_t)arch->n_features);
  params->n_decayed = n;
  for (int i = 0; i < arch->n_layers; i++) {
    const size_t out_c = (size_t)arch->layers[i].out_c;
    params->scale[i] = take(&n, out_c);
    params->shift[i] = take(&n, out_c);
    params->channel[i] = take(&n_channels, out_c);
  }
  take_lite(params, arch, false, &n);
  params->bias = take(&n, (size_t)arch->n_classes);
  params->n = n;
  params->n_channels = n_channels;
}

tinytl_lite_values tinytl_batch_params_lite(const tinytl_batch_params *params, int m,
                                            const float *values) {
  const size_t *at = params->lite[m];
  return (tinytl_lite_values){.conv = values + at[TINYTL_LITE_CONV],
                              .scale1 = values + at[TINYTL_LITE_SCALE1],
                              .shift1 = values + at[TINYTL_LITE_SHIFT1],
                              .pointwise = values + at[TINYTL_LITE_POINTWISE],
                              .scale2 = values + at[TINYTL_LITE_SCALE2],
                              .shift2 = values + at[TINYTL_LITE_SHIFT2]};
}

void tinytl_batch_params_set_lite(const tinytl_batch_params *params, const tinytl_arch *arch, int m,
                                  const tinytl_lite_values *lite, float *values) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(&arch->lite[m], tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
    memcpy(values + params->lite[m][t], tinytl_lite_data(lite, &tensors[t]),
           tensors[t].n * sizeof *values);
}
