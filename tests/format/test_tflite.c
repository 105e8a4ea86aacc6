/* Graphs that the files at hand do not have, what is refused, and damage. */
#include "support/cmocka.h"
#include "support/tflite_maker.h"

#include "model/backbone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  ADD = 0,
  AVERAGE_POOL = 1,
  CONV = 3,
  DEPTHWISE = 4,
  FULLY = 9,
  MUL = 18,
  RELU = 19,
  RELU6 = 21,
  RESHAPE = 22,
  RESIZE_BILINEAR = 23,
  SOFTMAX = 25,
  PAD = 34,
  MEAN = 40
};
enum { SAME, VALID };
enum { SIZE = 16, WIDTH = 8 };

static float values[4096];

static void fill_values(void) {
  for (int i = 0; i < 4096; i++) values[i] = (float)(i * 37 % 101 - 50) / 50;
}

#define DIMS(...) ((const int[]){__VA_ARGS__})

static maker start(void) {
  maker m = {0};
  fill_values();
  maker_float(&m, 4, DIMS(1, SIZE, SIZE, 3), NULL);
  return m;
}

/* A convolution of the tensor `x`; returns its output's index. */
static int conv(maker *m, int x, int kernel, int stride, int padding, int act) {
  const int in = m->tensors[x].dims[3], side = m->tensors[x].dims[1];
  const int out = padding == SAME ? (side + stride - 1) / stride : (side - kernel) / stride + 1;
  const int w = maker_float(m, 4, DIMS(WIDTH, kernel, kernel, in), values);
  const int b = maker_float(m, 1, DIMS(WIDTH), values + 7);
  return maker_add(
      m,
      (maker_op){.code = CONV,
                 .n_inputs = 3,
                 .inputs = {x, w, b},
                 .n_options = 4,
                 .options = {{0, 1, padding}, {1, 4, stride}, {2, 4, stride}, {3, 1, act}}},
      DIMS(1, out, out, WIDTH));
}

static int depthwise(maker *m, int x, int kernel, int stride) {
  const int side = m->tensors[x].dims[1], out = (side + stride - 1) / stride;
  const int w = maker_float(m, 4, DIMS(1, kernel, kernel, WIDTH), values);
  const int b = maker_float(m, 1, DIMS(WIDTH), values + 3);
  return maker_add(
      m,
      (maker_op){.code = DEPTHWISE,
                 .n_inputs = 3,
                 .inputs = {x, w, b},
                 .n_options = 5,
                 .options = {{0, 1, SAME}, {1, 4, stride}, {2, 4, stride}, {3, 4, 1}, {4, 1, 3}}},
      DIMS(1, out, out, WIDTH));
}

static int with_constant(maker *m, int code, int x, int constant, int act) {
  return maker_add(m,
                   (maker_op){.code = code,
                              .n_inputs = 2,
                              .inputs = {x, constant},
                              .n_options = 1,
                              .options = {{0, 1, act}}},
                   m->tensors[x].dims);
}

/* Mean over rows and columns, and a classifier. */
static void finish(maker *m, int x) {
  static const int axes[] = {1, 2};
  const int a = maker_int32(m, 1, DIMS(2), axes);
  const int pooled =
      maker_add(m, (maker_op){.code = MEAN, .n_inputs = 2, .inputs = {x, a}}, DIMS(1, 1, 1, WIDTH));
  const int w = maker_float(m, 2, DIMS(5, WIDTH), values), b = maker_float(m, 1, DIMS(5), values);
  const int logits = maker_add(
      m, (maker_op){.code = FULLY, .n_inputs = 3, .inputs = {pooled, w, b}}, DIMS(1, 1, 1, 5));
  maker_add(m, (maker_op){.code = SOFTMAX, .n_inputs = 1, .inputs = {logits}}, DIMS(1, 1, 1, 5));
}

static tinytl_status import(const maker *m, tinytl_backbone **backbone, tinytl_error *error) {
  sink file = maker_finish(m);
  const tinytl_status status = tinytl_backbone_import(file.bytes, file.nbytes, "dir/made.tflite",
                                                      TINYTL_WEIGHTS_F32, backbone, error);
  free(file.bytes);
  return status;
}

