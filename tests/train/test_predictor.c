/* Inference through the public API against the reference network in double. */
#include "support/cmocka.h"
#include "support/reference.h"
#include "support/sink.h"
#include "support/tiny_net.h"

#include "core/rng.h"
#include "tinytl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OTHER_CLASSES = 7, MAX_CLASSES = OTHER_CLASSES, MAX_SIZE = 45 };

static const char *const class_names[OTHER_CLASSES] = {"a", "b", "c", "d", "e", "f", "g"};

static uint8_t *random_picture(int size, uint64_t seed) {
  const size_t n = (size_t)size * (size_t)size * 3;
  uint8_t *rgb = malloc(n);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_AUGMENT, 0, 0);
  for (size_t i = 0; i < n; i++) rgb[i] = (uint8_t)tinytl_rng_below(&rng, 256);
  return rgb;
}

/* An adapter whose every value is random, as if it had been trained. */
static tinytl_adapter *make_adapter(const tinytl_backbone *backbone, tinytl_method method) {
  tinytl_network *network = malloc(sizeof *network);
  tinytl_params *params = malloc(sizeof *params);
  tinytl_adapter *adapter = NULL;
  assert_int_equal(tinytl_network_init(network, backbone, 0, OTHER_CLASSES,
                                       tinytl_method_trains_lite(method), NULL),
                   TINYTL_OK);
  tinytl_params_layout(params, network, method);
  float *values = malloc(params->n * sizeof *values);
  tinytl_params_init(params, network, 8, NULL, values);
  tiny_perturb(params, 9, values);
  assert_int_equal(
      tinytl_params_to_adapter(params, network, values, class_names, NAN, &adapter, NULL),
      TINYTL_OK);
  free(values);
  free(params);
  free(network);
  return adapter;
}

/* The backbone with the adapter laid over it by hand. */
static reference_net *make_reference(const tinytl_backbone *backbone,
                                     const tinytl_adapter *adapter) {
  tinytl_backbone *model = malloc(sizeof *model);
  *model = *backbone;
  if (adapter) {
    for (int i = 0; i < model->arch.n_layers; i++) {
      if (adapter->bias[i]) model->bias[i] = adapter->bias[i];
      if (adapter->weight[i]) model->weight[i] = (tinytl_weight){.f32 = adapter->weight[i]};
      model->weight[i].gain = adapter->gain[i];
    }
    if (adapter->n_lite > 0) {
      model->arch.n_lite = adapter->n_lite;
      memcpy(model->arch.lite, adapter->lite_shape, sizeof model->arch.lite);
      memcpy(model->lite, adapter->lite, sizeof model->lite);
    }
    model->arch.n_classes = adapter->n_classes;
    model->classifier = (tinytl_weight){.f32 = adapter->classifier};
    model->classifier_bias = adapter->classifier_bias;
  }
  reference_net *net = reference_net_make(model);
  free(model);
  return net;
}

static void softmax(int n, double *x) {
  double largest = x[0], sum = 0;
  for (int c = 1; c < n; c++) largest = fmax(largest, x[c]);
  for (int c = 0; c < n; c++) sum += x[c] = exp(x[c] - largest);
  for (int c = 0; c < n; c++) x[c] /= sum;
}

static void check_picture(tinytl_predictor *predictor, const reference_net *net, int size,
                          uint64_t seed) {
  const int n_classes = tinytl_predictor_n_classes(predictor);
  uint8_t *rgb = random_picture(size, seed);
  float got[MAX_CLASSES];
  double want[MAX_CLASSES], sum = 0;
  assert_int_equal(tinytl_predictor_run(predictor, rgb, got, NULL), TINYTL_OK);
  reference_forward(net, rgb, size, NULL, want, NULL);
  softmax(n_classes, want);
  for (int c = 0; c < n_classes; c++) {
    assert_true(got[c] >= 0 && got[c] <= 1);
    if (!(fabs((double)got[c] - want[c]) < 1e-4))
      fail_msg("size %d, class %d: probability %g, expected %g", size, c, (double)got[c], want[c]);
    sum += (double)got[c];
  }
  assert_true(fabs(sum - 1) < 1e-5);
  free(rgb);
}

