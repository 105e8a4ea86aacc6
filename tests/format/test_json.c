/* UTF-8, strings of any bytes, and numbers. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "format/json.h"
#include "format/json_text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void test_utf8(void **state) {
  static const struct {
    const char *text;
    size_t valid;
  } cases[] = {
      {"plain", 5},
      {"caf\xc3\xa9", 5},
      {"\xe2\x82\xac", 3},
      {"\xf0\x9f\x98\x80", 4},
      {"a\xff", 1},            /* never a byte of UTF-8 */
      {"a\xc0\x80", 1},        /* overlong */
      {"\xe0\x80\x80", 0},     /* overlong */
      {"\xed\xa0\x80", 0},     /* surrogate */
      {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
      {"\xe2\x82", 0},         /* cut short */
      {"ok\xe2\x82\xacok\x80", 7},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(tinytl_utf8_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

/* Prints, checks that the text is valid UTF-8, reads back. */
static void round_trip(const char *const *strings, int n) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '[');
  for (int i = 0; i < n; i++) tinytl_json_put_string(&json, NULL, strings[i]);
  tinytl_json_close(&json, ']');
  char *text = tinytl_json_finish(&json);
  assert_non_null(text);
  assert_int_equal(tinytl_utf8_valid(text, strlen(text)), strlen(text));
  json_t *parsed = NULL;
  tinytl_error error;
  assert_int_equal(tinytl_json_parse_bytes(text, "test", &parsed, &error), TINYTL_OK);
  char **back = NULL;
  int n_back = 0;
  assert_int_equal(tinytl_json_strings(parsed, "test", &back, &n_back, &error), TINYTL_OK);
  assert_int_equal(n_back, n);
  for (int i = 0; i < n; i++) assert_string_equal(back[i], strings[i]);
  free(back);
  free(text);
  json_decref(parsed);
}

static void test_any_bytes(void **state) {
  static const char *const strings[] = {
      "",         "it's \"quoted\"", "back\\slash", "\\udce9",          "caf\xe9",
      "\xff\xfe", "\xed\xb3\xa9",    "\n\t\x01",    "\xf0\x9f\x98\x80", "\xf0\x9f\x98",
      "\\",       "\\u0041\x80"};
  (void)state;
  round_trip(strings, sizeof strings / sizeof *strings);
  for (uint64_t seed = 0; seed < 200; seed++) {
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
    char text[40] = "";
    const int n = (int)tinytl_rng_below(&rng, sizeof text);
    for (int i = 0; i < n; i++) text[i] = (char)(1 + tinytl_rng_below(&rng, 255));
    const char *one = text;
    round_trip(&one, 1);
  }
}

/* What tinytl_json_parse_bytes makes of a string. */
static void check_bytes(const char *text, const char *bytes) {
  json_t *json = NULL;
  assert_int_equal(tinytl_json_parse_bytes(text, "test", &json, NULL), TINYTL_OK);
  assert_string_equal(json_string_value(json), bytes);
  json_decref(json);
}

static void test_escapes(void **state) {
  (void)state;
  check_bytes("\"\\udc80\\uDCFF\"", "\x80\xff");
  check_bytes("\"\\u0080\\u00ff\"", "\xc2\x80\xc3\xbf"); /* characters, not bytes */
  check_bytes("\"\\\\udc80\"", "\\udc80");
  check_bytes("\"\\\\\\udc80\"", "\\\x80");
  /* U+1F4E9 as an escaped pair: its second half looks like an escaped byte. */
  check_bytes("\"\\ud83d\\udce9\"", "\xf0\x9f\x93\xa9");
}

static void test_bytes_inside(void **state) {
  json_t *json = NULL;
  (void)state;
  const char text[] = "{\"a\":[1,{\"b\":\"\\udce9\"}],\"c\":\"x\\udcff\"}";
  assert_int_equal(tinytl_json_parse_bytes(text, "test", &json, NULL), TINYTL_OK);
  const json_t *inner = json_array_get(json_object_get(json, "a"), 1);
  assert_string_equal(json_string_value(json_object_get(inner, "b")), "\xe9");
  assert_string_equal(json_string_value(json_object_get(json, "c")), "x\xff");
  json_decref(json);
}

static void test_not_bytes(void **state) {
  /* Surrogates that stand for no byte, NUL, escapes cut short, a byte in a key. */
  static const char *const texts[] = {"\"\\udc7f\"",        "\"\\udd00\"",
                                      "\"\\ud83d\"",        "\"\\ud83d\\ud83d\"",
                                      "\"\\u0000\"",        "\"\\u0000\\u00e9\"",
                                      "\"\\udc8",           "\"\\udc8\"",
                                      "\"\\udc80",          "\"\xe9\"",
                                      "{\"\\udc80\":\"\"}", "\"\n\"",
                                      "\"\\ud83d\\u0041\"", "\"\\"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    json_t *json = NULL;
    tinytl_error error;
    if (tinytl_json_parse_bytes(texts[i], "name", &json, &error) != TINYTL_ERROR_MODEL)
      fail_msg("accepted: %s", texts[i]);
    assert_non_null(strstr(error.message, "name"));
    assert_null(json);
  }
}

