/* One training run: its memory, planned and taken at once, and one image at a time. */
#ifndef TINYTL_TRAIN_TRAINER_H
#define TINYTL_TRAIN_TRAINER_H

#include "core/spill.h"
#include "data/threads.h"
#include "train/auto.h"
#include "train/mirror_test.h"
#include "train/optimizer.h"
#include "train/profile.h"
#include "train/rules.h"

/* What the methods of auto leave to those after them, and one short training to the next. */
typedef struct tinytl_carry {
  int n_methods, method_at; /* that may be tried; which one this is, from 0 */
  tinytl_optimizer optimizers[TINYTL_N_AUTO_METHODS]; /* of each, chosen at the beginning */
  size_t nbytes;                                      /* of what follows */
  tinytl_adapter *adapter;                            /* the best so far; NULL: none yet */
  float *right; /* [validation images] probabilities of the right class that it gives; of what
                   cannot be read nothing counts */
  tinytl_train_report report; /* of it */
  tinytl_switch asked_mirror; /* by the options */
  tinytl_switch mirror;       /* training pictures; AUTO: not decided yet */
  bool asks_mirror;           /* the features of this method are to decide it */
} tinytl_carry;

/* What was found with pictures held back, in a run that then trains once more, on all of them. */
typedef struct tinytl_found {
  tinytl_train_report report; /* of the method that was kept */
  tinytl_adapter *adapter; /* NULL: a memory limit has no room for it beside the second training */
  size_t nbytes;           /* of it */
  float temperature, reject_below;
  tinytl_switch mirror; /* training pictures */
  int method_at;        /* of auto's, that is trained now; 0: it was asked for by name */
} tinytl_found;

/* What a run may trade for memory. */
typedef struct tinytl_choices {
  tinytl_method method;
  int n_lanes;      /* pictures that run side by side, 1 to TINYTL_MAX_LANES */
  int lane_threads; /* that share the operators of a lane: where there are several lanes, 1 */
  tinytl_optimizer optimizer;
  bool spill;     /* feature cache and best values in a file */
  bool recompute; /* lite modules */
} tinytl_choices;

/* Everything lies in one block, in this order:
 *
 *   values | best values | gradients | moments | feature cache | order | loader | lanes
 *
 * A lane has the activations of one picture, or a deferred gradient in the making. Best values only
 * with validation, the cache only where the head alone is trained; neither where they are spilled.
 */
typedef struct tinytl_trainer {
  tinytl_train_options options;
  tinytl_choices choices;
  tinytl_plan plan;
  tinytl_rules rules;
  const tinytl_images *train, *val; /* val may be NULL */
  const tinytl_carry *carry; /* NULL: the method was asked for by name, and trains to be kept */
  const tinytl_found *found; /* NULL: the first training */

  tinytl_network *network;
  tinytl_params *params;
  tinytl_gradients *gradients;
  tinytl_program *train_program; /* NULL where the head alone is trained */
  tinytl_program *test_program;  /* logits, for validation; features for the head alone */
  tinytl_machine train_machines[TINYTL_MAX_LANES], test_machines[TINYTL_MAX_LANES];
  tinytl_run run;          /* on all threads, without scratch */
  tinytl_stopwatch *watch; /* the caller's; NULL: time is not measured */
  tinytl_threads threads;  /* they read the training and the validation pictures, in turn */
  tinytl_spill *spill;     /* features, then best values */

  size_t load_nbytes;     /* of heap, for decoding one picture */
  size_t max_load_nbytes; /* pictures that need more are left out; 0: 256 MB */
  unsigned char *block;
  size_t block_nbytes, kept_nbytes; /* kept: values and best values, the start of the block */
  float *values, *best;
  tinytl_optimizer_state optimizer;
  bool head_only;           /* method last without augmentation: pictures are seen once */
  float *cache;             /* [training and validation images][n_features]; head_only */
  float *features, *logits; /* of one image, [n_features], [n_classes]; head_only */
  float *mirror_memory;     /* of a mirror test, then features of each lane; carry->asks_mirror */
  float *class_weights;     /* [n_classes] */
  bool *train_unreadable, *val_unreadable; /* [n_images]: tried, told of, and left out since */
  int *order;
  float reach; /* the task's, and */
  int n_tried;
  int n_epoch; /* pictures of an epoch */
  float lr[TINYTL_N_GROUPS];
  uint64_t n_steps, n_warmup, n_weight_warmup;
  int n_fed; /* images since the last update */
} tinytl_trainer;

