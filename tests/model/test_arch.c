/* Blocks, the lite rule, sizes, and the named architectures, against published figures. */
#include "support/cmocka.h"

#include "model/backbone.h"

#include <string.h>

static tinytl_arch named(const char *name, int n_classes, int expected_size) {
  tinytl_arch arch;
  tinytl_error error;
  int size = 0;
  assert_int_equal(tinytl_arch_named(name, n_classes, &arch, &size, &error), TINYTL_OK);
  assert_int_equal(size, expected_size);
  assert_string_equal(arch.name, name);
  return arch;
}

static size_t parameters(const tinytl_arch *arch) {
  return tinytl_arch_count_values(arch, TINYTL_WEIGHTS_F32).n_floats;
}

/* TinyTL's published model: 19 lite modules of 1,816,416 parameters, 75 M multiply-accumulates
 * beside 319 M of the main branch. */
static void test_proxyless_mobile(void **state) {
  tinytl_arch arch = named("proxyless-mobile", 102, 224);
  (void)state;
  assert_int_equal(arch.n_blocks, 20);
  assert_int_equal(arch.n_features, 1280);
  const uint64_t main_macs = tinytl_arch_macs(&arch, 224);
  const size_t main_parameters = parameters(&arch);
  tinytl_arch_add_lite(&arch, TINYTL_LITE_PAPER, arch.lite, &arch.n_lite);
  tinytl_error error;
  assert_int_equal(tinytl_arch_check_lite(&arch, "test", &error), TINYTL_OK);
  assert_int_equal(arch.n_lite, 19);
  assert_int_equal(parameters(&arch) - main_parameters, 1816416);
  assert_int_equal((main_macs + 500000) / 1000000, 319);
  assert_int_equal((tinytl_arch_macs(&arch, 224) - main_macs + 500000) / 1000000, 75);
}

/* Parameters with batch norms folded, as counted from the paper's table 2 and the rounding rule. */
static void test_mobilenet_v2(void **state) {
  tinytl_arch arch = named("mobilenet-v2-1.0", 1000, 224);
  (void)state;
  assert_int_equal(arch.n_layers, 52);
  assert_int_equal(arch.n_blocks, 17);
  assert_int_equal(parameters(&arch), 3487816);
  assert_int_equal(tinytl_arch_macs(&arch, 224), 300774272); /* 299.5 M and 1280 x 1000 */
  arch = named("mobilenet-v2-0.35", 1000, 224);
  assert_int_equal(arch.n_features, 1280);
  assert_int_equal(arch.layers[0].out_c, 16); /* 11.2: 8 would be below 90 % */
  assert_int_equal(arch.blocks[0].out_c, 8);
  assert_int_equal(arch.blocks[16].out_c, 112);
  assert_int_equal(parameters(&arch), 1670088);
  arch = named("mobilenet-v2-1.4", 10, 224);
  assert_int_equal(arch.layers[0].out_c, 48); /* 44.8 */
  assert_int_equal(arch.n_features, 1792);
  named("mobilenet-v2-2", 1, 224);
  named("mobilenet-v2-0.1", 1, 224);
}

static void test_mcunet(void **state) {
  const tinytl_arch arch = named("mcunet-5fps", 1000, 128);
  (void)state;
  assert_int_equal(arch.n_layers, 42);
  assert_int_equal(arch.n_blocks, 14);
  assert_int_equal(arch.n_features, 160);
  assert_int_equal(parameters(&arch), 630224);
  assert_int_equal(arch.layers[14].add, 11);
}

