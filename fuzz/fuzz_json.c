/* JSON of metadata, and names of any bytes: what was printed is read back the same. */
#include "format/arch_json.h"
#include "fuzz.h"

#include <string.h>

enum { MAX_STRINGS = 64 };

static void expect_same_strings(const char *const *strings, int n) {
  char *text = tinytl_strings_print(strings, n), **read = NULL;
  int n_read = 0;
  FUZZ_EXPECT(text && tinytl_strings_parse(text, "fuzz", &read, &n_read, NULL) == TINYTL_OK);
  FUZZ_EXPECT(n_read == n);
  for (int i = 0; i < n; i++) FUZZ_EXPECT(strcmp(read[i], strings[i]) == 0);
  free(read);
  free(text);
}

static void read_strings(const char *text) {
  char **strings = NULL;
  int n = 0;
  tinytl_error error;
  const tinytl_status status = tinytl_strings_parse(text, "fuzz", &strings, &n, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status != TINYTL_OK) return;
  expect_same_strings((const char *const *)strings, n);
  free(strings);
}

static void read_arch(const char *text) {
  tinytl_arch *arch = calloc(2, sizeof *arch);
  tinytl_error error;
  const tinytl_status status = tinytl_arch_parse(text, "fuzz", &arch[0], &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status == TINYTL_OK) {
    char *printed = tinytl_arch_print(&arch[0]);
    FUZZ_EXPECT(printed && tinytl_arch_parse(printed, "fuzz", &arch[1], NULL) == TINYTL_OK);
    FUZZ_EXPECT(arch[0].n_layers == arch[1].n_layers && arch[0].n_lite == arch[1].n_lite);
    free(printed);
  }
  free(arch);
}

static void read_input(const char *text) {
  tinytl_input input, again;
  for (int normalisation = 0; normalisation < 2; normalisation++) {
    if (tinytl_input_parse(text, normalisation, "fuzz", &input, NULL) != TINYTL_OK) continue;
    char *printed = tinytl_input_print(&input, normalisation);
    FUZZ_EXPECT(tinytl_input_parse(printed, normalisation, "fuzz", &again, NULL) == TINYTL_OK);
    FUZZ_EXPECT(input.size == again.size && input.resize == again.resize);
    free(printed);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char *text = malloc(nbytes + 1);
  const char *strings[MAX_STRINGS];
  int n = 0;
  memcpy(text, data, nbytes);
  text[nbytes] = '\0';
  read_strings(text);
  read_arch(text);
  read_input(text);
  for (size_t at = 0; at <= nbytes && n < MAX_STRINGS; at += strlen(text + at) + 1)
    strings[n++] = text + at;
  expect_same_strings(strings, n);
  free(text);
  return 0;
}
