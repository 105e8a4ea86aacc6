/* The adapter file: docs/format.md. */
#include "format/arch_json.h"
#include "format/json_text.h"
#include "format/tensor_list.h"
#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "adapter 1"

/* ---- Reading the metadata ----------------------------------------------------------------- */

/* What an adapter is read from and into; the values' pointers go into the file. */
typedef struct reader {
  const tinytl_safetensors *file;
  const tinytl_backbone *backbone; /* NULL: unknown */
  char where[TINYTL_ST_WHERE];     /* "FILE: KEY" of the last key asked for */
  tinytl_adapter values;
} reader;

/* NULL: absent. */
static const char *find_meta(reader *r, const char *key) {
  const char *value = NULL;
  tinytl_safetensors_need_meta(r->file, key, r->where, &value, NULL);
  return value;
}

static tinytl_status need_meta(reader *r, const char *key, const char **value,
                               tinytl_error *error) {
  return tinytl_safetensors_need_meta(r->file, key, r->where, value, error);
}

static bool is_sha256(const char *text) {
  return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static tinytl_status read_backbone_sha256(reader *r, tinytl_error *error) {
  const char *text = NULL;
  TINYTL_TRY(need_meta(r, "tinytl.backbone", &text, error));
  if (!is_sha256(text))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected 64 hexadecimal digits, found \"%.80s\"", r->where, text);
  if (r->backbone && strcmp(text, r->backbone->sha256) != 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s belongs to another backbone: expected the one that it was trained on, "
                       "with sha256 %s, found %s",
                       tinytl_safetensors_name(r->file), text, r->backbone->sha256);
  memcpy(r->values.backbone_sha256, text, sizeof r->values.backbone_sha256);
  return TINYTL_OK;
}

/* *value stays as it is where the key is absent. */
static tinytl_status read_number(reader *r, const char *key, double low, double high, float *value,
                                 tinytl_error *error) {
  const char *text = find_meta(r, key);
  if (!text) return TINYTL_OK;
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse(text, strlen(text), r->where, &json, error));
  const double number = json_is_number(json) ? json_number_value(json) : (double)NAN;
  json_decref(json);
  if (!(number >= low && number <= high))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a number %g to %g, found \"%.40s\"",
                       r->where, low, high, text);
  *value = (float)number;
  return TINYTL_OK;
}

/* Files from before there was a temperature have none of the last two. Their ranges are wider than
 * what training finds: 1/16 to 16, and -64 to 64 (train/calibration.h). */
static tinytl_status read_numbers(reader *r, tinytl_error *error) {
  tinytl_adapter *values = &r->values;
  values->val_top1 = values->reject_below = NAN;
  values->temperature = 1;
  TINYTL_TRY(read_number(r, "tinytl.val_top1", 0, 1, &values->val_top1, error));
  TINYTL_TRY(read_number(r, "tinytl.temperature", 0.01, 100, &values->temperature, error));
  return read_number(r, "tinytl.reject_below", -1e6, 1e6, &values->reject_below, error);
}

static tinytl_status read_meta(reader *r, tinytl_error *error) {
  tinytl_adapter *values = &r->values;
  const char *text = NULL;
  tinytl_input input;
  TINYTL_TRY(tinytl_safetensors_need_format(r->file, FORMAT, error));
  TINYTL_TRY(need_meta(r, "tinytl.method", &text, error));
  if (!tinytl_method_parse(text, &values->method) || values->method == TINYTL_METHOD_AUTO)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: unknown method \"%.40s\"", r->where, text);
  TINYTL_TRY(read_backbone_sha256(r, error));
  TINYTL_TRY(need_meta(r, "tinytl.input", &text, error));
  TINYTL_TRY(tinytl_input_parse(text, false, r->where, &input, error));
  values->image_size = input.size;
  values->resize = input.resize;
  TINYTL_TRY(read_numbers(r, error));
  TINYTL_TRY(need_meta(r, "tinytl.classes", &text, error));
  TINYTL_TRY(tinytl_strings_parse(text, r->where, &values->class_names, &values->n_classes, error));
  if (values->n_classes < 1 || values->n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected 1 to %d classes, found %d",
                       r->where, TINYTL_MAX_CLASSES, values->n_classes);
  return TINYTL_OK;
}

