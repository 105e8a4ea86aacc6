/* Import of TFLite files: one function an operator. */
#include "format/tflite.h"

#include "model/quantise.h"

#include <string.h>

/* BuiltinOperator of the schema. */
enum {
  OP_ADD = 0,
  OP_AVERAGE_POOL_2D = 1,
  OP_CONV_2D = 3,
  OP_DEPTHWISE_CONV_2D = 4,
  OP_DEQUANTIZE = 6,
  OP_FULLY_CONNECTED = 9,
  OP_MUL = 18,
  OP_RELU = 19,
  OP_RELU6 = 21,
  OP_RESHAPE = 22,
  OP_SOFTMAX = 25,
  OP_PAD = 34,
  OP_MEAN = 40,
  OP_SQUEEZE = 43,
  OP_QUANTIZE = 114
};
enum { PADDING_SAME, PADDING_VALID };

/* Where the options of an operator have what the operators share. */
typedef struct conv_fields {
  int act, dilation_w, dilation_h;
} conv_fields;
static const conv_fields conv_2d_fields = {.act = 3, .dilation_w = 4, .dilation_h = 5};
static const conv_fields depthwise_fields = {.act = 4, .dilation_w = 5, .dilation_h = 6};
enum { CONV_PADDING, CONV_STRIDE_W, CONV_STRIDE_H, DEPTHWISE_MULTIPLIER };
enum { POOL_FILTER_W = 3, POOL_FILTER_H = 4, POOL_ACT = 5 };
enum { ELEMENTWISE_ACT = 0, FULLY_CONNECTED_ACT = 0 };

static int option(tinytl_tflite *graph, int field, int nbytes, int absent) {
  return (int)tinytl_fb_scalar(&graph->file, graph->options, field, nbytes, absent);
}

static tinytl_status read_act(tinytl_tflite *graph, int field, tinytl_act *act,
                              tinytl_error *error) {
  const int code = option(graph, field, 1, 0); /* ActivationFunctionType */
  if (code != 0 && code != 1 && code != 3)
    return tinytl_tflite_fail(
        graph, error, "fused activation %d is not supported; none, ReLU and ReLU6 are", code);
  *act = code == 0 ? TINYTL_ACT_NONE : code == 1 ? TINYTL_ACT_RELU : TINYTL_ACT_RELU6;
  return TINYTL_OK;
}

static tinytl_status need_no_act(tinytl_tflite *graph, int field, tinytl_error *error) {
  tinytl_act act = TINYTL_ACT_NONE;
  TINYTL_TRY(read_act(graph, field, &act, error));
  if (act != TINYTL_ACT_NONE)
    return tinytl_tflite_fail(graph, error, "an activation after it is not supported");
  return TINYTL_OK;
}

/* ---- Values ------------------------------------------------------------------------------- */

static tinytl_tflite_value value_of(const tinytl_tflite *graph, int tensor) {
  return tensor < 0 ? (tinytl_tflite_value){0} : graph->values[tensor];
}

static tinytl_status set_output(tinytl_tflite *graph, tinytl_tflite_value value,
                                tinytl_error *error) {
  const int index = tinytl_tflite_output(graph, 0);
  if (graph->outputs.n != 1 || index < 0 || graph->values[index].kind != TINYTL_TFLITE_UNKNOWN)
    return tinytl_tflite_fail(graph, error, "expected one output that is new");
  graph->values[index] = value;
  return TINYTL_OK;
}

/* The chain goes on from the last layer's output alone, and ends where it is pooled. */
static tinytl_status need_last_map(const tinytl_tflite *graph, tinytl_tflite_value value,
                                   tinytl_error *error) {
  if (value.kind == TINYTL_TFLITE_MAP && value.layer == graph->model.arch.n_layers - 1 &&
      !graph->pooled)
    return TINYTL_OK;
  return tinytl_tflite_fail(graph, error,
                            "its input is not the output of the convolution before it: only a "
                            "chain with shortcuts is supported");
}

/* The last layer changes: what was its output is no longer to be had. Its output is now that of
 * the operator at hand. */
static tinytl_status replace_output(tinytl_tflite *graph, tinytl_error *error) {
  const int last = graph->model.arch.n_layers - 1;
  for (size_t i = 0; i < graph->tensors.n; i++)
    if ((graph->values[i].kind == TINYTL_TFLITE_MAP ||
         graph->values[i].kind == TINYTL_TFLITE_PADDED) &&
        graph->values[i].layer == last)
      graph->values[i].kind = TINYTL_TFLITE_GONE;
  return set_output(graph, (tinytl_tflite_value){.kind = TINYTL_TFLITE_MAP, .layer = last}, error);
}

