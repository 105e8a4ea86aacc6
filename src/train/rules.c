#include "train/rules.h"

#include <math.h>

static int clamp(int x, int low, int high) {
  return x < low ? low : x > high ? high : x;
}

tinytl_rules tinytl_rules_make(tinytl_method method, tinytl_optimizer optimizer, int n_images,
                               int batch, bool fresh_lite) {
  tinytl_rules rules = {.warmup = 0.05f};
  const int n = n_images > 0 ? n_images : 1;
  /* An epoch of the head on cached features costs next to nothing. */
  rules.epochs = method == TINYTL_METHOD_LAST ? clamp(120000 / n, 20, 60) : clamp(40000 / n, 8, 40);
  rules.lr[TINYTL_GROUP_CLASSIFIER] = method == TINYTL_METHOD_LAST ? 1.5e-3f : 2e-3f;
  rules.lr[TINYTL_GROUP_BIAS] = 2e-3f;
  rules.lr[TINYTL_GROUP_LITE] = fresh_lite ? 4e-3f : 1e-3f;
  float scale = sqrtf((float)batch / 8.0f);
  if (optimizer == TINYTL_OPTIMIZER_SGD) scale = (float)batch / 8.0f * 5.0f;
  for (int g = 0; g < TINYTL_N_GROUPS; g++) rules.lr[g] *= scale;
  return rules;
}
