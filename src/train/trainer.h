/* One training run: its memory, and one image at a time. */
#ifndef TINYTL_TRAIN_TRAINER_H
#define TINYTL_TRAIN_TRAINER_H

#include "data/data.h"
#include "train/optimizer.h"
#include "train/program.h"
#include "train/rules.h"

/* Everything lies in one block, in this order:
 *
 *   values | gradients | moments | best values | feature cache | order | loader | activations
 *
 * best values only with validation, the cache only where the head alone is trained. */
typedef struct tinytl_trainer {
  tinytl_train_options options;
  tinytl_rules rules;
  const tinytl_images *train, *val; /* val may be NULL */

  tinytl_network *network;
  tinytl_params *params;
  tinytl_gradients *gradients;
  tinytl_pool *pool;
  tinytl_program *train_program; /* NULL where the head alone is trained */
  tinytl_program *test_program;  /* logits, for validation; features for the head alone */
  tinytl_machine train_machine, test_machine;
  tinytl_loader *loader;

  unsigned char *block;
  size_t planned_nbytes; /* block and frozen weights */
  float *values, *gradient, *best;
  tinytl_optimizer_state optimizer;
  bool head_only; /* method last without augmentation: pictures are seen once */
  float *train_features, *val_features;    /* [n_images][n_features]; head_only */
  float *logits, *dropped;                 /* [n_classes], [n_features]; head_only */
  bool *train_unreadable, *val_unreadable; /* [n_images]: tried, told of, and left out since */
  int *order;
  float lr[TINYTL_N_GROUPS];
  uint64_t n_steps, n_warmup;
} tinytl_trainer;

/* Plans, checks the memory limit and takes the memory. *trainer is the caller's. */
tinytl_status tinytl_trainer_create(const tinytl_backbone *backbone, const tinytl_images *train,
                                    const tinytl_images *val, const tinytl_train_options *options,
                                    tinytl_trainer **trainer, tinytl_error *error);
void tinytl_trainer_free(tinytl_trainer *trainer); /* NULL is allowed */

/* Feeds one training image: its loss; gradients are added up. rgb NULL: cached features of image
 * `index`. */
float tinytl_trainer_feed(tinytl_trainer *trainer, const uint8_t *rgb, int index, uint64_t epoch);
/* Updates the parameters from the n images fed since the last update. */
void tinytl_trainer_update(tinytl_trainer *trainer, int n);
/* Logits of a picture, or of cached validation features where rgb is NULL; valid until the next
 * call. */
float *tinytl_trainer_logits(tinytl_trainer *trainer, const uint8_t *rgb, int index);

#endif
