/* Networks by the names of their tensors: families, architecture, folded batch norms. */
#include "support/cmocka.h"
#include "support/torch_maker.h"

#include "core/rng.h"
#include "model/backbone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 512, MAX_MADE_BLOCKS = 24, STEM = 16, HEAD = 24, N_CLASSES = 3 };

typedef struct names {
  const char *source;
  double eps;
  const char *stem[2], *head[2], *classifier;
  const char *block; /* format of number, or of stage and block */
  const char *wide[3][2], *narrow[2][2];
} names;

static const names torchvision = {.source = "MobileNetV2, tensors named as by torchvision",
                                  .eps = 1e-5,
                                  .stem = {"features.0.0", "features.0.1"},
                                  .head = {"features.18.0", "features.18.1"},
                                  .classifier = "classifier.1",
                                  .block = "features.%d.conv.",
                                  .wide = {{"0.0", "0.1"}, {"1.0", "1.1"}, {"2", "3"}},
                                  .narrow = {{"0.0", "0.1"}, {"1", "2"}}};
static const names timm = {.source = "MobileNetV2, tensors named as by timm",
                           .eps = 1e-5,
                           .stem = {"conv_stem", "bn1"},
                           .head = {"conv_head", "bn2"},
                           .classifier = "classifier",
                           .block = "blocks.%d.%d.",
                           .wide = {{"conv_pw", "bn1"}, {"conv_dw", "bn2"}, {"conv_pwl", "bn3"}},
                           .narrow = {{"conv_dw", "bn1"}, {"conv_pw", "bn2"}}};
#define MIT_HAN_LAB                                                                              \
  .eps = 1e-3, .stem = {"first_conv.conv", "first_conv.bn"},                                     \
  .head = {"feature_mix_layer.conv", "feature_mix_layer.bn"}, .classifier = "classifier.linear", \
  .narrow = {{"depth_conv.conv", "depth_conv.bn"}, {"point_linear.conv", "point_linear.bn"}}
#define PLAIN                                                      \
  .source = "ProxylessNAS, tensors named as by mit-han-lab",       \
  .wide = {{"inverted_bottleneck.conv", "inverted_bottleneck.bn"}, \
           {"depth_conv.conv", "depth_conv.bn"},                   \
           {"point_linear.conv", "point_linear.bn"}}
#define ELASTIC                                                            \
  .source = "largest sub-net of a once-for-all ProxylessNAS super-net",    \
  .wide = {{"inverted_bottleneck.conv.conv", "inverted_bottleneck.bn.bn"}, \
           {"depth_conv.conv.conv", "depth_conv.bn.bn"},                   \
           {"point_linear.conv.conv", "point_linear.bn.bn"}}
static const names proxyless = {MIT_HAN_LAB, PLAIN, .block = "blocks.%d.mobile_inverted_conv."};
static const names proxyless_new = {MIT_HAN_LAB, PLAIN, .block = "blocks.%d.conv."};
static const names once_for_all = {MIT_HAN_LAB, ELASTIC,
                                   .block = "blocks.%d.mobile_inverted_conv."};
static const names once_for_all_new = {MIT_HAN_LAB, ELASTIC, .block = "blocks.%d.conv."};

typedef struct made_block {
  int at[2]; /* number, or stage and block */
  int kernel, expand, out_c, stride;
} made_block;

typedef struct made {
  const names *names;
  int n_blocks;
  made_block blocks[MAX_MADE_BLOCKS];
  int n;
  torch_tensor tensors[MAX_TENSORS];
  char text[MAX_TENSORS][96];
  float *values[MAX_TENSORS];
  int in_c;
} made;

/* ---- Making one --------------------------------------------------------------------------- */

static void add_tensor(made *m, const char *prefix, const char *name, const char *suffix,
                       int n_dims, const int *dims, float low) {
  tinytl_rng rng = tinytl_rng_make(7, TINYTL_RNG_INIT, (uint64_t)m->n, 0);
  torch_tensor *tensor = &m->tensors[m->n];
  size_t n = 1;
  *tensor = (torch_tensor){.name = m->text[m->n], .n_dims = n_dims};
  for (int d = 0; d < n_dims; d++) n *= (size_t)(tensor->dims[d] = dims[d]);
  snprintf(m->text[m->n], sizeof m->text[0], "%s%s.%s", prefix, name, suffix);
  float *values = malloc(n * sizeof *values);
  for (size_t i = 0; i < n; i++) values[i] = low + tinytl_rng_uniform(&rng);
  tensor->data = m->values[m->n++] = values;
  tensor->nbytes = n * sizeof *values;
}

