#include "tinytl/file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/sealed_file.h"

/* Runs, in the order of tinytl_run_kind. */
static const struct run {
  const char *format;
  const char *subject; /* what tinytl.run calls it */
  const char *epochs;  /* the object that has their number */
} runs[] = {[TINYTL_RUN_TRAIN] = {TINYTL_CHECKPOINT_FORMAT, "method", "tinytl.schedule"},
            [TINYTL_RUN_PRETRAIN] = {TINYTL_PRETRAIN_FORMAT, "architecture", "tinytl.run"},
            [TINYTL_RUN_SEARCH] = {TINYTL_SEARCH_FORMAT, "method", "tinytl.run"}};
enum { N_RUNS = sizeof runs / sizeof *runs };

/* ---- Kinds -------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whose checkpoints have this format, in whatever version; N_RUNS: none's. */
static int run_of(const char *format) {
  int run = 0;
  while (run < N_RUNS && strncmp(format, runs[run].format, strcspn(runs[run].format, " ") + 1) != 0)
    run++;
  return run;
}

static tinytl_file_kind kind_of(const char *format) {
  if (begins_with(format, "backbone ")) return TINYTL_FILE_BACKBONE;
  if (begins_with(format, "adapter ")) return TINYTL_FILE_ADAPTER;
  if (begins_with(format, "super-net ")) return TINYTL_FILE_SUPERNET;
  return run_of(format) < N_RUNS ? TINYTL_FILE_CHECKPOINT : TINYTL_FILE_OTHER;
}

/* The header of a file that can be read so far; NULL: it cannot, or gives no format. */
static tinytl_safetensors *open_header(const void *bytes, size_t nbytes, const char **format) {
  tinytl_safetensors *header = NULL;
  if (nbytes < 8 || tinytl_safetensors_header_nbytes(bytes) > nbytes) return NULL;
  if (tinytl_safetensors_open_header(bytes, nbytes, "", &header, NULL) != TINYTL_OK) return NULL;
  *format = tinytl_safetensors_meta(header, "tinytl.format");
  if (*format) return header;
  tinytl_safetensors_free(header);
  return NULL;
}

tinytl_file_kind tinytl_file_kind_of(const void *bytes, size_t nbytes) {
  const char *format = NULL;
  tinytl_safetensors *header = open_header(bytes, nbytes, &format);
  const tinytl_file_kind kind = header ? kind_of(format) : TINYTL_FILE_OTHER;
  tinytl_safetensors_free(header);
  return kind;
}

/* ---- Checkpoints -------------------------------------------------------------------------- */

static bool read_memory(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  memcpy(bytes, (const char *)context + offset, nbytes);
  return true;
}

/* Of a file's metadata; "": it has none. */
static void copy_meta(const tinytl_sealed_file *file, const char *key, char *to, size_t size) {
  const char *text = tinytl_safetensors_meta(file->header, key);
  snprintf(to, size, "%s", text ? text : "");
}

typedef struct field {
  const char *key;
  int *value;
} field;

/* Whole numbers of 0 or more, of one object of the metadata. */
static tinytl_status read_fields(const tinytl_sealed_file *file, const char *object, int n,
                                 const field *fields, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *json = NULL;
  TINYTL_TRY(tinytl_sealed_object(file, object, where, &json, error));
  tinytl_status status = TINYTL_OK;
  for (int i = 0; status == TINYTL_OK && i < n; i++)
    status = tinytl_json_int(json, fields[i].key, 0, INT_MAX, where, fields[i].value, error);
  json_decref(json);
  return status;
}

static tinytl_status read_subject(const tinytl_sealed_file *file, const char *key, char *subject,
                                  size_t size, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *json = NULL;
  const char *text = NULL;
  TINYTL_TRY(tinytl_sealed_object(file, "tinytl.run", where, &json, error));
  const tinytl_status status = tinytl_json_string(json, key, where, &text, error);
  if (status == TINYTL_OK) snprintf(subject, size, "%s", text);
  json_decref(json);
  return status;
}