static tinytl_backbone *expect_model(const maker *m) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  if (import(m, &backbone, &error) != TINYTL_OK) fail_msg("%s", error.message);
  return backbone;
}

static void expect_refused(const maker *m, const char *reason) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  assert_int_equal(import(m, &backbone, &error), TINYTL_ERROR_MODEL);
  if (!strstr(error.message, reason)) fail_msg("\"%s\" is not in: %s", reason, error.message);
  assert_null(backbone);
}

/* Stem, depthwise, pointwise without activation, shortcut. */
static maker small_net(void) {
  maker m = start();
  const int stem = conv(&m, 0, 3, 2, SAME, 3);
  const int project = conv(&m, depthwise(&m, stem, 3, 1), 1, 1, SAME, 0);
  finish(&m, with_constant(&m, ADD, stem, project, 0));
  return m;
}

static void test_small_net(void **state) {
  const maker m = small_net();
  tinytl_backbone *backbone = expect_model(&m);
  const tinytl_arch *arch = &backbone->arch;
  (void)state;
  assert_string_equal(arch->name, "made");
  assert_int_equal(arch->n_layers, 3);
  assert_int_equal(arch->n_blocks, 1);
  assert_int_equal(arch->n_classes, 5);
  assert_int_equal(arch->layers[0].pad, TINYTL_PAD_SAME);
  assert_int_equal(arch->layers[0].act, TINYTL_ACT_RELU6);
  assert_int_equal(arch->layers[1].groups, WIDTH);
  assert_int_equal(arch->layers[2].add, 0);
  assert_int_equal(arch->layers[2].act, TINYTL_ACT_NONE);
  assert_memory_equal(backbone->weight[0].f32, values, sizeof(float) * WIDTH * 27);
  assert_memory_equal(backbone->bias[1], values + 3, sizeof(float) * WIDTH);
  assert_int_equal(backbone->input.size, SIZE);
  assert_int_equal(backbone->input.resize, 18);
  assert_true(backbone->input.mean[0] == 0 && backbone->input.std[2] == 1);
  tinytl_backbone_free(backbone);
}

/* border: before and after, for each of the picture's dimensions. */
static int pad(maker *m, const int border[8]) {
  const int p = maker_int32(m, 2, DIMS(4, 2), border);
  const int side = SIZE + border[2] + border[3];
  return maker_add(m, (maker_op){.code = PAD, .n_inputs = 2, .inputs = {0, p}},
                   DIMS(1, side, side, 3));
}

static tinytl_status padded(int top, int bottom, int kernel, int stride, tinytl_layer *layer,
                            tinytl_error *error) {
  maker m = start();
  const int border[8] = {0, 0, top, bottom, top, bottom, 0, 0};
  finish(&m, conv(&m, pad(&m, border), kernel, stride, VALID, 1));
  tinytl_backbone *backbone = NULL;
  TINYTL_TRY(import(&m, &backbone, error));
  *layer = backbone->arch.layers[0];
  tinytl_backbone_free(backbone);
  return TINYTL_OK;
}

/* Padding by an operator of its own, before a convolution that pads nothing. */
static void test_pad_is_folded(void **state) {
  tinytl_layer layer;
  tinytl_error error;
  (void)state;
  assert_int_equal(padded(1, 1, 3, 2, &layer, &error), TINYTL_OK); /* PyTorch */
  assert_int_equal(layer.pad, TINYTL_PAD_SYMMETRIC);
  assert_int_equal(padded(0, 1, 3, 2, &layer, &error), TINYTL_OK); /* Keras */
  assert_int_equal(layer.pad, TINYTL_PAD_SAME);
  assert_int_equal(padded(2, 2, 5, 1, &layer, &error), TINYTL_OK);
  assert_int_equal(layer.pad, TINYTL_PAD_SYMMETRIC);
  assert_int_equal(padded(0, 0, 1, 1, &layer, &error), TINYTL_OK);
  assert_int_equal(padded(1, 0, 3, 2, &layer, &error), TINYTL_OK); /* no window reaches the end */
  assert_int_equal(layer.pad, TINYTL_PAD_SYMMETRIC);
  assert_int_equal(padded(1, 0, 3, 1, &layer, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "operator 1 (CONV_2D): padding 1, 0, 1, 0"));
  assert_int_equal(padded(0, 0, 3, 1, &layer, &error), TINYTL_ERROR_MODEL);
  assert_int_equal(padded(2, 2, 3, 1, &layer, &error), TINYTL_ERROR_MODEL);
}

