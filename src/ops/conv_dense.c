/* Dense convolution of any kernel, stride and groups, both directions, without a matrix of patches.
 *
 * Along each axis, target i sums source `lowest` + t times the weights of rank `first` + t, for t
 * from 0 to n - 1:
 *   forward:  lowest = i * stride - pad, all kernel's taps
 *   backward: of phase (i + pad) % stride the taps phase + stride * s, in whose order the sources
 *             descend
 * The panels hold the taps of backward the other way round, phase by phase (ranked_tap of
 * conv_panels.c), so that what a kernel row brings to a target pixel is one run of neighbouring
 * sources, pixels by channels, and one of neighbouring weights.
 *
 * A task owns some target rows of one panel. It copies their source rows to a small buffer, zeros
 * left and right of the map, so that pixels need no care at the borders. Maps that are too wide are
 * done by pieces, kernels of too many channels by some channels at a time. */
#include "ops/conv.h"
#include "ops/split.h"

enum { BUFFER_FLOATS = 6144 }; /* 24 KiB: stack, and it stays in the first-level cache */

typedef struct reach {
  int lowest, first, n;
} reach;

/* Target pixels of a row that share their taps: every target_step-th from first_target. */
typedef struct strip {
  reach reach; /* of the first */
  int first_target, target_step, source_step, n;
} strip;

typedef struct dense {
  tinytl_conv_panels panels;
  int n_images;
  const float *source; /* of image 0 */
  float *target;
  bool accumulate;
  int source_c, source_w, source_h, target_c, target_w, target_h;
  int n_strips, lowest, span; /* of a row: of all strips' first pixels, sources from `lowest` on */
  int rows_per_task, n_row_tasks;
  int piece, channels; /* target pixels of a strip, and channels, that are done at a time */
} dense;

static reach reach_of(const tinytl_conv *conv, bool transposed, int pad, int target) {
  if (!transposed) return (reach){target * conv->stride - pad, 0, conv->kernel};
  const int phase = (target + pad) % conv->stride;
  const int n = tinytl_conv_phase_taps(conv, phase);
  reach r = {(target + pad) / conv->stride - (n - 1), 0, n};
  for (int p = 0; p < phase; p++) r.first += tinytl_conv_phase_taps(conv, p);
  return r;
}

static strip strip_at(const dense *d, int index) {
  const tinytl_conv *conv = d->panels.conv;
  const bool transposed = d->panels.transposed;
  const int step = transposed ? conv->stride : 1;
  return (strip){.reach = reach_of(conv, transposed, conv->pad_left, index),
                 .first_target = index,
                 .target_step = step,
                 .source_step = transposed ? 1 : conv->stride,
                 .n = tinytl_ceil_div(d->target_w - index, step)};
}

/* Sources of the target rows [row, row + n): from *lowest on, their number is returned. */
static int rows_read(const dense *d, int row, int n, int *lowest) {
  const tinytl_conv *conv = d->panels.conv;
  int low = d->source_h, end = 0;
  for (int i = row; i < row + n; i++) {
    const reach r = reach_of(conv, d->panels.transposed, conv->pad_top, i);
    if (r.lowest < low) low = r.lowest;
    if (r.lowest + r.n > end) end = r.lowest + r.n;
  }
  *lowest = low < 0 ? 0 : low;
  end = tinytl_min(end, d->source_h);
  return end > *lowest ? end - *lowest : 0;
}

/* Channels [0, channels) of n source pixels from x on, either of which may lie outside. */
static void copy_row(const dense *d, const float *row, int x, int n, int channels, float *out) {
  for (int i = 0; i < n; i++, x++, out += channels) {
    if (x < 0 || x >= d->source_w) {
      memset(out, 0, (size_t)channels * sizeof *out);
      continue;
    }
    const float *pixel = row + (ptrdiff_t)x * d->source_c;
    int c = 0; /* too few for calls of memcpy */
    for (; c + 4 <= channels; c += 4) memcpy(out + c, pixel + c, 4 * sizeof *out);
    for (; c < channels; c++) out[c] = pixel[c];
  }
}

