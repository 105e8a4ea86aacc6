/* Both directions, Python in between, and every kind of damage. */
#include "support/cmocka.h"
#include "support/sink.h"

#include "format/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float floats[6] = {1, -2.5f, 3, 0, 1e30f, -1e-30f};
static const int8_t bytes[5] = {-128, -1, 0, 1, 127};
static const float scalar[1] = {7};

static sink write_sample(void) {
  const tinytl_tensor tensors[] = {
      {.name = "b.bytes",
       .dtype = TINYTL_DTYPE_I8,
       .n_dims = 1,
       .dims = {5},
       .data = bytes,
       .nbytes = 5},
      {.name = "a \"quoted\" name",
       .dtype = TINYTL_DTYPE_F32,
       .n_dims = 2,
       .dims = {2, 3},
       .data = floats,
       .nbytes = 24},
      {.name = "scalar", .dtype = TINYTL_DTYPE_F32, .data = scalar, .nbytes = 4},
      {.name = "empty", .dtype = TINYTL_DTYPE_F32, .n_dims = 2, .dims = {0, 3}, .data = scalar}};
  const char *const meta[] = {"key", "value \xc3\xa9 \"x\"", "left out", NULL, "other", "", NULL};
  sink file = {0};
  tinytl_error error;
  assert_int_equal(tinytl_safetensors_write(meta, tensors, 4, sink_write, &file, &error),
                   TINYTL_OK);
  return file;
}

static void test_round_trip(void **state) {
  sink file = write_sample();
  tinytl_safetensors *opened = NULL;
  tinytl_error error;
  (void)state;
  assert_int_equal(file.bytes[0] % 8, 0); /* the data begins aligned */
  assert_int_equal(tinytl_safetensors_open(file.bytes, file.nbytes, "sample", &opened, &error),
                   TINYTL_OK);
  assert_int_equal(tinytl_safetensors_n(opened), 4);
  assert_string_equal(tinytl_safetensors_meta(opened, "key"), "value \xc3\xa9 \"x\"");
  assert_string_equal(tinytl_safetensors_meta(opened, "other"), "");
  assert_null(tinytl_safetensors_meta(opened, "left out"));
  assert_null(tinytl_safetensors_find(opened, "c"));

  const float *values = NULL;
  const int8_t *small = NULL;
  const int dims[] = {2, 3}, five = 5, wrong[] = {3, 2};
  assert_int_equal(tinytl_safetensors_f32(opened, "a \"quoted\" name", 2, dims, &values, &error),
                   TINYTL_OK);
  assert_memory_equal(values, floats, sizeof floats);
  assert_int_equal(tinytl_safetensors_all_read(opened, &error), TINYTL_ERROR_MODEL);
  assert_int_equal(tinytl_safetensors_i8(opened, "b.bytes", 1, &five, &small, &error), TINYTL_OK);
  assert_memory_equal(small, bytes, sizeof bytes);
  assert_int_equal(tinytl_safetensors_f32(opened, "scalar", 0, NULL, &values, &error), TINYTL_OK);
  assert_true(values[0] == 7);

  assert_int_equal(tinytl_safetensors_f32(opened, "a \"quoted\" name", 2, wrong, &values, &error),
                   TINYTL_ERROR_MODEL);
  assert_string_equal(error.message,
                      "sample: tensor \"a \"quoted\" name\": expected shape [3, 2], found [2, 3]");
  assert_int_equal(tinytl_safetensors_f32(opened, "b.bytes", 1, &five, &values, &error),
                   TINYTL_ERROR_MODEL);
  assert_int_equal(tinytl_safetensors_f32(opened, "c", 1, &five, &values, &error),
                   TINYTL_ERROR_MODEL);
  assert_string_equal(error.message, "sample: tensor \"c\" is missing");
  tinytl_safetensors_free(opened);
  free(file.bytes);
}

static void test_python_reads(void **state) {
  sink file = write_sample();
  (void)state;
  sink_check_in_python(
      &file,
      "assert sorted(f.keys()) == [\"a \\\"quoted\\\" name\", \"b.bytes\", \"empty\", \"scalar\"]\n"
      "assert f.metadata() == {\"key\": \"value \\u00e9 \\\"x\\\"\", \"other\": \"\"}\n"
      "assert f.get_tensor(\"b.bytes\").tolist() == [-128, -1, 0, 1, 127]\n"
      "a = f.get_tensor(\"a \\\"quoted\\\" name\")\n"
      "assert a.shape == (2, 3) and a.dtype == numpy.float32 and a[0, 1] == -2.5\n"
      "assert f.get_tensor(\"scalar\") == 7 and f.get_tensor(\"empty\").shape == (0, 3)\n");
  free(file.bytes);
}

