/* The adapter file in both directions, its ties to its backbone, and damage. */
#include "support/cmocka.h"
#include "support/sink.h"

#include "model/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static tinytl_backbone *backbone_of(uint64_t seed) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  if (tinytl_backbone_init("mobilenet-v2-0.1", 3, TINYTL_WEIGHTS_INT8, seed, &backbone, &error))
    fail_msg("%s", error.message);
  return backbone;
}

static float some_values[400000];
static char *names[] = {"ants", "it's a \"bee\"", "caf\xe9 \xff"};

/* An adapter of every kind: biases, gains, weights and lite modules according to the method. */
static tinytl_adapter *adapter_of(const tinytl_backbone *backbone, tinytl_method method) {
  const bool biases = method != TINYTL_METHOD_LAST && method != TINYTL_METHOD_LITE;
  const bool lite = method == TINYTL_METHOD_LITE || method == TINYTL_METHOD_LITE_BIAS;
  tinytl_adapter *values = calloc(1, sizeof *values), *adapter = NULL;
  for (size_t i = 0; i < sizeof some_values / sizeof *some_values; i++)
    some_values[i] = (float)(i % 977) / 977;
  const float *next = some_values;
  values->method = method;
  values->image_size = 96;
  values->resize = 110;
  values->val_top1 = biases ? 0.9375f : NAN;
  values->temperature = biases ? 1.375f : 1;
  values->reject_below = biases ? 0.4125f : NAN;
  memcpy(values->backbone_sha256, backbone->sha256, 65);
  values->n_classes = 3;
  values->class_names = names;
  values->n_features = backbone->arch.n_features;
  values->classifier = next++;
  values->classifier_bias = next++;
  values->n_layers = backbone->arch.n_layers;
  for (int i = 0; i < values->n_layers; i++) {
    const tinytl_layer *layer = &backbone->arch.layers[i];
    values->layer_out_c[i] = layer->out_c;
    values->layer_n_dims[i] = tinytl_layer_dims(layer, values->layer_dims[i]);
    if (biases) values->bias[i] = next++;
    if (method == TINYTL_METHOD_NORM) values->gain[i] = next++;
    if (method == TINYTL_METHOD_FULL) values->weight[i] = next++;
  }
  if (lite)
    tinytl_arch_add_lite(&backbone->arch, TINYTL_LITE_PAPER, values->lite_shape, &values->n_lite);
  for (int i = 0; i < values->n_lite; i++, next += 6)
    values->lite[i] = (tinytl_lite_values){next, next + 1, next + 2, next + 3, next + 4, next + 5};
  assert_int_equal(tinytl_adapter_build(values, &adapter, NULL), TINYTL_OK);
  free(values);
  return adapter;
}

static sink write_file(const tinytl_adapter *adapter) {
  sink file = {0};
  assert_int_equal(tinytl_adapter_write(adapter, sink_write, &file, NULL), TINYTL_OK);
  return file;
}

static void expect_same(const tinytl_adapter *x, const tinytl_adapter *y, bool with_backbone) {
  tinytl_adapter_info info;
  tinytl_adapter_describe(y, &info);
  assert_int_equal(info.method, x->method);
  assert_int_equal(info.image_size, 96);
  assert_int_equal(y->resize, 110);
  assert_int_equal(info.n_classes, 3);
  assert_int_equal(info.n_lite, x->n_lite);
  assert_int_equal(info.n_parameters, x->n_values);
  assert_string_equal(info.backbone_sha256, x->backbone_sha256);
  assert_true(isnan(x->val_top1) ? isnan(info.val_top1) : info.val_top1 == x->val_top1);
  assert_true(info.temperature == x->temperature);
  assert_true(isnan(x->reject_below) ? isnan(info.reject_below)
                                     : info.reject_below == x->reject_below);
  for (int i = 0; i < 3; i++) assert_string_equal(tinytl_adapter_class(y, i), names[i]);
  assert_null(tinytl_adapter_class(y, 3));
  assert_null(tinytl_adapter_class(y, -1));
  assert_memory_equal(y->values, x->values, x->n_values * sizeof *x->values);
  if (with_backbone) {
    assert_int_equal(y->n_layers, x->n_layers);
    assert_memory_equal(y->lite_shape, x->lite_shape, sizeof x->lite_shape);
    assert_memory_equal(y->layer_out_c, x->layer_out_c, sizeof x->layer_out_c);
    assert_memory_equal(y->layer_n_dims, x->layer_n_dims, sizeof x->layer_n_dims);
    assert_memory_equal(y->layer_dims, x->layer_dims, sizeof x->layer_dims);
  }
}

