#include "json.h"

#include <math.h>
#include <stdio.h>

#include "terminal.h"
#include "utf8.h"

static void put_string(const char *text) {
  putchar('"');
  for (const unsigned char *at = (const unsigned char *)text; *at;) {
    int n = cli_utf8_length(at);
    if (n == 0)
      fputs("\\ufffd", stdout);
    else if (*at == '"' || *at == '\\')
      printf("\\%c", *at);
    else if (*at < 0x20 || *at == 0x7f)
      printf("\\u%04x", *at);
    else
      fwrite(at, 1, (size_t)n, stdout);
    at += n ? n : 1;
  }
  putchar('"');
}

static void put_key(cli_json *json, const char *key) {
  if (json->comma) putchar(',');
  json->comma = true;
  if (!key) return;
  put_string(key);
  putchar(':');
}

cli_json cli_json_begin(void) {
  cli_json json = {0};
  cli_json_open(&json, NULL, '{');
  return json;
}

void cli_json_open(cli_json *json, const char *key, char bracket) {
  put_key(json, key);
  putchar(bracket);
  json->comma = false;
}

void cli_json_close(cli_json *json, char bracket) {
  putchar(bracket);
  json->comma = true;
}

void cli_json_text(cli_json *json, const char *key, const char *value) {
  put_key(json, key);
  if (value)
    put_string(value);
  else
    fputs("null", stdout);
}

void cli_json_int(cli_json *json, const char *key, long long value) {
  put_key(json, key);
  printf("%lld", value);
}

void cli_json_bool(cli_json *json, const char *key, bool value) {
  put_key(json, key);
  fputs(value ? "true" : "false", stdout);
}

void cli_json_real(cli_json *json, const char *key, double value) {
  put_key(json, key);
  if (isfinite(value))
    printf("%.6g", value);
  else
    fputs("null", stdout);
}

void cli_json_end(cli_json *json) {
  cli_json_close(json, '}');
  putchar('\n');
  cli_stdout_error(); /* who reads along has it now */
}
