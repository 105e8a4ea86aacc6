/* Gradient of a depthwise convolution's weights, a sum over all outputs:
 *
 *   dw[ky][kx][c] = sum of x[oy * stride - pad + ky][...][c] * dy[oy][ox][c]
 *
 * A task owns some output rows of some channels; where the rows are cut, each part sums for itself
 * in scratch, and the parts are added in order. */
#include "ops/conv.h"

typedef struct weight_grad {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const float *x, *dy;
  float *dw;        /* of part 0; the others' follow */
  size_t n_weights; /* floats from part to part */
  int n_parts, part_rows;
  int task_channels;
} weight_grad;

/* Channels are cut first, by whole cache lines; rows where those are few. */
static weight_grad make(const tinytl_conv *conv) {
  enum { TASKS = 16, LINE = 16 };
  weight_grad g = {.conv = conv,
                   .n_weights = (size_t)conv->kernel * conv->kernel * conv->in_c,
                   .task_channels =
                       tinytl_ceil_div(tinytl_ceil_div(conv->in_c, TASKS), LINE) * LINE};
  const int n_channel_tasks = tinytl_ceil_div(conv->in_c, g.task_channels);
  g.part_rows = tinytl_ceil_div(conv->out_h, tinytl_ceil_div(TASKS, n_channel_tasks));
  g.n_parts = tinytl_ceil_div(conv->out_h, g.part_rows);
  return g;
}

size_t tinytl_depthwise_weight_scratch(const tinytl_conv *conv) {
  const weight_grad g = make(conv);
  return g.n_parts > 1 ? g.n_parts * g.n_weights * sizeof(float) : 0;
}

static void rows_task(void *context, int task) {
  const weight_grad *g = context;
  const tinytl_conv *conv = g->conv;
  const int part = task % g->n_parts, channel = task / g->n_parts * g->task_channels;
  const int first = part * g->part_rows, end = tinytl_min(first + g->part_rows, conv->out_h);
  const float *rows[TINYTL_MAX_KERNEL];
  tinytl_depthwise_weight_row row = {.rows = rows,
                                     .in_w = conv->in_w,
                                     .out_w = conv->out_w,
                                     .channels = tinytl_min(g->task_channels, conv->in_c - channel),
                                     .pixel = conv->in_c,
                                     .kernel = conv->kernel,
                                     .stride = conv->stride,
                                     .pad = conv->pad_left,
                                     .dw = g->dw + part * g->n_weights + channel,
                                     .tap = conv->in_c};
  for (int oy = first; oy < end; oy++) {
    for (int ky = 0; ky < conv->kernel; ky++) {
      const int y = tinytl_conv_source_row(conv, false, oy, ky);
      rows[ky] = y < 0 ? NULL : g->x + (ptrdiff_t)y * conv->in_w * conv->in_c + channel;
    }
    row.dy = g->dy + (ptrdiff_t)oy * conv->out_w * conv->in_c + channel;
    g->run->kernels->depthwise_weight_row(&row);
  }
}

void tinytl_depthwise_backward_weight(const tinytl_run *run, const tinytl_conv *conv,
                                      const float *x, const float *dy, float *dw) {
  weight_grad g = make(conv);
  g.run = run;
  g.x = x;
  g.dy = dy;
  g.dw = g.n_parts > 1 ? run->scratch : dw;
  if (g.n_parts > 1) memset(g.dw, 0, g.n_parts * g.n_weights * sizeof *g.dw);
  tinytl_parallel_for(run->pool, g.n_parts * tinytl_ceil_div(conv->in_c, g.task_channels),
                      rows_task, &g);
  for (int part = 0; g.n_parts > 1 && part < g.n_parts; part++)
    run->kernels->add(dw, g.dw + part * g.n_weights, g.n_weights);
}
