/* Import of a safetensors file that describes a chain of convolutions in its metadata:
 *
 *   architecture  {"input": [3, S, S], "padding": "tf_same" | "symmetric",
 *                  "layers": [{"name", "in", "out", "kernel", "stride", "groups", "act",
 *                              "add": null | name of an earlier layer}, ...],
 *                  "pool": "global_average", "classifier": {"name", "in", "out"}}
 *   preprocess    {"resize_short", "mean": [3], "std": [3]}, of pixel / 255
 *
 * Tensors are float32: NAME.weight [out][in / groups][kernel][kernel], NAME.bias [out]. */
#include "format/arch_json.h"
#include "format/import.h"
#include "format/imported.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a description is read into; names point into the JSON. */
typedef struct chain {
  const tinytl_safetensors *file;
  json_t *architecture, *preprocess;
  const char *names[TINYTL_MAX_LAYERS];
  const char *classifier;
  tinytl_backbone values;
} chain;

/* ---- Description -------------------------------------------------------------------------- */

static tinytl_status parse_add(const json_t *item, const chain *c, const char *where, int *add,
                               tinytl_error *error) {
  const char *name = NULL;
  *add = -1;
  if (json_is_null(json_object_get(item, "add"))) return TINYTL_OK;
  TINYTL_TRY(tinytl_json_string(item, "add", where, &name, error));
  for (int i = 0; i < c->values.arch.n_layers; i++)
    if (strcmp(c->names[i], name) == 0) {
      *add = i;
      return TINYTL_OK;
    }
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: adds \"%.60s\", which is no earlier layer",
                     where, name);
}

static tinytl_status parse_layers(chain *c, tinytl_pad pad, const char *where,
                                  tinytl_error *error) {
  tinytl_arch *arch = &c->values.arch;
  const json_t *layers = NULL, *item;
  size_t i;
  TINYTL_TRY(tinytl_json_array(c->architecture, "layers", where, &layers, error));
  json_array_foreach(layers, i, item) {
    char place[256];
    tinytl_format(place, sizeof place, "%s: layer %d", where, arch->n_layers);
    if (arch->n_layers == TINYTL_MAX_LAYERS)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: at most %d layers are supported", where,
                         TINYTL_MAX_LAYERS);
    tinytl_layer *layer = &arch->layers[arch->n_layers];
    TINYTL_TRY(tinytl_json_string(item, "name", place, &c->names[arch->n_layers], error));
    TINYTL_TRY(tinytl_layer_parse(item, place, layer, error));
    TINYTL_TRY(parse_add(item, c, place, &layer->add, error));
    layer->pad = pad;
    arch->n_layers++;
  }
  return TINYTL_OK;
}

static tinytl_status parse_padding(const chain *c, const char *where, tinytl_pad *pad,
                                   tinytl_error *error) {
  const char *padding = NULL, *pool = NULL;
  TINYTL_TRY(tinytl_json_string(c->architecture, "pool", where, &pool, error));
  if (strcmp(pool, "global_average") != 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected pool \"global_average\", found \"%.40s\"", where, pool);
  TINYTL_TRY(tinytl_json_string(c->architecture, "padding", where, &padding, error));
  if (strcmp(padding, "tf_same") != 0 && strcmp(padding, "symmetric") != 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected padding \"tf_same\" or \"symmetric\", found \"%.40s\"", where,
                       padding);
  *pad = strcmp(padding, "tf_same") == 0 ? TINYTL_PAD_SAME : TINYTL_PAD_SYMMETRIC;
  return TINYTL_OK;
}

static tinytl_status parse_architecture(chain *c, const char *where, tinytl_error *error) {
  tinytl_arch *arch = &c->values.arch;
  tinytl_pad pad = TINYTL_PAD_SAME;
  float shape[3];
  TINYTL_TRY(tinytl_json_floats(c->architecture, "input", 3, where, shape, error));
  if (shape[0] != 3 || shape[1] != shape[2] ||
      !(shape[1] >= 1 && shape[1] <= TINYTL_MAX_IMAGE_SIZE) || shape[1] != floorf(shape[1]))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected an input of 3 channels and a square of 1 to %d whole pixels, "
                       "found [%g, %g, %g]",
                       where, TINYTL_MAX_IMAGE_SIZE, (double)shape[0], (double)shape[1],
                       (double)shape[2]);
  c->values.input.size = (int)shape[1];
  TINYTL_TRY(parse_padding(c, where, &pad, error));
  TINYTL_TRY(parse_layers(c, pad, where, error));

  const json_t *classifier = json_object_get(c->architecture, "classifier");
  TINYTL_TRY(tinytl_json_string(classifier, "name", where, &c->classifier, error));
  TINYTL_TRY(
      tinytl_json_int(classifier, "out", 1, TINYTL_MAX_CLASSES, where, &arch->n_classes, error));
  tinytl_import_name(tinytl_safetensors_name(c->file), arch->name);
  return tinytl_arch_finish(arch, where, error);
}

