/* Pictures in class folders. Whatever the file system holds, a name is bytes, a picture is a
 * regular file whose header can be read, and nothing else is opened. */
#include "data/folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/grow.h"

/* Of a path; the file system opens no longer ones. */
#ifdef PATH_MAX
#define MAX_PATH_NBYTES PATH_MAX
#else
#define MAX_PATH_NBYTES 4096
#endif

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

bool tinytl_is_picture_name(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
                 strcasecmp(dot, ".png") == 0);
}

static bool is_picture(DIR *dir, const struct dirent *entry) {
  return tinytl_is_picture_name(entry->d_name) && !is_dir_at(dir, entry);
}

/* What a listing did not want. */
typedef struct others {
  int n_files, n_folders;
  int n_pictures; /* of the files, by their names */
} others;
enum { OTHERS_TEXT = 100 };

static void count_other(others *others, DIR *dir, const struct dirent *entry) {
  if (is_dir_at(dir, entry)) {
    others->n_folders++;
  } else {
    others->n_files++;
    others->n_pictures += tinytl_is_picture_name(entry->d_name);
  }
}

bool tinytl_is_hidden_name(const char *name) {
  return name[0] == '.' || strcmp(name, "@eaDir") == 0 || strcmp(name, "__MACOSX") == 0;
}

/* Adds, sorted, what `wanted` picks from a folder, and counts what it does not; hidden entries are
 * passed over. others: NULL: not counted. */
static tinytl_status list_dir(const char *path, bool (*wanted)(DIR *, const struct dirent *),
                              tinytl_names *names, others *others, tinytl_error *error) {
  DIR *dir = opendir(path);
  if (!dir) return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  tinytl_status status = TINYTL_OK;
  const struct dirent *entry;
  int first = names->n;
  while (status == TINYTL_OK && (errno = 0, entry = readdir(dir))) {
    if (tinytl_is_hidden_name(entry->d_name)) continue;
    if (wanted(dir, entry))
      status = tinytl_names_add(names, entry->d_name, error);
    else if (others)
      count_other(others, dir, entry);
  }
  if (status == TINYTL_OK && errno != 0)
    status = tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  closedir(dir);
  return status == TINYTL_OK ? tinytl_names_sort(names, first, error) : status;
}

/* ---- Parts -------------------------------------------------------------------------------- */

static const char *const part_names[] = {
    [TINYTL_PART_TRAIN] = "train", [TINYTL_PART_VAL] = "val", [TINYTL_PART_TEST] = "test"};

static tinytl_status check_part(tinytl_part part, tinytl_error *error) {
  return tinytl_check_int("part", (int)part, 0, TINYTL_PART_TEST, error);
}

/* The part that other programs call so, or this one in other letters; NULL: none. */
static const char *part_meant(const char *name) {
  static const struct {
    const char *name, *part;
  } others[] = {{"train", "train"},    {"training", "train"}, {"val", "val"},     {"valid", "val"},
                {"validation", "val"}, {"test", "test"},      {"testing", "test"}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcasecmp(name, others[i].name) == 0) return others[i].part;
  return NULL;
}

/* Where a folder cannot be looked into, it is not said to be missing. */
static tinytl_status open_part(const char *dir, tinytl_part part, DIR **opened,
                               tinytl_error *error) {
  char *path = join(dir, part_names[part]);
  if (!path) return tinytl_fail_memory(error, strlen(dir));
  *opened = opendir(path);
  tinytl_status status = TINYTL_OK;
  if (!*opened && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "%s: %s", path, strerror(errno));
  else if (!*opened && errno != ENOENT && errno != ENOTDIR)
    status = tinytl_fail(error, TINYTL_ERROR_DATA, "%s: %s", path, strerror(errno));
  free(path);
  return status;
}

static tinytl_status find_part(const char *dir, tinytl_part part, bool *found,
                               tinytl_error *error) {
  DIR *opened = NULL;
  const struct dirent *entry;
  *found = false;
  TINYTL_TRY(open_part(dir, part, &opened, error));
  if (!opened) return TINYTL_OK;
  while (!*found && (entry = readdir(opened)))
    *found = !tinytl_is_hidden_name(entry->d_name) && is_dir_at(opened, entry);
  closedir(opened);
  return TINYTL_OK;
}

