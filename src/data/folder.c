/* Pictures in class folders. Whatever the file system holds, a name is bytes, a picture is a
 * regular file whose header can be read, and nothing else is opened. */
#include "core/rng.h"
#include "data/data.h"
#include "image/image.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct tinytl_folder {
  tinytl_images images; /* what the caller sees of the below */
  char **class_names;   /* [images.n_classes] owned */
  char **paths;         /* [images.n_images] owned, class by class */
  int *labels;          /* [images.n_images] */
  int room;             /* of paths and labels */
  int n_skipped;
};

/* ---- Lists of names ----------------------------------------------------------------------- */

typedef struct name_list {
  char **names; /* [n] owned */
  int n, room;
} name_list;

static void name_list_free(name_list *list) {
  for (int i = 0; i < list->n; i++) free(list->names[i]);
  free(list->names);
}

/* Makes room for one more of *items [n]. */
static bool grow(void **items, int n, int *room, size_t item_nbytes) {
  if (n < *room) return true;
  if (*room > INT_MAX / 2) return false;
  int wanted = *room > 0 ? *room * 2 : 16;
  void *larger = realloc(*items, (size_t)wanted * item_nbytes);
  if (!larger) return false;
  *items = larger;
  *room = wanted;
  return true;
}

static int compare_names(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

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

/* Lists, sorted, what `wanted` picks from a folder; hidden entries are passed over. */
static tinytl_status list_dir(const char *path, bool (*wanted)(DIR *, const struct dirent *),
                              name_list *list, tinytl_error *error) {
  DIR *dir = opendir(path);
  if (!dir) return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  tinytl_status status = TINYTL_OK;
  const struct dirent *entry;
  while (status == TINYTL_OK && (errno = 0, entry = readdir(dir))) {
    if (entry->d_name[0] == '.' || !wanted(dir, entry)) continue;
    char *name = strdup(entry->d_name);
    if (name && grow((void **)&list->names, list->n, &list->room, sizeof *list->names)) {
      list->names[list->n++] = name;
    } else {
      free(name);
      status = tinytl_fail_memory(error, strlen(entry->d_name) + 1);
    }
  }
  if (status == TINYTL_OK && errno != 0)
    status = tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  closedir(dir);
  if (list->n > 0) qsort(list->names, (size_t)list->n, sizeof *list->names, compare_names);
  return status;
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

/* ---- Opening ------------------------------------------------------------------------------ */

typedef struct skipper {
  tinytl_skip_fn skip;
  void *context;
} skipper;

/* Takes the path, even on failure. */
static tinytl_status add_picture(tinytl_folder *self, char *path, int label, tinytl_error *error) {
  int room = self->room;
  if (!grow((void **)&self->labels, self->images.n_images, &room, sizeof *self->labels) ||
      !grow((void **)&self->paths, self->images.n_images, &self->room, sizeof *self->paths)) {
    free(path);
    return tinytl_fail_memory(error, (size_t)self->room * sizeof *self->paths);
  }
  self->labels[self->images.n_images] = label;
  self->paths[self->images.n_images++] = path;
  self->images.labels = self->labels;
  return TINYTL_OK;
}

static tinytl_status add_checked(tinytl_folder *self, const char *dir, const char *name, int label,
                                 const skipper *skipper, tinytl_error *error) {
  char *path = join(dir, name);
  if (!path) return tinytl_fail_memory(error, strlen(dir) + strlen(name) + 2);
  tinytl_error reason;
  tinytl_status status = tinytl_picture_check(path, &reason);
  if (status == TINYTL_OK) return add_picture(self, path, label, error);
  if (status == TINYTL_ERROR_DATA) {
    self->n_skipped++;
    if (skipper->skip) skipper->skip(skipper->context, path, reason.message);
    status = TINYTL_OK;
  } else {
    tinytl_fail(error, status, "%s: %s", path, reason.message);
  }
  free(path);
  return status;
}

static tinytl_status add_class(tinytl_folder *self, const char *dir, int label,
                               const skipper *skipper, tinytl_error *error) {
  name_list files = {0};
  int n_before = self->images.n_images;
  tinytl_status status = list_dir(dir, is_picture, &files, error);
  for (int i = 0; status == TINYTL_OK && i < files.n; i++)
    status = add_checked(self, dir, files.names[i], label, skipper, error);
  if (status == TINYTL_OK && self->images.n_images == n_before)
    status = files.n == 0
                 ? tinytl_fail(error, TINYTL_ERROR_DATA,
                               "%s: class without pictures (expected .jpg, .jpeg or .png)", dir)
                 : tinytl_fail(error, TINYTL_ERROR_DATA,
                               "%s: class without pictures: none of its %d files can be read", dir,
                               files.n);
  name_list_free(&files);
  return status;
}

static tinytl_status add_classes(tinytl_folder *self, const char *dir, const skipper *skipper,
                                 tinytl_error *error) {
  for (int c = 0; c < self->images.n_classes; c++) {
    char *path = join(dir, self->class_names[c]);
    if (!path) return tinytl_fail_memory(error, strlen(dir) + 1);
    tinytl_status status = add_class(self, path, c, skipper, error);
    free(path);
    if (status != TINYTL_OK) return status;
  }
  return TINYTL_OK;
}

static tinytl_status list_classes(tinytl_folder *self, const char *dir, int n_least,
                                  tinytl_error *error) {
  name_list classes = {0};
  tinytl_status status = list_dir(dir, is_dir_at, &classes, error);
  self->class_names = classes.names;
  self->images.n_classes = classes.n;
  self->images.class_names = (const char *const *)classes.names;
  if (status != TINYTL_OK || classes.n >= n_least) return status;
  const char *expected =
      n_least > 1 ? "at least two class sub-folders" : "at least one class sub-folder";
  if (classes.n == 0)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: expected %s with pictures, found none", dir,
                       expected);
  return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: expected %s with pictures, found only '%s'",
                     dir, expected, classes.names[0]);
}

