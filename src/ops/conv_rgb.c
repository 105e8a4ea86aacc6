/* The network's first convolution, from 8-bit RGB: a strip of input pixels is widened into a small
 * buffer, zeros where it leaves the map, and multiplied from there. */
#include "ops/conv.h"

enum {
  BUFFER_FLOATS = 4096, /* 16 KiB of stack; one patch takes at most 3 * 11 * 11 */
  PERIOD = 16           /* pixels whose 48 scales line up with vectors */
};

typedef struct rgb_conv {
  tinytl_conv_panels panels;
  const tinytl_epilogue *epilogue;
  const uint8_t *rgb;
  float scale[3 * PERIOD], shift[3 * PERIOD];
  float *y;
  int strip_outputs; /* pixels of a strip */
} rgb_conv;

/* n pixels of input row y from x on, either of which may lie outside. */
static void widen(const rgb_conv *r, int y, int x, int n, float *out) {
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

static void rgb_strip(const rgb_conv *r, int oy, int ox, int n) {
  const tinytl_conv *conv = r->panels.conv;
  const int kernel = conv->kernel, width = (n - 1) * conv->stride + kernel;
  float strip[BUFFER_FLOATS];
  for (int ky = 0; ky < kernel; ky++)
    widen(r, oy * conv->stride - conv->pad_top + ky, ox * conv->stride - conv->pad_left, width,
          strip + (ptrdiff_t)ky * width * 3);

  const tinytl_kernels *kernels = r->panels.run->kernels;
  const int pixel = oy * conv->out_w + ox;
  for (int index = r->panels.first; index < r->panels.first + r->panels.n; index++) {
    const tinytl_conv_panel panel = tinytl_conv_panels_at(&r->panels, index);
    tinytl_conv_gemm_rows(
        kernels,
        (tinytl_gemm_tile){.n = panel.n,
                           .k = 3 * kernel,
                           .a = strip,
                           .a_row = 3 * conv->stride,
                           .a_step = 1,
                           .b = panel.b,
                           .c = r->y + (ptrdiff_t)pixel * conv->out_c + panel.column,
                           .c_row = conv->out_c,
                           .n_runs = kernel,
                           .a_run = 3 * width,
                           .b_run = (ptrdiff_t)3 * kernel * kernels->nr,
                           .bias = r->epilogue->bias ? r->epilogue->bias + panel.column : NULL,
                           .act = r->epilogue->act},
        n);
    tinytl_conv_after_bias(kernels, r->epilogue, conv->out_c, pixel, n, panel.column, panel.n,
                           r->y);
  }
}

static void rgb_task(void *context, int oy) {
  const rgb_conv *r = context;
  const int out_w = r->panels.conv->out_w;
  for (int ox = 0; ox < out_w; ox += r->strip_outputs)
    rgb_strip(r, oy, ox, tinytl_min(r->strip_outputs, out_w - ox));
}

void tinytl_conv_forward_rgb(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                             const tinytl_epilogue *epilogue, const uint8_t *rgb,
                             const float input_scale[3], const float input_shift[3], float *y) {
  rgb_conv r = {.panels = tinytl_conv_panels_make(run->kernels, conv, false),
                .epilogue = epilogue,
                .rgb = rgb,
                .y = y};
  r.panels.run = run;
  r.panels.weight = w;
  for (int i = 0; i < 3 * PERIOD; i++) {
    r.scale[i] = input_scale[i % 3];
    r.shift[i] = input_shift[i % 3];
  }
  const int width = BUFFER_FLOATS / (3 * conv->kernel); /* input pixels of a strip */
  const int fitting = (width - conv->kernel) / conv->stride + 1;
  const int n_strips = tinytl_ceil_div(conv->out_w, fitting);
  r.strip_outputs = tinytl_ceil_div(conv->out_w, n_strips);
  while (tinytl_conv_panels_next(&r.panels))
    tinytl_parallel_for(run->pool, conv->out_h, rgb_task, &r);
}
