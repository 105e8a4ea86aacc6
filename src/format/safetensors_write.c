#include "format/json_text.h"
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void put_meta(tinytl_json_text *json, const char *const *meta) {
  tinytl_json_open(json, "__metadata__", '{');
  for (int i = 0; meta[i]; i += 2)
    if (meta[i + 1]) tinytl_json_put_string(json, meta[i], meta[i + 1]);
  tinytl_json_close(json, '}');
}

static void put_tensor(tinytl_json_text *json, const tinytl_tensor *tensor, size_t offset) {
  tinytl_json_open(json, tensor->name, '{');
  tinytl_json_put_string(json, "dtype", tensor->dtype == TINYTL_DTYPE_F32 ? "F32" : "I8");
  tinytl_json_open(json, "shape", '[');
  for (int i = 0; i < tensor->n_dims; i++)
    tinytl_json_put_int(json, NULL, (long long)tensor->dims[i]);
  tinytl_json_close(json, ']');
  tinytl_json_open(json, "data_offsets", '[');
  tinytl_json_put_int(json, NULL, (long long)offset);
  tinytl_json_put_int(json, NULL, (long long)offset + (long long)tensor->nbytes);
  tinytl_json_close(json, ']');
  tinytl_json_close(json, '}');
}

/* The order of the file: floats, then bytes. */
static const tinytl_dtype order[] = {TINYTL_DTYPE_F32, TINYTL_DTYPE_I8};

/* NULL: out of memory. */
static char *make_header(const char *const *meta, const tinytl_tensor *tensors, int n_tensors) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  put_meta(&json, meta);
  size_t offset = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n_tensors; i++) {
      if (tensors[i].dtype != order[pass]) continue;
      put_tensor(&json, &tensors[i], offset);
      offset += tensors[i].nbytes;
    }
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

static bool put_header(const char *header, tinytl_write_fn write, void *context) {
  static const char spaces[] = "       ";
  const size_t length = strlen(header), padded = tinytl_round_up(length, 8);
  uint8_t prefix[8];
  for (int i = 0; i < 8; i++) prefix[i] = (uint8_t)((uint64_t)padded >> (8 * i));
  return write(context, prefix, sizeof prefix) && write(context, header, length) &&
         write(context, spaces, padded - length);
}

static tinytl_status fail_to_write(tinytl_error *error) {
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "the output could not be written");
}

tinytl_status tinytl_safetensors_write_header(const char *const *meta, const tinytl_tensor *tensors,
                                              int n_tensors, tinytl_write_fn write, void *context,
                                              tinytl_error *error) {
  char *header = make_header(meta, tensors, n_tensors);
  if (!header)
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a safetensors header");
  const bool written = put_header(header, write, context);
  free(header);
  return written ? TINYTL_OK : fail_to_write(error);
}

tinytl_status tinytl_safetensors_write(const char *const *meta, const tinytl_tensor *tensors,
                                       int n_tensors, tinytl_write_fn write, void *context,
                                       tinytl_error *error) {
  TINYTL_TRY(tinytl_safetensors_write_header(meta, tensors, n_tensors, write, context, error));
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n_tensors; i++)
      if (tensors[i].dtype == order[pass] && !write(context, tensors[i].data, tensors[i].nbytes))
        return fail_to_write(error);
  return TINYTL_OK;
}
