/* Pointwise convolution, a product of matrices: y [pixels][out] = x [pixels][in] w^T. The gradient
 * of its input is the same product with the weights' sides swapped: dx = dy w. */
#include "ops/conv.h"
#include "ops/split.h"

/* A tile of source pixels stays in the first-level cache (24 of 32 KiB) while the panels pass. */
static int tile_pixels(int n_pixels, int source_c, int mr) {
  enum { CACHE_FLOATS = 24 * 1024 / 4, MAX_PIXELS = 128 };
  const int fitting = tinytl_min(CACHE_FLOATS / source_c, MAX_PIXELS);
  const int n_tiles = tinytl_ceil_div(n_pixels, fitting < mr ? mr : fitting);
  return (int)tinytl_round_up((size_t)tinytl_ceil_div(n_pixels, n_tiles), (size_t)mr);
}

/* By panels [first, end). */
static void multiply(const tinytl_pointwise *p, int first, int end, int pixel, int n,
                     const float *source, float *target) {
  const tinytl_conv_panels *panels = &p->panels;
  for (int index = first; index < end; index++) {
    const tinytl_conv_panel panel = tinytl_conv_panels_at(panels, index);
    tinytl_gemm_tile tile = {.m = n,
                             .n = panel.n,
                             .k = panels->steps,
                             .a = source,
                             .a_row = panels->steps,
                             .a_step = 1,
                             .b = panel.b,
                             .c = target + panel.column,
                             .c_row = panels->columns,
                             .accumulate = p->accumulate};
    tinytl_conv_tile_epilogue(&tile, p->epilogue, panels->columns, pixel, panel.column);
    panels->run->kernels->gemm(&tile);
  }
}

void tinytl_pointwise_pixels(const tinytl_pointwise *p, int pixel, int n, const float *source,
                             float *target) {
  const tinytl_conv_panels *panels = &p->panels;
  const int tile = tile_pixels(n, panels->steps, panels->run->kernels->mr);
  for (int i = 0; i < n; i += tile)
    multiply(p, panels->first, panels->first + panels->n, pixel + i, tinytl_min(tile, n - i),
             source + (ptrdiff_t)i * panels->steps, target + (ptrdiff_t)i * panels->columns);
}

/* ---- Whole maps ---------------------------------------------------------------------------- */

/* Large maps: the panels are packed first, and tasks own a tile of pixels of some of them.
 * Small maps, where packing counts: a task owns half of the pixels, or all, of some panels, and
 * packs those itself, by parts of their steps, each time to where the part before lay. */
typedef struct whole_map {
  tinytl_pointwise product;
  const float *source;
  float *target;
  int n_pixels;
  int part_steps;           /* 0: the map is large */
  int tile_pixels, n_tiles; /* of pixels */
  int n_groups;             /* of the panels packed now; small: of all */
} whole_map;

static whole_map whole_map_make(const tinytl_conv *conv, const tinytl_kernels *kernels,
                                bool transposed) {
  /* Tasks at most, each with a part of a panel in scratch. Where panels are few their steps are
   * many, and larger parts of them add to the target less often. */
  enum { SMALL = 256, MANY_PANELS = 8, MANY_TASKS = 8, FEW_TASKS = 4 };
  whole_map map = {.product.panels = tinytl_conv_panels_make(kernels, conv, transposed),
                   .n_pixels = conv->in_h * conv->in_w};
  tinytl_conv_panels *panels = &map.product.panels;
  if (map.n_pixels > SMALL) {
    map.tile_pixels = tile_pixels(map.n_pixels, panels->steps, kernels->mr);
    map.n_tiles = tinytl_ceil_div(map.n_pixels, map.tile_pixels);
    return map;
  }
  const bool many = panels->n_panels >= MANY_PANELS;
  const int n_tasks = many ? MANY_TASKS : FEW_TASKS;
  const int part_floats = TINYTL_CONV_PANELS_NBYTES / (int)sizeof(float) / n_tasks;
  const int n_parts = tinytl_ceil_div(panels->steps, part_floats / kernels->nr);
  map.part_steps = (int)tinytl_round_up((size_t)tinytl_ceil_div(panels->steps, n_parts), 64);
  map.part_steps = tinytl_min(map.part_steps, panels->steps);
  tinytl_conv_panels_stride(panels, (size_t)map.part_steps * kernels->nr);
  const bool halved = map.n_pixels > TINYTL_CONV_ROWS_ABOVE || !many;
  map.n_tiles = halved && map.n_pixels > 2 * kernels->mr ? 2 : 1;
  map.tile_pixels = tinytl_ceil_div(map.n_pixels, map.n_tiles);
  map.n_groups = tinytl_min(n_tasks / map.n_tiles, panels->n_panels);
  panels->capacity = map.n_tiles * map.n_groups; /* one for each task */
  panels->n = panels->n_panels;
  return map;
}

