/* Convolution in groups of `width` channels on either side, of which a register tile of the dense
 * kind would use few lanes, as a sum of depthwise convolutions, which use all:
 *
 *   y[g, j] = sum over i of depthwise(x_i, w_i)[g, j]    x_i[g, j] = x[g, i]: spread over the group
 *                                                        w_i[tap][g, j] = w[g, j][tap][i]
 *
 * Transposed:
 *
 *   dx[g, i] = sum over j of depthwise^T(dy_j, w'_j)[g, i]   w'_j[tap][g, i] = w[g, j][tap][i]
 *
 * The gradient of the weights w_i is that of the i-th depthwise convolution.
 *
 * A task owns some target rows. Of the spread channel it holds as many source rows as the kernel
 * has, each made when the first target row reads it. */
#include "ops/conv.h"
#include "ops/split.h"

enum {
  MOST_WIDTH = 4, /* 6 is as fast as dense with 16 lanes, 8 slower; with 8 lanes 4 is faster */
  BUFFER_FLOATS = 6144, /* 24 KiB of stack, as in conv_dense.c */
  TASKS = 4,
  WEIGHT_TASKS = 8
};

static int width_of(const tinytl_conv *conv) {
  return conv->in_c / conv->groups;
}

bool tinytl_conv_is_narrow(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  const int longest = conv->in_w > conv->out_w ? conv->in_w : conv->out_w;
  return conv->groups > 1 && conv->in_c == conv->out_c && width_of(conv) > 1 &&
         width_of(conv) <= MOST_WIDTH && 2 * width_of(conv) <= kernels->lanes && conv->kernel > 1 &&
         (ptrdiff_t)conv->kernel * longest * conv->in_c <= BUFFER_FLOATS;
}

/* ---- Spread rows --------------------------------------------------------------------------- */

/* The source rows of one spread channel; row y lies in slot y % kernel. */
typedef struct spread_rows {
  const tinytl_kernels *kernels;
  const tinytl_conv *conv;
  bool transposed;
  const float *source;
  int which, end; /* channel; rows from `end` on are to be made */
  float buffer[BUFFER_FLOATS];
} spread_rows;

/* Points rows [kernel] to what the taps bring to a target row, NULL: nothing. Target rows come in
 * ascending order. */
static void rows_of(spread_rows *s, int target_row, const float **rows) {
  const tinytl_conv *conv = s->conv;
  const ptrdiff_t row_floats = (ptrdiff_t)(s->transposed ? conv->out_w : conv->in_w) * conv->in_c;
  for (int i = 0; i < conv->kernel; i++) {
    const int ky = s->transposed ? conv->kernel - 1 - i : i; /* sources ascend */
    const int y = tinytl_conv_source_row(conv, s->transposed, target_row, ky);
    rows[ky] = NULL;
    if (y < 0) continue;
    float *slot = s->buffer + y % conv->kernel * row_floats;
    rows[ky] = slot;
    if (y < s->end) continue;
    s->kernels->spread((int)(row_floats / conv->in_c), conv->in_c, width_of(conv), s->which,
                       s->source + y * row_floats, slot);
    s->end = y + 1;
  }
}

/* ---- Both directions ------------------------------------------------------------------------ */

typedef struct narrow {
  const tinytl_run *run;
  const tinytl_conv *conv;
  bool transposed, accumulate;
  tinytl_conv flat; /* of which the panels are: all channels a group's columns */
  tinytl_conv_panels panels;
  const float *source;
  float *target;
  int target_h, target_w, rows_per_task;
} narrow;

/* Panels [taps * width][nr] of all output channels, whatever the direction. */
static void make_panels(narrow *d, const tinytl_conv *conv, const tinytl_kernels *kernels) {
  d->flat = *conv;
  d->flat.in_c = width_of(conv);
  d->flat.groups = 1;
  d->panels = tinytl_conv_panels_make(kernels, &d->flat, false);
  d->panels.capacity = d->panels.n_panels;
}

size_t tinytl_conv_narrow_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  narrow d;
  make_panels(&d, conv, kernels);
  return tinytl_conv_panels_nbytes(&d.panels);
}

/* Turns every square [width][width] of a tap and a group: lane (g, i) of step j is lane (g, j) of
 * step i. */
static void turn_squares(const narrow *d) {
  const int nr = d->run->kernels->nr, width = width_of(d->conv), channels = d->conv->in_c;
  const int taps = d->conv->kernel * d->conv->kernel;
  for (int tap = 0; tap < taps; tap++)
    for (int first = 0; first < channels; first += width)
      for (int i = 0; i < width; i++)
        for (int j = 0; j < i; j++) {
          float *at[2];
          for (int k = 0; k < 2; k++) {
            const int channel = first + (k ? j : i), step = tap * width + (k ? i : j);
            at[k] = d->panels.packed + channel / nr * d->panels.panel_stride +
                    (ptrdiff_t)step * nr + channel % nr;
          }
          const float kept = *at[0];
          *at[0] = *at[1];
          *at[1] = kept;
        }
}

