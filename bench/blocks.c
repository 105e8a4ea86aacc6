/* Speed of the inverted residuals of a network row by row, beside the same convolutions one after
 * the other: bench_blocks [ARCHITECTURE [SIZE]]. Forward keeps masks, backward sums the gradients
 * of biases. TINYTL_KERNELS chooses the kernel set. */
#include <stdio.h>
#include <string.h>

#include "ops/ops.h"
#include "timing.h"

enum { EXPAND, DEPTHWISE, PROJECT, N_LAYERS };
enum { N_THREADS = 2 };

typedef struct work {
  tinytl_fused_block block;
  tinytl_conv conv[N_LAYERS];
  tinytl_weight weight[N_LAYERS];
  uint8_t *rgb;
  float *x, *y, *dy, *dx;
  float *expanded, *mid; /* whole maps, for one after the other */
  void *scratch;
} work;

static size_t n_out(const tinytl_conv *c) {
  return (size_t)c->out_h * c->out_w * c->out_c;
}

static size_t n_in(const tinytl_conv *c) {
  return (size_t)c->in_h * c->in_w * c->in_c;
}

static void grow(size_t *n, size_t wanted) {
  if (wanted > *n) *n = wanted;
}

static tinytl_block_layer make_layer(work *k, int i, tinytl_act act) {
  const tinytl_conv *conv = &k->conv[i];
  const size_t channels = (size_t)conv->out_c;
  k->weight[i] = (tinytl_weight){
      .i8 = random_int8(channels * conv->kernel * conv->kernel * (conv->in_c / conv->groups)),
      .scale = random_floats(channels)};
  return (tinytl_block_layer){
      .conv = conv,
      .weight = &k->weight[i],
      .bias = random_floats(channels),
      .act = act,
      .mask = act ? calloc((size_t)conv->out_h * conv->out_w * ((channels + 7) / 8), 1) : NULL,
      .dbias = random_floats(channels)};
}

/* The last layers of a block whose input is `side` pixels wide: without expand, two of them. */
static work *work_make(const tinytl_layer *layers, int n_layers, int side,
                       const tinytl_kernels *kernels) {
  work *k = calloc(1, sizeof *k);
  tinytl_block_layer made[N_LAYERS] = {0};
  size_t n_scratch = 0;
  for (int i = 0; i < n_layers; i++) {
    const tinytl_layer *l = &layers[i];
    const int at = N_LAYERS - n_layers + i;
    k->conv[at] =
        tinytl_conv_make(side, side, l->in_c, l->out_c, l->kernel, l->stride, l->groups, l->pad);
    side = k->conv[at].out_h;
    made[at] = make_layer(k, at, l->act);
    grow(&n_scratch, tinytl_conv_forward_scratch(&k->conv[at], kernels));
    grow(&n_scratch, tinytl_conv_backward_input_scratch(&k->conv[at], kernels));
    grow(&n_scratch, tinytl_epilogue_backward_scratch(side * side, l->out_c));
  }
  k->block = (tinytl_fused_block){made[EXPAND], made[DEPTHWISE], made[PROJECT], NULL,
                                  {1, 1, 1},    {0, 0, 0},       N_THREADS};
  const tinytl_conv *first = &k->conv[N_LAYERS - n_layers];
  if (first->groups == 1 && first->kernel > 1) k->block.rgb = k->rgb = calloc(n_in(first), 1);
  grow(&n_scratch, tinytl_fused_block_forward_scratch(&k->block, kernels));
  grow(&n_scratch, tinytl_fused_block_backward_scratch(&k->block, kernels));
  k->scratch = random_floats(n_scratch / sizeof(float));
  k->x = random_floats(n_in(first));
  k->dx = random_floats(n_in(first));
  k->y = random_floats(n_out(&k->conv[PROJECT]));
  k->dy = random_floats(n_out(&k->conv[PROJECT]));
  k->expanded = random_floats(n_in(&k->conv[DEPTHWISE]));
  k->mid = random_floats(n_in(&k->conv[PROJECT]));
  return k;
}

