/* Weights packed into panels. */
#include "ops/conv.h"
#include "ops/split.h"

/* The tap of a rank in transposed panels: phase by phase, descending within it, as the sources of
 * the gradient ascend. */
static int ranked_tap(const tinytl_conv *conv, int rank) {
  int phase = 0;
  for (; rank >= tinytl_conv_phase_taps(conv, phase); phase++)
    rank -= tinytl_conv_phase_taps(conv, phase);
  return phase + (tinytl_conv_phase_taps(conv, phase) - 1 - rank) * conv->stride;
}

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
