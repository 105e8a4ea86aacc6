/* An inverted residual, expand -> depthwise -> project (Sandler et al., 2018), in strips of rows:
 * the maps between the three, often six times wider than the block's input, never exist whole.
 *
 * Forward; kernel 3, stride 1, the strip of output rows 4 to 7, which reads expanded rows 3 to 8:
 *
 *    x                    ring of 6 rows             strip of 4 rows           y
 *                         slot 3: row 3, kept
 *                         slot 4: row 4, kept  \
 *    row 5  --expand-->   slot 5: row 5         |    row 4   --project-->   row 4
 *    row 6  --expand-->   slot 0: row 6         | -> row 5   --project-->   row 5
 *    row 7  --expand-->   slot 1: row 7         |    row 6   --project-->   row 6
 *    row 8  --expand-->   slot 2: row 8        /     row 7   --project-->   row 7
 *                                          depthwise
 *
 * Row r lies in slot r % 6, so that what the next strip reads again stays where it is, and each row
 * is expanded once. Backward is the same with every step transposed:
 *
 *    dy --project^T--> ring --depthwise^T--> strip --expand^T--> dx
 *
 * whose ring holds the gradient of depthwise's output and whose strip that of expand's, both
 * masked, and summed for the gradients of the biases, as their rows are made. Without expand,
 * depthwise reads x and its transpose writes dx. The threads share the rows of each step; a task
 * writes a row. */
#include "ops/conv.h"

typedef struct strips {
  const tinytl_run *run;
  const tinytl_fused_block *block;
  const tinytl_conv *conv;                    /* depthwise */
  bool transposed;                            /* backward */
  const tinytl_block_layer *before, *after;   /* depthwise, in this direction; conv NULL: none */
  int source_h, source_w, target_h, target_w; /* of depthwise, in this direction */
  int ring_rows, strip_rows;
  float *ring;    /* [ring_rows][source_w][channels]; NULL: depthwise reads `given` */
  float *strip;   /* [N_TASKS][target_w][channels]; NULL: depthwise writes `wanted` */
  float *partial; /* backward: [row of a step][channels], sums for the gradient of a bias */
  float *taps;
  tinytl_pointwise into_ring, from_strip;
  tinytl_conv_rgb rgb; /* instead of into_ring, where the block has rgb */
  tinytl_depthwise_rows depthwise;
  const float *given; /* x or dy */
  float *wanted;      /* y or dx; NULL: only biases are asked for */
  int n_filled;       /* source rows that were made */
  /* The step that runs now: rows [first, end), task_rows to a task. */
  int first, end, task_rows;
  void (*make_row)(const struct strips *s, int row);
} strips;

enum { N_TASKS = 4 }; /* of a strip's step behind the ring: each holds a row */

/* ---- Memory -------------------------------------------------------------------------------- */

/* Source rows that n neighbouring target rows read, at most. */
static int rows_read(const strips *s, int n) {
  const int reach = s->transposed ? (n + s->conv->kernel - 2) / s->conv->stride + 1
                                  : (n - 1) * s->conv->stride + s->conv->kernel;
  return tinytl_min(reach, s->source_h);
}

static size_t row_floats(const strips *s, int width) {
  return (size_t)width * s->conv->in_c;
}

static size_t rows_nbytes(const strips *s, int n) {
  const size_t ring = s->before->conv ? rows_read(s, n) * row_floats(s, s->source_w) : 0;
  const size_t strip = s->after->conv ? N_TASKS * row_floats(s, s->target_w) : 0;
  return (ring + strip) * sizeof(float);
}

/* As many rows as stay in a common second-level cache, and as many to each task. */
static void choose_rows(strips *s) {
  enum { CACHE_NBYTES = 512 * 1024 };
  int n = N_TASKS;
  while (n < s->target_h && rows_nbytes(s, n + N_TASKS) <= CACHE_NBYTES) n += N_TASKS;
  s->strip_rows = tinytl_min(n, s->target_h);
  s->ring_rows = rows_read(s, s->strip_rows);
}

/* Takes n floats of scratch; where that is NULL, only counts them. */
static float *take(float *scratch, size_t *n_taken, size_t n) {
  float *at = scratch ? scratch + *n_taken : NULL;
  *n_taken += tinytl_round_up(n, 64 / sizeof(float));
  return at;
}

static tinytl_conv_panels take_panels(const strips *s, const tinytl_kernels *kernels,
                                      const tinytl_conv *conv, float *scratch, size_t *n_taken) {
  tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, s->transposed);
  panels.capacity = panels.n_panels;
  panels.packed = take(scratch, n_taken, tinytl_conv_panels_nbytes(&panels) / sizeof(float));
  return panels;
}

