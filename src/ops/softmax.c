/* Softmax, its cross entropy with smoothed labels, and dropout. One row of logits is small: the
 * calling thread does it. Sums run in double, for up to TINYTL_MAX_CLASSES terms. */
#include <math.h>

#include "core/rng.h"
#include "ops/ops.h"

/* p[k] = exp(z[k] - max z); returns their sum, and max z in *max. */
static double exponentials(int n, float *z, float *max) {
  *max = z[0];
  for (int k = 1; k < n; k++) {
    if (z[k] > *max) *max = z[k];
  }
  double sum = 0;
  for (int k = 0; k < n; k++) {
    z[k] = expf(z[k] - *max);
    sum += z[k];
  }
  return sum;
}

void tinytl_softmax(int n, float *logits) {
  float max;
  double sum = exponentials(n, logits, &max);
  for (int k = 0; k < n; k++) logits[k] = (float)(logits[k] / sum);
}

/* loss = -sum of t[k] log p[k] = log(sum of exp z[k]) - sum of t[k] z[k], as the t[k] sum to 1;
 * dz[k] = p[k] - t[k]. A logit of -inf makes the second sum infinite or, times 0, NaN; +inf and
 * NaN make every exponential NaN. */
float tinytl_cross_entropy(int n, int label, float smoothing, float weight, float *logits) {
  double logit_sum = 0;
  for (int k = 0; k < n; k++) logit_sum += logits[k];
  double rest = (double)smoothing / n; /* the share of every class */
  double target_sum = (1.0 - smoothing) * logits[label] + rest * logit_sum;
  float max;
  double sum = exponentials(n, logits, &max);
  for (int k = 0; k < n; k++) {
    double target = (k == label ? 1.0 - smoothing : 0.0) + rest;
    logits[k] = (float)(weight * (logits[k] / sum - target));
  }
  return (float)(max + log(sum) - target_sum);
}

void tinytl_dropout(float *x, int n, float rate, uint64_t seed, uint64_t epoch, uint64_t image) {
  if (rate <= 0) return;
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_DROPOUT, epoch, image);
  float keep = 1.0f / (1.0f - rate);
  for (int i = 0; i < n; i++) x[i] = tinytl_rng_uniform(&rng) < rate ? 0 : x[i] * keep;
}