static void check(const tinytl_backbone *backbone, const tinytl_adapter *adapter, int size) {
  tinytl_predictor *predictor = NULL;
  tinytl_error error = {0};
  if (tinytl_predictor_create(backbone, adapter, size, 2, &predictor, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  assert_int_equal(tinytl_predictor_n_classes(predictor),
                   adapter ? adapter->n_classes : backbone->arch.n_classes);
  assert_true(tinytl_predictor_nbytes(predictor) > 0);
  const tinytl_view view = tinytl_predictor_view(predictor);
  assert_int_equal(view.size, size ? size : TINY_SIZE);
  assert_true(view.resize >= view.size && !view.augment);
  reference_net *net = make_reference(backbone, adapter);
  for (uint64_t seed = 0; seed < 3; seed++) check_picture(predictor, net, view.size, seed);
  reference_net_free(net);
  tinytl_predictor_free(predictor);
}

/* Nobody has compared its shapes with the backbone's. */
static void test_adapter_opened_alone(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  for (int method = 0; method < TINYTL_METHOD_AUTO; method++) {
    tinytl_adapter *made = make_adapter(backbone, (tinytl_method)method), *opened = NULL;
    tinytl_predictor *predictor = NULL;
    sink file = {0};
    assert_int_equal(tinytl_adapter_write(made, sink_write, &file, NULL), TINYTL_OK);
    assert_int_equal(tinytl_adapter_open(file.bytes, file.nbytes, "a", NULL, &opened, NULL),
                     TINYTL_OK);
    assert_int_equal(tinytl_predictor_create(backbone, opened, 0, 1, &predictor, NULL),
                     TINYTL_ERROR_USAGE);
    tinytl_adapter_free(opened), tinytl_adapter_free(made);
    free(file.bytes);
  }
  tinytl_backbone_free(backbone);
}

/* The backbone's own size (0), odd and even ones, and one where the last maps are one pixel. */
static const int sizes[] = {0, 8, 23, MAX_SIZE};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static void for_every_backbone(void (*check_backbone)(const tinytl_backbone *backbone)) {
  for (int weights = TINYTL_WEIGHTS_INT8; weights <= TINYTL_WEIGHTS_F32; weights++)
    for (int pad = TINYTL_PAD_SYMMETRIC; pad <= TINYTL_PAD_SAME; pad++)
      for (int with_lite = 0; with_lite < 2; with_lite++) {
        tinytl_backbone *backbone =
            tiny_backbone((tinytl_weights)weights, (tinytl_pad)pad, with_lite);
        check_backbone(backbone);
        tinytl_backbone_free(backbone);
      }
}

static void check_own_classifier(const tinytl_backbone *backbone) {
  for (int i = 0; i < N_SIZES; i++) check(backbone, NULL, sizes[i]);
}

static void test_own_classifier(void **state) {
  (void)state;
  for_every_backbone(check_own_classifier);
}

static void check_adapters(const tinytl_backbone *backbone) {
  for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++) {
    tinytl_adapter *adapter = make_adapter(backbone, (tinytl_method)method);
    for (int i = 0; i < N_SIZES; i++) check(backbone, adapter, sizes[i]);
    tinytl_adapter_free(adapter);
  }
}

static void test_adapters(void **state) {
  (void)state;
  for_every_backbone(check_adapters);
}

static void test_any_threads(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, true);
  uint8_t *rgb = random_picture(TINY_SIZE, 1);
  float first[TINY_CLASSES], again[TINY_CLASSES];
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    tinytl_predictor *predictor = NULL;
    assert_int_equal(tinytl_predictor_create(backbone, NULL, 0, n_threads, &predictor, NULL),
                     TINYTL_OK);
    assert_int_equal(tinytl_predictor_run(predictor, rgb, n_threads == 1 ? first : again, NULL),
                     TINYTL_OK);
    if (n_threads > 1) assert_memory_equal(again, first, sizeof first);
    tinytl_predictor_free(predictor);
  }
  free(rgb);
  tinytl_backbone_free(backbone);
}

/* ---- Many pictures ------------------------------------------------------------------------ */

enum { N_PICTURES = 11, UNREADABLE = 4 };

typedef struct set {
  tinytl_status failure; /* of picture UNREADABLE */
  int n_told, n_skipped, stop_at;
  int told[N_PICTURES];
  float probabilities[N_PICTURES][TINY_CLASSES], scores[N_PICTURES];
} set;

static void fill(int index, uint8_t *rgb) {
  uint8_t *picture = random_picture(TINY_SIZE, (uint64_t)index);
  memcpy(rgb, picture, (size_t)TINY_SIZE * TINY_SIZE * 3);
  free(picture);
}

static tinytl_status load_one(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                              tinytl_error *error) {
  const set *s = context;
  if (view->size != TINY_SIZE) return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "another size");
  fill(index, rgb);
  if (index == UNREADABLE && s->failure != TINYTL_OK)
    return tinytl_fail(error, s->failure, "no such picture");
  return TINYTL_OK;
}

