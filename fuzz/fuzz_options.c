/* The command line's own parsers: a line of the input is a word. */
#include "fuzz.h"
#include "options.h"
#include "terminal.h"

#include <math.h>
#include <string.h>

enum { MAX_WORDS = 32 };

/* In place of terminal.c: a complaint is counted. */
static int n_complaints;

void cli_error(const char *format, ...) {
  (void)format;
  n_complaints++;
}

void cli_note(const char *format, ...) {
  (void)format;
}

static void expect_in_range(int epochs, float lr, float share, uint64_t nbytes, int method) {
  FUZZ_EXPECT(epochs >= 1 && epochs <= 10000);
  FUZZ_EXPECT(isfinite(lr) && lr > 0 && lr <= 100);
  FUZZ_EXPECT(share >= 0 && share < 1);
  FUZZ_EXPECT(nbytes >= 1);
  FUZZ_EXPECT(method >= 0 && cli_methods[method]);
}

static void parse(int argc, char **argv) {
  static const cli_syntax syntax = {"fuzz", "FILE...", "", "", NULL, 0, MAX_WORDS};
  const char *data = NULL, *model = NULL;
  int epochs = 1, method = 0, n_operands = 0, exit_code = -1;
  float lr = 1, share = 0;
  uint64_t seed = 0;
  size_t limit = 1;
  bool quiet = false, no_mirror = false;
  const cli_option options[] = {
      CLI_OPTION_DATA(&data),
      CLI_OPTION_MODEL(&model),
      CLI_OPTION_CHOICE("method", &method, cli_methods, "METHOD", "method"),
      CLI_OPTION_INT(0, "epochs", &epochs, 1, 10000, "epochs"),
      CLI_OPTION_REAL("lr", &lr, 0, 100, CLI_RANGE_ABOVE_MIN, "learning rate"),
      CLI_OPTION_REAL("share", &share, 0, 1, CLI_RANGE_BELOW_MAX, "share"),
      CLI_OPTION_SEED("seed", &seed, "seed"),
      CLI_OPTION_SIZE("memory-limit", &limit, "limit"),
      CLI_OPTION_QUIET(&quiet),
      CLI_OPTION_FLAG(0, "no-mirror", &no_mirror, "no mirroring"),
      CLI_OPTIONS_END,
  };
  char **operands = NULL;
  n_complaints = 0;
  const bool parsed = cli_parse(&syntax, options, argc, argv, &operands, &n_operands, &exit_code);
  if (parsed)
    FUZZ_EXPECT(n_complaints == 0 && n_operands <= argc && data && *data);
  else
    FUZZ_EXPECT(exit_code == TINYTL_OK || n_complaints == 1);
  expect_in_range(epochs, lr, share, limit, method);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static bool silenced;
  if (!silenced) silenced = freopen("/dev/null", "w", stdout); /* --help */
  char *text = malloc(nbytes + 1), *argv[MAX_WORDS + 1] = {0}, *rest = NULL;
  int argc = 0;
  memcpy(text, data, nbytes);
  text[nbytes] = '\0';
  for (char *word = strtok_r(text, "\n", &rest); word && argc < MAX_WORDS;
       word = strtok_r(NULL, "\n", &rest))
    argv[argc++] = word;
  if (argc > 0) (void)cli_nearest(argv[0], cli_methods);
  parse(argc, argv);
  free(text);
  return 0;
}
