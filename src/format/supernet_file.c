/* The super-net file: docs/format.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/arch_json.h"
#include "format/json_text.h"
#include "format/tensor_list.h"
#include "model/quantise.h"
#include "model/shared_values.h"

#define FORMAT "super-net 2"
#define FIRST_FORMAT "super-net 1" /* without lite modules, with a total stride of 32 */

/* ---- Tensors ------------------------------------------------------------------------------ */

enum {
  PER_LAYER = 5,
  MAX_TENSORS = PER_LAYER * TINYTL_MAX_LAYERS + TINYTL_LITE_TENSORS * TINYTL_SUPERNET_BLOCKS + 2
};

typedef struct value_tensor {
  char name[40]; /* of a weight that may be int8 without its ".weight" */
  int n_dims, dims[4];
  size_t first;              /* of the values */
  tinytl_weight_shape shape; /* of a weight that may be int8; of others n is 0 */
} value_tensor;

/* Those of the lite modules; returns their number. */
static int list_lite(const tinytl_shared_values *shared, value_tensor *tensors) {
  const tinytl_arch *arch = &shared->arch;
  int n = 0;
  for (int m = 0; m < arch->n_lite; m++) {
    tinytl_lite_tensor of_module[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&arch->lite[m], of_module);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++, n++) {
      tensors[n] =
          (value_tensor){.n_dims = of_module[t].n_dims, .first = shared->params.lite[m][t]};
      memcpy(tensors[n].dims, of_module[t].dims, sizeof tensors[n].dims);
      snprintf(tensors[n].name, sizeof tensors[n].name, "lite.%d.%s", arch->lite[m].block,
               of_module[t].name);
    }
  }
  return n;
}

/* All of them, in the order of the file. */
static int list_tensors(const tinytl_shared_values *shared, value_tensor tensors[MAX_TENSORS]) {
  const tinytl_arch *arch = &shared->arch;
  const tinytl_batch_params *params = &shared->params;
  int n = 0;
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    value_tensor weight = {.first = params->weight[i], .shape = tinytl_weight_shape_of(layer)};
    weight.n_dims = tinytl_layer_dims(layer, weight.dims);
    const value_tensor rest[] = {{.n_dims = 1, .dims = {layer->out_c}, .first = params->scale[i]},
                                 {.n_dims = 1, .dims = {layer->out_c}, .first = params->shift[i]},
                                 {.n_dims = 2,
                                  .dims = {TINYTL_KERNEL_MEDIUM_TAPS, TINYTL_KERNEL_MEDIUM_TAPS},
                                  .first = shared->matrices[i]},
                                 {.n_dims = 2,
                                  .dims = {TINYTL_KERNEL_SMALL_TAPS, TINYTL_KERNEL_SMALL_TAPS},
                                  .first = shared->matrices[i] + TINYTL_KERNEL_MEDIUM_MATRIX}};
    static const char *const names[] = {"norm.weight", "norm.bias", "matrix5", "matrix3"};
    snprintf(weight.name, sizeof weight.name, "layers.%d", i);
    tensors[n++] = weight;
    for (int t = 0; t < (shared->matrices[i] ? 4 : 2); t++) {
      tensors[n] = rest[t];
      snprintf(tensors[n].name, sizeof tensors[n].name, "layers.%d.%s", i, names[t]);
      n++;
    }
  }
  n += list_lite(shared, tensors + n);
  tensors[n++] = (value_tensor){.name = "classifier",
                                .n_dims = 2,
                                .dims = {arch->n_classes, arch->n_features},
                                .first = params->classifier,
                                .shape = {.n = (size_t)arch->n_classes * (size_t)arch->n_features,
                                          .run = (size_t)arch->n_features,
                                          .out_c = arch->n_classes}};
  tensors[n++] = (value_tensor){
      .name = "classifier.bias", .n_dims = 1, .dims = {arch->n_classes}, .first = params->bias};
  return n;
}

static size_t n_values(const value_tensor *tensor) {
  size_t n = 1;
  for (int d = 0; d < tensor->n_dims; d++) n *= (size_t)tensor->dims[d];
  return n;
}

