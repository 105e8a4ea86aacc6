#include "command.h"
#include "io.h"
#include "options.h"
#include "summary.h"
#include "terminal.h"

static tinytl_status import_file(const char *path, const char *target, int weights,
                                 tinytl_backbone **backbone, tinytl_error *error) {
  cli_file file;
  tinytl_status status = cli_file_open(path, 0, &file, error);
  if (status != TINYTL_OK) return status;
  status = tinytl_backbone_import(file.bytes, file.nbytes, path, (tinytl_weights)weights, backbone,
                                  error);
  cli_file_close(&file);
  if (status != TINYTL_OK) return status;
  return cli_backbone_save(*backbone, target, path, error);
}

int cli_import(int argc, char **argv) {
  int weights = TINYTL_WEIGHTS_INT8;
  const char *target = NULL;
  bool json = false;
  const cli_option options[] = {
      CLI_OPTION_OUTPUT(&target, "BACKBONE"),
      CLI_OPTION_CHOICE("weights", &weights, cli_weights, "TYPE", "int8 (default) or f32"),
      CLI_OPTION_JSON(&json),
      CLI_OPTIONS_END,
  };
  const cli_syntax syntax = {
      .command = "import",
      .arguments = "FILE",
      .summary = "Turns a TFLite, safetensors or PyTorch model into a backbone.",
      .examples = "  tinytl import mobilenet_v2.tflite -o backbone.safetensors\n"
                  "  tinytl import mobilenet_v2.pth -o backbone.safetensors\n"
                  "  tinytl import mcunet.safetensors --weights f32 -o backbone.safetensors\n",
      .min_operands = 1,
      .max_operands = 1};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  tinytl_error error;
  tinytl_backbone *backbone = NULL;
  tinytl_status status = import_file(operands[0], target, weights, &backbone, &error);
  if (status == TINYTL_OK) cli_backbone_print(backbone, target, json);
  tinytl_backbone_free(backbone);
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
