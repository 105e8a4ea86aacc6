/* Dense convolution of any kernel, stride and groups, both directions, without a matrix of patches:
 * a row of the target is a sum over taps of products of row segments, clipped where a tap leaves
 * the map. Forward, neighbouring target pixels read the source `stride` pixels apart; backward,
 * they lie `stride` pixels apart themselves. A task owns a target row of one panel. */
#include "ops/conv.h"

typedef struct dense {
  tinytl_conv_panels panels;
  const float *source;
  float *target;
  bool accumulate;
  int source_c, target_c, target_w, target_h;
} dense;

/* Adds what tap (ky, kx) brings from one source row to one target row. */
static void add_tap(const dense *d, const tinytl_conv_panel *panel, int ky, int kx,
                    const float *source_row, float *target_row) {
  const tinytl_conv *conv = d->panels.conv;
  const tinytl_kernels *kernels = d->panels.run->kernels;
  const tinytl_conv_tap tap =
      tinytl_conv_tap_span(conv->in_w, conv->out_w, conv->stride, conv->pad_left, kx);
  const bool forward = !d->panels.transposed;
  const int source_x = forward ? tap.input : tap.first, source_step = forward ? conv->stride : 1;
  const int target_x = forward ? tap.first : tap.input, target_step = forward ? 1 : conv->stride;
  const ptrdiff_t tap_index = ky * conv->kernel + kx;
  tinytl_conv_gemm_rows(
      kernels,
      (tinytl_gemm_tile){.n = panel->n,
                         .k = d->panels.steps,
                         .a = source_row + (ptrdiff_t)source_x * d->source_c,
                         .a_row = (ptrdiff_t)source_step * d->source_c,
                         .a_step = 1,
                         .b = panel->b + tap_index * d->panels.steps * kernels->nr,
                         .c = target_row + (ptrdiff_t)target_x * d->target_c,
                         .c_row = (ptrdiff_t)target_step * d->target_c,
                         .accumulate = true},
      tap.n);
}

static void dense_task(void *context, int task) {
  const dense *d = context;
  const tinytl_conv *conv = d->panels.conv;
  const int row = task % d->target_h;
  const tinytl_conv_panel panel =
      tinytl_conv_panels_at(&d->panels, d->panels.first + task / d->target_h);
  const ptrdiff_t source_row =
      (ptrdiff_t)(d->panels.transposed ? conv->out_w : conv->in_w) * d->source_c;
  float *target = d->target + (ptrdiff_t)row * d->target_w * d->target_c +
                  panel.group * d->panels.columns + panel.column;
  const float *source = d->source + panel.group * d->panels.steps;

  for (int x = 0; !d->accumulate && x < d->target_w; x++)
    memset(target + (ptrdiff_t)x * d->target_c, 0, (size_t)panel.n * sizeof *target);
  for (int ky = 0; ky < conv->kernel; ky++) {
    int y; /* of the source */
    if (d->panels.transposed) {
      const int reach = row + conv->pad_top - ky;
      if (reach < 0 || reach % conv->stride || reach / conv->stride >= conv->out_h) continue;
      y = reach / conv->stride;
    } else {
      y = row * conv->stride - conv->pad_top + ky;
      if (y < 0 || y >= conv->in_h) continue;
    }
    for (int kx = 0; kx < conv->kernel; kx++)
      add_tap(d, &panel, ky, kx, source + y * source_row, target);
  }
}

void tinytl_conv_dense(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                       bool transposed, const float *source, float *target, bool accumulate) {
  dense d = {.panels = tinytl_conv_panels_make(run->kernels, conv, transposed),
             .source = source,
             .target = target,
             .accumulate = accumulate,
             .source_c = transposed ? conv->out_c : conv->in_c,
             .target_c = transposed ? conv->in_c : conv->out_c,
             .target_w = transposed ? conv->in_w : conv->out_w,
             .target_h = transposed ? conv->in_h : conv->out_h};
  d.panels.run = run;
  d.panels.weight = w;
  while (tinytl_conv_panels_next(&d.panels))
    tinytl_parallel_for(run->pool, d.panels.n * d.target_h, dense_task, &d);
}
