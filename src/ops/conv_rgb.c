/* The network's first convolution, from 8-bit RGB: a strip of input pixels is widened into a small
 * buffer, zeros where it leaves the map, and multiplied from there. */
#include "ops/conv.h"

enum {
  BUFFER_FLOATS = 4096, /* 16 KiB of stack; one patch takes at most 3 * 11 * 11 */
  PERIOD = TINYTL_RGB_PERIOD
};

void tinytl_conv_rgb_widen(const tinytl_conv_rgb *r, int y, int x, int n, float *out) {
  const tinytl_conv *conv = r->panels.conv;
  if (y < 0 || y >= conv->in_h) {
    memset(out, 0, (size_t)n * 3 * sizeof *out);
    return;
  }
  for (; n > 0 && x < 0; n--, x++, out += 3) out[0] = out[1] = out[2] = 0;
  const int inside = x < conv->in_w ? tinytl_min(n, conv->in_w - x) : 0;
  const uint8_t *pixel = r->rgb + ((ptrdiff_t)y * conv->in_w + x) * 3;
  int i = 0;
  for (; i + PERIOD <= inside; i += PERIOD)
    for (int c = 0; c < 3 * PERIOD; c++)
      out[3 * i + c] = pixel[3 * i + c] * r->scale[c] + r->shift[c];
  for (int c = 0; c < 3 * (inside - i); c++)
    out[3 * i + c] = pixel[3 * i + c] * r->scale[c] + r->shift[c];
  memset(out + (ptrdiff_t)3 * inside, 0, (size_t)(n - inside) * 3 * sizeof *out);
}

/* n outputs of row oy from ox on; y is the first. */
static void rgb_strip(const tinytl_conv_rgb *r, int oy, int ox, int n, float *y) {
  const tinytl_conv *conv = r->panels.conv;
  const int kernel = conv->kernel, width = (n - 1) * conv->stride + kernel;
  float strip[BUFFER_FLOATS];
  for (int ky = 0; ky < kernel; ky++)
    tinytl_conv_rgb_widen(r, oy * conv->stride - conv->pad_top + ky,
                          ox * conv->stride - conv->pad_left, width,
                          strip + (ptrdiff_t)ky * width * 3);

  const tinytl_kernels *kernels = r->panels.run->kernels;
  const int pixel = oy * conv->out_w + ox;
  for (int index = r->panels.first; index < r->panels.first + r->panels.n; index++) {
    const tinytl_conv_panel panel = tinytl_conv_panels_at(&r->panels, index);
    tinytl_gemm_tile tile = {.m = n,
                             .n = panel.n,
                             .k = 3 * kernel,
                             .a = strip,
                             .a_row = 3 * conv->stride,
                             .a_step = 1,
                             .b = panel.b,
                             .c = y + panel.column,
                             .c_row = conv->out_c,
                             .n_runs = kernel,
                             .a_run = 3 * width,
                             .b_run = (ptrdiff_t)3 * kernel * kernels->nr};
    tinytl_conv_tile_epilogue(&tile, r->epilogue, conv->out_c, pixel, panel.column);
    kernels->gemm(&tile);
  }
}

void tinytl_conv_rgb_row(const tinytl_conv_rgb *r, int oy, float *y) {
  const tinytl_conv *conv = r->panels.conv;
  const int width = BUFFER_FLOATS / (3 * conv->kernel); /* input pixels of a strip */
  const int fitting = (width - conv->kernel) / conv->stride + 1;
  const int n = tinytl_ceil_div(conv->out_w, tinytl_ceil_div(conv->out_w, fitting));
  for (int ox = 0; ox < conv->out_w; ox += n)
    rgb_strip(r, oy, ox, tinytl_min(n, conv->out_w - ox), y + (ptrdiff_t)ox * conv->out_c);
}

void tinytl_conv_rgb_input(tinytl_conv_rgb *r, const uint8_t *rgb, const float input_scale[3],
                           const float input_shift[3]) {
  r->rgb = rgb;
  for (int i = 0; i < 3 * PERIOD; i++) {
    r->scale[i] = input_scale[i % 3];
    r->shift[i] = input_shift[i % 3];
  }
}

typedef struct whole_map {
  tinytl_conv_rgb rgb;
  float *y;
} whole_map;

static void row_task(void *context, int oy) {
  const whole_map *map = context;
  const tinytl_conv *conv = map->rgb.panels.conv;
  tinytl_conv_rgb_row(&map->rgb, oy, map->y + (ptrdiff_t)oy * conv->out_w * conv->out_c);
}

void tinytl_conv_forward_rgb(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                             const tinytl_epilogue *epilogue, const uint8_t *rgb,
                             const float input_scale[3], const float input_shift[3], float *y) {
  whole_map map = {
      .rgb = {.panels = tinytl_conv_panels_make(run->kernels, conv, false), .epilogue = epilogue},
      .y = y};
  tinytl_conv_panels *panels = &map.rgb.panels;
  panels->run = run;
  panels->weight = w;
  panels->packed = run->scratch;
  tinytl_conv_rgb_input(&map.rgb, rgb, input_scale, input_shift);
  while (tinytl_conv_panels_next(panels))
    tinytl_parallel_for(run->pool, conv->out_h, row_task, &map);
}