static void test_round_trip(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  (void)state;
  for (int method = 0; method < TINYTL_METHOD_AUTO; method++) {
    tinytl_adapter *made = adapter_of(backbone, (tinytl_method)method);
    sink file = write_file(made);
    for (int with_backbone = 0; with_backbone < 2; with_backbone++) {
      tinytl_adapter *opened = NULL;
      tinytl_error error;
      if (tinytl_adapter_open(file.bytes, file.nbytes, "a", with_backbone ? backbone : NULL,
                              &opened, &error) != TINYTL_OK)
        fail_msg("%s", error.message);
      expect_same(made, opened, with_backbone);
      sink again = write_file(opened);
      assert_int_equal(again.nbytes, file.nbytes);
      assert_memory_equal(again.bytes, file.bytes, file.nbytes);
      free(again.bytes);
      tinytl_adapter_free(opened);
    }
    free(file.bytes);
    tinytl_adapter_free(made);
  }
  tinytl_backbone_free(backbone);
}

/* Files from before temperatures carry neither key; nor do those without validation. */
static void test_file_without_calibration(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  tinytl_adapter *made = adapter_of(backbone, TINYTL_METHOD_BIAS), *opened = NULL;
  sink file = write_file(made);
  (void)state;
  assert_true(sink_replace(&file, "tinytl.temperature", "tinytl.temporature"));
  assert_true(sink_replace(&file, "tinytl.reject_below", "tinytl.reject_bellw"));
  assert_int_equal(tinytl_adapter_open(file.bytes, file.nbytes, "a", backbone, &opened, NULL),
                   TINYTL_OK);
  tinytl_adapter_info info;
  tinytl_adapter_describe(opened, &info);
  assert_true(info.temperature == 1);
  assert_true(isnan(info.reject_below));
  sink again = write_file(opened);
  for (size_t i = 0; i + 18 < again.nbytes; i++) {
    assert_memory_not_equal(again.bytes + i, "tinytl.temperature", 18);
    assert_memory_not_equal(again.bytes + i, "tinytl.reject_belo", 18);
  }
  free(again.bytes);
  tinytl_adapter_free(opened);
  free(file.bytes);
  tinytl_adapter_free(made);
  tinytl_backbone_free(backbone);
}

static void test_other_backbone(void **state) {
  tinytl_backbone *mine = backbone_of(1), *other = backbone_of(2);
  tinytl_adapter *made = adapter_of(mine, TINYTL_METHOD_BIAS), *opened = NULL;
  sink file = write_file(made);
  tinytl_error error;
  (void)state;
  assert_int_equal(tinytl_adapter_open(file.bytes, file.nbytes, "a", other, &opened, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "belongs to another backbone"));
  assert_non_null(strstr(error.message, mine->sha256));
  assert_non_null(strstr(error.message, other->sha256));
  assert_null(opened);
  free(file.bytes);
  tinytl_adapter_free(made);
  tinytl_backbone_free(mine);
  tinytl_backbone_free(other);
}

static void test_python_reads(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  tinytl_adapter *made = adapter_of(backbone, TINYTL_METHOD_LITE_BIAS);
  sink file = write_file(made);
  (void)state;
  sink_check_in_python(
      &file, "m = f.metadata()\n"
             "assert m[\"tinytl.format\"] == \"adapter 1\" and m[\"tinytl.method\"] == "
             "\"lite+bias\" and m[\"tinytl.val_top1\"] == \"0.9375\"\n"
             "names = json.loads(m[\"tinytl.classes\"])\n"
             "assert names[2].encode(\"utf-8\", \"surrogateescape\") == b\"caf\\xe9 \\xff\"\n"
             "assert json.loads(m[\"tinytl.input\"]) == {\"size\": 96, \"resize\": 110}\n"
             "assert f.get_tensor(\"classifier.weight\").shape == (3, 1280)\n"
             "assert \"layers.51.bias\" in f.keys() and \"lite.16.norm2.bias\" in f.keys()\n");
  free(file.bytes);
  tinytl_adapter_free(made);
  tinytl_backbone_free(backbone);
}

