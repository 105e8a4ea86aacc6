/* One search: its memory, planned and taken at once, and a sub-net at work on batches of pictures:
 * adapted to them together with the others (adapt.c), and measured on held-out ones. */
#ifndef TINYTL_SEARCH_SEARCHER_H
#define TINYTL_SEARCH_SEARCHER_H

#include "data/threads.h"
#include "format/sealed_file.h"
#include "model/shared_values.h"
#include "pretrain/batch_net.h"
#include "search/genes.h"
#include "search/price.h"
#include "train/optimizer.h"
#include "train/program.h"

/* Keys of what is drawn: those of candidates are their numbers. */
#define TINYTL_KEY_ADAPTATION ((uint64_t)1 << 32)
#define TINYTL_KEY_EVOLUTION ((uint64_t)2 << 32)

enum {
  TINYTL_SEARCH_BATCH = 64,     /* most pictures that go through a sub-net at once */
  TINYTL_MOST_CANDIDATES = 1000 /* to be measured, before the finalists */
};

/* Where a search is. */
typedef struct tinytl_search_position {
  int epoch;        /* of adaptation, that is going on, from 1; one more than there are: all done */
  int n_fed;        /* of its pictures: the first ones of its order that can be read */
  double loss_sum;  /* of them */
  uint64_t step;    /* updates done, of a search that goes on from there; the optimizer counts on */
  int n_measured;   /* sub-nets */
  int n_drawn;      /* of them before the finalists; 0: not all are measured yet */
  int batch;        /* pictures at a time, by which statistics are estimated */
  int n_sizes;      /* of the picture, the smallest ones of the search's: others are too much */
  bool adapts_lite; /* modules too */
  size_t base_nbytes; /* that candidates are priced upon */
} tinytl_search_position;

/* A sub-net that was measured, and its price. */
typedef struct tinytl_measured {
  tinytl_subnet subnet;
  float top1, score, predicted; /* score: what they are ranked by, 0 to 1 */
  uint64_t macs;
  size_t planned_bytes;
} tinytl_measured;

/* What all sub-nets share that is trained: the classifier of the target's classes, from 0, for
 * every channel of the largest sub-net what is added to its bias, from 0 too, and where the method
 * of the training to come trains them, lite modules, but for their last shift. One vector, the
 * trained segments of `method` for the largest sub-net; a sub-net has the first ones of a bias, and
 * of a module what model/supernet.h says. */
typedef struct tinytl_adaptation {
  tinytl_method method; /* BIAS or LITE_BIAS */
  int n_epochs, batch;  /* batch: pictures of an update */
  float lr[TINYTL_N_GROUPS];
  uint64_t n_steps, n_warmup;
  float *class_weights; /* [n_classes] */
  tinytl_params *params;
  float *values, *gradient; /* [params->n_trained] */
  float *part_gradient;     /* [tinytl_adaptation_n_part] of convolutions of smaller lite modules */
  tinytl_optimizer_state optimizer;
  tinytl_network *network; /* of the sub-net that is worked on, folded */
  tinytl_gradients *gradients;
  size_t program_nbytes; /* of the arena, for any sub-net that is drawn */
} tinytl_adaptation;

/* Everything lies in one block, in this order:
 *
 *   values of a sub-net | statistics | adaptation: values, gradient, moments | flags, order, batch
 * | loader | work: maps, or a program's arena, or the predictor, in turn */
typedef struct tinytl_searcher {
  const tinytl_supernet *supernet;
  const tinytl_images *train, *val;
  const tinytl_search_options *options;
  tinytl_shared_values shared;
  tinytl_part_values part; /* the sub-net that is worked on, and its network */
  tinytl_batch_net net;
  tinytl_batch_run run;   /* its pictures are those held */
  tinytl_backbone folded; /* the part folded, pointing at `values` */
  tinytl_input input;     /* of the sub-net that is worked on */
  int max_size;           /* of any sub-net's pictures */
  tinytl_threads threads;
  int batch; /* most pictures held */
  unsigned char *block, *work;
  size_t block_nbytes, work_nbytes;
  size_t total_bytes, base_bytes;  /* planned; held before */
  float *values;                   /* of the part */
  tinytl_batch_statistics running; /* the mean over batches */
  float *logits;                   /* [n_classes] */
  tinytl_adaptation adaptation;
  bool *train_unreadable, *val_unreadable; /* [n_images]: tried, told of, and left out since */
  int *order;
  uint8_t *pixels;
  const uint8_t **rgb;
  int *labels, *indices; /* of the pictures held */
  tinytl_search_position at;
} tinytl_searcher;

/* Plans, and takes the memory, for the sizes of pictures in the super-net's space. All is borrowed.
 * method: what is adapted, BIAS or LITE_BIAS. `resumed` (NULL: a new search): its batch is kept to.
 * With a limit, batches are as large as fit.
 * Errors: MEMORY_LIMIT, INTERNAL. */
tinytl_status tinytl_searcher_create(const tinytl_supernet *supernet, const tinytl_images *train,
                                     const tinytl_images *val, const tinytl_search_options *options,
                                     tinytl_method method, const tinytl_search_position *resumed,
                                     tinytl_searcher **searcher, tinytl_error *error);
