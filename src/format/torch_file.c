/* The tensors of a file that torch.save wrote: a zip archive of ARCHIVE/data.pkl, a pickle, and
 * ARCHIVE/data/KEY, the numbers of a storage. The pickle says of a tensor
 *
 *   torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
 *   storage: persistent id ("storage", type, KEY, device, elements)
 *
 * which is read, not called. */
#include "format/pickle.h"
#include "format/state_dict.h"
#include "format/zip.h"

#include <stdio.h>
#include <string.h>

/* All that a checkpoint may name. */
enum { REBUILD_TENSOR, REBUILD_PARAMETER, FIRST_STORAGE };
static const char *const allowed[] = {"torch._utils _rebuild_tensor_v2",
                                      "torch._utils _rebuild_parameter",
                                      "torch FloatStorage",
                                      "torch HalfStorage",
                                      "torch BFloat16Storage",
                                      "torch DoubleStorage",
                                      "torch LongStorage",
                                      "torch IntStorage",
                                      "torch ShortStorage",
                                      "torch CharStorage",
                                      "torch ByteStorage",
                                      "torch BoolStorage",
                                      NULL};
static const struct {
  tinytl_dtype dtype;
  size_t nbytes;
} storages[] = {{TINYTL_DTYPE_F32, 4},   {TINYTL_DTYPE_F16, 2},   {TINYTL_DTYPE_BF16, 2},
                {TINYTL_DTYPE_F64, 8},   {TINYTL_DTYPE_OTHER, 8}, {TINYTL_DTYPE_OTHER, 4},
                {TINYTL_DTYPE_OTHER, 2}, {TINYTL_DTYPE_I8, 1},    {TINYTL_DTYPE_OTHER, 1},
                {TINYTL_DTYPE_OTHER, 1}};

/* Where a training script puts the state_dict in what it saves; averaged weights come first, as
 * they are the ones that were evaluated. */
static const char *const nests[] = {"state_dict_ema", "model_ema", "state_dict", "model"};
enum { N_NESTS = sizeof nests / sizeof *nests, MAX_DEPTH = 4 };

typedef struct torch_file {
  const char *name;
  size_t nbytes;
  tinytl_zip zip;
  char archive[128]; /* folder of all entries */
  tinytl_pickle pickle;
} torch_file;

static tinytl_status fail(const torch_file *file, const char *reason, tinytl_error *error) {
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %s", file->name, reason);
}

/* ---- The archive -------------------------------------------------------------------------- */

/* Entry ARCHIVE/path; NULL: there is none. */
static const tinytl_zip_entry *find_entry(const torch_file *file, const char *path) {
  char name[256];
  const int length = snprintf(name, sizeof name, "%s/%s", file->archive, path);
  return length < (int)sizeof name ? tinytl_zip_find(&file->zip, name, (size_t)length) : NULL;
}

/* The folder that holds data.pkl. */
static tinytl_status find_archive(torch_file *file, tinytl_error *error) {
  static const char pickle[] = "/data.pkl";
  for (int i = 0; i < file->zip.n; i++) {
    const tinytl_zip_entry *entry = &file->zip.entries[i];
    const char *slash = memchr(entry->name, '/', entry->name_length);
    const size_t length = slash ? (size_t)(slash - entry->name) : 0;
    if (!slash || entry->name_length - length != strlen(pickle) ||
        memcmp(slash, pickle, strlen(pickle)) != 0 || length >= sizeof file->archive)
      continue;
    memcpy(file->archive, entry->name, length);
    file->archive[length] = '\0';
    return TINYTL_OK;
  }
  return fail(file, "a zip archive without a data.pkl: not one that torch.save wrote", error);
}

static tinytl_status check_byteorder(const torch_file *file, tinytl_error *error) {
  static const char little[] = "little";
  const tinytl_zip_entry *entry = find_entry(file, "byteorder"); /* old files have none */
  if (entry &&
      (entry->nbytes != strlen(little) || memcmp(entry->data, little, strlen(little)) != 0))
    return fail(file, "expected byteorder \"little\", found another", error);
  return TINYTL_OK;
}

static tinytl_status read_pickle(torch_file *file, tinytl_error *error) {
  char where[256];
  TINYTL_TRY(find_archive(file, error));
  TINYTL_TRY(check_byteorder(file, error));
  const tinytl_zip_entry *entry = find_entry(file, "data.pkl");
  if (!entry) return fail(file, "its data.pkl is damaged", error);
  tinytl_format(where, sizeof where, "%s: data.pkl", file->name);
  return tinytl_pickle_open(entry->data, entry->nbytes, where, allowed, &file->pickle, error);
}

