/* Command line options from a table, and the help that is printed from the same table. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_kind {
  CLI_FLAG,   /* bool: becomes true */
  CLI_CLEAR,  /* bool: becomes false */
  CLI_TEXT,   /* const char * */
  CLI_CHOICE, /* int: index into `choices` */
  CLI_INT,    /* int, min to max */
  CLI_REAL,   /* float, min to max */
  CLI_SEED,   /* uint64_t */
  CLI_SIZE    /* size_t, at least 1: bytes, or with K, M, G as 10^3, 10^6, 10^9 bytes */
} cli_kind;

typedef struct cli_option {
  char letter;      /* of the short form; 0: none */
  const char *name; /* of the long form, without the dashes; NULL ends a table */
  cli_kind kind;
  void *value;
  const char *argument; /* in the help, e.g. "FILE" */
  const char *help;
  double min, max;                 /* CLI_INT, CLI_REAL */
  bool excludes_min, excludes_max; /* CLI_REAL: the range is open there */
  const char *const *choices;      /* CLI_CHOICE: ends in NULL */
  bool required;                   /* CLI_TEXT */
} cli_option;

typedef struct cli_syntax {
  const char *command;
  const char *arguments; /* in the usage line, e.g. "IMAGE..." */
  const char *summary;   /* one line */
  const char *examples;  /* whole lines */
  const char *notes;     /* whole lines, after the options; NULL: none */
  int min_operands, max_operands;
} cli_syntax;

#define CLI_OPTION_JSON(target) \
  { .name = "json", .kind = CLI_FLAG, .value = (target), .help = "JSON Lines on stdout" }
#define CLI_OPTION_THREADS(target)                                                               \
  {                                                                                              \
    .name = "threads", .kind = CLI_INT, .value = (target), .argument = "N", .min = 1, .max = 64, \
    .help = "threads (default: one a core)"                                                      \
  }
#define CLI_OPTION_MODEL(target)                                                                 \
  {                                                                                              \
    .letter = 'm', .name = "model", .kind = CLI_TEXT, .value = (target), .argument = "BACKBONE", \
    .help = "backbone file (default: the one that comes along)"                                  \
  }

/* In the order of tinytl_method, tinytl_weights and tinytl_optimizer. */
extern const char *const cli_methods[], *const cli_weights[], *const cli_optimizers[];

/* Fills the options' values. On true operands[0 .. *n_operands) are what is no option (argv is
 * reordered). On false the program ends with *exit_code: help was printed, or what is wrong. */
bool cli_parse(const cli_syntax *syntax, const cli_option *options, int argc, char **argv,
               char ***operands, int *n_operands, int *exit_code);

/* The entry of a NULL-ended list that `word` is most likely a slip of; NULL: none is near. */
const char *cli_nearest(const char *word, const char *const *names);

#endif