/* A batch norm that the converter left as a product and a sum; of two activations, the tighter. */
static void test_constants_are_folded(void **state) {
  maker m = start();
  static float factor[WIDTH], shift = 0.25f;
  (void)state;
  for (int c = 0; c < WIDTH; c++) factor[c] = (float)(c - 3);
  int x = conv(&m, 0, 3, 2, SAME, 0);
  x = with_constant(&m, MUL, x, maker_float(&m, 1, DIMS(WIDTH), factor), 0);
  x = with_constant(&m, ADD, x, maker_float(&m, 1, DIMS(1), &shift), 0);
  for (int i = 0; i < 2; i++)
    x = maker_add(&m, (maker_op){.code = i == 0 ? RELU6 : RELU, .n_inputs = 1, .inputs = {x}},
                  m.tensors[x].dims);
  finish(&m, x);
  tinytl_backbone *backbone = expect_model(&m);
  assert_int_equal(backbone->arch.n_layers, 1);
  assert_int_equal(backbone->arch.layers[0].act, TINYTL_ACT_RELU6);
  for (int c = 0; c < WIDTH; c++) {
    assert_true(fabsf(backbone->bias[0][c] - (values[7 + c] * factor[c] + shift)) < 1e-6f);
    for (int i = 0; i < 27; i++)
      assert_true(backbone->weight[0].f32[c * 27 + i] == values[c * 27 + i] * factor[c]);
  }
  tinytl_backbone_free(backbone);
}

/* A sum is the bias's affair: int8 weights stay as they stand in the file. */
static void test_sum_keeps_int8(void **state) {
  static const int8_t w[WIDTH * 27] = {-100, 5, 99};
  static float shift = 0.25f;
  (void)state;
  maker m = start();
  int x = conv(&m, 0, 3, 2, SAME, 0);
  maker_tensor *weight = &m.tensors[1];
  weight->type = 9;
  weight->data = w;
  weight->nbytes = sizeof w;
  weight->n_scales = 1;
  weight->scales[0] = 0.01f;
  x = with_constant(&m, ADD, x, maker_float(&m, 1, DIMS(1), &shift), 0);
  finish(&m, x);
  tinytl_backbone *backbone = NULL;
  sink file = maker_finish(&m);
  assert_int_equal(
      tinytl_backbone_import(file.bytes, file.nbytes, "x", TINYTL_WEIGHTS_INT8, &backbone, NULL),
      TINYTL_OK);
  assert_memory_equal(backbone->weight[0].i8, w, sizeof w);
  assert_true(backbone->weight[0].scale[0] == 0.01f);
  assert_true(backbone->bias[0][2] == values[7 + 2] + shift);
  tinytl_backbone_free(backbone);
  free(file.bytes);
}

/* int8 weights with a scale a channel, int32 bias, an activation that only the output's range
 * shows. */