/* ---- Damage ------------------------------------------------------------------------------- */

static const tinytl_backbone *damaged_backbone; /* for open_only; NULL: without */

static int open_only(const void *bytes, size_t nbytes) {
  tinytl_adapter *adapter = NULL;
  tinytl_error error = {0};
  const tinytl_status status =
      tinytl_adapter_open(bytes, nbytes, "damaged", damaged_backbone, &adapter, &error);
  if (status == TINYTL_OK)
    tinytl_adapter_free(adapter);
  else
    assert_non_null(strstr(error.message, "damaged"));
  return (int)status;
}

static void test_damage(void **state) {
  static const tinytl_method methods[] = {TINYTL_METHOD_LITE_BIAS, TINYTL_METHOD_FULL};
  tinytl_backbone *backbone = backbone_of(1);
  (void)state;
  const size_t n_metadata = 2500; /* and some tensors */
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    tinytl_adapter *made = adapter_of(backbone, methods[i]);
    sink file = write_file(made);
    for (int with = 0; with < 2; with++) {
      damaged_backbone = with ? backbone : NULL;
      sink_damage(&file, n_metadata, TINYTL_ERROR_MODEL, open_only);
    }
    free(file.bytes);
    tinytl_adapter_free(made);
  }
  tinytl_backbone_free(backbone);
}

/* Each change to the file of an adapter is refused, with and without its backbone. */
static void check_refused(tinytl_method method, const char *const changes[][2], size_t n_changes) {
  tinytl_backbone *backbone = backbone_of(1);
  tinytl_adapter *made = adapter_of(backbone, method);
  for (size_t i = 0; i < n_changes; i++) {
    sink file = write_file(made);
    if (!sink_replace(&file, changes[i][0], changes[i][1])) fail_msg("no %s", changes[i][0]);
    for (int with = 0; with < 2; with++) {
      damaged_backbone = with ? backbone : NULL;
      if (open_only(file.bytes, file.nbytes) != TINYTL_ERROR_MODEL)
        fail_msg("accepted: %s", changes[i][1]);
    }
    free(file.bytes);
  }
  tinytl_adapter_free(made);
  tinytl_backbone_free(backbone);
}

static void test_wrong_fields(void **state) {
  static const char *const changes[][2] = {
      {"adapter 1", "adapter 2"},
      {"tinytl.method", "tinytl.metod "},
      {"lite+bias", "lite*bias"},
      {"tinytl.classes", "tinytl.clauses"},
      {"[\\\"ants\\\",", "[\\\"ants\\\" "},
      {"[\\\"ants\\\",", "[        "},
      {"0.9375", "1.9375"},
      {"0.9375", "\\\"937\\\""},
      {"1.375", "-.375"},
      {"1.375", "0.001"},
      {"1.375", "1e200"},
      {"1.375", "[1.3]"},
      {"0.4125", "[.412]"},
      {"0.4125", "-1e100"},
      {"\\\"size\\\":96", "\\\"size\\\":-6"},
      {"tinytl.backbone", "tinytl.backbore"},
      {"tinytl.lite", "tinytl.life"}, /* then its tensors are unexpected */
      {"\\\"block\\\":1,", "\\\"block\\\":0,"},
      {"\\\"block\\\":2,", "\\\"block\\\":1,"}, /* one tensor as two modules' */
      {"\\\"kernel\\\":5", "\\\"kernel\\\":7"},
      {"layers.0.bias", "layers.x.bias"},
      {"classifier.bias", "classifier.bits"},
  };
  (void)state;
  check_refused(TINYTL_METHOD_LITE_BIAS, changes, sizeof changes / sizeof *changes);
}

