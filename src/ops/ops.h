/* The operators, forward and backward, on one image. Activations are [height][width][channel].
 * Every operator may use the scratch of `run`; its *_scratch function says how much, in bytes, and
 * the answer does not depend on the number of threads. None of them allocates. Results do not
 * depend on the number of threads. dx is overwritten unless said; parameter gradients are added to.
 */
#ifndef TINYTL_OPS_H
#define TINYTL_OPS_H

#include "core/parallel.h"
#include "core/ranks.h"
#include "kernels/kernels.h"
#include "model/tensors.h"

/* What an operator runs on. */
typedef struct tinytl_run {
  const tinytl_kernels *kernels;
  tinytl_pool *pool; /* NULL: one thread */
  void *scratch;     /* aligned to 64 */
  /* Of batch norm: the batch is that of all ranks together. NULL: of one */
  tinytl_ranks *ranks;
  /* Of images side by side, whose gradients are added up in order: an operator adds to one when
   * *turn has come to turn_at. NULL: at once */
  const atomic_int *turn;
  int turn_at;
} tinytl_run;

/* What an operator does before it first adds to a gradient: everything else needs no order. */
static inline void tinytl_await_turn(const tinytl_run *run) {
  if (run->turn) tinytl_count_wait(run->turn, run->turn_at);
}

/* ---- Convolution (conv*.c, depthwise*.c) ----------------------------------------------------- */

typedef struct tinytl_conv {
  int in_h, in_w, in_c, out_h, out_w, out_c;
  int kernel, stride, groups; /* groups: any divisor of in_c and out_c; = in_c = out_c: depthwise */
  int pad_top, pad_left;      /* what reaches past the other edges is zeros too */
} tinytl_conv;

tinytl_conv tinytl_conv_make(int in_h, int in_w, int in_c, int out_c, int kernel, int stride,
                             int groups, tinytl_pad pad);

/* Of the output. */
static inline int tinytl_conv_n_pixels(const tinytl_conv *conv) {
  return conv->out_h * conv->out_w;
}

/* Multiply-accumulates of a convolution; the gradients of its input and of its weights take as many
 * each. */
uint64_t tinytl_conv_macs(const tinytl_conv *conv);

/* After the sum: bias, activation, shortcut. */
typedef struct tinytl_epilogue {
  const float *bias; /* [out_c]; NULL: none (then act NONE and mask NULL) */
  tinytl_act act;
  const float *residual; /* [out_h][out_w][out_c], added after the activation; NULL: none */
  uint8_t *mask;         /* [out_h * out_w][ceil(out_c / 8)], one bit an element; NULL: not kept */
} tinytl_epilogue;

/* y = epilogue(conv(x)). x may be float or, for the network's first layer, 8-bit RGB with
 * x = pixel * input_scale[c] + input_shift[c] (padding is 0 after that map). y overlaps nothing. */
size_t tinytl_conv_forward_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels);
void tinytl_conv_forward(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                         const tinytl_epilogue *epilogue, const float *x, float *y);
void tinytl_conv_forward_rgb(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                             const tinytl_epilogue *epilogue, const uint8_t *rgb,
                             const float input_scale[3], const float input_shift[3], float *y);
/* dx = conv^T(dy); with accumulate, dx += conv^T(dy). */
size_t tinytl_conv_backward_input_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels);
void tinytl_conv_backward_input(const tinytl_run *run, const tinytl_conv *conv,
                                const tinytl_weight *w, const float *dy, float *dx,
                                bool accumulate);
/* dw += the gradient of the weights, layout as the weights. x as in forward. */
size_t tinytl_conv_backward_weight_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels);
void tinytl_conv_backward_weight(const tinytl_run *run, const tinytl_conv *conv, const float *x,
                                 const float *dy, float *dw);
size_t tinytl_conv_backward_weight_rgb_scratch(const tinytl_conv *conv);
void tinytl_conv_backward_weight_rgb(const tinytl_run *run, const tinytl_conv *conv,
                                     const uint8_t *rgb, const float input_scale[3],
                                     const float input_shift[3], const float *dy, float *dw);