/* ---- Reading the tensors ------------------------------------------------------------------ */

/* Dim `d` of a tensor where nothing else says it, 1 to max. */
static tinytl_status read_dim(const reader *r, const char *name, int d, int max, int *dim,
                              tinytl_error *error) {
  const tinytl_tensor *tensor = tinytl_safetensors_find(r->file, name);
  if (!tensor || d >= tensor->n_dims || tensor->dims[d] < 1 || tensor->dims[d] > (size_t)max)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: tensor \"%s\": missing, or dimension %d is not 1 to %d",
                       tinytl_safetensors_name(r->file), name, d, max);
  *dim = (int)tensor->dims[d];
  return TINYTL_OK;
}

static tinytl_status read_classifier(reader *r, tinytl_error *error) {
  tinytl_adapter *values = &r->values;
  if (r->backbone)
    values->n_features = r->backbone->arch.n_features;
  else
    TINYTL_TRY(
        read_dim(r, "classifier.weight", 1, TINYTL_MAX_CHANNELS, &values->n_features, error));
  const int dims[] = {values->n_classes, values->n_features};
  TINYTL_TRY(
      tinytl_safetensors_f32(r->file, "classifier.weight", 2, dims, &values->classifier, error));
  return tinytl_safetensors_f32(r->file, "classifier.bias", 1, dims, &values->classifier_bias,
                                error);
}

/* Finds "layers.<i>.NAME"; false where the file has none. */
static bool find_layer_tensor(const reader *r, int i, const char *name, char full_name[40]) {
  snprintf(full_name, 40, "layers.%d.%s", i, name);
  return tinytl_safetensors_find(r->file, full_name) != NULL;
}

/* One value a channel. */
static tinytl_status read_channels(reader *r, int i, const char *name, const float **channels,
                                   tinytl_error *error) {
  char full_name[40];
  int *out_c = &r->values.layer_out_c[i];
  if (!find_layer_tensor(r, i, name, full_name)) return TINYTL_OK;
  if (*out_c == 0) TINYTL_TRY(read_dim(r, full_name, 0, TINYTL_MAX_CHANNELS, out_c, error));
  return tinytl_safetensors_f32(r->file, full_name, 1, out_c, channels, error);
}

static tinytl_status read_weight(reader *r, int i, tinytl_error *error) {
  char name[40];
  int *n_dims = &r->values.layer_n_dims[i], *dims = r->values.layer_dims[i];
  if (!find_layer_tensor(r, i, "weight", name)) return TINYTL_OK;
  if (!r->backbone) {
    *n_dims = tinytl_safetensors_find(r->file, name)->n_dims == 3 ? 3 : 4;
    for (int d = 0; d < *n_dims; d++)
      TINYTL_TRY(read_dim(r, name, d, TINYTL_MAX_CHANNELS, &dims[d], error));
  }
  return tinytl_safetensors_f32(r->file, name, *n_dims, dims, &r->values.weight[i], error);
}

/* A layer without values of its own keeps the backbone's. */
static tinytl_status read_layers(reader *r, tinytl_error *error) {
  tinytl_adapter *values = &r->values;
  const int n_layers = r->backbone ? r->backbone->arch.n_layers : TINYTL_MAX_LAYERS;
  for (int i = 0; i < n_layers; i++) {
    if (r->backbone) {
      const tinytl_layer *layer = &r->backbone->arch.layers[i];
      values->layer_out_c[i] = layer->out_c;
      values->layer_n_dims[i] = tinytl_layer_dims(layer, values->layer_dims[i]);
    }
    TINYTL_TRY(read_channels(r, i, "bias", &values->bias[i], error));
    TINYTL_TRY(read_channels(r, i, "gain", &values->gain[i], error));
    TINYTL_TRY(read_weight(r, i, error));
    if (r->backbone || values->bias[i] || values->gain[i] || values->weight[i])
      values->n_layers = i + 1;
  }
  return TINYTL_OK;
}

