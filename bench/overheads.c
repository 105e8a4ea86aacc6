/* What a step pays beside arithmetic: unpacking the frozen weights of the pointwise layers, forward
 * and for the gradient of the input, and sharing work with other threads: bench_overheads
 * [ARCHITECTURE]. TINYTL_KERNELS chooses the kernel set. */
#include <stdio.h>

#include "ops/conv.h"
#include "timing.h"

enum { N_THREADS = 2, ROUNDS = 30, FORKS = 1000 };

static void pack(tinytl_conv_panels panels) {
  while (tinytl_conv_panels_next(&panels)) continue;
}

/* Seconds of the best round; the processor has seen the weights before, as in training. */
static double time_layer(tinytl_run *run, const tinytl_layer *l, bool transposed) {
  /* The packed weights do not depend on the map. */
  const tinytl_conv conv = tinytl_conv_make(7, 7, l->in_c, l->out_c, 1, 1, 1, l->pad);
  const size_t n_weights = (size_t)l->in_c * l->out_c;
  int8_t *i8 = random_int8(n_weights);
  float *scale = random_floats((size_t)l->out_c);
  const tinytl_weight weight = {.i8 = i8, .scale = scale};
  tinytl_conv_panels panels = tinytl_conv_panels_make(run->kernels, &conv, transposed);
  panels.run = run;
  panels.weight = &weight;
  panels.packed = random_floats(tinytl_conv_panels_nbytes(&panels) / sizeof(float));
  double best = 1e9;
  for (int i = 0; i < ROUNDS; i++) {
    const double start = tinytl_now();
    pack(panels);
    const double seconds = tinytl_now() - start;
    if (seconds < best) best = seconds;
  }
  free(panels.packed), free(i8), free(scale);
  return best;
}

static void report_packing(const tinytl_arch *arch, tinytl_pool *pool) {
  for (int transposed = 0; transposed < 2; transposed++) {
    double seconds[N_THREADS] = {0};
    for (int t = 0; t < N_THREADS; t++) {
      tinytl_run run = {.kernels = tinytl_kernels_get(), .pool = t ? pool : NULL};
      for (int i = 0; i < arch->n_layers; i++)
        if (arch->layers[i].kernel == 1)
          seconds[t] += time_layer(&run, &arch->layers[i], transposed);
    }
    printf("packing %s: %.4f ms, %.4f ms\n", transposed ? "backward" : "forward", 1e3 * seconds[0],
           1e3 * seconds[1]);
  }
}

#define TASK_SECONDS 5e-6

static void wait_a_little(void *context, int task) {
  (void)context, (void)task;
  const double end = tinytl_now() + TASK_SECONDS;
  while (tinytl_now() < end) continue;
}

/* Beyond the time of two tasks side by side; the best average over FORKS in a row. */
static double time_fork(tinytl_pool *pool) {
  double best = 1e9;
  for (int i = 0; i < ROUNDS; i++) {
    const double start = tinytl_now();
    for (int fork = 0; fork < FORKS; fork++) tinytl_parallel_for(pool, 2, wait_a_little, NULL);
    const double seconds = (tinytl_now() - start) / FORKS - TASK_SECONDS;
    if (seconds < best) best = seconds;
  }
  return best;
}

int main(int argc, char **argv) {
  static tinytl_arch arch; /* large */
  int side;
  tinytl_error error;
  tinytl_pool *pool;
  if (tinytl_arch_named(argc > 1 ? argv[1] : "mobilenet-v2-1.0", 10, &arch, &side, &error) !=
      TINYTL_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 2;
  }
  if (tinytl_pool_create(N_THREADS, &pool, NULL) != TINYTL_OK) return 1;
  printf("kernels %s; 1 thread, then %d\n", tinytl_kernels_get()->name, N_THREADS);
  report_packing(&arch, pool);
  printf("fork and join: %.2f us\n", 1e6 * time_fork(pool));
  tinytl_pool_free(pool);
  return 0;
}
