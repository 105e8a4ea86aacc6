/* The reader. Numbers in the data are little-endian, as on every machine this project runs on. */
#include "format/safetensors.h"

#include "format/bytes.h"
#include "format/flatbuffer.h"
#include "format/json.h"
#include "format/zip.h"
#include "tinytl/backbone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tinytl_safetensors {
  char *name;
  json_t *header; /* owns the strings */
  json_t *meta;
  tinytl_tensor *tensors; /* [n], in order of names */
  bool *read;             /* [n], was asked for */
  int n;
};

static const struct {
  const char *name;
  size_t nbytes;
  tinytl_dtype dtype;
} dtypes[] = {{"F32", 4, TINYTL_DTYPE_F32},       {"I8", 1, TINYTL_DTYPE_I8},
              {"F16", 2, TINYTL_DTYPE_F16},       {"BF16", 2, TINYTL_DTYPE_BF16},
              {"F64", 8, TINYTL_DTYPE_F64},       {"BOOL", 1, TINYTL_DTYPE_OTHER},
              {"U8", 1, TINYTL_DTYPE_OTHER},      {"F8_E5M2", 1, TINYTL_DTYPE_OTHER},
              {"I16", 2, TINYTL_DTYPE_OTHER},     {"U16", 2, TINYTL_DTYPE_OTHER},
              {"F8_E4M3", 1, TINYTL_DTYPE_OTHER}, {"I32", 4, TINYTL_DTYPE_OTHER},
              {"U32", 4, TINYTL_DTYPE_OTHER},     {"I64", 8, TINYTL_DTYPE_OTHER},
              {"U64", 8, TINYTL_DTYPE_OTHER}};

/* ---- One tensor of the header ------------------------------------------------------------- */

static tinytl_status read_dtype(const json_t *item, const char *where, tinytl_tensor *tensor,
                                size_t *value_nbytes, tinytl_error *error) {
  const char *found = NULL;
  TINYTL_TRY(tinytl_json_string(item, "dtype", where, &found, error));
  for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
    if (strcmp(dtypes[i].name, found) == 0) {
      tensor->dtype = dtypes[i].dtype;
      *value_nbytes = dtypes[i].nbytes;
      return TINYTL_OK;
    }
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: unknown dtype \"%.40s\"", where, found);
}

/* Reads the shape and multiplies *nbytes by the number of values. */
static tinytl_status read_shape(const json_t *item, const char *where, tinytl_tensor *tensor,
                                size_t *nbytes, tinytl_error *error) {
  const json_t *shape = NULL, *dim;
  size_t i;
  TINYTL_TRY(tinytl_json_array(item, "shape", where, &shape, error));
  json_array_foreach(shape, i, dim) {
    size_t value;
    if (tensor->n_dims == TINYTL_ST_MAX_DIMS)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: more than %d dimensions", where,
                         TINYTL_ST_MAX_DIMS);
    if (!tinytl_json_size(dim, &value))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: shape must be whole numbers from 0",
                         where);
    if (!tinytl_size_mul(*nbytes, value, nbytes))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: shape is too large", where);
    tensor->dims[tensor->n_dims++] = value;
  }
  return TINYTL_OK;
}

/* data [data_nbytes]: what follows the header; NULL: it is not there. */
static tinytl_status read_tensor(const char *name, const json_t *item, const char *file,
                                 const char *data, size_t data_nbytes, tinytl_tensor *tensor,
                                 tinytl_error *error) {
  char where[256];
  tinytl_format(where, sizeof where, "%s: tensor \"%.80s\"", file, name);
  *tensor = (tinytl_tensor){.name = name};
  if (!json_is_object(item) || json_object_size(item) != 3)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected an object of dtype, shape and data_offsets", where);
  size_t nbytes = 0;
  TINYTL_TRY(read_dtype(item, where, tensor, &nbytes, error));
  TINYTL_TRY(read_shape(item, where, tensor, &nbytes, error));

  const json_t *offsets = NULL;
  size_t begin, end;
  TINYTL_TRY(tinytl_json_array(item, "data_offsets", where, &offsets, error));
  if (json_array_size(offsets) != 2 || !tinytl_json_size(json_array_get(offsets, 0), &begin) ||
      !tinytl_json_size(json_array_get(offsets, 1), &end) || begin > end)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: data_offsets must be two whole numbers in ascending order", where);
  if (end > data_nbytes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: ends at byte %zu of the data, which has %zu: the file is truncated or "
                       "damaged",
                       where, end, data_nbytes);
  if (end - begin != nbytes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: its shape takes %zu bytes, its data_offsets span %zu", where, nbytes,
                       end - begin);
  tensor->data = data ? data + begin : NULL;
  tensor->nbytes = nbytes;
  tensor->offset = begin;
  return TINYTL_OK;
}