/* The last layer, if nothing was added to it yet, so that more can be folded into it. */
static tinytl_status need_open_layer(tinytl_tflite *graph, tinytl_tflite_value value,
                                     tinytl_layer **layer, tinytl_error *error) {
  TINYTL_TRY(need_last_map(graph, value, error));
  if (value.layer < 0 || graph->model.arch.layers[value.layer].add >= 0)
    return tinytl_tflite_fail(graph, error, "it follows no convolution directly");
  *layer = &graph->model.arch.layers[value.layer];
  return TINYTL_OK;
}

/* ---- Convolutions ------------------------------------------------------------------------- */

/* The padding that gives what explicit zeros (value) before an unpadded convolution give at this
 * size. Equal borders are PyTorch's way, so symmetric padding comes first for them. */
static tinytl_status fold_padding(const tinytl_tflite *graph, tinytl_tflite_value value,
                                  tinytl_layer *layer, tinytl_error *error) {
  const int rows = graph->side + value.top + value.bottom - layer->kernel;
  const int columns = graph->side + value.left + value.right - layer->kernel;
  const bool equal = value.top == value.bottom;
  for (int choice = 0; choice < 2; choice++) {
    layer->pad = (choice == 0) == equal ? TINYTL_PAD_SYMMETRIC : TINYTL_PAD_SAME;
    if (layer->pad == TINYTL_PAD_SYMMETRIC && layer->kernel % 2 == 0) continue;
    const tinytl_span span =
        tinytl_conv_span(graph->side, layer->kernel, layer->stride, layer->pad);
    if (span.pad == value.top && span.pad == value.left && rows >= 0 && columns >= 0 &&
        span.out == rows / layer->stride + 1 && span.out == columns / layer->stride + 1)
      return TINYTL_OK;
  }
  return tinytl_tflite_fail(graph, error,
                            "padding %d, %d, %d, %d (top, bottom, left, right) is not supported",
                            value.top, value.bottom, value.left, value.right);
}

static tinytl_status read_geometry(tinytl_tflite *graph, const conv_fields *fields,
                                   tinytl_layer *layer, tinytl_error *error) {
  layer->stride = option(graph, CONV_STRIDE_W, 4, 0);
  if (layer->stride != option(graph, CONV_STRIDE_H, 4, 0))
    return tinytl_tflite_fail(graph, error, "strides that differ are not supported");
  if (option(graph, fields->dilation_w, 4, 1) != 1 || option(graph, fields->dilation_h, 4, 1) != 1)
    return tinytl_tflite_fail(graph, error, "dilation is not supported");
  if (layer->stride < 1 || layer->stride > TINYTL_MAX_KERNEL || layer->kernel > TINYTL_MAX_KERNEL)
    return tinytl_tflite_fail(graph, error, "kernel %d, stride %d: at most %d are supported",
                              layer->kernel, layer->stride, TINYTL_MAX_KERNEL);
  return read_act(graph, fields->act, &layer->act, error);
}

static tinytl_status choose_padding(tinytl_tflite *graph, tinytl_tflite_value value,
                                    tinytl_layer *layer, tinytl_error *error) {
  if (option(graph, CONV_PADDING, 1, PADDING_SAME) == PADDING_VALID)
    return fold_padding(graph, value, layer, error);
  if (value.kind == TINYTL_TFLITE_PADDED)
    return tinytl_tflite_fail(graph, error, "padding twice is not supported");
  layer->pad = TINYTL_PAD_SAME;
  return TINYTL_OK;
}

/* A quantised output whose lowest value stands for 0 is a ReLU, and a ReLU6 when it ends at 6 or
 * before: that is how converters fold the activation into the range. */
static tinytl_act act_of_range(tinytl_tflite *graph, const tinytl_tflite_tensor *output) {
  const bool is_signed = output->type == TINYTL_TFLITE_INT8;
  if ((!is_signed && output->type != TINYTL_TFLITE_UINT8) || output->scale.n != 1 ||
      output->zero_point.n != 1)
    return TINYTL_ACT_NONE;
  if (tinytl_fb_scalar_at(&graph->file, output->zero_point, 0, 8) != (is_signed ? -128 : 0))
    return TINYTL_ACT_NONE;
  const float high = 255 * tinytl_fb_float_at(&graph->file, output->scale, 0);
  /* Scales are rounded: two steps of 6 / 255 beyond 6 still count as 6. */
  return high < 6.05f ? TINYTL_ACT_RELU6 : TINYTL_ACT_RELU;
}