/* Beside the codes of 8-bit weights a scale and a bias for each of their channels are floats. */
static void test_counts(void **state) {
  static int8_t code;
  tinytl_backbone backbone = {.arch = named("mcunet-5fps", 10, 128)};
  const tinytl_arch *arch = &backbone.arch;
  const size_t n_classifier = 10 * 160, n = parameters(arch);
  size_t channels = 10;
  (void)state;
  for (int i = 0; i < arch->n_layers; i++) channels += (size_t)arch->layers[i].out_c;
  tinytl_value_count count = tinytl_arch_count_values(arch, TINYTL_WEIGHTS_INT8);
  assert_int_equal(count.n_codes, n - channels);
  assert_int_equal(count.n_floats, 2 * channels);
  assert_int_equal(count.nbytes, n - channels + 8 * channels);
  count = tinytl_backbone_count_values(&backbone, true);
  assert_int_equal(count.n_floats, n);
  assert_int_equal(count.n_codes, 0);
  backbone.weight[3].i8 = &code;
  count = tinytl_backbone_count_values(&backbone, false);
  const size_t n_third = tinytl_layer_n_weights(&arch->layers[3]);
  assert_int_equal(count.n_codes, n_third);
  assert_int_equal(count.n_floats, n - n_classifier - 10 - n_third + (size_t)arch->layers[3].out_c);
  backbone.classifier.i8 = &code;
  assert_int_equal(tinytl_backbone_count_values(&backbone, true).n_codes, n_third + n_classifier);
}

static void test_bad_names(void **state) {
  static const char *const names[] = {"",
                                      "resnet",
                                      "mobilenet-v2",
                                      "mobilenet-v2-",
                                      "mobilenet-v2-x",
                                      "mobilenet-v2-0.05",
                                      "mobilenet-v2-2.1",
                                      "mobilenet-v2-1.2345",
                                      "mobilenet-v2-1.0.0",
                                      "mobilenet-v2--1",
                                      "mobilenet-v2-99999999999",
                                      "mcunet-5fps "};
  (void)state;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    tinytl_arch arch;
    tinytl_error error;
    int size;
    if (tinytl_arch_named(names[i], 10, &arch, &size, &error) != TINYTL_ERROR_USAGE)
      fail_msg("accepted: %s", names[i]);
  }
  tinytl_arch arch;
  int size;
  assert_int_equal(tinytl_arch_named("mcunet-5fps", 0, &arch, &size, NULL), TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_arch_named("mcunet-5fps", 100001, &arch, &size, NULL),
                   TINYTL_ERROR_USAGE);
}

/* Output size and first padding of PyTorch (symmetric) and TensorFlow (same). */
static void test_span(void **state) {
  static const struct {
    int in, kernel, stride;
    tinytl_pad pad;
    int out, before;
  } cases[] = {
      {224, 3, 2, TINYTL_PAD_SYMMETRIC, 112, 1}, {225, 3, 2, TINYTL_PAD_SYMMETRIC, 113, 1},
      {224, 3, 2, TINYTL_PAD_SAME, 112, 0},      {225, 3, 2, TINYTL_PAD_SAME, 113, 1},
      {7, 7, 2, TINYTL_PAD_SYMMETRIC, 4, 3},     {7, 7, 2, TINYTL_PAD_SAME, 4, 3},
      {8, 7, 2, TINYTL_PAD_SAME, 4, 2},          {5, 1, 2, TINYTL_PAD_SAME, 3, 0},
      {5, 1, 2, TINYTL_PAD_SYMMETRIC, 3, 0},     {1, 11, 1, TINYTL_PAD_SYMMETRIC, 1, 5},
      {1, 3, 2, TINYTL_PAD_SAME, 1, 1},          {6, 2, 1, TINYTL_PAD_SAME, 6, 0},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const tinytl_span span =
        tinytl_conv_span(cases[i].in, cases[i].kernel, cases[i].stride, cases[i].pad);
    assert_int_equal(span.out, cases[i].out);
    assert_int_equal(span.pad, cases[i].before);
  }
}

/* ---- Chains by hand ----------------------------------------------------------------------- */

static tinytl_layer conv(int in, int out, int kernel, int stride, int groups, tinytl_act act,
                         int add) {
  return (tinytl_layer){in, out, kernel, stride, groups, act, TINYTL_PAD_SYMMETRIC, add};
}