static void test_not_json(void **state) {
  static const char *const texts[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{}x",
                                      "[1] 2",
                                      "\"\\udc41\"",
                                      "nul",
                                      "\"\n\"",
                                      "\"\\u0000\"",
                                      "\"\\udc80\"",
                                      "\"\xff\"",
                                      "[01]",
                                      "[1.]",
                                      "[+1]",
                                      "{\"\\u0000\":1}",
                                      "NaN",
                                      "\xef\xbb\xbf[]"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    json_t *json = NULL;
    tinytl_error error;
    if (tinytl_json_parse(texts[i], strlen(texts[i]), "name", &json, &error) != TINYTL_ERROR_MODEL)
      fail_msg("accepted: %s", texts[i]);
    assert_non_null(strstr(error.message, "name: not valid JSON near character"));
    assert_null(json);
  }
}

/* Text of a given length may hold NUL bytes. */
static void test_embedded_nul(void **state) {
  static const char inside[] = "\"a\0b\"", after[] = "[]\0", more[] = "[]\0[]";
  json_t *json = NULL;
  (void)state;
  assert_int_equal(tinytl_json_parse(inside, 5, "f", &json, NULL), TINYTL_ERROR_MODEL);
  assert_int_equal(tinytl_json_parse(after, 3, "f", &json, NULL), TINYTL_ERROR_MODEL);
  assert_int_equal(tinytl_json_parse(more, 5, "f", &json, NULL), TINYTL_ERROR_MODEL);
  assert_null(json);
}

static void test_keys_differ(void **state) {
  static const char *const texts[] = {"{\"k\":1,\"k\":1}", "[{\"k\":{\"a\":1,\"\\u0061\":2}}]"};
  json_t *json = NULL;
  tinytl_error error;
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(tinytl_json_parse(texts[i], strlen(texts[i]), "f", &json, &error),
                     TINYTL_ERROR_MODEL);
    assert_non_null(strstr(error.message, "f: a key stands twice near character"));
    assert_int_equal(tinytl_json_parse_bytes(texts[i], "f", &json, &error), TINYTL_ERROR_MODEL);
    assert_null(json);
  }
}

static void test_depth(void **state) {
  enum { DEPTH = 100000 };
  static char text[2 * DEPTH + 1];
  json_t *json = NULL;
  (void)state;
  memset(text, '[', DEPTH);
  memset(text + DEPTH, ']', DEPTH);
  assert_int_equal(tinytl_json_parse(text, 2 * DEPTH, "f", &json, NULL), TINYTL_ERROR_MODEL);
  assert_int_equal(tinytl_json_parse_bytes(text, "f", &json, NULL), TINYTL_ERROR_MODEL);
  assert_null(json);
}

/* Whether `text` is JSON and its value a size. */
static bool read_size(const char *text, size_t *value) {
  json_t *json = NULL;
  if (tinytl_json_parse(text, strlen(text), "f", &json, NULL) != TINYTL_OK) return false;
  const bool is_size = tinytl_json_size(json, value);
  json_decref(json);
  return is_size;
}

static void test_numbers(void **state) {
  static const char *const bad[] = {"-1",    "0.5",  "1e300", "1e999", "9007199254740993e3",
                                    "\"1\"", "null", "[1]",   "true",  "18446744073709551620"};
  static const struct {
    const char *text;
    size_t value;
  } good[] = {
    {"0", 0},
    {"-0", 0},
    {"7.0", 7},
    {"1e3", 1000},
#if SIZE_MAX > UINT32_MAX
    {"4503599627370496", (size_t)1 << 52},
    {"9007199254740992", (size_t)1 << 53},
#endif
    {"4294967295", 4294967295}
  };
  size_t value;
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (read_size(bad[i], &value)) fail_msg("accepted: %s", bad[i]);
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_true(read_size(good[i].text, &value));
    assert_int_equal(value, good[i].value);
  }
}

/* Numbers beyond 64 bits are numbers: refused only where one is asked for. */
static void test_huge_number(void **state) {
  json_t *json = NULL;
  int value = 0;
  (void)state;
  const char text[] = "{\"a\":123456789012345678901234567890,\"b\":3}";
  assert_int_equal(tinytl_json_parse(text, strlen(text), "f", &json, NULL), TINYTL_OK);
  assert_int_equal(tinytl_json_int(json, "b", 0, 9, "f", &value, NULL), TINYTL_OK);
  assert_int_equal(value, 3);
  assert_int_equal(tinytl_json_int(json, "a", 0, 9, "f", &value, NULL), TINYTL_ERROR_MODEL);
  json_decref(json);
}