static bool is_pooled_conv(tinytl_tflite *graph, const tinytl_tflite_tensor *weight) {
  return value_of(graph, tinytl_tflite_input(graph, 0)).kind == TINYTL_TFLITE_POOLED &&
         weight->n_dims == 4 && weight->dims[1] == 1 && weight->dims[2] == 1;
}

static tinytl_status read_classifier(tinytl_tflite *graph, int in_c, int out_c, int act_field,
                                     tinytl_error *error) {
  tinytl_arch *arch = &graph->model.arch;
  if (arch->n_classes > 0)
    return tinytl_tflite_fail(graph, error, "a second classifier is not supported");
  TINYTL_TRY(need_no_act(graph, act_field, error));
  arch->n_features = arch->layers[arch->n_layers - 1].out_c;
  if (in_c != arch->n_features || out_c > TINYTL_MAX_CLASSES)
    return tinytl_tflite_fail(graph, error,
                              "expected a weight of up to %d classes x %d features, found %d x %d",
                              TINYTL_MAX_CLASSES, arch->n_features, out_c, in_c);
  arch->n_classes = out_c;
  const tinytl_layer layer = tinytl_classifier_layer(arch);
  TINYTL_TRY(tinytl_tflite_read_weights(graph, &layer, tinytl_tflite_input(graph, 0),
                                        tinytl_tflite_input(graph, 1),
                                        tinytl_tflite_input(graph, 2), 0, &graph->model.classifier,
                                        &graph->model.classifier_bias, error));
  return set_output(graph, (tinytl_tflite_value){.kind = TINYTL_TFLITE_LOGITS}, error);
}

/* Reads the layer's weights, appends it and checks its output's shape. */
static tinytl_status push_layer(tinytl_tflite *graph, tinytl_layer *layer, int channel_dim,
                                tinytl_error *error) {
  tinytl_arch *arch = &graph->model.arch;
  tinytl_tflite_tensor output;
  const int i = arch->n_layers;
  TINYTL_TRY(tinytl_tflite_read_weights(graph, layer, tinytl_tflite_input(graph, 0),
                                        tinytl_tflite_input(graph, 1),
                                        tinytl_tflite_input(graph, 2), channel_dim,
                                        &graph->model.weight[i], &graph->model.bias[i], error));
  graph->side = tinytl_conv_span(graph->side, layer->kernel, layer->stride, layer->pad).out;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_output(graph, 0), &output, error));
  if (output.n_dims != 4 || output.dims[0] != 1 || output.dims[1] != graph->side ||
      output.dims[2] != graph->side || output.dims[3] != layer->out_c)
    return tinytl_tflite_fail(graph, error, "expected an output of shape [1, %d, %d, %d]",
                              graph->side, graph->side, layer->out_c);
  if (layer->act == TINYTL_ACT_NONE) layer->act = act_of_range(graph, &output);
  arch->layers[arch->n_layers++] = *layer;
  return set_output(graph, (tinytl_tflite_value){.kind = TINYTL_TFLITE_MAP, .layer = i}, error);
}

