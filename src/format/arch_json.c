#include "format/arch_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_IMAGE_SIZE = 4096 };

static const char *const acts[] = {
    [TINYTL_ACT_NONE] = "none", [TINYTL_ACT_RELU] = "relu", [TINYTL_ACT_RELU6] = "relu6"};
static const char *const pads[] = {
    [TINYTL_PAD_SYMMETRIC] = "symmetric", [TINYTL_PAD_SAME] = "same"};

/* Index of the string field `key` among names [n]. */
static tinytl_status parse_choice(const cJSON *object, const char *key, const char *const *names,
                                  int n, const char *where, int *choice, tinytl_error *error) {
  const char *found = NULL;
  TINYTL_TRY(tinytl_json_string(object, key, where, &found, error));
  for (int i = 0; i < n; i++)
    if (strcmp(found, names[i]) == 0) {
      *choice = i;
      return TINYTL_OK;
    }
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"%s\": \"%.40s\" is not supported", where,
                     key, found);
}

/* Prints `json`, which may be NULL, and deletes it. */
static char *print_and_delete(cJSON *json) {
  char *text = json ? tinytl_json_print_bytes(json) : NULL;
  cJSON_Delete(json);
  return text;
}

/* ---- Architecture ------------------------------------------------------------------------- */

static cJSON *lite_to_json(const tinytl_lite *lite, int n_lite) {
  cJSON *array = cJSON_CreateArray();
  for (int i = 0; i < n_lite; i++) {
    cJSON *item = cJSON_CreateObject();
    cJSON_AddNumberToObject(item, "block", lite[i].block);
    cJSON_AddNumberToObject(item, "kernel", lite[i].kernel);
    cJSON_AddNumberToObject(item, "groups", lite[i].groups);
    cJSON_AddNumberToObject(item, "mid", lite[i].mid_c);
    cJSON_AddItemToArray(array, item);
  }
  return array;
}

static cJSON *layer_to_json(const tinytl_layer *layer) {
  cJSON *item = cJSON_CreateObject();
  cJSON_AddNumberToObject(item, "in", layer->in_c);
  cJSON_AddNumberToObject(item, "out", layer->out_c);
  cJSON_AddNumberToObject(item, "kernel", layer->kernel);
  cJSON_AddNumberToObject(item, "stride", layer->stride);
  cJSON_AddNumberToObject(item, "groups", layer->groups);
  cJSON_AddStringToObject(item, "act", acts[layer->act]);
  cJSON_AddStringToObject(item, "pad", pads[layer->pad]);
  if (layer->add >= 0)
    cJSON_AddNumberToObject(item, "add", layer->add);
  else
    cJSON_AddNullToObject(item, "add");
  return item;
}

char *tinytl_arch_print(const tinytl_arch *arch) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "name", arch->name);
  cJSON *layers = cJSON_AddArrayToObject(json, "layers");
  for (int i = 0; i < arch->n_layers; i++)
    cJSON_AddItemToArray(layers, layer_to_json(&arch->layers[i]));
  cJSON_AddNumberToObject(json, "features", arch->n_features);
  cJSON_AddNumberToObject(json, "classes", arch->n_classes);
  cJSON_AddItemToObject(json, "lite", lite_to_json(arch->lite, arch->n_lite));
  return print_and_delete(json);
}

char *tinytl_lite_print(const tinytl_lite *lite, int n_lite) {
  return print_and_delete(lite_to_json(lite, n_lite));
}

tinytl_status tinytl_layer_parse(const cJSON *object, const char *where, tinytl_layer *layer,
                                 tinytl_error *error) {
  int act = 0;
  const int most = TINYTL_MAX_CHANNELS;
  TINYTL_TRY(tinytl_json_int(object, "in", 1, most, where, &layer->in_c, error));
  TINYTL_TRY(tinytl_json_int(object, "out", 1, most, where, &layer->out_c, error));
  TINYTL_TRY(tinytl_json_int(object, "kernel", 1, TINYTL_MAX_KERNEL, where, &layer->kernel, error));
  TINYTL_TRY(tinytl_json_int(object, "stride", 1, TINYTL_MAX_KERNEL, where, &layer->stride, error));
  TINYTL_TRY(tinytl_json_int(object, "groups", 1, most, where, &layer->groups, error));
  TINYTL_TRY(parse_choice(object, "act", acts, 3, where, &act, error));
  layer->act = (tinytl_act)act;
  return TINYTL_OK;
}

static tinytl_status parse_layers(const cJSON *array, const char *where, tinytl_arch *arch,
                                  tinytl_error *error) {
  const cJSON *item;
  cJSON_ArrayForEach(item, array) {
    char place[256];
    snprintf(place, sizeof place, "%.220s: layer %d", where, arch->n_layers);
    if (arch->n_layers == TINYTL_MAX_LAYERS)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: at most %d layers are supported", where,
                         TINYTL_MAX_LAYERS);
    tinytl_layer *layer = &arch->layers[arch->n_layers++];
    int pad = 0;
    TINYTL_TRY(tinytl_layer_parse(item, place, layer, error));
    TINYTL_TRY(parse_choice(item, "pad", pads, 2, place, &pad, error));
    layer->pad = (tinytl_pad)pad;
    layer->add = -1;
    if (!cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(item, "add")))
      TINYTL_TRY(tinytl_json_int(item, "add", 0, TINYTL_MAX_LAYERS, place, &layer->add, error));
  }
  return TINYTL_OK;
}

