/* Dense convolution of any kernel, stride and groups, both directions, without a matrix of patches.
 *
 * Target pixel q of a strip sums, over the taps t of a kernel row, source pixel
 * q * source_step + t * tap_step + offset times the weights of tap first_tap + t * tap_stride.
 *   forward:  one strip a row; q = ox, sources stride apart, taps ascending
 *   backward: a strip for each phase, (ix + pad) % stride; its pixels lie stride apart in dx and
 *             share their taps, phase + t * stride, and the sources descend with t
 * The source row is copied to a small buffer, with zeros where it is left, so that pixels need no
 * care at the borders. A task owns a target row of one panel. */
#include "ops/conv.h"

enum { BUFFER_FLOATS = 6144 }; /* 24 KiB: stack, and it stays in the first-level cache */

typedef struct dense {
  tinytl_conv_panels panels;
  const float *source;
  float *target;
  bool accumulate;
  int source_c, source_w, target_c, target_w, target_h;
} dense;

typedef struct strip {
  int first_tap, tap_stride, n_taps; /* of the kernel's row */
  int first_target, target_step, n;  /* target pixels */
  int source_step, lowest;           /* lowest source pixel of target 0; may be < 0 */
} strip;

static strip forward_strip(const tinytl_conv *conv) {
  return (strip){.tap_stride = 1,
                 .n_taps = conv->kernel,
                 .target_step = 1,
                 .n = conv->out_w,
                 .source_step = conv->stride,
                 .lowest = -conv->pad_left};
}

static strip backward_strip(const tinytl_conv *conv, int phase) {
  const int stride = conv->stride, ahead = conv->pad_left - phase; /* ix = q * stride - ahead */
  const int first_q = ahead > 0 ? tinytl_ceil_div(ahead, stride) : 0;
  const int first = first_q * stride - ahead;
  const int n_taps = phase < conv->kernel ? (conv->kernel - 1 - phase) / stride + 1 : 0;
  return (strip){.first_tap = phase,
                 .tap_stride = stride,
                 .n_taps = n_taps,
                 .first_target = first,
                 .target_step = stride,
                 .n = first < conv->in_w ? (conv->in_w - 1 - first) / stride + 1 : 0,
                 .source_step = 1,
                 .lowest = first_q - (n_taps - 1)};
}

/* Channels [0, channels) of n source pixels from x on, either of which may lie outside. */
static void copy_source(const dense *d, const float *row, int x, int n, int channels, float *out) {
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

/* Adds what kernel row ky brings to n target pixels from q on. */
static void add_kernel_row(const dense *d, const strip *s, const tinytl_conv_panel *panel, int ky,
                           const float *source_row, float *target_row, int q, int n) {
  const tinytl_kernels *kernels = d->panels.run->kernels;
  const int steps = d->panels.steps, width = (n - 1) * s->source_step + s->n_taps;
  const int capacity = tinytl_min(steps, BUFFER_FLOATS / width); /* channels */
  const ptrdiff_t tap = ky * d->panels.conv->kernel + s->first_tap;
  const ptrdiff_t tap_floats = (ptrdiff_t)steps * kernels->nr;
  const bool descending = d->panels.transposed;
  float buffer[BUFFER_FLOATS];
  for (int step = 0; step < steps; step += capacity) {
    const int k = tinytl_min(capacity, steps - step);
    copy_source(d, source_row + step, s->lowest + q * s->source_step, width, k, buffer);
    tinytl_conv_gemm_rows(
        kernels,
        (tinytl_gemm_tile){.n = panel->n,
                           .k = k,
                           .a = buffer + (ptrdiff_t)(descending ? s->n_taps - 1 : 0) * k,
                           .a_row = (ptrdiff_t)s->source_step * k,
                           .a_step = 1,
                           .b = panel->b + tap * tap_floats + (ptrdiff_t)step * kernels->nr,
                           .c = target_row +
                                (ptrdiff_t)(s->first_target + q * s->target_step) * d->target_c,
                           .c_row = (ptrdiff_t)s->target_step * d->target_c,
                           .accumulate = true,
                           .n_runs = s->n_taps,
                           .a_run = descending ? -k : k,
                           .b_run = s->tap_stride * tap_floats},
        n);
  }
}

/* Target pixels whose sources fit into the buffer, with at least this many channels. */
static int strip_pixels(const dense *d, const strip *s) {
  enum { MIN_CHANNELS = 64 };
  const int width = BUFFER_FLOATS / tinytl_min(d->panels.steps, MIN_CHANNELS);
  return width > s->n_taps ? (width - s->n_taps) / s->source_step + 1 : 1;
}

static void dense_strip(const dense *d, const strip *s, const tinytl_conv_panel *panel, int ky,
                        const float *source_row, float *target_row) {
  if (s->n_taps == 0 || s->n == 0) return;
  const int pixels = tinytl_ceil_div(s->n, tinytl_ceil_div(s->n, strip_pixels(d, s)));
  for (int q = 0; q < s->n; q += pixels)
    add_kernel_row(d, s, panel, ky, source_row, target_row, q, tinytl_min(pixels, s->n - q));
}

static void dense_task(void *context, int task) {
  const dense *d = context;
  const tinytl_conv *conv = d->panels.conv;
  const int row = task % d->target_h;
  const tinytl_conv_panel panel =
      tinytl_conv_panels_at(&d->panels, d->panels.first + task / d->target_h);
  const float *source = d->source + panel.group * d->panels.steps;
  float *target = d->target + (ptrdiff_t)row * d->target_w * d->target_c +
                  panel.group * d->panels.columns + panel.column;

  for (int x = 0; !d->accumulate && x < d->target_w; x++)
    memset(target + (ptrdiff_t)x * d->target_c, 0, (size_t)panel.n * sizeof *target);
  for (int ky = 0; ky < conv->kernel; ky++) {
    const int y = tinytl_conv_source_row(conv, d->panels.transposed, row, ky);
    if (y < 0) continue;
    const float *source_row = source + (ptrdiff_t)y * d->source_w * d->source_c;
    for (int phase = 0; phase < (d->panels.transposed ? conv->stride : 1); phase++) {
      const strip s = d->panels.transposed ? backward_strip(conv, phase) : forward_strip(conv);
      dense_strip(d, &s, &panel, ky, source_row, target);
    }
  }
}

void tinytl_conv_dense(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                       bool transposed, const float *source, float *target, bool accumulate) {
  dense d = {.panels = tinytl_conv_panels_make(run->kernels, conv, transposed),
             .source = source,
             .target = target,
             .accumulate = accumulate,
             .source_c = transposed ? conv->out_c : conv->in_c,
             .source_w = transposed ? conv->out_w : conv->in_w,
             .target_c = transposed ? conv->in_c : conv->out_c,
             .target_w = transposed ? conv->in_w : conv->out_w,
             .target_h = transposed ? conv->in_h : conv->out_h};
  d.panels.run = run;
  d.panels.weight = w;
  d.panels.packed = run->scratch;
  while (tinytl_conv_panels_next(&d.panels))
    tinytl_parallel_for(run->pool, d.panels.n * d.target_h, dense_task, &d);
}
