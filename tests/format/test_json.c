/* UTF-8, strings of any bytes, and numbers. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "format/json.h"

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
  cJSON *array = cJSON_CreateStringArray(strings, n), *parsed = NULL;
  char *text = tinytl_json_print_bytes(array);
  assert_non_null(text);
  assert_int_equal(tinytl_utf8_valid(text, strlen(text)), strlen(text));
  tinytl_error error;
  assert_int_equal(tinytl_json_parse_bytes(text, "test", &parsed, &error), TINYTL_OK);
  char **back = NULL;
  int n_back = 0;
  assert_int_equal(tinytl_json_strings(parsed, "test", &back, &n_back, &error), TINYTL_OK);
  assert_int_equal(n_back, n);
  for (int i = 0; i < n; i++) assert_string_equal(back[i], strings[i]);
  free(back);
  free(text);
  cJSON_Delete(array);
  cJSON_Delete(parsed);
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

static void test_pairs_stay_pairs(void **state) {
  /* U+1F4E9 as an escaped pair: its second half looks like an escaped byte. */
  cJSON *json = NULL;
  (void)state;
  assert_int_equal(tinytl_json_parse_bytes("\"\\ud83d\\udce9\"", "test", &json, NULL), TINYTL_OK);
  assert_string_equal(json->valuestring, "\xf0\x9f\x93\xa9");
  cJSON_Delete(json);
}

static void test_not_json(void **state) {
  static const char *const texts[] = {"", " ", "{", "[1,]", "{}x", "[1] 2", "\"\\udc41\"", "nul"};
  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    cJSON *json = NULL;
    tinytl_error error;
    assert_int_equal(tinytl_json_parse(texts[i], strlen(texts[i]), "name", &json, &error),
                     TINYTL_ERROR_MODEL);
    assert_non_null(strstr(error.message, "name"));
    assert_null(json);
  }
}

static void test_numbers(void **state) {
  static const char *const bad[] = {"-1",    "0.5",  "1e300", "1e999", "9007199254740993e3",
                                    "\"1\"", "null", "[1]",   "true"};
  size_t value;
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    cJSON *json = cJSON_Parse(bad[i]);
    assert_false(tinytl_json_size(json, &value));
    cJSON_Delete(json);
  }
  cJSON *json = cJSON_Parse("4503599627370496");
  assert_true(tinytl_json_size(json, &value));
  assert_int_equal(value, (size_t)1 << 52);
  cJSON_Delete(json);
}

static void test_floats(void **state) {
  static const struct {
    float value;
    const char *text;
  } cases[] = {{0.485f, "0.485"}, {1, "1"}, {0.1f, "0.1"}, {1.0f / 3, "0.33333334"}, {0, "0"}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cJSON *json = tinytl_json_float(cases[i].value);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, cases[i].text);
    free(text);
    cJSON_Delete(json);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_utf8),
      cmocka_unit_test(test_any_bytes),
      cmocka_unit_test(test_pairs_stay_pairs),
      cmocka_unit_test(test_not_json),
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_floats),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
