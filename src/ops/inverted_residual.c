/* An inverted residual, expand -> depthwise -> project (Sandler et al., 2018), row by row: the maps
 * between the three, often six times wider than the block's input, never exist whole.
 *
 * Forward, kernel 3, stride 1, padding 1; about to make row 4 of y:
 *
 *    x                   ring of 3 rows           held row          y
 *                        slot 0: row 3 \
 *                        slot 1: row 4  |
 *    row 5 --expand-->   slot 2: row 5 / -------> row 4 ----------> row 4
 *                                     depthwise          project
 *
 * Backward is the same with every step transposed:
 *
 *    dy --project^T--> ring --depthwise^T--> held row --expand^T--> dx
 *
 * where the ring has rows of the gradient of depthwise's output, the held row is of expand's.
 * Both are masked, and summed for the gradient of the bias, as they are made. Without expand,
 * depthwise reads x and its transpose writes dx.
 *
 * Threads that share a block have a band of the target's rows each, with a ring of its own, so that
 * what one core makes no other reads. A source row that two bands read is made in both, but belongs
 * to one, which alone writes its mask and its sums. */
#include "ops/conv.h"

enum {
  MIN_BAND_ROWS = 4, /* of the target: rows at a band's edge are paid for twice */
  MAX_BANDS = 4      /* each asks for memory, whether a thread is there for it or not */
};

/* "Source" and "target" are the sides of depthwise, in the direction of the pass. */
typedef struct rows {
  const tinytl_run *run;
  const tinytl_fused_block *block;
  const tinytl_conv *conv;                  /* depthwise */
  bool transposed;                          /* backward */
  const tinytl_block_layer *before, *after; /* depthwise; conv NULL: none */
  int source_h, source_w, target_h, target_w;
  int n_bands, ring_rows;
  float *rings; /* [n_bands][ring_rows][source_w][channels]; NULL: depthwise reads `given` */
  float *held;  /* [n_bands][target_w][channels]; NULL: depthwise writes `wanted` */
  float *source_sums, *target_sums; /* backward: [row][channels], for the gradients of biases */
  float *taps;
  tinytl_pointwise into_ring, from_held;
  tinytl_conv_rgb rgb; /* instead of into_ring, where the block has rgb */
  tinytl_depthwise_rows depthwise;
  const float *given; /* x or dy */
  float *wanted;      /* y or dx; NULL: only gradients of biases are */
} rows;

typedef struct band {
  const rows *rows;
  float *ring, *held;
  tinytl_depthwise_rows depthwise;
} band;

/* ---- Memory -------------------------------------------------------------------------------- */

/* Source rows that a target row reads, at most. */
static int rows_read(const rows *s) {
  const int reach = s->transposed ? (s->conv->kernel - 1) / s->conv->stride + 1 : s->conv->kernel;
  return tinytl_min(reach, s->source_h);
}

static size_t row_floats(const rows *s, int width) {
  return (size_t)width * s->conv->in_c;
}

