/* Random weights for a named architecture. */
#include "core/rng.h"
#include "model/backbone.h"

#include <math.h>
#include <stdlib.h>

/* Second key of the streams; the first is the layer. */
enum { STREAM_WEIGHT, STREAM_CLASSIFIER };

/* He fan-out normal: deviation sqrt(2 / (kernel^2 out / groups)) (He et al., 2015).
 *
 * There are no norms that would set the activations right again, so each weight is multiplied by
 * what keeps the mean square of the activations where it was: sqrt(fan_out / fan_in), which makes
 * it the fan-in rule, without the 2 where no activation halves the mean square, and with another
 * half where a shortcut adds a second map. */
static void fill_weight(const tinytl_layer *layer, int index, uint64_t seed, float *w) {
  const double area = (double)layer->kernel * layer->kernel;
  const double fan_out = area * layer->out_c / layer->groups;
  const double fan_in = area * layer->in_c / layer->groups;
  double gain = sqrt(fan_out / fan_in);
  if (layer->act == TINYTL_ACT_NONE) gain *= sqrt(0.5);
  if (layer->add >= 0) gain *= 0.5;
  const float deviation = (float)(sqrt(2 / fan_out) * gain);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, (uint64_t)index, STREAM_WEIGHT);
  const size_t n = tinytl_layer_n_weights(layer);
  for (size_t i = 0; i < n; i++) w[i] = deviation * tinytl_rng_normal(&rng);
}

void tinytl_lite_random(const tinytl_lite_tensor *tensor, int t, int stream, uint64_t seed,
                        float *values) {
  if (t == TINYTL_LITE_CONV || t == TINYTL_LITE_POINTWISE) {
    const int taps = t == TINYTL_LITE_CONV ? tensor->dims[1] * tensor->dims[2] : 1;
    const float std = sqrtf(2.0f / (float)(tensor->dims[0] * taps));
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 1 + (uint64_t)stream, (uint64_t)t);
    for (size_t i = 0; i < tensor->n; i++) values[i] = std * tinytl_rng_normal(&rng);
  } else {
    for (size_t i = 0; i < tensor->n; i++) values[i] = t == TINYTL_LITE_SCALE1 ? 1.0f : 0.0f;
  }
}

/* U(-1 / sqrt(in), 1 / sqrt(in)). */
static void fill_classifier(int n_features, size_t n, uint64_t seed, float *w) {
  const float limit = 1 / sqrtf((float)n_features);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, STREAM_CLASSIFIER);
  for (size_t i = 0; i < n; i++) w[i] = limit * (2 * tinytl_rng_uniform(&rng) - 1);
}

/* The largest of what the biases need, all zero. */
static int most_channels(const tinytl_arch *arch) {
  int most = arch->n_classes;
  for (int i = 0; i < arch->n_layers; i++)
    if (arch->layers[i].out_c > most) most = arch->layers[i].out_c;
  return most;
}

/* All lite modules, from `next` on; with NULL it only counts. */
static size_t fill_lite(const tinytl_arch *arch, uint64_t seed, float *next,
                        tinytl_lite_values *lite) {
  size_t n = 0;
  for (int m = 0; m < arch->n_lite; m++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&arch->lite[m], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; n += tensors[t++].n) {
      if (!next) continue;
      tinytl_lite_random(&tensors[t], t, arch->n_layers + m, seed, next + n);
      *tinytl_lite_member(&lite[m], &tensors[t]) = next + n;
    }
  }
  return n;
}

static tinytl_status fill_and_build(tinytl_backbone *values, tinytl_weights weights, uint64_t seed,
                                    tinytl_backbone **backbone, tinytl_error *error) {
  const tinytl_arch *arch = &values->arch;
  const size_t n_classifier = (size_t)arch->n_classes * (size_t)arch->n_features;
  size_t n = n_classifier + (size_t)most_channels(arch) + fill_lite(arch, seed, NULL, NULL);
  for (int i = 0; i < arch->n_layers; i++) n += tinytl_layer_n_weights(&arch->layers[i]);
  float *block = calloc(n, sizeof *block);
  if (!block) return tinytl_fail_memory(error, n * sizeof *block);

  const float *zeros = block;
  float *next = block + most_channels(arch);
  for (int i = 0; i < arch->n_layers; i++) {
    fill_weight(&arch->layers[i], i, seed, next);
    values->weight[i].f32 = next;
    values->bias[i] = zeros;
    next += tinytl_layer_n_weights(&arch->layers[i]);
  }
  fill_classifier(arch->n_features, n_classifier, seed, next);
  values->classifier.f32 = next;
  values->classifier_bias = zeros;
  fill_lite(arch, seed, next + n_classifier, values->lite);
  tinytl_status status = tinytl_backbone_build(values, weights, backbone, error);
  free(block);
  return status;
}

tinytl_status tinytl_backbone_random(const tinytl_arch *arch, int image_size,
                                     tinytl_weights weights, uint64_t seed,
                                     tinytl_backbone **backbone, tinytl_error *error) {
  tinytl_backbone *values = calloc(1, sizeof *values);
  if (!values) return tinytl_fail_memory(error, sizeof *values);
  values->input = tinytl_input_imagenet(image_size);
  values->arch = *arch;
  const tinytl_status status = fill_and_build(values, weights, seed, backbone, error);
  free(values);
  return status;
}

tinytl_status tinytl_backbone_init(const char *architecture, int n_classes, tinytl_weights weights,
                                   uint64_t seed, tinytl_backbone **backbone, tinytl_error *error) {
  int image_size;
  tinytl_arch *arch = malloc(sizeof *arch);
  if (!arch) return tinytl_fail_memory(error, sizeof *arch);
  tinytl_status status = tinytl_arch_named(architecture, n_classes, arch, &image_size, error);
  if (status == TINYTL_OK)
    status = tinytl_backbone_random(arch, image_size, weights, seed, backbone, error);
  free(arch);
  return status;
}
