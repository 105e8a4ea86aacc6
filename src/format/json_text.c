#include "format/json_text.h"

#include "core/c_locale.h"
#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(tinytl_json_text *json, const char *bytes, size_t n) {
  if (json->failed) return;
  if (json->capacity - json->n <= n) { /* one more for the final 0 */
    const size_t capacity = 2 * (json->n + n) + 64;
    char *grown = realloc(json->text, capacity);
    if (!grown) {
      json->failed = true;
      return;
    }
    json->text = grown;
    json->capacity = capacity;
  }
  memcpy(json->text + json->n, bytes, n);
  json->n += n;
  json->text[json->n] = '\0';
}

static void put_text(tinytl_json_text *json, const char *text) {
  put(json, text, strlen(text));
}

enum { CHARACTER = 8 /* the longest in JSON, an escape of 6, and a 0 */ };

/* The first character of `at`, n bytes, as JSON has it; returns how many of the bytes it is. */
static size_t escape(const char *at, size_t n, char text[CHARACTER]) {
  static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  const size_t length = tinytl_utf8_length(at, n);
  const char *found = strchr(escaped, *at);
  const unsigned byte = (unsigned char)*at;
  if (length == 0) {
    snprintf(text, CHARACTER, "\\udc%02x", byte);
  } else if (found) {
    snprintf(text, CHARACTER, "\\%c", letters[found - escaped]);
  } else if (byte < 0x20) {
    snprintf(text, CHARACTER, "\\u%04x", byte);
  } else {
    memcpy(text, at, length);
    text[length] = '\0';
  }
  return length > 0 ? length : 1;
}

static void put_string(tinytl_json_text *json, const char *string) {
  char text[CHARACTER];
  put(json, "\"", 1);
  for (size_t n = strlen(string), done = 0; done < n;) {
    done += escape(string + done, n - done, text);
    put_text(json, text);
  }
  put(json, "\"", 1);
}

size_t tinytl_json_string_nbytes(const char *string, bool nested) {
  char text[CHARACTER];
  size_t nbytes = nested ? 4 : 2; /* quotes */
  for (size_t n = strlen(string), done = 0; done < n;) {
    done += escape(string + done, n - done, text);
    for (const char *at = text; *at; at++) nbytes += nested && (*at == '"' || *at == '\\') ? 2 : 1;
  }
  return nbytes;
}

static void put_key(tinytl_json_text *json, const char *key) {
  if (json->comma) put(json, ",", 1);
  json->comma = true;
  if (!key) return;
  put_string(json, key);
  put(json, ":", 1);
}

void tinytl_json_open(tinytl_json_text *json, const char *key, char bracket) {
  put_key(json, key);
  put(json, &bracket, 1);
  json->comma = false;
}

void tinytl_json_close(tinytl_json_text *json, char bracket) {
  put(json, &bracket, 1);
  json->comma = true;
}

void tinytl_json_put_string(tinytl_json_text *json, const char *key, const char *value) {
  put_key(json, key);
  put_string(json, value);
}

void tinytl_json_put_int(tinytl_json_text *json, const char *key, long long value) {
  char text[24];
  snprintf(text, sizeof text, "%lld", value);
  put_key(json, key);
  put_text(json, text);
}

void tinytl_json_put_whole(tinytl_json_text *json, const char *key, uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  tinytl_json_put_string(json, key, text);
}

void tinytl_json_put_double(tinytl_json_text *json, const char *key, double value) {
  char text[32];
  const tinytl_c_locale locale = tinytl_c_locale_begin();
  snprintf(text, sizeof text, "%.17g", value);
  tinytl_c_locale_end(&locale);
  put_key(json, key);
  put_text(json, text);
}

void tinytl_json_put_float(tinytl_json_text *json, const char *key, float value) {
  char text[32];
  double shortest = 0; /* of -0 too */
  const tinytl_c_locale locale = tinytl_c_locale_begin();
  for (int digits = 1; digits <= 9 && (float)shortest != value; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)value);
    shortest = strtod(text, NULL);
  }
  snprintf(text, sizeof text, "%.15g", shortest); /* 100, not 1e+02 */
  tinytl_c_locale_end(&locale);
  put_key(json, key);
  put_text(json, text);
}

void tinytl_json_put_list(tinytl_json_text *json, const char *key, const int *values, int n) {
  put_key(json, key);
  put_text(json, "\"");
  for (int i = 0; i < n; i++) {
    char text[16];
    snprintf(text, sizeof text, "%s%d", i ? "," : "", values[i]);
    put_text(json, text);
  }
  put_text(json, "\"");
}

void tinytl_json_put_null(tinytl_json_text *json, const char *key) {
  put_key(json, key);
  put_text(json, "null");
}

char *tinytl_json_finish(tinytl_json_text *json) {
  if (!json->failed) return json->text;
  free(json->text);
  return NULL;
}
