/* The networks that are known by the names of their tensors. */
#ifndef TINYTL_FORMAT_FAMILIES_H
#define TINYTL_FORMAT_FAMILIES_H

#include "format/state_dict.h"

enum { TINYTL_MAX_TENSOR_NAME = 96 };

/* A convolution without bias, and the batch norm behind it. */
typedef struct tinytl_conv_names {
  const char *conv, *norm;
} tinytl_conv_names;

enum { TINYTL_N_STAGES = 7 }; /* of a MobileNetV2, which ProxylessNAS has kept */

typedef struct tinytl_family {
  const char *description;
  const char *mark;   /* a tensor that no other family has */
  double eps;         /* of the batch norms */
  int kernel, expand; /* of all blocks but the first, whose expand is 1; 0: any */
  /* Blocks are numbered through from first_number on, so many a stage; 0: they are numbered by
   * stage and in the stage. */
  int first_number, blocks[TINYTL_N_STAGES];
  bool sparse; /* blocks may be missing, and those that are left numbered anew */
  tinytl_conv_names stem, head;
  const char *before, *after;  /* a block's names begin with BEFORE number[.number] AFTER */
  tinytl_conv_names wide[3];   /* in a block: expand, depthwise, project */
  tinytl_conv_names narrow[2]; /* in a block without expansion: depthwise, project */
  const char *classifier;
  const char *unused; /* how the names of tensors end that are not needed; NULL: all are */
} tinytl_family;

/* NULL: none. */
const tinytl_family *tinytl_family_of(const tinytl_state_dict *state);

#endif