/* in, out and stride of a module: the backbone's block, or as far as the tensors say. */
static tinytl_status complete_lite(const reader *r, tinytl_lite *lite, tinytl_error *error) {
  if (r->backbone) {
    if (lite->block >= r->backbone->arch.n_blocks)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: block %d of %d", r->where, lite->block,
                         r->backbone->arch.n_blocks);
    const tinytl_block *block = &r->backbone->arch.blocks[lite->block];
    lite->in_c = block->in_c;
    lite->out_c = block->out_c;
    lite->stride = block->stride;
    return TINYTL_OK;
  }
  char name[40];
  int conv_in = 0;
  snprintf(name, sizeof name, "lite.%d.conv.weight", lite->block);
  TINYTL_TRY(read_dim(r, name, 3, TINYTL_MAX_CHANNELS / lite->groups, &conv_in, error));
  lite->in_c = conv_in * lite->groups;
  snprintf(name, sizeof name, "lite.%d.pointwise.weight", lite->block);
  return read_dim(r, name, 0, TINYTL_MAX_CHANNELS, &lite->out_c, error);
}

static tinytl_status read_lite_shapes(reader *r, tinytl_error *error) {
  tinytl_adapter *values = &r->values;
  const char *text = find_meta(r, "tinytl.lite");
  if (!text) return TINYTL_OK;
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, r->where, &json, error));
  tinytl_status status =
      tinytl_lite_parse(json, r->where, values->lite_shape, &values->n_lite, error);
  json_decref(json);
  TINYTL_TRY(status);
  for (int i = 0; i < values->n_lite; i++) {
    const int block = values->lite_shape[i].block;
    /* Or one tensor would be many modules' values. */
    if (i > 0 && block <= values->lite_shape[i - 1].block)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: block %d comes after block %d", r->where,
                         block, values->lite_shape[i - 1].block);
    TINYTL_TRY(complete_lite(r, &values->lite_shape[i], error));
  }
  return TINYTL_OK;
}

/* The modules must fit beside the backbone's blocks. */
static tinytl_status check_lite(const reader *r, tinytl_error *error) {
  if (!r->backbone) return TINYTL_OK;
  tinytl_arch *arch = malloc(sizeof *arch);
  if (!arch) return tinytl_fail_memory(error, sizeof *arch);
  *arch = r->backbone->arch;
  arch->n_lite = r->values.n_lite;
  memcpy(arch->lite, r->values.lite_shape, sizeof arch->lite);
  tinytl_status status = tinytl_arch_check_lite(arch, r->where, error);
  free(arch);
  return status;
}

static tinytl_status read_adapter(reader *r, tinytl_adapter **adapter, tinytl_error *error) {
  TINYTL_TRY(read_meta(r, error));
  TINYTL_TRY(read_classifier(r, error));
  TINYTL_TRY(read_layers(r, error));
  TINYTL_TRY(read_lite_shapes(r, error));
  TINYTL_TRY(check_lite(r, error));
  for (int i = 0; i < r->values.n_lite; i++)
    TINYTL_TRY(tinytl_read_lite(r->file, &r->values.lite_shape[i], &r->values.lite[i], error));
  TINYTL_TRY(tinytl_safetensors_all_read(r->file, error));
  return tinytl_adapter_build(&r->values, adapter, error);
}

