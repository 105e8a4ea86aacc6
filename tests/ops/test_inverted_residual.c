#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "ops/conv_reference.h"
#include "support/op_check.h"

/* expand is 0: none, 1: pointwise, k > 1: from RGB with kernel k and stride 2. */
typedef struct shape {
  int h, w, in_c, mid_c, out_c, kernel, stride, expand;
  tinytl_pad pad;
} shape;

/* Maps of fewer rows than the ring and of more, of fewer than the kernel, one pixel wide; odd
 * channels; strides beyond the kernel, with rows between bands that none reads. */
static const shape SHAPES[] = {
    {9, 7, 3, 16, 5, 3, 1, 1, TINYTL_PAD_SYMMETRIC},
    {9, 8, 8, 48, 8, 3, 2, 1, TINYTL_PAD_SAME},
    {10, 5, 5, 13, 9, 5, 1, 1, TINYTL_PAD_SAME},
    {11, 6, 5, 13, 9, 5, 2, 1, TINYTL_PAD_SYMMETRIC},
    {10, 11, 7, 40, 33, 5, 2, 1, TINYTL_PAD_SAME},
    {8, 8, 4, 24, 6, 7, 1, 1, TINYTL_PAD_SYMMETRIC},
    {13, 9, 6, 21, 7, 7, 2, 1, TINYTL_PAD_SAME},
    {2, 1, 3, 9, 4, 5, 1, 1, TINYTL_PAD_SYMMETRIC},
    {1, 3, 3, 9, 4, 7, 2, 1, TINYTL_PAD_SAME},
    {6, 1, 8, 8, 8, 3, 1, 1, TINYTL_PAD_SAME},
    {11, 5, 4, 10, 3, 1, 3, 1, TINYTL_PAD_SYMMETRIC},
    {15, 4, 4, 10, 3, 2, 3, 1, TINYTL_PAD_SAME},
    {37, 4, 4, 10, 3, 2, 3, 1, TINYTL_PAD_SYMMETRIC},
    {9, 7, 12, 12, 5, 3, 1, 0, TINYTL_PAD_SYMMETRIC},
    {12, 9, 19, 19, 8, 5, 2, 0, TINYTL_PAD_SAME},
    {19, 21, 3, 12, 7, 3, 1, 3, TINYTL_PAD_SAME},
    {20, 18, 3, 35, 6, 5, 2, 5, TINYTL_PAD_SYMMETRIC},
    {70, 112, 4, 96, 4, 3, 2, 1, TINYTL_PAD_SAME}, /* rows for the threads to meet in */
    {70, 112, 4, 96, 4, 5, 1, 1, TINYTL_PAD_SYMMETRIC},
};
enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

/* What differs from run to run of a shape. */
enum {
  INT8 = 1,
  MASKS = 2,  /* kept */
  BIASES = 4, /* trained */
  RESIDUAL = 8,
  ACCUMULATE = 16,
  NO_INPUT = 32, /* dx is not asked for */
  N_OPTIONS = 64
};

typedef struct layer {
  tinytl_conv conv;
  tinytl_weight weight;
  float *bias;
  int8_t *i8;
  float *w, *scale;
} layer;

enum { EXPAND, DEPTHWISE, PROJECT, N_LAYERS };

typedef struct problem {
  const shape *shape;
  int options, n_threads;
  layer layers[N_LAYERS];
  uint8_t *rgb;
  float *x, *residual, *dy;
} problem;

static const float SCALE[3] = {0.017f, 0.018f, 0.019f}, SHIFT[3] = {-2.1f, -2.0f, -1.8f};

static void make_layer(layer *l, tinytl_conv conv, bool int8, uint64_t seed) {
  const size_t n = conv_n_weights(&conv), channels = (size_t)conv.out_c;
  *l = (layer){.conv = conv, .bias = op_random(channels, seed), .w = op_random(n, seed + 1)};
  l->i8 = malloc(n);
  l->scale = op_random(channels, seed + 2);
  for (size_t i = 0; i < n; i++) l->i8[i] = (int8_t)(i * 89 % 255 - 127);
  for (size_t i = 0; i < channels; i++) l->scale[i] = (l->scale[i] * l->scale[i] + 0.1f) / 127;
  l->weight = int8 ? (tinytl_weight){.i8 = l->i8, .scale = l->scale} : (tinytl_weight){.f32 = l->w};
}

