/* Training a backbone or a super-net from nothing. */
#ifndef TINYTL_PRETRAIN_H
#define TINYTL_PRETRAIN_H

#include "ranks.h"
#include "supernet.h"
#include "train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A pre-training run's state between two updates; as tinytl_checkpoint. */
typedef struct tinytl_pretrain_state tinytl_pretrain_state;
tinytl_status tinytl_pretrain_state_write(const tinytl_pretrain_state *state, tinytl_write_fn write,
                                          void *context, tinytl_error *error);

typedef struct tinytl_pretrain_options {
  int epochs;     /* 1 to 10,000; default 60 */
  int batch;      /* 2 to 4096; default 64; memory grows with it */
  int image_size; /* 32 to 1024; 0: the architecture's (default) */
  /* Sizes of which one is drawn for the pictures of every update, image_size among them; one that
   * is named twice comes twice as often. n 0: image_size alone (default) */
  int image_sizes[TINYTL_MAX_IMAGE_SIZES], n_image_sizes;
  int n_threads;                  /* 1 to 64; 0: one a core (default) */
  float lr;                       /* up to 10; 0: 0.1 at batch 64, in proportion to it (default) */
  float label_smoothing;          /* 0 to < 1; default 0.1 */
  bool mirror;                    /* half of the samples mirrored; default true */
  bool lite;                      /* lite residual modules, trained with all else; default false */
  const char *teacher_name;       /* for messages; NULL: "teacher" */
  const tinytl_backbone *teacher; /* whose probabilities count as much as the labels: its classifier
                                     has the pictures' classes, by name or, without names, in their
                                     order; it sees pictures as large as the pupil does. NULL: none
                                     (default) */
  tinytl_weights weights;         /* of the backbone; default TINYTL_WEIGHTS_INT8 */
  uint64_t seed;                  /* default 0 */
  size_t memory_limit;            /* as of tinytl_train_options; 0: none (default) */
  const volatile int *stop;       /* as there; NULL: never */
  tinytl_progress_fn progress;    /* NULL: none */
  tinytl_skip_fn skip;            /* told of pictures that could not be read; NULL: nobody */
  /* Told before the run what it takes, and what the process held at the call. NULL: nobody */
  void (*planned)(void *context, size_t total_bytes, size_t base_bytes);
  /* Called from the training thread to have the state written, as save of tinytl_train_options. */
  void (*save)(void *context, const tinytl_pretrain_state *state);
  float save_seconds;          /* 0: after every update; default 30 */
  const tinytl_source *resume; /* state to go on from; NULL: from the beginning (default). Threads,
                                  weights and memory limit may differ; all else must be the same */
  void (*resumed)(void *context, const tinytl_epoch *at); /* told where; NULL: nobody */
  void *context;                                          /* of the six callbacks */
  /* NULL: this process alone (default). Else each batch is split over the ranks, at most as many as
   * it has pictures; the result is one rank's up to rounding. resume counts on rank 0 alone, which
   * may have had any number of ranks. A stop or failure on one rank ends all at the same update,
   * with the same error. skip is told of a picture on the rank that loaded it. */
  const tinytl_rank_group *group;
} tinytl_pretrain_options;

void tinytl_pretrain_options_init(tinytl_pretrain_options *options);

typedef struct tinytl_pretrain_report {
  int train_images, val_images; /* that could be read */
  int skipped_images;           /* of either that could not */
  float val_top1;      /* 0 to 1; NAN: no validation. Of a super-net's largest sub-net, and */
  float smallest_top1; /* of its smallest; else NAN */
  size_t planned_bytes, base_bytes; /* what the run takes; what the process held before */
  double seconds;
  double images_per_second; /* training pictures through the network, over the whole run */
} tinytl_pretrain_report;

/* Trains a backbone of a named architecture (tinytl_backbone_init) from random weights, with a
 * classifier of the pictures' classes: every weight, by batches, with batch norms that are folded
 * into the backbone at the end. `val` (NULL: none) is for the report alone. On success the caller
 * owns *backbone; report may be NULL. Of a group rank 0 alone gets it, the others NULL. Same seed,
 * same bytes of backbone, whatever the number of threads. Errors: USAGE (options), DATA (too few
 * pictures, a loss or a value not finite), MODEL (a teacher of other classes; a state that is
 * damaged or of other pictures: one of other options is USAGE), MEMORY_LIMIT, INTERRUPTED. */
tinytl_status tinytl_pretrain(const char *architecture, const tinytl_images *train,
                              const tinytl_images *val, const tinytl_pretrain_options *options,
                              tinytl_backbone **backbone, tinytl_pretrain_report *report,
                              tinytl_error *error);

/* The same for a super-net, "supernet-W" (W: width multiplier, 0.1 to 2.0): the largest sub-net
 * first, then with it as a teacher ever smaller ones, docs/supernet.md; options->weights does not
 * count: tinytl_supernet_write has its own. */
tinytl_status tinytl_pretrain_supernet(const char *name, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_supernet **supernet, tinytl_pretrain_report *report,
                                       tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
