/* The values that the sub-nets of a super-net share: copying those of one out, and its gradient
 * back. They lie as tinytl_batch_params has them for the largest sub-net, with the kernel matrices
 * of its depthwise layers, model/supernet.h, behind. */
#ifndef TINYTL_MODEL_SHARED_VALUES_H
#define TINYTL_MODEL_SHARED_VALUES_H

#include "model/batch_params.h"
#include "model/kernel_transform.h"
#include "model/supernet.h"

typedef struct tinytl_shared_values {
  tinytl_arch arch; /* of the largest sub-net */
  tinytl_batch_params params;
  size_t matrices[TINYTL_MAX_LAYERS]; /* of elastic depthwise layers; 0: it is none */
  size_t n;                           /* of all */
} tinytl_shared_values;

void tinytl_shared_values_layout(tinytl_shared_values *shared, const tinytl_space *space);
/* Matrices that change nothing; values [shared->n]. */
void tinytl_shared_values_init_matrices(const tinytl_shared_values *shared, float *values);

/* A sub-net: its architecture, where its own values lie, and what layers they are parts of. */
typedef struct tinytl_part_values {
  tinytl_arch arch;
  tinytl_batch_params params;
  int layers[TINYTL_MAX_LAYERS];
} tinytl_part_values;

void tinytl_part_values_layout(tinytl_part_values *part, const tinytl_space *space,
                               const tinytl_subnet *subnet);

/* values [part->params.n] from those of all; and the gradient of all, added to from the part's. */
void tinytl_shared_values_copy_out(const tinytl_shared_values *shared, const float *all,
                                   const tinytl_part_values *part, float *values);
void tinytl_shared_values_add_back(const tinytl_shared_values *shared, const float *all,
                                   const tinytl_part_values *part, const float *gradient,
                                   float *all_gradient);

/* The super-net's module that module m of the part is a part of. */
int tinytl_shared_values_module(const tinytl_shared_values *shared, const tinytl_part_values *part,
                                int m);
/* Copies a module's convolution, [mid][kernel][kernel][in / groups], out of the whole one's; or,
 * with `gradient`, adds that of the part to that of the whole. */
void tinytl_lite_conv_move(const tinytl_lite *whole, const tinytl_lite *part, const float *from,
                           float *to, bool gradient);

/* Sorts the widened channels of every elastic block by importance, the L1 norm of the projection's
 * weights for each, most important first: the first ones are what narrower sub-nets have. No output
 * changes. room [as many as the largest weight has]. */
void tinytl_shared_values_sort(const tinytl_shared_values *shared, float *values, float *room);

#endif
