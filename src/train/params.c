#include "train/params.h"

#include "model/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool tinytl_method_trains_bias(tinytl_method method) {
  return method != TINYTL_METHOD_LAST && method != TINYTL_METHOD_LITE;
}

bool tinytl_method_trains_lite(tinytl_method method) {
  return method == TINYTL_METHOD_LITE || method == TINYTL_METHOD_LITE_BIAS;
}

/* Not those that others are compared with: docs/training.md. */
bool tinytl_method_has_reach(tinytl_method method) {
  return method == TINYTL_METHOD_BIAS || tinytl_method_trains_lite(method);
}

unsigned tinytl_method_lite_tensors(tinytl_method method) {
  const unsigned all = (1u << TINYTL_LITE_TENSORS) - 1;
  /* With the biases, the main branch's last bias does the final shift's job (TinyTL, 3.2). */
  const unsigned with_bias = all & ~(1u << TINYTL_LITE_SHIFT2);
  switch (method) {
  case TINYTL_METHOD_LITE:
    return all;
  case TINYTL_METHOD_LITE_BIAS:
  case TINYTL_METHOD_FULL:
    return with_bias;
  case TINYTL_METHOD_NORM:
    return with_bias & ~(1u << TINYTL_LITE_CONV | 1u << TINYTL_LITE_POINTWISE);
  default:
    return 0;
  }
}

/* ---- Layout ------------------------------------------------------------------------------- */

static void add_segment(tinytl_params *params, tinytl_segment segment) {
  segment.offset = params->n;
  params->n += segment.n;
  params->segments[params->n_segments++] = segment;
}

/* One tensor a layer: its weight, or of the other groups a value a channel. */
static void add_layer_segments(tinytl_params *params, const tinytl_network *network,
                               tinytl_group group) {
  for (int i = 0; i < network->backbone->arch.n_layers; i++) {
    const tinytl_layer *layer = &network->backbone->arch.layers[i];
    const size_t n =
        group == TINYTL_GROUP_WEIGHT ? tinytl_layer_n_weights(layer) : (size_t)layer->out_c;
    add_segment(params, (tinytl_segment){.n = n, .group = group, .layer = i, .lite = -1});
  }
}

/* Adds the tensors of every lite module whose bits are set. */
static void add_lite_segments(tinytl_params *params, const tinytl_network *network,
                              unsigned which) {
  for (int m = 0; m < network->n_lite; m++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&network->lite[m], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
      if (which >> t & 1)
        add_segment(params, (tinytl_segment){.n = tensors[t].n,
                                             .group = TINYTL_GROUP_LITE,
                                             .layer = -1,
                                             .lite = m,
                                             .tensor = t});
  }
}

void tinytl_params_layout(tinytl_params *params, const tinytl_network *network,
                          tinytl_method method) {
  params->method = method;
  params->n = 0;
  params->n_segments = 0;
  const size_t n_classes = (size_t)network->n_classes;
  add_segment(params, (tinytl_segment){
                          .n = n_classes * (size_t)network->n_features, .layer = -1, .lite = -1});
  add_segment(params,
              (tinytl_segment){.n = n_classes, .layer = -1, .lite = -1, .classifier_bias = true});
  if (tinytl_method_trains_bias(method)) add_layer_segments(params, network, TINYTL_GROUP_BIAS);
  if (method == TINYTL_METHOD_NORM) add_layer_segments(params, network, TINYTL_GROUP_GAIN);
  if (method == TINYTL_METHOD_FULL) add_layer_segments(params, network, TINYTL_GROUP_WEIGHT);
  const unsigned lite = tinytl_method_lite_tensors(method);
  add_lite_segments(params, network, lite);
  params->n_trained = params->n;
  params->n_trained_segments = params->n_segments;
  if (lite) add_lite_segments(params, network, ~lite); /* an adapter has modules whole */
}

size_t tinytl_params_offset(const tinytl_params *params, tinytl_segment tensor) {
  const tinytl_segment *s = params->segments;
  while (s->group != tensor.group || s->layer != tensor.layer || s->lite != tensor.lite ||
         s->tensor != tensor.tensor || s->classifier_bias != tensor.classifier_bias)
    s++;
  return s->offset;
}

/* ---- Values ------------------------------------------------------------------------------- */

static void init_lite(const tinytl_segment *segment, tinytl_network *network, uint64_t seed,
                      float *values) {
  const int m = segment->lite;
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(&network->lite[m], tensors);
  const tinytl_lite_tensor *tensor = &tensors[segment->tensor];
  if (network->backbone->arch.n_lite > 0)
    memcpy(values, *tinytl_lite_member(&network->lite_values[m], tensor),
           segment->n * sizeof *values);
  else
    tinytl_lite_random(tensor, segment->tensor, m, seed, values);
  *tinytl_lite_member(&network->lite_values[m], tensor) = values;
}

