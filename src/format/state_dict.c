#include "format/state_dict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Making one --------------------------------------------------------------------------- */

/* Of an element; 0: TINYTL_DTYPE_OTHER. */
static size_t dtype_nbytes(tinytl_dtype dtype) {
  switch (dtype) {
  case TINYTL_DTYPE_F32:
    return 4;
  case TINYTL_DTYPE_I8:
    return 1;
  case TINYTL_DTYPE_F16:
  case TINYTL_DTYPE_BF16:
    return 2;
  case TINYTL_DTYPE_F64:
    return 8;
  case TINYTL_DTYPE_OTHER:
    break;
  }
  return 0;
}

tinytl_status tinytl_state_init(tinytl_state_dict *state, const char *file, size_t file_nbytes,
                                size_t n, tinytl_error *error) {
  if (n > TINYTL_ST_MAX_TENSORS)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %zu tensors, at most %d are supported", file,
                       n, TINYTL_ST_MAX_TENSORS);
  *state = (tinytl_state_dict){.file = file, .file_nbytes = file_nbytes};
  state->tensors = calloc(n + 1, sizeof *state->tensors);
  state->read = calloc(n + 1, sizeof *state->read);
  if (state->tensors && state->read) return TINYTL_OK;
  tinytl_state_free(state);
  return tinytl_fail_memory(error, (n + 1) * sizeof *state->tensors);
}

static bool drop_prefix(const char *prefix, const char **name, size_t *length) {
  const size_t n = strlen(prefix);
  if (*length <= n || memcmp(*name, prefix, n) != 0) return false;
  *name += n;
  *length -= n;
  return true;
}

tinytl_status tinytl_state_add(tinytl_state_dict *state, const char *name, size_t length,
                               const tinytl_state_tensor *tensor, tinytl_error *error) {
  /* Wrappers may be wrapped, in any order. */
  while (drop_prefix("module.", &name, &length) || drop_prefix("_orig_mod.", &name, &length) ||
         drop_prefix("model.", &name, &length))
    continue;
  if (memchr(name, '\0', length))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: a tensor's name holds a NUL", state->file);
  tinytl_state_tensor *added = &state->tensors[state->n];
  *added = *tensor;
  added->name = strndup(name, length);
  if (!added->name) return tinytl_fail_memory(error, length + 1);
  state->n++;
  return TINYTL_OK;
}

static int by_name(const void *x, const void *y) {
  return strcmp(((const tinytl_state_tensor *)x)->name, ((const tinytl_state_tensor *)y)->name);
}

tinytl_status tinytl_state_sort(tinytl_state_dict *state, tinytl_error *error) {
  qsort(state->tensors, (size_t)state->n, sizeof *state->tensors, by_name);
  for (int i = 1; i < state->n; i++)
    if (by_name(&state->tensors[i - 1], &state->tensors[i]) == 0)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%.80s\" stands twice",
                         state->file, state->tensors[i].name);
  return TINYTL_OK;
}

void tinytl_state_free(tinytl_state_dict *state) {
  for (int i = 0; i < state->n; i++) free(state->tensors[i].name);
  free(state->tensors);
  free(state->read);
  *state = (tinytl_state_dict){0};
}

static tinytl_status add_tensors(const tinytl_safetensors *file, tinytl_state_dict *state,
                                 tinytl_error *error) {
  for (int i = 0; i < tinytl_safetensors_n(file); i++) {
    const tinytl_tensor *from = tinytl_safetensors_at(file, i);
    tinytl_state_tensor tensor = {.dtype = from->dtype, .n_dims = from->n_dims, .data = from->data};
    size_t stride = 1;
    for (int d = from->n_dims - 1; d >= 0; d--) {
      tensor.dims[d] = from->dims[d];
      tensor.strides[d] = stride;
      stride *= from->dims[d];
    }
    TINYTL_TRY(tinytl_state_add(state, from->name, strlen(from->name), &tensor, error));
  }
  return tinytl_state_sort(state, error);
}

tinytl_status tinytl_state_from_safetensors(const tinytl_safetensors *file, size_t file_nbytes,
                                            tinytl_state_dict *state, tinytl_error *error) {
  tinytl_state_dict made;
  TINYTL_TRY(tinytl_state_init(&made, tinytl_safetensors_name(file), file_nbytes,
                               (size_t)tinytl_safetensors_n(file), error));
  const tinytl_status status = add_tensors(file, &made, error);
  if (status != TINYTL_OK)
    tinytl_state_free(&made);
  else
    *state = made;
  return status;
}

