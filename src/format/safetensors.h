/* Reading and writing safetensors: u64 little-endian header length, JSON header, raw data. Every
 * field is checked: lengths, offsets (inside the file, in order, no gaps or overlaps), shapes,
 * types, duplicate names, string metadata. */
#ifndef TINYTL_FORMAT_SAFETENSORS_H
#define TINYTL_FORMAT_SAFETENSORS_H

#include "core/status.h"

enum { TINYTL_ST_MAX_DIMS = 8, TINYTL_ST_MAX_TENSORS = 8192, TINYTL_ST_MAX_HEADER = 16 << 20 };

typedef enum tinytl_dtype {
  TINYTL_DTYPE_F32,
  TINYTL_DTYPE_I8,
  TINYTL_DTYPE_F16,
  TINYTL_DTYPE_BF16,
  TINYTL_DTYPE_F64,
  TINYTL_DTYPE_OTHER
} tinytl_dtype;

typedef struct tinytl_tensor {
  const char *name; /* owned by the reader; borrowed by the writer */
  tinytl_dtype dtype;
  int n_dims;
  size_t dims[TINYTL_ST_MAX_DIMS];
  const void *data;
  size_t nbytes;
  size_t offset; /* in the file's data; set by the reader */
} tinytl_tensor;

typedef struct tinytl_safetensors tinytl_safetensors;

/* Borrows bytes until freed. Errors: TINYTL_ERROR_MODEL. */
tinytl_status tinytl_safetensors_open(const void *bytes, size_t nbytes, const char *name,
                                      tinytl_safetensors **file, tinytl_error *error);
/* The same where the file is too large to be held: `bytes` is as much of it as the first 8 bytes
 * say, and not needed afterwards; tensors have an offset, but no data (NULL). */
size_t tinytl_safetensors_header_nbytes(const uint8_t first[8]); /* SIZE_MAX: more than allowed */
tinytl_status tinytl_safetensors_open_header(const void *bytes, size_t file_nbytes,
                                             const char *name, tinytl_safetensors **file,
                                             tinytl_error *error);
void tinytl_safetensors_free(tinytl_safetensors *file);
/* Value of a metadata key; NULL: absent. Valid UTF-8. */
const char *tinytl_safetensors_meta(const tinytl_safetensors *file, const char *key);
/* The same for a key that must be there. Sets `where`, for messages about the value, to
 * "FILE: KEY". */
enum { TINYTL_ST_WHERE = 256 };
tinytl_status tinytl_safetensors_need_meta(const tinytl_safetensors *file, const char *key,
                                           char where[TINYTL_ST_WHERE], const char **value,
                                           tinytl_error *error);
/* That "tinytl.format" is the expected one. */
tinytl_status tinytl_safetensors_need_format(const tinytl_safetensors *file, const char *expected,
                                             tinytl_error *error);
/* Tensors in order of their names. */
int tinytl_safetensors_n(const tinytl_safetensors *file);
const tinytl_tensor *tinytl_safetensors_at(const tinytl_safetensors *file, int index);
/* The name given to tinytl_safetensors_open. */
const char *tinytl_safetensors_name(const tinytl_safetensors *file);
/* Finds a tensor; NULL: absent. */
const tinytl_tensor *tinytl_safetensors_find(const tinytl_safetensors *file, const char *name);
/* Refuses the dims of a file's tensor that are not the expected ones, 1 to TINYTL_ST_MAX_DIMS. */
tinytl_status tinytl_check_shape(const char *file, const char *name, int n_found,
                                 const size_t *found, int n_dims, const int *dims,
                                 tinytl_error *error);
/* Finds a tensor of exactly this type and these dims, or explains. */
tinytl_status tinytl_safetensors_expect(const tinytl_safetensors *file, const char *name,
                                        tinytl_dtype dtype, int n_dims, const int *dims,
                                        const tinytl_tensor **tensor, tinytl_error *error);
/* Fails naming a tensor that none of the functions that expect one was asked for, if there is one.
 */
tinytl_status tinytl_safetensors_all_read(const tinytl_safetensors *file, tinytl_error *error);
/* Finds a float32 tensor of exactly these dims, finite values, aligned to 4 bytes, or explains. */
tinytl_status tinytl_safetensors_f32(const tinytl_safetensors *file, const char *name, int n_dims,
                                     const int *dims, const float **data, tinytl_error *error);
tinytl_status tinytl_safetensors_i8(const tinytl_safetensors *file, const char *name, int n_dims,
                                    const int *dims, const int8_t **data, tinytl_error *error);

/* meta: key, value, key, value, ..., NULL. Float tensors are written first, so that they are
 * aligned. */
tinytl_status tinytl_safetensors_write(const char *const *meta, const tinytl_tensor *tensors,
                                       int n_tensors, tinytl_write_fn write, void *context,
                                       tinytl_error *error);
/* All that comes before the data, which the caller writes: floats first, in order. */
tinytl_status tinytl_safetensors_write_header(const char *const *meta, const tinytl_tensor *tensors,
                                              int n_tensors, tinytl_write_fn write, void *context,
                                              tinytl_error *error);

#endif
