/* How far what is trained should go from where the backbone has it, asked of two short trainings.
 *
 * Pictures that the backbone nearly knows want small steps, others large ones; their number does
 * not tell which, nor does anything that was found in features or gradients (docs/training.md). So
 * `bias` is trained twice for a while, at half of the rates and at twice, and validation compares
 * what comes of it, picture by picture. */
#ifndef TINYTL_TRAIN_REACH_H
#define TINYTL_TRAIN_REACH_H

#include "train/method.h"

/* Each of the short trainings: epochs of so many pictures, which are drawn anew for every one. */
typedef struct tinytl_trial {
  int n_epochs, n_images; /* 0: none, as the training itself is too short to be worth them */
} tinytl_trial;

/* For a training of n_epochs of n_images. */
tinytl_trial tinytl_trial_plan(int n_epochs, int n_images);
/* None without validation, for a method without reach, or where the options have a rate. */
tinytl_trial tinytl_reach_trial(const tinytl_task *task, const tinytl_train_options *options);

/* What twice the rates gained over half of them, -1 to 1, and its standard error; INFINITY: too few
 * pictures to tell. 0.5 to 2. */
float tinytl_reach_factor(float gain, float noise);

typedef struct tinytl_reach_outcome {
  float *right; /* [validation images], the caller's room, of what nobody needs afterwards */
  tinytl_reach reach;
  uint64_t n_run; /* training pictures that went through the network */
  double setup_seconds;
} tinytl_reach_outcome;

/* Runs a trial that is not none, with the options of the method that is to be trained and under a
 * limit in no more memory than its plan has. Where it comes to nothing, or has no room in that, the
 * factor is 1. Pictures that cannot be read are told of to nobody. Errors: INTERRUPTED, INTERNAL.
 */
tinytl_status tinytl_reach_find(const tinytl_task *task, const tinytl_train_options *options,
                                const tinytl_plan *plan, const tinytl_trial *trial,
                                tinytl_reach_outcome *outcome, tinytl_error *error);

#endif
