/* The backbone file: docs/format.md. */
#include "format/arch_json.h"
#include "format/tensor_list.h"
#include "model/strings.h"

#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>

#define FORMAT "backbone 1"

/* ---- Reading ------------------------------------------------------------------------------ */

static tinytl_status read_tensors(const tinytl_safetensors *file, tinytl_backbone *backbone,
                                  tinytl_error *error) {
  const tinytl_arch *arch = &backbone->arch;
  char name[40];
  int dims[4];
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    snprintf(name, sizeof name, "layers.%d", i);
    TINYTL_TRY(tinytl_read_weight(file, name, tinytl_layer_dims(layer, dims), dims, layer->out_c,
                                  &backbone->weight[i], error));
    snprintf(name, sizeof name, "layers.%d.bias", i);
    TINYTL_TRY(tinytl_safetensors_f32(file, name, 1, &layer->out_c, &backbone->bias[i], error));
  }
  for (int i = 0; i < arch->n_lite; i++)
    TINYTL_TRY(tinytl_read_lite(file, &arch->lite[i], &backbone->lite[i], error));
  if (arch->n_classes > 0) {
    const int shape[] = {arch->n_classes, arch->n_features};
    TINYTL_TRY(tinytl_read_weight(file, "classifier", 2, shape, arch->n_classes,
                                  &backbone->classifier, error));
    TINYTL_TRY(tinytl_safetensors_f32(file, "classifier.bias", 1, shape, &backbone->classifier_bias,
                                      error));
  }
  return tinytl_safetensors_all_read(file, error);
}

static tinytl_weights weights_type(const tinytl_backbone *backbone) {
  for (int i = 0; i < backbone->arch.n_layers; i++)
    if (backbone->weight[i].i8) return TINYTL_WEIGHTS_INT8;
  return backbone->classifier.i8 ? TINYTL_WEIGHTS_INT8 : TINYTL_WEIGHTS_F32;
}

static tinytl_status read_labels(const char *text, const char *where, tinytl_backbone *backbone,
                                 tinytl_error *error) {
  if (!text) return TINYTL_OK;
  TINYTL_TRY(tinytl_strings_parse(text, where, &backbone->labels, &backbone->n_labels, error));
  if (backbone->n_labels != backbone->arch.n_classes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected %d labels, found %d", where,
                       backbone->arch.n_classes, backbone->n_labels);
  return TINYTL_OK;
}

static tinytl_status check_format(const tinytl_safetensors *file, tinytl_error *error) {
  if (tinytl_safetensors_meta(file, "tinytl.format"))
    return tinytl_safetensors_need_format(file, FORMAT, error);
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "%s: tinytl.format is missing, so this is no backbone; 'tinytl import' makes "
                     "one of other weights",
                     tinytl_safetensors_name(file));
}

static tinytl_status read_backbone(const tinytl_safetensors *file, tinytl_backbone *backbone,
                                   tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  const char *text = NULL;
  TINYTL_TRY(check_format(file, error));
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.arch", where, &text, error));
  TINYTL_TRY(tinytl_arch_parse(text, where, &backbone->arch, error));
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.input", where, &text, error));
  TINYTL_TRY(tinytl_input_parse(text, true, where, &backbone->input, error));
  tinytl_format(where, sizeof where, "%s: tinytl.labels", tinytl_safetensors_name(file));
  TINYTL_TRY(read_labels(tinytl_safetensors_meta(file, "tinytl.labels"), where, backbone, error));
  TINYTL_TRY(tinytl_string_copy(tinytl_safetensors_meta(file, "source"), &backbone->source, error));
  TINYTL_TRY(
      tinytl_string_copy(tinytl_safetensors_meta(file, "licence"), &backbone->licence, error));
  TINYTL_TRY(read_tensors(file, backbone, error));
  backbone->weights_type = weights_type(backbone);
  return TINYTL_OK;
}

tinytl_status tinytl_backbone_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_backbone **backbone, tinytl_error *error) {
  tinytl_safetensors *file = NULL;
  TINYTL_TRY(tinytl_safetensors_open(bytes, nbytes, name, &file, error));
  tinytl_backbone *opened = calloc(1, sizeof *opened);
  tinytl_status status =
      opened ? read_backbone(file, opened, error) : tinytl_fail_memory(error, sizeof *opened);
  tinytl_safetensors_free(file);
  if (status != TINYTL_OK) {
    tinytl_backbone_free(opened);
    return status;
  }
  SHA256Data(bytes, nbytes, opened->sha256);
  *backbone = opened;
  return TINYTL_OK;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static void list_tensors(tinytl_tensor_list *list, const tinytl_backbone *backbone) {
  const tinytl_arch *arch = &backbone->arch;
  for (int i = 0; i < arch->n_layers; i++) {
    char prefix[24];
    int dims[4];
    snprintf(prefix, sizeof prefix, "layers.%d", i);
    const int n_dims = tinytl_layer_dims(&arch->layers[i], dims);
    tinytl_tensor_list_weight(list, prefix, n_dims, dims, arch->layers[i].out_c,
                              &backbone->weight[i]);
    snprintf(prefix, sizeof prefix, "layers.%d.bias", i);
    tinytl_tensor_list_f32(list, prefix, 1, &arch->layers[i].out_c, backbone->bias[i]);
  }
  for (int i = 0; i < arch->n_lite; i++)
    tinytl_tensor_list_lite(list, &arch->lite[i], &backbone->lite[i]);
  if (arch->n_classes == 0) return;
  tinytl_tensor_list_weight(list, "classifier", 2, (const int[]){arch->n_classes, arch->n_features},
                            arch->n_classes, &backbone->classifier);
  tinytl_tensor_list_f32(list, "classifier.bias", 1, &arch->n_classes, backbone->classifier_bias);
}

/* NULL, so that the key is left out, for an empty string. */
static const char *or_null(const char *text) {
  return text && *text ? text : NULL;
}

tinytl_status tinytl_backbone_write(const tinytl_backbone *backbone, tinytl_write_fn write,
                                    void *context, tinytl_error *error) {
  tinytl_tensor_list *list = calloc(1, sizeof *list);
  char *arch = tinytl_arch_print(&backbone->arch);
  char *input = tinytl_input_print(&backbone->input, true);
  char *labels = tinytl_strings_print((const char *const *)backbone->labels, backbone->n_labels);
  tinytl_status status;
  if (list && arch && input && labels) {
    list_tensors(list, backbone);
    const char *const meta[] = {"tinytl.format",
                                FORMAT,
                                "tinytl.arch",
                                arch,
                                "tinytl.input",
                                input,
                                "tinytl.labels",
                                backbone->n_labels ? labels : NULL,
                                "source",
                                or_null(backbone->source),
                                "licence",
                                or_null(backbone->licence),
                                NULL};
    status = tinytl_safetensors_write(meta, list->tensors, list->n, write, context, error);
  } else {
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a backbone's header");
  }
  free(list);
  free(arch);
  free(input);
  free(labels);
  return status;
}
