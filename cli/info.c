#define _GNU_SOURCE /* memmem */
#include <string.h>

#include "command.h"
#include "io.h"
#include "model.h"
#include "options.h"
#include "summary.h"
#include "terminal.h"

/* True where the metadata at the file's start gives its kind as this one. */
static bool claims(const cli_file *file, const char *kind) {
  static const char key[] = "\"tinytl.format\"";
  size_t nbytes = file->nbytes < 4096 ? file->nbytes : 4096;
  const char *found = nbytes ? memmem(file->bytes, nbytes, key, sizeof key - 1) : NULL;
  if (!found) return false;
  const char *value = found + sizeof key - 1;
  size_t left = nbytes - (size_t)(value - (const char *)file->bytes);
  return memmem(value, left < 16 ? left : 16, kind, strlen(kind)) != NULL;
}

static tinytl_status print_supernet(const cli_file *file, const char *path, bool json,
                                    tinytl_error *error) {
  tinytl_supernet *supernet;
  tinytl_status status = tinytl_supernet_open(file->bytes, file->nbytes, path, &supernet, error);
  if (status != TINYTL_OK) return status;
  cli_supernet_print(supernet, path, json);
  tinytl_supernet_free(supernet);
  return TINYTL_OK;
}

/* A file is tried as a backbone and as an adapter. Where it is neither, the reader that
 * recognised its kind and then found damage has the better message. */
static tinytl_status print_file(const cli_file *file, const char *path, bool json,
                                tinytl_error *error) {
  if (claims(file, "super-net")) return print_supernet(file, path, json, error);
  tinytl_backbone *backbone;
  if (tinytl_backbone_open(file->bytes, file->nbytes, path, &backbone, error) == TINYTL_OK) {
    cli_backbone_print(backbone, path, json);
    tinytl_backbone_free(backbone);
    return TINYTL_OK;
  }
  tinytl_adapter *adapter;
  tinytl_error *adapter_error = claims(file, "adapter") ? error : NULL;
  tinytl_status status =
      tinytl_adapter_open(file->bytes, file->nbytes, path, NULL, &adapter, adapter_error);
  if (status != TINYTL_OK) return status;
  cli_adapter_print(adapter, path, json);
  tinytl_adapter_free(adapter);
  return TINYTL_OK;
}

int cli_info(int argc, char **argv) {
  bool json = false;
  const cli_option options[] = {CLI_OPTION_JSON(&json), CLI_OPTIONS_END};
  const cli_syntax syntax = {.command = "info",
                             .arguments = "FILE",
                             .summary = "Says what a backbone, an adapter or a super-net holds.",
                             .examples = "  tinytl info mine.safetensors\n"
                                         "  tinytl info backbone.safetensors --json\n",
                             .min_operands = 1,
                             .max_operands = 1};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  tinytl_error error;
  cli_file file;
  tinytl_status status = cli_file_open(operands[0], 0, &file, &error);
  if (status == TINYTL_OK) {
    status = print_file(&file, operands[0], json, &error);
    cli_file_close(&file);
  }
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