static void test_quantised(void **state) {
  static const int8_t w[WIDTH * 27] = {-127, 5, 127};
  static const uint8_t unsigned_w[WIDTH * 27] = {0, 128, 255};
  static const int32_t b[WIDTH] = {1000, -1000};
  (void)state;
  for (int is_unsigned = 0; is_unsigned < 2; is_unsigned++) {
    maker m = start();
    m.tensors[0].type = 9;
    m.tensors[0].n_scales = 1;
    m.tensors[0].scales[0] = 2.0f / 255;
    m.tensors[0].zero_point = -1;
    const int x = conv(&m, 0, 3, 2, SAME, 0);
    maker_tensor *weight = &m.tensors[1], *bias = &m.tensors[2], *output = &m.tensors[x];
    weight->type = is_unsigned ? 3 : 9;
    weight->data = is_unsigned ? (const void *)unsigned_w : w;
    weight->nbytes = sizeof w;
    weight->n_scales = is_unsigned ? 1 : WIDTH;
    weight->zero_point = is_unsigned ? 128 : 0;
    for (int c = 0; c < WIDTH; c++) weight->scales[c] = 0.01f * (float)(c + 1);
    bias->type = 2;
    bias->data = b;
    output->type = 9;
    output->n_scales = 1;
    output->scales[0] = 6.0f / 255;
    output->zero_point = -128;
    finish(&m, x);
    tinytl_backbone *f32 = expect_model(&m), *i8 = NULL;
    assert_int_equal(f32->arch.layers[0].act, TINYTL_ACT_RELU6);
    assert_true(f32->input.mean[1] == 0.5f && f32->input.std[1] == 0.5f);
    const float first = is_unsigned ? -128 : -127;
    assert_true(fabsf(f32->weight[0].f32[0] - first * 0.01f) < 1e-6f);
    const float second_scale = is_unsigned ? 0.01f : 0.02f;
    assert_true(fabsf(f32->bias[0][1] - -1000 * (2.0f / 255) * second_scale) < 1e-6f);
    sink file = maker_finish(&m);
    assert_int_equal(
        tinytl_backbone_import(file.bytes, file.nbytes, "x", TINYTL_WEIGHTS_INT8, &i8, NULL),
        TINYTL_OK);
    if (!is_unsigned) { /* unchanged */
      assert_memory_equal(i8->weight[0].i8, w, sizeof w);
      assert_memory_equal(i8->weight[0].scale, weight->scales, sizeof(float) * WIDTH);
    }
    free(file.bytes);
    tinytl_backbone_free(f32);
    tinytl_backbone_free(i8);
  }
}

static void expect_act(int type, float high, int zero_point, tinytl_act act) {
  maker m = start();
  const int x = conv(&m, 0, 3, 2, SAME, 0);
  maker_tensor *output = &m.tensors[x];
  output->type = type;
  output->n_scales = 1;
  output->scales[0] = high / 255;
  output->zero_point = zero_point;
  finish(&m, x);
  tinytl_backbone *backbone = expect_model(&m);
  assert_int_equal(backbone->arch.layers[0].act, act);
  tinytl_backbone_free(backbone);
}

/* What the range of an output's values, int8 or uint8, says of the activation. */
static void test_act_of_range(void **state) {
  (void)state;
  expect_act(9, 5, -128, TINYTL_ACT_RELU6);
  expect_act(9, 8, -128, TINYTL_ACT_RELU);
  expect_act(9, 5, -127, TINYTL_ACT_NONE);
  expect_act(9, 8, 0, TINYTL_ACT_NONE);
  expect_act(3, 6, 0, TINYTL_ACT_RELU6);
  expect_act(3, 8, 0, TINYTL_ACT_RELU);
  expect_act(3, 8, 1, TINYTL_ACT_NONE);
}

/* A scale and a zero point a channel. */
static void test_zero_points(void **state) {
  static const uint8_t w[WIDTH * 27] = {0};
  static const int64_t zero_points[WIDTH] = {128, 0, 255, 1, 2, 130, 7, 80};
  (void)state;
  maker m = start();
  const int x = conv(&m, 0, 3, 2, SAME, 0);
  maker_tensor *weight = &m.tensors[1];
  weight->type = 3;
  weight->data = w;
  weight->nbytes = sizeof w;
  weight->n_scales = WIDTH;
  for (int c = 0; c < WIDTH; c++) weight->scales[c] = (float)(c + 1);
  weight->zero_points = zero_points;
  finish(&m, x);
  tinytl_backbone *backbone = expect_model(&m);
  for (int i = 0; i < WIDTH * 27; i++)
    assert_true(backbone->weight[0].f32[i] == (float)-zero_points[i / 27] * (float)(i / 27 + 1));
  tinytl_backbone_free(backbone);
}