size_t tinytl_conv_pointwise_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels,
                                     bool transposed) {
  const whole_map map = whole_map_make(conv, kernels, transposed);
  return tinytl_conv_panels_nbytes(&map.product.panels);
}

/* First of the panels of a group. */
static int group_first(const whole_map *map, int group) {
  return group * map->product.panels.n / map->n_groups;
}

static void tile_task(void *context, int task) {
  const whole_map *map = context;
  const tinytl_conv_panels *panels = &map->product.panels;
  const int pixel = task / map->n_groups * map->tile_pixels, group = task % map->n_groups;
  multiply(&map->product, panels->first + group_first(map, group),
           panels->first + group_first(map, group + 1), pixel,
           tinytl_min(map->tile_pixels, map->n_pixels - pixel),
           map->source + (ptrdiff_t)pixel * panels->steps,
           map->target + (ptrdiff_t)pixel * panels->columns);
}

static void multiply_packing(const whole_map *map, tinytl_conv_panel panel, int pixel, int n) {
  const tinytl_pointwise *p = &map->product;
  const tinytl_conv_panels *panels = &p->panels;
  tinytl_gemm_tile tile = {.m = n,
                           .n = panel.n,
                           .a_row = panels->steps,
                           .a_step = 1,
                           .b = panel.b,
                           .c = map->target + (ptrdiff_t)pixel * panels->columns + panel.column,
                           .c_row = panels->columns};
  if (p->epilogue->bias) tile.bias = p->epilogue->bias + panel.column;
  for (int step = 0; step < panels->steps; step += map->part_steps) {
    tile.k = tinytl_min(map->part_steps, panels->steps - step);
    tile.a = map->source + (ptrdiff_t)pixel * panels->steps + step;
    tile.accumulate = p->accumulate || step > 0;
    if (step + tile.k == panels->steps)
      tinytl_conv_tile_end(&tile, p->epilogue, panels->columns, pixel, panel.column);
    tinytl_conv_panels_pack(panels, &panel, step, tile.k);
    panels->run->kernels->gemm(&tile);
    tile.bias = NULL; /* the next part adds to what this one left */
  }
}

static void panels_task(void *context, int task) {
  const whole_map *map = context;
  const tinytl_conv_panels *panels = &map->product.panels;
  const int pixel = task / map->n_groups * map->tile_pixels, group = task % map->n_groups;
  for (int index = group_first(map, group); index < group_first(map, group + 1); index++) {
    tinytl_conv_panel panel = tinytl_conv_panels_at(panels, index);
    panel.b = panels->packed + task * panels->panel_stride;
    multiply_packing(map, panel, pixel, tinytl_min(map->tile_pixels, map->n_pixels - pixel));
  }
}

void tinytl_conv_pointwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                           bool transposed, const tinytl_epilogue *epilogue, const float *source,
                           float *target, bool accumulate) {
  enum { MIN_TASKS = 16 }; /* enough for a few threads to share evenly */
  whole_map map = whole_map_make(conv, run->kernels, transposed);
  map.source = source;
  map.target = target;
  map.product.epilogue = epilogue;
  map.product.accumulate = accumulate;
  tinytl_conv_panels *panels = &map.product.panels;
  panels->run = run;
  panels->weight = w;
  panels->packed = run->scratch;
  tinytl_pool *pool = tinytl_split_pool(run, tinytl_conv_macs(conv));
  if (map.part_steps > 0) {
    if (!pool) {
      map.n_tiles = map.n_groups = 1;
      map.tile_pixels = map.n_pixels;
    }
    tinytl_parallel_for(pool, map.n_tiles * map.n_groups, panels_task, &map);
    return;
  }
  while (tinytl_conv_panels_next(panels)) {
    map.n_groups = tinytl_min(tinytl_ceil_div(MIN_TASKS, map.n_tiles), panels->n);
    tinytl_parallel_for(pool, map.n_tiles * map.n_groups, tile_task, &map);
  }
}
