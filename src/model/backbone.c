#include "model/backbone.h"

#include "model/quantise.h"
#include "model/strings.h"

#include <math.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counting ------------------------------------------------------------------------------ */

static void count_layer(tinytl_value_count *count, const tinytl_layer *layer, bool i8) {
  const size_t n = tinytl_layer_n_weights(layer), out_c = (size_t)layer->out_c;
  count->n_floats += out_c + (i8 ? out_c : n);
  if (i8) count->n_codes += n;
}

/* As `stored` has its weights; NULL: all of `type`. */
static tinytl_value_count count_values(const tinytl_arch *arch, const tinytl_backbone *stored,
                                       tinytl_weights type, bool classifier) {
  const bool i8 = type == TINYTL_WEIGHTS_INT8;
  tinytl_value_count count = {0};
  for (int i = 0; i < arch->n_layers; i++)
    count_layer(&count, &arch->layers[i], stored ? stored->weight[i].i8 != NULL : i8);
  for (int i = 0; i < arch->n_lite; i++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&arch->lite[i], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++) count.n_floats += tensors[t].n;
  }
  if (classifier && arch->n_classes > 0) {
    const tinytl_layer layer = tinytl_classifier_layer(arch);
    count_layer(&count, &layer, stored ? stored->classifier.i8 != NULL : i8);
  }
  if (!tinytl_size_mul(count.n_floats, sizeof(float), &count.nbytes) ||
      count.nbytes > SIZE_MAX - count.n_codes)
    count.nbytes = SIZE_MAX;
  else
    count.nbytes += count.n_codes;
  return count;
}

tinytl_value_count tinytl_arch_count_values(const tinytl_arch *arch, tinytl_weights type) {
  return count_values(arch, NULL, type, true);
}

tinytl_value_count tinytl_backbone_count_values(const tinytl_backbone *backbone, bool classifier) {
  return count_values(&backbone->arch, backbone, backbone->weights_type, classifier);
}

/* ---- Building ----------------------------------------------------------------------------- */

/* What is left of the owned block: floats first, then codes. */
typedef struct storage {
  float *floats;
  int8_t *codes;
} storage;

static float *take_floats(storage *block, size_t n) {
  float *taken = block->floats;
  block->floats += n;
  return taken;
}

static int8_t *take_codes(storage *block, size_t n) {
  int8_t *taken = block->codes;
  block->codes += n;
  return taken;
}

static tinytl_status check_finite(const float *values, size_t n, const char *tensor,
                                  tinytl_error *error) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(values[i]))
      return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: value %zu is not a finite number", tensor,
                         i);
  return TINYTL_OK;
}

static tinytl_status copy_floats(storage *block, const float *from, size_t n, const char *tensor,
                                 const float **to, tinytl_error *error) {
  TINYTL_TRY(check_finite(from, n, tensor, error));
  *to = memcpy(take_floats(block, n), from, n * sizeof *from);
  return TINYTL_OK;
}

static tinytl_status copy_weight(storage *block, const tinytl_layer *layer,
                                 const tinytl_weight *from, tinytl_weights type, const char *tensor,
                                 tinytl_weight *to, tinytl_error *error) {
  const tinytl_weight_shape shape = tinytl_weight_shape_of(layer);
  const bool is_f32 = type == TINYTL_WEIGHTS_F32;
  float *f32 = NULL, *scale = NULL;
  int8_t *i8 = NULL;
  if (is_f32) {
    f32 = take_floats(block, shape.n);
  } else {
    scale = take_floats(block, (size_t)shape.out_c);
    i8 = take_codes(block, shape.n);
  }
  if (from->f32)
    TINYTL_TRY(check_finite(from->f32, shape.n, tensor, error));
  else
    TINYTL_TRY(tinytl_scales_check(from->scale, shape.out_c, tensor, error));
  if (is_f32 && from->f32) {
    memcpy(f32, from->f32, shape.n * sizeof *f32);
  } else if (is_f32) {
    tinytl_dequantise(shape, from->i8, from->scale, f32);
  } else if (from->f32) {
    tinytl_quantise(shape, from->f32, i8, scale);
  } else {
    memcpy(scale, from->scale, (size_t)shape.out_c * sizeof *scale);
    memcpy(i8, from->i8, shape.n);
  }
  *to = (tinytl_weight){.i8 = i8, .f32 = f32, .scale = scale};
  return TINYTL_OK;
}

static tinytl_status copy_lite(storage *block, const tinytl_lite *lite,
                               const tinytl_lite_values *from, tinytl_lite_values *to,
                               tinytl_error *error) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(lite, tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    char name[64];
    snprintf(name, sizeof name, "lite.%d.%s", lite->block, tensors[t].name);
    TINYTL_TRY(copy_floats(block, tinytl_lite_data(from, &tensors[t]), tensors[t].n, name,
                           tinytl_lite_member(to, &tensors[t]), error));
  }
  return TINYTL_OK;
}

