#include "model/strings.h"

#include <stdlib.h>
#include <string.h>

tinytl_status tinytl_strings_copy(const char *const *strings, int n, char ***copy,
                                  tinytl_error *error) {
  size_t nbytes = (size_t)n * sizeof **copy + 1;
  for (int i = 0; i < n; i++) nbytes += strlen(strings[i]) + 1;
  char **pointers = malloc(nbytes);
  if (!pointers) return tinytl_fail_memory(error, nbytes);
  char *chars = (char *)(pointers + n);
  for (int i = 0; i < n; i++) {
    const size_t length = strlen(strings[i]) + 1;
    pointers[i] = memcpy(chars, strings[i], length);
    chars += length;
  }
  *copy = pointers;
  return TINYTL_OK;
}

tinytl_status tinytl_string_copy(const char *string, char **copy, tinytl_error *error) {
  const size_t nbytes = string ? strlen(string) + 1 : 1;
  char *bytes = malloc(nbytes);
  if (!bytes) return tinytl_fail_memory(error, nbytes);
  memcpy(bytes, string ? string : "", nbytes);
  *copy = bytes;
  return TINYTL_OK;
}