static tinytl_status load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                          tinytl_error *error) {
  const tinytl_folder *self = context;
  return tinytl_picture_decode(self->paths[index], index, view, rgb, error);
}

static const char *name_of(void *context, int index) {
  return tinytl_folder_path(context, index);
}

static tinytl_folder *folder_make(void) {
  tinytl_folder *self = calloc(1, sizeof *self);
  if (self) self->images = (tinytl_images){.context = self, .load = load, .name = name_of};
  return self;
}

tinytl_status tinytl_folder_open(const char *dir, tinytl_part part, tinytl_skip_fn skip,
                                 void *skip_context, tinytl_folder **folder, tinytl_error *error) {
  char *path;
  TINYTL_TRY(part_path(dir, part, &path, error));
  const skipper skipper = {skip, skip_context};
  tinytl_folder *self = folder_make();
  tinytl_status status = self ? list_classes(self, path, part == TINYTL_PART_TEST ? 1 : 2, error)
                              : tinytl_fail_memory(error, sizeof *self);
  if (status == TINYTL_OK) status = add_classes(self, path, &skipper, error);
  free(path);
  if (status == TINYTL_OK)
    *folder = self;
  else
    tinytl_folder_free(self);
  return status;
}

const tinytl_images *tinytl_folder_images(const tinytl_folder *folder) {
  return &folder->images;
}

const char *tinytl_folder_path(const tinytl_folder *folder, int index) {
  return index >= 0 && index < folder->images.n_images ? folder->paths[index] : NULL;
}

int tinytl_folder_n_skipped(const tinytl_folder *folder) {
  return folder->n_skipped;
}

size_t tinytl_folder_nbytes(const tinytl_folder *folder) {
  size_t nbytes = sizeof *folder + (size_t)folder->room * (sizeof(char *) + sizeof(int));
  for (int i = 0; i < folder->images.n_images; i++) nbytes += strlen(folder->paths[i]) + 1;
  return nbytes;
}

void tinytl_folder_free(tinytl_folder *self) {
  if (!self) return;
  for (int i = 0; i < self->images.n_images; i++) free(self->paths[i]);
  for (int c = 0; c < self->images.n_classes; c++) free(self->class_names[c]);
  free(self->paths);
  free(self->labels);
  free(self->class_names);
  free(self);
}

/* ---- Split -------------------------------------------------------------------------------- */

static tinytl_status copy_classes(const tinytl_folder *from, tinytl_folder *to,
                                  tinytl_error *error) {
  int n = from->images.n_classes;
  to->class_names = calloc((size_t)n, sizeof *to->class_names);
  if (!to->class_names) return tinytl_fail_memory(error, (size_t)n * sizeof *to->class_names);
  to->images.class_names = (const char *const *)to->class_names;
  for (; to->images.n_classes < n; to->images.n_classes++) {
    const char *name = from->class_names[to->images.n_classes];
    to->class_names[to->images.n_classes] = strdup(name);
    if (!to->class_names[to->images.n_classes]) return tinytl_fail_memory(error, strlen(name) + 1);
  }
  return TINYTL_OK;
}

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

/* Both sides keep the order. `to` has room for all. */
static void move(tinytl_folder *from, tinytl_folder *to, const bool *moves) {
  int n = from->images.n_images, n_kept = 0, n_moved = 0;
  for (int i = 0; i < n; i++) {
    tinytl_folder *side = moves[i] ? to : from;
    int *at = moves[i] ? &n_moved : &n_kept;
    side->paths[*at] = from->paths[i];
    side->labels[(*at)++] = from->labels[i];
  }
  from->images.n_images = n_kept;
  to->images.n_images = n_moved;
}

static tinytl_status split(tinytl_folder *self, float share, uint64_t seed, tinytl_folder *val,
                           tinytl_error *error) {
  size_t n = (size_t)self->images.n_images;
  TINYTL_TRY(copy_classes(self, val, error));
  val->paths = calloc(n, sizeof *val->paths);
  val->labels = calloc(n, sizeof *val->labels);
  val->images.labels = val->labels;
  val->room = (int)n;
  int *order = calloc(n, sizeof *order);
  bool *moves = calloc(n, sizeof *moves);
  bool made = val->paths && val->labels && order && moves;
  if (made) {
    choose(self, share, seed, order, moves);
    move(self, val, moves);
  }
  free(order);
  free(moves);
  return made ? TINYTL_OK : tinytl_fail_memory(error, n * sizeof *val->paths);
}

tinytl_status tinytl_folder_split(tinytl_folder *folder, float share, uint64_t seed,
                                  tinytl_folder **val, tinytl_error *error) {
  if (!(share >= 0 && share <= 0.9f))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "validation share %g: expected 0 to 0.9", share);
  tinytl_folder *self = folder_make();
  if (!self) return tinytl_fail_memory(error, sizeof *self);
  tinytl_status status = split(folder, share, seed, self, error);
  if (status == TINYTL_OK)
    *val = self;
  else
    tinytl_folder_free(self);
  return status;
}