/* Sizes, and where everything lies in scratch; returns the number of bytes. */
static size_t lay_out(strips *s, const tinytl_fused_block *block, bool backward,
                      const tinytl_kernels *kernels, float *scratch) {
  const tinytl_conv *conv = block->depthwise.conv;
  size_t n = 0;
  *s = (strips){.block = block,
                .conv = conv,
                .transposed = backward,
                .before = backward ? &block->project : &block->expand,
                .after = backward ? &block->expand : &block->project,
                .source_h = backward ? conv->out_h : conv->in_h,
                .source_w = backward ? conv->out_w : conv->in_w,
                .target_h = backward ? conv->in_h : conv->out_h,
                .target_w = backward ? conv->in_w : conv->out_w};
  choose_rows(s);
  s->taps = take(scratch, &n, tinytl_depthwise_scratch(conv) / sizeof(float));
  if (s->before->conv) {
    s->ring = take(scratch, &n, s->ring_rows * row_floats(s, s->source_w));
    s->into_ring.panels = take_panels(s, kernels, s->before->conv, scratch, &n);
  }
  if (s->after->conv) {
    s->strip = take(scratch, &n, N_TASKS * row_floats(s, s->target_w));
    if (tinytl_conv_is_pointwise(s->after->conv)) /* else the input is a picture: no gradient */
      s->from_strip.panels = take_panels(s, kernels, s->after->conv, scratch, &n);
  }
  if (backward) {
    const int rows = s->ring_rows > s->strip_rows ? s->ring_rows : s->strip_rows;
    s->partial = take(scratch, &n, (size_t)rows * conv->in_c);
  }
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

static void widen_depthwise(strips *s) {
  tinytl_depthwise_widen(s->run, s->conv, s->block->depthwise.weight, s->taps);
  s->depthwise = (tinytl_depthwise_rows){.kernels = s->run->kernels,
                                         .conv = s->conv,
                                         .transposed = s->transposed,
                                         .taps = s->taps,
                                         .source = s->ring ? s->ring : s->given,
                                         .n_slots = s->ring ? s->ring_rows : s->source_h};
}

static float *ring_row(const strips *s, int row) {
  return s->ring + (row % s->ring_rows) * row_floats(s, s->source_w);
}

static float *strip_row(const strips *s, int row) {
  return s->strip + (row - s->first) / s->task_rows * row_floats(s, s->target_w);
}

static void multiply_into_ring(const strips *s, int row) {
  const int pixel = row * s->source_w;
  tinytl_pointwise_pixels(&s->into_ring, pixel, s->source_w,
                          s->given + (ptrdiff_t)pixel * s->into_ring.panels.steps,
                          ring_row(s, row));
}

static void multiply_from_strip(const strips *s, int row) {
  const int pixel = row * s->target_w;
  tinytl_pointwise_pixels(&s->from_strip, pixel, s->target_w, strip_row(s, row),
                          s->wanted + (ptrdiff_t)pixel * s->from_strip.panels.columns);
}

static void rows_task(void *context, int task) {
  const strips *s = context;
  const int first = s->first + task * s->task_rows;
  const int end = tinytl_min(first + s->task_rows, s->end);
  for (int row = first; row < end; row++) s->make_row(s, row);
}

/* Makes n rows from `first`. Backward, each leaves a partial sum for the bias of `layer`. */
static void step(strips *s, int first, int n, int task_rows, void (*make_row)(const strips *, int),
                 const tinytl_block_layer *layer) {
  s->first = first;
  s->end = first + n;
  s->task_rows = task_rows;
  s->make_row = make_row;
  tinytl_parallel_for(s->run->pool, tinytl_ceil_div(n, task_rows), rows_task, s);
  for (int i = 0; s->partial && layer->conv && layer->dbias && i < n; i++)
    s->run->kernels->add(layer->dbias, s->partial + (ptrdiff_t)i * s->conv->in_c,
                         (size_t)s->conv->in_c);
}

/* Makes the source rows before `end` that are not made yet. */
static void fill_ring(strips *s, int end, void (*make_row)(const strips *, int)) {
  while (s->ring && s->n_filled < end) {
    const int n = tinytl_min(end - s->n_filled, s->ring_rows);
    step(s, s->n_filled, n, 1, make_row, &s->block->depthwise);
    s->n_filled += n;
  }
}

static void run_strips(strips *s, void (*make_source)(const strips *, int),
                       void (*make_target)(const strips *, int)) {
  const tinytl_conv *conv = s->conv;
  for (int first = 0; first < s->target_h; first += s->strip_rows) {
    const int n = tinytl_min(s->strip_rows, s->target_h - first), last = first + n - 1;
    const int end = s->transposed ? (last + conv->pad_top) / conv->stride + 1
                                  : last * conv->stride - conv->pad_top + conv->kernel;
    fill_ring(s, tinytl_min(end, s->source_h), make_source);
    step(s, first, n, tinytl_ceil_div(n, N_TASKS), make_target, &s->block->expand);
  }
  fill_ring(s, s->source_h, make_source); /* rows that no target row reads: masks, biases */
}

/* ---- Forward ------------------------------------------------------------------------------- */

static tinytl_epilogue epilogue_of(const tinytl_block_layer *layer, const float *residual) {
  return (tinytl_epilogue){layer->bias, layer->act, residual, layer->mask};
}

static void expand_row(const strips *s, int row) {
  if (s->block->rgb)
    tinytl_conv_rgb_row(&s->rgb, row, ring_row(s, row));
  else
    multiply_into_ring(s, row);
}

static void output_row(const strips *s, int row) {
  const tinytl_epilogue epilogue = epilogue_of(&s->block->depthwise, NULL);
  tinytl_depthwise_row_part(&s->depthwise, row, 0, s->conv->in_c, strip_row(s, row));
  tinytl_conv_epilogue(s->run->kernels, &epilogue, s->conv->in_c, row * s->target_w, s->target_w, 0,
                       s->conv->in_c, strip_row(s, row));
  multiply_from_strip(s, row);
}

size_t tinytl_fused_block_forward_scratch(const tinytl_fused_block *block,
                                          const tinytl_kernels *kernels) {
  strips s;
  return lay_out(&s, block, false, kernels, NULL);
}

void tinytl_fused_block_forward(const tinytl_run *run, const tinytl_fused_block *block,
                                const float *x, const float *residual, float *y) {
  const tinytl_epilogue expand = epilogue_of(&block->expand, NULL);
  const tinytl_epilogue project = epilogue_of(&block->project, residual);
  strips s;
  lay_out(&s, block, false, run->kernels, run->scratch);
  s.run = run;
  s.given = x;
  s.wanted = y;
  widen_depthwise(&s);
  if (s.ring) pack(run, &block->expand, &expand, &s.into_ring);
  pack(run, &block->project, &project, &s.from_strip);
  if (block->rgb) {
    s.rgb.panels = s.into_ring.panels;
    s.rgb.epilogue = &expand;
    tinytl_conv_rgb_input(&s.rgb, block->rgb, block->input_scale, block->input_shift);
  }
  run_strips(&s, expand_row, output_row);
}

/* ---- Backward ------------------------------------------------------------------------------ */

/* Through the epilogue of `layer`, whose row of the given width dy is. */
static void mask_row(const strips *s, const tinytl_block_layer *layer, int row, int width,
                     float *dy) {
  const int channels = s->conv->in_c;
  const ptrdiff_t mask_row = (ptrdiff_t)width * ((channels + 7) / 8);
  float *partial = layer->dbias ? s->partial + (ptrdiff_t)(row - s->first) * channels : NULL;
  if (!layer->mask && !partial) return;
  if (partial) memset(partial, 0, (size_t)channels * sizeof *partial);
  s->run->kernels->mask_grad(dy, width, channels, layer->mask ? layer->mask + row * mask_row : NULL,
                             partial);
}

static void depthwise_grad_row(const strips *s, int row) {
  multiply_into_ring(s, row);
  mask_row(s, &s->block->depthwise, row, s->source_w, ring_row(s, row));
}

static void input_grad_row(const strips *s, int row) {
  float *target = s->strip ? strip_row(s, row) : s->wanted + row * row_floats(s, s->target_w);
  tinytl_depthwise_row_part(&s->depthwise, row, 0, s->conv->in_c, target);
  if (!s->strip) return;
  mask_row(s, &s->block->expand, row, s->target_w, target);
  if (s->wanted) multiply_from_strip(s, row);
}

size_t tinytl_fused_block_backward_scratch(const tinytl_fused_block *block,
                                           const tinytl_kernels *kernels) {
  strips s;
  return lay_out(&s, block, true, kernels, NULL);
}

void tinytl_fused_block_backward(const tinytl_run *run, const tinytl_fused_block *block,
                                 const float *dy, float *dx, bool accumulate) {
  const tinytl_epilogue none = {0};
  strips s;
  lay_out(&s, block, true, run->kernels, run->scratch);
  s.run = run;
  s.given = dy;
  s.wanted = dx;
  pack(run, &block->project, &none, &s.into_ring);
  if (!dx && !(s.strip && block->expand.dbias)) {
    fill_ring(&s, s.source_h, depthwise_grad_row);
    return;
  }
  widen_depthwise(&s);
  if (s.strip && dx) pack(run, &block->expand, &none, &s.from_strip);
  s.from_strip.accumulate = accumulate;
  s.depthwise.accumulate = accumulate && !s.strip;
  run_strips(&s, depthwise_grad_row, input_grad_row);
}
