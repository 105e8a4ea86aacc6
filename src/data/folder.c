/* Pictures in class folders. Whatever the file system holds, a name is bytes, a picture is a
 * regular file whose header can be read, and nothing else is opened. */
#include "core/rng.h"
#include "data/data.h"
#include "data/names.h"
#include "image/image.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Of a path; the file system opens no longer ones. */
#ifdef PATH_MAX
#define MAX_PATH_NBYTES PATH_MAX
#else
#define MAX_PATH_NBYTES 4096
#endif

/* Kept small, for there may be many pictures: a path is put together when it is asked for. */
struct tinytl_folder {
  tinytl_images images; /* what the caller sees of the below */
  char *dir;            /* holds the class folders */
  tinytl_names classes;
  const char **class_names; /* [images.n_classes], of classes */
  tinytl_names files;       /* [images.n_images], class by class */
  int *labels;              /* [images.n_images] */
  int room;                 /* of labels */
  /* Every kind of picture once; after a split, what either side may hold. */
  tinytl_picture_info *kinds;
  int n_kinds, kinds_room;
  char *path; /* [MAX_PATH_NBYTES], the latest that was asked for */
  int n_skipped;
};

/* ---- File system -------------------------------------------------------------------------- */

static char *join(const char *dir, const char *name) {
  size_t dir_nbytes = strlen(dir), name_nbytes = strlen(name) + 1;
  while (dir_nbytes > 1 && dir[dir_nbytes - 1] == '/') dir_nbytes--;
  char *path = malloc(dir_nbytes + 1 + name_nbytes);
  if (!path) return NULL;
  memcpy(path, dir, dir_nbytes);
  path[dir_nbytes] = '/';
  memcpy(path + dir_nbytes + 1, name, name_nbytes);
  return path;
}

static bool is_dir(const char *path) {
  struct stat about;
  return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static bool is_dir_at(DIR *dir, const struct dirent *entry) {
  struct stat about;
  return fstatat(dirfd(dir), entry->d_name, &about, 0) == 0 && S_ISDIR(about.st_mode);
}

static bool is_picture_name(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
                 strcasecmp(dot, ".png") == 0);
}

static bool is_picture(DIR *dir, const struct dirent *entry) {
  return is_picture_name(entry->d_name) && !is_dir_at(dir, entry);
}

/* Adds, sorted, what `wanted` picks from a folder; hidden entries are passed over. */
static tinytl_status list_dir(const char *path, bool (*wanted)(DIR *, const struct dirent *),
                              tinytl_names *names, tinytl_error *error) {
  DIR *dir = opendir(path);
  if (!dir) return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  tinytl_status status = TINYTL_OK;
  const struct dirent *entry;
  int first = names->n;
  while (status == TINYTL_OK && (errno = 0, entry = readdir(dir)))
    if (entry->d_name[0] != '.' && wanted(dir, entry))
      status = tinytl_names_add(names, entry->d_name, error);
  if (status == TINYTL_OK && errno != 0)
    status = tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  closedir(dir);
  return status == TINYTL_OK ? tinytl_names_sort(names, first, error) : status;
}

/* ---- Parts -------------------------------------------------------------------------------- */

static const char *const part_names[] = {
    [TINYTL_PART_TRAIN] = "train", [TINYTL_PART_VAL] = "val", [TINYTL_PART_TEST] = "test"};

bool tinytl_folder_has_part(const char *dir, tinytl_part part) {
  char *path = join(dir, part_names[part]);
  DIR *opened = path ? opendir(path) : NULL;
  free(path);
  if (!opened) return false;
  bool found = false;
  const struct dirent *entry;
  while (!found && (entry = readdir(opened)))
    found = entry->d_name[0] != '.' && is_dir_at(opened, entry);
  closedir(opened);
  return found;
}

/* The folder that holds a part's classes; the caller's. */
static tinytl_status part_path(const char *dir, tinytl_part part, char **path,
                               tinytl_error *error) {
  if (!is_dir(dir)) {
    struct stat about;
    const char *reason = stat(dir, &about) == 0 ? "not a folder" : strerror(errno);
    return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", dir, reason);
  }
  bool has[3], any = false;
  for (int p = 0; p < 3; p++) {
    has[p] = tinytl_folder_has_part(dir, (tinytl_part)p);
    any = any || has[p];
  }
  if (part == TINYTL_PART_TEST && !has[part] && has[TINYTL_PART_VAL]) part = TINYTL_PART_VAL;
  if (any && !has[part])
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "%s: has a %s sub-folder with classes but no %s sub-folder", dir,
                       part_names[has[0]   ? 0
                                  : has[1] ? 1
                                           : 2],
                       part_names[part]);
  *path = any ? join(dir, part_names[part]) : strdup(dir);
  return *path ? TINYTL_OK : tinytl_fail_memory(error, strlen(dir) + 1);
}

