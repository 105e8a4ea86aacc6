/* The metadata of this project's files: architecture, lite modules, input. docs/format.md. */
#ifndef TINYTL_FORMAT_ARCH_JSON_H
#define TINYTL_FORMAT_ARCH_JSON_H

#include "format/json.h"
#include "model/backbone.h"

/* The print functions return text that the caller frees; NULL: out of memory. The parse functions
 * name `where`, the file and the field, in messages. */

char *tinytl_arch_print(const tinytl_arch *arch);
/* Checks all of it: *arch is finished. */
tinytl_status tinytl_arch_parse(const char *text, const char *where, tinytl_arch *arch,
                                tinytl_error *error);

char *tinytl_lite_print(const tinytl_lite *lite, int n_lite);
/* Sets block, kernel, groups and mid_c; the rest of a module follows from its block. At most
 * TINYTL_MAX_LAYERS / 2 modules. */
tinytl_status tinytl_lite_parse(const json_t *array, const char *where, tinytl_lite *lite,
                                int *n_lite, tinytl_error *error);

/* mean and std are left out, and not asked for, without `normalisation`. */
char *tinytl_input_print(const tinytl_input *input, bool normalisation);
tinytl_status tinytl_input_parse(const char *text, bool normalisation, const char *where,
                                 tinytl_input *input, tinytl_error *error);

/* Fields of a layer that other formats' descriptions share: in, out, kernel, stride, groups, act.
 */
tinytl_status tinytl_layer_parse(const json_t *object, const char *where, tinytl_layer *layer,
                                 tinytl_error *error);
/* size, resize, mean and std within their ranges. */
tinytl_status tinytl_input_check(const tinytl_input *input, const char *where, tinytl_error *error);

/* A list of strings as a JSON array. */
char *tinytl_strings_print(const char *const *strings, int n);
/* Heap that it takes at most, with the header of a file that the text becomes a string of: both lie
 * in buffers that double. */
size_t tinytl_strings_print_nbytes(const char *const *strings, int n);
tinytl_status tinytl_strings_parse(const char *text, const char *where, char ***strings, int *n,
                                   tinytl_error *error);

#endif