/* mobilenet-v2-0.1: layer 0 is 3 -> 8, kernel 3; layer 1 depthwise. */
static void test_wrong_layers(void **state) {
  static const char *const norm[][2] = {
      {"\"norm\"", "\"auto\""}, /* of a run, not of an adapter */
      {"layers.0.gain", "layers.0.gaim"},
      {"layers.0.gain\":{\"dtype\":\"F32\",\"shape\":[8]",
       "layers.0.gain\":{\"dtype\":\"F32\",\"shape\":[9]"},
  };
  static const char *const full[][2] = {
      {"layers.1.weight", "layers.x.weight"},
      {"\"shape\":[8,3,3,3]", "\"shape\":[3,3,3,9]"},
      {"\"shape\":[8,3,3,3]", "\"shape\":[0,3,3,3]"},
      {"\"shape\":[3,3,8]", "\"shape\":[9,0,8]"},
  };
  (void)state;
  check_refused(TINYTL_METHOD_NORM, norm, sizeof norm / sizeof *norm);
  check_refused(TINYTL_METHOD_FULL, full, sizeof full / sizeof *full);
}

/* Layer 0 has 8 channels, layer 3 has 48: their gains change places. */
static void test_bias_and_gain_of_different_lengths(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  tinytl_adapter *made = adapter_of(backbone, TINYTL_METHOD_NORM);
  sink file = write_file(made);
  (void)state;
  assert_true(made->layer_out_c[0] != made->layer_out_c[3]);
  assert_true(sink_replace(&file, "layers.0.gain", "layers.x.gain"));
  assert_true(sink_replace(&file, "layers.3.gain", "layers.0.gain"));
  assert_true(sink_replace(&file, "layers.x.gain", "layers.3.gain"));
  for (int with = 0; with < 2; with++) {
    damaged_backbone = with ? backbone : NULL;
    assert_int_equal(open_only(file.bytes, file.nbytes), TINYTL_ERROR_MODEL);
  }
  free(file.bytes);
  tinytl_adapter_free(made);
  tinytl_backbone_free(backbone);
}

/* Shapes that the backbone alone can tell to be wrong. */
static void test_shapes_of_another_backbone(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  tinytl_adapter *made = adapter_of(backbone, TINYTL_METHOD_FULL);
  sink file = write_file(made);
  (void)state;
  assert_true(sink_replace(&file, "\"shape\":[8,3,3,3]", "\"shape\":[3,8,3,3]"));
  damaged_backbone = NULL;
  assert_int_equal(open_only(file.bytes, file.nbytes), TINYTL_OK);
  damaged_backbone = backbone;
  assert_int_equal(open_only(file.bytes, file.nbytes), TINYTL_ERROR_MODEL);
  free(file.bytes);
  tinytl_adapter_free(made);
  tinytl_backbone_free(backbone);
}

static void test_backbone_is_no_adapter(void **state) {
  tinytl_backbone *backbone = backbone_of(1);
  sink file = {0};
  (void)state;
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &file, NULL), TINYTL_OK);
  damaged_backbone = backbone;
  assert_int_equal(open_only(file.bytes, file.nbytes), TINYTL_ERROR_MODEL);
  free(file.bytes);
  tinytl_backbone_free(backbone);
}

static void test_methods(void **state) {
  tinytl_method method;
  (void)state;
  for (int i = 0; i < TINYTL_METHOD_AUTO; i++) {
    assert_true(tinytl_method_parse(tinytl_method_name((tinytl_method)i), &method));
    assert_int_equal(method, i);
  }
  assert_false(tinytl_method_parse("some", &method));
  assert_false(tinytl_method_parse("", &method));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_file_without_calibration),
      cmocka_unit_test(test_other_backbone),
      cmocka_unit_test(test_python_reads),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_wrong_fields),
      cmocka_unit_test(test_wrong_layers),
      cmocka_unit_test(test_bias_and_gain_of_different_lengths),
      cmocka_unit_test(test_shapes_of_another_backbone),
      cmocka_unit_test(test_backbone_is_no_adapter),
      cmocka_unit_test(test_methods),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
