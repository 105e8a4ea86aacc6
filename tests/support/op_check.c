#include "support/op_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

float *op_random(size_t n, uint64_t seed) {
  float *values = malloc((n + !n) * sizeof(float));
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
  for (size_t i = 0; i < n; i++) values[i] = tinytl_rng_normal(&rng);
  return values;
}

double *op_widen(const float *values, size_t n) {
  double *wide = malloc((n + !n) * sizeof(double));
  for (size_t i = 0; i < n; i++) wide[i] = values[i];
  return wide;
}

double op_error(const float *got, const double *want, size_t n) {
  double largest = 1e-3, error = 0;
  for (size_t i = 0; i < n; i++) {
    double difference = fabs(got[i] - want[i]);
    if (isnan(difference)) return NAN;
    largest = fmax(largest, fabs(want[i]));
    error = fmax(error, difference);
  }
  return error / largest;
}

static double weighted_sum(op_reference reference, const void *shape, const double *params,
                           const float *dy, size_t n_y) {
  double *y = calloc(n_y, sizeof(double)), sum = 0;
  reference(shape, params, y);
  for (size_t i = 0; i < n_y; i++) sum += dy[i] * y[i];
  free(y);
  return sum;
}

double op_gradient_error(op_reference reference, const void *shape, const float *params,
                         size_t n_params, const float *dy, size_t n_y, const float *gradient) {
  const double h = 1e-5; /* truncation h^2 = 1e-10, rounding 1e-16 * sum / h = about 1e-9 */
  double *point = op_widen(params, n_params), *slope = malloc(n_params * sizeof(double));
  for (size_t i = 0; i < n_params; i++) {
    point[i] = params[i] + h;
    double above = weighted_sum(reference, shape, point, dy, n_y);
    point[i] = params[i] - h;
    slope[i] = (above - weighted_sum(reference, shape, point, dy, n_y)) / (2 * h);
    point[i] = params[i];
  }
  double error = op_error(gradient, slope, n_params);
  free(point);
  free(slope);
  return error;
}

bool op_same_with_any_threads(op_everything everything, const void *shape, size_t n_out) {
  float *first = calloc(n_out, sizeof(float)), *other = calloc(n_out, sizeof(float));
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  everything(&run, shape, first);
  bool same = true;
  for (size_t i = 0; i < n_out; i++) same = same && !isnan(first[i]);
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    if (tinytl_pool_create(n_threads, &run.pool, NULL) != TINYTL_OK) same = false;
    memset(other, 0, n_out * sizeof(float));
    everything(&run, shape, other);
    same = same && memcmp(first, other, n_out * sizeof(float)) == 0;
    tinytl_pool_free(run.pool);
    run.pool = NULL;
  }
  free(first);
  free(other);
  return same;
}

void op_with_each_set(void (*check)(const tinytl_run *run)) {
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int i = 0; i < n_sets; i++) check(&(tinytl_run){.kernels = sets[i]});
}
