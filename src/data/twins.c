/* The same picture twice. */
#include <stdlib.h>
#include <string.h>

#include "data/fnv.h"
#include "data/folder.h"

/* What is compared of every file: of two pictures of one size, the coded pixels at the end differ
 * where tables and tags at the beginning do not. */
enum { END_NBYTES = 4096, MOST_COMPARED = 16 };

typedef struct fingerprint {
  uint64_t hash; /* of size and end; 0: cannot be read */
  const tinytl_folder *folder;
  int order; /* of the folders */
  int index;
} fingerprint;

static FILE *open_at(const tinytl_folder *folder, int index) {
  FILE *file = NULL;
  return tinytl_picture_open(tinytl_folder_path(folder, index), &file, NULL) == TINYTL_OK ? file
                                                                                          : NULL;
}

static uint64_t hash_of(const tinytl_folder *folder, int index) {
  uint8_t end[END_NBYTES];
  FILE *file = open_at(folder, index);
  if (!file) return 0;
  setvbuf(file, NULL, _IONBF, 0);
  uint64_t hash = 0;
  long nbytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  if (nbytes >= 0 && fseek(file, nbytes > END_NBYTES ? nbytes - END_NBYTES : 0, SEEK_SET) == 0) {
    const size_t n = fread(end, 1, sizeof end, file);
    hash = tinytl_fnv_add(tinytl_fnv_add(TINYTL_FNV_START, &nbytes, sizeof nbytes), end, n);
  }
  fclose(file);
  return hash;
}

static bool hold_the_same(FILE *one, FILE *other) {
  uint8_t bytes[2][END_NBYTES];
  size_t n;
  do {
    n = fread(bytes[0], 1, sizeof bytes[0], one);
    if (fread(bytes[1], 1, sizeof bytes[1], other) != n || memcmp(bytes[0], bytes[1], n) != 0)
      return false;
  } while (n == sizeof bytes[0]);
  return !ferror(one) && !ferror(other);
}

static bool are_same(const fingerprint *first, const fingerprint *second) {
  FILE *one = open_at(first->folder, first->index);
  FILE *other = open_at(second->folder, second->index);
  const bool same = one && other && hold_the_same(one, other);
  if (one) fclose(one);
  if (other) fclose(other);
  return same;
}

static int by_hash(const void *left, const void *right) {
  const fingerprint *one = left, *other = right;
  if (one->hash != other->hash) return one->hash < other->hash ? -1 : 1;
  if (one->order != other->order) return one->order - other->order;
  return one->index - other->index;
}

static void take(const tinytl_folder *folder, int order, fingerprint *prints) {
  for (int i = 0; i < folder->images.n_images; i++)
    prints[i] = (fingerprint){hash_of(folder, i), folder, order, i};
}

/* Of a group of one hash, [first, i): the first of the folder that holds what i does; NULL: none.
 * Few are compared, as more of one size, with one end, are no accident. */
static const fingerprint *find_twin(const fingerprint *prints, const tinytl_folder *folder,
                                    int first, int i) {
  for (int k = first, n_compared = 0; k < i && n_compared < MOST_COMPARED; k++, n_compared++) {
    if (prints[k].folder != folder) return NULL;
    if (are_same(&prints[k], &prints[i])) return &prints[k];
  }
  return NULL;
}

/* twin_of [pictures of `second`]: a picture of `first`, -1: none. */
static void find_all(fingerprint *prints, int n, const tinytl_folder *first,
                     const tinytl_folder *second, int *twin_of) {
  for (int i = 0; i < second->images.n_images; i++) twin_of[i] = -1;
  qsort(prints, (size_t)n, sizeof *prints, by_hash);
  for (int i = 0, group = 0; i < n; i++) {
    if (prints[group].hash != prints[i].hash) group = i;
    if (prints[i].hash == 0 || prints[i].folder != second) continue;
    const fingerprint *twin = find_twin(prints, first, group, i);
    if (twin) twin_of[prints[i].index] = twin->index;
  }
}

tinytl_status tinytl_folder_find_twins(const tinytl_folder *folder, const tinytl_folder *other,
                                       tinytl_twins_fn told, void *context, tinytl_error *error) {
  const tinytl_folder *second = other ? other : folder;
  const int n_first = folder->images.n_images, n_second = second->images.n_images;
  const int n = other ? n_first + n_second : n_first;
  fingerprint *prints = malloc((size_t)n * sizeof *prints);
  int *twin_of = malloc((size_t)n_second * sizeof *twin_of);
  tinytl_status status = TINYTL_OK;
  if (prints && twin_of) {
    take(folder, 0, prints);
    if (other) take(other, 1, prints + n_first);
    find_all(prints, n, folder, second, twin_of);
    for (int i = 0; i < n_second; i++)
      if (twin_of[i] >= 0) told(context, twin_of[i], i);
  } else {
    status = tinytl_fail_memory(error, (size_t)n * sizeof *prints);
  }
  free(prints);
  free(twin_of);
  return status;
}