static void add_conv(made *m, const char *prefix, const char *const names[2], int out_c, int kernel,
                     bool depthwise) {
  const int dims[] = {out_c, depthwise ? 1 : m->in_c, kernel, kernel};
  add_tensor(m, prefix, names[0], "weight", 4, dims, -0.5f);
  add_tensor(m, prefix, names[1], "weight", 1, dims, 0.5f);
  add_tensor(m, prefix, names[1], "bias", 1, dims, -0.5f);
  add_tensor(m, prefix, names[1], "running_mean", 1, dims, -0.5f);
  add_tensor(m, prefix, names[1], "running_var", 1, dims, 0);
  m->in_c = out_c;
}

static made *make(const names *names, const made_block *blocks, int n_blocks) {
  made *m = calloc(1, sizeof *m);
  m->names = names;
  m->in_c = 3;
  m->n_blocks = n_blocks;
  add_conv(m, "", names->stem, STEM, 3, false);
  for (int b = 0; b < n_blocks; b++) {
    char prefix[64];
    const made_block *block = &blocks[b];
    const int wide_c = m->in_c * block->expand;
    const char *const(*conv)[2] = block->expand > 1 ? names->wide : names->narrow;
    m->blocks[b] = *block;
    snprintf(prefix, sizeof prefix, names->block, block->at[0], block->at[1]);
    if (block->expand > 1) add_conv(m, prefix, *conv++, wide_c, 1, false);
    add_conv(m, prefix, *conv++, wide_c, block->kernel, true);
    add_conv(m, prefix, *conv, block->out_c, 1, false);
  }
  add_conv(m, "", names->head, HEAD, 1, false);
  add_tensor(m, "", names->classifier, "weight", 2, (const int[]){N_CLASSES, HEAD}, -0.5f);
  add_tensor(m, "", names->classifier, "bias", 1, (const int[]){N_CLASSES}, -0.5f);
  return m;
}

static void unmake(made *m) {
  for (int i = 0; i < m->n; i++) free(m->values[i]);
  free(m);
}

static int find(const made *m, const char *name) {
  for (int i = 0; i < m->n; i++)
    if (strcmp(m->text[i], name) == 0) return i;
  fail_msg("no tensor %s was made", name);
  return -1;
}

static tinytl_status import_as(const char *name, const made *m, tinytl_backbone **backbone,
                               tinytl_error *error) {
  sink file = torch_file(m->tensors, m->n);
  const tinytl_status status =
      tinytl_backbone_import(file.bytes, file.nbytes, name, TINYTL_WEIGHTS_F32, backbone, error);
  free(file.bytes);
  return status;
}

static tinytl_status import(const made *m, tinytl_backbone **backbone, tinytl_error *error) {
  return import_as("dir/net.pth", m, backbone, error);
}

/* Frees it. */
static void expect_refused(made *m, const char *reason) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  assert_int_equal(import(m, &backbone, &error), TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
  assert_non_null(strstr(error.message, "dir/net.pth: "));
  assert_null(backbone);
  unmake(m);
}

/* ---- Checks of one that was read ------------------------------------------------------------ */

static void check_layer(const made *m, const tinytl_backbone *backbone, int i, int tensor) {
  const tinytl_layer *layer = &backbone->arch.layers[i];
  const float *weight = m->values[tensor], *gamma = m->values[tensor + 1];
  const float *beta = m->values[tensor + 2], *mean = m->values[tensor + 3];
  const float *variance = m->values[tensor + 4];
  const int in_c = layer->in_c / layer->groups, area = layer->kernel * layer->kernel;
  assert_int_equal(layer->pad, TINYTL_PAD_SYMMETRIC);
  for (int o = 0; o < layer->out_c; o++) {
    const double scale = (double)gamma[o] / sqrt((double)variance[o] + m->names->eps);
    assert_float_equal(backbone->bias[i][o], (double)beta[o] - (double)mean[o] * scale, 1e-5);
    for (int k = 0; k < area; k++)
      for (int c = 0; c < in_c; c++) {
        const int at = layer->groups > 1 ? k * layer->out_c + o : (o * area + k) * in_c + c;
        assert_float_equal(backbone->weight[i].f32[at],
                           (double)weight[(o * in_c + c) * area + k] * scale,
                           1e-6 * (1 + fabs(scale)));
      }
  }
}