/* Stem, block of 3 layers with a shortcut, convolution, block of 2. */
static tinytl_arch chain(void) {
  tinytl_arch arch = {.n_layers = 7, .n_classes = 4};
  arch.layers[0] = conv(3, 8, 3, 2, 1, TINYTL_ACT_RELU6, -1);
  arch.layers[1] = conv(8, 16, 1, 1, 1, TINYTL_ACT_RELU6, -1);
  arch.layers[2] = conv(16, 16, 3, 1, 16, TINYTL_ACT_RELU6, -1);
  arch.layers[3] = conv(16, 8, 1, 1, 1, TINYTL_ACT_NONE, 0);
  arch.layers[4] = conv(8, 8, 3, 1, 1, TINYTL_ACT_RELU, -1);
  arch.layers[5] = conv(8, 8, 5, 2, 8, TINYTL_ACT_RELU6, -1);
  arch.layers[6] = conv(8, 24, 1, 1, 1, TINYTL_ACT_NONE, -1);
  return arch;
}

static void expect_blocks(tinytl_arch arch, int n, const int (*ranges)[2]) {
  tinytl_error error = {0};
  if (tinytl_arch_finish(&arch, "test", &error) != TINYTL_OK) fail_msg("%s", error.message);
  assert_int_equal(arch.n_blocks, n);
  for (int b = 0; b < n; b++) {
    assert_int_equal(arch.blocks[b].first, ranges[b][0]);
    assert_int_equal(arch.blocks[b].last, ranges[b][1]);
  }
}

static void test_blocks(void **state) {
  (void)state;
  expect_blocks(chain(), 2, (const int[][2]){{1, 3}, {5, 6}});
  tinytl_arch arch = chain();
  arch.layers[1].act = TINYTL_ACT_NONE; /* no expand without activation */
  arch.layers[3].add = -1;
  expect_blocks(arch, 2, (const int[][2]){{2, 3}, {5, 6}});
  arch = chain();
  arch.layers[3].act = TINYTL_ACT_RELU; /* no project with one */
  expect_blocks(arch, 1, (const int[][2]){{5, 6}});
  for (int inside = 1; inside <= 2; inside++) {
    arch = chain();
    arch.layers[4].add = inside; /* reaches into a block */
    arch.layers[4].out_c = arch.layers[5].in_c = arch.layers[5].out_c = arch.layers[5].groups = 16;
    arch.layers[6].in_c = 16;
    expect_blocks(arch, 1, (const int[][2]){{5, 6}});
  }
  /* The first layer is in no block. */
  arch = (tinytl_arch){.n_layers = 3};
  arch.layers[0] = conv(3, 8, 1, 1, 1, TINYTL_ACT_RELU6, -1);
  arch.layers[1] = conv(8, 8, 3, 1, 8, TINYTL_ACT_RELU6, -1);
  arch.layers[2] = conv(8, 8, 1, 1, 1, TINYTL_ACT_NONE, -1);
  expect_blocks(arch, 1, (const int[][2]){{1, 2}});
}

typedef void (*change_fn)(tinytl_arch *arch);
static void no_layers(tinytl_arch *a) {
  a->n_layers = 0;
}
static void many_layers(tinytl_arch *a) {
  a->n_layers = TINYTL_MAX_LAYERS + 1;
}
static void first_in(tinytl_arch *a) {
  a->layers[0].in_c = 1;
}
static void broken_chain(tinytl_arch *a) {
  a->layers[4].in_c = 9;
}
static void no_channels(tinytl_arch *a) {
  a->layers[6].out_c = 0;
}
static void kernel_0(tinytl_arch *a) {
  a->layers[0].kernel = 0;
}
static void kernel_even(tinytl_arch *a) {
  a->layers[0].kernel = 4;
}
static void stride_0(tinytl_arch *a) {
  a->layers[0].stride = 0;
}
static void groups_2(tinytl_arch *a) {
  a->layers[4].groups = 2;
}
/* Was let through, and read past the packed weights. */
static void depthwise_first(tinytl_arch *a) {
  a->layers[0].out_c = a->layers[0].groups = a->layers[1].in_c = 3;
  a->layers[3].add = -1;
}
static void add_itself(tinytl_arch *a) {
  a->layers[3].add = 3;
}
static void add_later(tinytl_arch *a) {
  a->layers[3].add = 5;
}
static void add_width(tinytl_arch *a) {
  a->layers[3].add = 1;
}
static void add_stride(tinytl_arch *a) {
  a->layers[6].add = 4, a->layers[6].out_c = 8;
}
static void add_below(tinytl_arch *a) {
  a->layers[3].add = -2;
}
static void classes(tinytl_arch *a) {
  a->n_classes = TINYTL_MAX_CLASSES + 1;
}

