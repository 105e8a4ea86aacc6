/* Where the gradients of what is trained go.
 *
 * Most are summed over a batch in one vector. The gradient of a weight, though, is a sum over
 * images of products of two maps, dw = sum of dy (x) x, and where the maps are small and the weight
 * is large (late convolutions and lite modules, the classifier) a batch of them takes less than the
 * gradient: such a weight is deferred. Its factors x and dy are kept for every image of the
 * batch, and its gradient is made at the update alone, in memory that the activations use
 * otherwise. The sum is the same to the bit. */
#ifndef TINYTL_TRAIN_GRADIENTS_H
#define TINYTL_TRAIN_GRADIENTS_H

#include "train/params.h"

/* The factors of one deferred weight, [batch][n_x] and [batch][n_dy]. x NULL: not deferred. */
typedef struct tinytl_factors {
  float *x, *dy;
  size_t n_x, n_dy;
} tinytl_factors;

/* Copies the factors of the batch's image `slot`. */
void tinytl_factors_put(const tinytl_factors *factors, int slot, const float *x, const float *dy);

/* Pointers are NULL for what is frozen or deferred. */
typedef struct tinytl_gradients {
  float *bias[TINYTL_MAX_LAYERS];
  float *gain[TINYTL_MAX_LAYERS], *weight[TINYTL_MAX_LAYERS];
  float *lite[TINYTL_MAX_LAYERS / 2][TINYTL_LITE_TENSORS];
  float *classifier, *classifier_bias;
  tinytl_factors lite_factors[TINYTL_MAX_LAYERS / 2][2]; /* convolution, pointwise */
  tinytl_factors weight_factors[TINYTL_MAX_LAYERS];
  tinytl_factors classifier_factors;

  int batch;
  float *vector;
  size_t n;                           /* floats of the vector, factors included */
  size_t n_deferred;                  /* trained values that are deferred */
  size_t update_nbytes;               /* what tinytl_gradients_make wants; 0: nothing is deferred */
  size_t offset[TINYTL_MAX_SEGMENTS]; /* of trained segment s, its factors' where deferred */
} tinytl_gradients;

/* Bytes of the gradient of layer i's weights, rounded up so that what follows is aligned. */
size_t tinytl_weight_gradient_nbytes(const tinytl_network *network, int i);

/* Divides a vector among the trained segments. Weights whose factors for `batch` images are smaller
 * than they are deferred. */
void tinytl_gradients_layout(tinytl_gradients *gradients, const tinytl_params *params,
                             const tinytl_network *network, const tinytl_kernels *kernels,
                             int batch);
/* Points at the vector [gradients->n]. */
void tinytl_gradients_place(tinytl_gradients *gradients, const tinytl_params *params,
                            float *vector);

/* A range of a segment whose gradient is ready. */
typedef struct tinytl_gradient_range {
  size_t first, n;
  float *gradient; /* [n] */
} tinytl_gradient_range;

/* The range of segment s from value `first` on: the whole segment where its gradient was summed up,
 * else as much as is made at a time from the factors of n_images images. `memory` holds
 * update_nbytes, aligned to 64; run->scratch is not used. */
tinytl_gradient_range tinytl_gradients_make(tinytl_gradients *gradients,
                                            const tinytl_params *params,
                                            const tinytl_network *network, const tinytl_run *run,
                                            int s, size_t first, int n_images, void *memory);

#endif
