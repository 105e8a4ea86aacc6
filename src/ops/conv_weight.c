/* Gradient of a dense convolution's weights: for every tap, dw [out][in] += dy^T [out][pixels] *
 * x [pixels][in], with x moved by the tap.
 *
 * x is packed once for all taps, zeros around it:
 *   panel (nr input channels of a group)
 *     input row
 *       phase: columns X with X % stride = phase, X = x + pad_left
 *         column X / stride: nr floats
 * so that a tap's pixels of an output row follow each other. Maps whose panel does not fit into
 * scratch are done by blocks of output rows, in order. */
#include "ops/conv.h"
#include "ops/split.h"

enum {
  PACKED_NBYTES = 512 * 1024, /* of x at a time: scratch, which every lane has its own of */
  MIN_TASKS = 16              /* for a few threads to share evenly */
};

typedef struct weight_grad {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const float *x, *dy;
  float *dw;
  int in, out, per_group, n_panels; /* channels of a group, panels of a group and of all */
  int phases, columns;              /* of a packed row */
  size_t row_floats;
  int panel_capacity, row_capacity; /* panels and output rows that scratch holds */
  int out_tile, n_out_tiles;        /* output channels of a task */
  int panel, n_held, row, n_rows;   /* held now: panels, output rows */
} weight_grad;

static int input_rows(const tinytl_conv *conv, int output_rows) {
  return (output_rows - 1) * conv->stride + conv->kernel;
}

static weight_grad make(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  weight_grad g = {
      .conv = conv, .in = conv->in_c / conv->groups, .out = conv->out_c / conv->groups};
  g.per_group = tinytl_ceil_div(g.in, kernels->nr);
  g.n_panels = g.per_group * conv->groups;
  g.phases = tinytl_min(conv->stride, conv->kernel);
  g.columns = conv->out_w + (conv->kernel - 1) / conv->stride;
  g.row_floats = tinytl_round_up((size_t)g.phases * g.columns * kernels->nr, 64 / sizeof(float));
  g.panel_capacity = 1;
  g.row_capacity = conv->out_h;
  const size_t fitting = PACKED_NBYTES / (g.row_floats * sizeof(float)); /* rows */
  const size_t panel_rows = (size_t)input_rows(conv, conv->out_h);
  if (fitting >= panel_rows)
    g.panel_capacity = tinytl_min((int)(fitting / panel_rows), g.n_panels);
  else
    g.row_capacity =
        fitting <= (size_t)conv->kernel ? 1 : ((int)fitting - conv->kernel) / conv->stride + 1;
  const int n_tasks = g.panel_capacity * conv->kernel; /* of all output channels */
  g.n_out_tiles =
      tinytl_min(tinytl_ceil_div(MIN_TASKS, n_tasks), tinytl_ceil_div(g.out, kernels->mr));
  g.out_tile = tinytl_ceil_div(g.out, g.n_out_tiles);
  g.n_out_tiles = tinytl_ceil_div(g.out, g.out_tile); /* none of them is empty */
  return g;
}

size_t tinytl_conv_backward_weight_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_weight_scratch(conv);
  if (tinytl_conv_is_narrow(conv, kernels)) return tinytl_conv_narrow_weight_scratch(conv);
  const weight_grad g = make(conv, kernels);
  return g.panel_capacity * (size_t)input_rows(conv, g.row_capacity) * g.row_floats * sizeof(float);
}

static float *packed_row(const weight_grad *g, int held, int input_row) {
  float *scratch = g->run->scratch;
  return scratch +
         ((size_t)held * input_rows(g->conv, g->row_capacity) + input_row) * g->row_floats;
}

