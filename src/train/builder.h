/* A program in the making: program_forward.c and program_backward.c append the steps to it, of
 * which builder.c makes the buffers. */
#ifndef TINYTL_TRAIN_BUILDER_H
#define TINYTL_TRAIN_BUILDER_H

#include "train/program.h"

typedef struct tinytl_builder {
  const tinytl_network *network;
  const tinytl_kernels *kernels;
  tinytl_program *program;
  bool overflow;
  int output[TINYTL_MAX_LAYERS]; /* buffer of the layer's final output */
  int mask[TINYTL_MAX_LAYERS];
  int gradient[TINYTL_MAX_LAYERS];    /* buffer of the gradient of that output; -1: none yet */
  int fused_last[TINYTL_MAX_LAYERS];  /* last layer of the fused block that begins here; -1: none */
  int fused_first[TINYTL_MAX_LAYERS]; /* first layer of the fused block that ends here; -1: none */
  int again_first[TINYTL_MAX_LAYERS]; /* first layer of the block that ends here, the inside of
                                         which backward computes again; -1: none */
  bool inside[TINYTL_MAX_LAYERS];     /* the layer's output is inside such a block */
  bool trains_bias, trains_lite;
  bool trains_gain;
  bool trains_conv; /* weights of convolutions, or gains, whose gradient goes by that of the
                       weights: backward asks for the convolutions' inputs */
  bool reached[TINYTL_MAX_LAYERS]; /* something trained lies at the layer's output or before it */
} tinytl_builder;

/* New buffers, whose life begins at the step that is being built. */
int tinytl_builder_map(tinytl_builder *b, int n_pixels, int channels);
int tinytl_builder_saved(tinytl_builder *b, int n_pixels, int channels);
/* One bit an element of layer i's output; -1 where backward will not ask for it. */
int tinytl_builder_mask(tinytl_builder *b, int i, tinytl_purpose purpose);
int tinytl_builder_scratch(tinytl_builder *b, size_t nbytes); /* -1: for 0 bytes */
/* Prolongs a buffer's life to the step that is being built; -1 is allowed. */
void tinytl_builder_use(tinytl_builder *b, int buffer);
/* A step that has no buffers yet. index: layer or lite module; 0 for the network's head. */
static inline tinytl_step tinytl_builder_step(tinytl_step_kind kind, int index) {
  return (tinytl_step){.kind = kind,
                       .index = index,
                       .x = -1,
                       .y = -1,
                       .residual = -1,
                       .mask = -1,
                       .scratch = -1,
                       .expand = -1,
                       .mask_expand = -1};
}
/* The step ends here: its buffers other than x, y, residual and masks, which it uses, must have
 * been made or used. */
void tinytl_builder_end_step(tinytl_builder *b, tinytl_step step);

/* The layer of layers [first, last] of a fused block that widens; -1: none. */
static inline int tinytl_builder_expand_of(int first, int last) {
  return first < last - 1 ? first : -1;
}
tinytl_fused_block tinytl_builder_fused_shape(const tinytl_builder *b, int first, int last);

/* Maps of module m behind its pooled input; `make`: tinytl_builder_saved where backward reads them,
 * else tinytl_builder_map. */
void tinytl_builder_lite_maps(tinytl_builder *b, int m, int (*make)(tinytl_builder *, int, int),
                              tinytl_lite_maps *maps);
size_t tinytl_builder_lite_scratch(const tinytl_builder *b, int m);

/* Forward and, but for TINYTL_GOAL_FEATURES, the head. */
void tinytl_build_forward(tinytl_builder *b, const tinytl_program_options *options);
void tinytl_build_backward(tinytl_builder *b);

#endif
