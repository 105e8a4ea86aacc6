/* Adapting a backbone to pictures. */
#ifndef TINYTL_TRAIN_H
#define TINYTL_TRAIN_H

#include "pictures.h"
#include "plan.h"
#include "profile.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_epoch {
  tinytl_method method;     /* that is being trained */
  int epoch, n_epochs;      /* epoch counts from 1; 0: features are being computed, once for all, or
                               those of pictures and their mirror images */
  int image, n_images;      /* images of this epoch done, and in all */
  bool finished;            /* false: progress inside an epoch (at most ten a second) */
  bool trying;              /* of the short trainings before a tinytl_reach; `finished` too */
  float loss;               /* mean over the epoch so far */
  float val_top1;           /* 0 to 1; NAN: no validation or epoch not finished */
  double images_per_second; /* training pictures through the network, over this method so far */
  double seconds_left;      /* estimate for this method; NAN: none yet */
} tinytl_epoch;

/* Called from the training thread. */
typedef void (*tinytl_progress_fn)(void *context, const tinytl_epoch *epoch);

typedef enum tinytl_switch {
  TINYTL_SWITCH_AUTO,
  TINYTL_SWITCH_OFF,
  TINYTL_SWITCH_ON
} tinytl_switch;

/* What became of one method of TINYTL_METHOD_AUTO. */
typedef struct tinytl_auto_step {
  tinytl_method method;
  bool tried;        /* false: it does not fit in the memory limit, or the backbone has no place for
                        lite modules */
  bool kept;         /* it is the best so far; what is kept last is the adapter */
  float val_top1;    /* 0 to 1; NAN: not tried, or left without an accuracy */
  float gain, noise; /* over the best before: mean probability of the right class, picture by
                        picture, -1 to 1, and its standard error; NAN: there was none before */
  float expected;    /* gain, with what the method gained on other sets; NAN as above */
  int epochs;        /* done; 0: not tried */
  const char *reason; /* why it was kept, left or not tried; valid while it is told */
} tinytl_auto_step;

/* Under TINYTL_METHOD_AUTO: whether methods from now on train on mirrored pictures. */
typedef struct tinytl_mirroring {
  bool mirrors;
  float share; /* that the classes explain of the variance of what mirroring changes in pictures'
                  features, 1 at most; about 0 where left and right do not matter */
  float noise; /* its standard error in that case; INFINITY: too few pictures to tell */
} tinytl_mirroring;

/* How far what is trained should go from where the backbone has it: the learning rates of
 * docs/training.md are multiplied by it, and where it is above 1 the pictures that epochs see.
 * Found once a run, before the first of BIAS, LITE and LITE_BIAS, by two short trainings of BIAS,
 * at half and at twice the rates: where there is validation, no lr was asked for, and epochs see
 * 12,000 pictures or more. */
typedef struct tinytl_reach {
  float factor; /* 0.5 to 2 */
  float gain;   /* of twice the rates over half of them: mean probability of the right class of
                   validation pictures, -1 to 1; NAN: they came to nothing, or have no room */
  float noise;  /* its standard error; INFINITY: too few pictures to tell; NAN as above */
} tinytl_reach;

/* A run's state between two updates. A run that goes on from it ends with the same bytes of adapter
 * as one that was never ended. */
typedef struct tinytl_checkpoint tinytl_checkpoint;

/* Writes the checkpoint file, from where the run has its values: no memory is taken for a copy.
 * Error: TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_checkpoint_write(const tinytl_checkpoint *checkpoint, tinytl_write_fn write,
                                      void *context, tinytl_error *error);

/* Where a run goes on. */
typedef struct tinytl_resumed {
  tinytl_method method;
  int epoch, n_epochs; /* epoch n_epochs + 1: all is done but the adapter */
  int image, n_images; /* images of this epoch done, and in all */
  const char *version; /* of the library that saved it, and */
  const char *kernels; /* its kernel set: with others the last bits may differ */
} tinytl_resumed;