void tinytl_searcher_free(tinytl_searcher *s); /* NULL is allowed */

/* Works on this sub-net from now on. */
tinytl_status tinytl_searcher_choose(tinytl_searcher *s, const tinytl_subnet *subnet,
                                     tinytl_error *error);

/* ---- Pictures ----------------------------------------------------------------------------- */

/* Holds n training pictures in the order of an epoch, behind the first n_done that can be read,
 * augmented, at the size that sub-nets with this index have; fewer where the epoch has no more.
 * Error: INTERRUPTED. */
tinytl_status tinytl_searcher_hold_update(tinytl_searcher *s, int epoch, int n_done, int size,
                                          int n, tinytl_error *error);

/* Folds the chosen sub-net, by these statistics, into s->folded. */
void tinytl_searcher_fold(tinytl_searcher *s, const tinytl_batch_statistics *statistics);

/* ---- Accuracy ----------------------------------------------------------------------------- */

/* Sets top1 and score, of held-out pictures. The same sub-net gives the same. Errors: DATA (no
 * training picture or no held-out one can be read), INTERRUPTED. */
tinytl_status tinytl_searcher_measure(tinytl_searcher *s, tinytl_measured *one,
                                      tinytl_error *error);

/* The sub-net as a backbone with int8 weights, its norms folded by its own statistics, with what
 * was adapted. Ends the search: its memory goes back. */
tinytl_status tinytl_searcher_finish(tinytl_searcher *s, const tinytl_subnet *subnet,
                                     tinytl_backbone **backbone, tinytl_error *error);

/* ---- Adaptation (adapt.c) ----------------------------------------------------------------- */

/* Makes s->adaptation, for the largest sub-net, at s->max_size; method: BIAS or LITE_BIAS. */
tinytl_status tinytl_adaptation_init(tinytl_searcher *s, tinytl_method method, tinytl_error *error);
void tinytl_adaptation_free(tinytl_adaptation *a);
/* Once s->batch is known and memory is there: sets epochs, batch and rates. */
void tinytl_adaptation_begin(tinytl_searcher *s);
/* Heap that it takes beside the block. */
size_t tinytl_adaptation_heap_nbytes(const tinytl_searcher *s);
/* Values that a->part_gradient has: those of the convolutions that a sub-net does not have whole,
 * each at most half. */
size_t tinytl_adaptation_n_part(const tinytl_searcher *s);
/* Biases of s->folded, or shifts of s->values, += what was adapted; adapted lite modules take the
 * place of those in s->values. */
void tinytl_adaptation_apply(const tinytl_searcher *s);
/* [n_classes][n_features], and its bias [n_classes]; borrowed. */
tinytl_weight tinytl_adaptation_classifier(const tinytl_adaptation *a, const float **bias);
/* Leaves the logits of a picture with these features in s->logits. */
void tinytl_adaptation_classify(const tinytl_searcher *s, const float *features);
/* Adds the gradient of the sum of losses of the pictures held, through this sub-net with the norms'
 * statistics of this batch, to a->gradient; returns the sum of losses. *fits false: nothing was
 * done, its program is larger than what was planned. */
tinytl_status tinytl_adaptation_add_gradient(tinytl_searcher *s, const tinytl_subnet *subnet,
                                             bool *fits, double *loss, tinytl_error *error);
/* By the mean over the pictures held. */
void tinytl_adaptation_update(tinytl_searcher *s);

/* ---- Evolution (evolution.c) -------------------------------------------------------------- */

enum { TINYTL_FINALISTS = 10 };

/* Fits a predictor to measured [n], whose `predicted` it sets, and breeds from them by it. Fills
 * finalists [TINYTL_FINALISTS], best first, with sub-nets that meet the limits, and *tau with how
 * one fitted to four fifths ranks the others, the mean over the fifths (NAN: n is 5 or less).
 * Errors: INTERRUPTED. */
tinytl_status tinytl_searcher_evolve(tinytl_searcher *s, tinytl_pricer *pricer,
                                     tinytl_measured *measured, int n, tinytl_measured *finalists,
                                     int *n_finalists, float *tau, tinytl_error *error);

/* ---- Checkpoints (state.c) ---------------------------------------------------------------- */

struct tinytl_search_state {
  /* All that decides the bytes of a search's backbone, as JSON; owned. input: the super-net's. */
  char *supernet, *input, *run, *data;
  tinytl_searcher *searcher;
  tinytl_measured *measured; /* [searcher->at.n_measured] */
};

tinytl_status tinytl_search_state_init(tinytl_search_state *state, const tinytl_supernet *supernet,
                                       const tinytl_images *train, const tinytl_images *val,
                                       const tinytl_search_options *options, tinytl_error *error);
void tinytl_search_state_clear(tinytl_search_state *state);
/* Refuses what is not of this search, and says where it was. Close the file even where that fails.
 */
tinytl_status tinytl_search_state_open(const tinytl_search_state *state,
                                       const tinytl_source *source, tinytl_sealed_file *file,
                                       tinytl_search_position *at, tinytl_error *error);
/* Brings searcher and measured to there; searcher->at is set. */
tinytl_status tinytl_search_state_restore(const tinytl_search_state *state,
                                          const tinytl_sealed_file *file, tinytl_error *error);

#endif