static problem make(const shape *s, int options, int n_threads) {
  problem p = {.shape = s, .options = options, .n_threads = n_threads};
  const bool int8 = options & INT8;
  tinytl_conv conv = {.out_h = s->h, .out_w = s->w};
  if (s->expand)
    conv = tinytl_conv_make(s->h, s->w, s->in_c, s->mid_c, s->expand, s->expand > 1 ? 2 : 1, 1,
                            s->pad);
  if (s->expand) make_layer(&p.layers[EXPAND], conv, int8, 10);
  conv = tinytl_conv_make(conv.out_h, conv.out_w, s->mid_c, s->mid_c, s->kernel, s->stride,
                          s->mid_c, s->pad);
  make_layer(&p.layers[DEPTHWISE], conv, int8, 20);
  conv = tinytl_conv_make(conv.out_h, conv.out_w, s->mid_c, s->out_c, 1, 1, 1, s->pad);
  make_layer(&p.layers[PROJECT], conv, int8, 30);
  const size_t n_in = (size_t)s->h * s->w * s->in_c, n_out = conv_n_out(&conv);
  p.rgb = malloc(n_in);
  for (size_t i = 0; i < n_in; i++) p.rgb[i] = (uint8_t)(i * 101 % 256);
  p.x = op_random(n_in, 1);
  p.residual = op_random(n_out, 2);
  p.dy = op_random(n_out, 3);
  return p;
}

static void free_problem(problem *p) {
  for (int i = 0; i < N_LAYERS; i++)
    free(p->layers[i].bias), free(p->layers[i].i8), free(p->layers[i].w), free(p->layers[i].scale);
  free(p->rgb), free(p->x), free(p->residual), free(p->dy);
}

/* ---- What comes out ------------------------------------------------------------------------- */

typedef struct result {
  size_t n_y, n_dx, n_mask[N_LAYERS];
  float *y, *dx, *dbias[N_LAYERS];
  uint8_t *mask[N_LAYERS];
} result;

static result make_result(const problem *p) {
  result r = {.n_y = conv_n_out(&p->layers[PROJECT].conv),
              .n_dx = (size_t)p->shape->h * p->shape->w * p->shape->in_c};
  r.y = op_random(r.n_y, 4); /* to be overwritten */
  r.dx = op_random(r.n_dx, 5);
  for (int i = p->shape->expand ? EXPAND : DEPTHWISE; i < N_LAYERS; i++) {
    const tinytl_conv *conv = &p->layers[i].conv;
    r.n_mask[i] = (size_t)conv->out_h * conv->out_w * ((conv->out_c + 7) / 8);
    if (p->options & BIASES && i != PROJECT) r.dbias[i] = op_random((size_t)conv->out_c, 6);
    if (p->options & MASKS) r.mask[i] = calloc(r.n_mask[i], 1);
  }
  return r;
}

static void free_result(result *r) {
  free(r->y), free(r->dx);
  for (int i = 0; i < N_LAYERS; i++) free(r->dbias[i]), free(r->mask[i]);
}

static bool wants_dx(const problem *p) {
  return !(p->options & NO_INPUT) && p->shape->expand <= 1;
}

/* ---- One after the other --------------------------------------------------------------------- */

static float *scratch_for(size_t nbytes) {
  return aligned_alloc(64, tinytl_round_up(nbytes + !nbytes, 64));
}

static void unfused_forward(const problem *p, const layer *l, const tinytl_kernels *kernels,
                            const tinytl_epilogue *epilogue, const float *x, float *y) {
  const tinytl_run run = {.kernels = kernels,
                          .scratch = scratch_for(tinytl_conv_forward_scratch(&l->conv, kernels))};
  if (x)
    tinytl_conv_forward(&run, &l->conv, &l->weight, epilogue, x, y);
  else
    tinytl_conv_forward_rgb(&run, &l->conv, &l->weight, epilogue, p->rgb, SCALE, SHIFT, y);
  free(run.scratch);
}

