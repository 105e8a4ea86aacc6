/* JSON text, written from left to right: commas, escapes and memory are taken care of. Start with a
 * zeroed struct. A key is NULL inside an array and at the top. Strings may hold any bytes: json.h.
 */
#ifndef TINYTL_FORMAT_JSON_TEXT_H
#define TINYTL_FORMAT_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tinytl_json_text {
  char *text;
  size_t n, capacity;
  bool comma;  /* the next value follows another one */
  bool failed; /* out of memory */
} tinytl_json_text;

void tinytl_json_open(tinytl_json_text *json, const char *key, char bracket); /* '{' or '[' */
void tinytl_json_close(tinytl_json_text *json, char bracket);                 /* '}' or ']' */
void tinytl_json_put_string(tinytl_json_text *json, const char *key, const char *value);
void tinytl_json_put_int(tinytl_json_text *json, const char *key, long long value);
/* As a string: JSON readers keep no whole numbers beyond 2^53. */
void tinytl_json_put_whole(tinytl_json_text *json, const char *key, uint64_t value);
/* A finite value, with the fewest digits that still give it back. */
void tinytl_json_put_float(tinytl_json_text *json, const char *key, float value);
/* A finite value, with digits that give it back. */
void tinytl_json_put_double(tinytl_json_text *json, const char *key, double value);
/* n whole numbers as a string, "48,64". */
void tinytl_json_put_list(tinytl_json_text *json, const char *key, const int *values, int n);
void tinytl_json_put_null(tinytl_json_text *json, const char *key);

/* Bytes that a string takes as JSON; nested: that JSON as a string in JSON once more. */
size_t tinytl_json_string_nbytes(const char *string, bool nested);

/* The text, which the caller frees; NULL: out of memory. */
char *tinytl_json_finish(tinytl_json_text *json);

#endif
