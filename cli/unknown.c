#include "unknown.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "terminal.h"
#include "tree.h"

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

/* ---- Pictures of other things ------------------------------------------------------------- */

typedef struct scorer {
  tinytl_predictor *predictor;
  tinytl_view view;
  uint8_t *rgb;         /* [size][size][3] */
  float *probabilities; /* [n_classes] */
  cli_scores *scores;
  int *n_skipped;
} scorer;

static tinytl_status score_picture(void *context, const char *path, tinytl_error *error) {
  scorer *s = context;
  tinytl_status status = tinytl_picture_load(path, 0, &s->view, s->rgb, error);
  if (status == TINYTL_ERROR_DATA) {
    cli_note("left out: %s", error->message);
    ++*s->n_skipped;
    return TINYTL_OK;
  }
  if (status == TINYTL_OK)
    status = tinytl_predictor_run(s->predictor, s->rgb, s->probabilities, error);
  if (status != TINYTL_OK) return status;
  if (cli_scores_add(s->scores, tinytl_predictor_score(s->predictor))) return TINYTL_OK;
  return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures", s->scores->n);
}

tinytl_status cli_unknown_check(const char *dir, tinytl_error *error) {
  DIR *opened = opendir(dir);
  if (!opened) return cli_fail(error, TINYTL_ERROR_DATA, "%s: %s", dir, strerror(errno));
  closedir(opened);
  return TINYTL_OK;
}

tinytl_status cli_unknown_score(const char *dir, tinytl_predictor *predictor, cli_scores *scores,
                                int *n_skipped, tinytl_error *error) {
  scorer s = {.predictor = predictor, .scores = scores, .n_skipped = n_skipped};
  s.view = tinytl_predictor_view(predictor);
  const size_t size = (size_t)s.view.size;
  *n_skipped = 0;
  s.rgb = malloc(size * size * 3);
  s.probabilities = malloc(sizeof *s.probabilities * (size_t)tinytl_predictor_n_classes(predictor));
  tinytl_status status = s.rgb && s.probabilities
                             ? cli_tree_walk(dir, score_picture, &s, n_skipped, error)
                             : cli_fail(error, TINYTL_ERROR_INTERNAL,
                                        "out of memory for a picture of %zu pixels", size);
  if (status == TINYTL_OK && scores->n == 0)
    status = cli_fail(error, TINYTL_ERROR_DATA, "%s: no picture could be read", dir);
  free(s.probabilities);
  free(s.rgb);
  return status;
}