/* What is in the buffer: rows from y on, pixels of `width` from the piece's first on. */
typedef struct held {
  const float *buffer;
  int y, width;
  int first, n; /* targets of each strip */
  int channel, channels;
} held;

/* Rows of taps from tap on, of whose pixels `a` has the first. */
static void multiply(const dense *d, const held *h, const reach *vertical, const strip *s,
                     tinytl_gemm_tile tile) {
  const tinytl_kernels *kernels = d->panels.run->kernels;
  const ptrdiff_t row_floats = (ptrdiff_t)h->width * h->channels;
  const ptrdiff_t tap_floats = (ptrdiff_t)d->panels.steps * kernels->nr;
  const ptrdiff_t tap_row = d->panels.conv->kernel * tap_floats;
  tile.b +=
      vertical->first * tap_row + s->reach.first * tap_floats + (ptrdiff_t)h->channel * kernels->nr;
  if (h->channels == d->panels.steps) {
    tile.k = vertical->n > 0 ? s->reach.n * h->channels : 0;
    tile.n_runs = vertical->n;
    tile.a_run = row_floats;
    tile.b_run = tap_row;
    kernels->gemm(&tile);
    return;
  }
  tile.k = vertical->n > 0 && s->reach.n > 0 ? h->channels : 0;
  tile.n_runs = s->reach.n;
  tile.a_run = h->channels;
  tile.b_run = tap_floats;
  tile.accumulate = tile.accumulate || h->channel > 0;
  for (int ky = 0; ky == 0 || ky < vertical->n; ky++) {
    kernels->gemm(&tile);
    tile.a += row_floats;
    tile.b += tap_row;
    tile.accumulate = true;
  }
}

/* One target row of one panel, from what is held. */
static void dense_row(const dense *d, const held *h, const tinytl_conv_panel *panel, int row,
                      float *target) {
  const tinytl_conv *conv = d->panels.conv;
  reach vertical = reach_of(conv, d->panels.transposed, conv->pad_top, row);
  const int above = vertical.lowest < 0 ? tinytl_min(-vertical.lowest, vertical.n) : 0;
  vertical.lowest += above;
  vertical.first += above;
  vertical.n -= above;
  if (vertical.lowest + vertical.n > d->source_h)
    vertical.n = vertical.lowest < d->source_h ? d->source_h - vertical.lowest : 0;
  target +=
      (ptrdiff_t)row * d->target_w * d->target_c + panel->group * d->panels.columns + panel->column;
  for (int i = 0; i < d->n_strips; i++) {
    const strip s = strip_at(d, i);
    const int n = tinytl_min(h->n, s.n - h->first);
    if (n <= 0) continue;
    const ptrdiff_t x = s.reach.lowest - d->lowest;
    const ptrdiff_t y = vertical.n > 0 ? vertical.lowest - h->y : 0;
    multiply(d, h, &vertical, &s,
             (tinytl_gemm_tile){
                 .m = n,
                 .n = panel->n,
                 .a = h->buffer + (y * h->width + x) * h->channels,
                 .a_row = (ptrdiff_t)s.source_step * h->channels,
                 .a_step = 1,
                 .b = panel->b,
                 .c = target + (ptrdiff_t)(s.first_target + h->first * s.target_step) * d->target_c,
                 .c_row = (ptrdiff_t)s.target_step * d->target_c,
                 .accumulate = d->accumulate});
  }
}

