/* Says how good a sub-net will be from its genes alone, after some that were measured: ridge
 * regression of what was measured on the one-hot genes, both without their means,
 *
 *   w = (X^T X + P)^-1 X^T y
 *
 * with P diagonal, in place of the paper's network of three hidden layers (TinyTL, section 3.3),
 * which needs more sub-nets to rank them as well: docs/supernet.md, "Why likelihood, and why a
 * regression". The size of the picture decides more than any other gene, so that it is hardly
 * shrunk. */
#ifndef TINYTL_SEARCH_ACCURACY_PREDICTOR_H
#define TINYTL_SEARCH_ACCURACY_PREDICTOR_H

#include "search/genes.h"

/* Chosen by the order of sub-nets that it has not seen: the table in docs/supernet.md, "Why
 * likelihood, and why a regression". */
#define TINYTL_PREDICTOR_PENALTY 20.0
#define TINYTL_PREDICTOR_SIZE_PENALTY 0.2 /* of the inputs that are sizes of the picture */

typedef struct tinytl_accuracy_predictor {
  double *matrix;  /* [TINYTL_GENES_INPUTS][TINYTL_GENES_INPUTS], while it is fitted */
  double *means;   /* [TINYTL_GENES_INPUTS] of the genes */
  double *weights; /* [TINYTL_GENES_INPUTS] */
  double mean;     /* of what was measured */
} tinytl_accuracy_predictor;

size_t tinytl_accuracy_predictor_nbytes(void);
/* memory: as many bytes, aligned to 64, borrowed as long as the predictor is used. */
tinytl_accuracy_predictor tinytl_accuracy_predictor_place(void *memory);

/* To subnets [n] and their scores [n]; n 0: it predicts 0. */
void tinytl_accuracy_predictor_fit(tinytl_accuracy_predictor *p,
                                   const tinytl_subnet *const *subnets, const float *scores, int n);
float tinytl_accuracy_predictor_run(const tinytl_accuracy_predictor *p,
                                    const tinytl_subnet *subnet);

/* Kendall's tau-b of two rankings of n things: 1 the same, 0 none of the other, -1 the reverse; 0
 * where either has all alike. */
float tinytl_kendall_tau(const float *x, const float *y, int n);

#endif
