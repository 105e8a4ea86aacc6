#include "format/arch_json.h"

#include "format/json_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const acts[] = {
    [TINYTL_ACT_NONE] = "none", [TINYTL_ACT_RELU] = "relu", [TINYTL_ACT_RELU6] = "relu6"};
static const char *const pads[] = {
    [TINYTL_PAD_SYMMETRIC] = "symmetric", [TINYTL_PAD_SAME] = "same"};

/* Index of the string field `key` among names [n]. */
static tinytl_status parse_choice(const json_t *object, const char *key, const char *const *names,
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

/* ---- Architecture ------------------------------------------------------------------------- */

static void put_lite(tinytl_json_text *json, const char *key, const tinytl_lite *lite, int n_lite) {
  tinytl_json_open(json, key, '[');
  for (int i = 0; i < n_lite; i++) {
    tinytl_json_open(json, NULL, '{');
    tinytl_json_put_int(json, "block", lite[i].block);
    tinytl_json_put_int(json, "kernel", lite[i].kernel);
    tinytl_json_put_int(json, "groups", lite[i].groups);
    tinytl_json_put_int(json, "mid", lite[i].mid_c);
    tinytl_json_close(json, '}');
  }
  tinytl_json_close(json, ']');
}

static void put_layer(tinytl_json_text *json, const tinytl_layer *layer) {
  tinytl_json_open(json, NULL, '{');
  tinytl_json_put_int(json, "in", layer->in_c);
  tinytl_json_put_int(json, "out", layer->out_c);
  tinytl_json_put_int(json, "kernel", layer->kernel);
  tinytl_json_put_int(json, "stride", layer->stride);
  tinytl_json_put_int(json, "groups", layer->groups);
  tinytl_json_put_string(json, "act", acts[layer->act]);
  tinytl_json_put_string(json, "pad", pads[layer->pad]);
  if (layer->add >= 0)
    tinytl_json_put_int(json, "add", layer->add);
  else
    tinytl_json_put_null(json, "add");
  tinytl_json_close(json, '}');
}

char *tinytl_arch_print(const tinytl_arch *arch) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_string(&json, "name", arch->name);
  tinytl_json_open(&json, "layers", '[');
  for (int i = 0; i < arch->n_layers; i++) put_layer(&json, &arch->layers[i]);
  tinytl_json_close(&json, ']');
  tinytl_json_put_int(&json, "features", arch->n_features);
  tinytl_json_put_int(&json, "classes", arch->n_classes);
  put_lite(&json, "lite", arch->lite, arch->n_lite);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

char *tinytl_lite_print(const tinytl_lite *lite, int n_lite) {
  tinytl_json_text json = {0};
  put_lite(&json, NULL, lite, n_lite);
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_layer_parse(const json_t *object, const char *where, tinytl_layer *layer,
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

static tinytl_status parse_layers(const json_t *array, const char *where, tinytl_arch *arch,
                                  tinytl_error *error) {
  const json_t *item;
  size_t i;
  json_array_foreach(array, i, item) {
    char place[256];
    tinytl_format(place, sizeof place, "%s: layer %d", where, arch->n_layers);
    if (arch->n_layers == TINYTL_MAX_LAYERS)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: at most %d layers are supported", where,
                         TINYTL_MAX_LAYERS);
    tinytl_layer *layer = &arch->layers[arch->n_layers++];
    int pad = 0;
    TINYTL_TRY(tinytl_layer_parse(item, place, layer, error));
    TINYTL_TRY(parse_choice(item, "pad", pads, 2, place, &pad, error));
    layer->pad = (tinytl_pad)pad;
    layer->add = -1;
    if (!json_is_null(json_object_get(item, "add")))
      TINYTL_TRY(tinytl_json_int(item, "add", 0, TINYTL_MAX_LAYERS, place, &layer->add, error));
  }
  return TINYTL_OK;
}

tinytl_status tinytl_lite_parse(const json_t *array, const char *where, tinytl_lite *lite,
                                int *n_lite, tinytl_error *error) {
  const json_t *item;
  size_t i;
  *n_lite = 0;
  if (!json_is_array(array))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: lite must be an array", where);
  json_array_foreach(array, i, item) {
    char place[256];
    tinytl_format(place, sizeof place, "%s: lite module %d", where, *n_lite);
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

static tinytl_status arch_from_json(const json_t *json, const char *where, tinytl_arch *arch,
                                    tinytl_error *error) {
  const char *name = NULL;
  const json_t *layers = NULL, *lite = json_object_get(json, "lite");
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
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = arch_from_json(json, where, arch, error);
  json_decref(json);
  return status;
}

/* ---- Input -------------------------------------------------------------------------------- */

static void put_floats(tinytl_json_text *json, const char *key, const float values[3]) {
  tinytl_json_open(json, key, '[');
  for (int i = 0; i < 3; i++) tinytl_json_put_float(json, NULL, values[i]);
  tinytl_json_close(json, ']');
}

char *tinytl_input_print(const tinytl_input *input, bool normalisation) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "size", input->size);
  tinytl_json_put_int(&json, "resize", input->resize);
  if (normalisation) {
    put_floats(&json, "mean", input->mean);
    put_floats(&json, "std", input->std);
  }
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_input_check(const tinytl_input *input, const char *where,
                                 tinytl_error *error) {
  if (input->size < 1 || input->size > TINYTL_MAX_IMAGE_SIZE || input->resize < input->size ||
      input->resize > TINYTL_MAX_IMAGE_SIZE)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected 1 <= size <= resize <= %d, found size %d, resize %d", where,
                       TINYTL_MAX_IMAGE_SIZE, input->size, input->resize);
  for (int c = 0; c < 3; c++)
    if (!isfinite(input->mean[c]) || !isfinite(input->std[c]) || !isfinite(1 / input->std[c]) ||
        input->std[c] < 0)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: mean must be finite and std above 0 and finite, found %g and %g",
                         where, (double)input->mean[c], (double)input->std[c]);
  return TINYTL_OK;
}

static tinytl_status input_from_json(const json_t *json, bool normalisation, const char *where,
                                     tinytl_input *input, tinytl_error *error) {
  *input = (tinytl_input){.std = {1, 1, 1}};
  TINYTL_TRY(tinytl_json_int(json, "size", 1, TINYTL_MAX_IMAGE_SIZE, where, &input->size, error));
  TINYTL_TRY(
      tinytl_json_int(json, "resize", 1, TINYTL_MAX_IMAGE_SIZE, where, &input->resize, error));
  if (normalisation) {
    TINYTL_TRY(tinytl_json_floats(json, "mean", 3, where, input->mean, error));
    TINYTL_TRY(tinytl_json_floats(json, "std", 3, where, input->std, error));
  }
  return tinytl_input_check(input, where, error);
}

tinytl_status tinytl_input_parse(const char *text, bool normalisation, const char *where,
                                 tinytl_input *input, tinytl_error *error) {
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = input_from_json(json, normalisation, where, input, error);
  json_decref(json);
  return status;
}

/* ---- Lists of strings --------------------------------------------------------------------- */

char *tinytl_strings_print(const char *const *strings, int n) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '[');
  for (int i = 0; i < n; i++) tinytl_json_put_string(&json, NULL, strings[i]);
  tinytl_json_close(&json, ']');
  return tinytl_json_finish(&json);
}

size_t tinytl_strings_print_nbytes(const char *const *strings, int n) {
  size_t nbytes = 0;
  for (int i = 0; i < n; i++) /* with a comma */
    nbytes += tinytl_json_string_nbytes(strings[i], false) +
              tinytl_json_string_nbytes(strings[i], true) + 2;
  return 2 * nbytes;
}

tinytl_status tinytl_strings_parse(const char *text, const char *where, char ***strings, int *n,
                                   tinytl_error *error) {
  json_t *json = NULL;
  TINYTL_TRY(tinytl_json_parse_bytes(text, where, &json, error));
  tinytl_status status = tinytl_json_strings(json, where, strings, n, error);
  json_decref(json);
  return status;
}
