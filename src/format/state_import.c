/* Import of a state_dict: its names tell the family, its shapes the architecture. Batch norms are
 * folded into the convolutions before them:
 *
 *   weight' = weight * scale,  bias' = shift - mean * scale,  scale = gamma / sqrt(variance + eps)
 */
#include "format/families.h"
#include "format/import.h"
#include "format/imported.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int stage_strides[TINYTL_N_STAGES] = {1, 2, 2, 2, 1, 2, 1};
enum { MAX_BLOCKS = 64 }; /* of a network numbered through, or of a stage */

typedef char tensor_name[TINYTL_MAX_TENSOR_NAME];

typedef struct net {
  const tinytl_state_dict *state;
  const tinytl_family *family;
  int stage;     /* of the last block; -1: none yet */
  bool by_width; /* a stage begins where the width changes */
  int n_blocks;
  tinytl_backbone values;
  tensor_name conv[TINYTL_MAX_LAYERS], norm[TINYTL_MAX_LAYERS];
} net;

static tinytl_status fail(const net *n, const char *reason, tinytl_error *error) {
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %s: %s", n->state->file,
                     n->family->description, reason);
}

/* ---- Layers ------------------------------------------------------------------------------- */

/* Reads how wide a convolution and its kernel are; the rest is checked when it is read. */
static tinytl_status find_shape(const net *n, const tensor_name conv, int *out_c, int *kernel,
                                tinytl_error *error) {
  tensor_name name;
  snprintf(name, sizeof name, "%.80s.weight", conv);
  const tinytl_state_tensor *weight = NULL;
  TINYTL_TRY(tinytl_state_need(n->state, name, &weight, error));
  if (weight->n_dims != 4 || weight->dims[0] > TINYTL_MAX_CHANNELS ||
      weight->dims[3] > TINYTL_MAX_KERNEL)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: tensor \"%s\": expected 4 dimensions, up to %d channels and kernels of "
                       "up to %d",
                       n->state->file, name, TINYTL_MAX_CHANNELS, TINYTL_MAX_KERNEL);
  *out_c = (int)weight->dims[0];
  *kernel = (int)weight->dims[3];
  return TINYTL_OK;
}

/* prefix: of the block, "" outside of one. */
static tinytl_status push_layer(net *n, const char *prefix, const tinytl_conv_names *names,
                                int stride, bool depthwise, tinytl_act act, tinytl_error *error) {
  tinytl_arch *arch = &n->values.arch;
  if (arch->n_layers == TINYTL_MAX_LAYERS) return fail(n, "too many layers", error);
  const int in_c = arch->n_layers ? arch->layers[arch->n_layers - 1].out_c : 3;
  tinytl_layer *layer = &arch->layers[arch->n_layers];
  char *conv = n->conv[arch->n_layers], *norm = n->norm[arch->n_layers];
  snprintf(conv, TINYTL_MAX_TENSOR_NAME, "%.48s%.32s", prefix, names->conv);
  snprintf(norm, TINYTL_MAX_TENSOR_NAME, "%.48s%.32s", prefix, names->norm);
  *layer = (tinytl_layer){.in_c = in_c,
                          .stride = stride,
                          .groups = depthwise ? in_c : 1,
                          .act = act,
                          .pad = TINYTL_PAD_SYMMETRIC,
                          .add = -1};
  arch->n_layers++;
  return find_shape(n, conv, &layer->out_c, &layer->kernel, error);
}

/* ---- Blocks ------------------------------------------------------------------------------- */

static bool has(const net *n, const char *prefix, const char *name) {
  tensor_name full;
  snprintf(full, sizeof full, "%.48s%.32s.weight", prefix, name);
  return tinytl_state_find(n->state, full) != NULL;
}

/* Some names mean one layer in a block with expansion and another one in a block without. */
static bool is_wide(const net *n, const char *prefix) {
  return has(n, prefix, n->family->wide[0].conv) && has(n, prefix, n->family->wide[2].norm);
}