/* ---- The header --------------------------------------------------------------------------- */

static int by_position(const void *x, const void *y) {
  const tinytl_tensor *left = x, *right = y;
  if (left->offset != right->offset) return left->offset < right->offset ? -1 : 1;
  return (left->nbytes > right->nbytes) - (left->nbytes < right->nbytes);
}

static int by_name(const void *x, const void *y) {
  return strcmp(((const tinytl_tensor *)x)->name, ((const tinytl_tensor *)y)->name);
}

/* The tensors must cover the data exactly. Leaves them in order of names. */
static tinytl_status check_tensors(tinytl_safetensors *file, size_t data_nbytes,
                                   tinytl_error *error) {
  size_t covered = 0;
  qsort(file->tensors, (size_t)file->n, sizeof *file->tensors, by_position);
  for (int i = 0; i < file->n; i++) {
    const size_t begin = file->tensors[i].offset;
    if (begin != covered)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: tensor \"%.80s\" begins at byte %zu of the data, expected %zu: "
                         "tensors must leave no gap and not overlap",
                         file->name, file->tensors[i].name, begin, covered);
    covered += file->tensors[i].nbytes;
  }
  if (covered != data_nbytes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: %zu bytes of data after the header, of which the tensors take %zu",
                       file->name, data_nbytes, covered);
  qsort(file->tensors, (size_t)file->n, sizeof *file->tensors, by_name);
  return TINYTL_OK;
}

static tinytl_status check_meta(const tinytl_safetensors *file, tinytl_error *error) {
  const char *key;
  json_t *item;
  if (!json_is_object(file->meta))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: __metadata__ must be an object", file->name);
  json_object_foreach(file->meta, key, item) {
    if (!json_is_string(item))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: metadata \"%.80s\" must be a string",
                         file->name, key);
  }
  return TINYTL_OK;
}

static tinytl_status read_header(tinytl_safetensors *file, const char *data, size_t data_nbytes,
                                 tinytl_error *error) {
  const char *key;
  json_t *item;
  if (!json_is_object(file->header))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: the header must be a JSON object",
                       file->name);
  const size_t n = json_object_size(file->header);
  if (n > TINYTL_ST_MAX_TENSORS)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %zu tensors, at most %d are supported",
                       file->name, n, TINYTL_ST_MAX_TENSORS);
  file->tensors = calloc(n + 1, sizeof *file->tensors);
  file->read = calloc(n + 1, sizeof *file->read);
  if (!file->tensors || !file->read) return tinytl_fail_memory(error, n * sizeof *file->tensors);
  json_object_foreach(file->header, key, item) {
    if (strcmp(key, "__metadata__") == 0) {
      file->meta = item;
      TINYTL_TRY(check_meta(file, error));
    } else {
      TINYTL_TRY(
          read_tensor(key, item, file->name, data, data_nbytes, &file->tensors[file->n++], error));
    }
  }
  return check_tensors(file, data_nbytes, error);
}

size_t tinytl_safetensors_header_nbytes(const uint8_t first[8]) {
  const uint64_t length = tinytl_read_number(first, 8);
  return length > TINYTL_ST_MAX_HEADER ? SIZE_MAX : 8 + (size_t)length;
}

/* An escape might spell their type. */
static bool may_have_int8(const char *header, size_t n) {
  for (size_t i = 1; i < n; i++)
    if ((header[i - 1] == 'I' && header[i] == '8') || (header[i - 1] == '\\' && header[i] == 'u'))
      return true;
  return false;
}

