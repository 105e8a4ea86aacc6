/* Checkpoints to tensors: torch_file.c and state_dict.c. */
#include "support/cmocka.h"
#include "support/torch_maker.h"

#include "format/state_dict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float six[6] = {0, 1, 2, 3, 4, 5};
static const torch_tensor matrix = {
    .name = "m", .n_dims = 2, .dims = {2, 3}, .data = six, .nbytes = sizeof six};

/* Frees the file's bytes with the dict. */
typedef struct opened {
  sink file;
  tinytl_state_dict state;
} opened;

static opened expect_open(sink file) {
  opened o = {.file = file};
  tinytl_error error;
  if (tinytl_state_from_torch(file.bytes, file.nbytes, "file", &o.state, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  return o;
}

static void shut(opened *o) {
  tinytl_state_free(&o->state);
  free(o->file.bytes);
}

static void expect_refused(sink file, const char *reason) {
  tinytl_state_dict state;
  tinytl_error error = {0};
  assert_int_equal(tinytl_state_from_torch(file.bytes, file.nbytes, "file", &state, &error),
                   TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
  free(file.bytes);
}

static void expect_values(const opened *o, const char *name, int n_dims, const int *dims,
                          const float *expected, size_t n) {
  float found[16];
  tinytl_error error;
  if (tinytl_state_read(&o->state, name, n_dims, dims, found, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  for (size_t i = 0; i < n; i++) assert_true(found[i] == expected[i]);
}

/* ---- What is read ------------------------------------------------------------------------- */

static void test_strides(void **state) {
  static const float turned[6] = {0, 2, 4, 1, 3, 5};
  torch_tensor tensors[3] = {matrix, matrix, matrix};
  (void)state;
  tensors[1].name = "t";
  tensors[1].strides = (const int[]){1, 2};
  tensors[2].name = "module.part"; /* the second row; data-parallel training's prefix */
  tensors[2].n_dims = 1;
  tensors[2].dims[0] = 3;
  tensors[2].offset = 3;
  tensors[2].numel = 6;
  opened o = expect_open(torch_file(tensors, 3));
  assert_int_equal(o.state.n, 3);
  expect_values(&o, "m", 2, (const int[]){2, 3}, six, 6);
  expect_values(&o, "t", 2, (const int[]){2, 3}, turned, 6);
  expect_values(&o, "part", 1, (const int[]){3}, six + 3, 3);
  assert_int_equal(tinytl_state_all_read(&o.state, NULL, NULL), TINYTL_OK);
  shut(&o);
}

/* Normal, subnormal and largest numbers of both signs. */
static void test_types(void **state) {
  static const uint16_t half[] = {0x3C00, 0xC500, 0x0001, 0x83FF, 0x7BFF, 0x8000};
  static const float half_values[] = {1, -5, 0x1p-24f, -0x3FFp-24f, 65504, 0};
  static const uint16_t brain[] = {0x3F80, 0xC0A0, 0x0001, 0x7F7F};
  static const float brain_values[] = {1, -5, 0x1p-133f, 0x1.FEp127f};
  static const double wide[] = {0.1, -1e-300};
  static const float wide_values[] = {0.1f, 0};
  const torch_tensor tensors[] = {
      {.name = "h", .storage = "HalfStorage", .n_dims = 1, .dims = {6}, .data = half, .nbytes = 12},
      {.name = "b",
       .storage = "BFloat16Storage",
       .n_dims = 1,
       .dims = {4},
       .data = brain,
       .nbytes = 8},
      {.name = "d",
       .storage = "DoubleStorage",
       .n_dims = 1,
       .dims = {2},
       .data = wide,
       .nbytes = 16},
      {.name = "i", .storage = "LongStorage", .numel = 1, .data = wide, .nbytes = 8}};
  (void)state;
  opened o = expect_open(torch_file(tensors, 4));
  expect_values(&o, "h", 1, (const int[]){6}, half_values, 6);
  expect_values(&o, "b", 1, (const int[]){4}, brain_values, 4);
  expect_values(&o, "d", 1, (const int[]){2}, wide_values, 2);
  assert_int_equal(tinytl_state_all_read(&o.state, NULL, NULL), TINYTL_OK); /* integers are not */
  float value;
  tinytl_error error;
  assert_int_equal(tinytl_state_read(&o.state, "i", 0, NULL, &value, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "another type"));
  shut(&o);
}

static void expect_unreadable(const opened *o, const char *name, int n_dims, const int *dims,
                              const char *reason) {
  float values[16];
  tinytl_error error = {0};
  assert_int_equal(tinytl_state_read(&o->state, name, n_dims, dims, values, &error),
                   TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
}

static void test_expectations(void **state) {
  static const uint16_t odd[] = {0x3C00, 0x7C00, 0x7E00};
  const torch_tensor tensors[] = {
      matrix,
      {.name = "h", .storage = "HalfStorage", .n_dims = 1, .dims = {3}, .data = odd, .nbytes = 6}};
  tinytl_error error;
  (void)state;
  opened o = expect_open(torch_file(tensors, 2));
  expect_unreadable(&o, "n", 2, (const int[]){2, 3}, "\"n\" is missing");
  expect_unreadable(&o, "m", 2, (const int[]){3, 2}, "expected shape [3, 2], found [2, 3]");
  expect_unreadable(&o, "m", 1, (const int[]){6}, "expected shape [6], found [2, 3]");
  expect_unreadable(&o, "h", 1, (const int[]){3}, "value 1 is not a finite number");
  assert_int_equal(tinytl_state_all_read(&o.state, NULL, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "unexpected tensor \"h\""));
  assert_int_equal(tinytl_state_all_read(&o.state, "h", &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "unexpected tensor \"m\""));
  shut(&o);
}

/* {KEY: {KEY: state_dict, ...}, 'epoch': 3} */
static sink nested(const char *outer, const char *inner, const torch_tensor *tensor) {
  sink pickle = {0};
  pickle_op(&pickle, "\x80\2}(");
  pickle_text(&pickle, outer);
  pickle_op(&pickle, "}");
  pickle_text(&pickle, inner);
  pickle_state(&pickle, tensor, 1);
  pickle_op(&pickle, "s");
  pickle_text(&pickle, "epoch");
  pickle_op(&pickle, "K\3u.");
  return torch_file_of(&pickle, tensor, 1);
}

static void test_nests(void **state) {
  (void)state;
  opened o = expect_open(nested("model", "state_dict", &matrix));
  expect_values(&o, "m", 2, (const int[]){2, 3}, six, 6);
  shut(&o);
  o = expect_open(nested("model_ema", "state_dict_ema", &matrix));
  shut(&o);
  expect_refused(nested("optimizer", "state_dict", &matrix), "expected a state_dict");
}

/* The averaged weights are taken where there are two sets. */
static void test_averaged_first(void **state) {
  torch_tensor tensors[2] = {matrix, matrix};
  sink pickle = {0};
  (void)state;
  tensors[0].name = "plain";
  tensors[1].name = "averaged";
  pickle_op(&pickle, "}");
  pickle_text(&pickle, "model");
  pickle_op(&pickle, "}");
  pickle_tensor(&pickle, &tensors[0], 0);
  pickle_op(&pickle, "ss");
  pickle_text(&pickle, "model_ema");
  pickle_op(&pickle, "}");
  pickle_tensor(&pickle, &tensors[1], 1);
  pickle_op(&pickle, "ss.");
  opened o = expect_open(torch_file_of(&pickle, tensors, 2));
  assert_int_equal(o.state.n, 1);
  assert_string_equal(o.state.tensors[0].name, "averaged");
  shut(&o);
}

/* {'acc1': a tensor, KEY: {tensor's name: tensor} or {}} */
static sink beside_a_figure(const char *key, const torch_tensor *tensors, bool is_full) {
  sink pickle = {0};
  pickle_op(&pickle, "}");
  pickle_tensor(&pickle, &tensors[0], 0);
  pickle_op(&pickle, "s");
  pickle_text(&pickle, key);
  pickle_op(&pickle, "}");
  if (is_full) {
    pickle_tensor(&pickle, &tensors[1], 1);
    pickle_op(&pickle, "s");
  }
  pickle_op(&pickle, "s.");
  return torch_file_of(&pickle, tensors, 2);
}

/* A checkpoint of a training script holds its best accuracy as a tensor beside the state_dict. */
static void test_figures_beside(void **state) {
  torch_tensor tensors[2] = {matrix, matrix};
  (void)state;
  tensors[0].name = "acc1";
  opened o = expect_open(beside_a_figure("state_dict", tensors, true));
  assert_int_equal(o.state.n, 1);
  assert_string_equal(o.state.tensors[0].name, "m");
  shut(&o);
  o = expect_open(beside_a_figure("model", tensors, false));
  assert_string_equal(o.state.tensors[0].name, "acc1");
  shut(&o);
  o = expect_open(beside_a_figure("optimizer", tensors, true));
  assert_string_equal(o.state.tensors[0].name, "acc1");
  shut(&o);
}

/* torch.nn.Parameter around the tensor. */
static void test_parameter(void **state) {
  sink pickle = {0}, inner = {0};
  (void)state;
  pickle_tensor(&inner, &matrix, 0);
  pickle_op(&pickle, "}");
  pickle_text(&pickle, "m"); /* the tensor's name, before the function */
  pickle_op(&pickle, "ctorch._utils\n_rebuild_parameter\n(");
  sink_write(&pickle, inner.bytes + 6, inner.nbytes - 6);
  pickle_op(&pickle, "\x88}tRs.");
  free(inner.bytes);
  opened o = expect_open(torch_file_of(&pickle, &matrix, 1));
  expect_values(&o, "m", 2, (const int[]){2, 3}, six, 6);
  shut(&o);
}

/* ---- What is refused ---------------------------------------------------------------------- */

static sink file_with(torch_tensor tensor) {
  return torch_file(&tensor, 1);
}

static void test_tensor_outside_of_storage(void **state) {
  static const char outside[] = "tensor \"m\": its numbers do not lie inside of its storage";
  static const char other_size[] = "its storage has another size";
  torch_tensor bad = matrix;
  (void)state;
  bad.offset = 1;
  expect_refused(file_with(bad), outside);
  bad.offset = INT32_MAX;
  expect_refused(file_with(bad), outside);
  bad.offset = -1;
  expect_refused(file_with(bad), "its offset is damaged");
  bad = matrix;
  bad.strides = (const int[]){3, 2};
  expect_refused(file_with(bad), outside);
  bad.strides = (const int[]){INT32_MAX, INT32_MAX};
  expect_refused(file_with(bad), outside);
  bad.strides = (const int[]){-3, 1};
  expect_refused(file_with(bad), "its size or stride is damaged");
  bad.strides = (const int[]){0, 0}; /* repeated, and more values than there are */
  bad.dims[0] = 1000;
  bad.numel = 6;
  expect_refused(file_with(bad), outside);
  bad = matrix;
  bad.numel = 7;
  expect_refused(file_with(bad), other_size);
  bad.numel = INT32_MAX;
  expect_refused(file_with(bad), other_size);
  bad.numel = -6;
  expect_refused(file_with(bad), "the id of its storage is damaged");
  bad = matrix;
  bad.storage = "DoubleStorage";
  expect_refused(file_with(bad), other_size);
  bad.storage = "ComplexFloatStorage";
  expect_refused(file_with(bad), "asks for torch.ComplexFloatStorage: refused");
  bad = matrix;
  bad.dims[0] = bad.dims[1] = INT32_MAX;
  bad.numel = 6;
  expect_refused(file_with(bad), outside);
}

/* Two tensors without elements lie nowhere. */
static void test_empty_tensors(void **state) {
  torch_tensor empty = {.name = "m", .n_dims = 2, .dims = {0, 3}, .data = six};
  (void)state;
  opened o = expect_open(file_with(empty));
  shut(&o);
  empty.offset = 7;
  expect_refused(file_with(empty), "do not lie inside");
}

static void test_calls_of_other_shape(void **state) {
  static const char *const calls[] = {
      "ctorch._utils\n_rebuild_tensor_v2\n)R",            /* no arguments */
      "ctorch._utils\n_rebuild_tensor_v2\n(NK\1))tR",     /* no storage */
      "ctorch._utils\n_rebuild_tensor_v2\n(NQK\1))tR",    /* an id that is no tuple */
      "ctorch._utils\n_rebuild_tensor_v2\n(NNN\x87QNtR"}; /* one of nothing */
  (void)state;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    sink pickle = {0};
    pickle_op(&pickle, "}");
    pickle_text(&pickle, "m");
    pickle_op(&pickle, calls[i]);
    pickle_op(&pickle, "s.");
    expect_refused(torch_file_of(&pickle, NULL, 0), "tensor \"m\": the id of its storage");
  }
}

static sink file_of_pickle(const char *text, const torch_tensor *tensors, int n) {
  sink pickle = {0};
  pickle_op(&pickle, text);
  return torch_file_of(&pickle, tensors, n);
}

static void test_other_pickles(void **state) {
  static const char none[] = "expected a state_dict";
  (void)state;
  expect_refused(file_of_pickle("N.", NULL, 0), none);
  expect_refused(file_of_pickle("}.", NULL, 0), none);
  expect_refused(file_of_pickle("](K\1K\2e.", NULL, 0), none);
  sink pickle = {0}; /* {'model': itself} */
  pickle_op(&pickle, "}q");
  sink_write(&pickle, "", 1);
  pickle_text(&pickle, "model");
  pickle_op(&pickle, "h");
  sink_write(&pickle, "", 1);
  pickle_op(&pickle, "s.");
  expect_refused(torch_file_of(&pickle, NULL, 0), none);
  expect_refused(file_of_pickle("cos\nsystem\n.", NULL, 0), "data.pkl: byte 0: asks for os.system");
}

static void test_names(void **state) {
  torch_tensor tensors[2] = {matrix, matrix};
  sink pickle = {0};
  (void)state;
  tensors[1].name = "module.m";
  expect_refused(torch_file(tensors, 2), "tensor \"m\" stands twice");
  pickle_tensor(&pickle, &matrix, 0);
  pickle.bytes[5] = '\0';
  sink_write(&pickle, "s.", 2);
  sink whole = {0};
  pickle_op(&whole, "}");
  sink_write(&whole, pickle.bytes, pickle.nbytes);
  free(pickle.bytes);
  expect_refused(torch_file_of(&whole, &matrix, 1), "holds a NUL");
}

static void test_archives(void **state) {
  zip_maker zip = {0};
  (void)state;
  zip_add(&zip, "made/other.pkl", ".", 1);
  zip_add(&zip, "data.pkl", ".", 1);
  expect_refused(zip_finish(&zip), "without a data.pkl");
  zip_add(&zip, "made/byteorder", "big", 3);
  zip_add(&zip, "made/data.pkl", "}.", 2);
  expect_refused(zip_finish(&zip), "expected byteorder \"little\"");
  sink pickle = {0};
  pickle_state(&pickle, &matrix, 1);
  pickle_op(&pickle, ".");
  expect_refused(torch_file_of(&pickle, NULL, 0), "its storage is not in the file");
}

static int open_only(const void *bytes, size_t nbytes) {
  tinytl_state_dict state;
  const tinytl_status status = tinytl_state_from_torch(bytes, nbytes, "file", &state, NULL);
  float values[6];
  if (status != TINYTL_OK) return (int)status;
  tinytl_state_read(&state, "m", 2, (const int[]){2, 3}, values, NULL);
  tinytl_state_free(&state);
  return TINYTL_OK;
}

static void test_damage(void **state) {
  (void)state;
  sink file = file_with(matrix);
  sink_damage(&file, file.nbytes, TINYTL_ERROR_MODEL, open_only);
  for (size_t i = 0; i < file.nbytes; i++) {
    const uint8_t kept = file.bytes[i];
    file.bytes[i] = 0xFF;
    open_only(file.bytes, file.nbytes);
    file.bytes[i] = kept;
  }
  free(file.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_strides),        cmocka_unit_test(test_types),
      cmocka_unit_test(test_expectations),   cmocka_unit_test(test_nests),
      cmocka_unit_test(test_averaged_first), cmocka_unit_test(test_figures_beside),
      cmocka_unit_test(test_parameter),      cmocka_unit_test(test_tensor_outside_of_storage),
      cmocka_unit_test(test_empty_tensors),  cmocka_unit_test(test_calls_of_other_shape),
      cmocka_unit_test(test_other_pickles),  cmocka_unit_test(test_names),
      cmocka_unit_test(test_archives),       cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
