/* One pre-training run: its memory, planned and taken at once, and one batch at a time. */
#ifndef TINYTL_PRETRAIN_PRETRAINER_H
#define TINYTL_PRETRAIN_PRETRAINER_H

#include "data/data.h"
#include "format/sealed_file.h"
#include "pretrain/batch_net.h"

#define TINYTL_PRETRAIN_FORMAT "pretraining 1"

/* Where a run is, between two updates. */
typedef struct tinytl_pretrain_position {
  int epoch;        /* that is going on, from 1; one more than there are: all are done */
  int n_fed;        /* of its pictures: the first ones of its order that can be read */
  double loss_sum;  /* of them */
  uint64_t n_steps; /* updates done */
} tinytl_pretrain_position;

/* Everything lies in one block, in this order:
 *
 *   values | gradient | moment | running mean and variance | flags, order, batch | loader | maps */
typedef struct tinytl_pretrainer {
  tinytl_pretrain_options options;
  const tinytl_images *train, *val; /* val may be NULL */
  tinytl_arch *arch;
  tinytl_input input;
  tinytl_batch_net *net;
  tinytl_batch_run batch_run;
  tinytl_pool *pool;
  tinytl_loader *loader;

  int batch;          /* pictures of an update */
  uint64_t n_steps;   /* updates of the whole run */
  size_t load_nbytes; /* of heap, for decoding one picture */
  size_t max_load_nbytes;
  size_t total_bytes, base_bytes; /* planned; held before */
  unsigned char *block;
  size_t block_nbytes, maps_first;         /* the maps end the block */
  float *values, *gradient, *moment;       /* [params.n] */
  tinytl_batch_statistics running;         /* of training batches, for validation */
  bool *train_unreadable, *val_unreadable; /* [n_images]: tried, told of, and left out since */
  int *order;
  uint8_t *pixels;     /* [batch][size][size][3], of the batch's pictures */
  const uint8_t **rgb; /* [batch] */
  int *labels;         /* [batch] */
  int n_held;          /* pictures in it now */
} tinytl_pretrainer;

/* Plans, and takes the memory. Errors: USAGE, DATA, MEMORY_LIMIT. */
tinytl_status tinytl_pretrainer_create(const char *architecture, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_pretrainer **pretrainer, tinytl_error *error);
void tinytl_pretrainer_free(tinytl_pretrainer *pretrainer); /* NULL is allowed */

tinytl_view tinytl_pretrainer_view(const tinytl_pretrainer *p, bool training, int epoch);

/* Adds a picture to the batch. */
void tinytl_pretrainer_hold(tinytl_pretrainer *p, const tinytl_sample *sample);

/* One update from the pictures held; returns the sum of their losses. */
double tinytl_pretrainer_step(tinytl_pretrainer *p, uint64_t step);
/* Those of the pictures held that the running statistics get right. */
int tinytl_pretrainer_count_right(tinytl_pretrainer *p);
/* The statistics of the pictures held become the n-th of those that `running` is the mean of. */
void tinytl_pretrainer_average_statistics(tinytl_pretrainer *p, int n);
/* The network as a backbone, by the running statistics. The values are lost, the maps given back.
 */
tinytl_status tinytl_pretrainer_finish(tinytl_pretrainer *p, tinytl_backbone **backbone,
                                       tinytl_error *error);

/* ---- Checkpoints (state.c) ---------------------------------------------------------------- */

struct tinytl_pretrain_state {
  const tinytl_pretrainer *pretrainer;
  char *run, *data; /* all that decides the bytes of a run's backbone, as JSON; owned */
  tinytl_pretrain_position at;
};

tinytl_status tinytl_pretrain_state_init(tinytl_pretrain_state *state, const tinytl_pretrainer *p,
                                         const char *architecture, tinytl_error *error);
void tinytl_pretrain_state_clear(tinytl_pretrain_state *state);
/* Refuses what is not of this run, and brings values and position to where it was saved. */
tinytl_status tinytl_pretrain_state_restore(tinytl_pretrain_state *state,
                                            const tinytl_source *source, tinytl_error *error);

#endif