/* A backbone is known by the sha256 of its file: these texts must never change. */
static void test_floats(void **state) {
  static const struct {
    float value;
    const char *text;
  } cases[] = {{0.485f, "0.485"},
               {1, "1"},
               {0.1f, "0.1"},
               {1.0f / 3, "0.33333334"},
               {0, "0"},
               {-0.0f, "0"},
               {100, "100"},
               {-2.5f, "-2.5"},
               {1e-5f, "1e-05"},
               {0.0001f, "0.0001"},
               {16777216, "16777216"},
               {1e20f, "1e+20"},
               {5.9604645e-08f, "5.9604645e-08"},
               {1e-45f, "1e-45"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinytl_json_text json = {0};
    tinytl_json_put_float(&json, NULL, cases[i].value);
    char *text = tinytl_json_finish(&json);
    assert_string_equal(text, cases[i].text);
    free(text);
  }
}

static void test_text(void **state) {
  tinytl_json_text json = {0};
  (void)state;
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_string(&json, "s", "\"\\/\b\f\n\r\t\x1b\x7f \xc3\xa9 \xe9");
  tinytl_json_open(&json, "a", '[');
  tinytl_json_close(&json, ']');
  tinytl_json_open(&json, "o", '{');
  tinytl_json_put_int(&json, "min", LLONG_MIN);
  tinytl_json_put_null(&json, "k\n");
  tinytl_json_put_list(&json, "l", (const int[]){-1, 20}, 2);
  tinytl_json_put_list(&json, "n", NULL, 0);
  tinytl_json_close(&json, '}');
  tinytl_json_close(&json, '}');
  char *text = tinytl_json_finish(&json);
  assert_string_equal(
      text, "{\"s\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u001b\x7f \xc3\xa9 \\udce9\",\"a\":[],"
            "\"o\":{\"min\":-9223372036854775808,\"k\\n\":null,\"l\":\"-1,20\",\"n\":\"\"}}");
  free(text);
}

/* "[" n_items times `item`, with commas, "]". */
static tinytl_status parse_list(const char *item, size_t n_items, tinytl_error *error) {
  const size_t length = strlen(item);
  char *text = malloc(n_items * (length + 1) + 2), *end = text;
  json_t *json = NULL;
  for (size_t i = 0; i < n_items; i++) {
    *end++ = i ? ',' : '[';
    memcpy(end, item, length);
    end += length;
  }
  *end++ = ']';
  const tinytl_status status = tinytl_json_parse(text, (size_t)(end - text), "test", &json, error);
  json_decref(json);
  free(text);
  return status;
}

/* 16 MB of "[],[],..." took a gigabyte. What stands in strings does not count. */
static void test_many_values(void **state) {
  (void)state;
  tinytl_error error = {0};
  assert_int_equal(parse_list("0", 1 << 18, &error), TINYTL_OK);
  assert_int_equal(parse_list("0", (1 << 18) + 1, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "JSON of 262145 values"));
  assert_int_equal(parse_list("{}", (1 << 15) - 1, &error), TINYTL_OK);
  assert_int_equal(parse_list("[]", 1 << 15, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "32769 of them arrays or objects"));
  assert_int_equal(parse_list("\"[[,,::{{\\\"[[\"", 30000, &error), TINYTL_OK);
}

/* What a plan counts for printing a string is what it takes, in JSON and in a string of JSON. */
static void test_string_nbytes(void **state) {
  static const char text[] = "\"\\/\b\f\n\r\t\x1b\x7f \xc3\xa9 \xe9";
  tinytl_json_text once = {0}, nested = {0};
  (void)state;
  tinytl_json_put_string(&once, NULL, text);
  assert_int_equal(tinytl_json_string_nbytes(text, false), once.n);
  tinytl_json_put_string(&nested, NULL, once.text);
  /* The quotes of the string that holds it all are not the text's. */
  assert_int_equal(tinytl_json_string_nbytes(text, true), nested.n - 2);
  free(tinytl_json_finish(&once));
  free(tinytl_json_finish(&nested));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_utf8),          cmocka_unit_test(test_any_bytes),
      cmocka_unit_test(test_escapes),       cmocka_unit_test(test_bytes_inside),
      cmocka_unit_test(test_not_bytes),     cmocka_unit_test(test_not_json),
      cmocka_unit_test(test_embedded_nul),  cmocka_unit_test(test_keys_differ),
      cmocka_unit_test(test_depth),         cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_huge_number),   cmocka_unit_test(test_floats),
      cmocka_unit_test(test_text),          cmocka_unit_test(test_many_values),
      cmocka_unit_test(test_string_nbytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
