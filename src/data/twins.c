/* The same picture in two classes. */
#include <stdlib.h>
#include <string.h>

#include "data/fnv.h"
#include "data/folder.h"

/* What is compared of every file: of two pictures of one size, the coded pixels at the end differ
 * where tables and tags at the beginning do not. */
enum { END_NBYTES = 4096, MOST_COMPARED = 16 };

typedef struct fingerprint {
  uint64_t hash; /* of size and end; 0: cannot be read */
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

static bool are_same(const tinytl_folder *folder, int first, int second) {
  FILE *one = open_at(folder, first), *other = open_at(folder, second);
  const bool same = one && other && hold_the_same(one, other);
  if (one) fclose(one);
  if (other) fclose(other);
  return same;
}

static int by_hash(const void *left, const void *right) {
  const fingerprint *one = left, *other = right;
  if (one->hash != other->hash) return one->hash < other->hash ? -1 : 1;
  return one->index - other->index;
}

/* Of a group of one hash, [first, i): the first that holds what i does, in another class; -1: none.
 * Few are compared, as more of one size, with one end, are no accident. */
static int find_twin(const tinytl_folder *folder, const fingerprint *prints, int first, int i) {
  const int *labels = folder->images.labels, label = labels[prints[i].index];
  int n_compared = 0;
  for (int k = first; k < i && n_compared < MOST_COMPARED; k++) {
    if (labels[prints[k].index] == label) continue;
    if (are_same(folder, prints[k].index, prints[i].index)) return k;
    n_compared++;
  }
  return -1;
}

tinytl_status tinytl_folder_find_twins(const tinytl_folder *folder, tinytl_twins_fn told,
                                       void *context, tinytl_error *error) {
  const int n = folder->images.n_images;
  fingerprint *prints = malloc((size_t)n * sizeof *prints);
  if (!prints) return tinytl_fail_memory(error, (size_t)n * sizeof *prints);
  for (int i = 0; i < n; i++) prints[i] = (fingerprint){hash_of(folder, i), i};
  qsort(prints, (size_t)n, sizeof *prints, by_hash);
  for (int i = 1, first = 0; i < n; i++) {
    if (prints[first].hash != prints[i].hash) first = i;
    const int twin = prints[i].hash == 0 ? -1 : find_twin(folder, prints, first, i);
    if (twin >= 0) told(context, prints[twin].index, prints[i].index);
  }
  free(prints);
  return TINYTL_OK;
}
