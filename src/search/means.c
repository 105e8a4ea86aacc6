/* How good a sub-net is without training: what the nearest class mean of its features gets right.
 * Features are compared by angle. */
#include <math.h>
#include <string.h>

#include "search/searcher.h"

enum { MEAN_IMAGES = 512 /* most training pictures behind the class means */ };

static void make_unit(int n, float *vector) {
  double squares = 0;
  for (int i = 0; i < n; i++) squares += (double)vector[i] * vector[i];
  const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
  for (int i = 0; i < n; i++) vector[i] *= scale;
}

tinytl_status tinytl_searcher_find_means(tinytl_searcher *s, tinytl_error *error) {
  const int n_classes = s->train->n_classes, n_features = s->shared.arch.n_features;
  tinytl_search_pass pass;
  memset(s->means, 0, (size_t)n_classes * (size_t)n_features * sizeof *s->means);
  memset(s->counts, 0, (size_t)n_classes * sizeof *s->counts);
  TINYTL_TRY(tinytl_searcher_begin(s, s->train, MEAN_IMAGES, &pass, error));
  for (;;) {
    TINYTL_TRY(tinytl_searcher_next(s, &pass, s->batch, error));
    if (s->n_held == 0) break;
    tinytl_batch_forward(&s->run, &s->running);
    float *features = tinytl_batch_features(&s->run);
    for (int i = 0; i < s->n_held; i++, features += n_features) {
      make_unit(n_features, features);
      s->run.run.kernels->add(s->means + (size_t)s->labels[i] * (size_t)n_features, features,
                              (size_t)n_features);
      s->counts[s->labels[i]]++;
    }
  }
  for (int c = 0; c < n_classes; c++)
    make_unit(n_features, s->means + (size_t)c * (size_t)n_features);
  return TINYTL_OK;
}

int tinytl_searcher_nearest_mean(const tinytl_searcher *s, const float *features) {
  const int n_features = s->shared.arch.n_features;
  int nearest = -1;
  double most = 0;
  for (int c = 0; c < s->train->n_classes; c++) {
    const float *mean = s->means + (size_t)c * (size_t)n_features;
    double product = 0;
    if (s->counts[c] == 0) continue;
    for (int i = 0; i < n_features; i++) product += (double)(mean[i] * features[i]);
    if (nearest >= 0 && product <= most) continue;
    nearest = c;
    most = product;
  }
  return nearest;
}
