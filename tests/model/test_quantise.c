/* Eight bits a weight: how far off, which channel, and the corners. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "model/quantise.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check(const tinytl_layer *layer) {
  const tinytl_weight_shape shape = tinytl_weight_shape_of(layer);
  tinytl_rng rng = tinytl_rng_make(3, TINYTL_RNG_INIT, (uint64_t)shape.n, 0);
  float *w = malloc(shape.n * sizeof *w), *back = malloc(shape.n * sizeof *w);
  float *copy = malloc(shape.n * sizeof *copy);
  float *scale = malloc((size_t)shape.out_c * sizeof *scale);
  int8_t *i8 = malloc(shape.n);
  assert_int_equal(shape.n, tinytl_layer_n_weights(layer));
  const size_t area = (size_t)layer->kernel * (size_t)layer->kernel;
  for (size_t i = 0; i < shape.n; i++) {
    /* Each channel of its own size, laid out as in the file: a wrong channel would show. */
    const size_t c =
        layer->groups > 1 ? i % (size_t)layer->out_c : i / (area * (size_t)layer->in_c);
    w[i] = ldexpf(tinytl_rng_normal(&rng), (int)(c % 20) - 10);
  }
  tinytl_quantise(shape, w, i8, scale);
  tinytl_dequantise(shape, i8, scale, back);
  for (size_t i = 0; i < shape.n; i++) {
    const size_t c =
        layer->groups > 1 ? i % (size_t)layer->out_c : i / (area * (size_t)layer->in_c);
    assert_true(fabsf(w[i] - back[i]) <= 0.5001f * scale[c]);
    assert_true(i8[i] >= -127);
  }
  const tinytl_weight codes = {.i8 = i8, .scale = scale}, floats = {.f32 = w};
  tinytl_weight_copy(shape, &codes, copy);
  assert_memory_equal(copy, back, shape.n * sizeof *copy);
  tinytl_weight_copy(shape, &floats, copy);
  assert_memory_equal(copy, w, shape.n * sizeof *copy);
  free(w);
  free(back);
  free(copy);
  free(scale);
  free(i8);
}

static void test_layouts(void **state) {
  (void)state;
  check(&(tinytl_layer){.in_c = 5, .out_c = 7, .kernel = 3, .groups = 1});
  check(&(tinytl_layer){.in_c = 24, .out_c = 31, .kernel = 1, .groups = 1});
  check(&(tinytl_layer){.in_c = 33, .out_c = 33, .kernel = 5, .groups = 33});
}

static void test_corners(void **state) {
  const tinytl_layer layer = {.in_c = 2, .out_c = 4, .kernel = 1, .groups = 1};
  const float w[8] = {0, 0, FLT_MIN, -FLT_MIN, -FLT_MAX, 1, 127, -63.5f};
  int8_t i8[8];
  float scale[4], back[8];
  (void)state;
  tinytl_quantise(tinytl_weight_shape_of(&layer), w, i8, scale);
  tinytl_dequantise(tinytl_weight_shape_of(&layer), i8, scale, back);
  assert_true(scale[0] == 1 && i8[0] == 0 && i8[1] == 0);
  assert_true(scale[1] == 1 && i8[2] == 0 && i8[3] == 0);
  assert_true(i8[4] == -127 && i8[5] == 0 && isfinite(back[4]));
  assert_true(scale[3] == 1 && i8[6] == 127 && i8[7] == -64); /* halves go to even */
}

static void test_scales(void **state) {
  (void)state;
  const float bad[] = {0, -1, NAN, INFINITY, nextafterf(TINYTL_MAX_SCALE, INFINITY)};
  float scale[2] = {FLT_MIN, TINYTL_MAX_SCALE};
  tinytl_error error;
  assert_int_equal(tinytl_scales_check(scale, 2, "t", NULL), TINYTL_OK);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    scale[1] = bad[i];
    assert_int_equal(tinytl_scales_check(scale, 2, "t", &error), TINYTL_ERROR_MODEL);
    assert_non_null(strstr(error.message, "t: scale 1 must be above 0"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_layouts), cmocka_unit_test(test_corners),
                                     cmocka_unit_test(test_scales)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
