#include "data/folder.h"

#include <stdlib.h>
#include <string.h>

#include "core/grow.h"

static int compare(const void *one, const void *other) {
  return memcmp(one, other, sizeof(tinytl_picture_info));
}

/* Sorts, and keeps one of each. */
static void unite(tinytl_kinds *kinds) {
  if (kinds->n == 0) return;
  qsort(kinds->items, (size_t)kinds->n, sizeof *kinds->items, compare);
  int n = 1;
  for (int i = 1; i < kinds->n; i++)
    if (compare(&kinds->items[i], &kinds->items[n - 1]) != 0) kinds->items[n++] = kinds->items[i];
  kinds->n = n;
}

tinytl_status tinytl_kinds_add(tinytl_kinds *kinds, const tinytl_picture_info *info,
                               tinytl_error *error) {
  if (kinds->n == kinds->room) {
    unite(kinds);
    /* Unless that left half of the room: else every further kind would sort them all. */
    if (kinds->n >= kinds->room / 2)
      TINYTL_TRY(tinytl_grow((void **)&kinds->items, kinds->room, &kinds->room,
                             sizeof *kinds->items, error));
  }
  kinds->items[kinds->n++] = *info;
  return TINYTL_OK;
}

tinytl_status tinytl_kinds_copy(const tinytl_kinds *from, tinytl_kinds *to, tinytl_error *error) {
  for (int i = 0; i < from->n; i++) TINYTL_TRY(tinytl_kinds_add(to, &from->items[i], error));
  return TINYTL_OK;
}

void tinytl_kinds_fit(tinytl_kinds *kinds) {
  unite(kinds);
  tinytl_fit((void **)&kinds->items, kinds->n, sizeof *kinds->items);
  kinds->room = kinds->n;
}

size_t tinytl_kinds_need(const tinytl_kinds *kinds, const tinytl_view *view) {
  if (tinytl_view_check(view, NULL) != TINYTL_OK) return 0; /* refused without a look */
  size_t limit = view->max_nbytes > 0 ? view->max_nbytes : TINYTL_PICTURE_MAX_NBYTES;
  size_t most = TINYTL_PICTURE_HEADER_NBYTES < limit ? TINYTL_PICTURE_HEADER_NBYTES : limit;
  for (int i = 0; i < kinds->n; i++) {
    const uint64_t need = tinytl_picture_need(&kinds->items[i], view);
    if (need <= limit) most = tinytl_size_max(most, (size_t)need);
  }
  return most;
}