tinytl_status tinytl_lite_parse(const cJSON *array, const char *where, tinytl_lite *lite,
                                int *n_lite, tinytl_error *error) {
  const cJSON *item;
  *n_lite = 0;
  if (!cJSON_IsArray(array))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: lite must be an array", where);
  cJSON_ArrayForEach(item, array) {
    char place[256];
    snprintf(place, sizeof place, "%.220s: lite module %d", where, *n_lite);
    if (*n_lite == TINYTL_MAX_LAYERS / 2)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: at most %d lite modules are supported",
                         where, TINYTL_MAX_LAYERS / 2);
    tinytl_lite *module = &lite[(*n_lite)++];
    const int most = TINYTL_MAX_CHANNELS;
    *module = (tinytl_lite){0};
    TINYTL_TRY(tinytl_json_int(item, "block", 0, TINYTL_MAX_LAYERS, place, &module->block, error));
    TINYTL_TRY(
        tinytl_json_int(item, "kernel", 1, TINYTL_MAX_KERNEL, place, &module->kernel, error));
    TINYTL_TRY(tinytl_json_int(item, "groups", 1, most, place, &module->groups, error));
    TINYTL_TRY(tinytl_json_int(item, "mid", 1, most, place, &module->mid_c, error));
  }
  return TINYTL_OK;
}

static tinytl_status arch_from_json(const cJSON *json, const char *where, tinytl_arch *arch,
                                    tinytl_error *error) {
  const char *name = NULL;
  const cJSON *layers = NULL, *lite = cJSON_GetObjectItemCaseSensitive(json, "lite");
  int n_features = 0;
  memset(arch, 0, sizeof *arch);
  TINYTL_TRY(tinytl_json_string(json, "name", where, &name, error));
  snprintf(arch->name, sizeof arch->name, "%s", name);
  TINYTL_TRY(tinytl_json_array(json, "layers", where, &layers, error));
  TINYTL_TRY(parse_layers(layers, where, arch, error));
  TINYTL_TRY(
      tinytl_json_int(json, "classes", 0, TINYTL_MAX_CLASSES, where, &arch->n_classes, error));
  TINYTL_TRY(tinytl_arch_finish(arch, where, error));
  TINYTL_TRY(tinytl_json_int(json, "features", arch->n_features, arch->n_features, where,
                             &n_features, error));
  if (!lite) return TINYTL_OK;
  TINYTL_TRY(tinytl_lite_parse(lite, where, arch->lite, &arch->n_lite, error));
  for (int i = 0; i < arch->n_lite; i++) {
    const int b = arch->lite[i].block;
    if (b >= arch->n_blocks) break; /* tinytl_arch_check_lite explains */
    arch->lite[i].in_c = arch->blocks[b].in_c;
    arch->lite[i].out_c = arch->blocks[b].out_c;
    arch->lite[i].stride = arch->blocks[b].stride;
  }
  return tinytl_arch_check_lite(arch, where, error);
}

tinytl_status tinytl_arch_parse(const char *text, const char *where, tinytl_arch *arch,
                                tinytl_error *error) {
  cJSON *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = arch_from_json(json, where, arch, error);
  cJSON_Delete(json);
  return status;
}

/* ---- Input -------------------------------------------------------------------------------- */

static void add_floats(cJSON *json, const char *key, const float values[3]) {
  cJSON *array = cJSON_AddArrayToObject(json, key);
  for (int i = 0; i < 3; i++) cJSON_AddItemToArray(array, tinytl_json_float(values[i]));
}

char *tinytl_input_print(const tinytl_input *input, bool normalisation) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "size", input->size);
  cJSON_AddNumberToObject(json, "resize", input->resize);
  if (normalisation) {
    add_floats(json, "mean", input->mean);
    add_floats(json, "std", input->std);
  }
  return print_and_delete(json);
}

tinytl_status tinytl_input_check(const tinytl_input *input, const char *where,
                                 tinytl_error *error) {
  if (input->size < 1 || input->size > MAX_IMAGE_SIZE || input->resize < input->size ||
      input->resize > MAX_IMAGE_SIZE)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected 1 <= size <= resize <= %d, found size %d, resize %d", where,
                       MAX_IMAGE_SIZE, input->size, input->resize);
  for (int c = 0; c < 3; c++)
    if (!isfinite(input->mean[c]) || !(input->std[c] > 0) || !isfinite(1 / input->std[c]))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: mean must be finite and std above 0, found %g and %g", where,
                         (double)input->mean[c], (double)input->std[c]);
  return TINYTL_OK;
}

static tinytl_status input_from_json(const cJSON *json, bool normalisation, const char *where,
                                     tinytl_input *input, tinytl_error *error) {
  *input = (tinytl_input){.std = {1, 1, 1}};
  TINYTL_TRY(tinytl_json_int(json, "size", 1, MAX_IMAGE_SIZE, where, &input->size, error));
  TINYTL_TRY(tinytl_json_int(json, "resize", 1, MAX_IMAGE_SIZE, where, &input->resize, error));
  if (normalisation) {
    TINYTL_TRY(tinytl_json_floats(json, "mean", 3, where, input->mean, error));
    TINYTL_TRY(tinytl_json_floats(json, "std", 3, where, input->std, error));
  }
  return tinytl_input_check(input, where, error);
}

tinytl_status tinytl_input_parse(const char *text, bool normalisation, const char *where,
                                 tinytl_input *input, tinytl_error *error) {
  cJSON *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = input_from_json(json, normalisation, where, input, error);
  cJSON_Delete(json);
  return status;
}

/* ---- Lists of strings --------------------------------------------------------------------- */

char *tinytl_strings_print(const char *const *strings, int n) {
  return print_and_delete(n > 0 ? cJSON_CreateStringArray(strings, n) : cJSON_CreateArray());
}

tinytl_status tinytl_strings_parse(const char *text, const char *where, char ***strings, int *n,
                                   tinytl_error *error) {
  cJSON *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = tinytl_json_strings(json, where, strings, n, error);
  cJSON_Delete(json);
  return status;
}
