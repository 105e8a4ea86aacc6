#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "terminal.h"

/* DIR of /DIR/tinytl; "" where the system does not tell. */
static void program_directory(char *path, size_t size) {
  ssize_t n = readlink("/proc/self/exe", path, size - 1);
  path[n > 0 ? n : 0] = '\0';
  char *slash = strrchr(path, '/');
  if (slash) *slash = '\0';
}

tinytl_status cli_model_find(const char *chosen, const char *bundled, const char *advice,
                             char *found, size_t size, tinytl_error *error) {
  if (chosen && *chosen) {
    if ((size_t)snprintf(found, size, "%s", chosen) < size) return TINYTL_OK;
    return cli_fail(error, TINYTL_ERROR_USAGE, "-m: path of %zu bytes is too long", strlen(chosen));
  }
  static const char *const beside[] = {"/", "/../models/", "/../share/tinytl/"};
  char directory[2048], place[2200] = "";
  program_directory(directory, sizeof directory);
  if (*directory) snprintf(place, sizeof place, " in %s, where the program is, nor", directory);
  for (size_t i = 0; *directory && i < sizeof beside / sizeof *beside; i++) {
    snprintf(found, size, "%s%s%s", directory, beside[i], bundled);
    if (access(found, R_OK) == 0) return TINYTL_OK;
  }
  snprintf(found, size, "%s/%s", TINYTL_DATADIR, bundled);
  if (access(found, R_OK) == 0) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_MODEL, "no model: %s; there is no %s%s in %s", advice,
                  bundled, place, TINYTL_DATADIR);
}

tinytl_status cli_explain_kind(tinytl_status status, const cli_file *file, const char *path,
                               const char *expected, tinytl_error *error) {
  static const char *const kinds[] = {
      [TINYTL_FILE_BACKBONE] = "a backbone, which is for -m of train, eval and predict",
      [TINYTL_FILE_ADAPTER] = "an adapter, which is for -a",
      [TINYTL_FILE_SUPERNET] = "a super-net, of which 'tinytl search' makes a backbone",
      [TINYTL_FILE_CHECKPOINT] = "the checkpoint of a run, which --resume goes on from"};
  if (status != TINYTL_ERROR_MODEL) return status;
  const char *found = kinds[tinytl_file_kind_of(file->bytes, file->nbytes)];
  if (!found || strncmp(found, expected, strlen(expected)) == 0) return status;
  return cli_fail(error, status, "%s: expected %s, found %s", path, expected, found);
}

static tinytl_status open_adapter(cli_model *model, const char *path, tinytl_error *error) {
  cli_file file;
  tinytl_status status = cli_file_open(path, 0, &file, error);
  if (status != TINYTL_OK) return status;
  status =
      tinytl_adapter_open(file.bytes, file.nbytes, path, model->backbone, &model->adapter, error);
  tinytl_adapter *alone;
  tinytl_error reason;
  if (status == TINYTL_ERROR_MODEL &&
      tinytl_adapter_open(file.bytes, file.nbytes, path, NULL, &alone, &reason) == TINYTL_OK) {
    tinytl_adapter_free(alone);
    reason = *error;
    cli_fail(error, status, "%s: give its own with -m, instead of %s", reason.message, model->path);
  }
  status = cli_explain_kind(status, &file, path, "an adapter", error);
  cli_file_close(&file);
  return status;
}

/* What opening a file may take the process past the limit by, as ordinary headers may where a limit
 * is tight. */
enum { MARGIN = 1000 * 1000 };
/* Less than any process takes: a unit was forgotten. */
enum { LEAST_SANE = 100 * 1000 };

static size_t left_of(size_t limit) {
  const size_t held = cli_peak_rss();
  return limit > held ? limit - held : 0;
}

/* Where the process alone holds more than the limit, the file's size does not count: the run
 * will be refused, and that says what limit would do. */
static tinytl_status check_limit(const cli_file *file, const char *path, bool is_copied,
                                 size_t limit, tinytl_error *error) {
  const size_t left = left_of(limit);
  const bool is_tight = left > 0;
  const size_t heap = tinytl_open_nbytes(file->bytes, file->nbytes, is_copied && is_tight);
  const size_t needed = heap + (is_tight ? file->nbytes : 0);
  if (needed <= left + MARGIN) return TINYTL_OK;
  const size_t whole = tinytl_open_nbytes(file->bytes, file->nbytes, is_copied) + file->nbytes;
  return cli_fail(
      error, TINYTL_ERROR_MEMORY_LIMIT,
      "%s: opening it may take %.1f MB, and %.1f MB are held before; the memory limit is "
      "%.1f MB: %s",
      path, (double)whole / 1e6, (double)cli_peak_rss() / 1e6, (double)limit / 1e6,
      limit < LEAST_SANE ? "'tinytl plan' says what training takes; without K, M or G a size is "
                           "in bytes"
      : is_copied        ? "--search-limit gives the search more than training will have"
                         : "'tinytl plan' says what training takes");
}

tinytl_status cli_model_file_open(const char *path, bool is_copied, size_t limit, cli_file *file,
                                  tinytl_error *error) {
  tinytl_status status = cli_file_open(path, limit ? left_of(limit) + MARGIN : 0, file, error);
  if (status != TINYTL_OK || limit == 0) return status;
  status = check_limit(file, path, is_copied, limit, error);
  if (status != TINYTL_OK) cli_file_close(file);
  return status;
}

tinytl_status cli_model_open(cli_model *model, const char *backbone_path, const char *adapter_path,
                             size_t memory_limit, tinytl_error *error) {
  *model = (cli_model){0};
  tinytl_status status = cli_model_find(
      backbone_path ? backbone_path : getenv("TINYTL_MODEL"), "default.safetensors",
      "give -m BACKBONE or set TINYTL_MODEL", model->path, sizeof model->path, error);
  if (status == TINYTL_OK)
    status = cli_model_file_open(model->path, false, memory_limit, &model->file, error);
  if (status == TINYTL_OK) {
    status = tinytl_backbone_open(model->file.bytes, model->file.nbytes, model->path,
                                  &model->backbone, error);
    status = cli_explain_kind(status, &model->file, model->path, "a backbone", error);
    /* Opening reads all of it; a run needs a part, and its plan counts that part. */
    cli_file_forget(&model->file);
  }
  if (status == TINYTL_OK && adapter_path) status = open_adapter(model, adapter_path, error);
  if (status != TINYTL_OK) cli_model_close(model);
  return status;
}

void cli_model_close(cli_model *model) {
  tinytl_adapter_free(model->adapter);
  tinytl_backbone_free(model->backbone);
  cli_file_close(&model->file);
  *model = (cli_model){0};
}

const char *cli_model_class(const cli_model *model, int index) {
  return model->adapter ? tinytl_adapter_class(model->adapter, index)
                        : tinytl_backbone_label(model->backbone, index);
}

void cli_match_names(const char *const *names, int n, const char *const *known, int n_known,
                     int *to) {
  for (int i = 0; i < n; i++) {
    to[i] = -1;
    for (int j = 0; names[i] && to[i] < 0 && j < n_known; j++) {
      if (strcmp(names[i], known[j]) == 0) to[i] = j;
    }
  }
}

size_t cli_peak_rss(void) {
  /* getrusage also counts what the parent held when it forked: the kernel's own figure first. */
  size_t kib = 0;
  char line[128];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && kib == 0 && fgets(line, sizeof line, status)) {
    if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoul(line + 6, NULL, 10);
  }
  if (status) fclose(status);
  struct rusage usage;
  if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = (size_t)usage.ru_maxrss;
  return kib * 1024;
}