static void target_row(const narrow *d, const float *const *rows, int which, int row) {
  const tinytl_conv *conv = d->conv;
  const tinytl_kernels *kernels = d->run->kernels;
  for (int p = 0; p < d->panels.n_panels; p++) {
    const tinytl_conv_panel panel = tinytl_conv_panels_at(&d->panels, p);
    const float *part[TINYTL_MAX_KERNEL];
    for (int ky = 0; ky < conv->kernel; ky++) part[ky] = rows[ky] ? rows[ky] + panel.column : NULL;
    const tinytl_depthwise_row of_panel = {
        .rows = part,
        .in_w = d->transposed ? conv->out_w : conv->in_w,
        .out_w = d->target_w,
        .channels = panel.n,
        .pixel = conv->in_c,
        .kernel = conv->kernel,
        .stride = conv->stride,
        .pad = conv->pad_left,
        .taps = panel.b + (ptrdiff_t)which * kernels->nr,
        .tap = (ptrdiff_t)d->panels.steps * kernels->nr,
        .y = d->target + (ptrdiff_t)row * d->target_w * conv->in_c + panel.column,
        .accumulate = d->accumulate || which > 0};
    (d->transposed ? kernels->depthwise_row_grad : kernels->depthwise_row)(&of_panel);
  }
}

static void rows_task(void *context, int task) {
  const narrow *d = context;
  const int first = task * d->rows_per_task;
  const int end = tinytl_min(first + d->rows_per_task, d->target_h);
  const float *rows[TINYTL_MAX_KERNEL];
  spread_rows s;
  s.kernels = d->run->kernels;
  s.conv = d->conv;
  s.transposed = d->transposed;
  s.source = d->source;
  for (s.which = 0; s.which < width_of(d->conv); s.which++) {
    s.end = 0;
    for (int row = first; row < end; row++) {
      rows_of(&s, row, rows);
      target_row(d, rows, s.which, row);
    }
  }
}

void tinytl_conv_narrow(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                        bool transposed, const float *source, float *target, bool accumulate) {
  narrow d = {.run = run,
              .conv = conv,
              .transposed = transposed,
              .accumulate = accumulate,
              .source = source,
              .target = target,
              .target_h = transposed ? conv->in_h : conv->out_h,
              .target_w = transposed ? conv->in_w : conv->out_w};
  make_panels(&d, conv, run->kernels);
  d.panels.run = run;
  d.panels.weight = w;
  d.panels.packed = run->scratch;
  tinytl_conv_panels_next(&d.panels);
  if (transposed) turn_squares(&d);
  d.rows_per_task = tinytl_ceil_div(d.target_h, TASKS);
  tinytl_parallel_for(tinytl_split_pool(run, tinytl_conv_macs(conv)),
                      tinytl_ceil_div(d.target_h, d.rows_per_task), rows_task, &d);
}

/* ---- Gradient of the weights ---------------------------------------------------------------- */

typedef struct weight_grad {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const float *x, *dy;
  int n_parts, part_rows; /* of the output rows, each of which sums for itself in scratch */
  size_t n_weights;       /* floats of a part of one spread channel: [taps][channels] */
} weight_grad;

static weight_grad make(const tinytl_conv *conv) {
  weight_grad g = {.conv = conv, .n_weights = (size_t)conv->kernel * conv->kernel * conv->out_c};
  const int parts = tinytl_ceil_div(WEIGHT_TASKS, width_of(conv));
  g.part_rows = tinytl_ceil_div(conv->out_h, parts);
  g.n_parts = tinytl_ceil_div(conv->out_h, g.part_rows);
  return g;
}

static size_t n_partial_floats(const weight_grad *g) {
  return (size_t)g->n_parts * width_of(g->conv) * g->n_weights;
}

size_t tinytl_conv_narrow_weight_scratch(const tinytl_conv *conv) {
  const weight_grad g = make(conv);
  return n_partial_floats(&g) * sizeof(float);
}

static float *partial(const weight_grad *g, int part, int which) {
  float *scratch = g->run->scratch;
  return scratch + (size_t)(part * width_of(g->conv) + which) * g->n_weights;
}

static void part_task(void *context, int task) {
  const weight_grad *g = context;
  const tinytl_conv *conv = g->conv;
  const int width = width_of(conv), part = task / width;
  const int first = part * g->part_rows, end = tinytl_min(first + g->part_rows, conv->out_h);
  const float *rows[TINYTL_MAX_KERNEL];
  spread_rows s;
  s.kernels = g->run->kernels;
  s.conv = conv;
  s.transposed = false;
  s.source = g->x;
  s.which = task % width;
  s.end = 0;
  tinytl_depthwise_weight_row row = {.rows = rows,
                                     .in_w = conv->in_w,
                                     .out_w = conv->out_w,
                                     .channels = conv->in_c,
                                     .pixel = conv->in_c,
                                     .kernel = conv->kernel,
                                     .stride = conv->stride,
                                     .pad = conv->pad_left,
                                     .dw = partial(g, part, s.which),
                                     .tap = conv->in_c};
  memset(row.dw, 0, g->n_weights * sizeof *row.dw);
  for (int oy = first; oy < end; oy++) {
    rows_of(&s, oy, rows);
    row.dy = g->dy + (ptrdiff_t)oy * conv->out_w * conv->out_c;
    g->run->kernels->depthwise_weight_row(&row);
  }
}

void tinytl_conv_narrow_backward_weight(const tinytl_run *run, const tinytl_conv *conv,
                                        const float *x, const float *dy, float *dw) {
  weight_grad g = make(conv);
  const int width = width_of(conv), taps = conv->kernel * conv->kernel, channels = conv->out_c;
  g.run = run;
  g.x = x;
  g.dy = dy;
  tinytl_parallel_for(tinytl_split_pool(run, tinytl_conv_macs(conv)), g.n_parts * width, part_task,
                      &g);
  for (int part = 0; part < g.n_parts; part++)
    for (int which = 0; which < width; which++) {
      const float *from = partial(&g, part, which);
      for (int c = 0; c < channels; c++)
        for (int tap = 0; tap < taps; tap++)
          dw[((ptrdiff_t)c * taps + tap) * width + which] += from[(ptrdiff_t)tap * channels + c];
    }
}
