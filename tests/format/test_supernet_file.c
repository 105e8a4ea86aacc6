#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "model/quantise.h"
#include "model/shared_values.h"
#include "support/op_check.h"
#include "support/sink.h"
#include "support/tiny_net.h"

enum { CLASSES = 3 };
static char *labels[] = {"a", "b", "c\xff"};

static tinytl_supernet make(tinytl_shared_values *shared, bool with_lite) {
  tinytl_supernet net = {
      .labels = labels,
      .n_labels = CLASSES,
      .input = {
          .size = 64, .resize = 73, .mean = {0.5f, 0.5f, 0.5f}, .std = {0.25f, 0.25f, 0.25f}}};
  assert_int_equal(tinytl_space_named("supernet-0.1", CLASSES, &net.space, NULL), TINYTL_OK);
  net.space.has_lite = with_lite;
  if (with_lite) net.space.total_stride = 16;
  tinytl_shared_values_layout(shared, &net.space);
  net.n_values = shared->n;
  net.values = op_random(shared->n, 1);
  return net;
}

static sink write_as(bool with_lite, tinytl_weights weights) {
  tinytl_shared_values *shared = malloc(sizeof *shared);
  tinytl_supernet net = make(shared, with_lite);
  sink file = {0};
  assert_int_equal(tinytl_supernet_write(&net, weights, sink_write, &file, NULL), TINYTL_OK);
  free(net.values);
  free(shared);
  return file;
}

static sink write_file(bool with_lite) {
  return write_as(with_lite, TINYTL_WEIGHTS_F32);
}

static void test_round_trip(void **state) {
  (void)state;
  tinytl_shared_values *shared = malloc(sizeof *shared);
  tinytl_supernet net = make(shared, true), *opened = NULL;
  tinytl_supernet_info info;
  sink file = write_file(true);
  assert_int_equal(tinytl_supernet_open(file.bytes, file.nbytes, "f", &opened, NULL), TINYTL_OK);
  assert_int_equal(opened->n_values, net.n_values);
  assert_memory_equal(opened->values, net.values, net.n_values * sizeof(float));
  assert_memory_equal(&opened->input, &net.input, sizeof net.input);
  assert_string_equal(tinytl_supernet_label(opened, 2), labels[2]);
  assert_null(tinytl_supernet_label(opened, 3));
  tinytl_supernet_describe(opened, &info);
  assert_string_equal(info.name, "supernet-0.1");
  assert_int_equal(info.image_size, 64);
  assert_int_equal(info.n_classes, CLASSES);
  assert_int_equal(info.n_parameters, net.n_values);
  assert_true(info.n_subnets > 1e28);
  assert_true(info.has_lite);
  assert_int_equal(info.total_stride, 16);
  assert_true(info.smallest_macs > 0 && info.smallest_macs < info.largest_macs / 2);
  tinytl_supernet_free(opened);
  free(file.bytes);
  free(net.values);
  free(shared);
}

static void round_to_int8(tinytl_weight_shape shape, float *values) {
  int8_t *i8 = malloc(shape.n);
  float *scale = malloc((size_t)shape.out_c * sizeof *scale);
  tinytl_quantise(shape, values, i8, scale);
  tinytl_dequantise(shape, i8, scale, values);
  free(i8);
  free(scale);
}

/* Weights of convolutions and classifier are rounded, all else is as it was. */
static void test_int8(void **state) {
  (void)state;
  tinytl_shared_values *shared = malloc(sizeof *shared);
  tinytl_supernet net = make(shared, true), *opened = NULL;
  sink file = write_as(true, TINYTL_WEIGHTS_INT8), full = write_file(true);
  assert_true(file.nbytes < full.nbytes / 2);
  assert_int_equal(tinytl_supernet_open(file.bytes, file.nbytes, "f", &opened, NULL), TINYTL_OK);
  const tinytl_arch *arch = &shared->arch;
  for (int i = 0; i < arch->n_layers; i++)
    round_to_int8(tinytl_weight_shape_of(&arch->layers[i]), net.values + shared->params.weight[i]);
  const tinytl_weight_shape classifier = {
      .n = CLASSES * (size_t)arch->n_features, .run = (size_t)arch->n_features, .out_c = CLASSES};
  round_to_int8(classifier, net.values + shared->params.classifier);
  assert_memory_equal(opened->values, net.values, net.n_values * sizeof(float));
  tinytl_supernet_free(opened);
  free(file.bytes);
  free(full.bytes);
  free(net.values);
  free(shared);
}

