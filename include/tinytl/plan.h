/* The memory of a training run, before it. */
#ifndef TINYTL_PLAN_H
#define TINYTL_PLAN_H

#include "adapter.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tinytl_optimizer {
  TINYTL_OPTIMIZER_ADAM,  /* 8 bytes of state a trained value */
  TINYTL_OPTIMIZER_SGD,   /* with momentum 0.9: 4 bytes */
  TINYTL_OPTIMIZER_ADAM8, /* Adam with its moments in 8 bits: 2 bytes */
  TINYTL_OPTIMIZER_AUTO   /* of a training run: Adam, with 8 bits where the memory limit asks */
} tinytl_optimizer;

/* "adam", "sgd", "adam8", "auto"; the reverse returns false for an unknown name. */
const char *tinytl_optimizer_name(tinytl_optimizer optimizer); /* NULL: no optimizer */
bool tinytl_optimizer_parse(const char *name, tinytl_optimizer *optimizer);

/* What a run takes, in bytes, beyond what the process held before it: all of it is known before
 * anything runs (docs/memory.md). */
typedef struct tinytl_plan {
  tinytl_method method; /* not TINYTL_METHOD_AUTO */
  tinytl_optimizer optimizer;
  int batch, image_size;
  /* None of the four changes what is learned. Recomputing and spilling are for a limit alone, which
   * lanes give way to first. */
  bool
      defers_gradients; /* those of large weights are made at the update, from a batch of factors */
  bool recomputes;      /* lite modules run forward twice instead of keeping their maps */
  bool spills;          /* feature cache and best values are in a file */
  int n_lanes;          /* pictures that run side by side, each on a thread of its own; 1: all
                           threads share one picture's work */

  size_t total_bytes;     /* the sum of those that follow */
  size_t frozen_bytes;    /* weights that are not trained */
  size_t trained_bytes;   /* values that are, and those that belong to them */
  size_t gradient_bytes;  /* and factors of deferred ones */
  size_t optimizer_bytes; /* moments */
  size_t kept_bytes;      /* best values, feature cache, order of the pictures */
  size_t picture_bytes;   /* decoding, and pictures decoded ahead */
  size_t saved_bytes;     /* at the peak step: kept from forward to backward */
  size_t map_bytes;       /* at the peak step: activations and their gradients */
  size_t scratch_bytes;   /* at the peak step: packed weights, strips, and gaps of the layout */
  size_t other_bytes;     /* stacks, tables, heap */
  char peak_step[64]; /* at which most of the three is alive, e.g. "layer 7 in block 2, forward" */

  size_t one_lane_bytes; /* the total if the same ran in one lane */
  size_t base_bytes;     /* what the process held at the call; not part of the total */
  size_t smallest_bytes; /* smallest memory_limit that would do for this method in a process that
                            holds base_bytes at the call; what it comes to hold later, as by
                            planning itself for the first time, adds to it */
  uint64_t paper_bytes;  /* by the paper's own model (TinyTL, section 4.1); 0 where it has none */
  uint64_t macs;         /* multiply-accumulates of one image, forward */
  uint64_t step_macs;    /* of one image's training step: forward, and what backward asks for */
} tinytl_plan;

typedef struct tinytl_train_options tinytl_train_options; /* train.h */

/* Plans a run over so many pictures without running it; n_val_images 0: no validation. Under AUTO
 * the plan is that of the largest method that may be tried. Errors:
 * USAGE, MODEL; MEMORY_LIMIT where options->memory_limit cannot be met: then *plan is that of the
 * smallest choice, and the message names the smallest limit. */
tinytl_status tinytl_plan_make(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               tinytl_plan *plan, tinytl_error *error);

/* *nbytes: the memory of training by the paper's own model (TinyTL, section 4.1), which counts
 * parameters and, for a whole batch, activations; neither gradients nor optimizer state nor the
 * process. method: not AUTO. image_size 0: the backbone's. as_in_tables: with lite modules under
 * every method, as in the paper's tables; else under those that train them, and where the backbone
 * has its own. Errors: USAGE, MODEL. */
tinytl_status tinytl_paper_bytes(const tinytl_backbone *backbone, tinytl_method method,
                                 int n_classes, int image_size, int batch, bool as_in_tables,
                                 uint64_t *nbytes, tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