static void unfused_backward(const layer *l, const tinytl_kernels *kernels, const float *dy,
                             float *dx, bool accumulate) {
  const tinytl_run run = {.kernels = kernels,
                          .scratch =
                              scratch_for(tinytl_conv_backward_input_scratch(&l->conv, kernels))};
  tinytl_conv_backward_input(&run, &l->conv, &l->weight, dy, dx, accumulate);
  free(run.scratch);
}

static void unfused_epilogue_backward(const layer *l, const tinytl_kernels *kernels,
                                      const uint8_t *mask, float *dy, float *dbias) {
  const int n = l->conv.out_h * l->conv.out_w, channels = l->conv.out_c;
  const tinytl_run run = {.kernels = kernels,
                          .scratch = scratch_for(tinytl_epilogue_backward_scratch(n, channels))};
  tinytl_epilogue_backward(&run, n, channels, mask, dy, dbias);
  free(run.scratch);
}

static const tinytl_act ACTS[N_LAYERS] = {TINYTL_ACT_RELU6, TINYTL_ACT_RELU, TINYTL_ACT_NONE};

static result unfused(const problem *p, const tinytl_kernels *kernels) {
  result r = make_result(p);
  const shape *s = p->shape;
  const layer *l = p->layers;
  const float *residual = p->options & RESIDUAL ? p->residual : NULL;
  const size_t n_expanded = conv_n_in(&l[DEPTHWISE].conv), n_mid = conv_n_out(&l[DEPTHWISE].conv);
  float *expanded = malloc(n_expanded * sizeof *expanded), *mid = malloc(n_mid * sizeof *mid);
  const tinytl_epilogue epilogues[N_LAYERS] = {
      {l[EXPAND].bias, ACTS[EXPAND], NULL, r.mask[EXPAND]},
      {l[DEPTHWISE].bias, ACTS[DEPTHWISE], NULL, r.mask[DEPTHWISE]},
      {l[PROJECT].bias, ACTS[PROJECT], residual, r.mask[PROJECT]}};
  if (s->expand)
    unfused_forward(p, &l[EXPAND], kernels, &epilogues[EXPAND], s->expand > 1 ? NULL : p->x,
                    expanded);
  unfused_forward(p, &l[DEPTHWISE], kernels, &epilogues[DEPTHWISE], s->expand ? expanded : p->x,
                  mid);
  unfused_forward(p, &l[PROJECT], kernels, &epilogues[PROJECT], mid, r.y);

  const bool accumulate = p->options & ACCUMULATE;
  unfused_backward(&l[PROJECT], kernels, p->dy, mid, false);
  unfused_epilogue_backward(&l[DEPTHWISE], kernels, r.mask[DEPTHWISE], mid, r.dbias[DEPTHWISE]);
  if (s->expand) {
    unfused_backward(&l[DEPTHWISE], kernels, mid, expanded, false);
    unfused_epilogue_backward(&l[EXPAND], kernels, r.mask[EXPAND], expanded, r.dbias[EXPAND]);
  }
  if (wants_dx(p) && s->expand)
    unfused_backward(&l[EXPAND], kernels, expanded, r.dx, accumulate);
  else if (wants_dx(p))
    unfused_backward(&l[DEPTHWISE], kernels, mid, r.dx, accumulate);
  free(expanded), free(mid);
  return r;
}

/* ---- Together ---------------------------------------------------------------------------------
 */

static tinytl_fused_block block_of(const problem *p, const result *r) {
  tinytl_block_layer layers[N_LAYERS] = {0};
  for (int i = p->shape->expand ? EXPAND : DEPTHWISE; i < N_LAYERS; i++)
    layers[i] =
        (tinytl_block_layer){&p->layers[i].conv, &p->layers[i].weight, p->layers[i].bias, ACTS[i],
                             r->mask[i],         r->dbias[i]};
  tinytl_fused_block block = {.expand = layers[EXPAND],
                              .depthwise = layers[DEPTHWISE],
                              .project = layers[PROJECT],
                              .rgb = p->shape->expand > 1 ? p->rgb : NULL,
                              .n_threads = p->n_threads};
  memcpy(block.input_scale, SCALE, sizeof SCALE);
  memcpy(block.input_shift, SHIFT, sizeof SHIFT);
  return block;
}

