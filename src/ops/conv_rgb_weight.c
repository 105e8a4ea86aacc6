/* Gradient of the weights of the network's first convolution, from 8-bit RGB: a strip of input
 * pixels is widened as in conv_rgb.c, and multiplied by the strip's dy. The product is turned, [3 *
 * kernel taps of a row][out], so that the few taps are its rows. A task owns some output rows and
 * sums for itself in scratch; the sums are added in order. */
#include "ops/conv.h"

enum {
  STRIP_FLOATS = 4096, /* 16 KiB of stack; one patch takes at most 3 * 11 * 11 */
  STRIP_PIXELS = 64,   /* outputs; their dy takes 8 KiB at most */
  MAX_PARTS = 16
};

typedef struct weight_grad {
  const tinytl_run *run;
  tinytl_conv_rgb rgb;
  const float *dy;
  float *sums;      /* [parts][kernel][kernel][3][out] */
  size_t n_weights; /* floats from part to part */
  int part_rows;
} weight_grad;

static int part_rows(const tinytl_conv *conv) {
  return tinytl_ceil_div(conv->out_h, MAX_PARTS);
}

static size_t n_weights(const tinytl_conv *conv) {
  return (size_t)3 * conv->kernel * conv->kernel * conv->out_c;
}

size_t tinytl_conv_backward_weight_rgb_scratch(const tinytl_conv *conv) {
  const int n_parts = tinytl_ceil_div(conv->out_h, part_rows(conv));
  return n_parts * n_weights(conv) * sizeof(float);
}

/* n outputs of row oy from ox on. */
static void strip(const weight_grad *g, int oy, int ox, int n, float *sums) {
  const tinytl_kernels *kernels = g->run->kernels;
  const tinytl_conv *conv = g->rgb.panels.conv;
  const int kernel = conv->kernel, width = (n - 1) * conv->stride + kernel;
  float x[STRIP_FLOATS];
  _Alignas(64) float dy[STRIP_PIXELS * TINYTL_MAX_NR];
  for (int ky = 0; ky < kernel; ky++)
    tinytl_conv_rgb_widen(&g->rgb, oy * conv->stride - conv->pad_top + ky,
                          ox * conv->stride - conv->pad_left, width, x + (ptrdiff_t)ky * width * 3);
  for (int out = 0; out < conv->out_c; out += kernels->nr) {
    const int columns = tinytl_min(kernels->nr, conv->out_c - out);
    kernels->pack_f32(dy, g->dy + ((ptrdiff_t)oy * conv->out_w + ox) * conv->out_c + out, n,
                      columns, conv->out_c, 1);
    for (int ky = 0; ky < kernel; ky++)
      kernels->gemm(&(tinytl_gemm_tile){.m = 3 * kernel,
                                        .n = columns,
                                        .k = n,
                                        .a = x + (ptrdiff_t)ky * width * 3,
                                        .a_row = 1,
                                        .a_step = (ptrdiff_t)3 * conv->stride,
                                        .b = dy,
                                        .c = sums + (ptrdiff_t)ky * kernel * 3 * conv->out_c + out,
                                        .c_row = conv->out_c,
                                        .accumulate = true});
  }
}

static void rows_task(void *context, int part) {
  const weight_grad *g = context;
  const tinytl_conv *conv = g->rgb.panels.conv;
  const int first = part * g->part_rows, end = tinytl_min(first + g->part_rows, conv->out_h);
  const int width = STRIP_FLOATS / (3 * conv->kernel);
  const int fitting = tinytl_min((width - conv->kernel) / conv->stride + 1, STRIP_PIXELS);
  const int n = tinytl_ceil_div(conv->out_w, tinytl_ceil_div(conv->out_w, fitting));
  float *sums = g->sums + part * g->n_weights;
  memset(sums, 0, g->n_weights * sizeof *sums);
  for (int oy = first; oy < end; oy++)
    for (int ox = 0; ox < conv->out_w; ox += n)
      strip(g, oy, ox, tinytl_min(n, conv->out_w - ox), sums);
}

void tinytl_conv_backward_weight_rgb(const tinytl_run *run, const tinytl_conv *conv,
                                     const uint8_t *rgb, const float input_scale[3],
                                     const float input_shift[3], const float *dy, float *dw) {
  weight_grad g = {.run = run,
                   .rgb = {.panels = {.conv = conv}},
                   .dy = dy,
                   .sums = run->scratch,
                   .n_weights = n_weights(conv),
                   .part_rows = part_rows(conv)};
  tinytl_conv_rgb_input(&g.rgb, rgb, input_scale, input_shift);
  const int n_parts = tinytl_ceil_div(conv->out_h, g.part_rows);
  tinytl_parallel_for(run->pool, n_parts, rows_task, &g);
  for (int part = 1; part < n_parts; part++)
    run->kernels->add(g.sums, g.sums + part * g.n_weights, g.n_weights);
  const size_t out_c = (size_t)conv->out_c, filter = g.n_weights / out_c;
  tinytl_await_turn(run);
  for (size_t o = 0; o < out_c; o++)
    for (size_t i = 0; i < filter; i++) dw[o * filter + i] += g.sums[i * out_c + o];
}
