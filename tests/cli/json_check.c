/* json_check KEY...: reads JSON Lines from stdin and prints a line for each: the values of the keys
 * as JSON, "-" for one that is absent. Exits with 1 at a line that is not a JSON object. */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool print_keys(const cJSON *object, int n_keys, char **keys) {
  for (int i = 0; i < n_keys; i++) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, keys[i]);
    char *text = value ? cJSON_PrintUnformatted(value) : NULL;
    if (value && !text) return false;
    printf("%s%s", i > 0 ? " " : "", text ? text : "-");
    cJSON_free(text);
  }
  putchar('\n');
  return true;
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t size = 0;
  bool is_valid = true;
  while (is_valid && getline(&line, &size, stdin) > 0) {
    cJSON *object = cJSON_ParseWithOpts(line, NULL, true);
    is_valid = cJSON_IsObject(object) && print_keys(object, argc - 1, argv + 1);
    if (!is_valid) printf("not a JSON object: %s", line);
    cJSON_Delete(object);
  }
  free(line);
  return is_valid ? 0 : 1;
}