/* ---- Reading ------------------------------------------------------------------------------ */

const tinytl_state_tensor *tinytl_state_find(const tinytl_state_dict *state, const char *name) {
  const tinytl_state_tensor key = {.name = (char *)name};
  return bsearch(&key, state->tensors, (size_t)state->n, sizeof key, by_name);
}

tinytl_status tinytl_state_need(const tinytl_state_dict *state, const char *name,
                                const tinytl_state_tensor **tensor, tinytl_error *error) {
  *tensor = tinytl_state_find(state, name);
  if (*tensor) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%s\" is missing", state->file, name);
}

/* IEEE 754 binary16 */
static float half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? ldexpf((float)fraction, -24)
                                     : ldexpf((float)(1024 + fraction), exponent - 25);
  return bits >> 15 ? -size : size;
}

/* bfloat16: the upper half of a float32 */
static float bfloat16_value(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

static float value_at(const tinytl_state_tensor *tensor, size_t index) {
  const uint8_t *at = tensor->data + index * dtype_nbytes(tensor->dtype);
  uint16_t bits;
  float value;
  double wide;
  switch (tensor->dtype) {
  case TINYTL_DTYPE_F16:
    memcpy(&bits, at, sizeof bits);
    return half_value(bits);
  case TINYTL_DTYPE_BF16:
    memcpy(&bits, at, sizeof bits);
    return bfloat16_value(bits);
  case TINYTL_DTYPE_F64:
    memcpy(&wide, at, sizeof wide);
    return (float)wide;
  default:
    memcpy(&value, at, sizeof value);
    return value;
  }
}

static bool is_float(const tinytl_state_tensor *tensor) {
  return tensor->dtype != TINYTL_DTYPE_OTHER && tensor->dtype != TINYTL_DTYPE_I8;
}

static tinytl_status expect(const tinytl_state_dict *state, const char *name, int n_dims,
                            const int *dims, const tinytl_state_tensor **tensor,
                            tinytl_error *error) {
  const tinytl_state_tensor *found = NULL;
  TINYTL_TRY(tinytl_state_need(state, name, &found, error));
  if (!is_float(found))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: tensor \"%s\": expected float32, float16, bfloat16 or float64, found "
                       "another type",
                       state->file, name);
  TINYTL_TRY(
      tinytl_check_shape(state->file, name, found->n_dims, found->dims, n_dims, dims, error));
  *tensor = found;
  return TINYTL_OK;
}

tinytl_status tinytl_state_read(const tinytl_state_dict *state, const char *name, int n_dims,
                                const int *dims, float *to, tinytl_error *error) {
  const tinytl_state_tensor *tensor = NULL;
  TINYTL_TRY(expect(state, name, n_dims, dims, &tensor, error));
  size_t n[4] = {1, 1, 1, 1}, step[4] = {0}, out = 0;
  for (int d = 0; d < n_dims; d++) {
    n[4 - n_dims + d] = tensor->dims[d];
    step[4 - n_dims + d] = tensor->strides[d];
  }
  for (size_t i = 0; i < n[0]; i++)
    for (size_t j = 0; j < n[1]; j++)
      for (size_t k = 0; k < n[2]; k++)
        for (size_t l = 0; l < n[3]; l++) {
          const size_t at = i * step[0] + j * step[1] + k * step[2] + l * step[3];
          to[out] = value_at(tensor, at);
          if (!isfinite(to[out]))
            return tinytl_fail(error, TINYTL_ERROR_MODEL,
                               "%s: tensor \"%s\": value %zu is not a finite number", state->file,
                               name, out);
          out++;
        }
  state->read[tensor - state->tensors] = true;
  return TINYTL_OK;
}

static bool ends_in(const char *name, const char *end) {
  const size_t length = strlen(name), n_end = strlen(end);
  return length >= n_end && strcmp(name + length - n_end, end) == 0;
}

tinytl_status tinytl_state_all_read(const tinytl_state_dict *state, const char *unused,
                                    tinytl_error *error) {
  for (int i = 0; i < state->n; i++) {
    const tinytl_state_tensor *tensor = &state->tensors[i];
    if (state->read[i] || !is_float(tensor) || ends_in(tensor->name, "num_batches_tracked") ||
        (unused && ends_in(tensor->name, unused)))
      continue;
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: unexpected tensor \"%.80s\"", state->file,
                       tensor->name);
  }
  return TINYTL_OK;
}
