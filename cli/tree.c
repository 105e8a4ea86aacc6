#define _GNU_SOURCE /* scandir, asprintf */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pictures.h"
#include "terminal.h"

/* A folder. */
typedef struct place {
  dev_t device;
  ino_t number;
} place;

typedef struct walk {
  place *seen; /* [room], of which n_seen are used: folders that are or were read */
  int n_seen, room;
  cli_tree_fn each;
  void *context;
  int n_skipped, n_others; /* files of other names */
  tinytl_error *error;
} walk;

static tinytl_status walk_folder(walk *w, const char *path);

/* Whether this folder was not seen before: links may lead in circles, and many ways to one place.
 */
static tinytl_status see(walk *w, const struct stat *info, bool *is_new) {
  *is_new = false;
  for (int i = 0; i < w->n_seen; i++)
    if (w->seen[i].device == info->st_dev && w->seen[i].number == info->st_ino) return TINYTL_OK;
  if (w->n_seen == w->room) {
    const int room = w->room ? 2 * w->room : 64;
    place *seen = realloc(w->seen, sizeof *seen * (size_t)room);
    if (!seen) return cli_fail(w->error, TINYTL_ERROR_INTERNAL, "out of memory");
    w->seen = seen;
    w->room = room;
  }
  w->seen[w->n_seen++] = (place){info->st_dev, info->st_ino};
  *is_new = true;
  return TINYTL_OK;
}

/* Links are followed. */
static tinytl_status enter(walk *w, const char *path, const char *name) {
  struct stat info;
  bool is_new;
  if (stat(path, &info) != 0) {
    const bool leads_nowhere = errno == ENOENT || errno == ELOOP;
    if (leads_nowhere && !tinytl_is_picture_name(name)) return TINYTL_OK;
    cli_note_skipped(NULL, path, strerror(errno));
    w->n_skipped++;
    return TINYTL_OK;
  }
  if (S_ISREG(info.st_mode)) {
    if (tinytl_is_picture_name(name)) return w->each(w->context, path, w->error);
    w->n_others++;
    return TINYTL_OK;
  }
  if (!S_ISDIR(info.st_mode)) return TINYTL_OK;
  const tinytl_status status = see(w, &info, &is_new);
  return status == TINYTL_OK && is_new ? walk_folder(w, path) : status;
}

static int is_shown(const struct dirent *entry) {
  return !tinytl_is_hidden_name(entry->d_name);
}

static tinytl_status walk_folder(walk *w, const char *path) {
  struct dirent **entries;
  const int n = scandir(path, &entries, is_shown, alphasort);
  if (n < 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
    return cli_fail(w->error, TINYTL_ERROR_INTERNAL, "%s: %s", path, strerror(errno));
  if (n < 0) {
    cli_note_skipped(NULL, path, strerror(errno));
    w->n_skipped++;
    return TINYTL_OK;
  }
  tinytl_status status = TINYTL_OK;
  for (int i = 0; i < n; i++) {
    char *below = NULL;
    if (status == TINYTL_OK && asprintf(&below, "%s/%s", path, entries[i]->d_name) < 0)
      status = cli_fail(w->error, TINYTL_ERROR_INTERNAL, "out of memory");
    else if (status == TINYTL_OK)
      status = enter(w, below, entries[i]->d_name);
    free(below);
    free(entries[i]);
  }
  free(entries);
  return status;
}

tinytl_status cli_tree_walk(const char *dir, cli_tree_fn each, void *context, int *n_skipped,
                            tinytl_error *error) {
  walk w = {.each = each, .context = context, .error = error};
  struct stat info;
  bool is_new;
  tinytl_status status = TINYTL_OK;
  if (stat(dir, &info) != 0)
    status = cli_fail(error, TINYTL_ERROR_DATA, "%s: %s", dir, strerror(errno));
  if (status == TINYTL_OK) status = see(&w, &info, &is_new);
  if (status == TINYTL_OK) status = walk_folder(&w, dir);
  *n_skipped += w.n_skipped;
  if (status == TINYTL_OK && w.n_others > 0)
    cli_note("left out: %s: %d file%s no .jpg, .jpeg or .png", dir, w.n_others,
             w.n_others == 1 ? " that is" : "s that are");
  free(w.seen);
  return status;
}