static void skip_one(void *context, const char *path, const char *reason) {
  set *s = context;
  assert_string_equal(path, "picture 4");
  assert_non_null(strstr(reason, "no such"));
  s->n_skipped++;
}

static tinytl_status take_answer(void *context, int index, const float *probabilities, float score,
                                 tinytl_error *error) {
  set *s = context;
  memcpy(s->probabilities[s->n_told], probabilities, sizeof s->probabilities[0]);
  s->scores[s->n_told] = score;
  s->told[s->n_told++] = index;
  if (s->n_told == s->stop_at) return tinytl_fail(error, TINYTL_INTERRUPTED, "enough");
  return TINYTL_OK;
}

static tinytl_status run_set(const tinytl_backbone *backbone, int n_threads, set *s) {
  tinytl_predictor *predictor = NULL;
  const tinytl_images images = {
      .n_images = N_PICTURES, .n_classes = TINY_CLASSES, .context = s, .load = load_one};
  assert_int_equal(tinytl_predictor_create(backbone, NULL, 0, n_threads, &predictor, NULL),
                   TINYTL_OK);
  const tinytl_status status =
      tinytl_predictor_run_all(predictor, &images, skip_one, take_answer, s, NULL);
  tinytl_predictor_free(predictor);
  return status;
}

/* In order, and to the bit what each picture gives alone; what cannot be read is left out. */
static void test_run_all(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, true);
  tinytl_predictor *alone = NULL;
  uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
  assert_int_equal(tinytl_predictor_create(backbone, NULL, 0, 1, &alone, NULL), TINYTL_OK);
  for (int n_threads = 1; n_threads <= 4; n_threads++)
    for (int is_bad = 0; is_bad < 2; is_bad++) {
      set s = {.failure = is_bad ? TINYTL_ERROR_DATA : TINYTL_OK};
      assert_int_equal(run_set(backbone, n_threads, &s), TINYTL_OK);
      assert_int_equal(s.n_skipped, is_bad);
      assert_int_equal(s.n_told, N_PICTURES - is_bad);
      for (int i = 0; i < s.n_told; i++) {
        const int index = i + (is_bad && i >= UNREADABLE);
        float expected[TINY_CLASSES];
        assert_int_equal(s.told[i], index);
        fill(index, rgb);
        assert_int_equal(tinytl_predictor_run(alone, rgb, expected, NULL), TINYTL_OK);
        assert_memory_equal(s.probabilities[i], expected, sizeof expected);
        assert_true(s.scores[i] == tinytl_predictor_score(alone));
      }
    }
  tinytl_predictor_free(alone);
  tinytl_backbone_free(backbone);
}

/* Another error than DATA ends the run, and so does an answer that is not taken. */
static void test_run_all_ends(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    set broken = {.failure = TINYTL_ERROR_INTERNAL};
    assert_int_equal(run_set(backbone, n_threads, &broken), TINYTL_ERROR_INTERNAL);
    assert_true(broken.n_told <= UNREADABLE && broken.n_skipped == 0);
    set enough = {.stop_at = 5};
    assert_int_equal(run_set(backbone, n_threads, &enough), TINYTL_INTERRUPTED);
    assert_int_equal(enough.n_told, 5);
  }
  tinytl_backbone_free(backbone);
}

/* An adapter carries the geometry it was trained with; another size takes the backbone's. */
static void test_view(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  backbone->input.resize = TINY_SIZE * 2;
  tinytl_adapter *adapter = make_adapter(backbone, TINYTL_METHOD_LAST);
  adapter->image_size = 30;
  adapter->resize = 33;
  static const struct {
    bool with_adapter;
    int asked, size, resize;
  } cases[] = {{false, 0, TINY_SIZE, 2 * TINY_SIZE},
               {false, 32, 32, 64},
               {true, 0, 30, 33},
               {true, 30, 30, 33},
               {true, 32, 32, 64}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinytl_predictor *predictor = NULL;
    assert_int_equal(tinytl_predictor_create(backbone, cases[i].with_adapter ? adapter : NULL,
                                             cases[i].asked, 1, &predictor, NULL),
                     TINYTL_OK);
    const tinytl_view view = tinytl_predictor_view(predictor);
    assert_int_equal(view.size, cases[i].size);
    assert_int_equal(view.resize, cases[i].resize);
    tinytl_predictor_free(predictor);
  }
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(backbone);
}

