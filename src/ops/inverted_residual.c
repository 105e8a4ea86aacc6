/* An inverted residual, expand -> depthwise -> project (Sandler et al., 2018), row by row: the maps
 * between the three, often six times wider than the block's input, never exist whole.
 *
 * Forward; kernel 3, stride 1, padding 1, task 7:
 *
 *    x                   ring of 7 rows              held rows             y
 *                        slot 2: row 2 \
 *                        slot 3: row 3  | task 4 --> slot 3: row 3 ------> row 3
 *                        slot 4: row 4  | task 5 --> slot 0: row 4 ------> row 4
 *                        slot 5: row 5  | task 6 --> slot 1: row 5 ------> row 5
 *                        slot 6: row 6  | task 7 --> slot 2: row 6 ------> row 6
 *                        slot 0: row 7  |
 *    row 8 --expand-->   slot 1: row 8 /
 *                                     depthwise               project
 *
 * Task i expands the rows that depthwise's row i reads and no row before it, then makes row i - 1
 * of depthwise and of y. So each row is expanded once, and a row's sources are mostly there when
 * its task comes to it, though the tasks before may still be running: n_held tasks at a time.
 * A task waits where a slot that it writes is still read, or a row that it reads is not made.
 *
 * Backward is the same with every step transposed:
 *
 *    dy --project^T--> ring --depthwise^T--> held row --expand^T--> dx
 *
 * where the ring has rows of the gradient of depthwise's output, the held rows are of expand's.
 * Both are masked, and summed for the gradient of the bias, as they are made. Without expand,
 * depthwise reads x and its transpose writes dx. */
#include "ops/conv.h"

enum { MOST_HELD = 4 }; /* as many threads as are of use; more ask for more memory */

typedef struct rows rows;
typedef void (*make_row)(const rows *r, int row);

/* "Source" and "target" are the sides of depthwise, in the direction of the pass. */
struct rows {
  const tinytl_run *run;
  const tinytl_fused_block *block;
  const tinytl_conv *conv;                  /* depthwise */
  bool transposed;                          /* backward */
  const tinytl_block_layer *before, *after; /* depthwise; conv NULL: none */
  int source_h, source_w, target_h, target_w;
  int n_held, ring_rows;
  float *ring; /* [ring_rows][source_w][channels]; NULL: depthwise reads `given` */
  float *held; /* [n_held][target_w][channels]; NULL: depthwise writes `wanted` */
  float *source_sums, *target_sums; /* backward: [row][channels], for the gradients of biases */
  float *taps;
  tinytl_pointwise into_ring, from_held;
  tinytl_conv_rgb rgb; /* instead of into_ring, where the block has rgb */
  tinytl_depthwise_rows depthwise;
  const float *given;                /* x or dy */
  float *wanted;                     /* y or dx; NULL: only gradients of biases are */
  make_row make_source, make_target; /* make_target NULL: not wanted */
  atomic_uchar *flags;
  tinytl_progress sources, targets; /* by task, by row */
};

/* ---- Memory -------------------------------------------------------------------------------- */

/* Source rows that n neighbouring target rows read, at most. */
static int rows_read(const rows *s, int n) {
  const int reach = s->transposed ? (n + s->conv->kernel - 2) / s->conv->stride + 1
                                  : (n - 1) * s->conv->stride + s->conv->kernel;
  return tinytl_min(reach, s->source_h);
}

static size_t row_floats(const rows *s, int width) {
  return (size_t)width * s->conv->in_c;
}

/* Takes n floats of scratch; where that is NULL, only counts them. */
static float *take(float *scratch, size_t *n_taken, size_t n) {
  float *at = scratch ? scratch + *n_taken : NULL;
  *n_taken += tinytl_round_up(n, 64 / sizeof(float));
  return at;
}

static tinytl_conv_panels take_panels(const rows *s, const tinytl_kernels *kernels,
                                      const tinytl_conv *conv, float *scratch, size_t *n_taken) {
  tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, s->transposed);
  panels.capacity = panels.n_panels;
  panels.packed = take(scratch, n_taken, tinytl_conv_panels_nbytes(&panels) / sizeof(float));
  return panels;
}

