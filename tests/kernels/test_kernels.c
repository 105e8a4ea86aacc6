/* Every kernel set against plain loops, in double or exactly, at and around the tiles' edges. */
#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/op_check.h"
#include "tinytl.h"

static void for_each_set(void (*check)(const tinytl_kernels *kernels)) {
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  for (int i = 0; i < n_sets; i++) check(sets[i]);
}

static float *panel_make(int k) {
  return aligned_alloc(64, tinytl_round_up((size_t)(k + 1) * TINYTL_MAX_NR * sizeof(float), 64));
}

/* ---- Matrix product ------------------------------------------------------------------------ */

enum { GUARD = 3 }; /* floats around each row of C, which must stay */

static void check_gemm_tile(const tinytl_kernels *kernels, int m, int n, int k, int n_runs,
                            bool accumulate) {
  const int steps = k * n_runs, c_row = n + GUARD;
  float *a = op_random((size_t)m * steps + 1, 1), *b = panel_make(steps);
  float *values = op_random((size_t)steps * n + 1, 2), *c = op_random((size_t)m * c_row, 3);
  float *before = malloc((size_t)m * c_row * sizeof *before);
  memcpy(before, c, (size_t)m * c_row * sizeof *before);
  kernels->pack_f32(b, values, steps, n, n, 1);
  const tinytl_gemm_tile tile = {.m = m,
                                 .n = n,
                                 .k = k,
                                 .a = a,
                                 .a_row = steps,
                                 .a_step = 1,
                                 .b = b,
                                 .c = c,
                                 .c_row = c_row,
                                 .accumulate = accumulate,
                                 .n_runs = n_runs,
                                 .a_run = k,
                                 .b_run = (ptrdiff_t)k * kernels->nr};
  kernels->gemm(&tile);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < c_row; j++) {
      const float got = c[i * c_row + j], old = before[i * c_row + j];
      if (j >= n) {
        assert_true(got == old);
        continue;
      }
      double want = accumulate ? old : 0;
      for (int s = 0; s < steps; s++) want += (double)a[i * steps + s] * values[s * n + j];
      assert_float_equal(got, want, 1e-5 * (1 + steps));
    }
  free(a), free(b), free(values), free(c), free(before);
}

static void check_gemm(const tinytl_kernels *kernels) {
  for (int m = 1; m <= 2 * kernels->mr + 1; m++) /* up to three register tiles */
    for (int n = 1; n <= kernels->nr; n++) {
      check_gemm_tile(kernels, m, n, 1 + (m + n) % 9, 1 + n % 3, (m + n) % 2);
      check_gemm_tile(kernels, m, n, 0, 1, n % 2);
    }
}

/* An element is the same bits alone, in the middle of a tile, and summed in two parts. */
static void check_gemm_order(const tinytl_kernels *kernels) {
  enum { K = 37 };
  const int m = kernels->mr, n = kernels->nr;
  float *a = op_random((size_t)m * K, 1), *values = op_random((size_t)K * n, 2), *b = panel_make(K);
  float *whole = malloc((size_t)m * n * sizeof *whole);
  kernels->pack_f32(b, values, K, n, n, 1);
  tinytl_gemm_tile tile = {
      .m = m, .n = n, .k = K, .a = a, .a_row = 1, .a_step = m, .b = b, .c = whole, .c_row = n};
  kernels->gemm(&tile);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      float one, *alone = panel_make(K);
      kernels->pack_f32(alone, values + j, K, 1, n, 1);
      tile = (tinytl_gemm_tile){.m = 1,
                                .n = 1,
                                .k = 20,
                                .a = a + i,
                                .a_row = 1,
                                .a_step = m,
                                .b = alone,
                                .c = &one,
                                .c_row = 1};
      kernels->gemm(&tile);
      tile.a += 20 * m;
      tile.b += 20 * n;
      tile.k = K - 20;
      tile.accumulate = true;
      kernels->gemm(&tile);
      assert_memory_equal(&one, &whole[i * n + j], sizeof one);
      free(alone);
    }
  free(a), free(values), free(b), free(whole);
}