static tinytl_status copy_values(storage *block, const tinytl_backbone *from, tinytl_weights type,
                                 tinytl_backbone *to, tinytl_error *error) {
  const tinytl_arch *arch = &from->arch;
  char name[64];
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    snprintf(name, sizeof name, "layers.%d.weight", i);
    TINYTL_TRY(copy_weight(block, layer, &from->weight[i], type, name, &to->weight[i], error));
    snprintf(name, sizeof name, "layers.%d.bias", i);
    TINYTL_TRY(copy_floats(block, from->bias[i], (size_t)layer->out_c, name, &to->bias[i], error));
  }
  for (int i = 0; i < arch->n_lite; i++)
    TINYTL_TRY(copy_lite(block, &arch->lite[i], &from->lite[i], &to->lite[i], error));
  if (arch->n_classes == 0) return TINYTL_OK;
  const tinytl_layer classifier = tinytl_classifier_layer(arch);
  TINYTL_TRY(copy_weight(block, &classifier, &from->classifier, type, "classifier.weight",
                         &to->classifier, error));
  return copy_floats(block, from->classifier_bias, (size_t)arch->n_classes, "classifier.bias",
                     &to->classifier_bias, error);
}

static bool hash_bytes(void *context, const void *bytes, size_t nbytes) {
  SHA256Update(context, bytes, nbytes);
  return true;
}

/* The file does not depend on where it is written, so its sha256 is known before. */
static tinytl_status set_sha256(tinytl_backbone *backbone, tinytl_error *error) {
  SHA2_CTX sha256;
  SHA256Init(&sha256);
  TINYTL_TRY(tinytl_backbone_write(backbone, hash_bytes, &sha256, error));
  SHA256End(&sha256, backbone->sha256);
  return TINYTL_OK;
}

static tinytl_status build(tinytl_backbone *to, const tinytl_backbone *from, tinytl_weights type,
                           tinytl_error *error) {
  to->arch = from->arch;
  to->input = from->input;
  to->weights_type = type;
  TINYTL_TRY(tinytl_string_copy(from->source, &to->source, error));
  TINYTL_TRY(tinytl_string_copy(from->licence, &to->licence, error));
  TINYTL_TRY(
      tinytl_strings_copy((const char *const *)from->labels, from->n_labels, &to->labels, error));
  to->n_labels = from->n_labels;

  const tinytl_value_count count = tinytl_arch_count_values(&to->arch, type);
  /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): there is a classifier at least */
  to->storage = malloc(count.nbytes);
  if (!to->storage) return tinytl_fail_memory(error, count.nbytes);
  float *floats = to->storage;
  storage block = {.floats = floats, .codes = (int8_t *)(floats + count.n_floats)};
  TINYTL_TRY(copy_values(&block, from, type, to, error));
  return set_sha256(to, error);
}

tinytl_status tinytl_backbone_build(const tinytl_backbone *values, tinytl_weights weights,
                                    tinytl_backbone **backbone, tinytl_error *error) {
  TINYTL_TRY(tinytl_check_int("weights", (int)weights, 0, TINYTL_WEIGHTS_F32, error));
  tinytl_backbone *built = calloc(1, sizeof *built);
  if (!built) return tinytl_fail_memory(error, sizeof *built);
  tinytl_status status = build(built, values, weights, error);
  if (status != TINYTL_OK)
    tinytl_backbone_free(built);
  else
    *backbone = built;
  return status;
}

void tinytl_backbone_free(tinytl_backbone *backbone) {
  if (!backbone) return;
  free(backbone->labels);
  free(backbone->source);
  free(backbone->licence);
  free(backbone->storage);
  free(backbone);
}

/* ---- Description -------------------------------------------------------------------------- */

void tinytl_backbone_describe(const tinytl_backbone *backbone, tinytl_backbone_info *info) {
  const tinytl_arch *arch = &backbone->arch;
  *info = (tinytl_backbone_info){
      .architecture = arch->name,
      .source = backbone->source,
      .licence = backbone->licence,
      .weights = backbone->weights_type,
      .image_size = backbone->input.size,
      .n_layers = arch->n_layers,
      .n_blocks = arch->n_blocks,
      .n_features = arch->n_features,
      .n_classes = arch->n_classes,
      .n_lite = arch->n_lite,
      .n_parameters = tinytl_arch_count_values(arch, TINYTL_WEIGHTS_F32).n_floats,
      .weight_nbytes = tinytl_backbone_count_values(backbone, true).nbytes,
      .macs = tinytl_arch_macs(arch, backbone->input.size)};
  memcpy(info->sha256, backbone->sha256, sizeof info->sha256);
}

const char *tinytl_backbone_label(const tinytl_backbone *backbone, int index) {
  return index >= 0 && index < backbone->n_labels ? backbone->labels[index] : NULL;
}
