#include "format/sealed_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t tinytl_sealed_vector_nbytes(const tinytl_sealed_vector *v) {
  return v->n * (v->dtype == TINYTL_DTYPE_F32 ? sizeof(float) : 1);
}

/* ---- Writing ------------------------------------------------------------------------------ */

static bool write_hashed(void *context, const void *bytes, size_t nbytes) {
  tinytl_sealer *sealer = context;
  SHA256Update(&sealer->sha256, bytes, nbytes);
  return sealer->write(sealer->context, bytes, nbytes);
}

tinytl_status tinytl_sealer_begin(tinytl_sealer *sealer, const char *const *meta,
                                  const tinytl_sealed_vector *vectors, int n, tinytl_write_fn write,
                                  void *context, tinytl_error *error) {
  tinytl_tensor tensors[TINYTL_SEALED_MAX_VECTORS + 1];
  *sealer = (tinytl_sealer){.write = write, .context = context};
  SHA256Init(&sealer->sha256);
  for (int i = 0; i < n; i++)
    tensors[i] = (tinytl_tensor){.name = vectors[i].name,
                                 .dtype = vectors[i].dtype,
                                 .n_dims = 1,
                                 .dims = {vectors[i].n},
                                 .nbytes = tinytl_sealed_vector_nbytes(&vectors[i])};
  tensors[n] = (tinytl_tensor){.name = "checksum",
                               .dtype = TINYTL_DTYPE_I8,
                               .n_dims = 1,
                               .dims = {TINYTL_CHECKSUM_NBYTES},
                               .nbytes = TINYTL_CHECKSUM_NBYTES};
  return tinytl_safetensors_write_header(meta, tensors, n + 1, write_hashed, sealer, error);
}

tinytl_status tinytl_sealer_write(tinytl_sealer *sealer, const void *bytes, size_t nbytes,
                                  tinytl_error *error) {
  if (write_hashed(sealer, bytes, nbytes)) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "the output could not be written");
}

tinytl_status tinytl_sealer_finish(tinytl_sealer *sealer, tinytl_error *error) {
  uint8_t checksum[TINYTL_CHECKSUM_NBYTES];
  SHA256Final(checksum, &sealer->sha256);
  return tinytl_sealer_write(sealer, checksum, sizeof checksum, error);
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* A state's has 1 to 2 KB. It is read under the run's memory limit: what is parsed of 8 KB takes no
 * more than 1 MB, whatever it is. */
enum { MAX_HEADER = 8 * 1024 };

tinytl_status tinytl_sealed_read(const tinytl_sealed_file *file, uint64_t offset, void *bytes,
                                 size_t nbytes, tinytl_error *error) {
  const tinytl_source *source = file->source;
  if (source->read(source->context, offset, bytes, nbytes)) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "%s: cannot be read", source->name);
}

static tinytl_status read_header(tinytl_sealed_file *f, tinytl_error *error) {
  const tinytl_source *source = f->source;
  const size_t file_nbytes = source->nbytes < SIZE_MAX ? (size_t)source->nbytes : SIZE_MAX;
  uint8_t first[8] = {0};
  if (file_nbytes >= sizeof first) TINYTL_TRY(tinytl_sealed_read(f, 0, first, sizeof first, error));
  const size_t nbytes = tinytl_safetensors_header_nbytes(first);
  if (nbytes > MAX_HEADER && nbytes <= file_nbytes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a checkpoint, whose header has at most %d bytes, found %zu",
                       source->name, MAX_HEADER, nbytes);
  if (nbytes > file_nbytes) /* it looks no further than the length, and says what is wrong */
    return tinytl_safetensors_open_header(first, file_nbytes, source->name, &f->header, error);
  char *header = malloc(nbytes);
  if (!header) return tinytl_fail_memory(error, nbytes);
  tinytl_status status = tinytl_sealed_read(f, 0, header, nbytes, error);
  if (status == TINYTL_OK)
    status = tinytl_safetensors_open_header(header, file_nbytes, source->name, &f->header, error);
  free(header);
  f->data = nbytes;
  return status;
}

/* The checksum must be the file's last bytes, as it is of all that comes before. */
static tinytl_status check_hash(const tinytl_sealed_file *f, tinytl_error *error) {
  const int dims[] = {TINYTL_CHECKSUM_NBYTES};
  const tinytl_tensor *tensor = NULL;
  TINYTL_TRY(
      tinytl_safetensors_expect(f->header, "checksum", TINYTL_DTYPE_I8, 1, dims, &tensor, error));
  const uint64_t end = f->source->nbytes - TINYTL_CHECKSUM_NBYTES;
  uint8_t chunk[TINYTL_SEALED_CHUNK], found[TINYTL_CHECKSUM_NBYTES];
  SHA2_CTX sha256;
  SHA256Init(&sha256);
  for (uint64_t done = 0; done < end;) {
    const uint64_t left = end - done;
    const size_t n = left < sizeof chunk ? (size_t)left : sizeof chunk;
    TINYTL_TRY(tinytl_sealed_read(f, done, chunk, n, error));
    SHA256Update(&sha256, chunk, n);
    done += n;
  }
  SHA256Final(found, &sha256);
  TINYTL_TRY(tinytl_sealed_read(f, end, chunk, sizeof found, error));
  if (f->data + tensor->offset == end && memcmp(chunk, found, sizeof found) == 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "%s: the checkpoint is damaged: its content does not match its checksum",
                     f->source->name);
}

