#include "options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "terminal.h"

const char *const cli_methods[] = {"last", "bias", "lite", "lite+bias",
                                   "norm", "full", "auto", NULL};
const char *const cli_weights[] = {"int8", "f32", NULL};
const char *const cli_optimizers[] = {"adam", "sgd", "adam8", "auto", NULL};
const char *const cli_switches[] = {"auto", "off", "on", NULL}; /* as tinytl_switch */

/* ---- Suggestions -------------------------------------------------------------------------- */

enum { LONGEST_WORD = 32 };

/* Levenshtein's distance, one row at a time. */
static size_t edit_distance(const char *from, const char *to) {
  size_t n = strlen(to), row[LONGEST_WORD + 1];
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 0; from[i]; i++) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < n; j++) {
      size_t replaced = diagonal + (from[i] != to[j]);
      size_t shorter = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
      diagonal = row[j + 1];
      row[j + 1] = replaced < shorter ? replaced : shorter;
    }
  }
  return row[n];
}

const char *cli_nearest(const char *word, const char *const *names) {
  const char *nearest = NULL;
  size_t best = strlen(word) <= 3 ? 2 : 3; /* one slip in a short word, two in a longer one */
  if (strlen(word) > LONGEST_WORD) return NULL;
  for (; *names; names++) {
    size_t distance = edit_distance(word, *names);
    if (distance < best) {
      best = distance;
      nearest = *names;
    }
  }
  return nearest;
}

static const char *nearest_option(const char *word, const cli_option *options) {
  const char *names[64] = {"help"};
  for (int n = 1; options->name && n < 63; options++) names[n++] = options->name;
  return cli_nearest(word, names);
}

/* ---- Values ------------------------------------------------------------------------------- */

/* Keeps white space, names of infinity and hexadecimal from the C library's readers. */
static bool begins_number(const char *text) {
  const char *digits = text + (*text == '-');
  if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return false;
  return (*text >= '0' && *text <= '9') || *text == '-' || *text == '.';
}

static bool parse_int(const cli_option *option, const char *text) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (!begins_number(text) || *end || errno != 0) return false;
  if ((double)value < option->min || (double)value > option->max) return false;
  *(int *)option->value = (int)value;
  return true;
}

static bool parse_real(const cli_option *option, const char *text) {
  char *end;
  /* What a float rounds to the end of a range is outside where the end is. */
  float value = strtof(text, &end), min = (float)option->min, max = (float)option->max;
  if (!begins_number(text) || end == text || *end || !isfinite(value)) return false;
  if (value < min || (option->range == CLI_RANGE_ABOVE_MIN && value <= min)) return false;
  if (value > max || (option->range == CLI_RANGE_BELOW_MAX && value >= max)) return false;
  *(float *)option->value = value;
  return true;
}

static bool parse_seed(const cli_option *option, const char *text) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno != 0) return false;
  *(uint64_t *)option->value = value;
  return true;
}

static bool parse_size(const cli_option *option, const char *text) {
  static const struct {
    const char *suffix;
    double unit;
  } units[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};
  char *end;
  double value = strtod(text, &end);
  if (!begins_number(text) || end == text) return false;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (strcmp(end, units[i].suffix) != 0) continue;
    value *= units[i].unit;
    if (!(value >= 1 && value < (double)(SIZE_MAX / 2))) return false;
    *(size_t *)option->value = (size_t)value;
    return true;
  }
  return false;
}

static bool parse_choice(const cli_option *option, const char *text) {
  for (int i = 0; option->choices[i]; i++) {
    if (strcmp(option->choices[i], text) != 0) continue;
    *(int *)option->value = i;
    return true;
  }
  return false;
}

static bool parse_value(const cli_option *option, const char *text) {
  switch (option->kind) {
  case CLI_INT:
    return parse_int(option, text);
  case CLI_REAL:
    return parse_real(option, text);
  case CLI_SEED:
    return parse_seed(option, text);
  case CLI_SIZE:
    return parse_size(option, text);
  case CLI_CHOICE:
    return parse_choice(option, text);
  default:
    *(const char **)option->value = text;
    return *text != '\0';
  }
}

/* What parse_value would have taken. */
static void describe_expected(const cli_option *option, char *text, size_t size) {
  int n = 0;
  switch (option->kind) {
  case CLI_INT:
    snprintf(text, size, "a whole number from %.0f to %.0f", option->min, option->max);
    break;
  case CLI_REAL:
    snprintf(text, size, "a number %s %g %s %g",
             option->range == CLI_RANGE_ABOVE_MIN ? "above" : "from", option->min,
             option->range == CLI_RANGE_BELOW_MAX ? "to below" : "up to", option->max);
    break;
  case CLI_SEED:
    snprintf(text, size, "a whole number from 0 to 2^64 - 1");
    break;
  case CLI_SIZE:
    snprintf(text, size, "a size in bytes such as 800000, 500K, 24M or 1.5G");
    break;
  case CLI_CHOICE:
    for (int i = 0; option->choices[i]; i++) {
      n += snprintf(text + n, size - (size_t)n, "%s%s", i ? ", " : "one of ", option->choices[i]);
    }
    break;
  default:
    snprintf(text, size, "%s", option->argument);
    break;
  }
}

/* ---- Help --------------------------------------------------------------------------------- */

enum { HELP_COLUMN = 30 };

