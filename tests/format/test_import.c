/* The published models, if they are at hand, and files that are no models. */
#include "support/cmocka.h"
#include "support/data.h"
#include "support/sink.h"

#include "core/rng.h"
#include "model/backbone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tinytl_backbone *import(const char *name, tinytl_weights weights) {
  char path[DATA_PATH_SIZE], file[128];
  size_t nbytes = 0;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  snprintf(file, sizeof file, "weights/%s", name);
  if (!data_find(file, path)) return NULL;
  void *bytes = data_read(path, &nbytes);
  assert_non_null(bytes);
  if (tinytl_backbone_import(bytes, nbytes, path, weights, &backbone, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  free(bytes); /* nothing of it is kept */
  return backbone;
}

static const struct {
  const char *file, *architecture;
  int size, resize, n_layers, n_blocks, n_features, n_classes;
  size_t n_parameters;
  tinytl_pad pad;
  float mean;
} models[] = {
    {"mobilenet_v2_1.0_224.safetensors", "mobilenet_v2_1.0_224", 224, 256, 52, 17, 1280, 1000,
     3487816, TINYTL_PAD_SAME, 0.5f},
    {"mbv2-w0.35.safetensors", "mbv2-w0.35", 128, 146, 51, 17, 112, 1000, 357448,
     TINYTL_PAD_SYMMETRIC, 0.5f},
    {"proxyless-w0.3.safetensors", "proxyless-w0.3", 128, 146, 60, 20, 96, 1000, 423232,
     TINYTL_PAD_SYMMETRIC, 0.5f},
    {"mcunet-5fps.safetensors", "mcunet-5fps", 128, 146, 42, 14, 160, 1000, 630224,
     TINYTL_PAD_SYMMETRIC, 0.5f},
    {"vww_mobilenet_v1_0.25_96.safetensors", "vww_mobilenet_v1_0.25_96", 96, 110, 27, 0, 256, 2,
     210850, TINYTL_PAD_SAME, 0},
    {"tf2_mobilenet_v2_1.0_224_ptq.tflite", "tf2_mobilenet_v2_1.0_224_ptq", 224, 256, 52, 17, 1280,
     1001, 3487816 + 1281, TINYTL_PAD_SAME, 0.5f},
    {"vww_96_float.tflite", "vww_96_float", 96, 110, 27, 0, 256, 2, 210850, TINYTL_PAD_SAME, 0},
};

static void test_published_models(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    tinytl_backbone *backbone = import(models[i].file, TINYTL_WEIGHTS_INT8);
    if (!backbone) skip();
    tinytl_backbone_info info;
    tinytl_backbone_describe(backbone, &info);
    assert_string_equal(info.architecture, models[i].architecture);
    assert_int_equal(info.image_size, models[i].size);
    assert_int_equal(backbone->input.resize, models[i].resize);
    assert_int_equal(info.n_layers, models[i].n_layers);
    assert_int_equal(info.n_blocks, models[i].n_blocks);
    assert_int_equal(info.n_features, models[i].n_features);
    assert_int_equal(info.n_classes, models[i].n_classes);
    assert_int_equal(info.n_parameters, models[i].n_parameters);
    assert_int_equal(backbone->arch.layers[0].pad, models[i].pad);
    assert_true(backbone->input.mean[0] == models[i].mean);
    assert_int_equal(strlen(info.sha256), 64);
    tinytl_backbone_free(backbone);
  }
}

/* Largest difference of two arrays. */
static double distance(const float *x, const float *y, size_t n) {
  double largest = 0;
  for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)x[i] - (double)y[i]));
  return largest;
}

/* The safetensors files were made of the TFLite files by somebody else's reader. Row 0 of the
 * 1001 classes is left out in them. */
