#include "format/json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- UTF-8 -------------------------------------------------------------------------------- */

/* Bytes of the valid sequence that text [n] begins with; 0: none. */
static size_t sequence_length(const unsigned char *text, size_t n) {
  if (text[0] < 0x80) return 1;
  /* The lead byte gives the length and the range of the second byte, which excludes overlong
   * forms, surrogates and what lies above U+10FFFF. */
  unsigned char lead = text[0], low = 0x80, high = 0xbf;
  size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                  : lead >= 0xe0 && lead <= 0xef ? 3
                  : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                 : 0;
  if (length == 0 || length > n) return 0;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  if (text[1] < low || text[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if (text[i] < 0x80 || text[i] > 0xbf) return 0;
  return length;
}

size_t tinytl_utf8_valid(const char *text, size_t n) {
  size_t done = 0;
  while (done < n) {
    size_t length = sequence_length((const unsigned char *)text + done, n - done);
    if (length == 0) break;
    done += length;
  }
  return done;
}

static bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static unsigned hex_value(char c) {
  return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Value of the escape \uXXXX that text [n] begins with, or -1. */
static int unicode_escape(const char *text, size_t n) {
  if (n < 6 || text[0] != '\\' || text[1] != 'u') return -1;
  unsigned value = 0;
  for (int i = 2; i < 6; i++) {
    if (!is_hex(text[i])) return -1;
    value = value * 16 + hex_value(text[i]);
  }
  return (int)value;
}

/* Copies text, with every lone \udc80 to \udcff made the byte 80 to ff; the result is never
 * longer. Returns its length. */
static size_t restore_bytes(const char *text, size_t n, char *out) {
  size_t done = 0, n_out = 0;
  while (done < n) {
    const int code = unicode_escape(text + done, n - done);
    size_t step = text[done] == '\\' && n - done >= 2 ? 2 : 1;
    if (code >= 0xdc80 && code <= 0xdcff) {
      out[n_out++] = (char)(code & 0xff);
      done += 6;
      continue;
    }
    if (code >= 0xd800 && code <= 0xdbff) step = n - done < 12 ? n - done : 12; /* a pair */
    memcpy(out + n_out, text + done, step);
    n_out += step;
    done += step;
  }
  return n_out;
}

/* The reverse, for JSON text whose strings hold any bytes. */
static char *escape_bytes(const char *text) {
  const size_t n = strlen(text);
  char *out = malloc(n * 6 + 1), *end = out;
  if (!out) return NULL;
  for (size_t done = 0; done < n;) {
    size_t valid = tinytl_utf8_valid(text + done, n - done);
    memcpy(end, text + done, valid);
    end += valid;
    done += valid;
    if (done < n) end += sprintf(end, "\\udc%02x", (unsigned)(unsigned char)text[done++]);
  }
  *end = '\0';
  return out;
}

/* ---- Values ------------------------------------------------------------------------------- */

static bool only_white_space(const char *text, const char *end) {
  while (text < end && (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')) text++;
  return text == end;
}

tinytl_status tinytl_json_parse(const char *text, size_t n, const char *where, cJSON **json,
                                tinytl_error *error) {
  const char *end = text;
  cJSON *value = cJSON_ParseWithLengthOpts(text, n, &end, false);
  if (!value || !only_white_space(end, text + n)) {
    cJSON_Delete(value);
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: not valid JSON near character %zu", where,
                       (size_t)(end - text));
  }
  *json = value;
  return TINYTL_OK;
}

tinytl_status tinytl_json_parse_bytes(const char *text, const char *where, cJSON **json,
                                      tinytl_error *error) {
  const size_t n = strlen(text);
  char *bytes = malloc(n + 1);
  if (!bytes) return tinytl_fail_memory(error, n + 1);
  tinytl_status status =
      tinytl_json_parse(bytes, restore_bytes(text, n, bytes), where, json, error);
  free(bytes);
  return status;
}

char *tinytl_json_print_bytes(const cJSON *json) {
  char *text = cJSON_PrintUnformatted(json);
  char *escaped = text ? escape_bytes(text) : NULL;
  cJSON_free(text);
  return escaped;
}

bool tinytl_json_size(const cJSON *item, size_t *value) {
  if (!cJSON_IsNumber(item)) return false;
  const double number = item->valuedouble;
  if (!(number >= 0 && number <= 0x1p53) || number != floor(number)) return false;
  *value = (size_t)number;
  return (double)*value == number;
}

tinytl_status tinytl_json_int(const cJSON *object, const char *key, int min, int max,
                              const char *where, int *value, tinytl_error *error) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsNumber(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a number \"%s\"", where, key);
  const double number = item->valuedouble;
  if (!(number >= min && number <= max) || number != floor(number))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: \"%s\" must be a whole number %d to %d, found %g", where, key, min, max,
                       number);
  *value = (int)number;
  return TINYTL_OK;
}

tinytl_status tinytl_json_string(const cJSON *object, const char *key, const char *where,
                                 const char **value, tinytl_error *error) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsString(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a string \"%s\"", where, key);
  *value = item->valuestring;
  return TINYTL_OK;
}

tinytl_status tinytl_json_array(const cJSON *object, const char *key, const char *where,
                                const cJSON **value, tinytl_error *error) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  if (!cJSON_IsArray(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected an array \"%s\"", where, key);
  *value = item;
  return TINYTL_OK;
}

tinytl_status tinytl_json_floats(const cJSON *object, const char *key, int n, const char *where,
                                 float *values, tinytl_error *error) {
  const cJSON *array = NULL, *item;
  TINYTL_TRY(tinytl_json_array(object, key, where, &array, error));
  int found = 0;
  cJSON_ArrayForEach(item, array) {
    if (found < n && cJSON_IsNumber(item) && isfinite((float)item->valuedouble))
      values[found] = (float)item->valuedouble;
    else
      break;
    found++;
  }
  if (found != n || cJSON_GetArraySize(array) != n)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"%s\" must be %d finite numbers", where,
                       key, n);
  return TINYTL_OK;
}

tinytl_status tinytl_json_strings(const cJSON *array, const char *where, char ***strings, int *n,
                                  tinytl_error *error) {
  size_t count = 0, n_chars = 0;
  const cJSON *item;
  if (!cJSON_IsArray(array))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected an array of strings", where);
  cJSON_ArrayForEach(item, array) {
    if (!cJSON_IsString(item))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: item %zu: expected a string", where,
                         count);
    n_chars += strlen(item->valuestring) + 1;
    count++;
  }
  if (count > INT_MAX)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %zu strings are too many", where, count);
  /* The pointers, then the characters. */
  char **copy = malloc(count * sizeof *copy + n_chars + 1);
  if (!copy) return tinytl_fail_memory(error, count * sizeof *copy + n_chars + 1);
  char *chars = (char *)(copy + count);
  int i = 0;
  cJSON_ArrayForEach(item, array) {
    const size_t length = strlen(item->valuestring) + 1;
    copy[i++] = memcpy(chars, item->valuestring, length);
    chars += length;
  }
  *strings = copy;
  *n = (int)count;
  return TINYTL_OK;
}

cJSON *tinytl_json_float(float value) {
  /* Printing and reading go through the same locale, so its decimal point does not matter. */
  double shortest = value;
  for (int digits = 1; digits <= 9; digits++) {
    char text[64];
    snprintf(text, sizeof text, "%.*g", digits, (double)value);
    shortest = strtod(text, NULL);
    if ((float)shortest == value) break;
  }
  return cJSON_CreateNumber(shortest);
}