static result fused(const problem *p, const tinytl_run *outer) {
  result r = make_result(p);
  const tinytl_fused_block block = block_of(p, &r);
  tinytl_run run = *outer;
  run.scratch = scratch_for(tinytl_fused_block_forward_scratch(&block, run.kernels));
  tinytl_fused_block_forward(&run, &block, block.rgb ? NULL : p->x,
                             p->options & RESIDUAL ? p->residual : NULL, r.y);
  free(run.scratch);
  run.scratch = scratch_for(tinytl_fused_block_backward_scratch(&block, run.kernels));
  tinytl_fused_block_backward(&run, &block, p->dy, wants_dx(p) ? r.dx : NULL,
                              p->options & ACCUMULATE);
  free(run.scratch);
  return r;
}

/* Between a load's check and its use, clang under a sanitizer forgets to fuse some multiplications
 * and additions: there a tile of one row may round otherwise than a tile of two. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FUSING_VARIES
#endif
#endif

static void assert_same(const float *got, const float *want, size_t n) {
#ifdef FUSING_VARIES
  double *wide = op_widen(want, n);
  assert_true(op_error(got, wide, n) < 1e-5);
  free(wide);
#else
  assert_memory_equal(got, want, n * sizeof *want);
#endif
}

static void check(const shape *s, int options, const tinytl_kernels *kernels, tinytl_pool *pool) {
  problem p = make(s, options, tinytl_pool_n_threads(pool));
  result want = unfused(&p, kernels);
  result got = fused(&p, &(tinytl_run){.kernels = kernels, .pool = pool});
  assert_same(got.y, want.y, want.n_y);
  assert_same(got.dx, want.dx, want.n_dx);
  for (int i = 0; i < N_LAYERS; i++) {
    if (want.mask[i]) assert_memory_equal(got.mask[i], want.mask[i], want.n_mask[i]);
    if (!want.dbias[i]) continue;
    double *dbias = op_widen(want.dbias[i], (size_t)s->mid_c);
    assert_true(op_error(got.dbias[i], dbias, (size_t)s->mid_c) < 1e-5);
    free(dbias);
  }
  free_result(&want), free_result(&got), free_problem(&p);
}

static void test_equals_the_three_convolutions(void **state) {
  (void)state;
  const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS];
  const int n_sets = tinytl_kernels_all(sets);
  tinytl_pool *pool;
  assert_int_equal(tinytl_pool_create(3, &pool, NULL), TINYTL_OK);
  for (int set = 0; set < n_sets; set++)
    for (int i = 0; i < N_SHAPES; i++)
      for (int options = 0; options<N_OPTIONS; options += SHAPES[i].h> 20 ? 21 : 1) {
        check(&SHAPES[i], options, sets[set], NULL);
        check(&SHAPES[i], options, sets[set], pool);
      }
  tinytl_pool_free(pool);
}

/* In as many bands as there may be threads, however many there are. */
static void everything(const tinytl_run *run, const void *context, float *out) {
  const shape *s = context;
  problem p = make(s, MASKS | BIASES | RESIDUAL | INT8, 4);
  result r = fused(&p, run);
  memcpy(out, r.y, r.n_y * sizeof *out);
  out += r.n_y;
  memcpy(out, r.dx, r.n_dx * sizeof *out);
  out += r.n_dx;
  for (int i = 0; i < PROJECT; i++, out += s->mid_c)
    if (r.dbias[i]) memcpy(out, r.dbias[i], (size_t)s->mid_c * sizeof *out);
  for (int i = 0; i < N_LAYERS; i++)
    for (size_t k = 0; k < r.n_mask[i]; k++) *out++ = r.mask[i][k];
  free_result(&r), free_problem(&p);
}

static void test_threads(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    problem p = make(&SHAPES[i], 0, 1);
    result r = make_result(&p);
    const size_t n = r.n_y + r.n_dx + 2 * (size_t)SHAPES[i].mid_c + r.n_mask[EXPAND] +
                     r.n_mask[DEPTHWISE] + r.n_mask[PROJECT];
    free_result(&r), free_problem(&p);
    assert_true(op_same_with_any_threads(everything, &SHAPES[i], n));
  }
}

