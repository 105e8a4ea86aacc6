/* The architecture: a chain of convolutions with shortcuts, grouped into inverted residual blocks,
 * and the lite residual modules beside them. */
#ifndef TINYTL_MODEL_ARCH_H
#define TINYTL_MODEL_ARCH_H

#include "core/status.h"
#include "tinytl/ranges.h"

enum {
  TINYTL_MAX_LAYERS = 512,
  TINYTL_MAX_CHANNELS = 16384,
  TINYTL_MAX_KERNEL = 11,
  TINYTL_GROUP_NORM_CHANNELS = 8 /* channels a group (TinyTL, section 4.1) */
};

typedef enum tinytl_act { TINYTL_ACT_NONE, TINYTL_ACT_RELU, TINYTL_ACT_RELU6 } tinytl_act;

typedef enum tinytl_pad {
  TINYTL_PAD_SYMMETRIC, /* (kernel - 1) / 2 on every side, as PyTorch */
  TINYTL_PAD_SAME       /* output ceil(in / stride), the smaller half first, as TensorFlow */
} tinytl_pad;

/* One convolution with bias and activation. groups is 1 (dense; pointwise when kernel is 1) or
 * equal to in_c and out_c (depthwise). */
typedef struct tinytl_layer {
  int in_c, out_c, kernel, stride, groups;
  tinytl_act act;
  tinytl_pad pad;
  int add; /* index of an earlier layer whose final output is added to this one's after its
              activation; -1: none */
} tinytl_layer;

/* An inverted residual: [pointwise expand] -> depthwise -> pointwise project without activation.
 * Its input is the final output of layer `first - 1`, its output that of `last`. */
typedef struct tinytl_block {
  int first, last; /* layers, inclusive: 2 or 3 of them */
  int in_c, out_c, stride;
} tinytl_block;

/* A lite residual module beside block `block` (reference: TinyTL, section 3.2, figure 2c). */
typedef struct tinytl_lite {
  int block;
  int in_c, mid_c, out_c, kernel, groups, stride;
} tinytl_lite;

typedef struct tinytl_arch {
  char name[64];
  int n_layers, n_blocks, n_lite;
  tinytl_layer layers[TINYTL_MAX_LAYERS];
  tinytl_block blocks[TINYTL_MAX_LAYERS / 2]; /* found by tinytl_arch_finish */
  tinytl_lite lite[TINYTL_MAX_LAYERS / 2];    /* in order of their blocks */
  int n_features;                             /* out_c of the last layer */
  int n_classes;                              /* of the backbone's own classifier; 0: none */
} tinytl_arch;

/* Output size and leading padding of one side of a convolution. out is ceil(in / stride); under
 * symmetric padding the kernel must be odd for that. */
typedef struct tinytl_span {
  int out, pad;
} tinytl_span;
tinytl_span tinytl_conv_span(int in, int kernel, int stride, tinytl_pad pad);

/* Checks every field of the layers (ranges, channel chain, shortcuts), then finds the blocks and
 * sets n_features. `name` stands in messages. Errors: TINYTL_ERROR_MODEL. */
tinytl_status tinytl_arch_finish(tinytl_arch *arch, const char *name, tinytl_error *error);

/* Checks the lite modules against the blocks (after tinytl_arch_finish). */
tinytl_status tinytl_arch_check_lite(const tinytl_arch *arch, const char *name,
                                     tinytl_error *error);

/* Which modules tinytl_arch_add_lite adds. DEFAULT: kernel 3, 8 groups, as accurate as the paper's
 * with half of the memory and less work (docs/training.md, "Lite modules: their shape"). PAPER:
 * kernel 5, 2 groups (TinyTL, section 4.1). */
typedef enum tinytl_lite_rule { TINYTL_LITE_DEFAULT, TINYTL_LITE_PAPER } tinytl_lite_rule;

/* Puts a lite residual module beside every block but the first: mid = in rounded up to a multiple
 * of 8; the rule's kernel at nominal resolution R = 128 halved after each stride-2 block, minus 2
 * while R / 2 < kernel (and 1 at R / 2 = 1); the rule's groups, halved until they divide the
 * block's input channels and leave more than one of them a group. */
void tinytl_arch_add_lite(const tinytl_arch *arch, tinytl_lite_rule rule, tinytl_lite *lite,
                          int *n_lite);

/* An inverted residual: kernel, expand ratio, output channels, stride. The shortcut is there
 * wherever stride is 1 and input and output are as wide. */
typedef struct tinytl_block_spec {
  int kernel, expand, out_c, stride;
} tinytl_block_spec;

/* Stem (3x3, stride 2), blocks, and a 1x1 layer of `head` channels (0: none), into a zeroed arch.
 */
void tinytl_arch_from_blocks(tinytl_arch *arch, int stem, const tinytl_block_spec *blocks,
                             int n_blocks, int head);
/* Channels at a width multiplier in thousandths: the nearest multiple of 8, at least 8, and never
 * less than 90 % of the exact figure. */
int tinytl_scale_channels(int channels, int thousandths);
/* "1.4", "0.35", "1" -> 1400, 350, 1000; 0: not a number of at most three decimals. */
int tinytl_parse_thousandths(const char *text);

/* A named architecture, see tinytl_backbone_init. Errors: TINYTL_ERROR_USAGE with the names. */
tinytl_status tinytl_arch_named(const char *architecture, int n_classes, tinytl_arch *arch,
                                int *image_size, tinytl_error *error);

/* Multiply-accumulates of one image, classifier and lite modules included. */
uint64_t tinytl_arch_macs(const tinytl_arch *arch, int image_size);

#endif
