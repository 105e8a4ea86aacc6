/* The most that a processor's multiply-adds give: what every share of peak refers to. */
#include "core/clock.h"
#include "ops/ops.h"
#include "tinytl/machine.h"

#define MIN_SECONDS 0.03 /* the clock of an idle processor takes some milliseconds to rise */

enum { STEPS = 1 << 15, SUMS = 12, MIN_ROUNDS = 5 };

/* Twelve independent sums, more than the latency of a multiply-add takes, and few enough for
 * registers. The empty assembly keeps the compiler from computing them beforehand. */
#define DEFINE_LOOP(name, target, lanes)                                                        \
  target static float name(float x) {                                                           \
    typedef float vector __attribute__((vector_size(4 * (lanes))));                             \
    const vector f = x - (vector){0};                                                           \
    vector a = f, b = f, c = f, d = f, e = f, g = f, h = f, i = f, j = f, k = f, l = f, m = f;  \
    for (int step = 0; step < STEPS; step++) {                                                  \
      a = a * f + f, b = b * f + f, c = c * f + f, d = d * f + f, e = e * f + f, g = g * f + f; \
      h = h * f + f, i = i * f + f, j = j * f + f, k = k * f + f, l = l * f + f, m = m * f + f; \
      __asm__ volatile(""                                                                       \
                       : IN_REGISTER(a), IN_REGISTER(b), IN_REGISTER(c), IN_REGISTER(d),        \
                         IN_REGISTER(e), IN_REGISTER(g), IN_REGISTER(h), IN_REGISTER(i),        \
                         IN_REGISTER(j), IN_REGISTER(k), IN_REGISTER(l), IN_REGISTER(m));       \
    }                                                                                           \
    return (a + b + c + d + e + g + h + i + j + k + l + m)[0];                                  \
  }
#if defined(__x86_64__)
#define IN_REGISTER(x) "+v"(x)
DEFINE_LOOP(loop_16, __attribute__((target("avx512f"))), 16)
DEFINE_LOOP(loop_8, __attribute__((target("avx2,fma"))), 8)
#elif defined(__aarch64__)
#define IN_REGISTER(x) "+w"(x)
#else
#define IN_REGISTER(x) "+m"(x)
#endif
DEFINE_LOOP(loop_4, , 4)

typedef struct loop {
  float (*run)(float x);
  int lanes;
} loop;

/* By the register tile: two vectors wide in every set. */
static loop loop_of(const tinytl_kernels *kernels) {
#if defined(__x86_64__)
  if (kernels->nr == 32) return (loop){loop_16, 16};
  if (kernels->nr == 16) return (loop){loop_8, 8};
#endif
  (void)kernels;
  return (loop){loop_4, 4};
}

static void run_loop(void *context, int task) {
  (void)task;
  volatile float sink = ((const loop *)context)->run(0.5f);
  (void)sink;
}

double tinytl_peak_flops(int n_threads) {
  tinytl_pool *pool;
  if (tinytl_pool_create(n_threads, &pool, NULL) != TINYTL_OK) return 0;
  loop loop = loop_of(tinytl_kernels_get());
  const int n = tinytl_pool_n_threads(pool);
  const double begin = tinytl_now();
  double best = 1e9;
  for (int round = 0; round < MIN_ROUNDS || tinytl_now() - begin < MIN_SECONDS; round++) {
    const double start = tinytl_now();
    tinytl_parallel_for(pool, n, run_loop, &loop);
    const double seconds = tinytl_now() - start;
    if (seconds < best) best = seconds;
  }
  tinytl_pool_free(pool);
  return 2.0 * SUMS * STEPS * loop.lanes * n / best;
}
