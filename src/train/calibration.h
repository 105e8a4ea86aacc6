/* What is fitted to the validation pictures after training: the temperature of the softmax, and
 * the score below which an answer counts as "unknown". Sums and counts are kept, not logits:
 * their size does not depend on the number of pictures or classes. */
#ifndef TINYTL_TRAIN_CALIBRATION_H
#define TINYTL_TRAIN_CALIBRATION_H

#include <stdbool.h>

/* ---- Temperature (Guo et al., On Calibration of Modern Neural Networks, ICML 2017) --------- */

/* Standard deviation of log T before any picture was seen. On a few dozen pictures that are all
 * right the loss alone would have T go to 0, and every wrong answer later be given as certain
 * (docs/training.md). */
#define TINYTL_TEMPERATURE_SPREAD 0.5

enum {
  TINYTL_TEMPERATURE_STEPS = 8, /* of the grid, an octave */
  TINYTL_TEMPERATURE_OCTAVES = 4,
  TINYTL_N_TEMPERATURES = 2 * TINYTL_TEMPERATURE_OCTAVES * TINYTL_TEMPERATURE_STEPS + 1
};

/* Negative log-likelihood, summed over pictures, at every temperature of a grid from 1/16 to 16. A
 * grid needs one pass over the pictures; Newton's method one for each of its steps, or all logits.
 */
typedef struct tinytl_temperature_fit {
  double loss[TINYTL_N_TEMPERATURES];
} tinytl_temperature_fit;

/* Adds a picture of class `label`; logits [n_classes]. */
void tinytl_temperature_add(tinytl_temperature_fit *fit, int n_classes, const float *logits,
                            int label);
/* The smallest loss at any temperature of the grid; NAN where it is not finite. */
double tinytl_temperature_least_loss(const tinytl_temperature_fit *fit);
/* The temperature T of the smallest loss + (log T)^2 / (2 TINYTL_TEMPERATURE_SPREAD^2), 1/16 to 16;
 * 1 where no picture was added, or where the loss is not finite. */
float tinytl_temperature_find(const tinytl_temperature_fit *fit);

/* p[k] = exp(z[k] / T) / sum of exp(z[j] / T), in place: keeps the order of the classes. */
void tinytl_softmax_at(int n_classes, float temperature, float *logits);

/* ---- Threshold ---------------------------------------------------------------------------- */

#define TINYTL_KEPT_SHARE 0.95 /* of the right answers, whose scores reach the threshold */

enum {
  TINYTL_SCORE_STEPS = 16, /* bins a unit of the score, from -64 to 64 */
  TINYTL_SCORE_RANGE = 64,
  TINYTL_N_SCORE_BINS = 2 * TINYTL_SCORE_RANGE * TINYTL_SCORE_STEPS
};

/* Scores of right answers: their largest logit, by which pictures of other things are told apart
 * (Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML 2022). */
typedef struct tinytl_reject_fit {
  int n;
  int count[TINYTL_N_SCORE_BINS];
} tinytl_reject_fit;

void tinytl_reject_add(tinytl_reject_fit *fit, float score);
/* The largest edge of a bin with at least TINYTL_KEPT_SHARE of the scores at or above it; NAN where
 * none was added. */
float tinytl_reject_find(const tinytl_reject_fit *fit);

/* ---- Logits ------------------------------------------------------------------------------- */

float tinytl_largest(int n, const float *x);
/* Whether the largest of n logits is that of class `label`; of several that are largest, the first
 * counts, as in a prediction. Of NAN nothing is right. */
bool tinytl_is_right(int n, const float *logits, int label);

#endif