/* What a run is about. All is borrowed; val, carry and found may be NULL. */
typedef struct tinytl_task {
  const tinytl_backbone *backbone;
  const tinytl_images *train, *val;
  const tinytl_carry *carry;
  const tinytl_found *found;
  size_t base_nbytes; /* that the process held before the run */
  float reach;        /* tinytl_reach's factor; 0: not known, which is as 1 */
  int n_tried;        /* pictures of an epoch of a short training; 0: of all pictures, to keep */
} tinytl_task;

tinytl_status tinytl_trainer_check_options(const tinytl_train_options *options,
                                           tinytl_error *error);
/* Chooses what the limit asks for, plans, and takes the memory. options->method is no AUTO.
 * *trainer is the caller's. */
tinytl_status tinytl_trainer_create(const tinytl_task *task, const tinytl_train_options *options,
                                    tinytl_trainer **trainer, tinytl_error *error);
/* The last part of that: takes the memory that was counted, and starts the threads. */
tinytl_status tinytl_trainer_start(tinytl_trainer *trainer, tinytl_error *error);
void tinytl_trainer_free(tinytl_trainer *trainer); /* NULL is allowed */

/* Measures time from now on. */
void tinytl_trainer_watch(tinytl_trainer *trainer, tinytl_stopwatch *watch);

/* Training images, one after the other. Its functions are called from one thread at a time. */
typedef struct tinytl_supply {
  /* False: there is none. Where the head alone is trained, the image's features are then
   * trainer->features. watch: of the thread, NULL: its time is not measured. */
  bool (*next)(void *context, tinytl_stopwatch *watch, tinytl_sample *sample);
  void (*release)(void *context, const tinytl_sample *sample); /* it was run */
  void *context;
} tinytl_supply;
/* What became of the images of a batch. */
typedef struct tinytl_fed {
  double loss_sum; /* added in their order */
  int odd;         /* the first whose loss is not finite, from 0; -1: none */
  float odd_loss;
} tinytl_fed;
/* Feeds images until the batch is full or there are no more; gradients are added up. */
tinytl_fed tinytl_trainer_feed(tinytl_trainer *trainer, const tinytl_supply *supply,
                               uint64_t epoch);
/* Updates the parameters from the images fed since the last update. */
void tinytl_trainer_update(tinytl_trainer *trainer);
/* Runs n pictures, at most n_lanes, through the test program, on the machine of the same number. */
void tinytl_trainer_test(tinytl_trainer *trainer, const tinytl_sample *samples, int n);
/* Logits of trainer->features; valid until the next call. */
float *tinytl_trainer_head(tinytl_trainer *trainer);

/* The feature cache: training images first, then validation images. Reading is into
 * trainer->features. Errors: those of the spill file. */
tinytl_status tinytl_trainer_store_features(tinytl_trainer *trainer, int index,
                                            const float *features, tinytl_error *error);
tinytl_status tinytl_trainer_fetch_features(tinytl_trainer *trainer, int index,
                                            tinytl_error *error);

/* Keeps the values as they are now as the best ones. */
tinytl_status tinytl_trainer_keep(tinytl_trainer *trainer, tinytl_error *error);
/* Bytes of the best values in the spill file, where the run spills and has validation. */
tinytl_status tinytl_trainer_read_best(tinytl_trainer *trainer, size_t first, void *bytes,
                                       size_t nbytes, tinytl_error *error);
tinytl_status tinytl_trainer_write_best(tinytl_trainer *trainer, size_t first, const void *bytes,
                                        size_t nbytes, tinytl_error *error);
/* Makes the best values the current ones. */
tinytl_status tinytl_trainer_restore(tinytl_trainer *trainer, tinytl_error *error);
/* Ends training: gives all memory back but that of the values. */
void tinytl_trainer_finish(tinytl_trainer *trainer);

#endif