size_t tinytl_open_nbytes(const void *bytes, size_t nbytes, bool is_copied) {
  enum { MODEL_NBYTES = 256 * 1024 }; /* layers, lists of tensors, messages */
  const size_t header = nbytes < 8 ? SIZE_MAX : tinytl_safetensors_header_nbytes(bytes);
  if (header > nbytes) return MODEL_NBYTES;
  const char *text = (const char *)bytes + 8;
  const size_t widened = may_have_int8(text, header - 8) ? sizeof(float) : 1;
  const size_t copied = is_copied ? (nbytes - header) * widened : 0;
  return MODEL_NBYTES + tinytl_json_nbytes(text, header - 8) + copied;
}

/* with_data: bytes [nbytes] is the whole file, not only its header. */
static tinytl_status read_file(tinytl_safetensors *file, const char *bytes, size_t nbytes,
                               bool with_data, tinytl_error *error) {
  if (nbytes < 8)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a safetensors file of at least 8 bytes, found %zu bytes",
                       file->name, nbytes);
  const uint64_t length = tinytl_read_number((const uint8_t *)bytes, 8);
  const bool fits = length <= TINYTL_ST_MAX_HEADER && length <= nbytes - 8;
  if (!fits && (tinytl_fb_is(bytes, nbytes, "TFL3") || tinytl_is_zip(bytes, nbytes)))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: is no safetensors file; of a TFLite file or a PyTorch checkpoint "
                       "'tinytl import' makes a backbone",
                       file->name);
  if (!fits)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: a safetensors header of %llu bytes in a file of %zu (at most %d are "
                       "supported): the file is truncated or of another format",
                       file->name, (unsigned long long)length, nbytes, TINYTL_ST_MAX_HEADER);
  const size_t header_nbytes = (size_t)length, valid = tinytl_utf8_valid(bytes + 8, header_nbytes);
  if (valid != header_nbytes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: the safetensors header is not UTF-8 at byte %zu", file->name,
                       valid + 8);
  char where[256];
  tinytl_format(where, sizeof where, "%s: safetensors header", file->name);
  TINYTL_TRY(tinytl_json_parse(bytes + 8, header_nbytes, where, &file->header, error));
  return read_header(file, with_data ? bytes + 8 + header_nbytes : NULL, nbytes - 8 - header_nbytes,
                     error);
}

static tinytl_status open_file(const void *bytes, size_t nbytes, bool with_data, const char *name,
                               tinytl_safetensors **file, tinytl_error *error) {
  tinytl_safetensors *opened = calloc(1, sizeof *opened);
  if (!opened) return tinytl_fail_memory(error, sizeof *opened);
  opened->name = strdup(name);
  tinytl_status status = opened->name ? read_file(opened, bytes, nbytes, with_data, error)
                                      : tinytl_fail_memory(error, strlen(name) + 1);
  if (status != TINYTL_OK)
    tinytl_safetensors_free(opened);
  else
    *file = opened;
  return status;
}

tinytl_status tinytl_safetensors_open(const void *bytes, size_t nbytes, const char *name,
                                      tinytl_safetensors **file, tinytl_error *error) {
  return open_file(bytes, nbytes, true, name, file, error);
}

tinytl_status tinytl_safetensors_open_header(const void *bytes, size_t file_nbytes,
                                             const char *name, tinytl_safetensors **file,
                                             tinytl_error *error) {
  return open_file(bytes, file_nbytes, false, name, file, error);
}

void tinytl_safetensors_free(tinytl_safetensors *file) {
  if (!file) return;
  json_decref(file->header);
  free(file->tensors);
  free(file->read);
  free(file->name);
  free(file);
}

/* ---- Access ------------------------------------------------------------------------------- */

const char *tinytl_safetensors_name(const tinytl_safetensors *file) {
  return file->name;
}

const char *tinytl_safetensors_meta(const tinytl_safetensors *file, const char *key) {
  return json_string_value(json_object_get(file->meta, key));
}

tinytl_status tinytl_safetensors_need_meta(const tinytl_safetensors *file, const char *key,
                                           char where[TINYTL_ST_WHERE], const char **value,
                                           tinytl_error *error) {
  tinytl_format(where, TINYTL_ST_WHERE, "%s: %s", file->name, key);
  *value = tinytl_safetensors_meta(file, key);
  if (!*value) return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s is missing", where);
  return TINYTL_OK;
}