/* A scale of 0 would be silent zeros, a large one not finite. */
static void test_scales(void **state) {
  (void)state;
  tinytl_supernet *opened = NULL;
  tinytl_safetensors *tensors = NULL;
  tinytl_error error;
  sink file = write_as(true, TINYTL_WEIGHTS_INT8);
  const float *scale;
  const int n = CLASSES;
  assert_int_equal(tinytl_safetensors_open(file.bytes, file.nbytes, "f", &tensors, NULL),
                   TINYTL_OK);
  assert_int_equal(tinytl_safetensors_f32(tensors, "classifier.scale", 1, &n, &scale, NULL),
                   TINYTL_OK);
  uint8_t *at = file.bytes + ((const unsigned char *)scale - (const unsigned char *)file.bytes);
  memset(at, 0, sizeof *scale);
  tinytl_safetensors_free(tensors);
  assert_int_equal(tinytl_supernet_open(file.bytes, file.nbytes, "f", &opened, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(
      strstr(error.message,
             "\"classifier.scale\": scale 0 must be above 0 and at most 2.65846e+36, found 0"));
  /* Times 127 it would be infinite: the super-net was taken, and could not be written again. */
  const float large = 3e36f;
  memcpy(at, &large, sizeof large);
  assert_int_equal(tinytl_supernet_open(file.bytes, file.nbytes, "f", &opened, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "at most 2.65846e+36, found 3e+36"));
  free(file.bytes);
}

static void expect_refusal(const sink *file, const char *part) {
  tinytl_supernet *opened = NULL;
  tinytl_error error;
  assert_int_equal(tinytl_supernet_open(file->bytes, file->nbytes, "f", &opened, &error),
                   TINYTL_ERROR_MODEL);
  assert_null(opened);
  if (!strstr(error.message, part)) fail_msg("%s", error.message);
}

static void test_refusals(void **state) {
  (void)state;
  sink file = write_file(true);
  assert_true(sink_replace(&file, "supernet-0.1", "supernet-9.9"));
  expect_refusal(&file, "expected the name supernet-W (W: 0.1 to 2.0), found \"supernet-9.9\"");
  assert_true(sink_replace(&file, "supernet-9.9", "supernet-0.9"));
  expect_refusal(&file, "layers.0.weight");
  assert_true(sink_replace(&file, "supernet-0.9", "supernet-0.1"));
  assert_true(sink_replace(&file, "layers.4.matrix5", "layers.4.matrix6"));
  expect_refusal(&file, "layers.4.matrix5");
  assert_true(sink_replace(&file, "layers.4.matrix6", "layers.4.matrix5"));
  assert_true(sink_replace(&file, "\\\"stride\\\":16", "\\\"stride\\\":24"));
  expect_refusal(&file, "\"stride\" must be 16 or 32, found 24");
  assert_true(sink_replace(&file, "\\\"stride\\\":24", "\\\"stride\\\":16"));
  assert_true(sink_replace(&file, "\\\"lite\\\":1", "\\\"lite\\\":0"));
  expect_refusal(&file, "lite.1.conv.weight");
  assert_true(sink_replace(&file, "super-net 2", "super-net 3"));
  expect_refusal(&file, "expected \"super-net 2\", found \"super-net 3\"");
  free(file.bytes);
}

/* Files of format 1 say nothing of lite modules and strides. */
static void test_first_format(void **state) {
  (void)state;
  sink file = write_file(false);
  tinytl_supernet *opened = NULL;
  tinytl_supernet_info info;
  assert_true(sink_replace(&file, "super-net 2", "super-net 1"));
  assert_true(sink_replace(&file, "\\\"lite\\\"", "\\\"litx\\\""));
  assert_true(sink_replace(&file, "\\\"stride\\\":32", "\\\"stridx\\\":32"));
  assert_int_equal(tinytl_supernet_open(file.bytes, file.nbytes, "f", &opened, NULL), TINYTL_OK);
  tinytl_supernet_describe(opened, &info);
  assert_false(info.has_lite);
  assert_int_equal(info.total_stride, 32);
  tinytl_supernet_free(opened);
  free(file.bytes);
}

/* Each in the place of the other. */
static void test_other_kinds(void **state) {
  (void)state;
  sink file = write_file(true), other = {0};
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, false);
  tinytl_backbone *opened = NULL;
  tinytl_error error;
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &other, NULL), TINYTL_OK);
  expect_refusal(&other, "expected \"super-net 2\", found \"backbone 1\"");
  assert_int_equal(tinytl_backbone_open(file.bytes, file.nbytes, "f", &opened, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "expected \"backbone 1\", found \"super-net 2\""));
  tinytl_backbone_free(backbone);
  free(file.bytes);
  free(other.bytes);
}

static int read_file(const void *bytes, size_t nbytes) {
  tinytl_supernet *opened = NULL;
  const tinytl_status status = tinytl_supernet_open(bytes, nbytes, "f", &opened, NULL);
  if (status == TINYTL_OK) tinytl_supernet_free(opened);
  return status;
}

static void test_damage(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    sink file = write_as(true, i ? TINYTL_WEIGHTS_INT8 : TINYTL_WEIGHTS_F32);
    sink_damage(&file, 100, TINYTL_ERROR_MODEL, read_file);
    free(file.bytes);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_int8),
      cmocka_unit_test(test_scales),       cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_first_format), cmocka_unit_test(test_other_kinds),
      cmocka_unit_test(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
