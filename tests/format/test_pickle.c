#include "support/cmocka.h"
#include "support/torch_maker.h"

#include "format/pickle.h"

#include <stdlib.h>
#include <string.h>

static const char *const allowed[] = {"good first", "good second", NULL};

#define BYTES(text) (text), sizeof(text) - 1

static tinytl_pickle expect_open(const char *bytes, size_t nbytes) {
  tinytl_pickle pickle;
  tinytl_error error;
  if (tinytl_pickle_open(bytes, nbytes, "file", allowed, &pickle, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  return pickle;
}

static void expect_refused(const char *bytes, size_t nbytes, const char *reason) {
  tinytl_pickle pickle;
  tinytl_error error = {0};
  assert_int_equal(tinytl_pickle_open(bytes, nbytes, "file", allowed, &pickle, &error),
                   TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
}

static void test_integers(void **state) {
  static const struct {
    const char *bytes;
    size_t nbytes;
    int64_t value;
  } integers[] = {{BYTES("K\xFF."), 255},
                  {BYTES("M\xFF\xFF."), 65535},
                  {BYTES("J\xFE\xFF\xFF\xFF."), -2},
                  {BYTES("\x88."), 1},
                  {BYTES("\x89."), 0},
                  {BYTES("\x8a\0."), 0},
                  {BYTES("\x8a\1\x80."), -128},
                  {BYTES("\x8a\5\0\0\0\0\1."), INT64_C(1) << 32},
                  {BYTES("\x8a\x08\0\0\0\0\0\0\0\x80."), INT64_MIN}};
  (void)state;
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
    tinytl_pickle pickle = expect_open(integers[i].bytes, integers[i].nbytes);
    assert_int_equal(pickle.values[pickle.root].kind, TINYTL_PICKLE_INTEGER);
    assert_true(pickle.values[pickle.root].integer == integers[i].value);
    tinytl_pickle_close(&pickle);
  }
  tinytl_pickle pickle = expect_open(BYTES("\x8a\x09"
                                           "123456789."));
  assert_int_equal(pickle.values[pickle.root].kind, TINYTL_PICKLE_OTHER);
  tinytl_pickle_close(&pickle);
}

/* {'a': (None, 1, g), 'b': [2.0, 3], 'a': call} with a memo, the second time by way of a mark */
static void test_containers(void **state) {
  (void)state;
  tinytl_pickle pickle = expect_open(BYTES("\x80\2}q\0X\1\0\0\0aq\1(NK\1cgood\nsecond\ntq\2s"
                                           "(X\1\0\0\0b](G@\0\0\0\0\0\0\0K\3eh\1"
                                           "cgood\nfirst\nh\2Ru."));
  const tinytl_pickle_value *root = &pickle.values[pickle.root], *key = NULL, *value = NULL;
  int cell = -1;
  assert_true(tinytl_pickle_next(&pickle, root, &cell, &key, &value));
  assert_memory_equal(key->text, "a", 1);
  assert_int_equal(value->kind, TINYTL_PICKLE_TUPLE);
  assert_int_equal(value->n, 3);
  assert_int_equal(tinytl_pickle_item(&pickle, value, 0)->kind, TINYTL_PICKLE_NONE);
  assert_int_equal(tinytl_pickle_item(&pickle, value, 1)->integer, 1);
  assert_int_equal(tinytl_pickle_item(&pickle, value, 2)->integer, 1); /* good second */
  assert_null(tinytl_pickle_item(&pickle, value, 3));
  assert_true(tinytl_pickle_next(&pickle, root, &cell, &key, &value));
  assert_int_equal(value->kind, TINYTL_PICKLE_LIST);
  assert_null(tinytl_pickle_item(&pickle, value, 0));
  assert_true(tinytl_pickle_next(&pickle, root, &cell, &key, &value));
  assert_false(tinytl_pickle_next(&pickle, root, &cell, &key, &value));
  const tinytl_pickle_value *call = tinytl_pickle_get(&pickle, root, "a");
  assert_int_equal(call->kind, TINYTL_PICKLE_CALL);
  assert_int_equal(tinytl_pickle_item(&pickle, call, 0)->integer, 0);
  assert_int_equal(tinytl_pickle_item(&pickle, tinytl_pickle_item(&pickle, call, 1), 1)->integer,
                   1);
  assert_null(tinytl_pickle_get(&pickle, root, "c"));
  tinytl_pickle_close(&pickle);
}

static void test_ordered_dict(void **state) {
  (void)state;
  tinytl_pickle pickle = expect_open(BYTES("ccollections\nOrderedDict\n)R(K\1K\2u}X\1\0\0\0m}sb."));
  const tinytl_pickle_value *root = &pickle.values[pickle.root], *key = NULL, *value = NULL;
  int cell = -1;
  assert_true(tinytl_pickle_next(&pickle, root, &cell, &key, &value));
  assert_int_equal(value->integer, 2);
  assert_false(tinytl_pickle_next(&pickle, root, &cell, &key, &value)); /* no attributes */
  tinytl_pickle_close(&pickle);
}

/* What holds itself is read as any other. */
static void test_cycle(void **state) {
  (void)state;
  tinytl_pickle pickle = expect_open(BYTES("}q\0X\1\0\0\0ah\0s."));
  const tinytl_pickle_value *root = &pickle.values[pickle.root];
  assert_ptr_equal(tinytl_pickle_get(&pickle, root, "a"), root);
  tinytl_pickle_close(&pickle);
}

static void test_code_is_refused(void **state) {
  (void)state;
  expect_refused(BYTES("\x80\2cos\nsystem\nX\4\0\0\0exit\x85R."), "asks for os.system: refused");
  expect_refused(BYTES("cgood\nfirst2\n."), "asks for good.first2");
  expect_refused(BYTES("cgood.first\n\n."), "asks for good.first.");
  expect_refused(BYTES("cbuiltins\neval\n."), "nothing of a checkpoint is executed");
  expect_refused(BYTES("(ios\nsystem\n."), "opcode 0x69"); /* INST */
  expect_refused(BYTES("X\1\0\0\0a\x93."), "opcode 0x93"); /* STACK_GLOBAL */
  expect_refused(BYTES("\x82\1."), "opcode 0x82");         /* EXT1 */
  expect_refused(BYTES("cgood\nfirst\n)\x81."), "opcode 0x81");
  expect_refused(BYTES("\x80\4."), "protocol 2");
}

static void test_hostile(void **state) {
  char names[400] = "c";
  (void)state;
  expect_refused(BYTES(""), "truncated");
  expect_refused(BYTES("."), "0 values");
  expect_refused(BYTES("NN."), "2 values");
  expect_refused(BYTES("N(."), "instead of one");
  expect_refused(BYTES("t."), "a mark is missing");
  expect_refused(BYTES("u."), "a mark is missing");
  expect_refused(BYTES("\x87."), "stack is empty");
  expect_refused(BYTES("N(\x85."), "stack is empty"); /* nothing below a mark is taken */
  expect_refused(BYTES("R."), "stack is empty");
  expect_refused(BYTES("q\0."), "stack is empty");
  expect_refused(BYTES("NN\x86q\1."), "memo entry 1 after 0");
  expect_refused(BYTES("Nr\xFF\xFF\xFF\xFF."), "memo entry 4294967295");
  expect_refused(BYTES("h\0."), "memo entry 0 of 0");
  expect_refused(BYTES("j\xFF\xFF\xFF\xFF."), "memo entry");
  expect_refused(BYTES("X\xFF\xFF\xFF\xFF."), "truncated");
  expect_refused(BYTES("\x8a\xFF."), "truncated");
  expect_refused(BYTES("NNb."), "what is no dict");
  expect_refused(BYTES("N(NNu."), "what is no dict");
  expect_refused(BYTES("}(Nu."), "half an item");
  expect_refused(BYTES("}Na."), "no list");
  expect_refused(BYTES("N)R."), "no function");
  expect_refused(BYTES("cgood\nfirst\nNR."), "no function");
  expect_refused(BYTES("ccollections\nOrderedDict\nN\x85R."), "OrderedDict made of arguments");
  memset(names + 1, 'a', 300);
  expect_refused(names, 400, "a name of more than");
}

/* Many small things: refused by number, not by the memory that they take. */
static void test_too_many(void **state) {
  const size_t n = TINYTL_PICKLE_MAX_VALUES + 10;
  char *bytes = malloc(n);
  (void)state;
  memset(bytes, ']', n);
  expect_refused(bytes, n, "more than 1048576 values");
  memset(bytes, '(', n);
  expect_refused(bytes, n, "truncated");
  free(bytes);
  bytes = calloc((16 << 20) + 1, 1);
  expect_refused(bytes, (16 << 20) + 1, "at most 16777216");
  free(bytes);
}

static int open_only(const void *bytes, size_t nbytes) {
  tinytl_pickle pickle;
  const tinytl_status status = tinytl_pickle_open(bytes, nbytes, "file", allowed, &pickle, NULL);
  if (status == TINYTL_OK) tinytl_pickle_close(&pickle);
  return (int)status;
}

static void test_damage(void **state) {
  const float values[6] = {0};
  const torch_tensor tensors[] = {
      {.name = "a", .n_dims = 2, .dims = {2, 3}, .data = values, .nbytes = sizeof values}};
  sink pickle = {0};
  (void)state;
  pickle_state(&pickle, tensors, 1);
  pickle_op(&pickle, ".");
  sink_damage(&pickle, pickle.nbytes, TINYTL_ERROR_MODEL, open_only);
  free(pickle.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_integers),        cmocka_unit_test(test_containers),
      cmocka_unit_test(test_ordered_dict),    cmocka_unit_test(test_cycle),
      cmocka_unit_test(test_code_is_refused), cmocka_unit_test(test_hostile),
      cmocka_unit_test(test_too_many),        cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
