/* A share of a folder's pictures, class by class, becomes a folder of its own. */
#include "core/rng.h"
#include "data/folder.h"
#include "data/series.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_SERIES = 3 }; /* one of more than this part of its class is cut, not taken whole */

static int count_to_move(int n, float share) {
  int count = (int)((double)share * n + 0.5);
  if (share > 0 && count < 1) count = 1;
  return count > n - 1 ? n - 1 : count;
}

static int series_end(const tinytl_folder *self, int first, int end) {
  const char *name = tinytl_names_get(&self->files, first);
  int i = first + 1;
  while (i < end && tinytl_series_has_both(name, tinytl_names_get(&self->files, i))) i++;
  return i;
}

static void mark(bool *moves, int first, int count) {
  for (int i = 0; i < count; i++) moves[first + i] = true;
}

/* Marks in moves [n_images] what of the class [first, end) goes to the validation side: whole
 * series in a random order until there are enough, as near copies on both sides would make
 * validation too good. Where every series is too large: a run of neighbours. series: room for
 * [end - first] */
static void choose_of_class(const tinytl_folder *self, float share, tinytl_rng *rng, int first,
                            int end, int *series, bool *moves) {
  const int n = end - first;
  const int wanted = count_to_move(n, share);
  int n_series = 0, n_moved = 0;
  if (wanted <= 0) return;
  for (int i = first; i < end; i = series_end(self, i, end)) series[n_series++] = i;
  tinytl_rng_shuffle(rng, series, n_series);
  for (int s = 0; s < n_series && n_moved < wanted; s++) {
    const int length = series_end(self, series[s], end) - series[s];
    if (length > 1 && (length > n / LARGEST_SERIES || n_moved + length >= n)) continue;
    mark(moves, series[s], length);
    n_moved += length;
  }
  if (n_moved > 0) return;
  mark(moves, first + (int)tinytl_rng_below(rng, (uint32_t)(n - wanted + 1)), wanted);
}

static void choose(const tinytl_folder *self, float share, uint64_t seed, int *series,
                   bool *moves) {
  int n_images = self->images.n_images;
  for (int first = 0, end; first < n_images; first = end) {
    int label = self->labels[first];
    for (end = first; end < n_images && self->labels[end] == label;) end++;
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SPLIT, (uint64_t)label, 0);
    choose_of_class(self, share, &rng, first, end, series, moves);
  }
}

static tinytl_status copy_classes(const tinytl_folder *from, tinytl_folder *to,
                                  tinytl_error *error) {
  for (int c = 0; c < from->classes.n; c++)
    TINYTL_TRY(tinytl_names_add(&to->classes, from->class_names[c], error));
  return tinytl_folder_show_classes(to, error);
}

/* Both sides keep the order. `from` changes on success only. */
static tinytl_status move(tinytl_folder *from, tinytl_folder *to, const bool *moves,
                          tinytl_error *error) {
  int n = from->images.n_images, n_kept = 0;
  tinytl_names kept = {0};
  tinytl_status status = TINYTL_OK;
  for (int i = 0; status == TINYTL_OK && i < n; i++)
    status =
        tinytl_names_add(moves[i] ? &to->files : &kept, tinytl_names_get(&from->files, i), error);
  to->labels = malloc(((size_t)to->files.n + 1) * sizeof *to->labels);
  if (status == TINYTL_OK && !to->labels)
    status = tinytl_fail_memory(error, (size_t)to->files.n * sizeof *to->labels);
  if (status != TINYTL_OK) {
    tinytl_names_free(&kept);
    return status;
  }
  for (int i = 0; i < n; i++)
    if (moves[i])
      to->labels[to->images.n_images++] = from->labels[i];
    else
      from->labels[n_kept++] = from->labels[i];
  tinytl_names_free(&from->files);
  from->files = kept;
  from->images.n_images = n_kept;
  tinytl_folder_fit(from);
  tinytl_folder_fit(to);
  return TINYTL_OK;
}

static tinytl_status split(tinytl_folder *self, float share, uint64_t seed, tinytl_folder *val,
                           tinytl_error *error) {
  size_t n = (size_t)self->images.n_images;
  TINYTL_TRY(copy_classes(self, val, error));
  TINYTL_TRY(tinytl_kinds_copy(&self->kinds, &val->kinds, error));
  int *series = calloc(n, sizeof *series);
  bool *moves = calloc(n, sizeof *moves);
  tinytl_status status = TINYTL_OK;
  if (series && moves) {
    choose(self, share, seed, series, moves);
    status = move(self, val, moves, error);
  } else {
    status = tinytl_fail_memory(error, n * sizeof *series);
  }
  free(series);
  free(moves);
  return status;
}

tinytl_status tinytl_folder_split(tinytl_folder *folder, float share, uint64_t seed,
                                  tinytl_folder **val, tinytl_error *error) {
  if (!(share >= 0 && share <= 0.9f))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "validation share %g: expected 0 to 0.9", share);
  tinytl_folder *self = NULL;
  TINYTL_TRY(tinytl_folder_make(folder->dir, &self, error));
  tinytl_status status = split(folder, share, seed, self, error);
  if (status == TINYTL_OK)
    *val = self;
  else
    tinytl_folder_free(self);
  return status;
}