static tinytl_status parse_preprocess(chain *c, const char *where, tinytl_error *error) {
  tinytl_input *input = &c->values.input;
  TINYTL_TRY(tinytl_json_int(c->preprocess, "resize_short", 1, TINYTL_MAX_IMAGE_SIZE, where,
                             &input->resize, error));
  TINYTL_TRY(tinytl_json_floats(c->preprocess, "mean", 3, where, input->mean, error));
  TINYTL_TRY(tinytl_json_floats(c->preprocess, "std", 3, where, input->std, error));
  return tinytl_input_check(input, where, error);
}

/* ---- Tensors ------------------------------------------------------------------------------ */

/* Copies weight and bias of a layer to *next, which moves on. n_dims is 4, or 2 for a classifier.
 */
static tinytl_status read_layer(const chain *c, const char *prefix, const tinytl_layer *layer,
                                int n_dims, float **next, const float **weight, const float **bias,
                                tinytl_error *error) {
  const int dims[] = {layer->out_c, layer->in_c / layer->groups, layer->kernel, layer->kernel};
  const tinytl_tensor *tensor = NULL;
  char name[128];
  snprintf(name, sizeof name, "%.100s.weight", prefix);
  TINYTL_TRY(
      tinytl_safetensors_expect(c->file, name, TINYTL_DTYPE_F32, n_dims, dims, &tensor, error));
  tinytl_import_reorder(layer, tensor->data, NULL, *next);
  *weight = *next;
  *next += tensor->nbytes / sizeof **next;
  snprintf(name, sizeof name, "%.100s.bias", prefix);
  TINYTL_TRY(tinytl_safetensors_expect(c->file, name, TINYTL_DTYPE_F32, 1, dims, &tensor, error));
  *bias = memcpy(*next, tensor->data, tensor->nbytes);
  *next += layer->out_c;
  return TINYTL_OK;
}

static tinytl_status read_tensors(chain *c, float *next, tinytl_error *error) {
  tinytl_backbone *values = &c->values;
  const tinytl_layer classifier = tinytl_classifier_layer(&values->arch);
  for (int i = 0; i < values->arch.n_layers; i++)
    TINYTL_TRY(read_layer(c, c->names[i], &values->arch.layers[i], 4, &next, &values->weight[i].f32,
                          &values->bias[i], error));
  TINYTL_TRY(read_layer(c, c->classifier, &classifier, 2, &next, &values->classifier.f32,
                        &values->classifier_bias, error));
  return tinytl_safetensors_all_read(c->file, error);
}

/* Values that the layers take, which must be as many as the file holds: then nothing is larger than
 * the file. */
static tinytl_status count_values(const chain *c, size_t *n, tinytl_error *error) {
  const tinytl_arch *arch = &c->values.arch;
  size_t found = 0;
  for (int i = 0; i < tinytl_safetensors_n(c->file); i++) {
    const tinytl_tensor *tensor = tinytl_safetensors_at(c->file, i);
    if (tensor->dtype != TINYTL_DTYPE_F32)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%.80s\": expected dtype F32",
                         tinytl_safetensors_name(c->file), tensor->name);
    found += tensor->nbytes / sizeof(float);
  }
  *n = (size_t)arch->n_classes * ((size_t)arch->n_features + 1);
  for (int i = 0; i < arch->n_layers && *n <= found; i++)
    *n += tinytl_layer_n_weights(&arch->layers[i]) + (size_t)arch->layers[i].out_c;
  if (found != *n)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: the architecture takes %s%zu values, the tensors hold %zu",
                       tinytl_safetensors_name(c->file), *n > found ? "at least " : "", *n, found);
  return TINYTL_OK;
}

/* ---- Import ------------------------------------------------------------------------------- */

static tinytl_status parse_meta(const chain *c, const char *key, char where[TINYTL_ST_WHERE],
                                json_t **json, tinytl_error *error) {
  const char *text = NULL;
  TINYTL_TRY(tinytl_safetensors_need_meta(c->file, key, where, &text, error));
  return tinytl_json_parse(text, strlen(text), where, json, error);
}

static tinytl_status import(chain *c, tinytl_weights weights, tinytl_backbone **backbone,
                            tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  TINYTL_TRY(parse_meta(c, "architecture", where, &c->architecture, error));
  TINYTL_TRY(parse_architecture(c, where, error));
  TINYTL_TRY(parse_meta(c, "preprocess", where, &c->preprocess, error));
  TINYTL_TRY(parse_preprocess(c, where, error));
  c->values.source = (char *)tinytl_safetensors_meta(c->file, "source");
  c->values.licence = (char *)tinytl_safetensors_meta(c->file, "licence");

  size_t n = 0;
  TINYTL_TRY(count_values(c, &n, error));
  float *block = malloc(n * sizeof *block);
  if (!block) return tinytl_fail_memory(error, n * sizeof *block);
  tinytl_status status = read_tensors(c, block, error);
  if (status == TINYTL_OK)
    status =
        tinytl_import_build(&c->values, tinytl_safetensors_name(c->file), weights, backbone, error);
  free(block);
  return status;
}

tinytl_status tinytl_import_chain(const tinytl_safetensors *file, tinytl_weights weights,
                                  tinytl_backbone **backbone, tinytl_error *error) {
  chain *c = calloc(1, sizeof *c);
  if (!c) return tinytl_fail_memory(error, sizeof *c);
  c->file = file;
  tinytl_status status = import(c, weights, backbone, error);
  json_decref(c->architecture);
  json_decref(c->preprocess);
  free(c);
  return status;
}
