#include "support/tiny_net.h"

#include "core/rng.h"

#include <stdlib.h>
#include <string.h>

static const tinytl_layer layers[] = {
    /* in, out, kernel, stride, groups, act, pad, add */
    {3, 8, 3, 2, 1, TINYTL_ACT_RELU6, 0, -1},
    {8, 8, 3, 1, 8, TINYTL_ACT_RELU6, 0, -1}, /* block 0: no expansion */
    {8, 8, 1, 1, 1, TINYTL_ACT_NONE, 0, -1},
    {8, 24, 1, 1, 1, TINYTL_ACT_RELU6, 0, -1}, /* block 1: stride 2 */
    {24, 24, 5, 2, 24, TINYTL_ACT_RELU, 0, -1},
    {24, 16, 1, 1, 1, TINYTL_ACT_NONE, 0, -1},
    {16, 48, 1, 1, 1, TINYTL_ACT_RELU6, 0, -1}, /* block 2: shortcut */
    {48, 48, 3, 1, 48, TINYTL_ACT_RELU6, 0, -1},
    {48, 16, 1, 1, 1, TINYTL_ACT_NONE, 0, 5},
    {16, 32, 1, 1, 1, TINYTL_ACT_RELU, 0, -1}, /* block 3: shortcut again */
    {32, 32, 3, 1, 32, TINYTL_ACT_RELU, 0, -1},
    {32, 16, 1, 1, 1, TINYTL_ACT_NONE, 0, 8},
    {16, 16, 3, 1, 1, TINYTL_ACT_RELU6, 0, 11}, /* no block: shortcut after an activation */
    {16, 16, 1, 1, 1, TINYTL_ACT_NONE, 0, 12},  /* shortcut past this layer alone */
    {16, 40, 1, 1, 1, TINYTL_ACT_RELU6, 0, -1},
};
enum { N_LAYERS = sizeof layers / sizeof *layers };

static float *random_values(tinytl_rng *rng, size_t n, float scale, float offset) {
  float *values = malloc(n * sizeof *values);
  for (size_t i = 0; i < n; i++) values[i] = offset + scale * tinytl_rng_normal(rng);
  return values;
}

static void random_lite(const tinytl_lite *lite, tinytl_rng *rng, tinytl_lite_values *values) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(lite, tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    const bool scale = t == TINYTL_LITE_SCALE1 || t == TINYTL_LITE_SCALE2;
    *tinytl_lite_member(values, &tensors[t]) =
        random_values(rng, tensors[t].n, 0.2f, scale ? 0.8f : 0.0f);
  }
}

static void free_values(tinytl_backbone *values) {
  for (int i = 0; i < values->arch.n_layers; i++) {
    free((void *)values->weight[i].f32);
    free((void *)values->bias[i]);
  }
  for (int m = 0; m < values->arch.n_lite; m++) {
    free((void *)values->lite[m].conv);
    free((void *)values->lite[m].scale1);
    free((void *)values->lite[m].shift1);
    free((void *)values->lite[m].pointwise);
    free((void *)values->lite[m].scale2);
    free((void *)values->lite[m].shift2);
  }
  free((void *)values->classifier.f32);
  free((void *)values->classifier_bias);
  free(values);
}

tinytl_backbone *tiny_backbone(tinytl_weights weights, tinytl_pad pad, bool with_lite) {
  tinytl_backbone *values = calloc(1, sizeof *values), *made = NULL;
  tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_INIT, 2, 3);
  tinytl_arch *arch = &values->arch;
  strcpy(arch->name, "tiny");
  arch->n_layers = N_LAYERS;
  memcpy(arch->layers, layers, sizeof layers);
  arch->n_classes = TINY_CLASSES;
  for (int i = 0; i < N_LAYERS; i++) {
    tinytl_layer *layer = &arch->layers[i];
    layer->pad = pad;
    const float fan_in = (float)(layer->kernel * layer->kernel * layer->in_c / layer->groups);
    values->weight[i].f32 =
        random_values(&rng, tinytl_layer_n_weights(layer), 1.4f / __builtin_sqrtf(fan_in), 0);
    values->bias[i] = random_values(&rng, (size_t)layer->out_c, 0.3f, 0.2f);
  }
  tinytl_error error = {0};
  if (tinytl_arch_finish(arch, "tiny", &error) != TINYTL_OK) abort();
  if (with_lite) {
    tinytl_arch_add_lite(arch, TINYTL_LITE_PAPER, arch->lite, &arch->n_lite);
    for (int m = 0; m < arch->n_lite; m++) random_lite(&arch->lite[m], &rng, &values->lite[m]);
  }
  values->classifier.f32 = random_values(&rng, (size_t)(TINY_CLASSES * arch->n_features), 0.3f, 0);
  values->classifier_bias = random_values(&rng, TINY_CLASSES, 0.3f, 0);
  values->input = (tinytl_input){TINY_SIZE, TINY_SIZE, {0.5f, 0.4f, 0.3f}, {0.5f, 0.3f, 0.2f}};
  if (tinytl_backbone_build(values, weights, &made, &error) != TINYTL_OK) abort();
  free_values(values);
  return made;
}

void tiny_picture(uint64_t seed, uint8_t *rgb) {
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_AUGMENT, 0, 0);
  for (int i = 0; i < TINY_SIZE * TINY_SIZE * 3; i++) rgb[i] = (uint8_t)tinytl_rng_below(&rng, 256);
}

void tiny_perturb(const tinytl_params *params, uint64_t seed, float *values) {
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 7, 7);
  for (int s = 0; s < params->n_segments; s++) {
    const tinytl_segment *segment = &params->segments[s];
    for (size_t i = 0; i < segment->n; i++)
      values[segment->offset + i] += 0.2f * tinytl_rng_normal(&rng);
  }
}