static void check_blocks(const made *m, const tinytl_backbone *backbone) {
  int layer = 1;
  assert_int_equal(backbone->arch.n_blocks, m->n_blocks);
  for (int b = 0; b < m->n_blocks; b++) {
    const made_block *block = &m->blocks[b];
    const int in_c = backbone->arch.layers[layer].in_c, last = layer + (block->expand > 1 ? 2 : 1);
    const tinytl_layer *layers = backbone->arch.layers;
    assert_int_equal(layers[last - 1].stride, block->stride);
    assert_int_equal(layers[last - 1].kernel, block->kernel);
    assert_int_equal(layers[last - 1].act, TINYTL_ACT_RELU6);
    assert_int_equal(layers[last].act, TINYTL_ACT_NONE);
    assert_int_equal(layers[last].out_c, block->out_c);
    assert_int_equal(layers[last].add, block->stride == 1 && in_c == block->out_c ? layer - 1 : -1);
    layer = last + 1;
  }
  assert_int_equal(backbone->arch.n_layers, layer + 1);
}

/* Frees it. */
static void expect_network(made *m) {
  tinytl_backbone *backbone = NULL;
  tinytl_backbone_info info;
  tinytl_error error;
  if (import(m, &backbone, &error) != TINYTL_OK) fail_msg("%s", error.message);
  tinytl_backbone_describe(backbone, &info);
  assert_string_equal(info.architecture, "net");
  assert_string_equal(info.source, m->names->source);
  assert_int_equal(info.image_size, 224);
  assert_int_equal(info.n_classes, N_CLASSES);
  assert_int_equal(backbone->input.resize, 256);
  assert_true(backbone->input.mean[2] == 0.406f && backbone->input.std[0] == 0.229f);
  assert_int_equal(backbone->arch.layers[0].stride, 2);
  check_blocks(m, backbone);
  for (int i = 0; i < backbone->arch.n_layers; i++) check_layer(m, backbone, i, 5 * i);
  assert_memory_equal(backbone->classifier.f32, m->values[m->n - 2],
                      N_CLASSES * HEAD * sizeof(float));
  assert_memory_equal(backbone->classifier_bias, m->values[m->n - 1], N_CLASSES * sizeof(float));
  tinytl_backbone_free(backbone);
  unmake(m);
}

/* ---- Networks ----------------------------------------------------------------------------- */

/* The blocks of a MobileNetV2 with so many a stage, all `width` wide. */
static int mobilenet_v2(const int repeats[7], bool staged, int width, made_block *blocks) {
  static const int strides[] = {1, 2, 2, 2, 1, 2, 1};
  int n = 0;
  for (int stage = 0; stage < 7; stage++)
    for (int b = 0; b < repeats[stage]; b++, n++)
      blocks[n] = (made_block){.at = {staged ? stage : n + 1, b},
                               .kernel = 3,
                               .expand = stage ? 6 : 1,
                               .out_c = width,
                               .stride = b == 0 ? strides[stage] : 1};
  return n;
}

static made *make_torchvision(void) {
  made_block blocks[MAX_MADE_BLOCKS];
  const int n = mobilenet_v2((const int[]){1, 2, 3, 4, 3, 3, 1}, false, 8, blocks);
  return make(&torchvision, blocks, n);
}

static made *make_timm(void) {
  made_block blocks[MAX_MADE_BLOCKS];
  const int n = mobilenet_v2((const int[]){1, 1, 2, 1, 1, 1, 1}, true, STEM, blocks);
  return make(&timm, blocks, n);
}

static void test_mobilenet_v2(void **state) {
  (void)state;
  expect_network(make_torchvision());
  expect_network(make_timm());
}

/* Blocks 3 and 4 were searched away; the numbers are kept, so narrow stages need not differ. */
static const made_block numbered[] = {{{0}, 3, 1, 8, 1},   {{1}, 5, 3, 16, 2},  {{2}, 3, 3, 16, 1},
                                      {{5}, 7, 3, 16, 2},  {{6}, 3, 3, 16, 1},  {{9}, 7, 6, 16, 2},
                                      {{13}, 5, 6, 24, 1}, {{14}, 5, 3, 24, 1}, {{17}, 7, 4, 8, 2},
                                      {{18}, 7, 6, 8, 1},  {{21}, 7, 6, 16, 1}};
