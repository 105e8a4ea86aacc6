/* What headers may ask for: opening a file took up to 45 MB for 13 MB of strings, whatever the
 * memory limit was. No header takes more than tinytl_open_nbytes says. */
#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/arch_json.h"
#include "format/json.h"
#include "support/sink.h"
#include "tinytl.h"

/* What the sanitizers take besides is not counted: under them peaks are not looked at. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WATCHED = 0 };
#else
enum { WATCHED = 1 };
#endif

/* Pages that the child of a fork touches, and what malloc keeps between pieces. */
enum { NOISE = 512 * 1024 };

static void append(sink *file, const char *text) {
  assert_true(sink_write(file, text, strlen(text)));
}

/* In one piece: a sink is copied at every write where realloc moves it, as under sanitizers. */
static void append_times(sink *file, const char *text, int n) {
  const size_t length = strlen(text);
  char *all = malloc(length * (size_t)n + 1);
  for (int i = 0; i < n; i++) memcpy(all + (size_t)i * length, text, length);
  all[length * (size_t)n] = '\0';
  append(file, all);
  free(all);
}

/* The format with 0 to n - 1, as append_times. */
static void append_numbered(sink *file, const char *format, int n) {
  const size_t most = strlen(format) + 16;
  char *all = calloc((size_t)n, most);
  size_t used = 0;
  for (int i = 0; i < n; i++) used += (size_t)snprintf(all + used, most, format, i);
  append(file, all);
  free(all);
}

static void set_header_length(sink *file) {
  const uint64_t length = file->nbytes - 8;
  memcpy(file->bytes, &length, sizeof length);
}

/* Begins a file of this kind; `text` n times follows in the value of a key of its metadata, which
 * is JSON, or in the header itself where `key` is NULL. */
static sink make(const char *kind, const char *key, const char *before, const char *text, int n,
                 const char *after) {
  char first[256];
  sink file = {0};
  append(&file, "        {\"__metadata__\":{\"tinytl.format\":\"");
  snprintf(first, sizeof first, "%s\"", kind);
  append(&file, first);
  if (key) {
    snprintf(first, sizeof first, ",\"%s\":\"%s", key, before);
    append(&file, first);
  } else {
    append(&file, before);
  }
  append_times(&file, text, n);
  append(&file, after);
  set_header_length(&file);
  return file;
}

static size_t peak_kib(void) {
  char line[128];
  size_t kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && kib == 0 && fgets(line, sizeof line, status))
    if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoul(line + 6, NULL, 10);
  if (status) fclose(status);
  return kib;
}

static void open_all(const sink *file) {
  tinytl_backbone *backbone = NULL;
  tinytl_adapter *adapter = NULL;
  tinytl_supernet *supernet = NULL;
  if (tinytl_backbone_open(file->bytes, file->nbytes, "file", &backbone, NULL) != TINYTL_OK &&
      tinytl_adapter_open(file->bytes, file->nbytes, "file", NULL, &adapter, NULL) != TINYTL_OK)
    (void)tinytl_supernet_open(file->bytes, file->nbytes, "file", &supernet, NULL);
  tinytl_backbone_free(backbone);
  tinytl_adapter_free(adapter);
  tinytl_supernet_free(supernet);
}

static void parse_strings(const sink *file) {
  char **strings = NULL;
  int n = 0;
  assert_int_equal(tinytl_strings_parse((const char *)file->bytes, "text", &strings, &n, NULL),
                   TINYTL_OK);
  free(strings);
}

/* In a process of its own, whose peak is that of what it does. Frees the file. */
static void check_within(size_t most, void (*use)(const sink *file), sink file, const char *what) {
  int pipes[2], code = 0;
  size_t kib = 0;
  assert_int_equal(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    const size_t before = peak_kib();
    use(&file);
    const size_t after = peak_kib();
    kib = after - before;
    _exit(before == 0 || write(pipes[1], &kib, sizeof kib) != sizeof kib);
  }
  assert_int_equal(waitpid(child, &code, 0), child);
  assert_int_equal(code, 0);
  assert_int_equal(read(pipes[0], &kib, sizeof kib), sizeof kib);
  close(pipes[0]);
  close(pipes[1]);
  if (WATCHED && kib * 1024 > most + NOISE)
    fail_msg("%s: %zu KiB held, at most %zu expected", what, kib, most / 1024);
  free(file.bytes);
}