/* dgain [out_c] += the gradient of the weights' gain: for every output channel the sum of dw * w.
 * dw: what the two above give on zeros. w->gain is not read. */
void tinytl_conv_backward_gain(const tinytl_run *run, const tinytl_conv *conv,
                               const tinytl_weight *w, const float *dw, float *dgain);
/* Through the epilogue: dy is masked in place, dbias [out_c] (NULL: frozen) is added to. */
size_t tinytl_epilogue_backward_scratch(int n_pixels, int channels);
void tinytl_epilogue_backward(const tinytl_run *run, int n_pixels, int channels,
                              const uint8_t *mask, float *dy, float *dbias);

/* ---- Convolution over a batch (conv_batch.c) ------------------------------------------------- */

/* The same on n_images that follow each other, with float weights and without an epilogue; rgb
 * [n_images]: pictures [in_h][in_w][3].
 * The scratch is never less for more images. */
size_t tinytl_batch_conv_forward_scratch(const tinytl_conv *conv, int n_images,
                                         const tinytl_kernels *kernels);
size_t tinytl_batch_conv_scratch(const tinytl_conv *conv, int n_images,
                                 const tinytl_kernels *kernels); /* of all of them */
void tinytl_batch_conv_forward(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                               const float *w, const float *x, float *y);
void tinytl_batch_conv_forward_rgb(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                   const float *w, const uint8_t *const *rgb,
                                   const float input_scale[3], const float input_shift[3],
                                   float *y);
void tinytl_batch_conv_backward_input(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                      const float *w, const float *dy, float *dx, bool accumulate);
void tinytl_batch_conv_backward_weight(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                       const float *x, const float *dy, float *dw);
void tinytl_batch_conv_backward_weight_rgb(const tinytl_run *run, const tinytl_conv *conv,
                                           int n_images, const uint8_t *const *rgb,
                                           const float input_scale[3], const float input_shift[3],
                                           const float *dy, float *dw);

/* ---- Inverted residual row by row (inverted_residual.c) -------------------------------------- */

/* A layer of a block that runs row by row. */
typedef struct tinytl_block_layer {
  const tinytl_conv *conv; /* NULL: the block has no such layer */
  const tinytl_weight *weight;
  const float *bias; /* NULL: none (then act NONE and mask NULL) */
  tinytl_act act;
  uint8_t
      *mask;    /* forward writes, backward reads, as tinytl_epilogue's; NULL: not kept, all pass */
  float *dbias; /* backward adds to it; NULL: frozen */
} tinytl_block_layer;

/* Expand, depthwise, project as one operator: y, masks and dx are those of the three convolutions
 * one after the other, bit for bit, but the maps between them exist only as a few rows. The weights
 * of both 1x1 layers are packed whole: meant for large maps, which have few channels. */
typedef struct tinytl_fused_block {
  tinytl_block_layer expand; /* pointwise; conv NULL: depthwise reads the block's input. With rgb,
                                the network's first convolution, of any kernel and stride */
  tinytl_block_layer depthwise;
  tinytl_block_layer project; /* pointwise */
  const uint8_t *rgb;         /* NULL: x is the input */
  float input_scale[3], input_shift[3];
  int n_threads; /* that share the rows, each with some of its own in scratch */
} tinytl_fused_block;

/* y = project(depthwise(expand(x))), residual [out_h][out_w][out_c] (NULL: none) added last. y
 * overlaps nothing. With rgb, x is not read. *_scratch read the shapes (conv) and n_threads. */
size_t tinytl_fused_block_forward_scratch(const tinytl_fused_block *block,
                                          const tinytl_kernels *kernels);
void tinytl_fused_block_forward(const tinytl_run *run, const tinytl_fused_block *block,
                                const float *x, const float *residual, float *y);
/* dy: the gradient of project's sum, that is after tinytl_epilogue_backward of project; only read.
 * dx (NULL: not wanted, and always with rgb) is overwritten, or added to with accumulate. */