/* Sizes, and where everything lies in scratch; returns the number of bytes. */
static size_t lay_out(rows *s, const tinytl_fused_block *block, bool backward,
                      const tinytl_kernels *kernels, float *scratch) {
  const tinytl_conv *conv = block->depthwise.conv;
  size_t n = 0;
  *s = (rows){.block = block,
              .conv = conv,
              .transposed = backward,
              .before = backward ? &block->project : &block->expand,
              .after = backward ? &block->expand : &block->project,
              .source_h = backward ? conv->out_h : conv->in_h,
              .source_w = backward ? conv->out_w : conv->in_w,
              .target_h = backward ? conv->in_h : conv->out_h,
              .target_w = backward ? conv->in_w : conv->out_w};
  s->n_held = block->alone ? 1 : MOST_HELD;
  s->ring_rows = rows_read(s, s->n_held + 1);
  s->taps = take(scratch, &n, tinytl_depthwise_scratch(conv) / sizeof(float));
  if (s->before->conv) {
    s->ring = take(scratch, &n, s->ring_rows * row_floats(s, s->source_w));
    s->into_ring.panels = take_panels(s, kernels, s->before->conv, scratch, &n);
  }
  if (s->after->conv) {
    s->held = take(scratch, &n, s->n_held * row_floats(s, s->target_w));
    if (tinytl_conv_is_pointwise(s->after->conv)) /* else the input is a picture: no gradient */
      s->from_held.panels = take_panels(s, kernels, s->after->conv, scratch, &n);
  }
  if (backward) {
    s->source_sums = take(scratch, &n, (size_t)s->source_h * conv->in_c);
    s->target_sums = take(scratch, &n, (size_t)s->target_h * conv->in_c);
  }
  s->flags = (atomic_uchar *)take(scratch, &n, (size_t)s->target_h / 2 + 1);
  return n * sizeof(float);
}

/* ---- Both directions ------------------------------------------------------------------------ */

static void pack(const tinytl_run *run, const tinytl_block_layer *layer,
                 const tinytl_epilogue *epilogue, tinytl_pointwise *product) {
  product->panels.run = run;
  product->panels.weight = layer->weight;
  product->epilogue = epilogue;
  tinytl_conv_panels_next(&product->panels);
}

static void widen_depthwise(rows *s) {
  tinytl_depthwise_widen(s->run, s->conv, s->block->depthwise.weight, s->taps);
  s->depthwise = (tinytl_depthwise_rows){.kernels = s->run->kernels,
                                         .conv = s->conv,
                                         .transposed = s->transposed,
                                         .taps = s->taps,
                                         .source = s->ring ? s->ring : s->given,
                                         .n_slots = s->ring ? s->ring_rows : s->source_h};
}

static float *ring_row(const rows *s, int row) {
  return s->ring + (row % s->ring_rows) * row_floats(s, s->source_w);
}

static float *held_row(const rows *s, int row) {
  return s->held + row % s->n_held * row_floats(s, s->target_w);
}

static void multiply_into_ring(const rows *s, int row) {
  const int pixel = row * s->source_w;
  tinytl_pointwise_pixels(&s->into_ring, pixel, s->source_w,
                          s->given + (ptrdiff_t)pixel * s->into_ring.panels.steps,
                          ring_row(s, row));
}

static void multiply_from_held(const rows *s, int row) {
  const int pixel = row * s->target_w;
  tinytl_pointwise_pixels(&s->from_held, pixel, s->target_w, held_row(s, row),
                          s->wanted + (ptrdiff_t)pixel * s->from_held.panels.columns);
}

/* One beyond the last source row that target rows up to this one read. */
static int source_end(const rows *s, int target_row) {
  const tinytl_conv *conv = s->conv;
  if (target_row < 0) return 0;
  return tinytl_min(s->source_h, s->transposed
                                     ? (target_row + conv->pad_top) / conv->stride + 1
                                     : target_row * conv->stride - conv->pad_top + conv->kernel);
}

static void make_sources(rows *s, int first, int end) {
  for (int row = first; s->ring && row < end; row++) s->make_source(s, row);
}

static void rows_task(void *context, int task) {
  rows *s = context;
  tinytl_progress_wait(&s->targets, task - s->n_held);
  if (task < s->target_h) {
    make_sources(s, source_end(s, task - 1), source_end(s, task));
    tinytl_progress_made(&s->sources, task);
  }
  if (task > 0) {
    tinytl_progress_wait(&s->sources, task);
    if (s->make_target) s->make_target(s, task - 1);
    tinytl_progress_made(&s->targets, task - 1);
  }
  if (task == s->target_h) { /* rows that no target row reads still have masks and biases */
    tinytl_progress_wait(&s->targets, s->target_h);
    make_sources(s, source_end(s, s->target_h - 1), s->source_h);
  }
}

static void make_rows(rows *s, make_row make_source, make_row make_target) {
  s->make_source = make_source;
  s->make_target = make_target;
  tinytl_progress_start(&s->sources, s->flags, s->target_h);
  tinytl_progress_start(&s->targets, s->flags + s->target_h, s->target_h);
  tinytl_pool *pool = s->block->alone ? NULL : s->run->pool;
  tinytl_parallel_for_in_order(pool, s->target_h + 1, rows_task, s);
}

/* ---- Forward ------------------------------------------------------------------------------- */