static void print_option(const cli_option *option) {
  char left[64];
  const char *argument = option->argument ? option->argument : "";
  char letter[] = {'-', option->letter, ',', ' ', 0};
  snprintf(left, sizeof left, "  %s--%s %s", option->letter ? letter : "    ", option->name,
           argument);
  printf("%-*s%s%s\n", HELP_COLUMN, left, strlen(left) >= HELP_COLUMN ? " " : "", option->help);
}

static void print_help(const cli_syntax *syntax, const cli_option *options,
                       const cli_option *help) {
  printf("%s\n\nExamples:\n%s\n", syntax->summary, syntax->examples);
  printf("Usage: tinytl %s [options]%s%s\n\nOptions:\n", syntax->command,
         *syntax->arguments ? " " : "", syntax->arguments);
  for (; options->name; options++) print_option(options);
  print_option(help);
  if (syntax->notes) printf("\n%s", syntax->notes);
}

/* ---- Parsing ------------------------------------------------------------------------------ */

typedef struct parser {
  const cli_syntax *syntax;
  const cli_option *options;
  const cli_option *help; /* that all commands have, whose value says whether it was given */
  char **argv;
  int argc, next; /* argv[next] has not been looked at */
} parser;

static bool complain(const parser *parser, const char *format, ...) CLI_PRINTF(2, 3);

static bool complain(const parser *parser, const char *format, ...) {
  char text[4096];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  cli_error("%s: %s", parser->syntax->command, text);
  cli_note("see 'tinytl %s --help'", parser->syntax->command);
  return false;
}

static bool is_named(const cli_option *option, const char *name, size_t length, char letter) {
  if (letter) return option->letter == letter;
  return strlen(option->name) == length && memcmp(option->name, name, length) == 0;
}

static const cli_option *find_option(const parser *parser, const char *name, size_t length,
                                     char letter) {
  for (const cli_option *option = parser->options; option->name; option++) {
    if (is_named(option, name, length, letter)) return option;
  }
  return is_named(parser->help, name, length, letter) ? parser->help : NULL;
}

/* Sets the option from `attached` ("--name=attached", NULL: none) or the next word. */
static bool take(parser *parser, const cli_option *option, const char *attached) {
  if (option->kind == CLI_FLAG) {
    if (attached) return complain(parser, "--%s takes no value", option->name);
    *(bool *)option->value = true;
    return true;
  }
  char expected[160];
  describe_expected(option, expected, sizeof expected);
  if (!attached && parser->next == parser->argc) {
    return complain(parser, "--%s: expected %s, found nothing", option->name, expected);
  }
  const char *text = attached ? attached : parser->argv[parser->next++];
  if (parse_value(option, text)) return true;
  return complain(parser, "--%s: expected %s, found '%s'", option->name, expected, text);
}

static bool take_long(parser *parser, char *word) {
  size_t length = strcspn(word, "=");
  const cli_option *option = find_option(parser, word, length, 0);
  if (option) return take(parser, option, word[length] ? word + length + 1 : NULL);
  word[length] = '\0'; /* a value is no part of a name that is mistyped */
  const char *nearest = nearest_option(word, parser->options);
  if (nearest) return complain(parser, "no option --%s; did you mean --%s?", word, nearest);
  return complain(parser, "no option --%s", word);
}

/* "-q", "-qm FILE" or "-mFILE" */
static bool take_letters(parser *parser, const char *letters) {
  for (; *letters; letters++) {
    const cli_option *option = find_option(parser, NULL, 0, *letters);
    if (!option) return complain(parser, "no option -%c", *letters);
    if (option->kind != CLI_FLAG) return take(parser, option, letters[1] ? letters + 1 : NULL);
    take(parser, option, NULL);
  }
  return true;
}

static bool check_complete(const parser *parser, int n_operands) {
  const cli_syntax *syntax = parser->syntax;
  for (const cli_option *option = parser->options; option->name; option++) {
    if (option->required && !*(const char **)option->value) {
      return complain(parser, "-%c %s is missing", option->letter, option->argument);
    }
  }
  if (n_operands < syntax->min_operands)
    return complain(parser, "%s is missing", syntax->arguments);
  if (n_operands > syntax->max_operands) {
    return complain(parser, "unexpected argument '%s'", parser->argv[syntax->max_operands]);
  }
  return true;
}

bool cli_parse(const cli_syntax *syntax, const cli_option *options, int argc, char **argv,
               char ***operands, int *n_operands, int *exit_code) {
  bool wants_help = false;
  const cli_option help = CLI_OPTION_FLAG('h', "help", &wants_help, "this text");
  parser parser = {syntax, options, &help, argv, argc, 0};
  int n = 0;
  bool options_end = false;
  *exit_code = TINYTL_ERROR_USAGE;
  while (parser.next < argc) {
    char *word = argv[parser.next++];
    if (options_end || word[0] != '-' || !word[1]) {
      argv[n++] = word;
    } else if (strcmp(word, "--") == 0) {
      options_end = true;
    } else if (word[1] == '-' ? !take_long(&parser, word + 2) : !take_letters(&parser, word + 1)) {
      return false;
    }
    if (!wants_help) continue;
    print_help(syntax, options, &help);
    *exit_code = TINYTL_OK;
    return false;
  }
  *operands = argv;
  *n_operands = n;
  return check_complete(&parser, n);
}