/* A sub-net whose blocks were numbered anew: the widths tell. */
static const made_block renumbered[] = {{{0}, 3, 1, 8, 1},  {{1}, 5, 3, 16, 2}, {{2}, 3, 3, 16, 1},
                                        {{3}, 7, 3, 24, 2}, {{4}, 7, 6, 8, 2},  {{5}, 5, 6, 16, 1},
                                        {{6}, 7, 4, 24, 2}, {{7}, 7, 6, 8, 1}};
enum {
  N_NUMBERED = sizeof numbered / sizeof *numbered,
  N_RENUMBERED = sizeof renumbered / sizeof *renumbered
};

static void test_proxyless(void **state) {
  static const names *const all[] = {&proxyless, &proxyless_new, &once_for_all, &once_for_all_new};
  (void)state;
  for (int i = 0; i < 4; i++) {
    expect_network(make(all[i], numbered, N_NUMBERED));
    expect_network(make(all[i], renumbered, N_RENUMBERED));
  }
}

/* Kernel transforms are of no use to the largest sub-net, and unexpected anywhere else. */
static void test_kernel_transforms(void **state) {
  static const char prefix[] = "blocks.1.mobile_inverted_conv.", name[] = "depth_conv.conv";
  (void)state;
  made *m = make(&once_for_all, numbered, N_NUMBERED);
  tinytl_backbone *backbone = NULL;
  add_tensor(m, prefix, name, "5to3_matrix", 2, (const int[]){9, 9}, 0);
  assert_int_equal(import(m, &backbone, NULL), TINYTL_OK);
  tinytl_backbone_free(backbone);
  unmake(m);
  m = make(&proxyless, numbered, N_NUMBERED);
  add_tensor(m, prefix, name, "5to3_matrix", 2, (const int[]){9, 9}, 0);
  expect_refused(m, "unexpected tensor \"blocks.1.mobile_inverted_conv.depth_conv.conv.5to3");
}

/* What wraps a network puts something before all of its names. */
static void test_wrapped(void **state) {
  static const char *const wrappers[] = {"module.", "_orig_mod.", "model.", "model._orig_mod.",
                                         "_orig_mod.module.model."};
  (void)state;
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
    made *m = make_torchvision();
    for (int t = 0; t < m->n; t++) {
      char name[sizeof m->text[0]];
      memcpy(name, m->text[t], sizeof name);
      snprintf(m->text[t], sizeof m->text[0], "%s%.64s", wrappers[i], name);
    }
    expect_network(m);
  }
}

/* half() of a whole state_dict makes floats of the counts of batches, which were unexpected. */
static void test_counts_of_batches(void **state) {
  (void)state;
  made *m = make_timm();
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  add_tensor(m, "blocks.1.0.", "bn2", "num_batches_tracked", 0, NULL, 7);
  if (import(m, &backbone, &error) != TINYTL_OK) fail_msg("%s", error.message);
  tinytl_backbone_free(backbone);
  unmake(m);
}

/* ---- Refusals ----------------------------------------------------------------------------- */

static void expect_blocks_refused(const names *names, made_block *blocks, int n,
                                  const char *reason) {
  expect_refused(make(names, blocks, n), reason);
}

static void test_other_layouts(void **state) {
  made_block blocks[MAX_MADE_BLOCKS];
  (void)state;
  int n = mobilenet_v2((const int[]){1, 1, 1, 1, 1, 1, 1}, true, 8, blocks);
  blocks[2].kernel = 5; /* as in MnasNet, which has other activations */
  expect_blocks_refused(&timm, blocks, n, "block \"blocks.2.0.\": expected kernel 3, found 5");
  blocks[2].kernel = 3;
  blocks[4].expand = 3;
  expect_blocks_refused(&timm, blocks, n, "expected 8 channels to become 48, found 24");
  blocks[4].expand = 6;
  expect_blocks_refused(&timm, blocks, n - 1, "fewer than seven stages");
  blocks[n - 1].at[1] = 1;
  expect_blocks_refused(&timm, blocks, n, "fewer than seven stages");
  blocks[n - 1].at[0] = 7;
  expect_blocks_refused(&timm, blocks, n, "fewer than seven stages");
  n = mobilenet_v2((const int[]){1, 2, 3, 4, 3, 3, 2}, false, 8, blocks);
  expect_blocks_refused(&torchvision, blocks, n, "more than seven stages");
  n = mobilenet_v2((const int[]){1, 2, 3, 4, 3, 3, 1}, false, 8, blocks);
  blocks[2].out_c = 16;
  expect_blocks_refused(&torchvision, blocks, n, "the width changes inside of a stage");
  memcpy(blocks, renumbered, sizeof renumbered);
  blocks[2].out_c = 8;
  expect_blocks_refused(&proxyless, blocks, N_RENUMBERED, "more than seven stages");
  expect_blocks_refused(&proxyless, blocks, 4, "fewer than seven stages");
}

