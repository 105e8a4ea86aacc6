/* One pre-training run: its memory, planned and taken at once, and one batch at a time. */
#ifndef TINYTL_PRETRAIN_PRETRAINER_H
#define TINYTL_PRETRAIN_PRETRAINER_H

#include "data/threads.h"
#include "format/sealed_file.h"
#include "model/shared_values.h"
#include "pretrain/batch_net.h"
#include "tinytl/pretrain.h"

/* Where a run is, between two updates. */
typedef struct tinytl_pretrain_position {
  int epoch;       /* that is going on, from 1; one more than there are: all are done */
  int n_fed;       /* of its pictures: the first ones of its order that can be read */
  double loss_sum; /* of them */
} tinytl_pretrain_position;

/* Part of a super-net's run (Cai et al., "Once-for-All", 2020, progressive shrinking). A backbone's
 * run has one phase. */
typedef struct tinytl_phase {
  int first_epoch, n_epochs;
  int n_subnets;          /* of an update; 0: the whole network */
  tinytl_opening opening; /* that they are drawn from */
  float lr_share;         /* of the run's learning rate */
} tinytl_phase;

/* A given teacher: a backbone as a network whose norms change nothing. */
typedef struct tinytl_teacher {
  const tinytl_backbone *backbone;
  tinytl_batch_net net;
  float *values;
  tinytl_batch_statistics statistics;
  int classes[]; /* of its classes, for each of the pictures' */
} tinytl_teacher;

/* What a super-net's run has more. Without a given teacher the largest sub-net is it, as its phase
 * left it. */
typedef struct tinytl_shrinking {
  tinytl_space space;
  tinytl_shared_values shared;
  tinytl_part_values part; /* the sub-net that is worked on, and its network */
  tinytl_batch_net net;
  float *values, *gradient; /* its own, in the block */
  float *teacher;           /* [shared.n]; NULL: one is given */
} tinytl_shrinking;

/* Everything lies in one block, in this order:
 *
 *   values | gradient | moment | running mean and variance | flags, order, batch | what a super-net
 *   has more | teacher | loader | maps */
typedef struct tinytl_pretrainer {
  tinytl_pretrain_options options;
  const tinytl_images *train, *val; /* val may be NULL */
  tinytl_arch *arch;                /* of a super-net: of its largest sub-net */
  tinytl_shrinking *shrinking;      /* NULL: a backbone */
  tinytl_teacher *teacher;          /* NULL: none is given */
  float *answers;                   /* of a teacher: probabilities, [batch][n_classes] */
  size_t n_values;
  tinytl_input input;
  tinytl_batch_net *net;
  tinytl_batch_run batch_run; /* its pictures are those held */
  tinytl_threads threads;

  tinytl_ranks ranks;     /* that each batch is split over */
  int batch;              /* pictures of an update */
  int share;              /* of them on this rank, at most */
  size_t max_load_nbytes; /* of heap, for decoding one picture: those that need more are left out */
  size_t total_bytes, base_bytes; /* planned; held before */
  int max_size;                   /* of pictures */
  size_t maps_nbytes;             /* of networks of all sizes, which take turns */
  unsigned char *block;
  size_t block_nbytes, maps_first;         /* the maps end the block */
  float *values, *gradient, *moment;       /* [n_values] */
  tinytl_batch_statistics running;         /* of training batches, for validation */
  bool *train_unreadable, *val_unreadable; /* [n_images]: tried, told of, and left out since */
  int *order;
  int *own;            /* [share]: what of a batch this rank loads; NULL with one rank */
  double *meeting;     /* [1 + batch]: ranks that failed, pictures that cannot be read; as own */
  uint8_t *pixels;     /* of the batch's pictures: [share], room for the largest each */
  const uint8_t **rgb; /* [share] */
  int *labels;         /* [share] */
  int n_batch;         /* pictures held on all ranks */
} tinytl_pretrainer;

/* Plans, and takes the memory. Errors: USAGE, DATA, MEMORY_LIMIT. */
tinytl_status tinytl_pretrainer_create(const char *architecture, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_pretrainer **pretrainer, tinytl_error *error);
void tinytl_pretrainer_free(tinytl_pretrainer *pretrainer); /* NULL is allowed */

/* One update from the pictures held; returns the sum of their losses. */
double tinytl_pretrainer_step(tinytl_pretrainer *p, const tinytl_pretrain_position *at);
/* Those of the pictures held that the running statistics get right. */
int tinytl_pretrainer_count_right(tinytl_pretrainer *p);
/* The statistics of the pictures held become the n-th of those that `running` is the mean of. */
void tinytl_pretrainer_average_statistics(tinytl_pretrainer *p, int n);
/* The network as a backbone, by the running statistics. The values are lost, the maps given back.
 */
tinytl_status tinytl_pretrainer_finish(tinytl_pretrainer *p, tinytl_backbone **backbone,
                                       tinytl_error *error);

tinytl_status tinytl_pretrainer_finish_supernet(tinytl_pretrainer *p, tinytl_supernet **supernet,
                                                tinytl_error *error);

/* ---- Memory (plan.c) ---------------------------------------------------------------------- */

