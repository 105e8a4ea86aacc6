/* A run between two updates, and the file that holds it: docs/format.md.
 *
 * What is random depends on counters alone (core/rng.h), gradients are zero between updates, and
 * features are computed again: so values, moments and a few numbers are all of a run's state. */
#ifndef TINYTL_TRAIN_CHECKPOINT_H
#define TINYTL_TRAIN_CHECKPOINT_H

#include "format/sealed_file.h"
#include "train/trainer.h"

/* Tensors whose bytes are those of an adapter file: of carry, and of what was found. */
#define TINYTL_CARRIED_ADAPTER "auto.adapter"
#define TINYTL_FOUND_ADAPTER "refit.adapter"

/* What validation says. */
typedef struct tinytl_score {
  float top1;
  float noise; /* standard error of top1 */
} tinytl_score;

/* Where a run is. */
typedef struct tinytl_position {
  int epoch;          /* that is going on, from 1; one more than there are: all are done */
  int n_fed;          /* of its pictures: the first ones of its order that can be read */
  double loss_sum;    /* of them */
  float loss;         /* mean over the pictures of the kept epoch */
  int n_train;        /* training pictures that can be read, once an epoch is done */
  int best_epoch;     /* whose values are kept; 0: none yet */
  float val_top1;     /* of the kept epoch */
  tinytl_score best;  /* of all epochs */
  int n_without_gain; /* epochs since the best one */
} tinytl_position;

/* All that decides the bytes of a run's adapter, as JSON. */
typedef struct tinytl_identity {
  char *run;      /* the options that count */
  char *data;     /* the pictures: their numbers, and a hash of their names and labels */
  char *schedule; /* what the rules made of both */
} tinytl_identity;

struct tinytl_checkpoint {
  tinytl_trainer *trainer;
  tinytl_identity identity;
  tinytl_position at;
};

/* The position at which every run begins and, where the options ask for checkpoints, the trainer's
 * identity. */
tinytl_status tinytl_checkpoint_init(tinytl_checkpoint *checkpoint, tinytl_trainer *trainer,
                                     tinytl_error *error);
void tinytl_checkpoint_clear(tinytl_checkpoint *checkpoint);

/* The vectors of a run at this position, in the order of the file: floats, then bytes. Without data
 * are best values in the spill file, and the bytes of an adapter's file. */
int tinytl_checkpoint_vectors(const tinytl_checkpoint *checkpoint,
                              tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS]);

/* ---- Reading ------------------------------------------------------------------------------ */

/* A checkpoint file that was opened. */
typedef struct tinytl_resume tinytl_resume;

/* Checks the whole file against its hash. The source is borrowed until it is freed. */
tinytl_status tinytl_resume_open(const tinytl_source *source, tinytl_resume **resume,
                                 tinytl_error *error);
/* Puts the checkpoint's choices where the options leave them open; under AUTO its methods into
 * *carry, while carry->n_methods stays 0 and the method becomes that of the checkpoint where it was
 * asked for by name. *reach becomes the checkpoint's, as in tinytl_task. */
tinytl_status tinytl_resume_choose(const tinytl_resume *resume, tinytl_train_options *options,
                                   tinytl_carry *carry, float *reach, tinytl_error *error);
/* What the earlier methods of auto left: fills carry->method_at, report and mirror, and makes
 * carry->adapter where there is one. carry->right comes with tinytl_resume_restore. */
tinytl_status tinytl_resume_carry(const tinytl_resume *resume, const tinytl_task *task,
                                  tinytl_carry *carry, tinytl_error *error);
/* Is it of a training on all pictures, once it was found what to train? */
bool tinytl_resume_is_refit(const tinytl_resume *resume);
/* What was found, with its adapter, the caller's, where the file has that; under auto, whose
 * methods are in *carry, also carry->adapter where the method that is trained now began with one.
 * task: with pictures held back. */
tinytl_status tinytl_resume_found(const tinytl_resume *resume, const tinytl_task *task,
                                  tinytl_carry *carry, tinytl_found *found, tinytl_error *error);
/* Refuses what is not of this run, and brings trainer and position to where it was saved. */
tinytl_status tinytl_resume_restore(const tinytl_resume *resume, tinytl_checkpoint *checkpoint,
                                    tinytl_error *error);
/* What the restored run's callback is told. */
tinytl_resumed tinytl_resume_describe(const tinytl_resume *resume,
                                      const tinytl_checkpoint *checkpoint);
void tinytl_resume_free(tinytl_resume *resume); /* NULL is allowed */

#endif