/* 0 to 1; absent: NAN. */
static tinytl_status read_share(const json_t *item, const char *where, float *share,
                                tinytl_error *error) {
  const double value = json_is_number(item) ? json_number_value(item) : -1;
  if (!item) return TINYTL_OK;
  if (!(value >= 0 && value <= 1))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected an accuracy of 0 to 1", where);
  *share = (float)value;
  return TINYTL_OK;
}

/* What was found before a refit, or of this training's scores the first. */
static tinytl_status read_val_top1(const tinytl_sealed_file *file, bool is_refit, float *val_top1,
                                   tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *json = NULL;
  const char *key = is_refit ? "tinytl.refit" : "tinytl.state";
  TINYTL_TRY(tinytl_sealed_object(file, key, where, &json, error));
  const json_t *item = is_refit ? json_object_get(json, "val_top1")
                                : json_array_get(json_object_get(json, "scores"), 0);
  const tinytl_status status = read_share(item, where, val_top1, error);
  json_decref(json);
  return status;
}

static tinytl_status check_position(const tinytl_sealed_file *file,
                                    const tinytl_checkpoint_info *info, tinytl_error *error) {
  const bool is_known = info->n_epochs > 0;
  if (info->epoch >= 1 && (!is_known || info->epoch - 1 <= info->n_epochs) &&
      info->image <= info->n_train_images)
    return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "%s: tinytl.state: epoch %d of %d, picture %d of %d, is none of its run",
                     file->source->name, info->epoch, info->n_epochs, info->image,
                     info->n_train_images);
}

static tinytl_status describe(const tinytl_sealed_file *file, tinytl_checkpoint_info *info,
                              tinytl_error *error) {
  const struct run *run = &runs[info->run];
  TINYTL_TRY(read_subject(file, run->subject, info->subject, sizeof info->subject, error));
  const field state[] = {
      {"epoch", &info->epoch}, {"images", &info->image}, {"measured", &info->n_measured}};
  const field data[] = {{"classes", &info->n_classes},
                        {"train_images", &info->n_train_images},
                        {"val_images", &info->n_val_images}};
  const int n_state = info->run == TINYTL_RUN_SEARCH ? 3 : 2; /* others measure nothing */
  TINYTL_TRY(read_fields(file, "tinytl.state", n_state, state, error));
  TINYTL_TRY(read_fields(file, run->epochs, 1, &(field){"epochs", &info->n_epochs}, error));
  TINYTL_TRY(read_fields(file, "tinytl.data", 3, data, error));
  TINYTL_TRY(check_position(file, info, error));
  copy_meta(file, "tinytl.version", info->version, sizeof info->version);
  copy_meta(file, "tinytl.kernels", info->kernels, sizeof info->kernels);
  copy_meta(file, "tinytl.backbone", info->backbone_sha256, sizeof info->backbone_sha256);
  info->is_refit = tinytl_safetensors_meta(file->header, "tinytl.refit") != NULL;
  return read_val_top1(file, info->is_refit, &info->val_top1, error);
}

tinytl_status tinytl_checkpoint_describe(const void *bytes, size_t nbytes, const char *name,
                                         tinytl_checkpoint_info *info, tinytl_error *error) {
  const tinytl_source source = {
      .name = name, .nbytes = nbytes, .context = (void *)bytes, .read = read_memory};
  const char *format = NULL;
  tinytl_safetensors *header = open_header(bytes, nbytes, &format);
  const int run = header ? run_of(format) : N_RUNS;
  tinytl_safetensors_free(header);
  /* What is no checkpoint is refused as one of training. */
  tinytl_checkpoint_info read = {.run = run < N_RUNS ? (tinytl_run_kind)run : TINYTL_RUN_TRAIN,
                                 .val_top1 = NAN};
  tinytl_sealed_file file;
  tinytl_status status = tinytl_sealed_open(&file, &source, runs[read.run].format, error);
  if (status == TINYTL_OK) status = describe(&file, &read, error);
  tinytl_sealed_close(&file);
  if (status == TINYTL_OK) *info = read;
  return status;
}