static bool is_there(const net *n, const char *prefix) {
  return is_wide(n, prefix) || has(n, prefix, n->family->narrow[0].conv);
}

static tinytl_status check_block(const net *n, int first, const char *prefix, tinytl_error *error) {
  const tinytl_family *family = n->family;
  const tinytl_arch *arch = &n->values.arch;
  const tinytl_layer *depthwise = &arch->layers[arch->n_layers - 2];
  const int in_c = arch->layers[first].in_c;
  if (family->kernel && depthwise->kernel != family->kernel)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: %s: block \"%.48s\": expected kernel %d, found %d", n->state->file,
                       family->description, prefix, family->kernel, depthwise->kernel);
  const int expand = n->n_blocks == 0 ? 1 : family->expand;
  if (expand && depthwise->out_c != expand * in_c)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: %s: block \"%.48s\": expected %d channels to become %d, found %d",
                       n->state->file, family->description, prefix, in_c, expand * in_c,
                       depthwise->out_c);
  return TINYTL_OK;
}

/* starts: by its number the block is the first one of a stage. */
static tinytl_status push_block(net *n, const char *prefix, bool starts, tinytl_error *error) {
  tinytl_arch *arch = &n->values.arch;
  const int first = arch->n_layers, in_c = arch->layers[first - 1].out_c;
  const bool wide = is_wide(n, prefix);
  const tinytl_conv_names *names = wide ? n->family->wide : n->family->narrow;
  if (wide) TINYTL_TRY(push_layer(n, prefix, names++, 1, false, TINYTL_ACT_RELU6, error));
  TINYTL_TRY(push_layer(n, prefix, names++, 1, true, TINYTL_ACT_RELU6, error));
  TINYTL_TRY(push_layer(n, prefix, names, 1, false, TINYTL_ACT_NONE, error));
  TINYTL_TRY(check_block(n, first, prefix, error));
  tinytl_layer *depthwise = &arch->layers[arch->n_layers - 2], *project = depthwise + 1;
  if (n->by_width) starts = n->n_blocks == 0 || project->out_c != in_c;
  if (starts && ++n->stage == TINYTL_N_STAGES) return fail(n, "more than seven stages", error);
  if (!starts && project->out_c != in_c)
    return fail(n, "the width changes inside of a stage", error);
  if (starts) depthwise->stride = stage_strides[n->stage];
  if (depthwise->stride == 1 && project->out_c == in_c) project->add = first - 1;
  n->n_blocks++;
  return TINYTL_OK;
}

/* Prefix of the names of block `number`; false: it is not there. */
static bool find_numbered(const net *n, int number, tensor_name prefix) {
  snprintf(prefix, TINYTL_MAX_TENSOR_NAME, "%s%d%s", n->family->before, number, n->family->after);
  return is_there(n, prefix);
}

static tinytl_status push_numbered(net *n, tinytl_error *error) {
  const tinytl_family *family = n->family;
  tensor_name prefix;
  int last = -1, end = family->first_number, begin = family->first_number, stage = 0;
  for (int b = 0; b < MAX_BLOCKS; b++)
    if (find_numbered(n, b, prefix)) last = b;
  for (int s = 0; s < TINYTL_N_STAGES; s++) end += family->blocks[s];
  n->by_width = family->sparse && last != end - 1;
  for (int b = 0; b < MAX_BLOCKS; b++) {
    const bool starts = b == begin;
    if (!find_numbered(n, b, prefix)) continue;
    if (starts && stage < TINYTL_N_STAGES) begin += family->blocks[stage++];
    TINYTL_TRY(push_block(n, prefix, starts, error));
  }
  return TINYTL_OK;
}

static tinytl_status push_staged(net *n, tinytl_error *error) {
  for (int stage = 0; stage < TINYTL_N_STAGES; stage++)
    for (int b = 0; b < MAX_BLOCKS; b++) {
      tensor_name prefix;
      snprintf(prefix, sizeof prefix, "%s%d.%d%s", n->family->before, stage, b, n->family->after);
      if (!is_there(n, prefix)) break;
      TINYTL_TRY(push_block(n, prefix, b == 0, error));
    }
  return TINYTL_OK;
}

