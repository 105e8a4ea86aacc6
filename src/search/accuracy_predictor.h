/* Says how good a sub-net will be from its genes alone, after some that were measured:
 *
 *   one-hot genes -> 3 x (400, ReLU) -> 1
 *
 * (TinyTL, section 3.3.) Trained by Adam on squared differences; accuracies are brought to mean 0
 * and variance 1 first, as those of sub-nets differ little. */
#ifndef TINYTL_SEARCH_ACCURACY_PREDICTOR_H
#define TINYTL_SEARCH_ACCURACY_PREDICTOR_H

#include "ops/ops.h"
#include "search/genes.h"
#include "train/optimizer.h"

enum {
  TINYTL_PREDICTOR_LAYERS = 4,
  TINYTL_PREDICTOR_BATCH = 32 /* sub-nets at a time */
};

typedef struct tinytl_predictor_layer {
  tinytl_conv conv;  /* pointwise, over a column of sub-nets */
  float *w, *bias;   /* [out][in], [out] */
  float *dw, *dbias; /* the same in the gradient */
  float *y, *dy;     /* [TINYTL_PREDICTOR_BATCH][out] */
  uint8_t *mask;     /* of ReLU; NULL: the last layer */
} tinytl_predictor_layer;

typedef struct tinytl_accuracy_predictor {
  tinytl_run run;
  tinytl_predictor_layer layers[TINYTL_PREDICTOR_LAYERS];
  tinytl_params *params; /* for the optimizer: all values are one segment */
  tinytl_optimizer_state adam;
  float *values, *gradient; /* [n_values] */
  float *moments;           /* the optimizer's */
  float *inputs;            /* [TINYTL_PREDICTOR_BATCH][TINYTL_GENES_INPUTS] */
  int *order;               /* [n_most] */
  size_t n_values;
  float mean, deviation; /* of the accuracies */
} tinytl_accuracy_predictor;

/* Bytes of memory for training on up to n_most sub-nets. */
size_t tinytl_accuracy_predictor_nbytes(int n_most, const tinytl_kernels *kernels);
/* memory: as many bytes, aligned to 64, borrowed as long as the predictor is used. The scratch of
 * `run` is not read. */
void tinytl_accuracy_predictor_place(tinytl_accuracy_predictor *p, const tinytl_run *run,
                                     int n_most, void *memory);

/* From random values, on n sub-nets, subnets [n] and accuracies [n]. Errors: INTERRUPTED, where
 * *stop (may be NULL) is set. Same arguments, same values, whatever the threads. */
tinytl_status tinytl_accuracy_predictor_fit(tinytl_accuracy_predictor *p, uint64_t seed,
                                            const tinytl_subnet *const *subnets,
                                            const float *accuracies, int n,
                                            const volatile int *stop, tinytl_error *error);
void tinytl_accuracy_predictor_run(tinytl_accuracy_predictor *p,
                                   const tinytl_subnet *const *subnets, int n, float *predicted);
/* Of one batch of at most TINYTL_PREDICTOR_BATCH: adds the gradient of half the mean squared
 * difference to p->gradient, and returns that. */
double tinytl_accuracy_predictor_add_gradient(tinytl_accuracy_predictor *p,
                                              const tinytl_subnet *const *subnets,
                                              const float *accuracies, int n);

/* Kendall's tau-b of two rankings of n things: 1 the same, 0 none of the other, -1 the reverse; 0
 * where either has all alike. */
float tinytl_kendall_tau(const float *x, const float *y, int n);

#endif
