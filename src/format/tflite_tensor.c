#include "format/tflite.h"

#include "model/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fields of the schema's tables. */
enum { TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION };
enum { QUANTIZATION_SCALE = 2, QUANTIZATION_ZERO_POINT = 3, QUANTIZATION_DIMENSION = 6 };
enum { BUFFER_DATA };

static int index_at(tinytl_tflite *graph, tinytl_fb_vector vector, size_t i) {
  if (i >= vector.n) return -1;
  const int64_t index = tinytl_fb_scalar_at(&graph->file, vector, i, 4);
  return index >= 0 && (size_t)index < graph->tensors.n ? (int)index : -1;
}

int tinytl_tflite_input(tinytl_tflite *graph, size_t i) {
  return index_at(graph, graph->inputs, i);
}

int tinytl_tflite_output(tinytl_tflite *graph, size_t i) {
  return index_at(graph, graph->outputs, i);
}

/* Bytes of a value of the types that are understood; 0: of another. */
static size_t type_nbytes(int type) {
  switch (type) {
  case TINYTL_TFLITE_FLOAT32:
  case TINYTL_TFLITE_INT32:
    return 4;
  case TINYTL_TFLITE_UINT8:
  case TINYTL_TFLITE_INT8:
    return 1;
  default:
    return 0;
  }
}