/* ---- Reading ------------------------------------------------------------------------------ */

static tinytl_status read_fields(const json_t *json, bool is_first, const char *where,
                                 tinytl_space *space, tinytl_error *error) {
  const char *name = NULL;
  int n_classes = 0, has_lite = 0;
  TINYTL_TRY(tinytl_json_string(json, "name", where, &name, error));
  TINYTL_TRY(tinytl_json_int(json, "classes", 1, TINYTL_MAX_CLASSES, where, &n_classes, error));
  if (tinytl_space_named(name, n_classes, space, NULL) != TINYTL_OK)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected the name supernet-W (W: 0.1 to 2.0), found \"%.60s\"", where,
                       name);
  if (is_first) return TINYTL_OK;
  TINYTL_TRY(tinytl_json_int(json, "lite", 0, 1, where, &has_lite, error));
  TINYTL_TRY(tinytl_json_int(json, "stride", 16, 32, where, &space->total_stride, error));
  space->has_lite = has_lite;
  if (space->total_stride == 16 || space->total_stride == 32) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"stride\" must be 16 or 32, found %d", where,
                     space->total_stride);
}

static tinytl_status read_space(const char *text, bool is_first, const char *where,
                                tinytl_space *space, tinytl_error *error) {
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse(text, strlen(text), where, &json, error));
  const tinytl_status status = read_fields(json, is_first, where, space, error);
  json_decref(json);
  return status;
}

static tinytl_status read_tensor(const tinytl_safetensors *file, const value_tensor *tensor,
                                 tinytl_supernet *net, tinytl_error *error) {
  float *values = net->values + tensor->first;
  tinytl_weight read = {0};
  if (tensor->shape.n == 0) {
    TINYTL_TRY(
        tinytl_safetensors_f32(file, tensor->name, tensor->n_dims, tensor->dims, &read.f32, error));
    memcpy(values, read.f32, n_values(tensor) * sizeof *values);
  } else {
    TINYTL_TRY(tinytl_read_weight(file, tensor->name, tensor->n_dims, tensor->dims,
                                  tensor->shape.out_c, &read, error));
    tinytl_weight_copy(tensor->shape, &read, values);
  }
  return TINYTL_OK;
}

static tinytl_status read_values(const tinytl_safetensors *file, tinytl_supernet *net,
                                 tinytl_error *error) {
  tinytl_shared_values *shared = calloc(1, sizeof *shared);
  value_tensor *tensors = calloc(MAX_TENSORS, sizeof *tensors);
  tinytl_status status = TINYTL_OK;
  if (shared && tensors) {
    tinytl_shared_values_layout(shared, &net->space);
    net->n_values = shared->n;
    net->values = malloc(shared->n * sizeof *net->values);
  }
  if (!net->values) status = tinytl_fail_memory(error, sizeof *shared);
  const int n = status == TINYTL_OK ? list_tensors(shared, tensors) : 0;
  for (int t = 0; t < n && status == TINYTL_OK; t++)
    status = read_tensor(file, &tensors[t], net, error);
  free(shared);
  free(tensors);
  return status == TINYTL_OK ? tinytl_safetensors_all_read(file, error) : status;
}

static tinytl_status read_supernet(const tinytl_safetensors *file, tinytl_supernet *net,
                                   tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  const char *text = NULL;
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.format", where, &text, error));
  const bool is_first = strcmp(text, FIRST_FORMAT) == 0;
  if (!is_first) TINYTL_TRY(tinytl_safetensors_need_format(file, FORMAT, error));
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.space", where, &text, error));
  TINYTL_TRY(read_space(text, is_first, where, &net->space, error));
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.input", where, &text, error));
  TINYTL_TRY(tinytl_input_parse(text, true, where, &net->input, error));
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.labels", where, &text, error));
  TINYTL_TRY(tinytl_strings_parse(text, where, &net->labels, &net->n_labels, error));
  if (net->n_labels != net->space.n_classes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected %d labels, found %d", where,
                       net->space.n_classes, net->n_labels);
  return read_values(file, net, error);
}