/* ---- Kinds of pictures -------------------------------------------------------------------- */

static int compare_kinds(const void *one, const void *other) {
  return memcmp(one, other, sizeof(tinytl_picture_info));
}

/* Sorts, and keeps one of each. */
static void unite_kinds(tinytl_folder *self) {
  if (self->n_kinds == 0) return;
  qsort(self->kinds, (size_t)self->n_kinds, sizeof *self->kinds, compare_kinds);
  int n = 1;
  for (int i = 1; i < self->n_kinds; i++)
    if (compare_kinds(&self->kinds[i], &self->kinds[n - 1]) != 0) self->kinds[n++] = self->kinds[i];
  self->n_kinds = n;
}

static tinytl_status add_kind(tinytl_folder *self, const tinytl_picture_info *info,
                              tinytl_error *error) {
  if (self->n_kinds == self->kinds_room) {
    unite_kinds(self);
    /* Unless that left half of the room: else every further kind would sort them all. */
    if (self->n_kinds >= self->kinds_room / 2)
      TINYTL_TRY(tinytl_grow((void **)&self->kinds, self->kinds_room, &self->kinds_room,
                             sizeof *self->kinds, error));
  }
  self->kinds[self->n_kinds++] = *info;
  return TINYTL_OK;
}

/* ---- Opening ------------------------------------------------------------------------------ */

typedef struct skipper {
  tinytl_skip_fn skip;
  void *context;
} skipper;

static const char *put_path(const tinytl_folder *self, int label, const char *file, char *path) {
  size_t n_dir = strlen(self->dir);
  while (n_dir > 1 && self->dir[n_dir - 1] == '/') n_dir--;
  snprintf(path, MAX_PATH_NBYTES, "%.*s/%s/%s", (int)n_dir, self->dir, self->class_names[label],
           file);
  return path;
}

/* Whether file `at` of the list is a picture of this class: then it is the next one. */
static tinytl_status add_checked(tinytl_folder *self, int at, int label, const skipper *skipper,
                                 tinytl_error *error) {
  int n = self->images.n_images;
  const char *path = put_path(self, label, tinytl_names_get(&self->files, at), self->path);
  tinytl_picture_info info;
  tinytl_error reason;
  tinytl_status status = tinytl_picture_check(path, &info, &reason);
  if (status == TINYTL_ERROR_DATA) {
    self->n_skipped++;
    if (skipper->skip) skipper->skip(skipper->context, path, reason.message);
    return TINYTL_OK;
  }
  if (status != TINYTL_OK) return tinytl_fail(error, status, "%s: %s", path, reason.message);
  TINYTL_TRY(add_kind(self, &info, error));
  TINYTL_TRY(tinytl_grow((void **)&self->labels, n, &self->room, sizeof *self->labels, error));
  self->labels[n] = label;
  self->files.offsets[n] = self->files.offsets[at];
  self->images.n_images++;
  return TINYTL_OK;
}

static tinytl_status add_class(tinytl_folder *self, int label, const skipper *skipper,
                               tinytl_error *error) {
  int first = self->images.n_images;
  char *dir = join(self->dir, self->class_names[label]);
  if (!dir) return tinytl_fail_memory(error, strlen(self->dir));
  tinytl_status status = list_dir(dir, is_picture, &self->files, error);
  int n_files = self->files.n - first;
  for (int i = 0; status == TINYTL_OK && i < n_files; i++)
    status = add_checked(self, first + i, label, skipper, error);
  if (status == TINYTL_OK && self->images.n_images == first)
    status = n_files == 0
                 ? tinytl_fail(error, TINYTL_ERROR_DATA,
                               "%s: class without pictures (expected .jpg, .jpeg or .png)", dir)
                 : tinytl_fail(error, TINYTL_ERROR_DATA,
                               "%s: class without pictures: none of its %d files can be read", dir,
                               n_files);
  self->files.n = self->images.n_images;
  free(dir);
  return status;
}