static void test_full_output(void **state) {
  const tinytl_tensor tensor = {
      .name = "x", .n_dims = 1, .dims = {6}, .data = floats, .nbytes = 24};
  const char *const meta[] = {NULL};
  (void)state;
  for (size_t room = 0; room < 100; room += 4) {
    size_t left = room;
    tinytl_error error;
    assert_int_equal(tinytl_safetensors_write(meta, &tensor, 1, sink_full, &left, &error),
                     TINYTL_ERROR_INTERNAL);
  }
}

static int open_only(const void *data, size_t nbytes) {
  tinytl_safetensors *opened = NULL;
  tinytl_error error = {0};
  const tinytl_status status = tinytl_safetensors_open(data, nbytes, "damaged", &opened, &error);
  if (status == TINYTL_OK) {
    tinytl_safetensors_free(opened);
  } else {
    assert_null(opened);
    assert_int_equal(error.status, status);
    assert_non_null(strstr(error.message, "damaged"));
  }
  return (int)status;
}

static void test_damage(void **state) {
  sink file = write_sample();
  (void)state;
  sink_damage(&file, file.nbytes, TINYTL_ERROR_MODEL, open_only);
  /* Bytes too many. */
  sink_write(&file, "x", 1);
  assert_int_equal(open_only(file.bytes, file.nbytes), TINYTL_ERROR_MODEL);
  free(file.bytes);
}

/* A file with this header and n_data bytes of data. */
static int open_header(const char *header, size_t n_data) {
  sink file = {0};
  const uint64_t length = strlen(header);
  uint8_t prefix[8];
  for (int i = 0; i < 8; i++) prefix[i] = (uint8_t)(length >> (8 * i));
  sink_write(&file, prefix, 8);
  sink_write(&file, header, (size_t)length);
  for (size_t i = 0; i < n_data; i++) sink_write(&file, "", 1);
  const int status = open_only(file.bytes, file.nbytes);
  free(file.bytes);
  return status;
}

#define TENSOR(name, dtype, shape, begin, end)                                                     \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]" \
  "}"

static void test_good_headers(void **state) {
  (void)state;
  assert_int_equal(open_header("{}", 0), TINYTL_OK);
  assert_int_equal(open_header("{}   \n", 0), TINYTL_OK);
  assert_int_equal(open_header("{" TENSOR("x", "I8", "[4]", "0", "4") "}", 4), TINYTL_OK);
  assert_int_equal(open_header("{" TENSOR("x", "F64", "[2,1]", "0", "16") "}", 16), TINYTL_OK);
  assert_int_equal(
      open_header("{" TENSOR("y", "I8", "[1]", "3", "4") "," TENSOR("x", "U8", "[3]", "0", "3") "}",
                  4),
      TINYTL_OK);
}

