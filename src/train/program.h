/* One image's work as a list of steps over planned buffers: forward, head and, for training,
 * backward. Built once; running it allocates nothing.
 *
 * What lives how long (f: forward steps, h: head, b: backward steps, in order):
 *
 *   output of layer i      from its step to the last step of f that reads it
 *   ReLU mask of layer i   from its step to its step in b, one bit an element
 *   lite module m          pooled input (if its weights train) and normalised maps, from f to b;
 *                          where they are recomputed: the pooled input alone
 *   gradient of output i   from the first step of b that adds to it to layer i's own step
 *   scratch                one step
 *
 * Frozen convolutions keep no input: that is the point of the method (TinyTL, section 3.1). Where
 * convolutions are trained, the outputs between blocks live from f to b, and b computes what is
 * inside a block again (docs/memory.md).
 * Inverted residuals with large maps inside are one step, whose inner maps exist row by row
 * only. */
#ifndef TINYTL_TRAIN_PROGRAM_H
#define TINYTL_TRAIN_PROGRAM_H

#include "core/arena.h"
#include "train/gradients.h"

typedef enum tinytl_goal {
  TINYTL_GOAL_FEATURES, /* the pooled feature vector */
  TINYTL_GOAL_LOGITS,   /* and the classifier */
  TINYTL_GOAL_TRAIN     /* and loss and gradients */
} tinytl_goal;

typedef enum tinytl_step_kind {
  TINYTL_STEP_CONV,
  TINYTL_STEP_BLOCK, /* a fused inverted residual */
  TINYTL_STEP_LITE,
  TINYTL_STEP_POOL,
  TINYTL_STEP_HEAD,
  TINYTL_STEP_POOL_BACKWARD,
  TINYTL_STEP_SHORTCUT_BACKWARD,
  TINYTL_STEP_EPILOGUE_BACKWARD,
  TINYTL_STEP_CONV_AGAIN, /* forward, inside a block, while backward */
  TINYTL_STEP_WEIGHT_BACKWARD,
  TINYTL_STEP_CONV_BACKWARD,
  TINYTL_STEP_BLOCK_BACKWARD,
  TINYTL_STEP_LITE_BACKWARD,     /* to the gradient of the module's pooled input */
  TINYTL_STEP_LITE_POOL_BACKWARD /* and from there into the block's input */
} tinytl_step_kind;

/* Buffers are indices into tinytl_program.buffers, -1: none. In backward steps x and y stand for
 * their gradients. */
typedef struct tinytl_step {
  tinytl_step_kind kind;
  int index; /* layer (of a fused block: the projection), or lite module */
  int x, y, residual, mask, scratch;
  int expand;      /* fused block: layer that widens, 0: the network's first; -1: none */
  int mask_expand; /* fused block: its mask; `mask` is that of the depthwise layer */
  bool accumulate; /* backward: x holds a gradient already */
} tinytl_step;

/* Buffers of a lite module's maps, from its pooled input on. */
typedef struct tinytl_lite_maps {
  int pooled, x_hat1, rstd1, relu, x_hat2, rstd2;
} tinytl_lite_maps;

typedef struct tinytl_lite_buffers {
  tinytl_lite_maps forward;
  tinytl_lite_maps backward; /* the same where they were kept; others where they are recomputed */
  int out;                   /* forward only */
  int d_mid, d_out, d_pooled;
} tinytl_lite_buffers;

/* What a buffer is for. */
typedef enum tinytl_purpose {
  TINYTL_PURPOSE_MAP,    /* activations, gradients, vectors of the head */
  TINYTL_PURPOSE_SAVED,  /* kept from forward to backward */
  TINYTL_PURPOSE_SCRATCH /* of one step */
} tinytl_purpose;
enum { TINYTL_N_PURPOSES = TINYTL_PURPOSE_SCRATCH + 1 };

typedef struct tinytl_program {
  int n_steps, n_buffers;
  tinytl_step *steps;
  tinytl_buffer *buffers;
  tinytl_purpose *purposes; /* [n_buffers] */
  tinytl_lite_buffers lite[TINYTL_MAX_LAYERS / 2];
  int features, logits, d_features; /* buffers */
  int head;                         /* its step; n_steps: has none */
  bool trains, trains_lite;         /* what backward makes: any gradients, those of lite modules */
  bool recompute;                   /* lite modules run forward again in backward */
  int n_threads;                    /* as of the options */
  size_t nbytes;                    /* of the arena */
} tinytl_program;

/* Inverted residuals that run row by row (ops/inverted_residual.c). */
typedef enum tinytl_fusing {
  TINYTL_FUSE_LARGE, /* those with large maps, where rows need less */
  TINYTL_FUSE_NONE,
  TINYTL_FUSE_ALL
} tinytl_fusing;

