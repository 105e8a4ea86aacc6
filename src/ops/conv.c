/* Convolution: y[oy][ox][o] = sum over ky, kx, i of x[oy * stride - pad + ky][...][i] *
 * w[o][ky][kx][i], within groups of channels. What the kinds share, and the choice between them:
 * conv_pointwise.c, conv_dense.c, conv_narrow.c, conv_rgb.c, conv_weight.c, depthwise.c. */
#include "ops/conv.h"

#include "ops/split.h"

tinytl_conv tinytl_conv_make(int in_h, int in_w, int in_c, int out_c, int kernel, int stride,
                             int groups, tinytl_pad pad) {
  const tinytl_span vertical = tinytl_conv_span(in_h, kernel, stride, pad);
  const tinytl_span horizontal = tinytl_conv_span(in_w, kernel, stride, pad);
  return (tinytl_conv){.in_h = in_h,
                       .in_w = in_w,
                       .in_c = in_c,
                       .out_h = vertical.out,
                       .out_w = horizontal.out,
                       .out_c = out_c,
                       .kernel = kernel,
                       .stride = stride,
                       .groups = groups,
                       .pad_top = vertical.pad,
                       .pad_left = horizontal.pad};
}

uint64_t tinytl_conv_macs(const tinytl_conv *conv) {
  return (uint64_t)conv->out_h * (uint64_t)conv->out_w * (uint64_t)conv->out_c *
         (uint64_t)(conv->in_c / conv->groups) * (uint64_t)conv->kernel * (uint64_t)conv->kernel;
}

bool tinytl_conv_is_depthwise(const tinytl_conv *conv) {
  return conv->groups > 1 && conv->groups == conv->in_c && conv->groups == conv->out_c;
}

bool tinytl_conv_is_pointwise(const tinytl_conv *conv) {
  return conv->kernel == 1 && conv->stride == 1 && conv->groups == 1 && conv->pad_top == 0 &&
         conv->pad_left == 0;
}

tinytl_conv_tap tinytl_conv_tap_span(int in, int out, int stride, int pad, int k) {
  /* 0 <= output * stride - pad + k < in */
  const int before = pad - k, after = in - 1 + pad - k;
  const int first = before > 0 ? tinytl_ceil_div(before, stride) : 0;
  const int end = after < 0 ? 0 : tinytl_min(after / stride + 1, out);
  return (tinytl_conv_tap){first, end > first ? end - first : 0, first * stride - before};
}

int tinytl_conv_source_row(const tinytl_conv *conv, bool transposed, int target_row, int ky) {
  const int reach =
      transposed ? target_row + conv->pad_top - ky : target_row * conv->stride - conv->pad_top + ky;
  const int step = transposed ? conv->stride : 1;
  const int source_h = transposed ? conv->out_h : conv->in_h;
  return reach < 0 || reach % step || reach / step >= source_h ? -1 : reach / step;
}

int tinytl_conv_phase_taps(const tinytl_conv *conv, int phase) {
  return phase < conv->kernel ? (conv->kernel - 1 - phase) / conv->stride + 1 : 0;
}

/* The tap of a rank in transposed panels: phase by phase, descending within it, as the sources of
 * the gradient ascend. */
static int ranked_tap(const tinytl_conv *conv, int rank) {
  int phase = 0;
  for (; rank >= tinytl_conv_phase_taps(conv, phase); phase++)
    rank -= tinytl_conv_phase_taps(conv, phase);
  return phase + (tinytl_conv_phase_taps(conv, phase) - 1 - rank) * conv->stride;
}

/* ---- Panels -------------------------------------------------------------------------------- */

tinytl_conv_panels tinytl_conv_panels_make(const tinytl_kernels *kernels, const tinytl_conv *conv,
                                           bool transposed) {
  const int in = conv->in_c / conv->groups, out = conv->out_c / conv->groups;
  tinytl_conv_panels panels = {.conv = conv,
                               .transposed = transposed,
                               .columns = transposed ? in : out,
                               .steps = transposed ? out : in};
  panels.per_group = tinytl_ceil_div(panels.columns, kernels->nr);
  panels.n_panels = panels.per_group * conv->groups;
  tinytl_conv_panels_stride(&panels,
                            (size_t)conv->kernel * conv->kernel * panels.steps * kernels->nr);
  return panels;
}

void tinytl_conv_panels_stride(tinytl_conv_panels *panels, size_t n_floats) {
  panels->panel_stride = tinytl_round_up(n_floats, 64 / sizeof(float));
  const size_t fitting = TINYTL_CONV_PANELS_NBYTES / (panels->panel_stride * sizeof(float));
  panels->capacity = fitting < 1                          ? 1
                     : fitting < (size_t)panels->n_panels ? (int)fitting
                                                          : panels->n_panels;
}

size_t tinytl_conv_panels_nbytes(const tinytl_conv_panels *panels) {
  return panels->capacity * panels->panel_stride * sizeof(float);
}