/* Networks of all sizes, the block and what lies outside of it. Error: MEMORY_LIMIT. */
tinytl_status tinytl_pretrainer_plan(tinytl_pretrainer *p, tinytl_error *error);
/* Takes the block that was planned, points into it and starts the threads. */
tinytl_status tinytl_pretrainer_take_block(tinytl_pretrainer *p, tinytl_error *error);
/* Bytes that each picture of a batch has in the block. */
static inline size_t tinytl_pretrainer_picture_nbytes(const tinytl_pretrainer *p) {
  return 3 * (size_t)p->max_size * (size_t)p->max_size;
}

/* ---- Pictures (pictures.c) ---------------------------------------------------------------- */

/* Side of the pictures of an update of an epoch (from 1); 0: as in use. */
int tinytl_pretrainer_draw_size(const tinytl_pretrainer *p, int epoch, int update);
/* The networks are for pictures of this size from now on. */
void tinytl_pretrainer_set_size(tinytl_pretrainer *p, int size);
/* Of a picture of an epoch; 0: as in use. */
tinytl_view tinytl_pretrainer_view(const tinytl_pretrainer *p, int size, int epoch);

/* Adds a picture to the batch. */
void tinytl_pretrainer_hold(tinytl_pretrainer *p, const tinytl_sample *sample);

/* ---- Teachers (teacher.c) ------------------------------------------------------------------ */

/* The backbone is borrowed; values are set later. Errors: MODEL (other classes), MEMORY_LIMIT. */
tinytl_status tinytl_teacher_create(const tinytl_backbone *backbone, const char *name,
                                    const tinytl_images *images, int image_size, int max_images,
                                    tinytl_teacher **teacher, tinytl_error *error);
/* Copies the backbone's values to values [net.params.n] and statistics [net.params.n_channels],
 * which are borrowed. */
void tinytl_teacher_set_values(tinytl_teacher *teacher, float *values,
                               const tinytl_batch_statistics *statistics);
/* Shapes for pictures of another size; may take more or less. Error: MEMORY_LIMIT. */
tinytl_status tinytl_teacher_set_size(tinytl_teacher *teacher, int image_size, tinytl_error *error);
/* Beside its values: the backbone's weights count, as those of a mapped file come into memory when
 * they are read. */
size_t tinytl_teacher_nbytes(const tinytl_teacher *teacher);
/* Probabilities [n_images][n_classes] for the pictures of a run, whose block, net.nbytes at least,
 * it works in. */
void tinytl_teacher_answer(const tinytl_teacher *teacher, const tinytl_batch_run *pupil,
                           float *answers);

/* Fills `answers` for the pictures held. */
void tinytl_pretrainer_ask(tinytl_pretrainer *p);
/* Logits of the pictures held become their gradient times weight; returns the sum of their cross
 * entropies to the labels. is_taught: the cross entropy to the answers counts as much. */
double tinytl_pretrainer_losses(tinytl_pretrainer *p, bool is_taught, float weight, float *logits);

/* ---- Ranks (share.c) ---------------------------------------------------------------------- */

/* Of n pictures, from the first one of a batch on, those that this rank loads: every n_ranks-th of
 * a batch. Returns how many. */
int tinytl_pretrainer_share(const tinytl_pretrainer *p, const int *order, int n, int *own);
/* Holds this rank's share of a batch of n pictures; those that cannot be read are in `meeting`. */
tinytl_status tinytl_pretrainer_hold_share(tinytl_pretrainer *p, int n, tinytl_error *error);
/* All ranks meet behind the loading of a batch of n pictures: the same status on all, and
 * `meeting` is of all. */
tinytl_status tinytl_pretrainer_meet(tinytl_pretrainer *p, int n, tinytl_status status,
                                     tinytl_error *error);
/* Marks those of the batch, the next n of the order, that a rank could not read; false: none. */
bool tinytl_pretrainer_mark(const tinytl_pretrainer *p, const int *order, int n, bool *unreadable);

/* ---- Super-nets (shrinking.c) -------------------------------------------------------------- */

tinytl_phase tinytl_pretrainer_phase(const tinytl_pretrainer *p, int epoch);
/* Before the first update of an epoch: where a phase begins, the largest sub-net becomes the
 * teacher, channels are sorted before widths shrink, and moments are 0. */
void tinytl_pretrainer_begin_epoch(tinytl_pretrainer *p, int epoch);
/* Works on this sub-net from now on, as its shared values are now. */
void tinytl_pretrainer_choose(tinytl_pretrainer *p, const tinytl_subnet *subnet);
/* Adds to the gradient from the pictures held, through sub-nets that are drawn by `step`; returns
 * the mean of the sub-nets' sums of losses. */
double tinytl_pretrainer_shrink(tinytl_pretrainer *p, const tinytl_phase *phase, uint64_t step);

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
/* The state of rank 0 becomes that of all ranks. Errors: USAGE, DATA where one of them has other
 * options or pictures. */
tinytl_status tinytl_pretrain_state_share(tinytl_pretrain_state *state, tinytl_ranks *ranks,
                                          tinytl_error *error);

#endif