size_t tinytl_fused_block_backward_scratch(const tinytl_fused_block *block,
                                           const tinytl_kernels *kernels);
void tinytl_fused_block_backward(const tinytl_run *run, const tinytl_fused_block *block,
                                 const float *dy, float *dx, bool accumulate);

/* ---- Group norm (group_norm.c) ------------------------------------------------------------- */

/* In the method's published code lite modules take over the eps of the batch norms of ProxylessNAS,
 * which is this one; PyTorch's default is 1e-5. */
#define TINYTL_GROUP_NORM_EPS 1e-3f

/* x_hat = (x - mean) / sqrt(var + eps) over a group's 8 channels and all pixels (Wu and He, 2018);
 * the last group may be smaller. In place: x becomes x_hat; rstd [n_groups] is kept for backward.
 * channels up to TINYTL_MAX_CHANNELS. */
int tinytl_group_norm_n_groups(int channels);
void tinytl_group_norm_forward(const tinytl_run *run, int n_pixels, int channels, float *x,
                               float *rstd);
/* y = act(x_hat * scale + shift). */
void tinytl_scale_shift_forward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *scale, const float *shift,
                                tinytl_act act, float *y);
/* From dy, the gradient of y of the two above: masks dy by where act lets y through first (y
 * recomputed from x_hat); dscale, dshift (each may be NULL: frozen) are added to; dy becomes dx in
 * place. */
void tinytl_group_norm_backward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *rstd, const float *scale,
                                const float *shift, tinytl_act act, float *dy, float *dscale,
                                float *dshift);

/* ---- Batch norm (batch_norm.c) ------------------------------------------------------------- */

/* That of ProxylessNAS and once-for-all (format/families.c), whose super-net this trains; PyTorch's
 * default is 1e-5. */
#define TINYTL_BATCH_NORM_EPS 1e-3f

/* Over the n_pixels of all images of a batch together. Mean and (biased) variance of each channel
 * are found by _statistics; whatever they are, _fold makes them one slope and offset a channel:
 *   act((x - mean) / sqrt(var + eps) * scale + shift) = act(x * slope + offset) */
typedef struct tinytl_batch_norm {
  const float *mean, *var;     /* [channels]; for backward alone */
  const float *slope, *offset; /* [channels] */
  tinytl_act act;
} tinytl_batch_norm;
size_t tinytl_batch_norm_scratch(int channels);
void tinytl_batch_norm_statistics(const tinytl_run *run, int n_pixels, int channels, const float *x,
                                  float *mean, float *var);
void tinytl_batch_norm_fold(int channels, const float *mean, const float *var, const float *scale,
                            const float *shift, float *slope, float *offset);
/* residual (NULL: none) is added after the activation. */
void tinytl_batch_norm_forward(const tinytl_run *run, int n_pixels, int channels,
                               const tinytl_batch_norm *norm, const float *x, const float *residual,
                               float *y);
/* Where the statistics are those of x: dy becomes dx in place; dscale, dshift are added to, by the
 * first rank for all. */
void tinytl_batch_norm_backward(const tinytl_run *run, int n_pixels, int channels,
                                const tinytl_batch_norm *norm, const float *x, float *dy,
                                float *dscale, float *dshift);

/* ---- Pooling and upsampling (pool.c, upsample.c) ------------------------------------------- */

/* Average pool 2x2 stride 2, floor (an odd last row or column is dropped); a side of 1 stays 1. */
int tinytl_avg_pool2_out(int in);
void tinytl_avg_pool2_forward(const tinytl_run *run, int h, int w, int channels, const float *x,
                              float *y);
/* dx += */
void tinytl_avg_pool2_backward(const tinytl_run *run, int h, int w, int channels, const float *dy,
                               float *dx);
/* y [channels] = mean over pixels; backward overwrites dx. */
void tinytl_global_pool_forward(const tinytl_run *run, int n_pixels, int channels, const float *x,
                                float *y);
