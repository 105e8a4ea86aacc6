/* Pointwise convolution, a product of matrices: y [pixels][out] = x [pixels][in] w^T. The gradient
 * of its input is the same product with the weights' sides swapped: dx = dy w. */
#include "ops/conv.h"

typedef struct product {
  tinytl_conv_panels panels;
  const tinytl_epilogue *epilogue;
  const float *source;
  float *target;
  bool accumulate;
  int n_pixels, source_c, target_c;
  int tile_pixels, n_tiles;   /* of pixels */
  int group_panels, n_groups; /* of the panels packed now */
} product;

/* A tile of source pixels stays in the first-level cache (24 of 32 KiB) while the panels pass. */
static int tile_pixels(int n_pixels, int source_c, int mr) {
  enum { CACHE_FLOATS = 24 * 1024 / 4, MAX_PIXELS = 128 };
  const int fitting = tinytl_min(CACHE_FLOATS / source_c, MAX_PIXELS);
  const int n_tiles = tinytl_ceil_div(n_pixels, fitting < mr ? mr : fitting);
  return (int)tinytl_round_up((size_t)tinytl_ceil_div(n_pixels, n_tiles), (size_t)mr);
}

static void product_task(void *context, int task) {
  const product *p = context;
  const tinytl_conv_panels *panels = &p->panels;
  const tinytl_kernels *kernels = panels->run->kernels;
  const int pixel = task / p->n_groups * p->tile_pixels;
  const int n = tinytl_min(p->tile_pixels, p->n_pixels - pixel);
  const int first = panels->first + task % p->n_groups * p->group_panels;
  const int end = tinytl_min(first + p->group_panels, panels->first + panels->n);
  for (int index = first; index < end; index++) {
    const tinytl_conv_panel panel = tinytl_conv_panels_at(panels, index);
    tinytl_conv_gemm_rows(
        kernels,
        (tinytl_gemm_tile){.n = panel.n,
                           .k = p->source_c,
                           .a = p->source + (ptrdiff_t)pixel * p->source_c,
                           .a_row = p->source_c,
                           .a_step = 1,
                           .b = panel.b,
                           .c = p->target + (ptrdiff_t)pixel * p->target_c + panel.column,
                           .c_row = p->target_c,
                           .accumulate = p->accumulate,
                           .bias = p->epilogue->bias ? p->epilogue->bias + panel.column : NULL,
                           .act = p->epilogue->act},
        n);
    tinytl_conv_after_bias(kernels, p->epilogue, p->target_c, pixel, n, panel.column, panel.n,
                           p->target);
  }
}

void tinytl_conv_pointwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                           bool transposed, const tinytl_epilogue *epilogue, const float *source,
                           float *target, bool accumulate) {
  enum { MIN_TASKS = 16 }; /* enough for a few threads to share evenly */
  product p = {.panels = tinytl_conv_panels_make(run->kernels, conv, transposed),
               .epilogue = epilogue,
               .source = source,
               .target = target,
               .accumulate = accumulate,
               .n_pixels = conv->in_h * conv->in_w,
               .source_c = transposed ? conv->out_c : conv->in_c,
               .target_c = transposed ? conv->in_c : conv->out_c};
  p.panels.run = run;
  p.panels.weight = w;
  p.tile_pixels = tile_pixels(p.n_pixels, p.source_c, run->kernels->mr);
  p.n_tiles = tinytl_ceil_div(p.n_pixels, p.tile_pixels);
  while (tinytl_conv_panels_next(&p.panels)) {
    const int groups = tinytl_min(tinytl_ceil_div(MIN_TASKS, p.n_tiles), p.panels.n);
    p.group_panels = tinytl_ceil_div(p.panels.n, groups);
    p.n_groups = tinytl_ceil_div(p.panels.n, p.group_panels);
    tinytl_parallel_for(run->pool, p.n_tiles * p.n_groups, product_task, &p);
  }
}