tinytl_status tinytl_sealed_open(tinytl_sealed_file *file, const tinytl_source *source,
                                 const char *format, tinytl_error *error) {
  *file = (tinytl_sealed_file){.source = source};
  TINYTL_TRY(read_header(file, error));
  TINYTL_TRY(tinytl_safetensors_need_format(file->header, format, error));
  return check_hash(file, error);
}

void tinytl_sealed_close(tinytl_sealed_file *file) {
  tinytl_safetensors_free(file->header);
}

/* ---- Content ------------------------------------------------------------------------------ */

tinytl_status tinytl_sealed_object(const tinytl_sealed_file *f, const char *key,
                                   char where[TINYTL_ST_WHERE], json_t **object,
                                   tinytl_error *error) {
  const char *text = NULL;
  TINYTL_TRY(tinytl_safetensors_need_meta(f->header, key, where, &text, error));
  TINYTL_TRY(tinytl_json_parse(text, strlen(text), where, object, error));
  if (json_is_object(*object)) return TINYTL_OK;
  json_decref(*object);
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a JSON object", where);
}

enum { SHOWN = 96 };

/* A value for people: numbers have passed through doubles. */
static void show(const json_t *value, char text[SHOWN]) {
  if (json_is_number(value)) {
    snprintf(text, SHOWN, "%.9g", json_number_value(value));
    return;
  }
  char *dumped =
      value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
  snprintf(text, SHOWN, "%s", dumped ? dumped : "missing");
  free(dumped);
}

static tinytl_status compare_objects(const char *file, const json_t *theirs, json_t *ours,
                                     tinytl_status status, const char *of_what,
                                     tinytl_error *error) {
  const char *name;
  json_t *value;
  json_object_foreach(ours, name, value) {
    const json_t *found = json_object_get(theirs, name);
    if (json_equal(found, value)) continue;
    char found_text[SHOWN], expected_text[SHOWN];
    show(found, found_text);
    show(value, expected_text);
    return tinytl_fail(error, status, "%s is of %s: its \"%s\" is %s, this run's is %s", file,
                       of_what, name, found_text, expected_text);
  }
  return TINYTL_OK;
}

tinytl_status tinytl_sealed_compare(const tinytl_sealed_file *f, const char *key,
                                    const char *ours_text, tinytl_status status,
                                    const char *of_what, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *ours = NULL, *theirs = NULL;
  TINYTL_TRY(tinytl_json_parse(ours_text, strlen(ours_text), key, &ours, error));
  tinytl_status result = tinytl_sealed_object(f, key, where, &theirs, error);
  if (result == TINYTL_OK) {
    result = compare_objects(f->source->name, theirs, ours, status, of_what, error);
    json_decref(theirs);
  }
  json_decref(ours);
  return result;
}

tinytl_status tinytl_sealed_find(const tinytl_sealed_file *f, const char *name, tinytl_dtype dtype,
                                 size_t n, uint64_t *offset, tinytl_error *error) {
  const tinytl_tensor *tensor = tinytl_safetensors_find(f->header, name);
  const bool is_float = dtype == TINYTL_DTYPE_F32;
  if (!tensor || tensor->dtype != dtype || tensor->n_dims != 1 ||
      tensor->nbytes != n * (is_float ? sizeof(float) : 1))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: tensor \"%s\": expected %zu values of dtype %s in one dimension",
                       f->source->name, name, n, is_float ? "F32" : "I8");
  *offset = f->data + tensor->offset;
  return TINYTL_OK;
}

static tinytl_status check_flags(const tinytl_sealed_file *file, const tinytl_sealed_vector *v,
                                 tinytl_error *error) {
  const unsigned char *bytes = v->data;
  for (size_t i = 0; i < v->n; i++)
    if (bytes[i] > 1)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: tensor \"%s\": value %zu must be 0 or 1, found %d",
                         file->source->name, v->name, i, bytes[i]);
  return TINYTL_OK;
}

tinytl_status tinytl_sealed_read_vector(const tinytl_sealed_file *file,
                                        const tinytl_sealed_vector *v, tinytl_error *error) {
  uint64_t from = 0;
  TINYTL_TRY(tinytl_sealed_find(file, v->name, v->dtype, v->n, &from, error));
  TINYTL_TRY(tinytl_sealed_read(file, from, v->data, tinytl_sealed_vector_nbytes(v), error));
  return v->is_flags ? check_flags(file, v, error) : TINYTL_OK;
}
