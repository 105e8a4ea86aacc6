/* JSON out of files: typed fields with reasons, and strings of any bytes.
 *
 * A file name is bytes, JSON is UTF-8. Text of this project's metadata carries a byte XX that is
 * not part of valid UTF-8 as the escape \udcXX (a lone low surrogate, as Python's
 * "surrogateescape"), so names survive in both directions and the file stays valid JSON. */
#ifndef TINYTL_FORMAT_JSON_H
#define TINYTL_FORMAT_JSON_H

#include "core/status.h"

#include <cjson/cJSON.h>

/* Length of the longest prefix of text [n] that is valid UTF-8 (RFC 3629). */
size_t tinytl_utf8_valid(const char *text, size_t n);

/* Parses text [n], which must be one JSON value. `where` names the file and field in messages. The
 * caller frees *json with cJSON_Delete. */
tinytl_status tinytl_json_parse(const char *text, size_t n, const char *where, cJSON **json,
                                tinytl_error *error);
/* The same for text that tinytl_json_print_bytes made: \udcXX becomes the byte XX. */
tinytl_status tinytl_json_parse_bytes(const char *text, const char *where, cJSON **json,
                                      tinytl_error *error);
/* The value, whose strings may hold any bytes, as valid UTF-8; the caller frees. NULL: out of
 * memory. */
char *tinytl_json_print_bytes(const cJSON *json);

/* The exact integer of `item`, 0 to 2^53; false: `item` is something else. */
bool tinytl_json_size(const cJSON *item, size_t *value);

/* Fields of an object; they fail where the field is absent or of another type. */
tinytl_status tinytl_json_int(const cJSON *object, const char *key, int min, int max,
                              const char *where, int *value, tinytl_error *error);
tinytl_status tinytl_json_string(const cJSON *object, const char *key, const char *where,
                                 const char **value, tinytl_error *error);
tinytl_status tinytl_json_array(const cJSON *object, const char *key, const char *where,
                                const cJSON **value, tinytl_error *error);
tinytl_status tinytl_json_floats(const cJSON *object, const char *key, int n, const char *where,
                                 float *values, tinytl_error *error);

/* The strings of an array, copied: *strings is one allocation to be freed with free(). */
tinytl_status tinytl_json_strings(const cJSON *array, const char *where, char ***strings, int *n,
                                  tinytl_error *error);

/* A number that prints with the fewest digits that still give back `value`. */
cJSON *tinytl_json_float(float value);

#endif
