#include "command.h"
#include "options.h"
#include "summary.h"
#include "terminal.h"

int cli_init(int argc, char **argv) {
  int weights = TINYTL_WEIGHTS_INT8, n_classes = 1000;
  uint64_t seed = 0;
  const char *target = NULL;
  bool json = false;
  const cli_option options[] = {
      CLI_OPTION_OUTPUT(&target, "BACKBONE"),
      CLI_OPTION_INT(0, "classes", &n_classes, 1, TINYTL_MAX_CLASSES,
                     "outputs of its classifier (default: 1000)"),
      CLI_OPTION_CHOICE("weights", &weights, cli_weights, "TYPE", "int8 (default) or f32"),
      CLI_OPTION_SEED("seed", &seed, "of the random weights (default: 0)"),
      CLI_OPTION_JSON(&json),
      CLI_OPTIONS_END,
  };
  const cli_syntax syntax = {
      .command = "init",
      .arguments = "ARCHITECTURE",
      .summary = "Makes a randomly initialised backbone, for planning and benchmarks.",
      .examples = "  tinytl init mobilenet-v2-0.35 -o random.safetensors\n"
                  "  tinytl init mcunet-5fps --classes 10 -o random.safetensors\n",
      .notes =
          "Architectures: mobilenet-v2-W (W: width multiplier, 0.1 to 2.0), proxyless-mobile,\n"
          "mcunet-5fps.\n",
      .min_operands = 1,
      .max_operands = 1};
  char **operands;
  int n_operands, exit_code;
  if (!cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code)) {
    return exit_code;
  }
  tinytl_error error;
  tinytl_backbone *backbone = NULL;
  tinytl_status status = tinytl_backbone_init(operands[0], n_classes, (tinytl_weights)weights, seed,
                                              &backbone, &error);
  if (status == TINYTL_OK) status = cli_backbone_save(backbone, target, NULL, &error);
  if (status == TINYTL_OK) cli_backbone_print(backbone, target, json);
  tinytl_backbone_free(backbone);
  return status == TINYTL_OK ? TINYTL_OK : cli_report(&error);
}