static void work_free(work *k) {
  const tinytl_block_layer *layers[N_LAYERS] = {&k->block.expand, &k->block.depthwise,
                                                &k->block.project};
  for (int i = 0; i < N_LAYERS; i++) {
    free((void *)(uintptr_t)layers[i]->bias), free(layers[i]->mask), free(layers[i]->dbias);
    free((void *)(uintptr_t)k->weight[i].i8), free((void *)(uintptr_t)k->weight[i].scale);
  }
  void *owned[] = {k->rgb, k->x, k->y, k->dy, k->dx, k->expanded, k->mid, k->scratch, k};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

/* ---- What is timed ------------------------------------------------------------------------- */

typedef void (*work_fn)(const tinytl_run *run, work *k);

static void layer_forward(const tinytl_run *run, const tinytl_block_layer *l, const float *x,
                          float *y) {
  const tinytl_epilogue epilogue = {l->bias, l->act, NULL, l->mask};
  tinytl_conv_forward(run, l->conv, l->weight, &epilogue, x, y);
}

static void forward(const tinytl_run *run, work *k) {
  const tinytl_fused_block *b = &k->block;
  const tinytl_epilogue first = {b->expand.bias, b->expand.act, NULL, b->expand.mask};
  if (b->rgb)
    tinytl_conv_forward_rgb(run, b->expand.conv, b->expand.weight, &first, b->rgb, b->input_scale,
                            b->input_shift, k->expanded);
  else if (b->expand.conv)
    layer_forward(run, &b->expand, k->x, k->expanded);
  layer_forward(run, &b->depthwise, b->expand.conv ? k->expanded : k->x, k->mid);
  layer_forward(run, &b->project, k->mid, k->y);
}

static void layer_backward(const tinytl_run *run, const tinytl_block_layer *l, const float *dy,
                           const tinytl_block_layer *source, float *dx) {
  tinytl_conv_backward_input(run, l->conv, l->weight, dy, dx, false);
  if (source->conv)
    tinytl_epilogue_backward(run, l->conv->in_h * l->conv->in_w, l->conv->in_c, source->mask, dx,
                             source->dbias);
}

static void backward(const tinytl_run *run, work *k) {
  const tinytl_fused_block *b = &k->block;
  const tinytl_block_layer none = {0};
  layer_backward(run, &b->project, k->dy, &b->depthwise, k->mid);
  layer_backward(run, &b->depthwise, k->mid, &b->expand, b->expand.conv ? k->expanded : k->dx);
  if (b->expand.conv && !b->rgb) layer_backward(run, &b->expand, k->expanded, &none, k->dx);
}

static void forward_rows(const tinytl_run *run, work *k) {
  tinytl_fused_block_forward(run, &k->block, k->x, NULL, k->y);
}

static void backward_rows(const tinytl_run *run, work *k) {
  tinytl_fused_block_backward(run, &k->block, k->dy, k->rgb ? NULL : k->dx, false);
}

/* The best of several, in seconds, of both in turn: other work on the machine meets both alike. */
static void time_both(const tinytl_run *run, work *k, work_fn one, work_fn other, double best[2]) {
  best[0] = best[1] = 1e9;
  const double end = tinytl_now() + 0.2;
  for (int i = 0; i < 10 || tinytl_now() < end; i++) {
    const double start = tinytl_now();
    (i % 2 ? other : one)(run, k);
    const double seconds = tinytl_now() - start;
    if (seconds < best[i % 2]) best[i % 2] = seconds;
  }
}

static void report(const tinytl_layer *layers, int n_layers, int side, tinytl_pool *pool) {
  tinytl_run run = {.kernels = tinytl_kernels_get()};
  work *k = work_make(layers, n_layers, side, run.kernels);
  const tinytl_conv *d = &k->conv[DEPTHWISE];
  run.scratch = k->scratch;
  printf("%3dx%-3d %4d %4d %4d k%d s%d  %6zu %5zu %5zu KB", side, side, layers[0].in_c, d->in_c,
         k->conv[PROJECT].out_c, d->kernel, d->stride, (n_in(d) + n_out(d)) * sizeof(float) / 1024,
         tinytl_fused_block_forward_scratch(&k->block, run.kernels) / 1024,
         tinytl_fused_block_backward_scratch(&k->block, run.kernels) / 1024);
  for (int direction = 0; direction < 2; direction++)
    for (int t = 0; t < 2; t++) {
      double best[2];
      run.pool = t ? pool : NULL;
      time_both(&run, k, direction ? backward : forward, direction ? backward_rows : forward_rows,
                best);
      printf("  %7.3f %7.3f %3.0f %%", 1e3 * best[0], 1e3 * best[1], 100 * best[1] / best[0]);
    }
  printf("\n");
  fflush(stdout);
  work_free(k);
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
  if (argc > 2) side = atoi(argv[2]);
  if (tinytl_pool_create(N_THREADS, &pool, NULL) != TINYTL_OK) return 1;
  printf("kernels %s; map, channels, depthwise; between expand and project, scratch forward, "
         "backward; ms of convolutions, row by row: forward 1 thread, 2 threads, backward\n",
         tinytl_kernels_get()->name);
  for (int i = 0; i < arch.n_blocks; i++) {
    const tinytl_block *b = &arch.blocks[i];
    const bool stem = b->first == 1 && b->last == 2;
    report(&arch.layers[stem ? 0 : b->first], b->last - b->first + 1 + stem, side, pool);
    for (int l = stem ? 0 : b->first; l <= b->last; l++)
      side =
          tinytl_conv_span(side, arch.layers[l].kernel, arch.layers[l].stride, arch.layers[l].pad)
              .out;
  }
  tinytl_pool_free(pool);
  return 0;
}