/* One input row of one panel. */
static void pack_task(void *context, int task) {
  const weight_grad *g = context;
  const tinytl_conv *conv = g->conv;
  const tinytl_kernels *kernels = g->run->kernels;
  const int n_input_rows = input_rows(conv, g->n_rows);
  const int held = task / n_input_rows, row = task % n_input_rows, panel = g->panel + held;
  const int y = g->row * conv->stride - conv->pad_top + row;
  const int column = panel % g->per_group * kernels->nr;
  const int channel = panel / g->per_group * g->in + column;
  float *out = packed_row(g, held, row);
  memset(out, 0, g->row_floats * sizeof *out);
  if (y < 0 || y >= conv->in_h) return;
  for (int phase = 0; phase < g->phases; phase++) {
    const tinytl_conv_tap span =
        tinytl_conv_tap_span(conv->in_w, g->columns, conv->stride, conv->pad_left, phase);
    if (span.n > 0)
      kernels->pack_f32(out + ((size_t)phase * g->columns + span.first) * kernels->nr,
                        g->x + ((ptrdiff_t)y * conv->in_w + span.input) * conv->in_c + channel,
                        span.n, tinytl_min(kernels->nr, g->in - column),
                        (ptrdiff_t)conv->stride * conv->in_c, 1);
  }
}

/* One row of taps of a tile of output channels and a panel of input channels. */
static void product_task(void *context, int task) {
  const weight_grad *g = context;
  const tinytl_conv *conv = g->conv;
  const tinytl_kernels *kernels = g->run->kernels;
  const int ky = task % conv->kernel, tile = task / conv->kernel % g->n_out_tiles;
  const int held = task / conv->kernel / g->n_out_tiles, panel = g->panel + held;
  const int column = panel % g->per_group * kernels->nr;
  const int first_out = panel / g->per_group * g->out + tile * g->out_tile;
  const int n_out = tinytl_min(g->out_tile, g->out - tile * g->out_tile);
  const int taps = conv->kernel * conv->kernel;
  for (int kx = 0; kx < conv->kernel; kx++) {
    const int phase = kx % conv->stride, ahead = kx / conv->stride;
    float *dw = g->dw + ((ptrdiff_t)first_out * taps + ky * conv->kernel + kx) * g->in + column;
    kernels->gemm(&(tinytl_gemm_tile){
        .m = n_out,
        .n = tinytl_min(kernels->nr, g->in - column),
        .k = conv->out_w,
        .a = g->dy + (ptrdiff_t)g->row * conv->out_w * conv->out_c + first_out,
        .a_row = 1,
        .a_step = conv->out_c,
        .b = packed_row(g, held, ky) + ((size_t)phase * g->columns + ahead) * kernels->nr,
        .c = dw,
        .c_row = (ptrdiff_t)taps * g->in,
        .accumulate = true,
        .n_runs = g->n_rows,
        .a_run = (ptrdiff_t)conv->out_w * conv->out_c,
        .b_run = (ptrdiff_t)conv->stride * (ptrdiff_t)g->row_floats});
  }
}

void tinytl_conv_backward_weight(const tinytl_run *run, const tinytl_conv *conv, const float *x,
                                 const float *dy, float *dw) {
  tinytl_await_turn(run);
  if (tinytl_conv_is_depthwise(conv)) {
    tinytl_depthwise_backward_weight(run, conv, x, dy, dw);
    return;
  }
  if (tinytl_conv_is_narrow(conv, run->kernels)) {
    tinytl_conv_narrow_backward_weight(run, conv, x, dy, dw);
    return;
  }
  weight_grad g = make(conv, run->kernels);
  g.run = run;
  g.x = x;
  g.dy = dy;
  g.dw = dw;
  tinytl_pool *pool = tinytl_split_pool(run, tinytl_conv_macs(conv));
  for (g.panel = 0; g.panel < g.n_panels; g.panel += g.panel_capacity) {
    g.n_held = tinytl_min(g.panel_capacity, g.n_panels - g.panel);
    for (g.row = 0; g.row < conv->out_h; g.row += g.row_capacity) {
      g.n_rows = tinytl_min(g.row_capacity, conv->out_h - g.row);
      const int n_packed = g.n_held * input_rows(conv, g.n_rows);
      const bool alone = n_packed * g.row_floats < TINYTL_SPLIT_ALONE;
      tinytl_parallel_for(alone ? NULL : run->pool, n_packed, pack_task, &g);
      tinytl_parallel_for(pool, g.n_held * g.n_out_tiles * conv->kernel, product_task, &g);
    }
  }
}