/* p^(1/T), normed; the score does not depend on T. Temperature 1 changes no bit. */
static void test_temperature(void **state) {
  (void)state;
  static const float temperatures[] = {1, 0.5f, 3};
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  tinytl_adapter *adapter = make_adapter(backbone, TINYTL_METHOD_BIAS);
  uint8_t *rgb = random_picture(TINY_SIZE, 1);
  double first[OTHER_CLASSES];
  float score = 0;
  for (int t = 0; t < 3; t++) {
    tinytl_predictor *predictor = NULL;
    float p[OTHER_CLASSES];
    double sum = 0;
    adapter->temperature = temperatures[t];
    assert_int_equal(tinytl_predictor_create(backbone, adapter, 0, 1, &predictor, NULL), TINYTL_OK);
    assert_int_equal(tinytl_predictor_run(predictor, rgb, p, NULL), TINYTL_OK);
    if (t == 0) score = tinytl_predictor_score(predictor);
    assert_true(tinytl_predictor_score(predictor) == score);
    for (int c = 0; c < OTHER_CLASSES; c++) {
      if (t == 0) first[c] = (double)p[c];
      sum += pow(first[c], 1 / (double)temperatures[t]);
    }
    for (int c = 0; c < OTHER_CLASSES; c++)
      assert_true(fabs((double)p[c] - pow(first[c], 1 / (double)temperatures[t]) / sum) < 1e-5);
    tinytl_predictor_free(predictor);
  }
  reference_net *net = make_reference(backbone, adapter);
  double logits[OTHER_CLASSES], largest = -INFINITY;
  reference_forward(net, rgb, TINY_SIZE, NULL, logits, NULL);
  for (int c = 0; c < OTHER_CLASSES; c++) largest = fmax(largest, logits[c]);
  assert_true(fabs((double)score - largest) < 1e-3);
  reference_net_free(net);
  free(rgb);
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(backbone);
}

/* ---- What is refused ---------------------------------------------------------------------- */

static void refuse(const tinytl_backbone *backbone, const tinytl_adapter *adapter, int size,
                   int n_threads, tinytl_status status) {
  tinytl_predictor *const untouched = (void *)&status;
  tinytl_predictor *predictor = untouched;
  tinytl_error error = {0};
  assert_int_equal(tinytl_predictor_create(backbone, adapter, size, n_threads, &predictor, &error),
                   status);
  assert_ptr_equal(predictor, untouched);
  assert_int_equal(error.status, status);
  assert_true(strlen(error.message) > 0);
}

static void test_arguments(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  refuse(backbone, NULL, -1, 1, TINYTL_ERROR_USAGE);
  refuse(backbone, NULL, 4097, 1, TINYTL_ERROR_USAGE);
  refuse(backbone, NULL, 0, -1, TINYTL_ERROR_USAGE);
  refuse(backbone, NULL, 0, 65, TINYTL_ERROR_USAGE);
  backbone->arch.n_classes = 0;
  refuse(backbone, NULL, 0, 1, TINYTL_ERROR_MODEL);
  tinytl_backbone_free(backbone);
}

/* An adapter made for a backbone of other channels would have been read beyond its end. */
static void test_adapter_of_another_backbone(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  tinytl_backbone *other = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, false);
  for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++) {
    tinytl_adapter *adapter = make_adapter(backbone, (tinytl_method)method);
    refuse(other, adapter, 0, 1, TINYTL_ERROR_MODEL);
    check(backbone, adapter, 0);
    tinytl_adapter_free(adapter);
  }
  tinytl_backbone_free(other);
  tinytl_backbone_free(backbone);
}

/* Every value is finite, but the logits are not. */
static void test_not_finite(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, false);
  tinytl_adapter *adapter = make_adapter(backbone, TINYTL_METHOD_LAST);
  for (size_t i = 0; i < adapter->n_values; i++) adapter->values[i] = i % 2 ? 3e38f : -3e38f;
  tinytl_predictor *predictor = NULL;
  assert_int_equal(tinytl_predictor_create(backbone, adapter, 0, 1, &predictor, NULL), TINYTL_OK);
  uint8_t *rgb = random_picture(TINY_SIZE, 1);
  float probabilities[OTHER_CLASSES];
  tinytl_error error = {0};
  assert_int_equal(tinytl_predictor_run(predictor, rgb, probabilities, &error), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "not a number"));
  free(rgb);
  tinytl_predictor_free(predictor);
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(backbone);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_own_classifier),
      cmocka_unit_test(test_adapters),
      cmocka_unit_test(test_any_threads),
      cmocka_unit_test(test_run_all),
      cmocka_unit_test(test_adapter_opened_alone),
      cmocka_unit_test(test_run_all_ends),
      cmocka_unit_test(test_view),
      cmocka_unit_test(test_arguments),
      cmocka_unit_test(test_adapter_of_another_backbone),
      cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_temperature),
  };
  return cmocka_run_group_tests_name("predictor", tests, NULL, NULL);
}
