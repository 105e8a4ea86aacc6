#include "data/names.h"

#include <stdlib.h>
#include <string.h>

#include "core/grow.h"

static tinytl_status grow_text(tinytl_names *names, size_t nbytes, tinytl_error *error) {
  if (nbytes <= names->text_room - names->text_nbytes) return TINYTL_OK;
  size_t wanted = 2 * names->text_room + nbytes + 256;
  if (wanted > UINT32_MAX) return tinytl_fail_memory(error, wanted); /* of an offset */
  char *larger = realloc(names->text, wanted);
  if (!larger) return tinytl_fail_memory(error, wanted);
  names->text = larger;
  names->text_room = wanted;
  return TINYTL_OK;
}

tinytl_status tinytl_names_add(tinytl_names *names, const char *name, tinytl_error *error) {
  size_t nbytes = strlen(name) + 1;
  TINYTL_TRY(
      tinytl_grow((void **)&names->offsets, names->n, &names->room, sizeof *names->offsets, error));
  TINYTL_TRY(grow_text(names, nbytes, error));
  memcpy(names->text + names->text_nbytes, name, nbytes);
  names->offsets[names->n++] = (uint32_t)names->text_nbytes;
  names->text_nbytes += nbytes;
  return TINYTL_OK;
}

static int compare(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

tinytl_status tinytl_names_sort(tinytl_names *names, int first, tinytl_error *error) {
  size_t n = (size_t)(names->n - first);
  if (n < 2) return TINYTL_OK;
  char **sorted = malloc(n * sizeof *sorted);
  if (!sorted) return tinytl_fail_memory(error, n * sizeof *sorted);
  for (size_t i = 0; i < n; i++) sorted[i] = tinytl_names_get(names, first + (int)i);
  qsort(sorted, n, sizeof *sorted, compare);
  for (size_t i = 0; i < n; i++)
    names->offsets[first + (int)i] = (uint32_t)(sorted[i] - names->text);
  free(sorted);
  return TINYTL_OK;
}

void tinytl_names_fit(tinytl_names *names) {
  tinytl_fit((void **)&names->offsets, names->n, sizeof *names->offsets);
  names->room = names->n;
  char *smaller = names->text_nbytes > 0 ? realloc(names->text, names->text_nbytes) : NULL;
  if (!smaller) return;
  names->text = smaller;
  names->text_room = names->text_nbytes;
}

size_t tinytl_names_nbytes(const tinytl_names *names) {
  return names->text_room + (size_t)names->room * sizeof *names->offsets;
}

void tinytl_names_free(tinytl_names *names) {
  free(names->text);
  free(names->offsets);
  *names = (tinytl_names){0};
}