static void expect_same_model(const char *x_name, const char *y_name, int first_class) {
  tinytl_backbone *x = import(x_name, TINYTL_WEIGHTS_F32);
  if (!x) skip();
  tinytl_backbone *y = import(y_name, TINYTL_WEIGHTS_F32);
  assert_non_null(y);
  const size_t n_features = (size_t)x->arch.n_features;
  assert_int_equal(x->arch.n_layers, y->arch.n_layers);
  assert_memory_equal(x->arch.layers, y->arch.layers, sizeof x->arch.layers);
  for (int i = 0; i < x->arch.n_layers; i++) {
    const tinytl_layer *layer = &x->arch.layers[i];
    assert_true(distance(x->weight[i].f32, y->weight[i].f32, tinytl_layer_n_weights(layer)) < 1e-6);
    assert_true(distance(x->bias[i], y->bias[i], (size_t)layer->out_c) < 1e-5);
  }
  assert_true(distance(x->classifier.f32 + (size_t)first_class * n_features, y->classifier.f32,
                       (size_t)y->arch.n_classes * n_features) < 1e-6);
  assert_true(distance(x->classifier_bias + first_class, y->classifier_bias,
                       (size_t)y->arch.n_classes) < 1e-5);
  tinytl_backbone_free(x);
  tinytl_backbone_free(y);
}

static void test_tflite_equals_safetensors(void **state) {
  (void)state;
  expect_same_model("tf2_mobilenet_v2_1.0_224_ptq.tflite", "mobilenet_v2_1.0_224.safetensors", 1);
  expect_same_model("vww_96_float.tflite", "vww_mobilenet_v1_0.25_96.safetensors", 0);
}

/* The int8 weights of the TFLite file are not rounded again. */
static void test_int8_is_kept(void **state) {
  tinytl_backbone *i8 = import("tf2_mobilenet_v2_1.0_224_ptq.tflite", TINYTL_WEIGHTS_INT8);
  (void)state;
  if (!i8) skip();
  tinytl_backbone *f32 = import("tf2_mobilenet_v2_1.0_224_ptq.tflite", TINYTL_WEIGHTS_F32);
  for (int i = 0; i < i8->arch.n_layers; i++) {
    const tinytl_layer *layer = &i8->arch.layers[i];
    const size_t n = tinytl_layer_n_weights(layer), run = n / (size_t)layer->out_c;
    for (size_t k = 0; k < n; k++) {
      const size_t c = layer->groups > 1 ? k % (size_t)layer->out_c : k / run;
      assert_true(f32->weight[i].f32[k] == (float)i8->weight[i].i8[k] * i8->weight[i].scale[c]);
    }
  }
  tinytl_backbone_free(i8);
  tinytl_backbone_free(f32);
}

/* ---- Damage ------------------------------------------------------------------------------- */

static int import_only(const void *bytes, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  const tinytl_status status =
      tinytl_backbone_import(bytes, nbytes, "file", TINYTL_WEIGHTS_INT8, &backbone, &error);
  if (status == TINYTL_OK)
    tinytl_backbone_free(backbone);
  else
    assert_non_null(strstr(error.message, "file"));
  return (int)status;
}

static void test_cut_models(void **state) {
  static const char *const files[] = {"weights/vww_96_float.tflite",
                                      "weights/vww_mobilenet_v1_0.25_96.safetensors"};
  (void)state;
  for (int f = 0; f < 2; f++) {
    char path[DATA_PATH_SIZE];
    if (!data_find(files[f], path)) skip();
    size_t nbytes = 0;
    uint8_t *bytes = data_read(path, &nbytes);
    for (size_t cut = 0; cut < nbytes; cut += nbytes / 97) {
      uint8_t *copy = malloc(cut + 1);
      memcpy(copy, bytes, cut);
      assert_int_equal(import_only(copy, cut), TINYTL_ERROR_MODEL);
      free(copy);
    }
    /* One byte changed, all over the header and here and there in the rest. */
    for (size_t i = 0; i < nbytes; i += i < 9000 ? 11 : nbytes / 50) {
      bytes[i] ^= 0x41;
      import_only(bytes, nbytes);
      bytes[i] ^= 0x41;
    }
    free(bytes);
  }
}