static void fit(tinytl_folder *self) {
  unite_kinds(self);
  tinytl_fit((void **)&self->kinds, self->n_kinds, sizeof *self->kinds);
  self->kinds_room = self->n_kinds;
  tinytl_fit((void **)&self->labels, self->images.n_images, sizeof *self->labels);
  self->room = self->images.n_images;
  self->images.labels = self->labels;
  tinytl_names_fit(&self->files);
}

static tinytl_status point_to_classes(tinytl_folder *self, tinytl_error *error) {
  size_t n = (size_t)self->classes.n;
  tinytl_names_fit(&self->classes);
  self->class_names = malloc((n + 1) * sizeof *self->class_names);
  if (!self->class_names) return tinytl_fail_memory(error, (n + 1) * sizeof *self->class_names);
  for (size_t c = 0; c < n; c++) self->class_names[c] = tinytl_names_get(&self->classes, (int)c);
  self->images.n_classes = self->classes.n;
  self->images.class_names = self->class_names;
  return TINYTL_OK;
}

static tinytl_status list_classes(tinytl_folder *self, int n_least, tinytl_error *error) {
  TINYTL_TRY(list_dir(self->dir, is_dir_at, &self->classes, error));
  TINYTL_TRY(point_to_classes(self, error));
  if (self->classes.n >= n_least) return TINYTL_OK;
  const char *expected =
      n_least > 1 ? "at least two class sub-folders" : "at least one class sub-folder";
  if (self->classes.n == 0)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: expected %s with pictures, found none",
                       self->dir, expected);
  return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: expected %s with pictures, found only '%s'",
                     self->dir, expected, self->class_names[0]);
}

static tinytl_status load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                          tinytl_error *error) {
  const tinytl_folder *self = context;
  char path[MAX_PATH_NBYTES]; /* not self->path: pictures are loaded by several threads */
  put_path(self, self->labels[index], tinytl_names_get(&self->files, index), path);
  return tinytl_picture_decode(path, index, view, rgb, error);
}

static size_t load_nbytes(void *context, const tinytl_view *view) {
  const tinytl_folder *self = context;
  if (tinytl_view_check(view, NULL) != TINYTL_OK) return 0; /* refused without a look */
  size_t limit = view->max_nbytes > 0 ? view->max_nbytes : TINYTL_PICTURE_MAX_NBYTES;
  size_t most = TINYTL_PICTURE_HEADER_NBYTES < limit ? TINYTL_PICTURE_HEADER_NBYTES : limit;
  for (int i = 0; i < self->n_kinds; i++) {
    size_t need = tinytl_picture_need(&self->kinds[i], view);
    if (need <= limit) most = tinytl_size_max(most, need);
  }
  return most;
}

static const char *name_of(void *context, int index) {
  return tinytl_folder_path(context, index);
}

/* dir: the folder that holds the classes. */
static tinytl_status folder_make(const char *dir, tinytl_folder **folder, tinytl_error *error) {
  tinytl_folder *self = calloc(1, sizeof *self);
  if (!self) return tinytl_fail_memory(error, sizeof *self);
  self->images =
      (tinytl_images){.context = self, .load = load, .name = name_of, .load_nbytes = load_nbytes};
  self->dir = strdup(dir);
  self->path = malloc(MAX_PATH_NBYTES);
  if (!self->dir || !self->path) {
    tinytl_folder_free(self);
    return tinytl_fail_memory(error, MAX_PATH_NBYTES);
  }
  *folder = self;
  return TINYTL_OK;
}

static tinytl_status fill(tinytl_folder *self, int n_least, const skipper *skipper,
                          tinytl_error *error) {
  TINYTL_TRY(list_classes(self, n_least, error));
  for (int c = 0; c < self->images.n_classes; c++) TINYTL_TRY(add_class(self, c, skipper, error));
  fit(self);
  return TINYTL_OK;
}

tinytl_status tinytl_folder_open(const char *dir, tinytl_part part, tinytl_skip_fn skip,
                                 void *skip_context, tinytl_folder **folder, tinytl_error *error) {
  char *path;
  TINYTL_TRY(part_path(dir, part, &path, error));
  tinytl_folder *self = NULL;
  tinytl_status status = folder_make(path, &self, error);
  free(path);
  if (status != TINYTL_OK) return status;
  const skipper skipper = {skip, skip_context};
  status = fill(self, part == TINYTL_PART_TEST ? 1 : 2, &skipper, error);
  if (status == TINYTL_OK)
    *folder = self;
  else
    tinytl_folder_free(self);
  return status;
}