void tinytl_global_pool_backward(const tinytl_run *run, int n_pixels, int channels, const float *dy,
                                 float *dx);
/* Bilinear, align_corners false, as PyTorch's interpolate. y += upsample(x). */
void tinytl_upsample_forward(const tinytl_run *run, int in_h, int in_w, int out_h, int out_w,
                             int channels, const float *x, float *y);
/* dx = upsample^T(dy), overwritten. */
void tinytl_upsample_backward(const tinytl_run *run, int in_h, int in_w, int out_h, int out_w,
                              int channels, const float *dy, float *dx);

/* ---- Lite residual module (lite_batch.c: over a batch) -----------------------------------------
 */

/* Shapes of a lite residual module's maps: pooled -> mid (convolution, norm, ReLU) -> out
 * (pointwise, norm) -> upsampled to the block's output. */
typedef struct tinytl_lite_conv {
  tinytl_conv conv, pointwise;
} tinytl_lite_conv;
/* Beside a block whose input has these sides. */
tinytl_lite_conv tinytl_lite_conv_make(const tinytl_lite *lite, int in_h, int in_w);

typedef struct tinytl_batch_lite {
  int in_h, in_w, out_h, out_w; /* of the block's input and output */
  tinytl_conv conv, pointwise;
} tinytl_batch_lite;

/* Beside the block that goes from the input of convolution `first` to the output of `last`. */
tinytl_batch_lite tinytl_batch_lite_make(const tinytl_lite *lite, const tinytl_conv *first,
                                         const tinytl_conv *last);

/* Of one image: what forward keeps for backward, and what either of them needs for itself. */
size_t tinytl_batch_lite_kept_floats(const tinytl_batch_lite *lite);
size_t tinytl_batch_lite_room_floats(const tinytl_batch_lite *lite);
typedef struct tinytl_batch_lite_maps {
  float *kept, *room; /* of all images */
} tinytl_batch_lite_maps;
/* Enough for the module with smaller kernels and up to 4 groups, too. */
size_t tinytl_batch_lite_scratch(const tinytl_batch_lite *lite, int n_images,
                                 const tinytl_kernels *kernels);
/* y [out_h][out_w][out_c] of n_images += the module's output for x [in_h][in_w][in_c]. */
void tinytl_batch_lite_forward(const tinytl_run *run, const tinytl_batch_lite *lite, int n_images,
                               const tinytl_lite_values *values, const tinytl_batch_lite_maps *maps,
                               const float *x, float *y);
/* dx and the gradients of the values are added to; dy is only read. */
void tinytl_batch_lite_backward(const tinytl_run *run, const tinytl_batch_lite *lite, int n_images,
                                const tinytl_lite_values *values,
                                const tinytl_batch_lite_maps *maps, const float *dy, float *dx,
                                float *const gradient[TINYTL_LITE_TENSORS]);

/* ---- Classifier and loss (linear.c, softmax.c) --------------------------------------------- */

/* y [out] = w [out][in] x + bias. */
void tinytl_linear_forward(const tinytl_run *run, int in, int out, const tinytl_weight *w,
                           const float *bias, const float *x, float *y);
/* dw, dbias added to; dx overwritten. Each may be NULL: not wanted. w is read for dx alone. */
void tinytl_linear_backward(const tinytl_run *run, int in, int out, const float *w, const float *x,
                            const float *dy, float *dw, float *dbias, float *dx);
/* In place: logits become probabilities. */
void tinytl_softmax(int n, float *logits);
/* Softmax cross entropy with label smoothing e: target (1 - e) [label] + e / n (Szegedy 2016).
 * Returns the loss; logits become their gradient times `weight`. Not finite in, not finite out. */
float tinytl_cross_entropy(int n, int label, float smoothing, float weight, float *logits);
/* Inverted dropout: keeps x[i] / (1 - rate) or 0. The same key gives the same choice, so backward
 * calls it on the gradient. */
void tinytl_dropout(float *x, int n, float rate, uint64_t seed, uint64_t epoch, uint64_t image);

#endif