static tinytl_status read_conv(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_arch *arch = &graph->model.arch;
  const bool depthwise = graph->op_code == OP_DEPTHWISE_CONV_2D;
  const conv_fields *fields = depthwise ? &depthwise_fields : &conv_2d_fields;
  tinytl_tflite_tensor weight;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_input(graph, 1), &weight, error));
  if (weight.n_dims != 4 || weight.dims[1] != weight.dims[2])
    return tinytl_tflite_fail(graph, error, "expected a weight of 4 dimensions, square kernel");
  if (!depthwise && is_pooled_conv(graph, &weight))
    return read_classifier(graph, weight.dims[3], weight.dims[0], fields->act, error);

  tinytl_tflite_value value = value_of(graph, tinytl_tflite_input(graph, 0));
  const bool padded = value.kind == TINYTL_TFLITE_PADDED;
  TINYTL_TRY(need_last_map(
      graph,
      padded ? (tinytl_tflite_value){.kind = TINYTL_TFLITE_MAP, .layer = value.layer} : value,
      error));
  const int in_c = arch->n_layers ? arch->layers[arch->n_layers - 1].out_c : 3;
  tinytl_layer layer = {.in_c = in_c,
                        .out_c = depthwise ? weight.dims[3] : weight.dims[0],
                        .kernel = weight.dims[1],
                        .groups = depthwise ? in_c : 1,
                        .add = -1};
  if (arch->n_layers == TINYTL_MAX_LAYERS || layer.out_c > TINYTL_MAX_CHANNELS)
    return tinytl_tflite_fail(graph, error, "at most %d layers of %d channels are supported",
                              TINYTL_MAX_LAYERS, TINYTL_MAX_CHANNELS);
  if (depthwise && (layer.out_c != in_c || option(graph, DEPTHWISE_MULTIPLIER, 4, 1) != 1))
    return tinytl_tflite_fail(graph, error,
                              "%d channels from %d: only depth multiplier 1 is "
                              "supported",
                              layer.out_c, in_c);
  if (!depthwise && weight.dims[3] != in_c)
    return tinytl_tflite_fail(graph, error,
                              "the weight takes %d channels, the input has %d: "
                              "grouped convolution is not supported",
                              weight.dims[3], in_c);
  TINYTL_TRY(read_geometry(graph, fields, &layer, error));
  TINYTL_TRY(choose_padding(graph, value, &layer, error));
  return push_layer(graph, &layer, depthwise ? 3 : 0, error);
}

static tinytl_status read_pad(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_tflite_value value = value_of(graph, tinytl_tflite_input(graph, 0));
  tinytl_tflite_tensor tensor;
  int32_t border[8]; /* batch, rows, columns, channels: before, after */
  TINYTL_TRY(need_last_map(graph, value, error));
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_input(graph, 1), &tensor, error));
  if (!tensor.data || tensor.type != TINYTL_TFLITE_INT32 || tensor.n != 8)
    return tinytl_tflite_fail(graph, error, "the borders must be 8 constants of int32");
  memcpy(border, tensor.data, sizeof border);
  for (int i = 0; i < 8; i++) {
    const bool spatial = i >= 2 && i < 6;
    if (border[i] < 0 || border[i] > (spatial ? TINYTL_MAX_KERNEL : 0))
      return tinytl_tflite_fail(graph, error, "border %d of %d is not supported", i, border[i]);
  }
  value.kind = TINYTL_TFLITE_PADDED;
  value.top = border[2], value.bottom = border[3];
  value.left = border[4], value.right = border[5];
  return set_output(graph, value, error);
}

/* ---- Element by element ------------------------------------------------------------------- */

static tinytl_status read_shortcut(tinytl_tflite *graph, tinytl_tflite_value x,
                                   tinytl_tflite_value y, tinytl_error *error) {
  const tinytl_tflite_value last = x.layer > y.layer ? x : y, earlier = x.layer > y.layer ? y : x;
  tinytl_layer *layer = NULL;
  TINYTL_TRY(need_open_layer(graph, last, &layer, error));
  TINYTL_TRY(need_no_act(graph, ELEMENTWISE_ACT, error));
  if (earlier.kind != TINYTL_TFLITE_MAP || earlier.layer < 0 || earlier.layer == last.layer)
    return tinytl_tflite_fail(graph, error, "it does not add an earlier layer's output");
  layer->add = earlier.layer;
  return replace_output(graph, error);
}

/* One value for all channels, or one each. */
static bool is_per_channel(const tinytl_tflite_tensor *tensor, int channels) {
  return tensor->n == 1 ||
         (tensor->n == (size_t)channels && tensor->dims[tensor->n_dims - 1] == channels);
}

static float factor_of(const tinytl_tflite_tensor *constant, int c) {
  float factor;
  memcpy(&factor, constant->data + (constant->n == 1 ? 0 : (size_t)c) * sizeof factor,
         sizeof factor);
  return factor;
}

/* Times the factors, in place where they are floats already: those are the graph's own. */
static tinytl_status scale_weights(tinytl_tflite *graph, int index,
                                   const tinytl_tflite_tensor *constant, tinytl_error *error) {
  const tinytl_layer *layer = &graph->model.arch.layers[index];
  const tinytl_weight_shape shape = tinytl_weight_shape_of(layer);
  tinytl_weight *weight = &graph->model.weight[index];
  float *w = (float *)weight->f32;
  if (!w) {
    TINYTL_TRY(tinytl_tflite_floats(graph, shape.n, &w, error));
    tinytl_dequantise(shape, weight->i8, weight->scale, w);
  }
  for (size_t i = 0; i < shape.n; i++) w[i] *= factor_of(constant, tinytl_weight_channel(shape, i));
  *weight = (tinytl_weight){.f32 = w};
  return TINYTL_OK;
}