const tinytl_images *tinytl_folder_images(const tinytl_folder *folder) {
  return &folder->images;
}

const char *tinytl_folder_path(const tinytl_folder *self, int index) {
  if (index < 0 || index >= self->images.n_images) return NULL;
  return put_path(self, self->labels[index], tinytl_names_get(&self->files, index), self->path);
}

int tinytl_folder_n_skipped(const tinytl_folder *folder) {
  return folder->n_skipped;
}

size_t tinytl_folder_nbytes(const tinytl_folder *self) {
  return sizeof *self + strlen(self->dir) + 1 + MAX_PATH_NBYTES +
         tinytl_names_nbytes(&self->classes) + tinytl_names_nbytes(&self->files) +
         ((size_t)self->classes.n + 1) * sizeof *self->class_names +
         (size_t)self->room * sizeof *self->labels + (size_t)self->kinds_room * sizeof *self->kinds;
}

void tinytl_folder_free(tinytl_folder *self) {
  if (!self) return;
  tinytl_names_free(&self->classes);
  tinytl_names_free(&self->files);
  free(self->class_names);
  free(self->labels);
  free(self->kinds);
  free(self->path);
  free(self->dir);
  free(self);
}

/* ---- Split -------------------------------------------------------------------------------- */

static int count_to_move(int n, float share) {
  int count = (int)((double)share * n + 0.5);
  if (share > 0 && count < 1) count = 1;
  return count > n - 1 ? n - 1 : count;
}

/* Marks in moves [n_images] what goes to the validation side. */
static void choose(const tinytl_folder *self, float share, uint64_t seed, int *order, bool *moves) {
  int n_images = self->images.n_images;
  for (int first = 0, end; first < n_images; first = end) {
    int label = self->labels[first];
    for (end = first; end < n_images && self->labels[end] == label; end++) order[end] = end;
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SPLIT, (uint64_t)label, 0);
    tinytl_rng_shuffle(&rng, order + first, end - first);
    int count = count_to_move(end - first, share);
    for (int i = 0; i < count; i++) moves[order[first + i]] = true;
  }
}

static tinytl_status copy_classes(const tinytl_folder *from, tinytl_folder *to,
                                  tinytl_error *error) {
  for (int c = 0; c < from->classes.n; c++)
    TINYTL_TRY(tinytl_names_add(&to->classes, from->class_names[c], error));
  return point_to_classes(to, error);
}

static tinytl_status copy_kinds(const tinytl_folder *from, tinytl_folder *to, tinytl_error *error) {
  size_t nbytes = (size_t)from->n_kinds * sizeof *from->kinds;
  to->kinds = malloc(nbytes);
  if (!to->kinds) return tinytl_fail_memory(error, nbytes);
  memcpy(to->kinds, from->kinds, nbytes);
  to->n_kinds = to->kinds_room = from->n_kinds;
  return TINYTL_OK;
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
  fit(from);
  fit(to);
  return TINYTL_OK;
}

static tinytl_status split(tinytl_folder *self, float share, uint64_t seed, tinytl_folder *val,
                           tinytl_error *error) {
  size_t n = (size_t)self->images.n_images;
  TINYTL_TRY(copy_classes(self, val, error));
  TINYTL_TRY(copy_kinds(self, val, error));
  int *order = calloc(n, sizeof *order);
  bool *moves = calloc(n, sizeof *moves);
  tinytl_status status = TINYTL_OK;
  if (order && moves) {
    choose(self, share, seed, order, moves);
    status = move(self, val, moves, error);
  } else {
    status = tinytl_fail_memory(error, n * sizeof *order);
  }
  free(order);
  free(moves);
  return status;
}

tinytl_status tinytl_folder_split(tinytl_folder *folder, float share, uint64_t seed,
                                  tinytl_folder **val, tinytl_error *error) {
  if (!(share >= 0 && share <= 0.9f))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "validation share %g: expected 0 to 0.9", share);
  tinytl_folder *self = NULL;
  TINYTL_TRY(folder_make(folder->dir, &self, error));
  tinytl_status status = split(folder, share, seed, self, error);
  if (status == TINYTL_OK)
    *val = self;
  else
    tinytl_folder_free(self);
  return status;
}
