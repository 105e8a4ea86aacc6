/* A backbone and perhaps its adapter, from files; the classes that the two know. */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include "io.h"

typedef struct cli_model {
  char path[4096]; /* of the backbone */
  cli_file file;   /* borrowed by the backbone */
  tinytl_backbone *backbone;
  tinytl_adapter *adapter; /* NULL: none */
} cli_model;

/* After opening a model file ended with `status`: where it is of another kind than `expected`, "a
 * backbone", the error says so instead of naming formats. */
tinytl_status cli_explain_kind(tinytl_status status, const cli_file *file, const char *path,
                               const char *expected, tinytl_error *error);

/* cli_file_open of a model, whose values will be copied or not; refuses what takes the process past
 * the memory limit (0: none) while it is opened. Errors: TINYTL_ERROR_MODEL,
 * TINYTL_ERROR_MEMORY_LIMIT. */
tinytl_status cli_model_file_open(const char *path, bool is_copied, size_t memory_limit,
                                  cli_file *file, tinytl_error *error);

/* The path of a model to found [size]: the chosen one, or where none is chosen (NULL or "") the
 * bundled file of that name, which is looked for beside the program and where the project was
 * installed. advice: what the user can do where there is none. Errors: TINYTL_ERROR_MODEL,
 * TINYTL_ERROR_USAGE. */
tinytl_status cli_model_find(const char *chosen, const char *bundled, const char *advice,
                             char *found, size_t size, tinytl_error *error);

/* backbone_path NULL: $TINYTL_MODEL or the bundled one. adapter_path NULL: none. memory_limit is
 * for the backbone. */
tinytl_status cli_model_open(cli_model *model, const char *backbone_path, const char *adapter_path,
                             size_t memory_limit, tinytl_error *error);
void cli_model_close(cli_model *model);

/* Name of a class of the adapter, or without one of the backbone; NULL: out of range, unnamed. */
const char *cli_model_class(const cli_model *model, int index);

/* For each of n names the first name of `known` [n_known] that equals it, as to[i]; -1: none. */
void cli_match_names(const char *const *names, int n, const char *const *known, int n_known,
                     int *to);

/* The largest memory that this process has held, in bytes. */
size_t cli_peak_rss(void);

#endif