/* ---- One tensor --------------------------------------------------------------------------- */

static bool is_call(const torch_file *file, const tinytl_pickle_value *value, int function) {
  if (!value || value->kind != TINYTL_PICKLE_CALL) return false;
  return tinytl_pickle_item(&file->pickle, value, 0)->integer == function;
}

/* The call that makes a tensor, without a parameter around it; NULL: something else. */
static const tinytl_pickle_value *tensor_call(const torch_file *file,
                                              const tinytl_pickle_value *value) {
  const tinytl_pickle *pickle = &file->pickle;
  if (is_call(file, value, REBUILD_PARAMETER))
    value = tinytl_pickle_item(pickle, tinytl_pickle_item(pickle, value, 1), 0);
  return is_call(file, value, REBUILD_TENSOR) ? value : NULL;
}

static bool get_size(const tinytl_pickle_value *value, size_t *size) {
  if (!value || value->kind != TINYTL_PICKLE_INTEGER || value->integer < 0 ||
      (uint64_t)value->integer > SIZE_MAX)
    return false;
  *size = (size_t)value->integer;
  return true;
}

/* The three that follow return why it cannot be read; NULL: it was. */

/* Finds the numbers of a storage: *n elements of *value_nbytes in tensor->data. */
static const char *read_storage(const torch_file *file, const tinytl_pickle_value *storage,
                                tinytl_state_tensor *tensor, size_t *n, size_t *value_nbytes) {
  static const char no_id[] = "the id of its storage is damaged";
  const tinytl_pickle *pickle = &file->pickle;
  if (!storage || storage->kind != TINYTL_PICKLE_PERSISTENT) return no_id;
  const tinytl_pickle_value *id = tinytl_pickle_item(pickle, storage, 0);
  const tinytl_pickle_value *type = tinytl_pickle_item(pickle, id, 1);
  const tinytl_pickle_value *key = tinytl_pickle_item(pickle, id, 2);
  if (!type || type->kind != TINYTL_PICKLE_GLOBAL || type->integer < FIRST_STORAGE) return no_id;
  if (!key || key->kind != TINYTL_PICKLE_TEXT || key->text_nbytes > 64) return no_id;
  if (!get_size(tinytl_pickle_item(pickle, id, 4), n)) return no_id;
  char path[80];
  snprintf(path, sizeof path, "data/%.*s", (int)key->text_nbytes, key->text);
  const tinytl_zip_entry *entry = find_entry(file, path);
  size_t nbytes = 0;
  *value_nbytes = storages[type->integer - FIRST_STORAGE].nbytes;
  if (!entry) return "its storage is not in the file";
  if (!tinytl_size_mul(*n, *value_nbytes, &nbytes) || nbytes != entry->nbytes)
    return "its storage has another size than the pickle says";
  tensor->dtype = storages[type->integer - FIRST_STORAGE].dtype;
  tensor->data = entry->data;
  return NULL;
}

/* Reads size and stride, and checks that every element lies among the n of the storage, the first
 * at `offset`, and that there are no more of them. */
static const char *read_shape(const tinytl_pickle *pickle, const tinytl_pickle_value *size,
                              const tinytl_pickle_value *stride, size_t offset, size_t n,
                              tinytl_state_tensor *tensor) {
  static const char no_shape[] = "its size or stride is damaged";
  static const char outside[] = "its numbers do not lie inside of its storage";
  if (!size || size->kind != TINYTL_PICKLE_TUPLE || size->n > TINYTL_ST_MAX_DIMS) return no_shape;
  if (!stride || stride->kind != TINYTL_PICKLE_TUPLE || stride->n != size->n) return no_shape;
  size_t n_values = 1, last = offset;
  tensor->n_dims = size->n;
  for (int d = 0; d < size->n; d++) {
    size_t span = 0;
    if (!get_size(tinytl_pickle_item(pickle, size, d), &tensor->dims[d]) ||
        !get_size(tinytl_pickle_item(pickle, stride, d), &tensor->strides[d]))
      return no_shape;
    if (!tinytl_size_mul(n_values, tensor->dims[d], &n_values)) return outside;
    if (tensor->dims[d] == 0) continue;
    if (!tinytl_size_mul(tensor->dims[d] - 1, tensor->strides[d], &span) || span > SIZE_MAX - last)
      return outside;
    last += span;
  }
  return n_values <= n && offset <= n && (n_values == 0 || last < n) ? NULL : outside;
}

