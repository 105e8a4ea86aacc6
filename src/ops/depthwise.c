/* Depthwise convolution: y[oy][ox][c] = sum over ky, kx of x[oy * stride - pad + ky][...][c] *
 * w[ky][kx][c]. Transposed: dx[iy][ix][c] sums dy at the outputs that read (iy, ix). The weights
 * are widened once a call into a table in scratch; a task owns some rows of some channels. */
#include "ops/conv.h"
#include "ops/split.h"

static ptrdiff_t tap_floats(const tinytl_conv *conv) {
  return (ptrdiff_t)tinytl_round_up((size_t)conv->in_c, 16);
}

size_t tinytl_depthwise_scratch(const tinytl_conv *conv) {
  return (size_t)conv->kernel * conv->kernel * tap_floats(conv) * sizeof(float);
}

typedef struct widening {
  const tinytl_conv *conv;
  const tinytl_weight *weight;
  float *taps;
  tinytl_split split;
} widening;

static void widen_task(void *context, int task) {
  const widening *d = context;
  const tinytl_weight *w = d->weight;
  const int channels = d->conv->in_c;
  const ptrdiff_t padded = tap_floats(d->conv);
  for (int tap = tinytl_split_first(&d->split, task); tap < tinytl_split_end(&d->split, task);
       tap++) {
    float *out = d->taps + tap * padded;
    const ptrdiff_t first = (ptrdiff_t)tap * channels;
    if (w->i8)
      for (int c = 0; c < channels; c++) out[c] = w->i8[first + c] * w->scale[c];
    else
      memcpy(out, w->f32 + first, (size_t)channels * sizeof *out);
    for (int c = 0; w->gain && c < channels; c++) out[c] *= w->gain[c];
    for (ptrdiff_t c = channels; c < padded; c++) out[c] = 0;
  }
}

void tinytl_depthwise_widen(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                            float *taps) {
  widening d = {conv, w, taps, tinytl_split_rows(conv->kernel * conv->kernel, (size_t)conv->in_c)};
  tinytl_split_run(run, &d.split, widen_task, &d);
}

void tinytl_depthwise_row_part(const tinytl_depthwise_rows *d, int target_row, int channel,
                               int channels, float *target) {
  const tinytl_conv *conv = d->conv;
  const int source_w = d->transposed ? conv->out_w : conv->in_w;
  const int target_w = d->transposed ? conv->in_w : conv->out_w;
  const tinytl_epilogue none = {0}, *epilogue = d->epilogue ? d->epilogue : &none;
  const ptrdiff_t mask_pixel = (conv->in_c + 7) / 8;
  const int pixel = target_row * target_w;
  const float *rows[TINYTL_MAX_KERNEL];
  for (int ky = 0; ky < conv->kernel; ky++) {
    const int y = tinytl_conv_source_row(conv, d->transposed, target_row, ky);
    const ptrdiff_t first = (ptrdiff_t)(y % d->n_slots) * source_w * conv->in_c;
    rows[ky] = y < 0 ? NULL : d->source + first + channel;
  }
  const tinytl_depthwise_row row = {
      .rows = rows,
      .in_w = source_w,
      .out_w = target_w,
      .channels = channels,
      .pixel = conv->in_c,
      .kernel = conv->kernel,
      .stride = conv->stride,
      .pad = conv->pad_left,
      .taps = d->taps + channel,
      .tap = tap_floats(conv),
      .y = target,
      .accumulate = d->accumulate,
      .bias = epilogue->bias ? epilogue->bias + channel : NULL,
      .act = epilogue->act,
      .mask = epilogue->mask ? epilogue->mask + pixel * mask_pixel + channel / 8 : NULL,
      .mask_pixel = mask_pixel};
  (d->transposed ? d->kernels->depthwise_row_grad : d->kernels->depthwise_row)(&row);
  const tinytl_epilogue shortcut = {.residual = epilogue->residual};
  tinytl_conv_epilogue(d->kernels, &shortcut, conv->in_c, pixel, target_w, channel, channels,
                       target);
}

typedef struct whole_map {
  tinytl_depthwise_rows rows;
  float *target;
  int target_h, target_w;
  int rows_per_task, n_row_tasks, task_channels, n_parts; /* of the channels */
  bool by_rows; /* tasks of neighbouring numbers have the same rows, not the same channels */
} whole_map;

static void rows_task(void *context, int task) {
  const whole_map *d = context;
  const int in_c = d->rows.conv->in_c;
  const int part = d->by_rows ? task % d->n_parts : task / d->n_row_tasks;
  const int first = (d->by_rows ? task / d->n_parts : task % d->n_row_tasks) * d->rows_per_task;
  const int end = tinytl_min(first + d->rows_per_task, d->target_h);
  const int channel = part * d->task_channels;
  const int channels = tinytl_min(d->task_channels, in_c - channel);
  for (int row = first; row < end; row++) {
    float *target = d->target + (ptrdiff_t)row * d->target_w * in_c + channel;
    tinytl_depthwise_row_part(&d->rows, row, channel, channels, target);
  }
}

/* Rows of the target by channels, so that a map of few rows still gives work to a few threads. */
void tinytl_depthwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                      bool transposed, const tinytl_epilogue *epilogue, const float *source,
                      float *target, bool accumulate) {
  enum { TASKS = 32, CHANNELS = 64 };
  whole_map d = {.rows = {.kernels = run->kernels,
                          .conv = conv,
                          .transposed = transposed,
                          .taps = run->scratch,
                          .source = source,
                          .n_slots = transposed ? conv->out_h : conv->in_h,
                          .accumulate = accumulate,
                          .epilogue = epilogue},
                 .target = target,
                 .target_h = transposed ? conv->in_h : conv->out_h,
                 .target_w = transposed ? conv->in_w : conv->out_w};
  tinytl_depthwise_widen(run, conv, w, run->scratch);
  d.rows_per_task = tinytl_ceil_div(d.target_h, TASKS);
  d.n_row_tasks = tinytl_ceil_div(d.target_h, d.rows_per_task);
  const int parts = tinytl_ceil_div(TASKS / 2, d.n_row_tasks);
  d.task_channels = tinytl_ceil_div(tinytl_ceil_div(conv->in_c, parts), CHANNELS) * CHANNELS;
  d.n_parts = tinytl_ceil_div(conv->in_c, d.task_channels);
  d.by_rows = d.target_h * d.target_w > TINYTL_CONV_ROWS_ABOVE;
  tinytl_parallel_for(run->pool, d.n_row_tasks * d.n_parts, rows_task, &d);
}