static void check(sink file, const char *what) {
  check_within(tinytl_open_nbytes(file.bytes, file.nbytes, false), open_all, file, what);
}

static void test_hostile_headers(void **state) {
  (void)state;
  check(make("backbone 1", NULL, "},\"x\":[0", ",[]", 30000, "]}"), "arrays");
  check(make("backbone 1", NULL, "},\"x\":[0", ",{}", 30000, "]}"), "objects");
  check(make("backbone 1", NULL, "},\"x\":[0", ",\"\"", 100000, "]}"), "strings");
  check(make("backbone 1", NULL, "},\"x\":[0", ",1", 100000, "]}"), "numbers");
  check(make("backbone 1", NULL, "},\"x\":[\"", "\\u20ac", 300000, "\"]}"), "a long string");
  check(make("backbone 1", "tinytl.arch", "{\\\"a\\\":[0", ",{}", 30000, "]}\"}}"), "layers");
  check(make("super-net 2", "tinytl.space", "{\\\"a\\\":[0", ",[]", 30000, "]}\"}}"), "a space");
}

/* Labels, which stand in a string of the header. */
static void test_strings(void **state) {
  (void)state;
  static const char *const labels[] = {",\"\"", ",\"of a plant\"", ",\"\\udcff\""};
  for (size_t k = 0; k < sizeof labels / sizeof *labels; k++) {
    sink file = {0};
    append(&file, "[\"first\"");
    append_times(&file, labels[k], 100000);
    assert_true(sink_write(&file, "]", sizeof "]"));
    check_within(tinytl_json_nbytes((const char *)file.bytes, file.nbytes), parse_strings, file,
                 labels[k]);
  }
}

/* Keys that differ, as members of objects need. */
static void test_many_members(void **state) {
  (void)state;
  sink file = make("backbone 1", NULL, "", "", 0, "");
  append_numbered(&file, ",\"%d\":\"\"", 50000);
  append(&file, "}}");
  set_header_length(&file);
  check(file, "members");
}

static void test_many_tensors(void **state) {
  (void)state;
  sink file = make("backbone 1", NULL, "}", "", 0, "");
  append_numbered(&file, ",\"%d\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}", 8192);
  append(&file, "}");
  set_header_length(&file);
  check(file, "tensors");
}

/* The values of a super-net are copied, int8 ones as floats; those of a backbone are not. */
static void test_values(void **state) {
  (void)state;
  sink floats = make("super-net 2", NULL, "},\"x\":{\"dtype\":\"F32\"}", "", 0, "}");
  sink bytes = make("super-net 2", NULL, "},\"x\":{\"dtype\":\"I8\"}", "", 0, "}");
  static const char data[1000];
  const size_t alone = tinytl_open_nbytes(floats.bytes, floats.nbytes, true);
  assert_true(sink_write(&floats, data, sizeof data));
  assert_int_equal(tinytl_open_nbytes(floats.bytes, floats.nbytes, false), alone);
  assert_int_equal(tinytl_open_nbytes(floats.bytes, floats.nbytes, true), alone + sizeof data);
  const size_t of_bytes = tinytl_open_nbytes(bytes.bytes, bytes.nbytes, true);
  assert_true(sink_write(&bytes, data, sizeof data));
  assert_int_equal(tinytl_open_nbytes(bytes.bytes, bytes.nbytes, true), of_bytes + 4 * sizeof data);
  free(floats.bytes);
  free(bytes.bytes);
}

static void test_damaged(void **state) {
  (void)state;
  static const uint8_t bytes[16] = {200};
  assert_true(tinytl_open_nbytes(bytes, 0, true) < 1000000);
  assert_true(tinytl_open_nbytes(bytes, sizeof bytes, true) < 1000000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hostile_headers), cmocka_unit_test(test_strings),
      cmocka_unit_test(test_many_members),    cmocka_unit_test(test_many_tensors),
      cmocka_unit_test(test_values),          cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