/* The layer becomes constant * layer (MUL) or constant + layer (ADD), then act. */
static tinytl_status fold_factors(tinytl_tflite *graph, int index,
                                  const tinytl_tflite_tensor *constant, tinytl_act act,
                                  tinytl_error *error) {
  tinytl_layer *layer = &graph->model.arch.layers[index];
  const bool times = graph->op_code == OP_MUL;
  float *bias = (float *)graph->model.bias[index]; /* the graph's own */
  for (int c = 0; c < layer->out_c; c++) {
    const float factor = factor_of(constant, c);
    bias[c] = times ? bias[c] * factor : bias[c] + factor;
  }
  if (times) TINYTL_TRY(scale_weights(graph, index, constant, error));
  layer->act = act;
  return replace_output(graph, error);
}

/* What a batch norm left: a constant for every channel, times or plus the last layer's output,
 * goes into its weight and bias. */
static tinytl_status fold_constant(tinytl_tflite *graph, tinytl_tflite_value value, int constant,
                                   tinytl_error *error) {
  tinytl_tflite_tensor tensor;
  tinytl_layer *layer = NULL;
  tinytl_act act = TINYTL_ACT_NONE;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, constant, &tensor, error));
  TINYTL_TRY(need_open_layer(graph, value, &layer, error));
  TINYTL_TRY(read_act(graph, ELEMENTWISE_ACT, &act, error));
  if (!tensor.data || tensor.type != TINYTL_TFLITE_FLOAT32 || layer->act != TINYTL_ACT_NONE ||
      !is_per_channel(&tensor, layer->out_c))
    return tinytl_tflite_fail(graph, error,
                              "only a float32 constant, one or one a channel, right after a "
                              "convolution without activation is supported");
  return fold_factors(graph, value.layer, &tensor, act, error);
}

static tinytl_status read_elementwise(tinytl_tflite *graph, tinytl_error *error) {
  const int left = tinytl_tflite_input(graph, 0), right = tinytl_tflite_input(graph, 1);
  const tinytl_tflite_value x = value_of(graph, left), y = value_of(graph, right);
  if (y.kind == TINYTL_TFLITE_UNKNOWN && right >= 0) return fold_constant(graph, x, right, error);
  if (x.kind == TINYTL_TFLITE_UNKNOWN && left >= 0) return fold_constant(graph, y, left, error);
  if (graph->op_code == OP_MUL)
    return tinytl_tflite_fail(graph, error, "the product of two maps is not supported");
  return read_shortcut(graph, x, y, error);
}

static tinytl_status read_relu(tinytl_tflite *graph, tinytl_error *error) {
  const tinytl_act act = graph->op_code == OP_RELU ? TINYTL_ACT_RELU : TINYTL_ACT_RELU6;
  tinytl_layer *layer = NULL;
  TINYTL_TRY(need_open_layer(graph, value_of(graph, tinytl_tflite_input(graph, 0)), &layer, error));
  if (layer->act < act) layer->act = act; /* of two, the tighter one holds */
  return replace_output(graph, error);
}

/* ---- Pooling and what follows ------------------------------------------------------------- */

/* The last map becomes the feature vector. */
static tinytl_status pool(tinytl_tflite *graph, tinytl_error *error) {
  if (graph->model.arch.n_layers == 0)
    return tinytl_tflite_fail(graph, error, "there is no convolution before it");
  graph->pooled = true;
  return set_output(graph, (tinytl_tflite_value){.kind = TINYTL_TFLITE_POOLED}, error);
}

static tinytl_status read_mean(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_tflite_tensor axes;
  int32_t axis[2] = {0, 0};
  TINYTL_TRY(need_last_map(graph, value_of(graph, tinytl_tflite_input(graph, 0)), error));
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_input(graph, 1), &axes, error));
  if (axes.data && axes.type == TINYTL_TFLITE_INT32 && axes.n == 2)
    memcpy(axis, axes.data, sizeof axis);
  for (int i = 0; i < 2; i++)
    if (axis[i] < 0) axis[i] += 4;
  const bool both = (axis[0] == 1 && axis[1] == 2) || (axis[0] == 2 && axis[1] == 1);
  if (!both)
    return tinytl_tflite_fail(graph, error, "only the mean over rows and columns is supported");
  return pool(graph, error);
}

