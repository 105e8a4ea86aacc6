#include "train/rules.h"

#include <math.h>

#include "tinytl/train.h"

/* The largest class by another: from which on classes are weighted, and up to which. */
#define LEAST_IMBALANCE 2.0f
#define MOST_IMBALANCE 16.0f

static int clamp(int x, int low, int high) {
  return x < low ? low : x > high ? high : x;
}

/* Epochs that see n_wanted pictures in all, within bounds; but always n_least, up to 200 epochs, as
 * a few dozen pictures would otherwise give too few updates. */
static int epochs_to_see(int n_wanted, int n_least, int low, int high, int n_images) {
  const int epochs = clamp(n_wanted / n_images, low, high);
  const int least = clamp(n_least / n_images, 1, 200);
  return epochs > least ? epochs : least;
}

tinytl_rules tinytl_rules_make(tinytl_method method, tinytl_optimizer optimizer, int n_images,
                               int batch, bool fresh_lite, float reach) {
  tinytl_rules rules = {.warmup = 0.05f, .weight_warmup = 1.0f / 3};
  const int n = n_images > 0 ? n_images : 1;
  if (method == TINYTL_METHOD_LAST) {
    /* On cached features an epoch costs next to nothing. */
    rules.epochs = epochs_to_see(120000, 12000, 20, 60, n);
    rules.lr[TINYTL_GROUP_CLASSIFIER] = 1.5e-3f;
  } else {
    const float more = fmaxf(reach, 1);
    rules.epochs = epochs_to_see((int)(40000 * more), (int)(4000 * more), 8, (int)(20 * more), n);
    rules.lr[TINYTL_GROUP_CLASSIFIER] = 2e-3f;
    rules.lr[TINYTL_GROUP_BIAS] = 2e-3f;
    rules.lr[TINYTL_GROUP_LITE] = fresh_lite ? 4e-3f : 1e-3f;
    rules.lr[TINYTL_GROUP_GAIN] = 2e-3f;
    rules.lr[TINYTL_GROUP_WEIGHT] = 3e-4f;
  }
  /* Adam's steps have the size of the rate, whatever the batch; their noise falls with its root.
   * SGD's are means over the batch; the head alone bears larger ones. */
  const float ratio = (float)batch / 8.0f;
  const float sgd_scale = method == TINYTL_METHOD_LAST ? 5.0f * ratio : ratio;
  const float scale = optimizer == TINYTL_OPTIMIZER_SGD ? sgd_scale : sqrtf(ratio);
  for (int g = 0; g < TINYTL_N_GROUPS; g++) rules.lr[g] *= scale * reach;
  return rules;
}

float tinytl_validation_share(int n_images, int n_classes) {
  const float m = (float)n_images / (float)n_classes;
  if (m < TINYTL_LEAST_FOR_VALIDATION) return 0;
  return fminf(fmaxf(1 / sqrtf(m), TINYTL_LEAST_VALIDATION_SHARE), TINYTL_MOST_VALIDATION_SHARE);
}

float tinytl_rules_label_smoothing(tinytl_method method) {
  return method == TINYTL_METHOD_LAST ? 0.0f : 0.1f;
}

/* weight = 1 / count, divided by its mean over the pictures: all classes weigh the same, but for
 * those that are rarer than was measured. */
void tinytl_rules_weigh_classes(const tinytl_images *images, float *weights) {
  const int n_classes = images->n_classes;
  float least = (float)images->n_images, most = 0, sum = 0;
  for (int c = 0; c < n_classes; c++) weights[c] = 0;
  for (int i = 0; i < images->n_images; i++) weights[images->labels[i]]++;
  for (int c = 0; c < n_classes; c++) {
    most = fmaxf(most, weights[c]);
    if (weights[c] > 0) least = fminf(least, weights[c]);
  }
  const bool is_balanced = most < LEAST_IMBALANCE * least;
  for (int c = 0; c < n_classes; c++) {
    const float count = weights[c];
    weights[c] = is_balanced ? 1.0f : 1.0f / fmaxf(count, most / MOST_IMBALANCE);
    sum += count * weights[c];
  }
  for (int c = 0; c < n_classes; c++) weights[c] *= (float)images->n_images / sum;
}
