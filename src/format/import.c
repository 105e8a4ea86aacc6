#include "format/import.h"

#include <stdio.h>
#include <string.h>

void tinytl_import_name(const char *file, char name[64]) {
  const char *base = strrchr(file, '/');
  base = base ? base + 1 : file;
  const char *dot = strrchr(base, '.');
  const size_t length = dot && dot > base ? (size_t)(dot - base) : strlen(base);
  snprintf(name, 64, "%.*s", length < 63 ? (int)length : 63, base);
}

tinytl_status tinytl_import_build(const tinytl_backbone *values, const char *file,
                                  tinytl_weights weights, tinytl_backbone **backbone,
                                  tinytl_error *error) {
  tinytl_error reason;
  const tinytl_status status = tinytl_backbone_build(values, weights, backbone, &reason);
  if (status != TINYTL_OK) return tinytl_fail(error, status, "%s: %s", file, reason.message);
  return TINYTL_OK;
}

/* A backbone file of this project is built anew, with the weights asked for. */
static tinytl_status import_backbone(const void *bytes, size_t nbytes, const char *name,
                                     tinytl_weights weights, tinytl_backbone **backbone,
                                     tinytl_error *error) {
  tinytl_backbone *opened = NULL;
  TINYTL_TRY(tinytl_backbone_open(bytes, nbytes, name, &opened, error));
  tinytl_status status = tinytl_import_build(opened, name, weights, backbone, error);
  tinytl_backbone_free(opened);
  return status;
}

static tinytl_status import_safetensors(const void *bytes, size_t nbytes, const char *name,
                                        tinytl_weights weights, tinytl_backbone **backbone,
                                        tinytl_error *error) {
  tinytl_safetensors *file = NULL;
  tinytl_status status;
  TINYTL_TRY(tinytl_safetensors_open(bytes, nbytes, name, &file, error));
  if (tinytl_safetensors_meta(file, "tinytl.format"))
    status = import_backbone(bytes, nbytes, name, weights, backbone, error);
  else if (tinytl_safetensors_meta(file, "architecture"))
    status = tinytl_import_chain(file, weights, backbone, error);
  else
    status = tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: a safetensors file whose metadata has neither \"architecture\" nor "
                         "\"tinytl.format\": the network cannot be known from its tensors",
                         name);
  tinytl_safetensors_free(file);
  return status;
}

tinytl_status tinytl_backbone_import(const void *bytes, size_t nbytes, const char *name,
                                     tinytl_weights weights, tinytl_backbone **backbone,
                                     tinytl_error *error) {
  const char *text = bytes;
  if (nbytes == 0) return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: the file is empty", name);
  if (tinytl_is_tflite(bytes, nbytes))
    return tinytl_import_tflite(bytes, nbytes, name, weights, backbone, error);
  if (nbytes > 8 && text[8] == '{')
    return import_safetensors(bytes, nbytes, name, weights, backbone, error);
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "%s: expected a TFLite file (\"TFL3\" at byte 4) or a safetensors file (\"{\" "
                     "at byte 8), found neither",
                     name);
}