/* ---- Packing ------------------------------------------------------------------------------- */

/* Both strides' cases; the arrays end where the last element does. */
static void check_pack_shape(const tinytl_kernels *kernels, int k, int n, bool by_step) {
  const int columns = n + 2, steps = k + 3;
  const ptrdiff_t step_stride = by_step ? columns : 1, column_stride = by_step ? 1 : steps;
  const size_t size = (size_t)((k - 1) * step_stride + (n - 1) * column_stride + 1);
  float *w = op_random(size, 1), *scale = op_random((size_t)(k > n ? k : n), 2);
  int8_t *w8 = malloc(size);
  for (size_t i = 0; i < size; i++) w8[i] = (int8_t)(i * 89 % 256 - 128);
  float *panel = panel_make(k), *panel8 = panel_make(k);
  kernels->pack_f32(panel, w, k, n, step_stride, column_stride);
  kernels->pack_i8(panel8, w8, scale, by_step, k, n, step_stride, column_stride);
  for (int step = 0; step < k; step++)
    for (int c = 0; c < kernels->nr; c++) {
      const size_t from = (size_t)(step * step_stride + c * column_stride);
      const float want = c < n ? w[from] : 0;
      const float want8 = c < n ? (float)w8[from] * scale[by_step ? step : c] : 0;
      assert_true(panel[step * kernels->nr + c] == want);
      assert_true(panel8[step * kernels->nr + c] == want8);
    }
  free(w), free(scale), free(w8), free(panel), free(panel8);
}

static void check_pack(const tinytl_kernels *kernels) {
  static const int STEPS[] = {1, 3, 4, 15, 16, 17, 63, 64, 67, 130};
  for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++)
    for (int n = 1; n <= kernels->nr; n++) {
      check_pack_shape(kernels, STEPS[i], n, false);
      check_pack_shape(kernels, STEPS[i], n, true);
    }
}

/* ---- Vectors ------------------------------------------------------------------------------- */

static void check_vectors(const tinytl_kernels *kernels) {
  for (size_t n = 0; n < 70; n++) {
    float *x = op_random(n + 1, 1), *y = op_random(n + 1, 2), *z = op_random(n + 1, 2);
    kernels->add(y, x, n);
    for (size_t i = 0; i < n; i++) assert_true(y[i] == z[i] + x[i]);
    assert_true(y[n] == z[n]);
    kernels->axpy(y, 0.5f, x, n);
    for (size_t i = 0; i < n; i++) assert_float_equal(y[i], z[i] + 1.5 * x[i], 1e-5);
    assert_true(y[n] == z[n]);
    free(x), free(y), free(z);
  }
}

/* ---- Optimizers ---------------------------------------------------------------------------- */

enum { UPDATE_MAX = 2 * TINYTL_MOMENT_BLOCK + 37, UPDATE_PAD = 3 };

/* Moments in all of their forms; codes and scales give what moment1 and moment2 hold. */
typedef struct update_state {
  float values[UPDATE_MAX], gradient[UPDATE_MAX], moment1[UPDATE_MAX], moment2[UPDATE_MAX];
  uint8_t code1[UPDATE_MAX], code2[UPDATE_MAX];
  float scale1[3], scale2[3];
} update_state;

/* 4 bits(y) - 3 bits(1), as a float: piecewise linear through y^4 at the powers of two. */
static double code_power(double y) {
  if (y == 0) return 0;
  int exponent;
  const double mantissa = 2 * frexp(y, &exponent) - 1; /* y = (1 + mantissa) 2^(exponent - 1) */
  const double log = 4 * (exponent - 1 + mantissa), whole = floor(log);
  return ldexp(1 + log - whole, (int)whole);
}