static void test_no_models(void **state) {
  static const struct {
    const char *bytes;
    size_t nbytes;
  } files[] = {{"", 0},
               {"x", 1},
               {"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1", 18}, /* a JPEG's beginning */
               {"PK\3\4aaaaaaaaaaaaaa", 18},                       /* a zip, as PyTorch's */
               {"TFL3TFL3TFL3TFL3", 16},
               {"\x08\0\0\0TFL3", 8},
               {"\xff\xff\xff\xff\x54\x46\x4c\x33\0\0\0\0", 12},
               {"\x02\0\0\0\0\0\0\0{}", 10}, /* safetensors that say nothing */
               {"\xff\0\0\0\0\0\0\0{}", 10}};
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char *copy = malloc(files[i].nbytes + 1);
    memcpy(copy, files[i].bytes, files[i].nbytes);
    assert_int_equal(import_only(copy, files[i].nbytes), TINYTL_ERROR_MODEL);
    free(copy);
  }
}

static void test_random_bytes(void **state) {
  enum { NBYTES = 1 << 16 };
  (void)state;
  for (uint64_t seed = 0; seed < 60; seed++) {
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
    uint8_t *bytes = malloc(NBYTES);
    for (int i = 0; i < NBYTES; i++) bytes[i] = (uint8_t)tinytl_rng_next(&rng);
    if (seed % 3 == 1) memcpy(bytes, "\x10\0\0\0TFL3", 8);
    if (seed % 3 == 2) memcpy(bytes, "\xf0\x1f\0\0\0\0\0\0{", 9);
    assert_int_equal(import_only(bytes, NBYTES), TINYTL_ERROR_MODEL);
    free(bytes);
  }
}

/* ---- A description by hand ---------------------------------------------------------------- */

#define LAYER(name, in, out, add)                                                          \
  "{\\\"name\\\":\\\"" name "\\\",\\\"in\\\":" in ",\\\"out\\\":" out ",\\\"kernel\\\":1," \
  "\\\"stride\\\":1,\\\"groups\\\":1,\\\"act\\\":\\\"relu\\\",\\\"add\\\":" add "}"
#define FILE_OF_INPUT(side, padding, layers, tensors)                                      \
  "{\"__metadata__\":{\"architecture\":\"{\\\"input\\\":[3," side "," side                 \
  "],\\\"padding\\\":\\\"" padding                                                         \
  "\\\",\\\"pool\\\":\\\"global_average\\\",\\\"layers\\\":[" layers                       \
  "],\\\"classifier\\\":{\\\"name\\\":\\\"c\\\",\\\"in\\\":1,\\\"out\\\":1}}\","           \
  "\"preprocess\":\"{\\\"resize_short\\\":8,\\\"mean\\\":[0,0,0],\\\"std\\\":[1,1,1]}\"}," \
  "\"c.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"               \
  "\"c.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}" tensors "}"
#define FILE_OF(padding, layers, tensors) FILE_OF_INPUT("8", padding, layers, tensors)
#define TENSORS                                                                    \
  ",\"a.weight\":{\"dtype\":\"F32\",\"shape\":[1,3,1,1],\"data_offsets\":[8,20]}," \
  "\"a.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}"

/* The data is zeros; n_pad spaces move it off its alignment. */
static sink file_of(const char *header, size_t n_pad, size_t n_data) {
  sink file = {0};
  const size_t length = strlen(header) + n_pad;
  uint8_t prefix[8] = {(uint8_t)length, (uint8_t)(length >> 8)};
  sink_write(&file, prefix, 8);
  sink_write(&file, header, strlen(header));
  for (size_t i = 0; i < n_pad; i++) sink_write(&file, " ", 1);
  for (size_t i = 0; i < n_data; i++) sink_write(&file, "", 1);
  return file;
}

static int import_header(const char *header, size_t n_pad, size_t n_data) {
  sink file = file_of(header, n_pad, n_data);
  const int status = import_only(file.bytes, file.nbytes);
  free(file.bytes);
  return status;
}