static tinytl_status push_layers(net *n, tinytl_error *error) {
  const tinytl_family *family = n->family;
  TINYTL_TRY(push_layer(n, "", &family->stem, 2, false, TINYTL_ACT_RELU6, error));
  TINYTL_TRY(family->blocks[0] ? push_numbered(n, error) : push_staged(n, error));
  if (n->stage != TINYTL_N_STAGES - 1) return fail(n, "fewer than seven stages", error);
  return push_layer(n, "", &family->head, 1, false, TINYTL_ACT_RELU6, error);
}

static tinytl_status find_architecture(net *n, tinytl_error *error) {
  tinytl_arch *arch = &n->values.arch;
  n->stage = -1;
  TINYTL_TRY(push_layers(n, error));
  tensor_name name;
  snprintf(name, sizeof name, "%s.bias", n->family->classifier);
  const tinytl_state_tensor *bias = tinytl_state_find(n->state, name);
  if (!bias || bias->n_dims != 1 || bias->dims[0] < 1 || bias->dims[0] > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a tensor \"%s\" of 1 to %d values",
                       n->state->file, name, TINYTL_MAX_CLASSES);
  arch->n_classes = (int)bias->dims[0];
  tinytl_import_name(n->state->file, arch->name);
  if (strncmp(arch->name, "tf_", 3) == 0)
    return fail(n, "networks called tf_... pad as TensorFlow does, which is not supported here",
                error);
  return tinytl_arch_finish(arch, n->state->file, error);
}

/* ---- Values ------------------------------------------------------------------------------- */

/* Reads tensor PREFIX.name. */
static tinytl_status read_values(const net *n, const char *prefix, const char *suffix, int n_dims,
                                 const int *dims, float *to, tinytl_error *error) {
  tensor_name name;
  snprintf(name, sizeof name, "%.80s.%s", prefix, suffix);
  return tinytl_state_read(n->state, name, n_dims, dims, to, error);
}

/* Makes scale and bias of a batch norm; `room` holds 3 * out_c floats. */
static tinytl_status read_norm(const net *n, int i, float *room, double *scale, float *bias,
                               tinytl_error *error) {
  const int out_c = n->values.arch.layers[i].out_c;
  float *gamma = room, *mean = gamma + out_c, *variance = mean + out_c;
  TINYTL_TRY(read_values(n, n->norm[i], "weight", 1, &out_c, gamma, error));
  TINYTL_TRY(read_values(n, n->norm[i], "bias", 1, &out_c, bias, error));
  TINYTL_TRY(read_values(n, n->norm[i], "running_mean", 1, &out_c, mean, error));
  TINYTL_TRY(read_values(n, n->norm[i], "running_var", 1, &out_c, variance, error));
  for (int c = 0; c < out_c; c++) {
    if (variance[c] < 0)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: tensor \"%s.running_var\": value %d must be 0 at least, found %g",
                         n->state->file, n->norm[i], c, (double)variance[c]);
    scale[c] = gamma[c] / sqrt(variance[c] + n->family->eps);
    bias[c] = (float)(bias[c] - mean[c] * scale[c]);
  }
  return TINYTL_OK;
}

/* Room for one layer at a time, as large as the largest. */
typedef struct room {
  float *floats;
  double *scale;
} room;

static tinytl_status read_layer(net *n, int i, const room *r, float **next, tinytl_error *error) {
  const tinytl_layer *layer = &n->values.arch.layers[i];
  const int dims[] = {layer->out_c, layer->in_c / layer->groups, layer->kernel, layer->kernel};
  float *weight = *next, *bias = weight + tinytl_layer_n_weights(layer);
  TINYTL_TRY(read_norm(n, i, r->floats, r->scale, bias, error));
  TINYTL_TRY(read_values(n, n->conv[i], "weight", 4, dims, r->floats, error));
  tinytl_import_reorder(layer, r->floats, r->scale, weight);
  n->values.weight[i].f32 = weight;
  n->values.bias[i] = bias;
  *next = bias + layer->out_c;
  return TINYTL_OK;
}