bool tinytl_folder_has_part(const char *dir, tinytl_part part) {
  bool found;
  return check_part(part, NULL) == TINYTL_OK && find_part(dir, part, &found, NULL) == TINYTL_OK &&
         found;
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
    TINYTL_TRY(find_part(dir, (tinytl_part)p, &has[p], error));
    any = any || has[p];
  }
  if (part == TINYTL_PART_TEST && !has[part] && has[TINYTL_PART_VAL]) part = TINYTL_PART_VAL;
  if (any && !has[part])
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "%s: has a %s sub-folder with classes but no %s sub-folder with any", dir,
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

static bool is_beside_parts(DIR *dir, const struct dirent *entry) {
  for (int p = 0; p < 3; p++)
    if (strcmp(entry->d_name, part_names[p]) == 0) return false;
  return is_dir_at(dir, entry);
}

static void tell_of_loose(const char *dir, int n_pictures, const skipper *skipper) {
  char reason[80];
  if (n_pictures == 0) return;
  snprintf(reason, sizeof reason, "%d picture%s beside the class folders, in none of them",
           n_pictures, n_pictures == 1 ? "" : "s");
  skipper->skip(skipper->context, dir, reason);
}

/* Tells, once, of folders that lie beside the parts and so are no classes, where `dir` may be
 * listed: what is in the parts can be opened all the same. */
static tinytl_status tell_of_others(const char *dir, const skipper *skipper, tinytl_error *error) {
  tinytl_names names = {0};
  others others = {0};
  tinytl_status status = list_dir(dir, is_beside_parts, &names, &others, NULL);
  if (status == TINYTL_OK) tell_of_loose(dir, others.n_pictures, skipper);
  if (status == TINYTL_OK && names.n > 0) {
    char reason[120];
    int length = snprintf(reason, sizeof reason, "no class, for it is not in %s",
                          part_names[TINYTL_PART_TRAIN]);
    int at = 0; /* the one to name: one that is meant as a part, where there is any */
    for (int i = names.n - 1; i >= 0; i--)
      if (part_meant(tinytl_names_get(&names, i))) at = i;
    const char *name = tinytl_names_get(&names, at), *meant = part_meant(name);
    if (meant)
      length += snprintf(reason + length, sizeof reason - (size_t)length,
                         ", nor a part; if it is one, name it %s", meant);
    if (names.n > 1)
      snprintf(reason + length, sizeof reason - (size_t)length, "; nor %s %d more folder%s",
               names.n > 2 ? "are" : "is", names.n - 1, names.n > 2 ? "s" : "");
    char *path = join(dir, name);
    if (path)
      skipper->skip(skipper->context, path, reason);
    else
      status = TINYTL_ERROR_INTERNAL;
    free(path);
  }
  tinytl_names_free(&names);
  if (status == TINYTL_OK || status == TINYTL_ERROR_DATA) return TINYTL_OK;
  return tinytl_fail_memory(error, strlen(dir));
}

/* Tells of a part without class folders, which is none. */
static tinytl_status tell_of_flat_part(const char *dir, tinytl_part part, const skipper *skipper,
                                       tinytl_error *error) {
  char *path = join(dir, part_names[part]);
  if (!path) return tinytl_fail_memory(error, strlen(dir));
  if (is_dir(path) && !tinytl_folder_has_part(dir, part))
    skipper->skip(skipper->context, path, "has no class folders");
  free(path);
  return TINYTL_OK;
}

/* "2 files that are no .jpg, .jpeg or .png, and 1 folder" */
static void print_others(const others *others, char text[OTHERS_TEXT]) {
  const int files = others->n_files, folders = others->n_folders;
  int n = 0;
  if (files > 0)
    n = snprintf(text, OTHERS_TEXT, "%d file%s no .jpg, .jpeg or .png", files,
                 files > 1 ? "s that are" : " that is");
  if (folders > 0)
    snprintf(text + n, OTHERS_TEXT - (size_t)n, "%s%d folder%s", files > 0 ? ", and " : "", folders,
             folders > 1 ? "s" : "");
}

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
  TINYTL_TRY(tinytl_kinds_add(&self->kinds, &info, error));
  TINYTL_TRY(tinytl_grow((void **)&self->labels, n, &self->room, sizeof *self->labels, error));
  self->labels[n] = label;
  self->files.offsets[n] = self->files.offsets[at];
  self->images.n_images++;
  return TINYTL_OK;
}