static tinytl_status read_shape(tinytl_tflite *graph, tinytl_fb_vector shape,
                                tinytl_tflite_tensor *tensor, tinytl_error *error) {
  if (shape.n > 4)
    return tinytl_tflite_fail(graph, error, "a tensor of %zu dimensions, at most 4 are supported",
                              shape.n);
  tensor->n_dims = (int)shape.n;
  tensor->n = 1;
  for (size_t d = 0; d < shape.n; d++) {
    const int64_t dim = tinytl_fb_scalar_at(&graph->file, shape, d, 4);
    if (dim < 1 || !tinytl_size_mul(tensor->n, (size_t)dim, &tensor->n))
      return tinytl_tflite_fail(graph, error, "a tensor with dimension %lld", (long long)dim);
    tensor->dims[d] = (int)dim;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_tflite_read_tensor(tinytl_tflite *graph, int index,
                                        tinytl_tflite_tensor *tensor, tinytl_error *error) {
  tinytl_flatbuffer *file = &graph->file;
  if (index < 0) return tinytl_tflite_fail(graph, error, "an input or output is missing");
  const tinytl_fb_table table = tinytl_fb_table_at(file, graph->tensors, (size_t)index);
  const tinytl_fb_table quantization = tinytl_fb_field(file, table, TENSOR_QUANTIZATION);
  *tensor = (tinytl_tflite_tensor){
      .type = (int)tinytl_fb_scalar(file, table, TENSOR_TYPE, 1, TINYTL_TFLITE_FLOAT32),
      .scale = tinytl_fb_vector_field(file, quantization, QUANTIZATION_SCALE, 4),
      .zero_point = tinytl_fb_vector_field(file, quantization, QUANTIZATION_ZERO_POINT, 8),
      .scale_dim = (int)tinytl_fb_scalar(file, quantization, QUANTIZATION_DIMENSION, 4, 0)};
  TINYTL_TRY(
      read_shape(graph, tinytl_fb_vector_field(file, table, TENSOR_SHAPE, 4), tensor, error));
  const int64_t buffer = tinytl_fb_scalar(file, table, TENSOR_BUFFER, 4, 0);
  if (buffer < 0 || (size_t)buffer >= graph->buffers.n || file->damaged)
    return tinytl_tflite_fail(graph, error, "tensor %d is damaged", index);
  const tinytl_fb_vector data = tinytl_fb_vector_field(
      file, tinytl_fb_table_at(file, graph->buffers, (size_t)buffer), BUFFER_DATA, 1);
  if (data.n == 0) return TINYTL_OK;
  const size_t value_nbytes = type_nbytes(tensor->type);
  if (value_nbytes == 0)
    return tinytl_tflite_fail(graph, error,
                              "constant tensor %d is of type %d; float32, int8, uint8 and int32 "
                              "are supported",
                              index, tensor->type);
  if (data.n % value_nbytes || data.n / value_nbytes != tensor->n)
    return tinytl_tflite_fail(graph, error, "constant tensor %d: %zu values expected in %zu bytes",
                              index, tensor->n, data.n);
  tensor->data = file->bytes + data.at;
  return TINYTL_OK;
}

tinytl_status tinytl_tflite_floats(tinytl_tflite *graph, size_t n, float **floats,
                                   tinytl_error *error) {
  if (graph->n_blocks == TINYTL_TFLITE_MAX_BLOCKS)
    return tinytl_tflite_fail(graph, error, "more constants than %d layers can have",
                              TINYTL_MAX_LAYERS);
  *floats = calloc(n, sizeof **floats);
  if (!*floats) return tinytl_fail_memory(error, n * sizeof **floats);
  graph->blocks[graph->n_blocks++] = *floats;
  return TINYTL_OK;
}

/* ---- Weights ------------------------------------------------------------------------------ */

static int64_t zero_point_at(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor, int c) {
  const size_t n = tensor->zero_point.n;
  if (n == 0) return 0;
  return tinytl_fb_scalar_at(&graph->file, tensor->zero_point, n == 1 ? 0 : (size_t)c, 8);
}

/* The scale of every output channel: one for all in the file, or one each. */
static tinytl_status read_scales(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor,
                                 int channel_dim, int out_c, float **scale, tinytl_error *error) {
  const size_t n = tensor->scale.n, n_zero = tensor->zero_point.n;
  if (n != 1 && (n != (size_t)out_c || tensor->scale_dim != channel_dim))
    return tinytl_tflite_fail(graph, error,
                              "expected 1 or %d weight scales along dimension %d, found %zu along "
                              "%d",
                              out_c, channel_dim, n, tensor->scale_dim);
  if (n_zero > 1 && n_zero != n)
    return tinytl_tflite_fail(graph, error, "%zu zero points for %zu scales", n_zero, n);
  TINYTL_TRY(tinytl_tflite_floats(graph, (size_t)out_c, scale, error));
  for (int c = 0; c < out_c; c++) {
    (*scale)[c] = tinytl_fb_float_at(&graph->file, tensor->scale, n == 1 ? 0 : (size_t)c);
    const int64_t zero = zero_point_at(graph, tensor, c);
    if (zero < -128 || zero > 255)
      return tinytl_tflite_fail(
          graph, error, "weight zero point %d must be -128 to 255, found %lld", c, (long long)zero);
    if (!isfinite((*scale)[c]) || (*scale)[c] <= 0)
      return tinytl_tflite_fail(graph, error, "weight scale %d must be above 0, found %g", c,
                                (double)(*scale)[c]);
  }
  return TINYTL_OK;
}

/* (value - zero point) * scale */
static void widen(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor,
                  tinytl_weight_shape shape, const float *scale, float *out) {
  for (size_t i = 0; i < shape.n; i++) {
    const int c = tinytl_weight_channel(shape, i);
    const int value =
        tensor->type == TINYTL_TFLITE_INT8 ? (int8_t)tensor->data[i] : tensor->data[i];
    out[i] = (float)(value - zero_point_at(graph, tensor, c)) * scale[c];
  }
}

/* int8 with zero points of 0 is used as it stands in the file. */
static tinytl_status read_weight(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor,
                                 const tinytl_layer *layer, int channel_dim, tinytl_weight *weight,
                                 float **scale, tinytl_error *error) {
  const tinytl_weight_shape shape = tinytl_weight_shape_of(layer);
  float *f32 = NULL;
  *scale = NULL;
  if (!tensor->data || tensor->type == TINYTL_TFLITE_INT32 || tensor->n != shape.n)
    return tinytl_tflite_fail(graph, error,
                              "the weight must be a constant of %zu float32, int8 or uint8 values",
                              shape.n);
  graph->n_weights += shape.n;
  if (graph->n_weights > graph->file.nbytes)
    return tinytl_tflite_fail(graph, error,
                              "the layers take more weights than the file has bytes: some share "
                              "theirs, which is not supported");
  if (tensor->type == TINYTL_TFLITE_FLOAT32) {
    TINYTL_TRY(tinytl_tflite_floats(graph, shape.n, &f32, error));
    memcpy(f32, tensor->data, shape.n * sizeof *f32);
    *weight = (tinytl_weight){.f32 = f32};
    return TINYTL_OK;
  }
  TINYTL_TRY(read_scales(graph, tensor, channel_dim, layer->out_c, scale, error));
  bool symmetric = tensor->type == TINYTL_TFLITE_INT8;
  for (int c = 0; c < layer->out_c; c++)
    symmetric = symmetric && zero_point_at(graph, tensor, c) == 0;
  if (symmetric) {
    *weight = (tinytl_weight){.i8 = (const int8_t *)tensor->data, .scale = *scale};
    return TINYTL_OK;
  }
  TINYTL_TRY(tinytl_tflite_floats(graph, shape.n, &f32, error));
  widen(graph, tensor, shape, *scale, f32);
  *weight = (tinytl_weight){.f32 = f32};
  return TINYTL_OK;
}

/* An int32 bias is in units of input scale x weight scale. */
static tinytl_status read_bias(tinytl_tflite *graph, int index, int input_index, int out_c,
                               const float *weight_scale, float *bias, tinytl_error *error) {
  tinytl_tflite_tensor tensor, input;
  if (index < 0) return TINYTL_OK;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, index, &tensor, error));
  if (!tensor.data || tensor.n != (size_t)out_c)
    return tinytl_tflite_fail(graph, error, "the bias must be a constant of %d values", out_c);
  if (tensor.type == TINYTL_TFLITE_FLOAT32) {
    memcpy(bias, tensor.data, (size_t)out_c * sizeof *bias);
    return TINYTL_OK;
  }
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, input_index, &input, error));
  if (tensor.type != TINYTL_TFLITE_INT32 || !weight_scale || input.scale.n != 1)
    return tinytl_tflite_fail(graph, error,
                              "the bias must be float32, or int32 with quantised weights and "
                              "input");
  const float input_scale = tinytl_fb_float_at(&graph->file, input.scale, 0);
  for (int c = 0; c < out_c; c++) {
    int32_t value;
    memcpy(&value, tensor.data + (size_t)c * sizeof value, sizeof value);
    bias[c] = (float)((double)value * ((double)input_scale * (double)weight_scale[c]));
  }
  return TINYTL_OK;
}

