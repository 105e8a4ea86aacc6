/* Lists of strings: one allocation, the pointers first, then the characters. */
#ifndef TINYTL_MODEL_STRINGS_H
#define TINYTL_MODEL_STRINGS_H

#include "core/status.h"

/* Copies strings [n]; the caller frees *copy with free(). */
tinytl_status tinytl_strings_copy(const char *const *strings, int n, char ***copy,
                                  tinytl_error *error);
/* Copies one string (NULL: ""). */
tinytl_status tinytl_string_copy(const char *string, char **copy, tinytl_error *error);

#endif
