#include "model/tensors.h"

#include <stddef.h>

size_t tinytl_layer_n_weights(const tinytl_layer *layer) {
  return (size_t)layer->kernel * (size_t)layer->kernel * (size_t)(layer->in_c / layer->groups) *
         (size_t)layer->out_c;
}

int tinytl_layer_dims(const tinytl_layer *layer, int dims[4]) {
  if (layer->groups > 1) {
    dims[0] = dims[1] = layer->kernel;
    dims[2] = layer->out_c;
    return 3;
  }
  dims[0] = layer->out_c;
  dims[1] = dims[2] = layer->kernel;
  dims[3] = layer->in_c;
  return 4;
}

tinytl_layer tinytl_classifier_layer(const tinytl_arch *arch) {
  return (tinytl_layer){.in_c = arch->n_features,
                        .out_c = arch->n_classes,
                        .kernel = 1,
                        .stride = 1,
                        .groups = 1,
                        .add = -1};
}

void tinytl_lite_tensors(const tinytl_lite *lite, tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS]) {
  const int conv_in = lite->in_c / lite->groups;
  const tinytl_lite_tensor all[TINYTL_LITE_TENSORS] = {
      {.name = "conv.weight",
       .n_dims = 4,
       .dims = {lite->mid_c, lite->kernel, lite->kernel, conv_in},
       .member = offsetof(tinytl_lite_values, conv)},
      {.name = "norm1.weight",
       .n_dims = 1,
       .dims = {lite->mid_c},
       .member = offsetof(tinytl_lite_values, scale1)},
      {.name = "norm1.bias",
       .n_dims = 1,
       .dims = {lite->mid_c},
       .member = offsetof(tinytl_lite_values, shift1)},
      {.name = "pointwise.weight",
       .n_dims = 2,
       .dims = {lite->out_c, lite->mid_c},
       .member = offsetof(tinytl_lite_values, pointwise)},
      {.name = "norm2.weight",
       .n_dims = 1,
       .dims = {lite->out_c},
       .member = offsetof(tinytl_lite_values, scale2)},
      {.name = "norm2.bias",
       .n_dims = 1,
       .dims = {lite->out_c},
       .member = offsetof(tinytl_lite_values, shift2)},
  };
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    tensors[t] = all[t];
    tensors[t].n = 1;
    for (int d = 0; d < all[t].n_dims; d++) tensors[t].n *= (size_t)all[t].dims[d];
  }
}
