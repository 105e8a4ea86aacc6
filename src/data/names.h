/* A list of strings in one block. */
#ifndef TINYTL_DATA_NAMES_H
#define TINYTL_DATA_NAMES_H

#include "core/status.h"

typedef struct tinytl_names {
  char *text; /* [text_room], of which text_nbytes are used */
  size_t text_nbytes, text_room;
  uint32_t *offsets; /* [room], of which n are used: where each string begins in text */
  int n, room;
} tinytl_names;

tinytl_status tinytl_names_add(tinytl_names *names, const char *name, tinytl_error *error);
/* Valid until a name is added. */
static inline char *tinytl_names_get(const tinytl_names *names, int index) {
  return names->text + names->offsets[index];
}
/* Sorts by bytes all from `first` on. */
tinytl_status tinytl_names_sort(tinytl_names *names, int first, tinytl_error *error);
/* Gives spare room back. */
void tinytl_names_fit(tinytl_names *names);
size_t tinytl_names_nbytes(const tinytl_names *names);
void tinytl_names_free(tinytl_names *names);

#endif
