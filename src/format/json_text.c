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

/* A character of valid UTF-8, n bytes. */
static void put_character(tinytl_json_text *json, const char *at, size_t n) {
  static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  const char *found = strchr(escaped, *at);
  char text[8];
  if (found)
    snprintf(text, sizeof text, "\\%c", letters[found - escaped]);
  else if ((unsigned char)*at < 0x20)
    snprintf(text, sizeof text, "\\u%04x", (unsigned)(unsigned char)*at);
  else {
    put(json, at, n);
    return;
  }
  put_text(json, text);
}

static void put_string(tinytl_json_text *json, const char *string) {
  const size_t n = strlen(string);
  put(json, "\"", 1);
  for (size_t done = 0; done < n;) {
    const size_t length = tinytl_utf8_length(string + done, n - done);
    if (length > 0) {
      put_character(json, string + done, length);
    } else {
      char text[8];
      snprintf(text, sizeof text, "\\udc%02x", (unsigned)(unsigned char)string[done]);
      put_text(json, text);
    }
    done += length > 0 ? length : 1;
  }
  put(json, "\"", 1);
}

size_t tinytl_json_string_nbytes(const char *string, bool nested) {
  const size_t n = strlen(string);
  size_t nbytes = nested ? 4 : 2; /* quotes */
  for (size_t done = 0, length; done<n; done += length> 0 ? length : 1) {
    const char c = string[done];
    length = tinytl_utf8_length(string + done, n - done);
    if (length == 0 || ((unsigned char)c < 0x20 && !strchr("\b\f\n\r\t", c)))
      nbytes += nested ? 7 : 6; /* \u and four digits */
    else if (c == '"' || c == '\\')
      nbytes += nested ? 4 : 2;
    else if ((unsigned char)c < 0x20)
      nbytes += nested ? 3 : 2;
    else
      nbytes += length;
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
