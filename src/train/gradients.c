#include "train/gradients.h"

#include <string.h>

#include "core/arena.h"

enum {
  /* The classifier's gradient is made by slices of whole classes of about this many values: 256 KB.
   * Slices are multiples of TINYTL_MOMENT_BLOCK values, as optimizer states want their ranges. */
  SLICE = 65536
};

void tinytl_factors_put(const tinytl_factors *factors, int slot, const float *x, const float *dy) {
  memcpy(factors->x + (size_t)slot * factors->n_x, x, factors->n_x * sizeof *x);
  memcpy(factors->dy + (size_t)slot * factors->n_dy, dy, factors->n_dy * sizeof *dy);
}

/* ---- Layout ------------------------------------------------------------------------------- */

size_t tinytl_weight_gradient_nbytes(const tinytl_network *network, int i) {
  const size_t n = tinytl_layer_n_weights(&network->backbone->arch.layers[i]);
  return tinytl_round_up(n * sizeof(float), TINYTL_ARENA_ALIGN);
}

/* The convolution whose weight segment s is, and whose input is a map; NULL: it is none. */
static const tinytl_conv *conv_of(const tinytl_network *network, const tinytl_segment *segment) {
  if (segment->group == TINYTL_GROUP_WEIGHT && segment->layer > 0)
    return &network->conv[segment->layer];
  if (segment->group != TINYTL_GROUP_LITE) return NULL;
  const tinytl_lite_conv *lite = &network->lite_conv[segment->lite];
  return segment->tensor == TINYTL_LITE_CONV        ? &lite->conv
         : segment->tensor == TINYTL_LITE_POINTWISE ? &lite->pointwise
                                                    : NULL;
}

static bool is_classifier(const tinytl_segment *segment) {
  return segment->group == TINYTL_GROUP_CLASSIFIER && !segment->classifier_bias;
}

/* Where the factors of a weight are kept; NULL: the segment is no weight. */
static tinytl_factors *factors_at(tinytl_gradients *gradients, const tinytl_segment *segment) {
  if (is_classifier(segment)) return &gradients->classifier_factors;
  if (segment->group == TINYTL_GROUP_WEIGHT) return &gradients->weight_factors[segment->layer];
  if (segment->group != TINYTL_GROUP_LITE) return NULL;
  tinytl_factors *factors = gradients->lite_factors[segment->lite];
  return segment->tensor == TINYTL_LITE_CONV        ? &factors[0]
         : segment->tensor == TINYTL_LITE_POINTWISE ? &factors[1]
                                                    : NULL;
}

/* Sizes of the factors; n_x 0: the segment is no weight. */
static tinytl_factors factors_of(const tinytl_network *network, const tinytl_segment *segment) {
  const tinytl_conv *conv = conv_of(network, segment);
  if (conv)
    return (tinytl_factors){.n_x = (size_t)conv->in_h * (size_t)conv->in_w * (size_t)conv->in_c,
                            .n_dy = (size_t)tinytl_conv_n_pixels(conv) * (size_t)conv->out_c};
  if (is_classifier(segment))
    return (tinytl_factors){.n_x = (size_t)network->n_features, .n_dy = (size_t)network->n_classes};
  return (tinytl_factors){0};
}

/* Classes of a slice of the classifier's gradient. */
static size_t slice_classes(const tinytl_network *network) {
  const size_t n_features = (size_t)network->n_features;
  /* The fewest classes that are a multiple of TINYTL_MOMENT_BLOCK values. */
  size_t step = TINYTL_MOMENT_BLOCK;
  while (step > 1 && step / 2 * n_features % TINYTL_MOMENT_BLOCK == 0) step /= 2;
  const size_t n = SLICE / n_features / step * step;
  const size_t classes = n > step ? n : step;
  return classes < (size_t)network->n_classes ? classes : (size_t)network->n_classes;
}

static size_t update_nbytes(const tinytl_network *network, const tinytl_segment *segment,
                            const tinytl_kernels *kernels) {
  const tinytl_conv *conv = conv_of(network, segment);
  if (!conv) return slice_classes(network) * (size_t)network->n_features * sizeof(float);
  return tinytl_round_up(segment->n * sizeof(float), TINYTL_ARENA_ALIGN) +
         tinytl_conv_backward_weight_scratch(conv, kernels);
}