static tinytl_status read_average_pool(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_tflite_tensor output;
  const int filter_w = option(graph, POOL_FILTER_W, 4, 0);
  const int filter_h = option(graph, POOL_FILTER_H, 4, 0);
  TINYTL_TRY(need_last_map(graph, value_of(graph, tinytl_tflite_input(graph, 0)), error));
  TINYTL_TRY(need_no_act(graph, POOL_ACT, error));
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_output(graph, 0), &output, error));
  if (filter_w != graph->side || filter_h != graph->side || output.n_dims != 4 ||
      output.dims[1] != 1 || output.dims[2] != 1)
    return tinytl_tflite_fail(graph, error,
                              "only a pool over the whole map (%d x %d) is supported, found %d x "
                              "%d",
                              graph->side, graph->side, filter_h, filter_w);
  return pool(graph, error);
}

static tinytl_status read_fully_connected(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_tflite_tensor weight;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_input(graph, 1), &weight, error));
  if (value_of(graph, tinytl_tflite_input(graph, 0)).kind != TINYTL_TFLITE_POOLED ||
      weight.n_dims != 2)
    return tinytl_tflite_fail(graph, error,
                              "only a classifier after global average pooling is supported");
  return read_classifier(graph, weight.dims[1], weight.dims[0], FULLY_CONNECTED_ACT, error);
}

/* A vector in another shape is the same vector. */
static tinytl_status read_reshape(tinytl_tflite *graph, tinytl_error *error) {
  const tinytl_tflite_value value = value_of(graph, tinytl_tflite_input(graph, 0));
  if (value.kind != TINYTL_TFLITE_POOLED && value.kind != TINYTL_TFLITE_LOGITS)
    return tinytl_tflite_fail(graph, error, "it is supported after global average pooling only");
  return set_output(graph, value, error);
}

static tinytl_status read_softmax(tinytl_tflite *graph, tinytl_error *error) {
  const tinytl_tflite_value value = value_of(graph, tinytl_tflite_input(graph, 0));
  if (value.kind != TINYTL_TFLITE_LOGITS)
    return tinytl_tflite_fail(graph, error, "it is supported after the classifier only");
  return set_output(graph, value, error);
}

/* Another number format for the same values; on the picture it tells their range. */
static tinytl_status read_requantise(tinytl_tflite *graph, tinytl_error *error) {
  const tinytl_tflite_value value = value_of(graph, tinytl_tflite_input(graph, 0));
  tinytl_tflite_tensor output;
  if (value.kind == TINYTL_TFLITE_UNKNOWN || value.kind == TINYTL_TFLITE_GONE)
    return tinytl_tflite_fail(graph, error, "constants in another number format are not supported");
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, tinytl_tflite_output(graph, 0), &output, error));
  if (value.kind == TINYTL_TFLITE_MAP && value.layer < 0) tinytl_tflite_set_input(graph, &output);
  return set_output(graph, value, error);
}

/* ---- Dispatch ----------------------------------------------------------------------------- */

static const struct {
  int code;
  tinytl_status (*read)(tinytl_tflite *graph, tinytl_error *error);
} operators[] = {{OP_CONV_2D, read_conv},
                 {OP_DEPTHWISE_CONV_2D, read_conv},
                 {OP_PAD, read_pad},
                 {OP_ADD, read_elementwise},
                 {OP_MUL, read_elementwise},
                 {OP_RELU, read_relu},
                 {OP_RELU6, read_relu},
                 {OP_MEAN, read_mean},
                 {OP_AVERAGE_POOL_2D, read_average_pool},
                 {OP_FULLY_CONNECTED, read_fully_connected},
                 {OP_RESHAPE, read_reshape},
                 {OP_SQUEEZE, read_reshape},
                 {OP_SOFTMAX, read_softmax},
                 {OP_QUANTIZE, read_requantise},
                 {OP_DEQUANTIZE, read_requantise}};

tinytl_status tinytl_tflite_operator(tinytl_tflite *graph, tinytl_error *error) {
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (operators[i].code == graph->op_code) return operators[i].read(graph, error);
  char name[32];
  tinytl_tflite_op_name(graph->op_code, name);
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: operator %d (%s) is not supported",
                     graph->name, graph->op, name);
}