static void dense_task(void *context, int task) {
  const dense *d = context;
  const int index = task / d->n_row_tasks % d->panels.n;
  const ptrdiff_t image = task / d->n_row_tasks / d->panels.n;
  const tinytl_conv_panel panel = tinytl_conv_panels_at(&d->panels, d->panels.first + index);
  const float *source = d->source + image * d->source_h * d->source_w * d->source_c;
  float *target = d->target + image * d->target_h * d->target_w * d->target_c;
  const int row = task % d->n_row_tasks * d->rows_per_task;
  const int n_rows = tinytl_min(d->rows_per_task, d->target_h - row);
  const strip first = strip_at(d, 0);
  float buffer[BUFFER_FLOATS];
  held h = {.buffer = buffer};
  const int n_sources = rows_read(d, row, n_rows, &h.y);
  for (h.first = 0; h.first < first.n; h.first += d->piece) {
    h.n = tinytl_min(d->piece, first.n - h.first);
    h.width = (h.n - 1) * first.source_step + d->span;
    for (h.channel = 0; h.channel < d->panels.steps; h.channel += d->channels) {
      h.channels = tinytl_min(d->channels, d->panels.steps - h.channel);
      for (int y = 0; y < n_sources; y++)
        copy_row(d,
                 source + (ptrdiff_t)(h.y + y) * d->source_w * d->source_c +
                     panel.group * d->panels.steps + h.channel,
                 d->lowest + h.first * first.source_step, h.width, h.channels,
                 buffer + (ptrdiff_t)y * h.width * h.channels);
      for (int i = row; i < row + n_rows; i++) dense_row(d, &h, &panel, i, target);
    }
  }
}

/* Most source rows that n neighbouring target rows read. */
static int most_rows_read(const dense *d, int n) {
  const tinytl_conv *conv = d->panels.conv;
  return d->panels.transposed ? (n + conv->kernel - 2) / conv->stride + 1
                              : (n - 1) * conv->stride + conv->kernel;
}

/* What fits into the buffer: rows, else pieces of a row, with at least some of the channels. */
static void cut(dense *d) {
  enum { MIN_CHANNELS = 32, MIN_TASKS = 16 };
  const strip first = strip_at(d, 0);
  d->n_strips = d->panels.transposed ? tinytl_min(d->panels.conv->stride, d->target_w) : 1;
  d->lowest = first.reach.lowest;
  int end = first.reach.lowest + first.reach.n;
  for (int i = 1; i < d->n_strips; i++) {
    const reach r = strip_at(d, i).reach;
    d->lowest = tinytl_min(d->lowest, r.lowest);
    if (r.lowest + r.n > end) end = r.lowest + r.n;
  }
  d->span = end - d->lowest;
  d->rows_per_task = 1;

  const int needed = most_rows_read(d, 1);
  const int wanted = tinytl_min(d->panels.steps, MIN_CHANNELS);
  const int width = BUFFER_FLOATS / (needed * wanted); /* that fits */
  const int fitting = width > d->span ? (width - d->span) / first.source_step + 1 : 1;
  d->piece = tinytl_ceil_div(first.n, tinytl_ceil_div(first.n, fitting));
  const int row_pixels = (d->piece - 1) * first.source_step + d->span;
  d->channels = tinytl_min(d->panels.steps, BUFFER_FLOATS / (needed * row_pixels));
  const int balanced = tinytl_ceil_div(d->n_images * d->target_h * d->panels.n_panels, MIN_TASKS);
  while (d->rows_per_task < tinytl_min(balanced, d->target_h) &&
         most_rows_read(d, d->rows_per_task + 1) * row_pixels * d->channels <= BUFFER_FLOATS)
    d->rows_per_task++;
  d->n_row_tasks = tinytl_ceil_div(d->target_h, d->rows_per_task);
}

void tinytl_conv_dense(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                       const tinytl_weight *w, bool transposed, const float *source, float *target,
                       bool accumulate) {
  dense d = {.panels = tinytl_conv_panels_make(run->kernels, conv, transposed),
             .n_images = n_images,
             .source = source,
             .target = target,
             .accumulate = accumulate,
             .source_c = transposed ? conv->out_c : conv->in_c,
             .source_w = transposed ? conv->out_w : conv->in_w,
             .source_h = transposed ? conv->out_h : conv->in_h,
             .target_c = transposed ? conv->in_c : conv->out_c,
             .target_w = transposed ? conv->in_w : conv->out_w,
             .target_h = transposed ? conv->in_h : conv->out_h};
  d.panels.run = run;
  d.panels.weight = w;
  d.panels.packed = run->scratch;
  cut(&d);
  tinytl_pool *pool = tinytl_split_pool(run, (uint64_t)n_images * tinytl_conv_macs(conv));
  while (tinytl_conv_panels_next(&d.panels))
    tinytl_parallel_for(pool, n_images * d.panels.n * d.n_row_tasks, dense_task, &d);
}
