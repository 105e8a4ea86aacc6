#include "train/auto.h"

#include <math.h>

const tinytl_method tinytl_auto_methods[TINYTL_N_AUTO_METHODS] = {
    TINYTL_METHOD_LAST, TINYTL_METHOD_BIAS, TINYTL_METHOD_LITE_BIAS};

void tinytl_comparison_add(tinytl_comparison *c, float before, float after) {
  if (isnan(before) || isnan(after)) return;
  const double difference = (double)after - (double)before;
  c->n++;
  c->sum += difference;
  c->sum_of_squares += difference * difference;
}

float tinytl_comparison_gain(const tinytl_comparison *c) {
  return c->n > 0 ? (float)(c->sum / c->n) : 0.0f;
}

/* sqrt(variance / n), the variance with n - 1. Two or three differences may agree by luck, so the
 * squares of a few more of the usual size are counted in. */
float tinytl_comparison_noise(const tinytl_comparison *c) {
  const double usual_difference = 0.2;
  const int n_more = 4;
  if (c->n == 0) return INFINITY;
  const double squares = fmax(c->sum_of_squares - c->sum * c->sum / c->n, 0);
  const double variance =
      (squares + n_more * usual_difference * usual_difference) / (c->n - 1 + n_more);
  return (float)sqrt(variance / c->n);
}

/* A normal prior, and a normal likelihood of the gain that was measured: the posterior's mean.
 * The prior is what a method gained over the one before it in docs/results.md. */
float tinytl_auto_expected_gain(const tinytl_comparison *c, tinytl_method method) {
  const double mean = method == TINYTL_METHOD_BIAS ? 0.08 : 0.01;
  const double deviation = method == TINYTL_METHOD_BIAS ? 0.10 : 0.05;
  const double noise = (double)tinytl_comparison_noise(c);
  const double share = deviation * deviation / (deviation * deviation + noise * noise);
  return (float)(mean + (isinf(noise) ? 0 : share * ((double)tinytl_comparison_gain(c) - mean)));
}