tinytl_status tinytl_supernet_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_supernet **supernet, tinytl_error *error) {
  tinytl_safetensors *file = NULL;
  TINYTL_TRY(tinytl_safetensors_open(bytes, nbytes, name, &file, error));
  tinytl_supernet *opened = calloc(1, sizeof *opened);
  tinytl_status status =
      opened ? read_supernet(file, opened, error) : tinytl_fail_memory(error, sizeof *opened);
  tinytl_safetensors_free(file);
  if (status != TINYTL_OK)
    tinytl_supernet_free(opened);
  else
    *supernet = opened;
  return status;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static char *print_space(const tinytl_space *space) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_string(&json, "name", space->name);
  tinytl_json_put_int(&json, "classes", space->n_classes);
  tinytl_json_put_int(&json, "lite", space->has_lite);
  tinytl_json_put_int(&json, "stride", space->total_stride);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

typedef struct writing {
  tinytl_shared_values shared;
  int n_tensors;
  value_tensor tensors[MAX_TENSORS];
  tinytl_tensor_list list;
} writing;

static size_t n_scales(const writing *w) {
  size_t n = 0;
  for (int t = 0; t < w->n_tensors; t++) n += (size_t)w->tensors[t].shape.out_c;
  return n;
}

/* i8 [n_values] and scale [n_scales] get the weights' codes; NULL: weights stay float32. */
static void list_values(writing *w, const float *values, int8_t *i8, float *scale) {
  for (int t = 0; t < w->n_tensors; t++) {
    const value_tensor *tensor = &w->tensors[t];
    tinytl_weight weight = {.f32 = values + tensor->first};
    if (tensor->shape.n == 0) {
      tinytl_tensor_list_f32(&w->list, tensor->name, tensor->n_dims, tensor->dims, weight.f32);
      continue;
    }
    if (i8) {
      tinytl_quantise(tensor->shape, weight.f32, i8 + tensor->first, scale);
      weight = (tinytl_weight){.i8 = i8 + tensor->first, .scale = scale};
      scale += tensor->shape.out_c;
    }
    tinytl_tensor_list_weight(&w->list, tensor->name, tensor->n_dims, tensor->dims,
                              tensor->shape.out_c, &weight);
  }
}

static tinytl_status write_values(const tinytl_supernet *net, tinytl_weights weights,
                                  const char *const *meta, tinytl_write_fn write, void *context,
                                  tinytl_error *error) {
  const bool is_int8 = weights == TINYTL_WEIGHTS_INT8;
  writing *w = calloc(1, sizeof *w);
  int8_t *i8 = is_int8 ? malloc(net->n_values) : NULL;
  float *scales = NULL;
  if (w) {
    tinytl_shared_values_layout(&w->shared, &net->space);
    w->n_tensors = list_tensors(&w->shared, w->tensors);
    if (is_int8) scales = malloc((n_scales(w) + 1) * sizeof *scales);
  }
  tinytl_status status;
  if (w && (!is_int8 || (i8 && scales))) {
    list_values(w, net->values, i8, scales);
    status = tinytl_safetensors_write(meta, w->list.tensors, w->list.n, write, context, error);
  } else {
    status = tinytl_fail_memory(error, sizeof *w + net->n_values);
  }
  free(w);
  free(i8);
  free(scales);
  return status;
}

tinytl_status tinytl_supernet_write(const tinytl_supernet *net, tinytl_weights weights,
                                    tinytl_write_fn write, void *context, tinytl_error *error) {
  char *space = print_space(&net->space), *input = tinytl_input_print(&net->input, true);
  char *labels = tinytl_strings_print((const char *const *)net->labels, net->n_labels);
  tinytl_status status;
  if (space && input && labels) {
    const char *const meta[] = {"tinytl.format", FORMAT,         "tinytl.space",
                                space,           "tinytl.input", input,
                                "tinytl.labels", labels,         NULL};
    status = write_values(net, weights, meta, write, context, error);
  } else {
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a super-net's header");
  }
  free(space);
  free(input);
  free(labels);
  return status;
}