typedef struct tinytl_program_options {
  tinytl_goal goal;
  bool recompute; /* lite modules keep their pooled input alone, and compute the rest again */
  int n_threads;  /* that share an operator: in lanes, 1 */
  tinytl_fusing fusing;
} tinytl_program_options;

/* For TINYTL_GOAL_TRAIN, params says what is trained; otherwise it is NULL. */
tinytl_status tinytl_program_create(const tinytl_network *network, const tinytl_params *params,
                                    const tinytl_program_options *options,
                                    const tinytl_kernels *kernels, tinytl_program **program,
                                    tinytl_error *error);
void tinytl_program_free(tinytl_program *program); /* NULL is allowed */
/* Most bytes of heap that a program of so many layers and lite modules takes while it is made. */
size_t tinytl_program_heap_nbytes(int n_layers, int n_lite);

/* The step at which most bytes are alive, and how they divide by purpose. */
typedef struct tinytl_program_peak {
  int step;
  size_t nbytes[TINYTL_N_PURPOSES];
} tinytl_program_peak;
tinytl_program_peak tinytl_program_find_peak(const tinytl_program *program);
/* Names a step for people, e.g. "block 3, row by row, backward". */
void tinytl_program_name_step(const tinytl_program *program, const tinytl_network *network,
                              int step, char *name, size_t size);

/* What the head needs to know of the image it trains on. */
typedef struct tinytl_target {
  int label;
  float weight; /* of its gradient */
  float label_smoothing, dropout;
  uint64_t seed, epoch, image; /* of the dropout */
} tinytl_target;

typedef struct tinytl_stopwatch tinytl_stopwatch; /* train/profile.h */

/* A program at work in one block of memory. */
typedef struct tinytl_machine tinytl_machine;
struct tinytl_machine {
  const tinytl_network *network;
  const tinytl_program *program;
  const tinytl_gradients *gradients; /* TINYTL_GOAL_TRAIN */
  int slot;                          /* of the image in its batch, for deferred gradients */
  unsigned char *arena;              /* [program->nbytes], aligned to TINYTL_ARENA_ALIGN */
  tinytl_run run;
  tinytl_stopwatch *watch; /* NULL: time is not measured */
  atomic_int *n_done;      /* steps so far, for run.turn of the next image; NULL: nobody asks */
};

/* Runs all steps on rgb [image_size][image_size][3]. Returns the loss for TINYTL_GOAL_TRAIN, else
 * 0; gradients are added to. target may be NULL otherwise. */
float tinytl_machine_run(tinytl_machine *machine, const uint8_t *rgb, const tinytl_target *target);

/* Lanes: machines of one program that run side by side. Trainers, and whoever predicts, have room
 * for so many; nothing was measured with more (docs/performance.md, "More threads"). */
enum { TINYTL_MAX_LANES = 16 };

/* An image for one of several machines. */
typedef struct tinytl_job {
  const uint8_t *rgb;   /* as above */
  tinytl_target target; /* for TINYTL_GOAL_TRAIN */
  float loss;           /* of the run */
} tinytl_job;

/* Runs job i on machine i, 0 to n - 1, all of one program, which differ in arena: each on a thread
 * of the pool, or where there is one alone, it on all threads. Not for TINYTL_GOAL_TRAIN. */
void tinytl_machines_run(tinytl_machine *machines, tinytl_job *jobs, int n, tinytl_pool *pool);

/* Images to train on. Its functions are called from the machines' threads, one at a time. */
typedef struct tinytl_feed {
  /* Fills the next job, which will be this machine's, and sets the machine's slot. False: there is
   * none, and it is not called again. */
  bool (*next)(void *context, int machine, tinytl_job *job);
  /* With its loss; in the order of the images. */
  void (*done)(void *context, int machine, const tinytl_job *job);
  void *context;
} tinytl_feed;

/* Trains on all images of the feed with n machines of one program, at most TINYTL_MAX_LANES, side
 * by side as above: each takes the next image when it is done with one. Gradients are added to in
 * the order of the images, so that the sums are those of one machine, to the bit. */
void tinytl_machines_train(tinytl_machine *machines, int n, const tinytl_feed *feed,
                           tinytl_pool *pool);

/* Buffers after a run; valid until the next one. */
float *tinytl_machine_features(const tinytl_machine *machine);
float *tinytl_machine_logits(const tinytl_machine *machine);

/* The head alone, on a feature vector that is changed (dropout). d_features NULL: not wanted. */
float tinytl_head_train(const tinytl_run *run, const tinytl_network *network,
                        const tinytl_gradients *gradients, int slot, const tinytl_target *target,
                        float *features, float *logits, float *d_features);

#endif
