/* What the tests of operators share: numbers, an error measure, finite differences, threads. */
#ifndef TINYTL_TEST_OP_CHECK_H
#define TINYTL_TEST_OP_CHECK_H

#include "ops/ops.h"

/* n normal numbers that depend on the seed; the caller frees them. */
float *op_random(size_t n, uint64_t seed);
double *op_widen(const float *values, size_t n);

/* Largest |got - want| over the largest |want| (at least 1e-3). NaN where any of them is. */
double op_error(const float *got, const double *want, size_t n);

/* A reference in double: params [n_params] -> y [n_y], which is zeroed before the call. */
typedef void (*op_reference)(const void *shape, const double *params, double *y);

/* op_error of `gradient` [n_params] against central differences of sum of dy * reference(params),
 * every parameter for itself. */
double op_gradient_error(op_reference reference, const void *shape, const float *params,
                         size_t n_params, const float *dy, size_t n_y, const float *gradient);

/* Runs an operator whole: all that it computes for `shape` goes into out [n_out], zeroed before. */
typedef void (*op_everything)(const tinytl_run *run, const void *shape, float *out);

/* Do 1, 2 and 3 threads and no pool at all give the same bits, and none of them NaN? */
bool op_same_with_any_threads(op_everything everything, const void *shape, size_t n_out);

/* Calls check on one thread with every kernel set of this machine. */
void op_with_each_set(void (*check)(const tinytl_run *run));

#endif
