#include "format/import.h"

#include "format/flatbuffer.h"
#include "format/imported.h"
#include "format/zip.h"

#include <string.h>

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

/* A safetensors file without a description: the names of its tensors must do. */
static tinytl_status import_named(const tinytl_safetensors *file, size_t nbytes,
                                  tinytl_weights weights, tinytl_backbone **backbone,
                                  tinytl_error *error) {
  tinytl_state_dict state;
  TINYTL_TRY(tinytl_state_from_safetensors(file, nbytes, &state, error));
  const tinytl_status status = tinytl_import_state(&state, weights, backbone, error);
  tinytl_state_free(&state);
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
    status = import_named(file, nbytes, weights, backbone, error);
  tinytl_safetensors_free(file);
  return status;
}

static tinytl_status import_torch(const void *bytes, size_t nbytes, const char *name,
                                  tinytl_weights weights, tinytl_backbone **backbone,
                                  tinytl_error *error) {
  tinytl_state_dict state;
  TINYTL_TRY(tinytl_state_from_torch(bytes, nbytes, name, &state, error));
  const tinytl_status status = tinytl_import_state(&state, weights, backbone, error);
  tinytl_state_free(&state);
  return status;
}

/* What torch.save wrote before version 1.6: a pickle of this number comes first. */
static bool is_old_torch(const void *bytes, size_t nbytes) {
  static const uint8_t magic[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c,
                                  0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  return nbytes >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

tinytl_status tinytl_backbone_import(const void *bytes, size_t nbytes, const char *name,
                                     tinytl_weights weights, tinytl_backbone **backbone,
                                     tinytl_error *error) {
  const char *text = bytes;
  if (nbytes == 0) return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: the file is empty", name);
  if (tinytl_fb_is(bytes, nbytes, "TFL3"))
    return tinytl_import_tflite(bytes, nbytes, name, weights, backbone, error);
  if (nbytes > 8 && text[8] == '{')
    return import_safetensors(bytes, nbytes, name, weights, backbone, error);
  if (tinytl_is_zip(bytes, nbytes))
    return import_torch(bytes, nbytes, name, weights, backbone, error);
  if (is_old_torch(bytes, nbytes))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: torch.save wrote it in the form of before PyTorch 1.6, which is not "
                       "supported: load it in PyTorch, and save its state_dict again",
                       name);
  return tinytl_fail(
      error, TINYTL_ERROR_MODEL,
      "%s: expected a TFLite file (\"TFL3\" at byte 4), a safetensors file (\"{\" at "
      "byte 8) or a PyTorch checkpoint (\"PK\" at byte 0), found none of them",
      name);
}
