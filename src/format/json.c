#include "format/json.h"

#include "core/c_locale.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- UTF-8 -------------------------------------------------------------------------------- */

size_t tinytl_utf8_length(const char *bytes, size_t n) {
  const unsigned char *text = (const unsigned char *)bytes;
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
    const size_t length = tinytl_utf8_length(text + done, n - done);
    if (length == 0) break;
    done += length;
  }
  return done;
}

/* ---- Parsing ------------------------------------------------------------------------------ */

/* Where its buffer for a string cannot grow, jansson (2.14, lex_save) drops a character or aborts:
 * so whether there is memory is tried before. */
static tinytl_status check_memory(size_t n, tinytl_error *error) {
  const size_t nbytes = 8 * n + 4096;
  void *volatile piece = malloc(nbytes); /* else the compiler leaves both calls out */
  if (!piece) return tinytl_fail_memory(error, nbytes);
  free(piece);
  return TINYTL_OK;
}

/* What is parsed takes far more memory than its text. A header of as many tensors as are supported
 * stays below these. */
enum { MAX_VALUES = 1 << 18, MAX_CONTAINERS = 1 << 15 };

/* jansson 2.14 with the C library's rounding, 64 bits: a string 48 and 16 beside its characters, a
 * place in an array that grows 24; a member's key 88 and its share of the table 40, but that is
 * paid for by two marks, : and , or {; an object 224, an array 128. Characters are held in the
 * text's copy, the token being read, which doubles, and the value. */
enum { VALUE_NBYTES = 112, CONTAINER_NBYTES = 256, CHARACTER_COPIES = 5 };

size_t tinytl_json_nbytes(const char *text, size_t n) {
  size_t nbytes = CHARACTER_COPIES * n;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == ',' || text[i] == ':') nbytes += VALUE_NBYTES;
    if (text[i] == '[' || text[i] == '{') nbytes += CONTAINER_NBYTES;
  }
  return nbytes;
}

static tinytl_status check_counts(const char *text, size_t n, const char *where,
                                  tinytl_error *error) {
  size_t n_values = 1, n_containers = 0;
  bool in_string = false;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '"')
      in_string = !in_string;
    else if (in_string)
      i += text[i] == '\\';
    else if (text[i] == ',' || text[i] == ':')
      n_values++;
    else if (text[i] == '[' || text[i] == '{')
      n_containers++;
  }
  if (n_values <= MAX_VALUES && n_containers <= MAX_CONTAINERS) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "%s: JSON of %zu values, %zu of them arrays or objects; at most %d and %d are "
                     "supported",
                     where, n_values, n_containers, MAX_VALUES, MAX_CONTAINERS);
}

static tinytl_status parse(const char *text, size_t n, size_t flags, const char *where,
                           json_t **json, tinytl_error *error) {
  json_error_t reason;
  TINYTL_TRY(check_counts(text, n, where, error));
  TINYTL_TRY(check_memory(n, error));
  /* All numbers as double: those beyond 64 bits are refused where they are used. */
  flags |= JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES;
  const tinytl_c_locale locale = tinytl_c_locale_begin();
  json_t *value = json_loadb(text, n, flags, &reason);
  tinytl_c_locale_end(&locale);
  /* Short of memory jansson has no words; but of a string it says that it is not valid. */
  if (!value && !reason.text[0]) return tinytl_fail_memory(error, n);
  if (!value)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %s near character %d", where,
                       json_error_code(&reason) == json_error_duplicate_key ? "a key stands twice"
                                                                            : "not valid JSON",
                       reason.position);
  *json = value;
  return TINYTL_OK;
}

tinytl_status tinytl_json_parse(const char *text, size_t n, const char *where, json_t **json,
                                tinytl_error *error) {
  return parse(text, n, 0, where, json, error);
}

/* ---- Strings of any bytes ----------------------------------------------------------------- */

/* jansson takes no lone surrogate. A string of ours holds no NUL, so the byte XX passes through it
 * as NUL and U+00XX. */

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

/* Copies text, with every lone \udc80 to \udcff made \u0000\u0080 to \u0000\u00ff: at most twice as
 * long. False: it has a NUL of its own. */
static bool mark_bytes(const char *text, size_t n, char *out, size_t *n_out) {
  char *end = out;
  for (size_t done = 0; done < n;) {
    const int code = unicode_escape(text + done, n - done);
    size_t step = text[done] == '\\' && n - done >= 2 ? 2 : 1;
    if (code == 0) return false;
    if (code >= 0xdc80 && code <= 0xdcff) {
      end += sprintf(end, "\\u0000\\u00%02x", (unsigned)code & 0xff);
      done += 6;
      continue;
    }
    if (code >= 0xd800 && code <= 0xdbff) step = n - done < 12 ? n - done : 12; /* a pair */
    memcpy(end, text + done, step);
    end += step;
    done += step;
  }
  *n_out = (size_t)(end - out);
  return true;
}

