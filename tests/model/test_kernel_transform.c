#include "support/cmocka.h"

#include <stdlib.h>

#include "model/kernel_transform.h"
#include "support/op_check.h"

enum { CHANNELS = 5, PART = 3 };

typedef struct shrink_shape {
  int kernel;
} shrink_shape;

static size_t n_small(int kernel) {
  return (size_t)kernel * kernel * PART;
}

/* params: large [7][7][CHANNELS], matrices. */
static void reference(const void *context, const double *params, double *y) {
  const int kernel = ((const shrink_shape *)context)->kernel;
  const double *m5 = params + 49 * CHANNELS, *m3 = m5 + 625;
  for (int c = 0; c < PART; c++) {
    double medium[25], least[9];
    for (int o = 0; o < 25; o++) {
      medium[o] = 0;
      for (int i = 0; i < 25; i++)
        medium[o] += m5[o * 25 + i] * params[((i / 5 + 1) * 7 + i % 5 + 1) * CHANNELS + c];
    }
    for (int o = 0; o < 9; o++) {
      least[o] = 0;
      for (int i = 0; i < 9; i++) least[o] += m3[o * 9 + i] * medium[(i / 3 + 1) * 5 + i % 3 + 1];
    }
    for (int t = 0; t < kernel * kernel; t++)
      y[t * PART + c] = kernel == 7 ? params[t * CHANNELS + c] : kernel == 5 ? medium[t] : least[t];
  }
}

static void test_every_kernel(void **state) {
  (void)state;
  enum { N = 49 * CHANNELS + TINYTL_KERNEL_MATRICES };
  for (int kernel = 3; kernel <= 7; kernel += 2) {
    const shrink_shape shape = {kernel};
    float *params = op_random(N, kernel), *dy = op_random(n_small(kernel), 9);
    float gradient[N] = {0}, small[49 * PART];
    double *wide = op_widen(params, N), y[49 * PART];
    const float *matrices = params + 49 * CHANNELS;
    tinytl_kernel_shrink(kernel, CHANNELS, PART, params, matrices, small);
    reference(&shape, wide, y);
    assert_true(op_error(small, y, n_small(kernel)) < 1e-6);
    tinytl_kernel_shrink_backward(kernel, CHANNELS, PART, params, matrices, dy, gradient,
                                  gradient + 49 * CHANNELS);
    assert_true(op_gradient_error(reference, &shape, params, N, dy, n_small(kernel), gradient) <
                1e-5);
    free(params);
    free(dy);
    free(wide);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_kernel)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
