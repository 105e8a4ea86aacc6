/* JSON out of files: typed fields with reasons, and strings of any bytes.
 *
 * A file name is bytes, JSON is UTF-8. Text of this project's metadata carries a byte XX that is
 * not part of valid UTF-8 as the escape \udcXX (a lone low surrogate, as Python's
 * "surrogateescape"), so names survive in both directions and the file stays valid JSON. */
#ifndef TINYTL_FORMAT_JSON_H
#define TINYTL_FORMAT_JSON_H

#include "core/status.h"

#include <jansson.h>

/* Bytes of the valid UTF-8 (RFC 3629) character that text [n], n > 0, begins with; 0: none. */
size_t tinytl_utf8_length(const char *text, size_t n);
/* Length of the longest prefix of text [n] that is valid UTF-8. */
size_t tinytl_utf8_valid(const char *text, size_t n);

/* What is parsed of text [n], and then of text within its strings, takes no more memory. */
size_t tinytl_json_nbytes(const char *text, size_t n);

/* Parses text [n], which must be one JSON value without a key that stands twice in an object.
 * `where` names the file and field in messages. The caller frees *json with json_decref. */
tinytl_status tinytl_json_parse(const char *text, size_t n, const char *where, json_t **json,
                                tinytl_error *error);
/* The same for text that tinytl_json_text made: in strings, but not in keys, \udcXX becomes the
 * byte XX. */
tinytl_status tinytl_json_parse_bytes(const char *text, const char *where, json_t **json,
                                      tinytl_error *error);

/* The exact integer of `item`, 0 to 2^53; false: `item` is something else. */
bool tinytl_json_size(const json_t *item, size_t *value);

/* Fields of an object; they fail where the field is absent or of another type. */
tinytl_status tinytl_json_int(const json_t *object, const char *key, int min, int max,
                              const char *where, int *value, tinytl_error *error);
tinytl_status tinytl_json_string(const json_t *object, const char *key, const char *where,
                                 const char **value, tinytl_error *error);
tinytl_status tinytl_json_array(const json_t *object, const char *key, const char *where,
                                const json_t **value, tinytl_error *error);
tinytl_status tinytl_json_floats(const json_t *object, const char *key, int n, const char *where,
                                 float *values, tinytl_error *error);

/* The strings of an array, copied: *strings is one allocation to be freed with free(). */
tinytl_status tinytl_json_strings(const json_t *array, const char *where, char ***strings, int *n,
                                  tinytl_error *error);

#endif
