/* A network with a batch norm behind every convolution, trained from scratch on whole batches,
 * layer by layer. A backbone has no norms: they are folded into it at the end.
 *
 *   z = conv(input),  y = act(norm(z)) (+ y of an earlier layer) (+ the lite module's output)
 *
 * z is kept for backward. y is made again from it where that is the large map inside an inverted
 * residual; else it is kept too, as is its gradient. One block of memory holds it all:
 *
 *   norms, head, scratch, room of lite modules
 *   | z (y dy) of layer 0 | of layer 1 | ... | dy and y inside the last block
 *                         | dy and y inside an earlier block |
 *
 * What a lite module keeps lies behind its block's last layer.
 *
 * Without backward nothing is kept, and layers take turns in the same memory.
 *
 * What a block needs inside lies behind its last layer, where the later layers, which are not yet
 * or no longer in use then, have theirs. A network whose layers are fewer or smaller than another's
 * never takes more. */
#ifndef TINYTL_PRETRAIN_BATCH_NET_H
#define TINYTL_PRETRAIN_BATCH_NET_H

#include "model/backbone.h"
#include "model/batch_params.h"
#include "ops/ops.h"

/* Byte offsets in the block. */
typedef struct tinytl_batch_maps {
  size_t z, y, dy; /* y, dy of an inner layer: dy, and y that is made again, of the whole block */
} tinytl_batch_maps;

/* The network is large: allocate it. */
typedef struct tinytl_batch_net {
  const tinytl_arch *arch;
  int image_size, max_images;
  bool has_backward;
  tinytl_batch_params params;
  tinytl_conv conv[TINYTL_MAX_LAYERS], classifier;
  bool is_inner[TINYTL_MAX_LAYERS];  /* in a block, but not its last layer */
  int lite_after[TINYTL_MAX_LAYERS]; /* module whose block ends with the layer; -1: none */
  tinytl_batch_lite lite[TINYTL_MAX_LAYERS / 2];
  size_t lite_kept[TINYTL_MAX_LAYERS / 2], lite_room; /* byte offsets */
  tinytl_batch_maps maps[TINYTL_MAX_LAYERS];
  size_t mean, var, slope, offset;             /* [n_channels] */
  size_t features, dfeatures, logits, scratch; /* [images][n_features or n_classes] */
  size_t nbytes;
} tinytl_batch_net;

/* Shapes and layout for up to max_images pictures of this size; arch is borrowed. Error:
 * MEMORY_LIMIT (more than the address space). */
tinytl_status tinytl_batch_net_init(tinytl_batch_net *net, const tinytl_arch *arch, int image_size,
                                    int max_images, bool has_backward, tinytl_error *error);

/* Mean and variance of every channel, [n_channels] each. */
typedef struct tinytl_batch_statistics {
  float *mean, *var;
} tinytl_batch_statistics;

/* What forward and backward run on. */
typedef struct tinytl_batch_run {
  const tinytl_batch_net *net;
  tinytl_run run;                       /* its scratch is not read */
  unsigned char *block;                 /* net->nbytes, aligned to 64 */
  const float *values;                  /* [params.n] */
  const uint8_t *const *rgb;            /* [n_images] pictures [size][size][3] */
  int n_images;                         /* 1 to max_images */
  float input_scale[3], input_shift[3]; /* x = pixel * scale + shift */
} tinytl_batch_run;

/* Logits [n_images][n_classes] in the block, by these statistics; NULL: by the batch's own, which
 * backward wants. */
float *tinytl_batch_forward(const tinytl_batch_run *b, const tinytl_batch_statistics *given);
/* Of the latest forward. */
tinytl_batch_statistics tinytl_batch_own_statistics(const tinytl_batch_run *b);
/* running += share * (those of the latest forward, of n_images on all ranks - running); the
 * variance as it is estimated for all pictures, by one less than were seen (as PyTorch's). */
void tinytl_batch_blend_statistics(const tinytl_batch_run *b, int n_images, float share,
                                   const tinytl_batch_statistics *running);
float *tinytl_batch_features(const tinytl_batch_run *b); /* [n_images][n_features] */
/* After forward, and after the logits were made their own gradient: adds to gradient [params.n]. */
void tinytl_batch_backward(const tinytl_batch_run *b, float *gradient);

/* Folds the norms with these statistics into weights and, in the place of their shifts, biases, and
 * points the backbone's at them and the classifier. */
void tinytl_batch_fold(const tinytl_batch_net *net, const tinytl_batch_statistics *statistics,
                       float *values, tinytl_backbone *folded);

#endif