struct tinytl_train_options {
  tinytl_method method;       /* default TINYTL_METHOD_AUTO */
  tinytl_optimizer optimizer; /* default TINYTL_OPTIMIZER_AUTO */
  int epochs;                 /* 1 to 10,000; 0: by the rule of docs/training.md (default) */
  int batch;                  /* 1 to 4096; default 8 */
  int image_size;             /* 32 to 1024; 0: the backbone's (default) */
  int n_threads;              /* 1 to 64; 0: one a core (default) */
  float lr;                   /* above 0, at most 10; 0: by rule, and by tinytl_reach where there is
                                 validation and much to train on (default) */
  float label_smoothing;      /* 0 to < 1; negative: 0 for TINYTL_METHOD_LAST, else 0.1 (default) */
  float dropout;              /* 0 to < 1; default 0.2 */
  int patience; /* 0 to 10,000: epochs without a better validation accuracy before stopping;
                   0: never; default 0. Without validation: never */
  tinytl_switch augment;    /* random resized crops and mirroring; default AUTO: on, but off
                               for TINYTL_METHOD_LAST, which then computes every picture's
                               features once */
  tinytl_switch mirror;     /* part of augment; default AUTO: on, but under TINYTL_METHOD_AUTO off
                               where the features of LAST, which is not trained without
                               validation, tell left from right in the classes */
  float colour_jitter;      /* 0 to 1; default 0 */
  bool refit;               /* `val` was held back from the same pictures: where a class has fewer
                               than 100 in the mean, the method that was kept is trained once
                               more, on all of them; default false */
  uint64_t seed;            /* default 0 */
  size_t memory_limit;      /* bytes that the process may hold at its peak (resident set): what it
                               holds at the call, the plan's total, and 0.2 MB that stay free.
                               Refused where /proc does not tell what it holds; 0: none (default) */
  const char *spill_dir;    /* folder where a limit may put the feature cache and the best
                               values, into a file without a name; NULL: nowhere (default) */
  const volatile int *stop; /* training ends with TINYTL_INTERRUPTED once *stop is not 0;
                               NULL: never */
  tinytl_progress_fn progress; /* NULL: none */
  tinytl_skip_fn skip;         /* told of pictures that could not be read, on any of the run's
                                  threads, one at a time; NULL: nobody */
  void (*planned)(void *context, const tinytl_plan *plan); /* told before the run, under AUTO before
                                                              each method, with refit once more
                                                              before the second training; NULL:
                                                              nobody */
  void (*stepped)(void *context, const tinytl_auto_step *step);       /* under AUTO; NULL: nobody */
  void (*mirrored)(void *context, const tinytl_mirroring *mirroring); /* NULL: nobody */
  void (*reached)(void *context, const tinytl_reach *reach); /* told where it was tried; not again
                                                                where a run goes on after that;
                                                                NULL: nobody */
  /* Told, with refit, before the method that was kept is trained once more, on so many pictures;
   * NULL: nobody. */
  void (*refitting)(void *context, tinytl_method method, int n_images);
  /* Told where that came to nothing, and what the first training made is kept; NULL: nobody. */
  void (*refit_failed)(void *context, const char *reason);
  /* Called from the training thread to have the checkpoint written: every save_seconds, or more
   * seldom where that takes more than a hundredth of the time; when the run is stopped; and before
   * the adapter is made. A save that fails is for the callee to tell. NULL: nothing is saved. */
  void (*save)(void *context, const tinytl_checkpoint *checkpoint);
  float save_seconds;          /* 0: after every update; default 30 */
  const tinytl_source *resume; /* checkpoint to go on from; NULL: from the beginning (default). Its
                                  method and optimizer stand in for AUTO. Threads, memory limit and
                                  what it asks for may differ; all else must be the same */
  void (*resumed)(void *context, const tinytl_resumed *resumed); /* told before; NULL: nobody */
  void *context;                                                 /* of all the functions above */
  bool profile; /* fill the report's profile, which takes well under 1 % of the time; default
                   false */
};

