#define _GNU_SOURCE /* scandir, asprintf */
#include "unknown.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pictures.h"
#include "terminal.h"

/* ---- Scores ------------------------------------------------------------------------------- */

bool cli_scores_add(cli_scores *scores, float score) {
  if (scores->n == scores->room) {
    if (scores->room > INT_MAX / 2) return false;
    const int room = scores->room ? 2 * scores->room : 256;
    float *values = realloc(scores->values, sizeof *values * (size_t)room);
    if (!values) return false;
    scores->values = values;
    scores->room = room;
  }
  scores->values[scores->n++] = score;
  return true;
}

void cli_scores_free(cli_scores *scores) {
  free(scores->values);
  *scores = (cli_scores){0};
}

/* ---- A tree of pictures ------------------------------------------------------------------- */

/* A folder. */
typedef struct place {
  dev_t device;
  ino_t number;
} place;

typedef struct search {
  place *seen; /* [room], of which n_seen are used: folders that are or were read */
  int n_seen, room;
  tinytl_predictor *predictor;
  tinytl_view view;
  uint8_t *rgb;         /* [size][size][3] */
  float *probabilities; /* [n_classes] */
  cli_scores *scores;
  int n_skipped;
  tinytl_error *error;
} search;

static tinytl_status score_picture(search *s, const char *path) {
  tinytl_status status = tinytl_picture_load(path, 0, &s->view, s->rgb, s->error);
  if (status == TINYTL_ERROR_DATA) {
    cli_note("left out: %s", s->error->message);
    s->n_skipped++;
    return TINYTL_OK;
  }
  if (status == TINYTL_OK)
    status = tinytl_predictor_run(s->predictor, s->rgb, s->probabilities, s->error);
  if (status != TINYTL_OK) return status;
  if (cli_scores_add(s->scores, tinytl_predictor_score(s->predictor))) return TINYTL_OK;
  return cli_fail(s->error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures", s->scores->n);
}

static tinytl_status search_folder(search *s, const char *path);

/* Whether this folder was not seen before: links may lead in circles, and many ways to one place.
 */
static tinytl_status see(search *s, const struct stat *info, bool *is_new) {
  *is_new = false;
  for (int i = 0; i < s->n_seen; i++)
    if (s->seen[i].device == info->st_dev && s->seen[i].number == info->st_ino) return TINYTL_OK;
  if (s->n_seen == s->room) {
    const int room = s->room ? 2 * s->room : 64;
    place *seen = realloc(s->seen, sizeof *seen * (size_t)room);
    if (!seen) return cli_fail(s->error, TINYTL_ERROR_INTERNAL, "out of memory");
    s->seen = seen;
    s->room = room;
  }
  s->seen[s->n_seen++] = (place){info->st_dev, info->st_ino};
  *is_new = true;
  return TINYTL_OK;
}

/* Links are followed. */
static tinytl_status search_entry(search *s, const char *path, const char *name) {
  struct stat info;
  bool is_new;
  if (stat(path, &info) != 0) {
    if (!tinytl_is_picture_name(name)) return TINYTL_OK;
    cli_note_skipped(NULL, path, strerror(errno));
    s->n_skipped++;
    return TINYTL_OK;
  }
  if (S_ISREG(info.st_mode))
    return tinytl_is_picture_name(name) ? score_picture(s, path) : TINYTL_OK;
  if (!S_ISDIR(info.st_mode)) return TINYTL_OK;
  const tinytl_status status = see(s, &info, &is_new);
  return status == TINYTL_OK && is_new ? search_folder(s, path) : status;
}

static int is_shown(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

static tinytl_status search_folder(search *s, const char *path) {
  struct dirent **entries;
  const int n = scandir(path, &entries, is_shown, alphasort);
  if (n < 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
    return cli_fail(s->error, TINYTL_ERROR_INTERNAL, "%s: %s", path, strerror(errno));
  if (n < 0) {
    cli_note_skipped(NULL, path, strerror(errno));
    return TINYTL_OK;
  }
  tinytl_status status = TINYTL_OK;
  for (int i = 0; i < n; i++) {
    char *below = NULL;
    if (status == TINYTL_OK && asprintf(&below, "%s/%s", path, entries[i]->d_name) < 0)
      status = cli_fail(s->error, TINYTL_ERROR_INTERNAL, "out of memory");
    else if (status == TINYTL_OK)
      status = search_entry(s, below, entries[i]->d_name);
    free(below);
    free(entries[i]);
  }
  free(entries);
  return status;
}

tinytl_status cli_unknown_check(const char *dir, tinytl_error *error) {
  DIR *opened = opendir(dir);
  if (!opened) return cli_fail(error, TINYTL_ERROR_DATA, "%s: %s", dir, strerror(errno));
  closedir(opened);
  return TINYTL_OK;
}

tinytl_status cli_unknown_score(const char *dir, tinytl_predictor *predictor, cli_scores *scores,
                                int *n_skipped, tinytl_error *error) {
  search s = {.predictor = predictor, .scores = scores, .error = error};
  s.view = tinytl_predictor_view(predictor);
  const size_t size = (size_t)s.view.size;
  s.rgb = malloc(size * size * 3);
  s.probabilities = malloc(sizeof *s.probabilities * (size_t)tinytl_predictor_n_classes(predictor));
  tinytl_status status = TINYTL_OK;
  struct stat info;
  if (!s.rgb || !s.probabilities)
    status = cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  else if (stat(dir, &info) != 0)
    status = cli_fail(error, TINYTL_ERROR_DATA, "%s: %s", dir, strerror(errno));
  bool is_new;
  if (status == TINYTL_OK) status = see(&s, &info, &is_new);
  if (status == TINYTL_OK) status = search_folder(&s, dir);
  if (status == TINYTL_OK && scores->n == 0)
    status = cli_fail(error, TINYTL_ERROR_DATA, "%s: no picture could be read", dir);
  *n_skipped = s.n_skipped;
  free(s.seen);
  free(s.probabilities);
  free(s.rgb);
  return status;
}