/* Only the name tells that the padding is another one. */
static void test_tensorflow_padding(void **state) {
  tinytl_error error;
  (void)state;
  made *m = make_timm();
  assert_int_equal(import_as("dir/tf_net.pth", m, NULL, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "pad as TensorFlow does"));
  unmake(m);
}

/* Tensors that are missing, every seventh, so that each of a layer's five is among them; and those
 * that are too many. */
static void test_missing_and_unexpected(void **state) {
  (void)state;
  made *m = make_timm();
  const int n = m->n;
  for (int i = 0; i < n; i += 7) {
    tinytl_backbone *backbone = NULL;
    m->text[i][0] ^= 0x20;
    assert_int_equal(import(m, &backbone, NULL), TINYTL_ERROR_MODEL);
    m->text[i][0] ^= 0x20;
  }
  add_tensor(m, "blocks.1.0.", "se.conv_reduce", "weight", 4, (const int[]){2, 48, 1, 1}, 0);
  expect_refused(m, "unexpected tensor \"blocks.1.0.se.conv_reduce.weight\"");
  m = make_torchvision();
  m->text[find(m, "features.4.conv.3.running_var")][0] = 'x';
  expect_refused(m, "tensor \"features.4.conv.3.running_var\" is missing");
  m = make_timm();
  for (int i = 0; i < m->n; i++) m->text[i][0] = '?';
  expect_refused(m, "the first one is \"?");
}

static void test_values(void **state) {
  (void)state;
  made *m = make_timm();
  m->values[find(m, "blocks.1.0.bn2.running_var")][3] = -1;
  expect_refused(m, "\"blocks.1.0.bn2.running_var\": value 3 must be 0 at least, found -1");
  m = make_timm();
  m->values[find(m, "blocks.1.0.bn2.running_var")][3] = INFINITY;
  expect_refused(m, "\"blocks.1.0.bn2.running_var\": value 3 is not a finite number");
  m = make_timm();
  m->values[find(m, "conv_head.weight")][3] = NAN;
  expect_refused(m, "\"conv_head.weight\": value 3 is not a finite number");
  m = make_timm();
  m->values[find(m, "bn2.weight")][0] = 3e38f;
  m->values[find(m, "bn2.running_var")][0] = 0;
  expect_refused(m, "is not a finite number"); /* once it is folded */
}

static void test_shapes(void **state) {
  (void)state;
  made *m = make_timm();
  m->tensors[find(m, "conv_head.weight")].n_dims = 3;
  expect_refused(m, "\"conv_head.weight\": expected 4 dimensions");
  m = make_timm();
  torch_tensor *tensor = &m->tensors[find(m, "conv_stem.weight")];
  tensor->dims[0] = 48;
  tensor->dims[1] = 1;
  expect_refused(m, "expected 48 channels to become 48, found 16");
  m = make_timm();
  m->tensors[find(m, "classifier.bias")].n_dims = 2;
  m->tensors[find(m, "classifier.bias")].dims[1] = 1;
  expect_refused(m, "expected a tensor \"classifier.bias\" of 1 to 100000 values");
}

static int import_only(const void *bytes, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  const tinytl_status status =
      tinytl_backbone_import(bytes, nbytes, "file", TINYTL_WEIGHTS_INT8, &backbone, NULL);
  if (status == TINYTL_OK) tinytl_backbone_free(backbone);
  return (int)status;
}

static void test_damage(void **state) {
  (void)state;
  made *m = make_timm();
  sink file = torch_file(m->tensors, m->n);
  sink_damage(&file, 500, TINYTL_ERROR_MODEL, import_only);
  free(file.bytes);
  unmake(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mobilenet_v2),
      cmocka_unit_test(test_proxyless),
      cmocka_unit_test(test_kernel_transforms),
      cmocka_unit_test(test_wrapped),
      cmocka_unit_test(test_counts_of_batches),
      cmocka_unit_test(test_other_layouts),
      cmocka_unit_test(test_tensorflow_padding),
      cmocka_unit_test(test_missing_and_unexpected),
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
