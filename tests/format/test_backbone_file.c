/* The backbone file in both directions, and damaged. */
#include "support/cmocka.h"
#include "support/sink.h"

#include "format/safetensors.h"
#include "model/backbone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float some_values[200000];

/* A small network with lite modules, labels, and a classifier; all values differ. */
static void fill_model(tinytl_backbone *model) {
  static const tinytl_layer layers[] = {
      {3, 8, 3, 2, 1, TINYTL_ACT_RELU6, TINYTL_PAD_SAME, -1},
      {8, 16, 1, 1, 1, TINYTL_ACT_RELU6, TINYTL_PAD_SYMMETRIC, -1},
      {16, 16, 5, 1, 16, TINYTL_ACT_RELU, TINYTL_PAD_SYMMETRIC, -1},
      {16, 8, 1, 1, 1, TINYTL_ACT_NONE, TINYTL_PAD_SYMMETRIC, 0},
      {8, 8, 3, 2, 8, TINYTL_ACT_RELU6, TINYTL_PAD_SYMMETRIC, -1},
      {8, 12, 1, 1, 1, TINYTL_ACT_NONE, TINYTL_PAD_SYMMETRIC, -1}};
  static char *labels[] = {"one", "caf\xc3\xa9", "not \xff UTF-8"};
  for (size_t i = 0; i < sizeof some_values / sizeof *some_values; i++)
    some_values[i] = (float)((int)(i * 7919 % 2001) - 1000) / 500;
  memset(model, 0, sizeof *model);
  model->arch.n_layers = 6;
  model->arch.n_classes = 3;
  memcpy(model->arch.layers, layers, sizeof layers);
  strcpy(model->arch.name, "test \"net\"");
  assert_int_equal(tinytl_arch_finish(&model->arch, "test", NULL), TINYTL_OK);
  tinytl_arch_add_lite(&model->arch, TINYTL_LITE_PAPER, model->arch.lite, &model->arch.n_lite);
  assert_int_equal(model->arch.n_lite, 1);
  model->input = (tinytl_input){32, 36, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  const float *next = some_values;
  for (int i = 0; i < 6; i++) {
    model->weight[i].f32 = next++;
    model->bias[i] = next++;
  }
  model->lite[0] = (tinytl_lite_values){next, next + 1, next + 2, next + 3, next + 4, next + 5};
  model->classifier.f32 = next + 6;
  model->classifier_bias = next + 7;
  model->labels = labels;
  model->n_labels = 3;
  model->source = "somewhere";
  model->licence = "MIT";
}

static tinytl_backbone *build(tinytl_weights weights) {
  tinytl_backbone *model = calloc(1, sizeof *model), *built = NULL;
  tinytl_error error;
  fill_model(model);
  if (tinytl_backbone_build(model, weights, &built, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  free(model);
  return built;
}

static sink write_file(const tinytl_backbone *backbone) {
  sink file = {0};
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &file, NULL), TINYTL_OK);
  return file;
}

static tinytl_backbone *open_file(const sink *file) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  if (tinytl_backbone_open(file->bytes, file->nbytes, "net", &backbone, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  return backbone;
}

static void test_round_trip(void **state) {
  (void)state;
  for (int type = 0; type < 2; type++) {
    tinytl_backbone *built = build((tinytl_weights)type);
    sink file = write_file(built), again;
    tinytl_backbone *opened = open_file(&file);
    assert_string_equal(opened->sha256, built->sha256);
    assert_int_equal(strlen(opened->sha256), 64);
    tinytl_backbone_info x, y;
    tinytl_backbone_describe(built, &x);
    tinytl_backbone_describe(opened, &y);
    assert_string_equal(y.architecture, "test \"net\"");
    assert_string_equal(y.source, "somewhere");
    assert_string_equal(y.licence, "MIT");
    assert_int_equal(y.weights, type);
    assert_int_equal(y.n_parameters, x.n_parameters);
    assert_int_equal(y.weight_nbytes, x.weight_nbytes);
    assert_int_equal(y.n_lite, 1);
    assert_int_equal(y.n_blocks, 2);
    assert_string_equal(tinytl_backbone_label(opened, 2), "not \xff UTF-8");
    assert_null(tinytl_backbone_label(opened, 3));
    assert_null(tinytl_backbone_label(opened, -1));
    assert_memory_equal(&opened->arch, &built->arch, sizeof built->arch);
    assert_memory_equal(&opened->input, &built->input, sizeof built->input);
    again = write_file(opened);
    assert_int_equal(again.nbytes, file.nbytes);
    assert_memory_equal(again.bytes, file.bytes, file.nbytes);
    free(again.bytes);
    tinytl_backbone_free(opened);
    tinytl_backbone_free(built);
    free(file.bytes);
  }
}

/* Without classifier, labels, source. */
static void test_bare(void **state) {
  tinytl_backbone *model = calloc(1, sizeof *model), *built = NULL;
  (void)state;
  fill_model(model);
  model->arch.n_classes = model->arch.n_lite = model->n_labels = 0;
  model->source = model->licence = NULL;
  assert_int_equal(tinytl_backbone_build(model, TINYTL_WEIGHTS_INT8, &built, NULL), TINYTL_OK);
  sink file = write_file(built);
  tinytl_backbone *opened = open_file(&file);
  sink again = write_file(opened);
  assert_int_equal(again.nbytes, file.nbytes);
  tinytl_backbone_info info;
  tinytl_backbone_describe(opened, &info);
  assert_int_equal(info.n_classes, 0);
  assert_string_equal(info.source, "");
  free(model);
  free(file.bytes);
  free(again.bytes);
  tinytl_backbone_free(opened);
  tinytl_backbone_free(built);
}

static void test_import_changes_weights(void **state) {
  tinytl_backbone *f32 = build(TINYTL_WEIGHTS_F32), *i8 = build(TINYTL_WEIGHTS_INT8), *imported;
  sink file = write_file(f32), small = write_file(i8);
  (void)state;
  assert_int_equal(
      tinytl_backbone_import(file.bytes, file.nbytes, "net", TINYTL_WEIGHTS_INT8, &imported, NULL),
      TINYTL_OK);
  assert_string_equal(imported->sha256, i8->sha256);
  tinytl_backbone_free(imported);
  assert_int_equal(
      tinytl_backbone_import(small.bytes, small.nbytes, "net", TINYTL_WEIGHTS_F32, &imported, NULL),
      TINYTL_OK);
  assert_int_equal(imported->weights_type, TINYTL_WEIGHTS_F32);
  assert_true(imported->weight[1].f32[3] == (float)i8->weight[1].i8[3] * i8->weight[1].scale[0]);
  tinytl_backbone_free(imported);
  tinytl_backbone_free(f32);
  tinytl_backbone_free(i8);
  free(file.bytes);
  free(small.bytes);
}

static void test_python_reads(void **state) {
  tinytl_backbone *built = build(TINYTL_WEIGHTS_INT8);
  sink file = write_file(built);
  (void)state;
  sink_check_in_python(
      &file, "m = f.metadata()\n"
             "assert m[\"tinytl.format\"] == \"backbone 1\" and m[\"licence\"] == \"MIT\"\n"
             "arch = json.loads(m[\"tinytl.arch\"])\n"
             "assert arch[\"name\"] == \"test \\\"net\\\"\" and arch[\"features\"] == 12\n"
             "assert arch[\"layers\"][0] == {\"in\": 3, \"out\": 8, \"kernel\": 3, \"stride\": 2, "
             "\"groups\": 1, \"act\": \"relu6\", \"pad\": \"same\", \"add\": None}\n"
             "assert arch[\"layers\"][3][\"add\"] == 0\n"
             "assert arch[\"lite\"] == [{\"block\": 1, \"kernel\": 5, \"groups\": 2, \"mid\": 8}]\n"
             "assert json.loads(m[\"tinytl.input\"]) == {\"size\": 32, \"resize\": 36, "
             "\"mean\": [.485, .456, .406], \"std\": [.229, .224, .225]}\n"
             "label = json.loads(m[\"tinytl.labels\"])[2]\n"
             "assert label.encode(\"utf-8\", \"surrogateescape\") == b\"not \\xff UTF-8\"\n"
             "w = f.get_tensor(\"layers.2.weight\")\n"
             "assert w.shape == (5, 5, 16) and w.dtype == numpy.int8\n"
             "assert f.get_tensor(\"layers.0.weight\").shape == (8, 3, 3, 3)\n"
             "assert f.get_tensor(\"layers.0.scale\").shape == (8,)\n"
             "assert f.get_tensor(\"lite.1.conv.weight\").shape == (8, 5, 5, 4)\n"
             "assert f.get_tensor(\"classifier.weight\").shape == (3, 12)\n");
  tinytl_backbone_free(built);
  free(file.bytes);
}

/* ---- Damage ------------------------------------------------------------------------------- */

static int open_only(const void *bytes, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  const tinytl_status status = tinytl_backbone_open(bytes, nbytes, "damaged", &backbone, &error);
  if (status == TINYTL_OK)
    tinytl_backbone_free(backbone);
  else
    assert_non_null(strstr(error.message, "damaged"));
  return (int)status;
}

static void test_damage(void **state) {
  tinytl_backbone *built = build(TINYTL_WEIGHTS_INT8);
  sink file = write_file(built);
  (void)state;
  const size_t header = file.bytes[0] + 256u * file.bytes[1];
  sink_damage(&file, 8 + header, TINYTL_ERROR_MODEL, open_only);
  free(file.bytes);
  tinytl_backbone_free(built);
}

static void test_wrong_fields(void **state) {
  /* Of the same length, so that the header stays whole. */
  static const char *const changes[][2] = {
      {"backbone 1", "backbone 2"},
      {"backbone 1", "adapter 1 "},
      {"tinytl.format", "tinytl.formal"},
      {"tinytl.input", "tinytl.imput"},
      {"tinytl.arch", "tinytl.ahrc"},
      {"\\\"kernel\\\":3", "\\\"kernel\\\":4"},
      {"\\\"kernel\\\":3", "\\\"kernel\\\":0"},
      {"\\\"stride\\\":2", "\\\"stride\\\":0"},
      {"\\\"act\\\":\\\"relu6\\\"", "\\\"act\\\":\\\"hswis\\\""},
      {"\\\"pad\\\":\\\"same\\\"", "\\\"pad\\\":\\\"sane\\\""},
      {"\\\"add\\\":0", "\\\"add\\\":3"},
      {"\\\"add\\\":0", "\\\"add\\\":7"},
      {"\\\"features\\\":12", "\\\"features\\\":13"},
      {"\\\"classes\\\":3", "\\\"classes\\\":4"},
      {"\\\"classes\\\":3", "\\\"classes\\\":0"}, /* then the classifier is unexpected */
      {"\\\"block\\\":1", "\\\"block\\\":2"},
      {"\\\"mid\\\":8", "\\\"mid\\\":6"},
      {"\\\"groups\\\":2", "\\\"groups\\\":3"},
      {"\\\"size\\\":32", "\\\"size\\\":37"}, /* above resize */
      {"\\\"size\\\":32", "\\\"size\\\":-2"},
      {"[0.485,", "[0.485 "},
      {"[0.229", "[0.000"},
      {"[\\\"one\\\",", "[\\\"one\\\" "},
      {"layers.0.bias", "layers.0.bios"},
  };
  tinytl_backbone *built = build(TINYTL_WEIGHTS_INT8);
  (void)state;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    sink file = write_file(built);
    if (!sink_replace(&file, changes[i][0], changes[i][1])) fail_msg("no %s", changes[i][0]);
    if (open_only(file.bytes, file.nbytes) != TINYTL_ERROR_MODEL)
      fail_msg("accepted: %s", changes[i][1]);
    free(file.bytes);
  }
  tinytl_backbone_free(built);
}

/* Overwrites value `index` of a tensor in the file. */
static void poke(sink *file, const char *tensor, size_t index, float value) {
  tinytl_safetensors *opened = NULL;
  assert_int_equal(tinytl_safetensors_open(file->bytes, file->nbytes, "net", &opened, NULL),
                   TINYTL_OK);
  const tinytl_tensor *found = tinytl_safetensors_find(opened, tensor);
  assert_non_null(found);
  memcpy((char *)found->data + index * sizeof value, &value, sizeof value);
  tinytl_safetensors_free(opened);
}

static void test_wrong_values(void **state) {
  static const struct {
    const char *tensor;
    float value;
  } cases[] = {{"layers.0.scale", 0},        {"layers.3.scale", -1},
               {"layers.1.scale", INFINITY}, {"layers.5.bias", NAN},
               {"lite.1.norm2.weight", NAN}, {"lite.1.conv.weight", -INFINITY},
               {"classifier.bias", NAN},     {"classifier.scale", 0}};
  tinytl_backbone *built = build(TINYTL_WEIGHTS_INT8);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sink file = write_file(built);
    tinytl_backbone *backbone = NULL;
    tinytl_error error;
    poke(&file, cases[i].tensor, 2, cases[i].value);
    assert_int_equal(tinytl_backbone_open(file.bytes, file.nbytes, "net", &backbone, &error),
                     TINYTL_ERROR_MODEL);
    assert_non_null(strstr(error.message, cases[i].tensor));
    free(file.bytes);
  }
  tinytl_backbone_free(built);
}

static void test_build_refuses(void **state) {
  tinytl_backbone *model = calloc(1, sizeof *model), *built = NULL;
  static float bad[1000];
  tinytl_error error;
  (void)state;
  for (int type = 0; type < 2; type++) {
    fill_model(model);
    bad[5] = NAN;
    model->weight[2].f32 = bad;
    assert_int_equal(tinytl_backbone_build(model, (tinytl_weights)type, &built, &error),
                     TINYTL_ERROR_MODEL);
    assert_string_equal(error.message, "layers.2.weight: value 5 is not a finite number");
  }
  assert_null(built);
  free(model);
}

static void test_output_full(void **state) {
  tinytl_backbone *built = build(TINYTL_WEIGHTS_INT8);
  size_t room = 3000;
  tinytl_error error;
  (void)state;
  assert_int_equal(tinytl_backbone_write(built, sink_full, &room, &error), TINYTL_ERROR_INTERNAL);
  tinytl_backbone_free(built);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_bare),
      cmocka_unit_test(test_import_changes_weights),
      cmocka_unit_test(test_python_reads),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_wrong_fields),
      cmocka_unit_test(test_wrong_values),
      cmocka_unit_test(test_build_refuses),
      cmocka_unit_test(test_output_full),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