static size_t ring_floats(const rows *s) {
  return s->ring_rows * row_floats(s, s->source_w);
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
static size_t lay_out(rows *s, const tinytl_fused_block *block, int n_threads, bool backward,
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
  s->n_bands = tinytl_min(tinytl_min(n_threads, MAX_BANDS), s->target_h / MIN_BAND_ROWS);
  if (s->n_bands < 1) s->n_bands = 1;
  s->ring_rows = rows_read(s);
  s->taps = take(scratch, &n, tinytl_depthwise_scratch(conv) / sizeof(float));
  if (s->before->conv) {
    s->rings = take(scratch, &n, s->n_bands * ring_floats(s));
    s->into_ring.panels = take_panels(s, kernels, s->before->conv, scratch, &n);
  }
  if (s->after->conv) {
    s->held = take(scratch, &n, s->n_bands * row_floats(s, s->target_w));
    if (tinytl_conv_is_pointwise(s->after->conv)) /* else the input is a picture: no gradient */
      s->from_held.panels = take_panels(s, kernels, s->after->conv, scratch, &n);
  }
  if (backward) {
    s->source_sums = take(scratch, &n, (size_t)s->source_h * conv->in_c);
    s->target_sums = take(scratch, &n, (size_t)s->target_h * conv->in_c);
  }
  return n * sizeof(float);
}

/* ---- Both directions ------------------------------------------------------------------------ */

static void pack(const tinytl_run *run, const tinytl_block_layer *layer,
                 tinytl_conv_panels *panels) {
  panels->run = run;
  panels->weight = layer->weight;
  tinytl_conv_panels_next(panels);
}

static void widen_depthwise(rows *s) {
  tinytl_depthwise_widen(s->run, s->conv, s->block->depthwise.weight, s->taps);
  s->depthwise = (tinytl_depthwise_rows){.kernels = s->run->kernels,
                                         .conv = s->conv,
                                         .transposed = s->transposed,
                                         .taps = s->taps,
                                         .source = s->given,
                                         .n_slots = s->rings ? s->ring_rows : s->source_h};
}

static float *ring_row(const band *b, int row) {
  return b->ring + (row % b->rows->ring_rows) * row_floats(b->rows, b->rows->source_w);
}

static void multiply_into_ring(const band *b, int row, const tinytl_epilogue *epilogue) {
  const rows *s = b->rows;
  const int pixel = row * s->source_w;
  tinytl_pointwise product = s->into_ring;
  product.epilogue = epilogue;
  tinytl_pointwise_pixels(&product, pixel, s->source_w,
                          s->given + (ptrdiff_t)pixel * product.panels.steps, ring_row(b, row));
}

static void multiply_from_held(const band *b, int row) {
  const rows *s = b->rows;
  const int pixel = row * s->target_w;
  tinytl_pointwise_pixels(&s->from_held, pixel, s->target_w, b->held,
                          s->wanted + (ptrdiff_t)pixel * s->from_held.panels.columns);
}

/* The first source row that a target row reads, and one beyond the last that target rows up to it
 * read. */
static int source_first(const rows *s, int target_row) {
  const tinytl_conv *conv = s->conv;
  const int first =
      s->transposed ? tinytl_ceil_div(target_row + conv->pad_top - conv->kernel + 1, conv->stride)
                    : target_row * conv->stride - conv->pad_top;
  return first < 0 ? 0 : first;
}

static int source_end(const rows *s, int target_row) {
  const tinytl_conv *conv = s->conv;
  if (target_row < 0) return 0;
  return tinytl_min(s->source_h, s->transposed
                                     ? (target_row + conv->pad_top) / conv->stride + 1
                                     : target_row * conv->stride - conv->pad_top + conv->kernel);
}

static int band_first(const rows *s, int index) {
  return s->target_h * index / s->n_bands;
}

/* In a band's ring; not owned: another band writes its mask and sums. */
typedef void (*make_source)(const band *b, int row, bool owned);
typedef void (*make_target)(const band *b, int row);

typedef struct making {
  const rows *rows;
  make_source source;
  make_target target; /* NULL: not wanted */
} making;

static void band_task(void *context, int task) {
  const making *m = context;
  const rows *s = m->rows;
  band b = {s, s->rings ? s->rings + task * ring_floats(s) : NULL,
            s->held ? s->held + task * row_floats(s, s->target_w) : NULL, s->depthwise};
  if (b.ring) b.depthwise.source = b.ring;
  const int first = band_first(s, task), end = band_first(s, task + 1);
  const int owned = source_end(s, first - 1); /* from there on */
  int made = tinytl_min(source_first(s, first), owned);
  for (int row = first; row < end; row++) {
    for (; b.ring && made < source_end(s, row); made++) m->source(&b, made, made >= owned);
    if (m->target) m->target(&b, row);
  }
  /* Rows that no target row reads still have masks and biases. */
  for (; b.ring && end == s->target_h && made < s->source_h; made++) m->source(&b, made, true);
}

static void make_rows(const rows *s, make_source source, make_target target) {
  making m = {s, source, target};
  tinytl_parallel_for(s->run->pool, s->n_bands, band_task, &m);
}

/* ---- Forward ------------------------------------------------------------------------------- */

static tinytl_epilogue epilogue_of(const tinytl_block_layer *layer, const float *residual) {
  return (tinytl_epilogue){layer->bias, layer->act, residual, layer->mask};
}

static void expand_row(const band *b, int row, bool owned) {
  const rows *s = b->rows;
  tinytl_epilogue epilogue = epilogue_of(&s->block->expand, NULL);
  if (!owned) epilogue.mask = NULL;
  if (!s->block->rgb) {
    multiply_into_ring(b, row, &epilogue);
    return;
  }
  tinytl_conv_rgb rgb = s->rgb;
  rgb.epilogue = &epilogue;
  tinytl_conv_rgb_row(&rgb, row, ring_row(b, row));
}

static void output_row(const band *b, int row) {
  tinytl_depthwise_row_part(&b->depthwise, row, 0, b->rows->conv->in_c, b->held);
  multiply_from_held(b, row);
}

size_t tinytl_fused_block_forward_scratch(const tinytl_fused_block *block,
                                          const tinytl_kernels *kernels) {
  rows s;
  return lay_out(&s, block, block->n_threads, false, kernels, NULL);
}

void tinytl_fused_block_forward(const tinytl_run *run, const tinytl_fused_block *block,
                                const float *x, const float *residual, float *y) {
  const tinytl_epilogue depthwise = epilogue_of(&block->depthwise, NULL);
  const tinytl_epilogue project = epilogue_of(&block->project, residual);
  rows s;
  lay_out(&s, block, run->pool ? block->n_threads : 1, false, run->kernels, run->scratch);
  s.run = run;
  s.given = x;
  s.wanted = y;
  widen_depthwise(&s);
  s.depthwise.epilogue = &depthwise;
  if (s.rings) pack(run, &block->expand, &s.into_ring.panels);
  pack(run, &block->project, &s.from_held.panels);
  s.from_held.epilogue = &project;
  if (block->rgb) {
    s.rgb.panels = s.into_ring.panels;
    tinytl_conv_rgb_input(&s.rgb, block->rgb, block->input_scale, block->input_shift);
  }
  make_rows(&s, expand_row, output_row);
}

/* ---- Backward ------------------------------------------------------------------------------ */

/* Through the epilogue of `layer`, whose row of the given width dy is; its sum goes into sums
 * (NULL: not wanted). */
static void mask_row(const rows *s, const tinytl_block_layer *layer, int row, int width, float *dy,
                     float *sums) {
  const int channels = s->conv->in_c;
  const ptrdiff_t mask_row = (ptrdiff_t)width * ((channels + 7) / 8);
  float *sum = layer->dbias && sums ? sums + (ptrdiff_t)row * channels : NULL;
  if (!layer->mask && !sum) return;
  if (sum) memset(sum, 0, (size_t)channels * sizeof *sum);
  s->run->kernels->mask_grad(dy, width, channels, layer->mask ? layer->mask + row * mask_row : NULL,
                             sum);
}

static void add_sums(const rows *s, const tinytl_block_layer *layer, int n_rows,
                     const float *sums) {
  const int channels = s->conv->in_c;
  if (!layer->dbias) return;
  tinytl_await_turn(s->run);
  for (int row = 0; row < n_rows; row++)
    s->run->kernels->add(layer->dbias, sums + (ptrdiff_t)row * channels, (size_t)channels);
}

static void depthwise_grad_row(const band *b, int row, bool owned) {
  const rows *s = b->rows;
  const tinytl_epilogue none = {0};
  multiply_into_ring(b, row, &none);
  mask_row(s, &s->block->depthwise, row, s->source_w, ring_row(b, row),
           owned ? s->source_sums : NULL);
}

static void input_grad_row(const band *b, int row) {
  const rows *s = b->rows;
  float *target = b->held ? b->held : s->wanted + row * row_floats(s, s->target_w);
  tinytl_depthwise_row_part(&b->depthwise, row, 0, s->conv->in_c, target);
  if (!b->held) return;
  mask_row(s, &s->block->expand, row, s->target_w, target, s->target_sums);
  if (s->wanted) multiply_from_held(b, row);
}

size_t tinytl_fused_block_backward_scratch(const tinytl_fused_block *block,
                                           const tinytl_kernels *kernels) {
  rows s;
  return lay_out(&s, block, block->n_threads, true, kernels, NULL);
}

void tinytl_fused_block_backward(const tinytl_run *run, const tinytl_fused_block *block,
                                 const float *dy, float *dx, bool accumulate) {
  const tinytl_epilogue none = {0};
  rows s;
  lay_out(&s, block, run->pool ? block->n_threads : 1, true, run->kernels, run->scratch);
  s.run = run;
  s.given = dy;
  s.wanted = dx;
  pack(run, &block->project, &s.into_ring.panels);
  widen_depthwise(&s);
  if (s.held && dx) pack(run, &block->expand, &s.from_held.panels);
  s.from_held.epilogue = &none;
  s.from_held.accumulate = accumulate;
  s.depthwise.accumulate = accumulate && !s.held;
  const bool sum_expand = s.held && block->expand.dbias;
  make_rows(&s, depthwise_grad_row, dx || sum_expand ? input_grad_row : NULL);
  add_sums(&s, &block->depthwise, s.source_h, s.source_sums);
  if (sum_expand) add_sums(&s, &block->expand, s.target_h, s.target_sums);
}