tinytl_status tinytl_tflite_read_weights(tinytl_tflite *graph, const tinytl_layer *layer,
                                         int input_index, int weight_index, int bias_index,
                                         int channel_dim, tinytl_weight *weight, const float **bias,
                                         tinytl_error *error) {
  tinytl_tflite_tensor tensor;
  float *scale = NULL, *values = NULL;
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, weight_index, &tensor, error));
  TINYTL_TRY(read_weight(graph, &tensor, layer, channel_dim, weight, &scale, error));
  TINYTL_TRY(tinytl_tflite_floats(graph, (size_t)layer->out_c, &values, error));
  TINYTL_TRY(read_bias(graph, bias_index, input_index, layer->out_c, scale, values, error));
  *bias = values;
  return TINYTL_OK;
}

/* ---- Input -------------------------------------------------------------------------------- */

static bool near(float value, float target) {
  return fabsf(value - target) <= 0.02f;
}

void tinytl_tflite_set_input(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor) {
  const bool is_signed = tensor->type == TINYTL_TFLITE_INT8;
  if (graph->input_known || tensor->scale.n != 1) return;
  if (!is_signed && tensor->type != TINYTL_TFLITE_UINT8) return;
  const float scale = tinytl_fb_float_at(&graph->file, tensor->scale, 0);
  const float zero = (float)zero_point_at(graph, tensor, 0);
  const float low = ((is_signed ? -128.0f : 0.0f) - zero) * scale, range = 255 * scale;
  if (!isfinite(low) || !isfinite(range) || !(range > 0)) return;
  /* x = low + range * pixel / 255. The usual ranges are taken exactly: a quantised one misses them
   * by up to a step. */
  float mean = -low / range, std = 1 / range;
  if (near(low, -1) && near(range, 2)) mean = std = 0.5f;
  if (near(low, 0) && near(range, 1)) mean = 0, std = 1;
  for (int c = 0; c < 3; c++) {
    graph->model.input.mean[c] = mean;
    graph->model.input.std[c] = std;
  }
  graph->input_known = true;
}