static void update_fill(update_state *s) {
  float *values = op_random(UPDATE_MAX, 1), *gradient = op_random(UPDATE_MAX, 2);
  memcpy(s->values, values, sizeof s->values);
  memcpy(s->gradient, gradient, sizeof s->gradient);
  for (int b = 0; b < 3; b++) {
    s->scale1[b] = 3e-10f * (float)(b + 1);
    s->scale2[b] = 4e-10f / (float)(b + 1);
  }
  for (int i = 0; i < UPDATE_MAX; i++) {
    const int block = i / TINYTL_MOMENT_BLOCK;
    s->code1[i] = (uint8_t)(i * 37 + 11);
    s->code2[i] = (uint8_t)(1 + i * 53 % 255);
    const double m = code_power(s->code1[i] & 127) * s->scale1[block];
    const double root = code_power(s->code2[i]) * s->scale2[block];
    s->moment1[i] = (float)(s->code1[i] & 128 ? -m : m);
    s->moment2[i] = (float)(root * root);
  }
  free(values), free(gradient);
}

static tinytl_update update_of(update_state *s, size_t n) {
  return (tinytl_update){.n = n,
                         .values = s->values,
                         .gradient = s->gradient,
                         .rate = 1e-2f,
                         .gradient_scale = 0.25f,
                         .root_correction = 1.5f,
                         .moment1 = s->moment1,
                         .moment2 = s->moment2,
                         .code1 = s->code1,
                         .code2 = s->code2,
                         .scale1 = s->scale1,
                         .scale2 = s->scale2};
}

static void assert_near(double got, double want, double tolerance) {
  if (!(fabs(got - want) <= tolerance * fmax(fabs(want), 1e-3)))
    fail_msg("%.9g instead of %.9g", got, want);
}

/* One step in double of value i; returns the new value. */
static double adam_step(const update_state *s, size_t i, double *m, double *v) {
  const double g = 0.25 * (double)s->gradient[i];
  *m = 0.9 * (double)s->moment1[i] + 0.1 * g;
  *v = 0.999 * (double)s->moment2[i] + 0.001 * g * g;
  return (double)s->values[i] - 1e-2 * *m / (1.5 * sqrt(*v) + 1e-8);
}

/* The first n values were updated and their gradients cleared, the next are as they were. */
static void check_range(const update_state *s, const update_state *start, size_t n) {
  for (size_t i = 0; i < n; i++) assert_true(s->gradient[i] == 0);
  const size_t pad = UPDATE_PAD * sizeof(float);
  assert_memory_equal(s->gradient + n, start->gradient + n, pad);
  assert_memory_equal(s->values + n, start->values + n, pad);
  assert_memory_equal(s->moment1 + n, start->moment1 + n, pad);
  assert_memory_equal(s->moment2 + n, start->moment2 + n, pad);
  assert_memory_equal(s->code1 + n, start->code1 + n, UPDATE_PAD);
  assert_memory_equal(s->code2 + n, start->code2 + n, UPDATE_PAD);
}

/* Is `code` the nearest to x, where `most` has the largest code? A tie may go either way. */
static void check_code(int code, int top, double x, double most) {
  const double wanted = x / most * code_power(top), slack = 1e-5;
  assert_true(wanted <= code_power(code + 0.5) * (1 + slack));
  if (code > 0) assert_true(wanted >= code_power(code - 0.5) * (1 - slack));
}

static void check_codes(const update_state *s, const update_state *start, size_t n) {
  for (size_t first = 0, block = 0; first < n; first += TINYTL_MOMENT_BLOCK, block++) {
    const size_t end = n - first < TINYTL_MOMENT_BLOCK ? n : first + TINYTL_MOMENT_BLOCK;
    double m, v, m_most = 0, root_most = 0;
    for (size_t i = first; i < end; i++) {
      assert_near(s->values[i], adam_step(start, i, &m, &v), 1e-5);
      m_most = fmax(m_most, fabs(m));
      root_most = fmax(root_most, sqrt(v));
    }
    assert_near(s->scale1[block] * code_power(127) / m_most, 1, 1e-5);
    assert_near(s->scale2[block] * code_power(255) / root_most, 1, 1e-5);
    for (size_t i = first; i < end; i++) {
      adam_step(start, i, &m, &v);
      check_code(s->code1[i] & 127, 127, fabs(m), m_most);
      if ((s->code1[i] & 127) > 0) assert_int_equal(s->code1[i] >> 7, m < 0);
      assert_true(s->code2[i] > 0);
      if (s->code2[i] > 1) check_code(s->code2[i], 255, sqrt(v), root_most);
    }
  }
}