/* The reverse, on a parsed string. */
static bool restore_string(json_t *string) {
  const char *text = json_string_value(string);
  const size_t n = json_string_length(string);
  char *bytes = malloc(n + 1), *end = bytes;
  if (!bytes) return false;
  for (size_t i = 0; i < n; i++)
    if (text[i] == '\0') { /* then the two bytes of U+0080 to U+00FF */
      *end++ = (char)((text[i + 1] & 3) << 6 | (text[i + 2] & 0x3f));
      i += 2;
    } else {
      *end++ = text[i];
    }
  const bool is_set = json_string_setn_nocheck(string, bytes, (size_t)(end - bytes)) == 0;
  free(bytes);
  return is_set;
}

/* False: out of memory. */
static bool restore_bytes(json_t *value) {
  const char *key;
  json_t *item;
  size_t i;
  bool ok = true;
  json_array_foreach(value, i, item) ok = restore_bytes(item) && ok;
  json_object_foreach(value, key, item) ok = restore_bytes(item) && ok;
  const size_t n = json_string_length(value);
  return n > 0 && memchr(json_string_value(value), '\0', n) ? restore_string(value) : ok;
}

tinytl_status tinytl_json_parse_bytes(const char *text, const char *where, json_t **json,
                                      tinytl_error *error) {
  const size_t n = strlen(text);
  char *marked = malloc(2 * n + 1);
  if (!marked) return tinytl_fail_memory(error, 2 * n + 1);
  size_t n_marked = 0;
  json_t *value = NULL;
  tinytl_status status = mark_bytes(text, n, marked, &n_marked)
                             ? parse(marked, n_marked, JSON_ALLOW_NUL, where, &value, error)
                             : tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: a NUL in JSON", where);
  free(marked);
  if (status == TINYTL_OK && !restore_bytes(value)) status = tinytl_fail_memory(error, n);
  if (status == TINYTL_OK)
    *json = value;
  else
    json_decref(value);
  return status;
}

/* ---- Values ------------------------------------------------------------------------------- */

bool tinytl_json_size(const json_t *item, size_t *value) {
  if (!json_is_number(item)) return false;
  const double number = json_number_value(item);
  if (!(number >= 0 && number <= fmin(0x1p53, (double)SIZE_MAX)) || number != floor(number))
    return false;
  *value = (size_t)number;
  return true;
}

tinytl_status tinytl_json_int(const json_t *object, const char *key, int min, int max,
                              const char *where, int *value, tinytl_error *error) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_number(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a number \"%s\"", where, key);
  const double number = json_number_value(item);
  if (!(number >= min && number <= max) || number != floor(number))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: \"%s\" must be a whole number %d to %d, found %g", where, key, min, max,
                       number);
  *value = (int)number;
  return TINYTL_OK;
}

tinytl_status tinytl_json_string(const json_t *object, const char *key, const char *where,
                                 const char **value, tinytl_error *error) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_string(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a string \"%s\"", where, key);
  *value = json_string_value(item);
  return TINYTL_OK;
}

tinytl_status tinytl_json_array(const json_t *object, const char *key, const char *where,
                                const json_t **value, tinytl_error *error) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_array(item))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected an array \"%s\"", where, key);
  *value = item;
  return TINYTL_OK;
}

tinytl_status tinytl_json_floats(const json_t *object, const char *key, int n, const char *where,
                                 float *values, tinytl_error *error) {
  const json_t *array = NULL, *item;
  TINYTL_TRY(tinytl_json_array(object, key, where, &array, error));
  size_t i;
  bool ok = json_array_size(array) == (size_t)n;
  json_array_foreach(array, i, item) {
    ok = ok && json_is_number(item) && isfinite((float)json_number_value(item));
    if (ok) values[i] = (float)json_number_value(item);
  }
  if (!ok)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: \"%s\" must be %d finite numbers", where,
                       key, n);
  return TINYTL_OK;
}

tinytl_status tinytl_json_strings(const json_t *array, const char *where, char ***strings, int *n,
                                  tinytl_error *error) {
  const size_t count = json_array_size(array);
  size_t i, n_chars = 0;
  const json_t *item;
  if (!json_is_array(array))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected an array of strings", where);
  json_array_foreach(array, i, item) {
    if (!json_is_string(item))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: item %zu: expected a string", where, i);
    n_chars += json_string_length(item) + 1;
  }
  if (count > INT_MAX)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %zu strings are too many", where, count);
  /* The pointers, then the characters. */
  char **copy = malloc(count * sizeof *copy + n_chars + 1);
  if (!copy) return tinytl_fail_memory(error, count * sizeof *copy + n_chars + 1);
  char *chars = (char *)(copy + count);
  json_array_foreach(array, i, item) {
    const size_t length = json_string_length(item) + 1;
    copy[i] = memcpy(chars, json_string_value(item), length);
    chars += length;
  }
  *strings = copy;
  *n = (int)count;
  return TINYTL_OK;
}