void tinytl_gradients_layout(tinytl_gradients *gradients, const tinytl_params *params,
                             const tinytl_network *network, const tinytl_kernels *kernels,
                             int batch) {
  memset(gradients, 0, sizeof *gradients);
  gradients->batch = batch;
  for (int s = 0; s < params->n_trained_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    gradients->offset[s] = gradients->n;
    const tinytl_factors factors = factors_of(network, segment);
    size_t n = 0;
    const bool counts = tinytl_size_mul((size_t)batch, factors.n_x + factors.n_dy, &n);
    if (factors.n_x == 0 || !counts || n >= segment->n) {
      gradients->n += segment->n;
      continue;
    }
    *factors_at(gradients, segment) = factors;
    gradients->n += n;
    gradients->n_deferred += segment->n;
    gradients->update_nbytes =
        tinytl_size_max(gradients->update_nbytes, update_nbytes(network, segment, kernels));
  }
}

static void place_segment(tinytl_gradients *gradients, const tinytl_segment *segment,
                          float *gradient) {
  if (segment->group == TINYTL_GROUP_BIAS)
    gradients->bias[segment->layer] = gradient;
  else if (segment->group == TINYTL_GROUP_GAIN)
    gradients->gain[segment->layer] = gradient;
  else if (segment->group == TINYTL_GROUP_WEIGHT)
    gradients->weight[segment->layer] = gradient;
  else if (segment->group == TINYTL_GROUP_LITE)
    gradients->lite[segment->lite][segment->tensor] = gradient;
  else if (segment->classifier_bias)
    gradients->classifier_bias = gradient;
  else
    gradients->classifier = gradient;
}

void tinytl_gradients_place(tinytl_gradients *gradients, const tinytl_params *params,
                            float *vector) {
  gradients->vector = vector;
  for (int s = 0; s < params->n_trained_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    float *at = vector + gradients->offset[s];
    tinytl_factors *factors = factors_at(gradients, segment);
    if (!factors || factors->n_x == 0) {
      place_segment(gradients, segment, at);
      continue;
    }
    factors->x = at;
    factors->dy = at + (size_t)gradients->batch * factors->n_x;
  }
}

/* ---- Making ------------------------------------------------------------------------------- */

static tinytl_gradient_range make_slice(const tinytl_factors *factors,
                                        const tinytl_network *network, const tinytl_run *run,
                                        size_t first, int n_images, float *gradient) {
  const size_t n_features = (size_t)network->n_features, from = first / n_features;
  const size_t left = (size_t)network->n_classes - from, slice = slice_classes(network);
  const size_t n_classes = left < slice ? left : slice;
  memset(gradient, 0, n_classes * n_features * sizeof *gradient);
  for (int i = 0; i < n_images; i++)
    tinytl_linear_backward(run, (int)n_features, (int)n_classes, NULL,
                           factors->x + (size_t)i * factors->n_x,
                           factors->dy + (size_t)i * factors->n_dy + from, gradient, NULL, NULL);
  return (tinytl_gradient_range){first, n_classes * n_features, gradient};
}

tinytl_gradient_range tinytl_gradients_make(tinytl_gradients *gradients,
                                            const tinytl_params *params,
                                            const tinytl_network *network, const tinytl_run *run,
                                            int s, size_t first, int n_images, void *memory) {
  const tinytl_segment *segment = &params->segments[s];
  float *summed = gradients->vector + gradients->offset[s], *gradient = memory;
  const tinytl_factors *factors = factors_at(gradients, segment);
  if (!factors || !factors->x) return (tinytl_gradient_range){first, segment->n, summed};
  if (is_classifier(segment)) return make_slice(factors, network, run, first, n_images, gradient);

  const tinytl_conv *conv = conv_of(network, segment);
  tinytl_run own = *run;
  own.scratch = (char *)memory + tinytl_round_up(segment->n * sizeof(float), TINYTL_ARENA_ALIGN);
  memset(gradient, 0, segment->n * sizeof *gradient);
  for (int i = 0; i < n_images; i++)
    tinytl_conv_backward_weight(&own, conv, factors->x + (size_t)i * factors->n_x,
                                factors->dy + (size_t)i * factors->n_dy, gradient);
  return (tinytl_gradient_range){first, segment->n, gradient};
}
