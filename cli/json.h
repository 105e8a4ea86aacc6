/* JSON Lines on stdout. Commas and escapes are taken care of; a key is NULL inside an array.
 * Strings are UTF-8: a byte that is not becomes U+FFFD, so that every parser takes the line.
 * Numbers that are not finite become null. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>

typedef struct cli_json {
  bool comma; /* the next value follows another one */
} cli_json;

/* Begins a line, which is one object. */
cli_json cli_json_begin(void);
void cli_json_open(cli_json *json, const char *key, char bracket);      /* '{' or '[' */
void cli_json_close(cli_json *json, char bracket);                      /* '}' or ']' */
void cli_json_text(cli_json *json, const char *key, const char *value); /* NULL: null */
void cli_json_int(cli_json *json, const char *key, long long value);
void cli_json_bool(cli_json *json, const char *key, bool value);
void cli_json_real(cli_json *json, const char *key, double value);
/* Ends the object and the line, and hands it to the reader. */
void cli_json_end(cli_json *json);

#endif