static void check_optimizers(const tinytl_kernels *kernels) {
  static update_state start, s;
  update_fill(&start);
  for (size_t n = 0; n <= UPDATE_MAX - UPDATE_PAD; n += n < 40 ? 1 : 31) {
    double m, v;
    s = start;
    tinytl_update u = update_of(&s, n);
    kernels->adam(&u);
    check_range(&s, &start, n);
    for (size_t i = 0; i < n; i++) {
      assert_near(s.values[i], adam_step(&start, i, &m, &v), 1e-5);
      assert_near(s.moment1[i], m, 1e-5);
      assert_near(s.moment2[i], v, 1e-5);
    }
    s = start;
    kernels->sgd(&u);
    check_range(&s, &start, n);
    for (size_t i = 0; i < n; i++) {
      m = 0.9 * (double)start.moment1[i] + 0.25 * (double)start.gradient[i];
      assert_near(s.moment1[i], m, 1e-5);
      assert_near(s.values[i], (double)start.values[i] - 1e-2 * m, 1e-5);
    }
    s = start;
    kernels->adam8(&u);
    check_range(&s, &start, n);
    check_codes(&s, &start, n);
  }
}

static void test_optimizers(void **state) {
  (void)state;
  for_each_set(check_optimizers);
}

static void test_gemm(void **state) {
  (void)state;
  for_each_set(check_gemm);
}

static void test_gemm_order(void **state) {
  (void)state;
  for_each_set(check_gemm_order);
}

static void test_pack(void **state) {
  (void)state;
  for_each_set(check_pack);
}

static void test_vectors(void **state) {
  (void)state;
  for_each_set(check_vectors);
}

/* ---- Dispatch ------------------------------------------------------------------------------ */

/* Bit by bit, and nothing read or written beyond the ends (which the sanitizer sees). */
static void check_spread(const tinytl_kernels *kernels) {
  for (int width = 1; width <= kernels->lanes; width++)
    for (int n_groups = 1; n_groups < 12; n_groups += 1 + n_groups / 4)
      for (int n = 1; n < 6; n++) {
        const int channels = width * n_groups, size = n * channels;
        float *x = op_random((size_t)size, 1), *y = malloc((size_t)(size + GUARD) * sizeof *y);
        for (int which = 0; which < width; which++) {
          for (int i = 0; i < size + GUARD; i++) y[i] = 7;
          kernels->spread(n, channels, width, which, x, y);
          for (int i = 0; i < size; i++) assert_true(y[i] == x[i / width * width + which]);
          for (int i = size; i < size + GUARD; i++) assert_true(y[i] == 7);
        }
        free(x), free(y);
      }
}

static void test_spread(void **state) {
  (void)state;
  for_each_set(check_spread);
}

static void test_dispatch(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  assert_string_equal(sets[0]->name, "portable");
  for (int i = 0; i < n_sets; i++) {
    assert_in_range(sets[i]->nr, 8, TINYTL_MAX_NR);
    assert_int_equal(sets[i]->nr % 8, 0); /* panels begin at whole mask bytes */
    setenv("TINYTL_KERNELS", sets[i]->name, 1);
    assert_ptr_equal(tinytl_kernels_get(), sets[i]);
    assert_string_equal(tinytl_kernels_name(), sets[i]->name);
  }
  setenv("TINYTL_KERNELS", "abacus", 1);
  assert_ptr_equal(tinytl_kernels_get(), sets[n_sets - 1]);
  unsetenv("TINYTL_KERNELS");
  assert_ptr_equal(tinytl_kernels_get(), sets[n_sets - 1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gemm),       cmocka_unit_test(test_gemm_order),
      cmocka_unit_test(test_pack),       cmocka_unit_test(test_vectors),
      cmocka_unit_test(test_optimizers), cmocka_unit_test(test_spread),
      cmocka_unit_test(test_dispatch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
