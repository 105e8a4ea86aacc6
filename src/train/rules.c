#include "train/rules.h"

#include <math.h>

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
                               int batch, bool fresh_lite) {
  tinytl_rules rules = {.warmup = 0.05f};
  const int n = n_images > 0 ? n_images : 1;
  if (method == TINYTL_METHOD_LAST) {
    /* On cached features an epoch costs next to nothing. */
    rules.epochs = epochs_to_see(120000, 12000, 20, 60, n);
    rules.lr[TINYTL_GROUP_CLASSIFIER] = 1.5e-3f;
  } else {
    rules.epochs = epochs_to_see(40000, 4000, 8, 20, n);
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
  for (int g = 0; g < TINYTL_N_GROUPS; g++) rules.lr[g] *= scale;
  return rules;
}