static const char *read_tensor(const torch_file *file, const tinytl_pickle_value *call,
                               tinytl_state_tensor *tensor) {
  const tinytl_pickle *pickle = &file->pickle;
  const tinytl_pickle_value *arguments = tinytl_pickle_item(pickle, call, 1);
  size_t offset = 0, n = 0, value_nbytes = 0;
  const char *reason =
      read_storage(file, tinytl_pickle_item(pickle, arguments, 0), tensor, &n, &value_nbytes);
  if (reason) return reason;
  if (!get_size(tinytl_pickle_item(pickle, arguments, 1), &offset)) return "its offset is damaged";
  reason = read_shape(pickle, tinytl_pickle_item(pickle, arguments, 2),
                      tinytl_pickle_item(pickle, arguments, 3), offset, n, tensor);
  if (reason) return reason;
  tensor->data += offset * value_nbytes;
  return NULL;
}

/* ---- The state_dict ----------------------------------------------------------------------- */

/* Entries of a dict that are tensors under a name. */
static size_t count_tensors(const torch_file *file, const tinytl_pickle_value *dict) {
  const tinytl_pickle_value *key = NULL, *value = NULL;
  size_t n = 0;
  for (int cell = -1; tinytl_pickle_next(&file->pickle, dict, &cell, &key, &value);)
    n += key->kind == TINYTL_PICKLE_TEXT && tensor_call(file, value);
  return n;
}

/* The dict of n tensors that one of `nests` leads to, or else this one; NULL: neither holds any.
 * Figures beside a state_dict, as a best accuracy, may be tensors too. */
static const tinytl_pickle_value *
find_tensors(const torch_file *file, const tinytl_pickle_value *dict, int depth, size_t *n) {
  if (!dict || dict->kind != TINYTL_PICKLE_DICT || depth == MAX_DEPTH) return NULL;
  for (int i = 0; i < N_NESTS; i++) {
    const tinytl_pickle_value *found =
        find_tensors(file, tinytl_pickle_get(&file->pickle, dict, nests[i]), depth + 1, n);
    if (found) return found;
  }
  *n = count_tensors(file, dict);
  return *n > 0 ? dict : NULL;
}

static tinytl_status find_state(const torch_file *file, const tinytl_pickle_value **dict, size_t *n,
                                tinytl_error *error) {
  *dict = find_tensors(file, &file->pickle.values[file->pickle.root], 0, n);
  if (*dict) return TINYTL_OK;
  return fail(file,
              "expected a state_dict, or a dict with one under \"state_dict\" or \"model\", found "
              "neither",
              error);
}

static tinytl_status add_tensors(const torch_file *file, const tinytl_pickle_value *dict,
                                 tinytl_state_dict *state, tinytl_error *error) {
  const tinytl_pickle_value *key = NULL, *value = NULL;
  for (int cell = -1; tinytl_pickle_next(&file->pickle, dict, &cell, &key, &value);) {
    const tinytl_pickle_value *call = tensor_call(file, value);
    tinytl_state_tensor tensor = {0};
    if (key->kind != TINYTL_PICKLE_TEXT || !call) continue;
    const char *reason = read_tensor(file, call, &tensor);
    if (reason)
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: tensor \"%.*s\": %s", file->name,
                         key->text_nbytes < 80 ? (int)key->text_nbytes : 80, key->text, reason);
    TINYTL_TRY(tinytl_state_add(state, key->text, key->text_nbytes, &tensor, error));
  }
  return tinytl_state_sort(state, error);
}

static tinytl_status read_state(torch_file *file, tinytl_state_dict *state, tinytl_error *error) {
  const tinytl_pickle_value *dict = NULL;
  size_t n = 0;
  TINYTL_TRY(read_pickle(file, error));
  TINYTL_TRY(find_state(file, &dict, &n, error));
  tinytl_state_dict made;
  TINYTL_TRY(tinytl_state_init(&made, file->name, file->nbytes, n, error));
  const tinytl_status status = add_tensors(file, dict, &made, error);
  if (status != TINYTL_OK)
    tinytl_state_free(&made);
  else
    *state = made;
  return status;
}

tinytl_status tinytl_state_from_torch(const void *bytes, size_t nbytes, const char *name,
                                      tinytl_state_dict *state, tinytl_error *error) {
  torch_file file = {.name = name, .nbytes = nbytes};
  TINYTL_TRY(tinytl_zip_open(bytes, nbytes, name, &file.zip, error));
  const tinytl_status status = read_state(&file, state, error);
  tinytl_pickle_close(&file.pickle);
  tinytl_zip_close(&file.zip);
  return status;
}
