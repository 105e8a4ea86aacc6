#include "format/json.h"
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

static bool add_meta(cJSON *header, const char *const *meta) {
  cJSON *object = cJSON_AddObjectToObject(header, "__metadata__");
  bool ok = object != NULL;
  for (int i = 0; meta[i]; i += 2)
    if (meta[i + 1]) ok = ok && cJSON_AddStringToObject(object, meta[i], meta[i + 1]);
  return ok;
}

static bool add_tensor(cJSON *header, const tinytl_tensor *tensor, size_t offset) {
  cJSON *item = cJSON_AddObjectToObject(header, tensor->name);
  bool ok = cJSON_AddStringToObject(item, "dtype",
                                    tensor->dtype == TINYTL_DTYPE_F32 ? "F32" : "I8") != NULL;
  cJSON *shape = cJSON_AddArrayToObject(item, "shape");
  for (int i = 0; i < tensor->n_dims; i++)
    ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->dims[i])) && ok;
  cJSON *offsets = cJSON_AddArrayToObject(item, "data_offsets");
  ok = cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset)) && ok;
  return cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(offset + tensor->nbytes))) && ok;
}

/* The order of the file: floats, then bytes. */
static const tinytl_dtype order[] = {TINYTL_DTYPE_F32, TINYTL_DTYPE_I8};

/* The header, padded with spaces to a multiple of 8; NULL: out of memory. */
static char *make_header(const char *const *meta, const tinytl_tensor *tensors, int n_tensors) {
  cJSON *header = cJSON_CreateObject();
  bool ok = add_meta(header, meta);
  size_t offset = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n_tensors; i++) {
      if (tensors[i].dtype != order[pass]) continue;
      ok = ok && add_tensor(header, &tensors[i], offset);
      offset += tensors[i].nbytes;
    }
  char *text = ok ? cJSON_PrintUnformatted(header) : NULL;
  cJSON_Delete(header);
  if (!text) return NULL;
  const size_t length = strlen(text), padded = tinytl_round_up(length, 8);
  char *out = malloc(padded + 1);
  if (out) {
    memcpy(out, text, length);
    memset(out + length, ' ', padded - length);
    out[padded] = '\0';
  }
  cJSON_free(text);
  return out;
}

static bool write_all(const char *header, const tinytl_tensor *tensors, int n_tensors,
                      tinytl_write_fn write, void *context) {
  const size_t length = strlen(header);
  uint8_t prefix[8];
  for (int i = 0; i < 8; i++) prefix[i] = (uint8_t)((uint64_t)length >> (8 * i));
  if (!write(context, prefix, sizeof prefix) || !write(context, header, length)) return false;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n_tensors; i++)
      if (tensors[i].dtype == order[pass] && !write(context, tensors[i].data, tensors[i].nbytes))
        return false;
  return true;
}

tinytl_status tinytl_safetensors_write(const char *const *meta, const tinytl_tensor *tensors,
                                       int n_tensors, tinytl_write_fn write, void *context,
                                       tinytl_error *error) {
  char *header = make_header(meta, tensors, n_tensors);
  if (!header)
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a safetensors header");
  const bool written = write_all(header, tensors, n_tensors, write, context);
  free(header);
  if (!written) return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "the output could not be written");
  return TINYTL_OK;
}
