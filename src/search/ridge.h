/* How well pictures' features tell their classes apart, without training: ridge regression from
 * features to classes, each picture judged by the regression on all others. The answers of all
 * those regressions come out of one (Rifkin and Lippert, "Notes on Regularized Least Squares",
 * 2007, section 3):
 *
 *   G = (K + penalty I)^-1, K[i][j] = <x_i, x_j>
 *   y_i without i = y_i - (G y)_i / (G_ii - 1 / (n penalty))
 *
 * Features x are of unit length, less their mean; y is 1 for a picture's class and 0 for others,
 * less the mean. With means of all pictures the vector of ones is one that G stretches by 1 /
 * penalty; without that part of G_ii the answer is that of a regression whose means, too, are those
 * of the others. The penalty is a twentieth of the mean squared length of x: small, as a network
 * that is trained fits its features better than they fit now. */
#ifndef TINYTL_SEARCH_RIDGE_H
#define TINYTL_SEARCH_RIDGE_H

#include "ops/ops.h"

typedef struct tinytl_ridge {
  const tinytl_run *run;
  int n_features, n_classes, most; /* most: pictures */
  int n;                           /* pictures added */
  int8_t *features;                /* [most][n_features], of unit length with the scale */
  float *scales;                   /* [most] */
  int *labels;                     /* [most] */
} tinytl_ridge;

/* Bytes of memory for the features of `most` pictures; `work` beside that for
 * tinytl_ridge_leave_one_out alone. */
size_t tinytl_ridge_nbytes(int n_features, int most);
size_t tinytl_ridge_work_nbytes(int n_features, int n_classes, int most);
/* memory: as many bytes, aligned to 64; it and the run are borrowed. The scratch of the run is not
 * read. Begins without pictures. */
tinytl_ridge tinytl_ridge_place(const tinytl_run *run, int n_features, int n_classes, int most,
                                void *memory);
/* features [n_features] of one more picture; `most` at most. Where one is not finite, or all are
 * below 1e-30, they count as 0. */
void tinytl_ridge_add(tinytl_ridge *ridge, const float *features, int label);

typedef struct tinytl_ridge_answer {
  float top1;  /* share of pictures that are told right, 0 to 1 */
  float score; /* geometric mean of their classes' probabilities, softmax(20 y), 0 to 1: it tells by
                  how much pictures are told right or wrong, so fewer of them are enough */
} tinytl_ridge_answer;

/* Of 2 pictures or more. work: as many bytes, aligned to 64. Same features, same answer, whatever
 * the threads. */
tinytl_ridge_answer tinytl_ridge_leave_one_out(const tinytl_ridge *ridge, void *work);

#endif