/* The rule's groups, or fewer that divide the input channels with two of them a group at least. */
static void test_lite_groups(void **state) {
  static const struct {
    tinytl_lite_rule rule;
    int channels, groups;
  } cases[] = {
      {TINYTL_LITE_DEFAULT, 16, 8}, {TINYTL_LITE_DEFAULT, 24, 8}, {TINYTL_LITE_DEFAULT, 12, 4},
      {TINYTL_LITE_DEFAULT, 8, 4},  {TINYTL_LITE_DEFAULT, 6, 2},  {TINYTL_LITE_DEFAULT, 7, 1},
      {TINYTL_LITE_DEFAULT, 1, 1},  {TINYTL_LITE_PAPER, 16, 2},   {TINYTL_LITE_PAPER, 7, 1}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinytl_arch arch = chain();
    assert_int_equal(tinytl_arch_finish(&arch, "test", NULL), TINYTL_OK);
    arch.blocks[1].in_c = cases[i].channels;
    tinytl_arch_add_lite(&arch, cases[i].rule, arch.lite, &arch.n_lite);
    assert_int_equal(arch.n_lite, 1);
    assert_int_equal(arch.lite[0].in_c, cases[i].channels);
    assert_int_equal(arch.lite[0].groups, cases[i].groups);
    assert_int_equal(arch.lite[0].mid_c % 8, 0);
    assert_int_equal(arch.lite[0].mid_c % cases[i].groups, 0);
  }
}

static void test_bad_chains(void **state) {
  static const change_fn changes[] = {no_layers,   many_layers, first_in,    broken_chain,
                                      no_channels, kernel_0,    kernel_even, stride_0,
                                      groups_2,    add_itself,  add_later,   add_width,
                                      add_stride,  add_below,   classes,     depthwise_first};
  (void)state;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    tinytl_arch arch = chain();
    tinytl_error error = {0};
    changes[i](&arch);
    assert_int_equal(tinytl_arch_finish(&arch, "net.file", &error), TINYTL_ERROR_MODEL);
    assert_non_null(strstr(error.message, "net.file"));
  }
}

static void test_lite_checks(void **state) {
  (void)state;
  for (int fault = 0; fault < 10; fault++) {
    tinytl_arch arch = chain();
    assert_int_equal(tinytl_arch_finish(&arch, "test", NULL), TINYTL_OK);
    tinytl_arch_add_lite(&arch, TINYTL_LITE_PAPER, arch.lite, &arch.n_lite);
    assert_int_equal(arch.n_lite, 1);
    tinytl_lite *lite = &arch.lite[0];
    assert_int_equal(lite->block, 1);
    assert_int_equal(tinytl_arch_check_lite(&arch, "test", NULL), TINYTL_OK);
    if (fault == 0) lite->block = 2;
    if (fault == 1) lite->in_c++;
    if (fault == 2) lite->out_c++;
    if (fault == 3) lite->stride = 1;
    if (fault == 4) lite->kernel = 4;
    if (fault == 5) lite->groups = 3;
    if (fault == 6) lite->mid_c = 0;
    if (fault == 9) lite->groups = lite->mid_c = lite->in_c; /* would be depthwise */
    if (fault == 7) arch.n_lite = 3;
    if (fault == 8) arch.lite[arch.n_lite++] = *lite; /* twice beside one block */
    assert_int_equal(tinytl_arch_check_lite(&arch, "test", NULL), TINYTL_ERROR_MODEL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_proxyless_mobile), cmocka_unit_test(test_mobilenet_v2),
      cmocka_unit_test(test_mcunet),           cmocka_unit_test(test_counts),
      cmocka_unit_test(test_bad_names),        cmocka_unit_test(test_span),
      cmocka_unit_test(test_blocks),           cmocka_unit_test(test_lite_groups),
      cmocka_unit_test(test_bad_chains),       cmocka_unit_test(test_lite_checks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