/* n_files: of pictures by their name, none of which can be read. */
static tinytl_status fail_empty(const char *dir, const char *name, int n_files,
                                const others *others, tinytl_error *error) {
  const char *meant = others->n_folders > 0 ? part_meant(name) : NULL;
  char text[OTHERS_TEXT] = "nothing";
  print_others(others, text);
  if (n_files > 0)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "%s: class without pictures: none of its %d files can be read", dir,
                       n_files);
  return tinytl_fail(error, TINYTL_ERROR_DATA,
                     "%s: class without pictures: expected .jpg, .jpeg or .png, found %s%s%s", dir,
                     text, meant ? "; if it is no class but a part, name it " : "",
                     meant ? meant : "");
}

/* Counts in *others what is no picture. */
static tinytl_status add_class(tinytl_folder *self, int label, const skipper *skipper,
                               others *others, tinytl_error *error) {
  int first = self->images.n_images;
  char *dir = join(self->dir, self->class_names[label]);
  if (!dir) return tinytl_fail_memory(error, strlen(self->dir));
  tinytl_status status = list_dir(dir, is_picture, &self->files, others, error);
  int n_files = self->files.n - first;
  for (int i = 0; status == TINYTL_OK && i < n_files; i++)
    status = add_checked(self, first + i, label, skipper, error);
  if (status == TINYTL_OK && self->images.n_images == first)
    status = fail_empty(dir, self->class_names[label], n_files, others, error);
  self->files.n = self->images.n_images;
  free(dir);
  return status;
}

void tinytl_folder_fit(tinytl_folder *self) {
  tinytl_kinds_fit(&self->kinds);
  tinytl_fit((void **)&self->labels, self->images.n_images, sizeof *self->labels);
  self->room = self->images.n_images;
  self->images.labels = self->labels;
  tinytl_names_fit(&self->files);
}

tinytl_status tinytl_folder_show_classes(tinytl_folder *self, tinytl_error *error) {
  size_t n = (size_t)self->classes.n;
  tinytl_names_fit(&self->classes);
  self->class_names = malloc((n + 1) * sizeof *self->class_names);
  if (!self->class_names) return tinytl_fail_memory(error, (n + 1) * sizeof *self->class_names);
  for (int c = 0; c < self->classes.n; c++)
    self->class_names[c] = tinytl_names_get(&self->classes, c);
  self->images.n_classes = self->classes.n;
  self->images.class_names = self->class_names;
  return TINYTL_OK;
}

/* One folder too many is the likely reason, or pictures in no folder of a class. */
static tinytl_status fail_few(const tinytl_folder *self, int n_least, int n_pictures,
                              tinytl_error *error) {
  const char *only = self->classes.n > 0 ? tinytl_names_get(&self->classes, 0) : NULL;
  char found[300] = "none", advice[400] = "";
  tinytl_names below = {0};
  char *dir = only ? join(self->dir, only) : NULL;
  if (dir) list_dir(dir, is_dir_at, &below, NULL, NULL);
  if (only) snprintf(found, sizeof found, "only '%s'", only);
  if (below.n > 0)
    tinytl_format(advice, sizeof advice, "; if that holds the classes, give %s", dir);
  else if (n_pictures > 0)
    snprintf(advice, sizeof advice,
             "; %d picture%s directly in it: each belongs into the folder of its class", n_pictures,
             n_pictures == 1 ? " lies" : "s lie");
  tinytl_names_free(&below);
  free(dir);
  return tinytl_fail(error, TINYTL_ERROR_DATA, "%s: expected at least %s with pictures, found %s%s",
                     self->dir, n_least > 1 ? "two class sub-folders" : "one class sub-folder",
                     found, advice);
}

