/* One image's work as a list of steps over planned buffers: forward, head and, for training,
 * backward. Built once; running it allocates nothing.
 *
 * What lives how long (f: forward steps, h: head, b: backward steps, in order):
 *
 *   output of layer i      from its step to the last step of f that reads it
 *   ReLU mask of layer i   from its step to its step in b, one bit an element
 *   lite module m          pooled input (if its weights train) and normalised maps, from f to b
 *   gradient of output i   from the first step of b that adds to it to layer i's own step
 *   scratch                one step
 *
 * Frozen convolutions keep no input: that is the point of the method (TinyTL, section 3.1). */
#ifndef TINYTL_TRAIN_PROGRAM_H
#define TINYTL_TRAIN_PROGRAM_H

#include "core/arena.h"
#include "train/params.h"

typedef enum tinytl_goal {
  TINYTL_GOAL_FEATURES, /* the pooled feature vector */
  TINYTL_GOAL_LOGITS,   /* and the classifier */
  TINYTL_GOAL_TRAIN     /* and loss and gradients */
} tinytl_goal;

typedef enum tinytl_step_kind {
  TINYTL_STEP_CONV,
  TINYTL_STEP_LITE,
  TINYTL_STEP_POOL,
  TINYTL_STEP_HEAD,
  TINYTL_STEP_POOL_BACKWARD,
  TINYTL_STEP_SHORTCUT_BACKWARD,
  TINYTL_STEP_EPILOGUE_BACKWARD,
  TINYTL_STEP_CONV_BACKWARD,
  TINYTL_STEP_LITE_BACKWARD,     /* to the gradient of the module's pooled input */
  TINYTL_STEP_LITE_POOL_BACKWARD /* and from there into the block's input */
} tinytl_step_kind;

/* Buffers are indices into tinytl_program.buffers, -1: none. In backward steps x and y stand for
 * their gradients. */
typedef struct tinytl_step {
  tinytl_step_kind kind;
  int index; /* layer, or lite module */
  int x, y, residual, mask, scratch;
  bool accumulate; /* backward: x holds a gradient already */
} tinytl_step;

/* Buffers of a lite module. */
typedef struct tinytl_lite_buffers {
  int pooled, x_hat1, rstd1, x_hat2, rstd2;
  int relu, out;                          /* forward only */
  int relu_again, d_mid, d_out, d_pooled; /* backward only; relu_again: computed from x_hat1 */
} tinytl_lite_buffers;

typedef struct tinytl_program {
  int n_steps, n_buffers;
  tinytl_step *steps;
  tinytl_buffer *buffers;
  tinytl_lite_buffers lite[TINYTL_MAX_LAYERS / 2];
  int features, logits, d_features; /* buffers */
  size_t nbytes;                    /* of the arena */
} tinytl_program;

/* For TINYTL_GOAL_TRAIN, params says what is trained; otherwise it is NULL. */
tinytl_status tinytl_program_create(const tinytl_network *network, const tinytl_params *params,
                                    tinytl_goal goal, const tinytl_kernels *kernels,
                                    tinytl_program **program, tinytl_error *error);
void tinytl_program_free(tinytl_program *program); /* NULL is allowed */

/* What the head needs to know of the image it trains on. */
typedef struct tinytl_target {
  int label;
  float label_smoothing, dropout;
  uint64_t seed, epoch, image; /* of the dropout */
} tinytl_target;

/* A program at work in one block of memory. */
typedef struct tinytl_machine {
  const tinytl_network *network;
  const tinytl_program *program;
  const tinytl_gradients *gradients; /* TINYTL_GOAL_TRAIN */
  unsigned char *arena;              /* [program->nbytes], aligned to TINYTL_ARENA_ALIGN */
  tinytl_run run;
} tinytl_machine;

/* Runs all steps on rgb [image_size][image_size][3]. Returns the loss for TINYTL_GOAL_TRAIN, else
 * 0; gradients are added to. target may be NULL otherwise. */
float tinytl_machine_run(tinytl_machine *machine, const uint8_t *rgb, const tinytl_target *target);

/* Buffers after a run; valid until the next one. */
float *tinytl_machine_features(const tinytl_machine *machine);
float *tinytl_machine_logits(const tinytl_machine *machine);

/* The head alone, on a feature vector that is changed (dropout). d_features NULL: not wanted. */
float tinytl_head_train(const tinytl_run *run, const tinytl_network *network,
                        const tinytl_gradients *gradients, const tinytl_target *target,
                        float *features, float *logits, float *d_features);

#endif