static tinytl_epilogue epilogue_of(const tinytl_block_layer *layer, const float *residual) {
  return (tinytl_epilogue){layer->bias, layer->act, residual, layer->mask};
}

static void expand_row(const rows *s, int row) {
  if (s->block->rgb)
    tinytl_conv_rgb_row(&s->rgb, row, ring_row(s, row));
  else
    multiply_into_ring(s, row);
}

static void output_row(const rows *s, int row) {
  tinytl_depthwise_row_part(&s->depthwise, row, 0, s->conv->in_c, held_row(s, row));
  multiply_from_held(s, row);
}

size_t tinytl_fused_block_forward_scratch(const tinytl_fused_block *block,
                                          const tinytl_kernels *kernels) {
  rows s;
  return lay_out(&s, block, false, kernels, NULL);
}

void tinytl_fused_block_forward(const tinytl_run *run, const tinytl_fused_block *block,
                                const float *x, const float *residual, float *y) {
  const tinytl_epilogue expand = epilogue_of(&block->expand, NULL);
  const tinytl_epilogue depthwise = epilogue_of(&block->depthwise, NULL);
  const tinytl_epilogue project = epilogue_of(&block->project, residual);
  rows s;
  lay_out(&s, block, false, run->kernels, run->scratch);
  s.run = run;
  s.given = x;
  s.wanted = y;
  widen_depthwise(&s);
  s.depthwise.epilogue = &depthwise;
  if (s.ring) pack(run, &block->expand, &expand, &s.into_ring);
  pack(run, &block->project, &project, &s.from_held);
  if (block->rgb) {
    s.rgb.panels = s.into_ring.panels;
    s.rgb.epilogue = &expand;
    tinytl_conv_rgb_input(&s.rgb, block->rgb, block->input_scale, block->input_shift);
  }
  make_rows(&s, expand_row, output_row);
}

/* ---- Backward ------------------------------------------------------------------------------ */

/* Through the epilogue of `layer`, whose row of the given width dy is; its sum goes into sums. */
static void mask_row(const rows *s, const tinytl_block_layer *layer, int row, int width, float *dy,
                     float *sums) {
  const int channels = s->conv->in_c;
  const ptrdiff_t mask_row = (ptrdiff_t)width * ((channels + 7) / 8);
  float *sum = layer->dbias ? sums + (ptrdiff_t)row * channels : NULL;
  if (!layer->mask && !sum) return;
  if (sum) memset(sum, 0, (size_t)channels * sizeof *sum);
  s->run->kernels->mask_grad(dy, width, channels, layer->mask ? layer->mask + row * mask_row : NULL,
                             sum);
}

static void add_sums(const rows *s, const tinytl_block_layer *layer, int n_rows,
                     const float *sums) {
  const int channels = s->conv->in_c;
  for (int row = 0; layer->dbias && row < n_rows; row++)
    s->run->kernels->add(layer->dbias, sums + (ptrdiff_t)row * channels, (size_t)channels);
}

static void depthwise_grad_row(const rows *s, int row) {
  multiply_into_ring(s, row);
  mask_row(s, &s->block->depthwise, row, s->source_w, ring_row(s, row), s->source_sums);
}

static void input_grad_row(const rows *s, int row) {
  float *target = s->held ? held_row(s, row) : s->wanted + row * row_floats(s, s->target_w);
  tinytl_depthwise_row_part(&s->depthwise, row, 0, s->conv->in_c, target);
  if (!s->held) return;
  mask_row(s, &s->block->expand, row, s->target_w, target, s->target_sums);
  if (s->wanted) multiply_from_held(s, row);
}

size_t tinytl_fused_block_backward_scratch(const tinytl_fused_block *block,
                                           const tinytl_kernels *kernels) {
  rows s;
  return lay_out(&s, block, true, kernels, NULL);
}

void tinytl_fused_block_backward(const tinytl_run *run, const tinytl_fused_block *block,
                                 const float *dy, float *dx, bool accumulate) {
  const tinytl_epilogue none = {0};
  rows s;
  lay_out(&s, block, true, run->kernels, run->scratch);
  s.run = run;
  s.given = dy;
  s.wanted = dx;
  pack(run, &block->project, &none, &s.into_ring);
  widen_depthwise(&s);
  if (s.held && dx) pack(run, &block->expand, &none, &s.from_held);
  s.from_held.accumulate = accumulate;
  s.depthwise.accumulate = accumulate && !s.held;
  const bool sum_expand = s.held && block->expand.dbias;
  make_rows(&s, depthwise_grad_row, dx || sum_expand ? input_grad_row : NULL);
  add_sums(&s, &block->depthwise, s.source_h, s.source_sums);
  if (sum_expand) add_sums(&s, &block->expand, s.target_h, s.target_sums);
}
