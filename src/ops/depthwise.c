/* Depthwise convolution: y[oy][ox][c] = sum over ky, kx of x[oy * stride - pad + ky][...][c] *
 * w[ky][kx][c]. Backward: dx[iy][ix][c] sums dy at the outputs that read (iy, ix). The weights are
 * widened once a call into a table in scratch; a task owns some rows of some channels. */
#include "ops/conv.h"
#include "ops/split.h"

typedef struct depthwise {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const tinytl_weight *weight;
  const tinytl_epilogue *epilogue; /* forward */
  const float *source;
  float *target;
  bool accumulate;
  int target_h;
  tinytl_split taps;
  int rows_per_task, n_row_tasks, task_channels;
} depthwise;

static ptrdiff_t tap_floats(const tinytl_conv *conv) {
  return (ptrdiff_t)tinytl_round_up((size_t)conv->in_c, 16);
}

size_t tinytl_depthwise_scratch(const tinytl_conv *conv) {
  return (size_t)conv->kernel * conv->kernel * tap_floats(conv) * sizeof(float);
}

static void widen_task(void *context, int task) {
  const depthwise *d = context;
  const tinytl_weight *w = d->weight;
  const int channels = d->conv->in_c;
  const ptrdiff_t padded = tap_floats(d->conv);
  for (int tap = tinytl_split_first(&d->taps, task); tap < tinytl_split_end(&d->taps, task);
       tap++) {
    float *out = (float *)d->run->scratch + tap * padded;
    const ptrdiff_t first = (ptrdiff_t)tap * channels;
    if (w->i8)
      for (int c = 0; c < channels; c++) out[c] = w->i8[first + c] * w->scale[c];
    else
      memcpy(out, w->f32 + first, (size_t)channels * sizeof *out);
    for (ptrdiff_t c = channels; c < padded; c++) out[c] = 0;
  }
}

/* Rows of the target by channels, so that a map of few rows still gives work to a few threads. */
static void run_tasks(depthwise *d, tinytl_task_fn task) {
  enum { TASKS = 32, CHANNELS = 64 };
  const int channels = d->conv->in_c, kernel = d->conv->kernel;
  d->taps = tinytl_split_rows(kernel * kernel, (size_t)channels);
  tinytl_split_run(d->run, &d->taps, widen_task, d);
  d->rows_per_task = tinytl_ceil_div(d->target_h, TASKS);
  d->n_row_tasks = tinytl_ceil_div(d->target_h, d->rows_per_task);
  const int parts = tinytl_ceil_div(TASKS / 2, d->n_row_tasks);
  d->task_channels = tinytl_ceil_div(tinytl_ceil_div(channels, parts), CHANNELS) * CHANNELS;
  tinytl_parallel_for(d->run->pool, d->n_row_tasks * tinytl_ceil_div(channels, d->task_channels),
                      task, d);
}

/* The part of a task that does not change from row to row. */
static tinytl_depthwise_row task_row(const depthwise *d, int task, int *first_row, int *end_row,
                                     int *channel) {
  const tinytl_conv *conv = d->conv;
  *first_row = task % d->n_row_tasks * d->rows_per_task;
  *end_row = tinytl_min(*first_row + d->rows_per_task, d->target_h);
  *channel = task / d->n_row_tasks * d->task_channels;
  return (tinytl_depthwise_row){.channels = tinytl_min(d->task_channels, conv->in_c - *channel),
                                .pixel = conv->in_c,
                                .kernel = conv->kernel,
                                .stride = conv->stride,
                                .pad = conv->pad_left,
                                .taps = (const float *)d->run->scratch + *channel,
                                .tap = tap_floats(conv),
                                .accumulate = d->accumulate};
}

static void forward_task(void *context, int task) {
  const depthwise *d = context;
  const tinytl_conv *conv = d->conv;
  const float *rows[TINYTL_MAX_KERNEL];
  int first, end, channel;
  tinytl_depthwise_row row = task_row(d, task, &first, &end, &channel);
  row.rows = rows;
  row.in_w = conv->in_w;
  row.out_w = conv->out_w;
  for (int oy = first; oy < end; oy++) {
    for (int ky = 0; ky < conv->kernel; ky++) {
      const int iy = oy * conv->stride - conv->pad_top + ky;
      rows[ky] = iy < 0 || iy >= conv->in_h
                     ? NULL
                     : d->source + (ptrdiff_t)iy * conv->in_w * conv->in_c + channel;
    }
    row.y = d->target + (ptrdiff_t)oy * conv->out_w * conv->in_c + channel;
    d->run->kernels->depthwise_row(&row);
    tinytl_conv_epilogue(d->run->kernels, d->epilogue, conv->in_c, oy * conv->out_w, conv->out_w,
                         channel, row.channels, d->target);
  }
}

void tinytl_depthwise_forward(const tinytl_run *run, const tinytl_conv *conv,
                              const tinytl_weight *w, const tinytl_epilogue *epilogue,
                              const float *x, float *y) {
  depthwise d = {.run = run,
                 .conv = conv,
                 .weight = w,
                 .epilogue = epilogue,
                 .source = x,
                 .target = y,
                 .target_h = conv->out_h};
  run_tasks(&d, forward_task);
}

static void backward_task(void *context, int task) {
  const depthwise *d = context;
  const tinytl_conv *conv = d->conv;
  const float *rows[TINYTL_MAX_KERNEL];
  int first, end, channel;
  tinytl_depthwise_row row = task_row(d, task, &first, &end, &channel);
  row.rows = rows;
  row.in_w = conv->out_w;
  row.out_w = conv->in_w;
  for (int iy = first; iy < end; iy++) {
    for (int ky = 0; ky < conv->kernel; ky++) {
      const int reach = iy + conv->pad_top - ky; /* oy * stride */
      rows[ky] =
          reach < 0 || reach % conv->stride || reach / conv->stride >= conv->out_h
              ? NULL
              : d->source + (ptrdiff_t)(reach / conv->stride) * conv->out_w * conv->in_c + channel;
    }
    row.y = d->target + (ptrdiff_t)iy * conv->in_w * conv->in_c + channel;
    d->run->kernels->depthwise_row_grad(&row);
  }
}

void tinytl_depthwise_backward_input(const tinytl_run *run, const tinytl_conv *conv,
                                     const tinytl_weight *w, const float *dy, float *dx,
                                     bool accumulate) {
  depthwise d = {.run = run,
                 .conv = conv,
                 .weight = w,
                 .source = dy,
                 .target = dx,
                 .accumulate = accumulate,
                 .target_h = conv->in_h};
  run_tasks(&d, backward_task);
}
