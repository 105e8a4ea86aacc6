/* json_check [KEY...]: reads JSON Lines from stdin and prints a line for each: the values of the
 * keys as JSON, "-" for one that is absent; without KEY the names of all keys, a line each. Exits
 * with 1 at a line that is not a JSON object. */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void print_names(json_t *object) {
  for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
    puts(json_object_iter_key(at));
}

static bool print_values(const json_t *object, int n_keys, char **keys) {
  for (int i = 0; i < n_keys; i++) {
    const json_t *value = json_object_get(object, keys[i]);
    const size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15);
    char *text = value ? json_dumps(value, flags) : NULL;
    if (value && !text) return false;
    printf("%s%s", i > 0 ? " " : "", text ? text : "-");
    free(text);
  }
  putchar('\n');
  return true;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t size = 0;
  bool is_valid = true;
  while (is_valid && getline(&line, &size, stdin) > 0) {
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    is_valid = json_is_object(object);
    if (is_valid && argc == 1) print_names(object);
    if (is_valid && argc > 1) is_valid = print_values(object, argc - 1, argv + 1);
    if (!is_valid) printf("not a JSON object: %s", line);
    json_decref(object);
  }
  free(line);
  return is_valid ? 0 : 1;
}
