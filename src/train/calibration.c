#include "train/calibration.h"

#include <math.h>

#include "ops/ops.h"

float tinytl_largest(int n, const float *x) {
  float max = x[0];
  for (int k = 1; k < n; k++)
    if (x[k] > max) max = x[k];
  return max;
}

bool tinytl_is_right(int n, const float *logits, int label) {
  const float own = logits[label];
  for (int k = 0; k < n; k++)
    if (k < label ? !(own > logits[k]) : !(own >= logits[k])) return false;
  return true;
}

/* ---- Temperature -------------------------------------------------------------------------- */

/* Of point i of the grid, counted from its middle, where T = 1; i may lie between points. */
static double log_temperature(double i) {
  return log(2) * (i - TINYTL_N_TEMPERATURES / 2) / TINYTL_TEMPERATURE_STEPS;
}

void tinytl_temperature_add(tinytl_temperature_fit *fit, int n_classes, const float *logits,
                            int label) {
  const float max = tinytl_largest(n_classes, logits);
  for (int i = 0; i < TINYTL_N_TEMPERATURES; i++) {
    const float inverse = (float)exp(-log_temperature(i));
    double sum = 0;
    for (int k = 0; k < n_classes; k++) sum += expf((logits[k] - max) * inverse);
    fit->loss[i] += log(sum) - (logits[label] - max) * inverse;
  }
}

double tinytl_temperature_least_loss(const tinytl_temperature_fit *fit) {
  double least = fit->loss[0];
  for (int i = 0; i < TINYTL_N_TEMPERATURES; i++) {
    if (!isfinite(fit->loss[i])) return (double)NAN;
    if (fit->loss[i] < least) least = fit->loss[i];
  }
  return least;
}

static double loss_with_prior(const tinytl_temperature_fit *fit, int i) {
  const double deviation = log_temperature(i) / TINYTL_TEMPERATURE_SPREAD;
  return fit->loss[i] + deviation * deviation / 2;
}

/* The loss has one minimum, being convex in 1 / T. Between points of the grid it is taken for a
 * parabola. */
float tinytl_temperature_find(const tinytl_temperature_fit *fit) {
  int best = 0;
  for (int i = 0; i < TINYTL_N_TEMPERATURES; i++) {
    if (!isfinite(fit->loss[i])) return 1;
    if (loss_with_prior(fit, i) < loss_with_prior(fit, best)) best = i;
  }
  double minimum = best;
  if (best > 0 && best < TINYTL_N_TEMPERATURES - 1) {
    const double before = loss_with_prior(fit, best - 1), after = loss_with_prior(fit, best + 1);
    const double curvature = before + after - 2 * loss_with_prior(fit, best);
    if (curvature > 0) minimum += (before - after) / (2 * curvature);
  }
  return (float)exp(log_temperature(minimum));
}

void tinytl_softmax_at(int n_classes, float temperature, float *logits) {
  const float inverse = 1 / temperature;
  const float max = tinytl_largest(n_classes, logits);
  /* Differences to the largest logit first: classes that differ stay apart. */
  for (int k = 0; k < n_classes; k++) logits[k] = (logits[k] - max) * inverse;
  tinytl_softmax(n_classes, logits);
}

/* ---- Threshold ---------------------------------------------------------------------------- */

void tinytl_reject_add(tinytl_reject_fit *fit, float score) {
  const float bin = (score + TINYTL_SCORE_RANGE) * TINYTL_SCORE_STEPS;
  const int last = TINYTL_N_SCORE_BINS - 1;
  fit->count[!(bin > 0) ? 0 : bin < (float)last ? (int)bin : last]++;
  fit->n++;
}

float tinytl_reject_find(const tinytl_reject_fit *fit) {
  if (fit->n == 0) return NAN;
  /* With rounding kept off whole numbers of pictures. */
  const int n_rejected = (int)(fit->n * (1 - TINYTL_KEPT_SHARE) + 1e-6);
  int bin = 0, n_below = 0;
  while (n_below + fit->count[bin] <= n_rejected) n_below += fit->count[bin++];
  return (float)bin / TINYTL_SCORE_STEPS - TINYTL_SCORE_RANGE;
}