/* ---- What is refused ---------------------------------------------------------------------- */

static void test_refused(void **state) {
  (void)state;
  maker m = small_net();
  m.ops[1].code = RESIZE_BILINEAR;
  expect_refused(&m, "dir/made.tflite: operator 1 (RESIZE_BILINEAR) is not supported");
  m = small_net();
  m.ops[2].code = 200;
  expect_refused(&m, "operator 2 (code 200) is not supported");
  m = small_net();
  m.ops[0].options[3].value = 4; /* tanh */
  expect_refused(&m, "operator 0 (CONV_2D): fused activation 4");
  m = small_net();
  m.ops[0].options[2].value = 1;
  expect_refused(&m, "strides that differ");
  m = small_net();
  m.ops[0].options[m.ops[0].n_options++] = (maker_option){4, 4, 2};
  expect_refused(&m, "dilation");
  m = small_net();
  m.ops[1].options[3].value = 2;
  expect_refused(&m, "operator 1 (DEPTHWISE_CONV_2D)");
  m = small_net();
  m.ops[3].options[0].value = 1;
  expect_refused(&m, "operator 3 (ADD): an activation after it");
  m = small_net();
  m.ops[3].inputs[0] = m.ops[3].inputs[1];
  expect_refused(&m, "operator 3 (ADD)");
  m = small_net();
  m.ops[3].code = MUL;
  expect_refused(&m, "product of two maps");
  m = small_net();
  m.ops[2].inputs[0] = m.ops[0].output; /* a branch */
  expect_refused(&m, "only a chain");
  m = small_net();
  m.ops[4].inputs[0] = m.ops[2].output; /* what was there before the shortcut */
  expect_refused(&m, "only a chain");
  m = small_net();
  m.ops[4].code = RESHAPE;
  expect_refused(&m, "operator 4 (RESHAPE)");
  m = small_net();
  m.n_ops = 4; /* no pooling */
  expect_refused(&m, "neither a classifier's nor");
  m = small_net();
  m.tensors[0].dims[3] = 1;
  expect_refused(&m, "[1, size, size, 3]");
  m = small_net();
  m.tensors[0].dims[1] = 8;
  expect_refused(&m, "[1, size, size, 3]");
  m = small_net();
  m.tensors[1].nbytes -= 4;
  expect_refused(&m, "constant tensor 1");
  m = small_net();
  m.tensors[1].type = 1; /* float16 */
  expect_refused(&m, "of type 1");
  m = small_net();
  m.tensors[m.ops[0].output].dims[1]++;
  expect_refused(&m, "operator 0 (CONV_2D): expected an output of shape [1, 8, 8, 8]");
  m = small_net();
  m.ops[0].inputs[1] = 1000;
  expect_refused(&m, "operator 0 (CONV_2D)");
  m = small_net();
  m.ops[1].output = m.ops[0].output;
  expect_refused(&m, "operator 1");
  m = small_net();
  m.ops[0].code = MEAN; /* of the picture itself */
  expect_refused(&m, "operator 0 (MEAN)");
  m = small_net();
  m.ops[4] = (maker_op){.code = AVERAGE_POOL,
                        .n_inputs = 1,
                        .inputs = {m.ops[4].inputs[0]},
                        .output = m.ops[4].output,
                        .n_options = 3,
                        .options = {{3, 4, SIZE / 2}, {4, 4, SIZE / 2}, {5, 1, 0}}};
  tinytl_backbone_free(expect_model(&m));
  m.ops[4].options[2].value = 1;
  expect_refused(&m, "operator 4 (AVERAGE_POOL_2D): an activation after it");
  m = small_net();
  m.ops[5].options[m.ops[5].n_options++] = (maker_option){0, 1, 1};
  expect_refused(&m, "operator 5 (FULLY_CONNECTED): an activation after it");
  m = start();
  finish(&m, conv(&m, pad(&m, (int[]){0, 0, 1, 1, 1, 1, 0, 1}), 3, 2, VALID, 1));
  expect_refused(&m, "operator 0 (PAD): border 7 of 1");
  m = start();
  finish(&m, conv(&m, pad(&m, (int[]){0, 0, -1, 1, 1, 1, 0, 0}), 3, 2, VALID, 1));
  expect_refused(&m, "operator 0 (PAD): border 2 of -1");
}

