/* Scores of pictures, and those of pictures that belong to no class of the model. */
#ifndef CLI_UNKNOWN_H
#define CLI_UNKNOWN_H

#include "tinytl.h"

/* A score a picture: tinytl_predictor_score. */
typedef struct cli_scores {
  float *values; /* [n], owned */
  int n, room;
} cli_scores;

/* False: out of memory. */
bool cli_scores_add(cli_scores *scores, float score);
void cli_scores_free(cli_scores *scores);

/* Whether such a folder can be read. Error: DATA. */
tinytl_status cli_unknown_check(const char *dir, tinytl_error *error);
/* Adds the score of every .jpg, .jpeg and .png anywhere below `dir`; hidden files and folders are
 * passed over. Pictures and folders that cannot be read are told of, left out and counted in
 * *n_skipped. Errors: DATA (no picture), those of the predictor. */
tinytl_status cli_unknown_score(const char *dir, tinytl_predictor *predictor, cli_scores *scores,
                                int *n_skipped, tinytl_error *error);

#endif
