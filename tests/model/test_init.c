/* Random backbones: the same seed the same bytes, and features that neither vanish nor blow up. */
#include "support/cmocka.h"
#include "support/reference.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tinytl_backbone *init(const char *architecture, tinytl_weights weights, uint64_t seed) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  if (tinytl_backbone_init(architecture, 10, weights, seed, &backbone, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  return backbone;
}

static void test_seed(void **state) {
  tinytl_backbone *one = init("mobilenet-v2-0.1", TINYTL_WEIGHTS_INT8, 1);
  tinytl_backbone *same = init("mobilenet-v2-0.1", TINYTL_WEIGHTS_INT8, 1);
  tinytl_backbone *other = init("mobilenet-v2-0.1", TINYTL_WEIGHTS_INT8, 2);
  (void)state;
  assert_string_equal(one->sha256, same->sha256);
  assert_string_not_equal(one->sha256, other->sha256);
  tinytl_backbone_free(one);
  tinytl_backbone_free(same);
  tinytl_backbone_free(other);
}

static void test_features(void **state) {
  static const char *const names[] = {"mobilenet-v2-0.35", "mcunet-5fps", "proxyless-mobile"};
  enum { SIZE = 64 };
  static uint8_t rgb[SIZE * SIZE * 3];
  tinytl_rng rng = tinytl_rng_make(5, TINYTL_RNG_INIT, 0, 0);
  (void)state;
  for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)tinytl_rng_next(&rng);
  for (int a = 0; a < 3; a++) {
    tinytl_backbone *backbone = init(names[a], TINYTL_WEIGHTS_INT8, 7);
    reference_net *net = reference_net_make(backbone);
    const int n = backbone->arch.n_features;
    double *features = malloc((size_t)n * sizeof *features), square = 0;
    reference_forward(net, rgb, SIZE, features, NULL, NULL);
    for (int i = 0; i < n; i++) square += features[i] * features[i] / n;
    printf("%s: root mean square of the features %g\n", names[a], sqrt(square));
    assert_true(isfinite(square) && square > 1e-4 && square < 1e2);
    free(features);
    reference_net_free(net);
    tinytl_backbone_free(backbone);
  }
}

static void test_classifier(void **state) {
  tinytl_backbone *backbone = init("mobilenet-v2-0.1", TINYTL_WEIGHTS_F32, 1);
  const float limit = 1 / sqrtf(1280);
  double sum = 0, largest = 0;
  (void)state;
  for (int i = 0; i < 12800; i++) {
    sum += (double)backbone->classifier.f32[i];
    largest = fmax(largest, fabs((double)backbone->classifier.f32[i]));
  }
  assert_true(largest <= (double)limit && largest > 0.99 * (double)limit);
  assert_true(fabs(sum / 12800) < 0.02 * (double)limit);
  for (int i = 0; i < 10; i++) assert_true(backbone->classifier_bias[i] == 0);
  tinytl_backbone_free(backbone);
}

static void test_refused(void **state) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  (void)state;
  assert_int_equal(tinytl_backbone_init("vgg", 10, TINYTL_WEIGHTS_INT8, 0, &backbone, &error),
                   TINYTL_ERROR_USAGE);
  assert_non_null(strstr(error.message, "proxyless-mobile"));
  assert_int_equal(
      tinytl_backbone_init("mcunet-5fps", 0, TINYTL_WEIGHTS_INT8, 0, &backbone, &error),
      TINYTL_ERROR_USAGE);
  assert_null(backbone);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_seed), cmocka_unit_test(test_features),
                                     cmocka_unit_test(test_classifier),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