static tinytl_status list_classes(tinytl_folder *self, int n_least, const skipper *skipper,
                                  tinytl_error *error) {
  others others = {0};
  TINYTL_TRY(list_dir(self->dir, is_dir_at, &self->classes, &others, error));
  TINYTL_TRY(tinytl_folder_show_classes(self, error));
  if (self->classes.n < n_least) return fail_few(self, n_least, others.n_pictures, error);
  if (skipper->skip) tell_of_loose(self->dir, others.n_pictures, skipper);
  return TINYTL_OK;
}

static tinytl_status load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                          tinytl_error *error) {
  const tinytl_folder *self = context;
  char path[MAX_PATH_NBYTES]; /* not self->path: pictures are loaded by several threads */
  put_path(self, self->labels[index], tinytl_names_get(&self->files, index), path);
  return tinytl_picture_decode(path, index, view, rgb, error);
}

static size_t load_nbytes(void *context, const tinytl_view *view) {
  return tinytl_kinds_need(&((const tinytl_folder *)context)->kinds, view);
}

static const char *name_of(void *context, int index) {
  return tinytl_folder_path(context, index);
}

tinytl_status tinytl_folder_make(const char *dir, tinytl_folder **folder, tinytl_error *error) {
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

static tinytl_status add_classes(tinytl_folder *self, const skipper *skipper, tinytl_error *error) {
  others all = {0};
  int first = -1; /* class with other files */
  for (int c = 0; c < self->images.n_classes; c++) {
    others found = {0};
    TINYTL_TRY(add_class(self, c, skipper, &found, error));
    all.n_files += found.n_files;
    all.n_folders += found.n_folders;
    if (first < 0 && found.n_files + found.n_folders > 0) first = c;
  }
  if (first < 0 || !skipper->skip) return TINYTL_OK;
  char text[OTHERS_TEXT], reason[OTHERS_TEXT + 120];
  print_others(&all, text);
  snprintf(reason, sizeof reason, "in its classes, first in '%.80s': %s", self->class_names[first],
           text);
  skipper->skip(skipper->context, self->dir, reason);
  return TINYTL_OK;
}

static tinytl_status fill(tinytl_folder *self, int n_least, const skipper *skipper,
                          tinytl_error *error) {
  TINYTL_TRY(list_classes(self, n_least, skipper, error));
  TINYTL_TRY(add_classes(self, skipper, error));
  tinytl_folder_fit(self);
  return TINYTL_OK;
}

/* What lies beside the folder of classes, `path`. */
static tinytl_status tell_of_rest(const char *dir, tinytl_part part, const char *path,
                                  const skipper *skipper, tinytl_error *error) {
  if (strcmp(path, dir) == 0) return TINYTL_OK;
  if (part != TINYTL_PART_TRAIN) return tell_of_flat_part(dir, part, skipper, error);
  TINYTL_TRY(tell_of_others(dir, skipper, error));
  TINYTL_TRY(tell_of_flat_part(dir, TINYTL_PART_VAL, skipper, error));
  return tell_of_flat_part(dir, TINYTL_PART_TEST, skipper, error);
}

tinytl_status tinytl_folder_open(const char *dir, tinytl_part part, tinytl_skip_fn skip,
                                 void *skip_context, tinytl_folder **folder, tinytl_error *error) {
  char *path;
  TINYTL_TRY(check_part(part, error));
  TINYTL_TRY(part_path(dir, part, &path, error));
  tinytl_folder *self = NULL;
  const skipper skipper = {skip, skip_context};
  tinytl_status status = TINYTL_OK;
  if (skip) status = tell_of_rest(dir, part, path, &skipper, error);
  if (status == TINYTL_OK) status = tinytl_folder_make(path, &self, error);
  free(path);
  if (status != TINYTL_OK) return status;
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
         (size_t)self->room * sizeof *self->labels +
         (size_t)self->kinds.room * sizeof *self->kinds.items;
}

void tinytl_folder_free(tinytl_folder *self) {
  if (!self) return;
  tinytl_names_free(&self->classes);
  tinytl_names_free(&self->files);
  free(self->class_names);
  free(self->labels);
  free(self->kinds.items);
  free(self->path);
  free(self->dir);
  free(self);
}