/* ---- Finite differences ---------------------------------------------------------------------- */

static double activate(tinytl_act act, double x) {
  if (act == TINYTL_ACT_NONE) return x;
  return x < 0 ? 0 : act == TINYTL_ACT_RELU6 && x > 6 ? 6 : x;
}

/* y = act(conv(x) + bias); bias NULL: of the layer itself. */
static double *layer_reference(const layer *l, tinytl_act act, const double *x,
                               const double *bias) {
  const size_t n = conv_n_out(&l->conv);
  double *y = calloc(n, sizeof *y), *w = op_widen(l->w, conv_n_weights(&l->conv));
  conv_reference(&l->conv, (conv_arrays){.x = x, .w = w, .y = y});
  for (size_t i = 0; i < n; i++) {
    const size_t channel = i % (size_t)l->conv.out_c;
    y[i] = activate(act, y[i] + (bias ? bias[channel] : l->bias[channel]));
  }
  free(w);
  return y;
}

/* params: x, bias of depthwise, then, where there is one, bias of expand. */
static void reference(const void *context, const double *params, double *y) {
  const problem *p = context;
  const layer *l = p->layers;
  const double *x = params;
  const double *bias = x + (size_t)p->shape->h * p->shape->w * p->shape->in_c;
  double *expanded = p->shape->expand
                         ? layer_reference(&l[EXPAND], ACTS[EXPAND], x, bias + p->shape->mid_c)
                         : NULL;
  double *mid = layer_reference(&l[DEPTHWISE], ACTS[DEPTHWISE], expanded ? expanded : x, bias);
  double *out = layer_reference(&l[PROJECT], ACTS[PROJECT], mid, NULL);
  memcpy(y, out, conv_n_out(&l[PROJECT].conv) * sizeof *y);
  free(expanded), free(mid), free(out);
}

static void test_gradient(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    const shape *s = &SHAPES[i];
    if (s->h > 20 || s->expand > 1) continue;
    problem p = make(s, MASKS | BIASES, 1);
    result r = make_result(&p);
    const size_t mid = (size_t)s->mid_c, n = r.n_dx + mid * (s->expand ? 2 : 1);
    float *params = malloc(n * sizeof *params), *gradient = calloc(n, sizeof *gradient);
    memcpy(params, p.x, r.n_dx * sizeof *params);
    memcpy(params + r.n_dx, p.layers[DEPTHWISE].bias, mid * sizeof *params);
    if (s->expand) memcpy(params + r.n_dx + mid, p.layers[EXPAND].bias, mid * sizeof *params);
    free_result(&r);

    /* The gradients of biases are added to what is there, the same numbers here as without. */
    result before = make_result(&p);
    r = fused(&p, &(tinytl_run){.kernels = tinytl_kernels_get()});
    memcpy(gradient, r.dx, r.n_dx * sizeof *gradient);
    for (size_t c = 0; c < mid; c++) {
      gradient[r.n_dx + c] = r.dbias[DEPTHWISE][c] - before.dbias[DEPTHWISE][c];
      if (s->expand) gradient[r.n_dx + mid + c] = r.dbias[EXPAND][c] - before.dbias[EXPAND][c];
    }
    assert_true(op_gradient_error(reference, &p, params, n, p.dy, r.n_y, gradient) < 1e-4);
    free(params), free(gradient), free_result(&r), free_result(&before), free_problem(&p);
  }
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

/* The largest map of MobileNetV2-1.0 at 224 pixels, 112 x 112 x 96 floats, 4.6 MB. */
static void test_scratch(void **state) {
  (void)state;
  const shape s = {112, 112, 16, 96, 24, 3, 2, 1, TINYTL_PAD_SAME};
  problem p = make(&s, 0, 2);
  result r = make_result(&p);
  const tinytl_fused_block block = block_of(&p, &r);
  const tinytl_kernels *kernels = tinytl_kernels_get();
  assert_in_range(tinytl_fused_block_forward_scratch(&block, kernels), 1, 640 * 1024);
  assert_in_range(tinytl_fused_block_backward_scratch(&block, kernels), 1, 640 * 1024);
  free_result(&r), free_problem(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equals_the_three_convolutions),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_gradient),
      cmocka_unit_test(test_scratch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
