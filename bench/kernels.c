/* Speed of the convolutions on every distinct shape of MobileNetV2-1.0 at 224 pixels, against the
 * multiply-add peak measured in the same run: bench_kernels [ARCHITECTURE [SIZE [KIND]]]; SIZE 0:
 * the architecture's own. TINYTL_KERNELS chooses the kernel set. */
#include <stdio.h>
#include <string.h>

#include "tinytl.h"
#include "work.h"

enum { N_THREADS = 2, MAX_SHAPES = 256, ROUNDS = 3 };

/* ---- Work ---------------------------------------------------------------------------------- */

/* The best of several, in seconds. */
static double work_time(work *k, op what, tinytl_pool *pool) {
  double best = 1e9;
  k->run.pool = pool;
  const double end = tinytl_now() + 0.03;
  for (int i = 0; i < 5 || tinytl_now() < end; i++) {
    const double start = tinytl_now();
    work_do(k, what);
    const double seconds = tinytl_now() - start;
    if (seconds < best) best = seconds;
  }
  return best;
}

/* ---- Report -------------------------------------------------------------------------------- */

typedef struct shape {
  tinytl_conv conv;
  const char *kind;
  int count;
  double best[N_THREADS]; /* seconds */
} shape;

typedef struct shapes {
  int n;
  shape at[MAX_SHAPES];
} shapes;

static void add_shape(shapes *s, const char *kind, tinytl_conv conv) {
  for (int i = 0; i < s->n; i++)
    if (memcmp(&s->at[i].conv, &conv, sizeof conv) == 0 && s->at[i].kind == kind) {
      s->at[i].count++;
      return;
    }
  if (s->n < MAX_SHAPES) s->at[s->n++] = (shape){.conv = conv, .kind = kind, .count = 1};
}

static shapes list_shapes(const char *architecture, int size) {
  static tinytl_arch arch; /* large */
  shapes s = {0};
  int image_size;
  tinytl_error error;
  if (tinytl_arch_named(architecture, 10, &arch, &image_size, &error) != TINYTL_OK) {
    fprintf(stderr, "%s\n", error.message);
    exit(2);
  }
  if (size == 0) size = image_size;
  int sides[TINYTL_MAX_LAYERS]; /* of each layer's input */
  for (int i = 0; i < arch.n_layers; i++) {
    const tinytl_layer *l = &arch.layers[i];
    const tinytl_conv conv =
        tinytl_conv_make(size, size, l->in_c, l->out_c, l->kernel, l->stride, l->groups, l->pad);
    sides[i] = size;
    size = conv.out_h;
    if (i > 0)
      add_shape(&s, l->groups > 1 ? "depthwise" : l->kernel == 1 ? "pointwise" : "dense", conv);
  }
  tinytl_arch_add_lite(&arch, TINYTL_LITE_DEFAULT, arch.lite, &arch.n_lite);
  for (int i = 0; i < arch.n_lite; i++) {
    const tinytl_lite *l = &arch.lite[i];
    const int side = tinytl_avg_pool2_out(sides[arch.blocks[l->block].first]);
    const tinytl_conv conv = tinytl_conv_make(side, side, l->in_c, l->mid_c, l->kernel, l->stride,
                                              l->groups, TINYTL_PAD_SYMMETRIC);
    add_shape(&s, "lite", conv);
    add_shape(&s, "lite",
              tinytl_conv_make(conv.out_h, conv.out_w, l->mid_c, l->out_c, 1, 1, 1,
                               TINYTL_PAD_SYMMETRIC));
  }
  return s;
}

/* Several times over all shapes: what slows a machine down comes and goes. */
static void measure(shapes *s, const char *kind, op what, tinytl_pool *pool) {
  for (int round = 0; round < ROUNDS; round++)
    for (int i = 0; i < s->n; i++) {
      shape *at = &s->at[i];
      if (at->kind != kind) continue;
      work k = work_make(&at->conv, kind[0] == 'l');
      for (int t = 0; t < N_THREADS; t++) {
        const double seconds = work_time(&k, what, t ? pool : NULL);
        if (round == 0 || seconds < at->best[t]) at->best[t] = seconds;
      }
      work_free(&k);
    }
}

static void report(shapes *s, const char *kind, op what, double peak, tinytl_pool *pool,
                   const char *wanted) {
  if (wanted && strcmp(wanted, kind) != 0) return;
  double seconds[N_THREADS] = {0}, ops = 0;
  measure(s, kind, what, pool);
  for (int i = 0; i < s->n; i++) {
    const shape *at = &s->at[i];
    const tinytl_conv *c = &at->conv;
    if (at->kind != kind) continue;
    const double n =
        2.0 * c->out_h * c->out_w * c->out_c * c->kernel * c->kernel * (c->in_c / c->groups);
    printf("%-10s %-15s %3dx%-3d %4d -> %4d k%d s%d g%-3d x%d", kind, OP_NAMES[what], c->in_h,
           c->in_w, c->in_c, c->out_c, c->kernel, c->stride, c->groups, at->count);
    for (int t = 0; t < N_THREADS; t++) {
      printf("  %7.3f ms %6.1f GFLOP/s %5.1f %%", 1e3 * at->best[t], 1e-9 * n / at->best[t],
             100 * n / at->best[t] / peak / (t + 1));
      seconds[t] += at->best[t] * at->count;
    }
    printf("\n");
    ops += n * at->count;
  }
  printf("%-10s %-15s total %6.1f MMAC                  ", kind, OP_NAMES[what], ops / 2e6);
  for (int t = 0; t < N_THREADS; t++)
    printf("  %7.3f ms %6.1f GFLOP/s %5.1f %%", 1e3 * seconds[t], 1e-9 * ops / seconds[t],
           100 * ops / seconds[t] / peak / (t + 1));
  printf("\n\n");
}

int main(int argc, char **argv) {
  shapes s = list_shapes(argc > 1 ? argv[1] : "mobilenet-v2-1.0", argc > 2 ? atoi(argv[2]) : 0);
  const char *wanted = argc > 3 ? argv[3] : NULL;
  tinytl_pool *pool;
  if (tinytl_pool_create(N_THREADS, &pool, NULL) != TINYTL_OK) return 1;
  const double peak = tinytl_peak_flops(1);
  printf("kernels %s, peak of one thread %.1f GFLOP/s; 1 thread, then %d\n\n",
         tinytl_kernels_get()->name, 1e-9 * peak, N_THREADS);
  for (op what = FORWARD; what <= BACKWARD_INPUT; what++) {
    report(&s, "pointwise", what, peak, pool, wanted);
    report(&s, "depthwise", what, peak, pool, wanted);
  }
  for (op what = FORWARD; what < N_OPS; what++) report(&s, "lite", what, peak, pool, wanted);
  tinytl_pool_free(pool);
  return 0;
}