tinytl_conv_panel tinytl_conv_panels_at(const tinytl_conv_panels *panels, int index) {
  const int nr = panels->run->kernels->nr;
  const int column = index % panels->per_group * nr;
  return (tinytl_conv_panel){.b = panels->packed + (index - panels->first) * panels->panel_stride,
                             .group = index / panels->per_group,
                             .column = column,
                             .n = tinytl_min(nr, panels->columns - column)};
}

static void pack(const tinytl_conv_panels *panels, float *b, size_t w_offset, int scale_first,
                 int k, int n, ptrdiff_t step_stride, ptrdiff_t column_stride) {
  const tinytl_kernels *kernels = panels->run->kernels;
  const tinytl_weight *w = panels->weight;
  if (w->i8)
    kernels->pack_i8(b, w->i8 + w_offset, w->scale + scale_first, panels->transposed, k, n,
                     step_stride, column_stride);
  else
    kernels->pack_f32(b, w->f32 + w_offset, k, n, step_stride, column_stride);
  if (!w->gain) return;
  const float *gain = w->gain + scale_first;
  for (int step = 0; step < k; step++)
    for (int column = 0; column < n; column++)
      b[step * kernels->nr + column] *= gain[panels->transposed ? step : column];
}

static void pack_task(void *context, int task) {
  const tinytl_conv_panels *panels = context;
  const tinytl_conv *conv = panels->conv;
  const tinytl_conv_panel panel = tinytl_conv_panels_at(panels, panels->first + task);
  float *b = panels->packed + task * panels->panel_stride;
  const int taps = conv->kernel * conv->kernel;
  const int in = conv->in_c / conv->groups, out = conv->out_c / conv->groups;
  const ptrdiff_t filter = (ptrdiff_t)taps * in; /* weights of one output channel */
  if (!panels->transposed) {
    const int first = panel.group * out + panel.column;
    pack(panels, b, (size_t)first * filter, first, (int)filter, panel.n, 1, filter);
    return;
  }
  const int first = panel.group * out;
  for (int rank = 0; rank < taps; rank++) {
    const int tap = ranked_tap(conv, rank / conv->kernel) * conv->kernel +
                    ranked_tap(conv, rank % conv->kernel);
    pack(panels, b + (size_t)rank * out * panels->run->kernels->nr,
         (size_t)first * filter + (size_t)tap * in + panel.column, first, out, panel.n, filter, 1);
  }
}

void tinytl_conv_panels_pack(const tinytl_conv_panels *panels, const tinytl_conv_panel *panel,
                             int step, int n) {
  const int columns = panels->columns, steps = panels->steps;
  if (panels->transposed)
    pack(panels, panel->b, (size_t)step * columns + panel->column, step, n, panel->n, columns, 1);
  else
    pack(panels, panel->b, (size_t)panel->column * steps + step, panel->column, n, panel->n, 1,
         steps);
}

bool tinytl_conv_panels_next(tinytl_conv_panels *panels) {
  panels->first += panels->n;
  panels->n = tinytl_min(panels->capacity, panels->n_panels - panels->first);
  if (panels->n <= 0) return false;
  const bool alone = panels->n * panels->panel_stride < TINYTL_SPLIT_ALONE;
  tinytl_parallel_for(alone ? NULL : panels->run->pool, panels->n, pack_task, panels);
  return true;
}

/* ---- Epilogue ------------------------------------------------------------------------------ */

void tinytl_conv_epilogue(const tinytl_kernels *kernels, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int n, int channel, int channels, float *y) {
  const ptrdiff_t mask_pixel = (out_c + 7) / 8;
  const float *residual =
      epilogue->residual ? epilogue->residual + (ptrdiff_t)pixel * out_c + channel : NULL;
  if (!epilogue->bias && !epilogue->mask && !residual) return;
  kernels->bias_act(&(tinytl_bias_act){
      .n = n,
      .channels = channels,
      .y = y,
      .pixel = out_c,
      .bias = epilogue->bias ? epilogue->bias + channel : NULL,
      .act = epilogue->act,
      .residual = residual,
      .mask = epilogue->mask ? epilogue->mask + pixel * mask_pixel + channel / 8 : NULL,
      .mask_pixel = mask_pixel});
}

void tinytl_conv_tile_epilogue(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                               int pixel, int channel) {
  if (epilogue->bias) tile->bias = epilogue->bias + channel;
  tinytl_conv_tile_end(tile, epilogue, out_c, pixel, channel);
}

void tinytl_conv_tile_end(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int channel) {
  tile->mask_row = (out_c + 7) / 8;
  tile->act = epilogue->act;
  if (epilogue->residual) tile->residual = epilogue->residual + (ptrdiff_t)pixel * out_c + channel;
  if (epilogue->mask) tile->mask = epilogue->mask + pixel * tile->mask_row + channel / 8;
}

typedef struct epilogue_grad {
  const tinytl_run *run;
  int n_pixels, channels, chunk;
  const uint8_t *mask;
  float *dy;
  float *partial; /* [chunks][channels]; NULL: bias is frozen */
} epilogue_grad;

/* Pixels are cut into chunks by the shape alone; each sums its own bias gradient. */
static int chunk_pixels(int n_pixels) {
  enum { MIN_PIXELS = 8, MAX_CHUNKS = 32 };
  const int pixels = tinytl_ceil_div(n_pixels, MAX_CHUNKS);
  return pixels < MIN_PIXELS ? MIN_PIXELS : pixels;
}