/* One int8 convolution whose weight has this scale and zero point. */
static void expect_weight_refused(float scale, int64_t zero_point, const char *words) {
  static const int8_t w[WIDTH * 27] = {-127, 5, 127};
  maker m = start();
  const int x = conv(&m, 0, 3, 2, SAME, 0);
  maker_tensor *weight = &m.tensors[1];
  weight->type = 9;
  weight->data = w;
  weight->nbytes = sizeof w;
  weight->n_scales = 1;
  weight->scales[0] = scale;
  weight->zero_point = zero_point;
  finish(&m, x);
  expect_refused(&m, words);
}

/* They would make a backbone file that no reader takes, or numbers that overflow. */
static void test_refused_quantisation(void **state) {
  (void)state;
  expect_weight_refused(0.01f, INT64_MIN, "weight zero point 0 must be -128 to 255, found");
  expect_weight_refused(0.01f, 256, "weight zero point 0 must be -128 to 255, found");
  expect_weight_refused(1e37f, 0, "scale 0 must be above 0 and at most 2.65");
  maker m = small_net();
  m.tensors[0].type = 9;
  m.tensors[0].n_scales = 1;
  m.tensors[0].scales[0] = 1e-41f;
  expect_refused(&m, "mean must be finite and std above 0 and finite");
}

/* A small file would make a network of any size. */
static void test_refused_sharing(void **state) {
  (void)state;
  maker m = start();
  int x = conv(&m, 0, 3, 2, SAME, 0);
  const int w = maker_float(&m, 4, DIMS(WIDTH, 7, 7, WIDTH), values);
  const int b = maker_float(&m, 1, DIMS(WIDTH), values);
  const maker_op op = {
      .code = CONV, .n_inputs = 3, .n_options = 3, .options = {{0, 1, SAME}, {1, 4, 1}, {2, 4, 1}}};
  for (int i = 0; i < 20; i++) {
    maker_op next = op;
    next.inputs[0] = x;
    next.inputs[1] = w;
    next.inputs[2] = b;
    x = maker_add(&m, next, DIMS(1, SIZE / 2, SIZE / 2, WIDTH));
  }
  finish(&m, x);
  expect_refused(&m, "more weights than the file has bytes");
}

static int import_only(const void *bytes, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  const tinytl_status status =
      tinytl_backbone_import(bytes, nbytes, "damaged", TINYTL_WEIGHTS_INT8, &backbone, &error);
  if (status == TINYTL_OK)
    tinytl_backbone_free(backbone);
  else
    assert_non_null(strstr(error.message, "damaged"));
  return (int)status;
}

static void test_damage(void **state) {
  const maker m = small_net();
  sink file = maker_finish(&m);
  (void)state;
  assert_int_equal(import_only(file.bytes, file.nbytes), TINYTL_OK);
  sink_damage(&file, file.nbytes, TINYTL_ERROR_MODEL, import_only);
  /* Offsets that point far away. */
  for (size_t i = 0; i + 4 <= file.nbytes && i < 3000; i += 2) {
    uint8_t *copy = malloc(file.nbytes);
    memcpy(copy, file.bytes, file.nbytes);
    memset(copy + i, i % 4 ? 0xff : 0x7f, 4);
    import_only(copy, file.nbytes);
    free(copy);
  }
  free(file.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_small_net),
      cmocka_unit_test(test_pad_is_folded),
      cmocka_unit_test(test_constants_are_folded),
      cmocka_unit_test(test_quantised),
      cmocka_unit_test(test_act_of_range),
      cmocka_unit_test(test_zero_points),
      cmocka_unit_test(test_sum_keeps_int8),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_refused_quantisation),
      cmocka_unit_test(test_refused_sharing),
      cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
