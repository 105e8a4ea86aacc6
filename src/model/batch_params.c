#include "model/batch_params.h"

static size_t take(size_t *used, size_t n) {
  const size_t first = *used;
  *used += n;
  return first;
}

void tinytl_batch_params_layout(tinytl_batch_params *params, const tinytl_arch *arch) {
  size_t n = 0, n_channels = 0;
  for (int i = 0; i < arch->n_layers; i++)
    params->weight[i] = take(&n, tinytl_layer_n_weights(&arch->layers[i]));
  params->classifier = take(&n, (size_t)arch->n_classes * (size_t)arch->n_features);
  params->n_decayed = n;
  for (int i = 0; i < arch->n_layers; i++) {
    const size_t out_c = (size_t)arch->layers[i].out_c;
    params->scale[i] = take(&n, out_c);
    params->shift[i] = take(&n, out_c);
    params->channel[i] = take(&n_channels, out_c);
  }
  params->bias = take(&n, (size_t)arch->n_classes);
  params->n = n;
  params->n_channels = n_channels;
}
