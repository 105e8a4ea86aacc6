/* A network's tensors by name, as PyTorch's state_dict() gives them, out of whichever file. */
#ifndef TINYTL_FORMAT_STATE_DICT_H
#define TINYTL_FORMAT_STATE_DICT_H

#include "format/safetensors.h"

typedef struct tinytl_state_tensor {
  char *name; /* owned */
  tinytl_dtype dtype;
  int n_dims;
  size_t dims[TINYTL_ST_MAX_DIMS], strides[TINYTL_ST_MAX_DIMS]; /* strides in elements */
  const uint8_t *data; /* first element; all lie inside the file; little-endian, any alignment */
} tinytl_state_tensor;

typedef struct tinytl_state_dict {
  const char *file; /* in messages */
  size_t file_nbytes;
  tinytl_state_tensor *tensors; /* [n], in order of names */
  bool *read;                   /* [n], by tinytl_state_read */
  int n;
} tinytl_state_dict;

/* Makes room for so many tensors. Errors: TINYTL_ERROR_MODEL beyond TINYTL_ST_MAX_TENSORS. */
tinytl_status tinytl_state_init(tinytl_state_dict *state, const char *file, size_t file_nbytes,
                                size_t n, tinytl_error *error);
/* Appends a tensor, within that room, under a copy of name [length] without what data-parallel
 * training ("module."), torch.compile ("_orig_mod.") and Lightning ("model.") put before it. */
tinytl_status tinytl_state_add(tinytl_state_dict *state, const char *name, size_t length,
                               const tinytl_state_tensor *tensor, tinytl_error *error);
/* Puts them in order, after the last one; fails where a name stands twice. */
tinytl_status tinytl_state_sort(tinytl_state_dict *state, tinytl_error *error);
void tinytl_state_free(tinytl_state_dict *state);

/* NULL: absent. */
const tinytl_state_tensor *tinytl_state_find(const tinytl_state_dict *state, const char *name);
/* The same of one that must be there. */
tinytl_status tinytl_state_need(const tinytl_state_dict *state, const char *name,
                                const tinytl_state_tensor **tensor, tinytl_error *error);
/* Widens a tensor of exactly these dims (n_dims 1 to 4) and of finite values to float32, in
 * row-major order, or explains. */
tinytl_status tinytl_state_read(const tinytl_state_dict *state, const char *name, int n_dims,
                                const int *dims, float *to, tinytl_error *error);
/* Fails naming a tensor of floats that was not read, if there is one whose name does not end in
 * `unused` (NULL: ends in anything). Integers are passed over, for they count batches, and so are
 * those counts as floats: half() makes some of them. */
tinytl_status tinytl_state_all_read(const tinytl_state_dict *state, const char *unused,
                                    tinytl_error *error);

/* The tensors of a file of either kind. Both borrow its bytes until the dict is freed. */
tinytl_status tinytl_state_from_safetensors(const tinytl_safetensors *file, size_t file_nbytes,
                                            tinytl_state_dict *state, tinytl_error *error);
tinytl_status tinytl_state_from_torch(const void *bytes, size_t nbytes, const char *name,
                                      tinytl_state_dict *state, tinytl_error *error);

#endif