static void test_bad_headers(void **state) {
  static const struct {
    const char *header;
    size_t n_data;
  } cases[] = {
      {"[]", 0},
      {"1", 0},
      {"", 0},
      {"{", 0},
      {"{}{}", 0},
      {"{\"\xff\":{}}", 0},
      {"{\"x\":1}", 0},
      {"{\"x\":{}}", 0},
      {"{\"__metadata__\":1}", 0},
      {"{\"__metadata__\":{\"k\":1}}", 0},
      {"{\"__metadata__\":{\"k\":\"a\",\"k\":\"b\"}}", 0},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0},
      {"{" TENSOR("x", "I7", "[4]", "0", "4") "}", 4}, /* unknown type */
      {"{" TENSOR("x", "I8", "[5]", "0", "4") "}", 4}, /* shape and span differ */
      {"{" TENSOR("x", "F32", "[4]", "0", "4") "}", 4},
      {"{" TENSOR("x", "I8", "[4]", "0", "4") "}", 3}, /* beyond the end */
      {"{" TENSOR("x", "I8", "[4]", "0", "4") "}", 5}, /* more data than tensors */
      {"{" TENSOR("x", "I8", "[4]", "1", "5") "}", 5}, /* gap */
      {"{" TENSOR("x", "I8", "[4]", "0", "4") "," TENSOR("y", "I8", "[4]", "2", "6") "}",
       8}, /* overlap, though as many bytes as there are */
      {"{" TENSOR("x", "I8", "[4]", "0", "4") "," TENSOR("y", "I8", "[4]", "0", "4") "}", 8},
      {"{" TENSOR("x", "I8", "[2]", "0", "2") "," TENSOR("x", "I8", "[2]", "2", "4") "}",
       4}, /* same name */
      {"{" TENSOR("x", "I8", "[4]", "4", "0") "}", 4},
      {"{" TENSOR("x", "I8", "[-4]", "0", "4") "}", 4},
      {"{" TENSOR("x", "I8", "[4.5]", "0", "4") "}", 4},
      {"{" TENSOR("x", "I8", "[\"4\"]", "0", "4") "}", 4},
      {"{" TENSOR("x", "I8", "[4]", "-4", "0") "}", 4},
      {"{" TENSOR("x", "I8", "[4]", "0", "4.5") "}", 4},
      {"{" TENSOR("x", "I8", "[4]", "0", "1e300") "}", 4},
      {"{" TENSOR("x", "I8", "[4]", "0", "18446744073709551620") "}", 4},     /* 2^64 + 4 */
      {"{" TENSOR("x", "F32", "[4611686018427387905]", "0", "4") "}", 4},     /* 2^62 + 1 values */
      {"{" TENSOR("x", "F32", "[2147483648,2147483648,4]", "0", "0") "}", 0}, /* 2^64 values */
      {"{" TENSOR("x", "I8", "[1,1,1,1,1,1,1,1,4]", "0", "4") "}", 4},
      {"{\"x\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4},
      {"{\"x\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0]}}", 4},
      {"{\"x\":{\"dtype\":\"I8\",\"shape\":4,\"data_offsets\":[0,4]}}", 4},
      {"{\"x\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4},
      {"{\"x\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4],\"more\":1}}", 4},
      {"{\"x\":{\"dtype\":\"I8\",\"dtype\":\"I8\",\"shape\":[4]}}", 4},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (open_header(cases[i].header, cases[i].n_data) != TINYTL_ERROR_MODEL)
      fail_msg("accepted: %s", cases[i].header);
}

static void test_deep_nesting(void **state) {
  static char header[200000];
  (void)state;
  memset(header, '[', sizeof header - 1);
  memcpy(header, "{\"x\":", 5);
  assert_int_equal(open_header(header, 0), TINYTL_ERROR_MODEL);
}

static void test_header_length(void **state) {
  static const uint8_t lengths[][8] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                                       {3, 0, 0, 0, 0, 0, 0, 0},
                                       {2, 0, 0, 0, 0, 0, 0, 0x80},
                                       {0, 0, 0, 0, 1, 0, 0, 0}};
  (void)state;
  for (int i = 0; i < 4; i++) {
    uint8_t file[10];
    memcpy(file, lengths[i], 8);
    memcpy(file + 8, "{}", 2);
    assert_int_equal(open_only(file, sizeof file), TINYTL_ERROR_MODEL);
  }
}

static void test_values(void **state) {
  const float bad[] = {NAN, INFINITY, -INFINITY};
  const char *const meta[] = {NULL};
  (void)state;
  for (int i = 0; i < 3; i++) {
    const float data[] = {1, bad[i]};
    const tinytl_tensor tensor = {.name = "x", .n_dims = 1, .dims = {2}, .data = data, .nbytes = 8};
    sink file = {0};
    tinytl_safetensors *opened = NULL;
    tinytl_error error;
    const float *values = NULL;
    const int two = 2;
    assert_int_equal(tinytl_safetensors_write(meta, &tensor, 1, sink_write, &file, &error),
                     TINYTL_OK);
    assert_int_equal(tinytl_safetensors_open(file.bytes, file.nbytes, "f", &opened, &error),
                     TINYTL_OK);
    assert_int_equal(tinytl_safetensors_f32(opened, "x", 1, &two, &values, &error),
                     TINYTL_ERROR_MODEL);
    assert_string_equal(error.message, "f: tensor \"x\": value 1 is not a finite number");
    tinytl_safetensors_free(opened);
    free(file.bytes);
  }
}

/* A float tensor that does not lie at a multiple of 4 is refused, not read. */
static void test_alignment(void **state) {
  sink file = write_sample();
  tinytl_safetensors *opened = NULL;
  tinytl_error error;
  const float *values = NULL;
  const int dims[] = {2, 3};
  (void)state;
  uint8_t *shifted = malloc(file.nbytes + 1);
  memcpy(shifted + 1, file.bytes, file.nbytes);
  assert_int_equal(tinytl_safetensors_open(shifted + 1, file.nbytes, "f", &opened, &error),
                   TINYTL_OK);
  assert_int_equal(tinytl_safetensors_f32(opened, "a \"quoted\" name", 2, dims, &values, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "aligned"));
  tinytl_safetensors_free(opened);
  free(shifted);
  free(file.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_python_reads),
      cmocka_unit_test(test_full_output),  cmocka_unit_test(test_damage),
      cmocka_unit_test(test_good_headers), cmocka_unit_test(test_bad_headers),
      cmocka_unit_test(test_deep_nesting), cmocka_unit_test(test_header_length),
      cmocka_unit_test(test_values),       cmocka_unit_test(test_alignment),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
