/* A share of a folder's pictures, class by class, becomes a folder of its own. */
#include "core/rng.h"
#include "data/folder.h"
#include "data/order.h"
#include "data/series.h"

#include <stdlib.h>
#include <string.h>

/* A series of more than a third of its class is not taken whole. Where all that may be are less
 * than a tenth of the class, a run of neighbours is taken instead: one stray picture beside a film
 * is no validation. */
enum { LARGEST_SERIES = 3, LEAST_MOVABLE = 10 };

static int count_to_move(int n, float share) {
  int count = (int)((double)share * n + 0.5);
  if (share > 0 && count < 1) count = 1;
  return count > n - 1 ? n - 1 : count;
}

/* A picture of a class, and a series of them: members [first, first + n). */
typedef struct member {
  uint64_t series;
  int image;
} member;
typedef struct series {
  int first, n, first_image;
} series;
typedef struct workplace {
  const tinytl_folder *folder;
  int *next_copy; /* [n_images]: rings of the same picture, in one class or several */
  bool *moves;    /* [n_images]: to the validation side */
  /* Room for the largest class. */
  member *members;
  series *all;
  int *order;
  int *moved; /* the latest that were marked */
} workplace;

static int by_series(const void *left, const void *right) {
  const member *x = left, *y = right;
  if (x->series != y->series) return x->series < y->series ? -1 : 1;
  return (x->image > y->image) - (x->image < y->image);
}

static int by_first_image(const void *left, const void *right) {
  const series *x = left, *y = right;
  return (x->first_image > y->first_image) - (x->first_image < y->first_image);
}

/* The series of the class [first, end), in the order in which they begin. Others' names may lie
 * between those of one. */
static int find_series(workplace *work, int first, int end) {
  const tinytl_folder *self = work->folder;
  const int n = end - first;
  int n_series = 0;
  for (int i = 0; i < n; i++)
    work->members[i] =
        (member){tinytl_series_of(tinytl_names_get(&self->files, first + i)), first + i};
  qsort(work->members, (size_t)n, sizeof *work->members, by_series);
  for (int i = 0; i < n; i++) {
    const member *m = &work->members[i];
    if (i == 0 || m->series != m[-1].series)
      work->all[n_series++] = (series){.first = i, .first_image = m->image};
    work->all[n_series - 1].n++;
  }
  qsort(work->all, (size_t)n_series, sizeof *work->all, by_first_image);
  return n_series;
}

static bool is_movable(const series *s, int n_of_class) {
  return s->n == 1 || s->n <= n_of_class / LARGEST_SERIES;
}

/* Of a class's n pictures, those in series that may be taken whole. */
static int count_movable(const workplace *work, int n_series, int n) {
  int n_movable = 0;
  for (int i = 0; i < n_series; i++)
    if (is_movable(&work->all[i], n)) n_movable += work->all[i].n;
  return n_movable;
}

/* Marks n members of a class and the copies of them in it, if these are n_most at most; else none.
 * Returns how many. */
static int mark(workplace *work, const member *members, int n, int n_most) {
  const int *labels = work->folder->labels;
  int n_marked = 0;
  for (int k = 0; k < n; k++) {
    const int image = members[k].image;
    int i = image;
    do {
      if (!work->moves[i] && labels[i] == labels[image]) {
        work->moves[i] = true;
        work->moved[n_marked++] = i;
      }
      i = work->next_copy[i];
    } while (i != image);
  }
  if (n_marked <= n_most) return n_marked;
  for (int k = 0; k < n_marked; k++) work->moves[work->moved[k]] = false;
  return 0;
}

/* Marks what of the class [first, end) goes to the validation side: whole series in a random order
 * until there are enough, as near copies on both sides would make validation too good. Where next
 * to all are in series that are too large: a run of neighbours. */
static void choose_of_class(workplace *work, float share, tinytl_rng *rng, int first, int end) {
  const int n = end - first;
  const int wanted = count_to_move(n, share);
  int n_moved = 0;
  if (wanted <= 0) return;
  const int n_series = find_series(work, first, end);
  const bool is_whole = count_movable(work, n_series, n) * LEAST_MOVABLE >= n;
  tinytl_order_by_number(n_series, work->order);
  tinytl_rng_shuffle(rng, work->order, n_series);
  for (int i = 0; is_whole && i < n_series && n_moved < wanted; i++) {
    const series *s = &work->all[work->order[i]];
    if (is_movable(s, n)) n_moved += mark(work, work->members + s->first, s->n, n - 1 - n_moved);
  }
  if (n_moved > 0) return;
  const int start = first + (int)tinytl_rng_below(rng, (uint32_t)(n - wanted + 1));
  for (int i = start; i < end && n_moved < wanted; i++)
    n_moved += mark(work, &(member){.image = i}, 1, n - 1 - n_moved);
}

/* The end of the class that begins at the picture. */
static int class_end(const tinytl_folder *self, int first) {
  int end = first;
  while (end < self->images.n_images && self->labels[end] == self->labels[first]) end++;
  return end;
}

static void choose(workplace *work, float share, uint64_t seed) {
  const tinytl_folder *self = work->folder;
  for (int first = 0, end; first < self->images.n_images; first = end) {
    end = class_end(self, first);
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SPLIT, (uint64_t)self->labels[first], 0);
    choose_of_class(work, share, &rng, first, end);
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

static void join_ring(void *context, int first, int second) {
  const workplace *work = context;
  const int next = work->next_copy[first];
  work->next_copy[first] = work->next_copy[second];
  work->next_copy[second] = next;
}

static tinytl_status find_copies(workplace *work, tinytl_error *error) {
  tinytl_order_by_number(work->folder->images.n_images, work->next_copy);
  return tinytl_folder_find_twins(work->folder, NULL, join_ring, work, error);
}

static tinytl_status split(tinytl_folder *self, float share, uint64_t seed, tinytl_folder *val,
                           tinytl_error *error) {
  const size_t n = (size_t)self->images.n_images;
  TINYTL_TRY(copy_classes(self, val, error));
  TINYTL_TRY(tinytl_kinds_copy(&self->kinds, &val->kinds, error));
  size_t most = 1; /* pictures of a class; no room at all might be NULL */
  for (int first = 0, end; first < self->images.n_images; first = end) {
    end = class_end(self, first);
    most = tinytl_size_max(most, (size_t)(end - first));
  }
  workplace work = {.folder = self,
                    .next_copy = calloc(n, sizeof *work.next_copy),
                    .moves = calloc(n, sizeof *work.moves),
                    .members = calloc(most, sizeof *work.members),
                    .all = calloc(most, sizeof *work.all),
                    .order = calloc(most, sizeof *work.order),
                    .moved = calloc(most, sizeof *work.moved)};
  tinytl_status status = TINYTL_OK;
  if (work.next_copy && work.moves && work.members && work.all && work.order && work.moved)
    status = find_copies(&work, error);
  else
    status = tinytl_fail_memory(error, n * sizeof *work.next_copy + most * sizeof *work.members);
  if (status == TINYTL_OK) {
    choose(&work, share, seed);
    status = move(self, val, work.moves, error);
  }
  free(work.next_copy);
  free(work.moves);
  free(work.members);
  free(work.all);
  free(work.order);
  free(work.moved);
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