tinytl_status tinytl_adapter_open(const void *bytes, size_t nbytes, const char *name,
                                  const tinytl_backbone *backbone, tinytl_adapter **adapter,
                                  tinytl_error *error) {
  tinytl_safetensors *file = NULL;
  TINYTL_TRY(tinytl_safetensors_open(bytes, nbytes, name, &file, error));
  reader *r = calloc(1, sizeof *r);
  tinytl_status status = TINYTL_OK;
  if (r) {
    r->file = file;
    r->backbone = backbone;
    r->values.is_unchecked = backbone == NULL;
    status = read_adapter(r, adapter, error);
    free(r->values.class_names);
  } else {
    status = tinytl_fail_memory(error, sizeof *r);
  }
  free(r);
  tinytl_safetensors_free(file);
  return status;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static void list_tensors(tinytl_tensor_list *list, const tinytl_adapter *adapter) {
  const int dims[] = {adapter->n_classes, adapter->n_features};
  for (int i = 0; i < adapter->n_layers; i++) {
    char name[40];
    snprintf(name, sizeof name, "layers.%d.bias", i);
    if (adapter->bias[i])
      tinytl_tensor_list_f32(list, name, 1, &adapter->layer_out_c[i], adapter->bias[i]);
    snprintf(name, sizeof name, "layers.%d.gain", i);
    if (adapter->gain[i])
      tinytl_tensor_list_f32(list, name, 1, &adapter->layer_out_c[i], adapter->gain[i]);
    snprintf(name, sizeof name, "layers.%d.weight", i);
    if (adapter->weight[i])
      tinytl_tensor_list_f32(list, name, adapter->layer_n_dims[i], adapter->layer_dims[i],
                             adapter->weight[i]);
  }
  for (int i = 0; i < adapter->n_lite; i++)
    tinytl_tensor_list_lite(list, &adapter->lite_shape[i], &adapter->lite[i]);
  tinytl_tensor_list_f32(list, "classifier.weight", 2, dims, adapter->classifier);
  tinytl_tensor_list_f32(list, "classifier.bias", 1, dims, adapter->classifier_bias);
}

static char *print_number(float value) {
  tinytl_json_text json = {0};
  tinytl_json_put_float(&json, NULL, isnan(value) ? 0 : value);
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_adapter_write(const tinytl_adapter *adapter, tinytl_write_fn write,
                                   void *context, tinytl_error *error) {
  const tinytl_input geometry = {.size = adapter->image_size, .resize = adapter->resize};
  tinytl_tensor_list *list = calloc(1, sizeof *list);
  char *classes =
      tinytl_strings_print((const char *const *)adapter->class_names, adapter->n_classes);
  char *input = tinytl_input_print(&geometry, false);
  char *lite = tinytl_lite_print(adapter->lite_shape, adapter->n_lite);
  char *val_top1 = print_number(adapter->val_top1);
  char *temperature = print_number(adapter->temperature);
  char *reject_below = print_number(adapter->reject_below);
  tinytl_status status;
  if (list && classes && input && lite && val_top1 && temperature && reject_below) {
    list_tensors(list, adapter);
    const char *const meta[] = {"tinytl.format",
                                FORMAT,
                                "tinytl.method",
                                tinytl_method_name(adapter->method),
                                "tinytl.classes",
                                classes,
                                "tinytl.input",
                                input,
                                "tinytl.backbone",
                                adapter->backbone_sha256,
                                "tinytl.lite",
                                adapter->n_lite ? lite : NULL,
                                "tinytl.val_top1",
                                isnan(adapter->val_top1) ? NULL : val_top1,
                                "tinytl.temperature",
                                adapter->temperature == 1 ? NULL : temperature,
                                "tinytl.reject_below",
                                isnan(adapter->reject_below) ? NULL : reject_below,
                                NULL};
    status = tinytl_safetensors_write(meta, list->tensors, list->n, write, context, error);
  } else {
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for an adapter's header");
  }
  free(list);
  free(classes);
  free(input);
  free(lite);
  free(val_top1);
  free(temperature);
  free(reject_below);
  return status;
}