static void test_descriptions(void **state) {
  (void)state;
  const char *good = FILE_OF("tf_same", LAYER("a", "3", "1", "null"), TENSORS);
  for (size_t n_pad = 0; n_pad < 4; n_pad++)
    assert_int_equal(import_header(good, n_pad, 24), TINYTL_OK);
  static const char *const bad[] = {
      FILE_OF("valid", LAYER("a", "3", "1", "null"), TENSORS),
      FILE_OF("tf_same", LAYER("a", "3", "2", "null"), TENSORS),
      FILE_OF("tf_same", LAYER("a", "3", "1", "\\\"b\\\""), TENSORS),
      FILE_OF("tf_same", LAYER("a", "3", "1", "0"), TENSORS),
      FILE_OF("tf_same", LAYER("b", "3", "1", "null"), TENSORS),
      FILE_OF("tf_same", "", TENSORS),
      FILE_OF("tf_same", "1", TENSORS),
      /* Was cut to 7 pixels. */
      FILE_OF_INPUT("7.7", "tf_same", LAYER("a", "3", "1", "null"), TENSORS),
      /* The same tensor twice. */
      FILE_OF("tf_same", LAYER("a", "3", "1", "null") "," LAYER("a", "1", "1", "null"), TENSORS),
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (import_header(bad[i], 0, 24) != TINYTL_ERROR_MODEL) fail_msg("accepted: %s", bad[i]);
}

/* Half precision was told as half as many values. */
static void test_dtype(void **state) {
  (void)state;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  sink file = file_of(FILE_OF("tf_same", LAYER("a", "3", "1", "null"),
                              ",\"a.weight\":{\"dtype\":\"F16\",\"shape\":[1,3,1,1],"
                              "\"data_offsets\":[8,14]},\"a.bias\":{\"dtype\":\"F16\","
                              "\"shape\":[1],\"data_offsets\":[14,16]}"),
                      0, 16);
  assert_int_equal(tinytl_backbone_import(file.bytes, file.nbytes, "file", TINYTL_WEIGHTS_F32,
                                          &backbone, &error),
                   TINYTL_ERROR_MODEL);
  assert_string_equal(error.message, "file: tensor \"a.bias\": expected dtype F32");
  free(file.bytes);
}

#define TWO_LAYERS(padding)                                                                 \
  FILE_OF(padding, LAYER("a", "3", "1", "null") "," LAYER("b", "1", "1", "\\\"a\\\""),      \
          TENSORS                                                                           \
          ",\"b.weight\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1],\"data_offsets\":[24,28]}," \
          "\"b.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[28,32]}")

static void test_two_layers(void **state) {
  static const struct {
    const char *header;
    tinytl_pad pad;
  } files[] = {{TWO_LAYERS("tf_same"), TINYTL_PAD_SAME},
               {TWO_LAYERS("symmetric"), TINYTL_PAD_SYMMETRIC}};
  (void)state;
  for (int f = 0; f < 2; f++) {
    sink file = file_of(files[f].header, 0, 32);
    tinytl_backbone *backbone = NULL;
    assert_int_equal(tinytl_backbone_import(file.bytes, file.nbytes, "file", TINYTL_WEIGHTS_F32,
                                            &backbone, NULL),
                     TINYTL_OK);
    const tinytl_arch *arch = &backbone->arch;
    assert_int_equal(arch->n_layers, 2);
    assert_int_equal(arch->layers[0].pad, files[f].pad);
    assert_int_equal(arch->layers[1].pad, files[f].pad);
    assert_int_equal(arch->layers[0].add, -1);
    assert_int_equal(arch->layers[1].add, 0);
    tinytl_backbone_free(backbone);
    free(file.bytes);
  }
}

/* Weights of no type were written beyond the memory of the network. */
static void test_no_weights(void **state) {
  (void)state;
  sink file = file_of(TWO_LAYERS("tf_same"), 0, 32);
  tinytl_backbone *backbone = NULL;
  tinytl_error error = {0};
  assert_int_equal(
      tinytl_backbone_import(file.bytes, file.nbytes, "file", (tinytl_weights)2, &backbone, &error),
      TINYTL_ERROR_USAGE);
  assert_string_equal(error.message, "file: weights must be 0 to 1, not 2");
  assert_null(backbone);
  free(file.bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_published_models), cmocka_unit_test(test_tflite_equals_safetensors),
      cmocka_unit_test(test_int8_is_kept),     cmocka_unit_test(test_cut_models),
      cmocka_unit_test(test_no_models),        cmocka_unit_test(test_random_bytes),
      cmocka_unit_test(test_descriptions),     cmocka_unit_test(test_dtype),
      cmocka_unit_test(test_two_layers),       cmocka_unit_test(test_no_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
