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

/* Adds the score of every .jpg, .jpeg and .png anywhere below `dir`; hidden files and folders are
 * passed over. Pictures that cannot be read are told of, counted in *n_skipped and left out.
 * Errors: DATA (a folder that cannot be read, no picture), those of the predictor. */
tinytl_status cli_unknown_score(const char *dir, tinytl_predictor *predictor, cli_scores *scores,
                                int *n_skipped, tinytl_error *error);

#endif