/* Starts at 0, not at the paper's random values: then the gradient that reaches the biases and
 * modules first is that of a head which has begun to learn, not of a random one (docs/training.md).
 */
static void init_classifier(const tinytl_segment *segment, tinytl_network *network, float *values) {
  memset(values, 0, segment->n * sizeof *values);
  if (segment->classifier_bias)
    network->classifier_bias = values;
  else
    network->classifier = (tinytl_weight){.f32 = values};
}

static void init_weight(const tinytl_segment *segment, tinytl_network *network, float *values) {
  const tinytl_layer *layer = &network->backbone->arch.layers[segment->layer];
  tinytl_weight *weight = &network->weight[segment->layer];
  tinytl_weight_copy(tinytl_weight_shape_of(layer), weight, values);
  *weight = (tinytl_weight){.f32 = values};
}

void tinytl_params_init(const tinytl_params *params, tinytl_network *network, uint64_t seed,
                        const tinytl_adapter *from, float *values) {
  for (int s = 0; s < params->n_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    const float *inherited = from && segment->layer >= 0 ? from->bias[segment->layer] : NULL;
    float *at = values + segment->offset;
    switch (segment->group) {
    case TINYTL_GROUP_BIAS:
      memcpy(at, inherited ? inherited : network->bias[segment->layer], segment->n * sizeof *at);
      network->bias[segment->layer] = at;
      break;
    case TINYTL_GROUP_GAIN:
      for (size_t c = 0; c < segment->n; c++) at[c] = 1;
      network->weight[segment->layer].gain = at;
      break;
    case TINYTL_GROUP_WEIGHT:
      init_weight(segment, network, at);
      break;
    case TINYTL_GROUP_LITE:
      init_lite(segment, network, seed, at);
      break;
    default:
      init_classifier(segment, network, at);
    }
  }
}

/* ---- Where they go ------------------------------------------------------------------------ */

/* Points the adapter's tensors at the vector. */
static void point_adapter(const tinytl_params *params, const float *values,
                          tinytl_adapter *adapter) {
  for (int s = 0; s < params->n_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    const float *at = values + segment->offset;
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    switch (segment->group) {
    case TINYTL_GROUP_BIAS:
      adapter->bias[segment->layer] = at;
      break;
    case TINYTL_GROUP_GAIN:
      adapter->gain[segment->layer] = at;
      break;
    case TINYTL_GROUP_WEIGHT:
      adapter->weight[segment->layer] = at;
      break;
    case TINYTL_GROUP_LITE:
      tinytl_lite_tensors(&adapter->lite_shape[segment->lite], tensors);
      *tinytl_lite_member(&adapter->lite[segment->lite], &tensors[segment->tensor]) = at;
      break;
    default:
      if (segment->classifier_bias)
        adapter->classifier_bias = at;
      else
        adapter->classifier = at;
    }
  }
}

tinytl_status tinytl_params_to_adapter(const tinytl_params *params, const tinytl_network *network,
                                       const float *values, const char *const *class_names,
                                       float val_top1, tinytl_adapter **adapter,
                                       tinytl_error *error) {
  const tinytl_backbone *backbone = network->backbone;
  tinytl_adapter *view = calloc(1, sizeof *view); /* owns nothing */
  if (!view) return tinytl_fail_memory(error, sizeof *view);
  view->method = params->method;
  view->image_size = network->image_size;
  view->resize = tinytl_input_resize_at(&backbone->input, network->image_size);
  view->val_top1 = val_top1;
  view->temperature = 1;
  view->reject_below = NAN;
  memcpy(view->backbone_sha256, backbone->sha256, sizeof view->backbone_sha256);
  view->n_classes = network->n_classes;
  view->class_names = (char **)class_names;
  view->n_features = network->n_features;
  view->n_layers = backbone->arch.n_layers;
  for (int i = 0; i < view->n_layers; i++) {
    const tinytl_layer *layer = &backbone->arch.layers[i];
    view->layer_out_c[i] = layer->out_c;
    view->layer_n_dims[i] = tinytl_layer_dims(layer, view->layer_dims[i]);
  }
  if (tinytl_method_lite_tensors(params->method)) {
    view->n_lite = network->n_lite;
    memcpy(view->lite_shape, network->lite, (size_t)network->n_lite * sizeof *network->lite);
  }
  point_adapter(params, values, view);
  const tinytl_status status = tinytl_adapter_build(view, adapter, error);
  free(view);
  return status;
}