static void epilogue_grad_task(void *context, int task) {
  const epilogue_grad *g = context;
  const int first = task * g->chunk;
  const size_t mask_pixel = (size_t)(g->channels + 7) / 8;
  float *partial = g->partial ? g->partial + (size_t)task * g->channels : NULL;
  for (int c = 0; partial && c < g->channels; c++) partial[c] = 0;
  g->run->kernels->mask_grad(g->dy + (size_t)first * g->channels,
                             tinytl_min(g->chunk, g->n_pixels - first), g->channels,
                             g->mask ? g->mask + first * mask_pixel : NULL, partial);
}

size_t tinytl_epilogue_backward_scratch(int n_pixels, int channels) {
  return (size_t)tinytl_ceil_div(n_pixels, chunk_pixels(n_pixels)) * channels * sizeof(float);
}

void tinytl_epilogue_backward(const tinytl_run *run, int n_pixels, int channels,
                              const uint8_t *mask, float *dy, float *dbias) {
  if (!mask && !dbias) return;
  epilogue_grad g = {.run = run,
                     .n_pixels = n_pixels,
                     .channels = channels,
                     .chunk = chunk_pixels(n_pixels),
                     .mask = mask,
                     .dy = dy,
                     .partial = dbias ? run->scratch : NULL};
  const int n_chunks = tinytl_ceil_div(n_pixels, g.chunk);
  const bool alone = (size_t)n_pixels * channels < TINYTL_SPLIT_ALONE;
  tinytl_parallel_for(alone ? NULL : run->pool, n_chunks, epilogue_grad_task, &g);
  if (!dbias) return;
  tinytl_await_turn(run);
  for (int chunk = 0; chunk < n_chunks; chunk++)
    run->kernels->add(dbias, g.partial + (size_t)chunk * channels, (size_t)channels);
}

/* ---- The choice ---------------------------------------------------------------------------- */

size_t tinytl_conv_forward_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_scratch(conv);
  if (tinytl_conv_is_narrow(conv, kernels)) return tinytl_conv_narrow_scratch(conv, kernels);
  const tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, false);
  const size_t whole = tinytl_conv_panels_nbytes(&panels);
  if (!tinytl_conv_is_pointwise(conv)) return whole;
  const size_t parts = tinytl_conv_pointwise_scratch(conv, kernels, false);
  return conv->in_c == 3 ? tinytl_size_max(parts, whole) : parts; /* from pixels: whole panels */
}

typedef struct row_epilogue {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const tinytl_epilogue *epilogue;
  float *y;
} row_epilogue;

static void row_epilogue_task(void *context, int row) {
  const row_epilogue *e = context;
  const tinytl_conv *conv = e->conv;
  const int pixel = row * conv->out_w;
  tinytl_conv_epilogue(e->run->kernels, e->epilogue, conv->out_c, pixel, conv->out_w, 0,
                       conv->out_c, e->y + (ptrdiff_t)pixel * conv->out_c);
}

void tinytl_conv_forward(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                         const tinytl_epilogue *epilogue, const float *x, float *y) {
  if (tinytl_conv_is_depthwise(conv)) {
    tinytl_depthwise(run, conv, w, false, epilogue, x, y, false);
  } else if (tinytl_conv_is_pointwise(conv)) {
    tinytl_conv_pointwise(run, conv, w, false, epilogue, x, y, false);
  } else {
    if (tinytl_conv_is_narrow(conv, run->kernels))
      tinytl_conv_narrow(run, conv, w, false, x, y, false);
    else
      tinytl_conv_dense(run, conv, 1, w, false, x, y, false);
    row_epilogue e = {run, conv, epilogue, y};
    if (epilogue->bias || epilogue->residual)
      tinytl_parallel_for(run->pool, conv->out_h, row_epilogue_task, &e);
  }
}

size_t tinytl_conv_backward_input_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_scratch(conv);
  if (tinytl_conv_is_pointwise(conv)) return tinytl_conv_pointwise_scratch(conv, kernels, true);
  if (tinytl_conv_is_narrow(conv, kernels)) return tinytl_conv_narrow_scratch(conv, kernels);
  const tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, true);
  return tinytl_conv_panels_nbytes(&panels);
}

void tinytl_conv_backward_input(const tinytl_run *run, const tinytl_conv *conv,
                                const tinytl_weight *w, const float *dy, float *dx,
                                bool accumulate) {
  const tinytl_epilogue none = {0};
  if (tinytl_conv_is_depthwise(conv))
    tinytl_depthwise(run, conv, w, true, &none, dy, dx, accumulate);
  else if (tinytl_conv_is_pointwise(conv))
    tinytl_conv_pointwise(run, conv, w, true, &none, dy, dx, accumulate);
  else if (tinytl_conv_is_narrow(conv, run->kernels))
    tinytl_conv_narrow(run, conv, w, true, dy, dx, accumulate);
  else
    tinytl_conv_dense(run, conv, 1, w, true, dy, dx, accumulate);
}