tinytl_status tinytl_safetensors_need_format(const tinytl_safetensors *file, const char *expected,
                                             tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  const char *found = NULL;
  TINYTL_TRY(tinytl_safetensors_need_meta(file, "tinytl.format", where, &found, error));
  if (strcmp(found, expected) == 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected \"%s\", found \"%.40s\"", where,
                     expected, found);
}

int tinytl_safetensors_n(const tinytl_safetensors *file) {
  return file->n;
}

const tinytl_tensor *tinytl_safetensors_at(const tinytl_safetensors *file, int index) {
  return &file->tensors[index];
}

const tinytl_tensor *tinytl_safetensors_find(const tinytl_safetensors *file, const char *name) {
  const tinytl_tensor key = {.name = name};
  return bsearch(&key, file->tensors, (size_t)file->n, sizeof key, by_name);
}

/* "[2, 3]" */
static void format_dims(char *text, size_t nbytes, const size_t *dims, int n_dims) {
  size_t length = (size_t)snprintf(text, nbytes, "[");
  for (int i = 0; i < n_dims && length < nbytes; i++)
    length += (size_t)snprintf(text + length, nbytes - length, "%s%zu", i ? ", " : "", dims[i]);
  if (length < nbytes) snprintf(text + length, nbytes - length, "]");
}

tinytl_status tinytl_check_shape(const char *file, const char *name, int n_found,
                                 const size_t *found, int n_dims, const int *dims,
                                 tinytl_error *error) {
  size_t expected[TINYTL_ST_MAX_DIMS];
  bool same = n_found == n_dims;
  for (int i = 0; i < n_dims; i++) {
    expected[i] = (size_t)dims[i];
    same = same && found[i] == expected[i];
  }
  if (same) return TINYTL_OK;
  char expected_text[96], found_text[96];
  format_dims(expected_text, sizeof expected_text, expected, n_dims);
  format_dims(found_text, sizeof found_text, found, n_found);
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\": expected shape %s, found %s",
                     file, name, expected_text, found_text);
}

tinytl_status tinytl_safetensors_expect(const tinytl_safetensors *file, const char *name,
                                        tinytl_dtype dtype, int n_dims, const int *dims,
                                        const tinytl_tensor **tensor, tinytl_error *error) {
  const tinytl_tensor *found = tinytl_safetensors_find(file, name);
  if (!found)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\" is missing", file->name, name);
  if (found->dtype != dtype)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\": expected dtype %s",
                       file->name, name, dtype == TINYTL_DTYPE_F32 ? "F32" : "I8");
  TINYTL_TRY(tinytl_check_shape(file->name, name, found->n_dims, found->dims, n_dims, dims, error));
  file->read[found - file->tensors] = true;
  *tensor = found;
  return TINYTL_OK;
}

tinytl_status tinytl_safetensors_all_read(const tinytl_safetensors *file, tinytl_error *error) {
  for (int i = 0; i < file->n; i++)
    if (!file->read[i])
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: unexpected tensor \"%.80s\"", file->name,
                         file->tensors[i].name);
  return TINYTL_OK;
}

tinytl_status tinytl_safetensors_f32(const tinytl_safetensors *file, const char *name, int n_dims,
                                     const int *dims, const float **data, tinytl_error *error) {
  const tinytl_tensor *tensor = NULL;
  TINYTL_TRY(tinytl_safetensors_expect(file, name, TINYTL_DTYPE_F32, n_dims, dims, &tensor, error));
  if ((uintptr_t)tensor->data % sizeof(float) != 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: tensor \"%s\": its data is not aligned to 4 bytes", file->name, name);
  const float *values = tensor->data;
  for (size_t i = 0; i < tensor->nbytes / sizeof(float); i++)
    if (!isfinite(values[i]))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: tensor \"%s\": value %zu is not a finite number", file->name, name,
                         i);
  *data = values;
  return TINYTL_OK;
}

tinytl_status tinytl_safetensors_i8(const tinytl_safetensors *file, const char *name, int n_dims,
                                    const int *dims, const int8_t **data, tinytl_error *error) {
  const tinytl_tensor *tensor = NULL;
  TINYTL_TRY(tinytl_safetensors_expect(file, name, TINYTL_DTYPE_I8, n_dims, dims, &tensor, error));
  *data = tensor->data;
  return TINYTL_OK;
}
