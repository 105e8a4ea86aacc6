#include "command.h"
#include "io.h"
#include "options.h"
#include "summary.h"
#include "terminal.h"

static tinytl_status print_supernet(const cli_file *file, const char *path, bool json,
                                    tinytl_error *error) {
  tinytl_supernet *supernet;
  tinytl_status status = tinytl_supernet_open(file->bytes, file->nbytes, path, &supernet, error);
  if (status != TINYTL_OK) return status;
  cli_supernet_print(supernet, path, json);
  tinytl_supernet_free(supernet);
  return TINYTL_OK;
}

static tinytl_status print_adapter(const cli_file *file, const char *path, bool json,
                                   tinytl_error *error) {
  tinytl_adapter *adapter;
  tinytl_status status =
      tinytl_adapter_open(file->bytes, file->nbytes, path, NULL, &adapter, error);
  if (status != TINYTL_OK) return status;
  cli_adapter_print(adapter, path, json);
  tinytl_adapter_free(adapter);
  return TINYTL_OK;
}

static tinytl_status print_checkpoint(const cli_file *file, const char *path, bool json,
                                      tinytl_error *error) {
  tinytl_checkpoint_info info;
  tinytl_status status = tinytl_checkpoint_describe(file->bytes, file->nbytes, path, &info, error);
  if (status == TINYTL_OK) cli_checkpoint_print(&info, path, json);
  return status;
}

static tinytl_status print_backbone(const cli_file *file, const char *path, bool json,
                                    tinytl_error *error) {
  tinytl_backbone *backbone;
  tinytl_status status = tinytl_backbone_open(file->bytes, file->nbytes, path, &backbone, error);
  if (status != TINYTL_OK) return status;
  cli_backbone_print(backbone, path, json);
  tinytl_backbone_free(backbone);
  return TINYTL_OK;
}

static tinytl_status print_file(const cli_file *file, const char *path, bool json,
                                tinytl_error *error) {
  switch (tinytl_file_kind_of(file->bytes, file->nbytes)) {
  case TINYTL_FILE_SUPERNET:
    return print_supernet(file, path, json, error);
  case TINYTL_FILE_ADAPTER:
    return print_adapter(file, path, json, error);
  case TINYTL_FILE_CHECKPOINT:
    return print_checkpoint(file, path, json, error);
  default:
    return print_backbone(file, path, json, error);
  }
}

int cli_info(int argc, char **argv) {
  bool json = false;
  const cli_option options[] = {CLI_OPTION_JSON(&json), CLI_OPTIONS_END};
  const cli_syntax syntax = {
      .command = "info",
      .arguments = "FILE",
      .summary = "Says what a backbone, an adapter, a super-net or a checkpoint holds.",
      .examples = "  tinytl info mine.safetensors\n"
                  "  tinytl info backbone.safetensors --json\n"
                  "  tinytl info run.ckpt\n",
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
