/* A safetensors file that ends in the SHA-256 of all before it, header included: its last tensor,
 * "checksum". The state of a run is kept in one. Written and read piece by piece. */
#ifndef TINYTL_FORMAT_SEALED_FILE_H
#define TINYTL_FORMAT_SEALED_FILE_H

#include <sha2.h>

#include "format/json.h"
#include "format/safetensors.h"

enum {
  TINYTL_SEALED_CHUNK = 16 * 1024, /* bytes that are on their way at a time */
  TINYTL_CHECKSUM_NBYTES = 32
};

/* "tinytl.format" of the runs' files. */
#define TINYTL_CHECKPOINT_FORMAT "checkpoint 8"
#define TINYTL_PRETRAIN_FORMAT "pretraining 1"
#define TINYTL_SEARCH_FORMAT "search 6"

/* A tensor of one dimension. */
typedef struct tinytl_sealed_vector {
  const char *name;
  tinytl_dtype dtype;
  void *data; /* [n]; NULL: the caller writes and reads what it is made of */
  size_t n;
  bool is_flags; /* I8 of 0 and 1: any other byte in a bool is undefined behaviour */
} tinytl_sealed_vector;
enum { TINYTL_SEALED_MAX_VECTORS = 16 };

static inline tinytl_sealed_vector tinytl_sealed_floats(const char *name, void *data, size_t n) {
  return (tinytl_sealed_vector){.name = name, .dtype = TINYTL_DTYPE_F32, .data = data, .n = n};
}
static inline tinytl_sealed_vector tinytl_sealed_bytes(const char *name, void *data, size_t n) {
  return (tinytl_sealed_vector){.name = name, .dtype = TINYTL_DTYPE_I8, .data = data, .n = n};
}
static inline tinytl_sealed_vector tinytl_sealed_flags(const char *name, void *data, size_t n) {
  return (tinytl_sealed_vector){
      .name = name, .dtype = TINYTL_DTYPE_I8, .data = data, .n = n, .is_flags = true};
}

size_t tinytl_sealed_vector_nbytes(const tinytl_sealed_vector *vector);

/* ---- Writing ------------------------------------------------------------------------------ */

typedef struct tinytl_sealer {
  tinytl_write_fn write;
  void *context;
  SHA2_CTX sha256;
} tinytl_sealer;

/* Writes the header; vectors [n], at most TINYTL_SEALED_MAX_VECTORS. */
tinytl_status tinytl_sealer_begin(tinytl_sealer *sealer, const char *const *meta,
                                  const tinytl_sealed_vector *vectors, int n, tinytl_write_fn write,
                                  void *context, tinytl_error *error);
/* The vectors' data, in order. */
tinytl_status tinytl_sealer_write(tinytl_sealer *sealer, const void *bytes, size_t nbytes,
                                  tinytl_error *error);
tinytl_status tinytl_sealer_finish(tinytl_sealer *sealer, tinytl_error *error);

/* ---- Reading ------------------------------------------------------------------------------ */

typedef struct tinytl_sealed_file {
  const tinytl_source *source;
  tinytl_safetensors *header; /* tensors without data */
  uint64_t data;              /* where the tensors' data begins */
} tinytl_sealed_file;

/* Checks the format and the whole file against its hash. The source is borrowed. Close it even
 * where that fails. Errors: MODEL, INTERNAL. */
tinytl_status tinytl_sealed_open(tinytl_sealed_file *file, const tinytl_source *source,
                                 const char *format, tinytl_error *error);
void tinytl_sealed_close(tinytl_sealed_file *file);

/* The JSON object of a key of the metadata; the caller frees it. */
tinytl_status tinytl_sealed_object(const tinytl_sealed_file *file, const char *key,
                                   char where[TINYTL_ST_WHERE], json_t **object,
                                   tinytl_error *error);
/* Fails with `status`, naming both values, where the file's object of this key is not ours. */
tinytl_status tinytl_sealed_compare(const tinytl_sealed_file *file, const char *key,
                                    const char *ours, tinytl_status status, const char *of_what,
                                    tinytl_error *error);
/* Where the tensor of n values in one dimension lies in the source. */
tinytl_status tinytl_sealed_find(const tinytl_sealed_file *file, const char *name,
                                 tinytl_dtype dtype, size_t n, uint64_t *offset,
                                 tinytl_error *error);
tinytl_status tinytl_sealed_read(const tinytl_sealed_file *file, uint64_t offset, void *bytes,
                                 size_t nbytes, tinytl_error *error);
/* Reads a vector that has data, and checks flags. Errors: MODEL, INTERNAL. */
tinytl_status tinytl_sealed_read_vector(const tinytl_sealed_file *file,
                                        const tinytl_sealed_vector *vector, tinytl_error *error);

#endif