void tinytl_train_options_init(tinytl_train_options *options);

/* The share of a folder's n_images training pictures to hold back for validation (`share` of
 * tinytl_folder_split) where options->refit is set: with m = n_images / n_classes pictures a class
 * 1 / sqrt(m), between 0.1, for m of 100 and more, and 0.4; with fewer than three 0, none, as too
 * few would be left to train on. n_images > 0, n_classes > 0. */
float tinytl_validation_share(int n_images, int n_classes);

typedef struct tinytl_train_report {
  int epochs;                   /* done */
  int best_epoch;               /* that was kept, counts from 1; with refit the adapter holds the
                                   last one's parameters */
  int train_images, val_images; /* that could be read; with refit the first include the latter */
  bool refit;                   /* the adapter was trained once more, on all pictures */
  int skipped_images;           /* of either that could not */
  float val_top1;               /* of the kept epoch, 0 to 1; NAN: no validation */
  float loss;                   /* of training in the kept epoch, in nats; 0: no epoch was done */
  tinytl_method method;         /* of the adapter; under AUTO all of the above are of this method */
  bool mirrors;                 /* whether it trained on mirrored pictures; with refit, at last */
  tinytl_plan plan;             /* what was chosen, and what it takes; under AUTO of the largest
                                   method that was tried */
  double seconds;
  double setup_seconds;     /* of these, before the first picture: planning, memory, threads */
  double images_per_second; /* training pictures through the network, over the whole run */
  tinytl_profile profile;   /* with options->profile; else zeros */
} tinytl_train_report;

/* Adapts the backbone to `train`. `val`, of the same classes in the same order (names may be NULL),
 * chooses the epoch: the latest one that is not worse than the best by more than one standard error
 * of its accuracy; and it sets the adapter's temperature and reject_below. NULL: the last epoch is
 * kept, with temperature 1. Rare classes weigh as much as common ones (docs/training.md).
 *
 * TINYTL_METHOD_AUTO trains TINYTL_METHOD_LAST, then BIAS, then LITE_BIAS from the biases of BIAS,
 * and goes on while a method is expected to gain half a point: by how much more probability it
 * gives to the right classes of `val` than the best before it, picture by picture, and the less
 * these tell, the more by what it gained on other sets. A method that does not fit in the memory
 * limit beside what is kept of the best, or that the backbone has no place for, is not tried; one
 * after LAST whose loss is not finite, or for which the limit has no room for any picture of a
 * class, is left. The options hold for every method; LAST must fit, whose features need room in
 * memory or, with spill_dir, in a file. Without `val` the largest method that fits is trained.
 *
 * With options->refit, and few pictures, the method that was kept is trained anew on both sets, for
 * all of its epochs; temperature, threshold and val_top1 stay those that `val` gave. Where it comes
 * to nothing, the adapter is that of the first training: where a loss or a value is not finite;
 * where the loss of the last epoch is above that of the first training's kept epoch by more than a
 * tenth of ln(classes), that of knowing nothing, and by more than half of what that one was below
 * it; where none of a class's pictures can be read any more. (Where a memory limit has no room for
 * that adapter beside the second training, it is a DATA error.)
 *
 * On success the caller owns *adapter; report may be NULL. Same seed, same bytes of adapter,
 * whatever the number of threads.
 * Errors: USAGE (options), DATA (fewer than two classes or more than 100,000, a class none of whose
 * training pictures can be read, no readable picture in `val` or other classes, loss not finite),
 * MODEL (lite methods on a backbone without inverted residuals; a checkpoint that is damaged, or of
 * another backbone or other pictures: one of other options is USAGE), MEMORY_LIMIT, INTERRUPTED,
 * INTERNAL (no memory, no thread, no file in spill_dir). */
tinytl_status tinytl_train(const tinytl_backbone *backbone, const tinytl_images *train,
                           const tinytl_images *val, const tinytl_train_options *options,
                           tinytl_adapter **adapter, tinytl_train_report *report,
                           tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
