/* A small backbone with everything in it that a network may have: strides, kernels 3 and 5, a block
 * without expansion, shortcuts, ReLU and ReLU6, either padding, int8 or float weights. */
#ifndef TINYTL_TEST_TINY_NET_H
#define TINYTL_TEST_TINY_NET_H

#include "train/params.h"

enum {
  TINY_SIZE = 22,
  TINY_CLASSES = 5,
  NONE_DEFERRED = 4096 /* a batch whose factors are larger than any weight */
};

/* with_lite: with lite modules of its own, all of their values random. The caller frees it with
 * tinytl_backbone_free. */
tinytl_backbone *tiny_backbone(tinytl_weights weights, tinytl_pad pad, bool with_lite);

/* rgb [TINY_SIZE][TINY_SIZE][3]. */
void tiny_picture(uint64_t seed, uint8_t *rgb);

/* Gives every value of fresh lite modules and the classifier's bias something to do. */
void tiny_perturb(const tinytl_params *params, uint64_t seed, float *values);

#endif
