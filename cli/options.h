/* Command line options from a table, and the help that is printed from the same table. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tinytl/ranges.h"

typedef enum cli_kind {
  CLI_FLAG,   /* bool: becomes true */
  CLI_TEXT,   /* const char * */
  CLI_CHOICE, /* int: index into `choices` */
  CLI_INT,    /* int, min to max */
  CLI_REAL,   /* float, min to max */
  CLI_SEED,   /* uint64_t */
  CLI_SIZE    /* size_t, at least 1: bytes, or with K, M, G as 10^3, 10^6, 10^9 bytes */
} cli_kind;

typedef enum cli_range { CLI_RANGE_CLOSED, CLI_RANGE_ABOVE_MIN, CLI_RANGE_BELOW_MAX } cli_range;

typedef struct cli_option {
  char letter;      /* of the short form; 0: none */
  const char *name; /* of the long form, without the dashes; NULL ends a table */
  cli_kind kind;
  void *value;
  const char *argument; /* in the help, e.g. "FILE" */
  const char *help;
  double min, max;            /* CLI_INT, CLI_REAL */
  cli_range range;            /* CLI_REAL: whether the ends belong to it */
  const char *const *choices; /* CLI_CHOICE: ends in NULL */
  bool required;              /* CLI_TEXT */
} cli_option;

/* Rows of a table. */
#define CLI_OPTION(code, word, type, target, what, text) \
  .letter = code, .name = word, .kind = type, .value = target, .argument = what, .help = text
#define CLI_OPTION_FLAG(code, word, target, text) \
  { CLI_OPTION(code, word, CLI_FLAG, target, 0, text) }
#define CLI_OPTION_TEXT(code, word, target, what, text) \
  { CLI_OPTION(code, word, CLI_TEXT, target, what, text) }
#define CLI_OPTION_REQUIRED(code, word, target, what, text) \
  { CLI_OPTION(code, word, CLI_TEXT, target, what, text), .required = true }
#define CLI_OPTION_CHOICE(word, target, list, what, text) \
  { CLI_OPTION(0, word, CLI_CHOICE, target, what, text), .choices = list }
#define CLI_OPTION_INT(code, word, target, low, high, text) \
  { CLI_OPTION(code, word, CLI_INT, target, "N", text), .min = low, .max = high }
#define CLI_OPTION_REAL(word, target, low, high, ends, text) \
  { CLI_OPTION(0, word, CLI_REAL, target, "X", text), .min = low, .max = high, .range = ends }
#define CLI_OPTION_SEED(word, target, text) \
  { CLI_OPTION(0, word, CLI_SEED, target, "N", text) }
#define CLI_OPTION_SIZE(word, target, text) \
  { CLI_OPTION(0, word, CLI_SIZE, target, "SIZE", text) }
#define CLI_OPTIONS_END \
  { .name = NULL }

/* Rows that several commands share. */
#define CLI_OPTION_JSON(target) CLI_OPTION_FLAG(0, "json", target, "JSON Lines on stdout")
#define CLI_OPTION_QUIET(target) CLI_OPTION_FLAG('q', "quiet", target, "no progress on stderr")
#define CLI_OPTION_THREADS(target) \
  CLI_OPTION_INT(0, "threads", target, 1, 64, "threads (default: one a core)")
#define CLI_OPTION_IMAGE_SIZE(target, default_size)                                     \
  CLI_OPTION_INT(0, "image-size", target, TINYTL_MIN_TRAIN_SIZE, TINYTL_MAX_TRAIN_SIZE, \
                 "side of the input (default: " default_size ")")
#define CLI_OPTION_MODEL(target)                    \
  CLI_OPTION_TEXT('m', "model", target, "BACKBONE", \
                  "backbone file (default: $TINYTL_MODEL, or the bundled one)")
#define CLI_OPTION_ADAPTER(target)                   \
  CLI_OPTION_TEXT('a', "adapter", target, "ADAPTER", \
                  "adapter file (default: the backbone's own classes)")
#define CLI_OPTION_DATA(target) \
  CLI_OPTION_REQUIRED('d', "data", target, "DIR", "folder of pictures")
#define CLI_OPTION_OUTPUT(target, kind) \
  CLI_OPTION_REQUIRED('o', "output", target, kind, "file to write")
/* Three rows: of a cli_checkpoint, of save_seconds; what runs, and what it makes. */
#define CLI_OPTIONS_CHECKPOINT(checkpoint, run, result)                                     \
  CLI_OPTION_TEXT(0, "checkpoint", &(checkpoint)->path, "FILE",                             \
                  "save the state of the " run " there; removed at its end"),               \
      CLI_OPTION_FLAG(0, "resume", &(checkpoint)->resume,                                   \
                      "go on from the checkpoint if it is there: same " result),            \
      CLI_OPTION_REAL("checkpoint-every", &(checkpoint)->every, 0, 86400, CLI_RANGE_CLOSED, \
                      "seconds between saves, 0: every step (default: 30)")

typedef struct cli_syntax {
  const char *command;
  const char *arguments; /* in the usage line, e.g. "IMAGE..." */
  const char *summary;   /* one line */
  const char *examples;  /* whole lines */
  const char *notes;     /* whole lines, after the options; NULL: none */
  int min_operands, max_operands;
} cli_syntax;

/* In the order of tinytl_method, tinytl_weights, tinytl_optimizer and tinytl_switch. */
extern const char *const cli_methods[], *const cli_weights[];
extern const char *const cli_optimizers[], *const cli_switches[];

/* Fills the options' values. On true operands[0 .. *n_operands) are what is no option (argv is
 * reordered). On false the program ends with *exit_code: help was printed, or what is wrong. */
bool cli_parse(const cli_syntax *syntax, const cli_option *options, int argc, char **argv,
               char ***operands, int *n_operands, int *exit_code);

/* The entry of a NULL-ended list that `word` is most likely a slip of; NULL: none is near. */
const char *cli_nearest(const char *word, const char *const *names);

#endif