static tinytl_status read_tensors(net *n, const room *r, float *next, tinytl_error *error) {
  const tinytl_arch *arch = &n->values.arch;
  for (int i = 0; i < arch->n_layers; i++) TINYTL_TRY(read_layer(n, i, r, &next, error));
  const int dims[] = {arch->n_classes, arch->n_features};
  const char *classifier = n->family->classifier;
  float *bias = next + (size_t)arch->n_classes * (size_t)arch->n_features;
  TINYTL_TRY(read_values(n, classifier, "weight", 2, dims, next, error));
  TINYTL_TRY(read_values(n, classifier, "bias", 1, dims, bias, error));
  n->values.classifier.f32 = next;
  n->values.classifier_bias = bias;
  return tinytl_state_all_read(n->state, n->family->unused, error);
}

/* Values that the network takes, and the floats of room for one layer. The file must be able to
 * hold as many, of 2 bytes at least: then nothing is larger than a few times the file. */
static tinytl_status count_values(const net *n, size_t *n_values, size_t *n_room,
                                  tinytl_error *error) {
  const tinytl_arch *arch = &n->values.arch;
  *n_values = (size_t)arch->n_classes * ((size_t)arch->n_features + 1);
  *n_room = 0;
  for (int i = 0; i < arch->n_layers && *n_values <= n->state->file_nbytes / 2; i++) {
    const size_t n_weights = tinytl_layer_n_weights(&arch->layers[i]);
    const size_t out_c = (size_t)arch->layers[i].out_c;
    *n_values += n_weights + out_c;
    *n_room = tinytl_size_max(*n_room, tinytl_size_max(n_weights, 3 * out_c));
  }
  if (*n_values > n->state->file_nbytes / 2)
    return tinytl_fail(
        error, TINYTL_ERROR_MODEL,
        "%s: the architecture takes at least %zu values, more than a file of %zu bytes holds",
        n->state->file, *n_values, n->state->file_nbytes);
  return TINYTL_OK;
}

/* ---- Import ------------------------------------------------------------------------------- */

static tinytl_status import(net *n, tinytl_weights weights, tinytl_backbone **backbone,
                            tinytl_error *error) {
  size_t n_values = 0, n_room = 0;
  TINYTL_TRY(find_architecture(n, error));
  TINYTL_TRY(count_values(n, &n_values, &n_room, error));
  float *block = malloc(n_values * sizeof *block);
  const room r = {.floats = calloc(n_room + 1, sizeof *r.floats),
                  .scale = calloc(TINYTL_MAX_CHANNELS, sizeof *r.scale)};
  tinytl_status status = block && r.floats && r.scale
                             ? read_tensors(n, &r, block, error)
                             : tinytl_fail_memory(error, n_values * sizeof *block);
  if (status == TINYTL_OK)
    status = tinytl_import_build(&n->values, n->state->file, weights, backbone, error);
  free(r.scale);
  free(r.floats);
  free(block);
  return status;
}

tinytl_status tinytl_import_state(const tinytl_state_dict *state, tinytl_weights weights,
                                  tinytl_backbone **backbone, tinytl_error *error) {
  const tinytl_family *family = tinytl_family_of(state);
  if (!family)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: its tensors have not the names of a MobileNetV2 of torchvision or "
                       "timm, a ProxylessNAS or a once-for-all ProxylessNAS super-net; the first "
                       "one is \"%.60s\"",
                       state->file, state->n ? state->tensors[0].name : "");
  net *n = calloc(1, sizeof *n);
  if (!n) return tinytl_fail_memory(error, sizeof *n);
  n->state = state;
  n->family = family;
  n->values.source = (char *)family->description;
  /* What all of these networks were trained with on ImageNet. */
  n->values.input = tinytl_input_imagenet(224);
  const tinytl_status status = import(n, weights, backbone, error);
  free(n);
  return status;
}
