/* Average pooling: 2 x 2 at the door of a lite residual module, global before the classifier. */
#include "ops/split.h"

int tinytl_avg_pool2_out(int in) {
  return in == 1 ? 1 : in / 2;
}

/* The window is 2 x 2, but 1 along a side of 1: y = mean of the window; dx += dy / cells. */
typedef struct avg_pool {
  const tinytl_kernels *kernels;
  int channels, in_w, out_w, window_h, window_w;
  tinytl_split split; /* rows: output rows */
  const float *src;
  float *dst;
} avg_pool;

static avg_pool avg_pool_make(const tinytl_run *run, int h, int w, int channels, const float *src,
                              float *dst) {
  int out_w = tinytl_avg_pool2_out(w);
  return (avg_pool){
      .kernels = run->kernels,
      .channels = channels,
      .in_w = w,
      .out_w = out_w,
      .window_h = h == 1 ? 1 : 2,
      .window_w = w == 1 ? 1 : 2,
      .split = tinytl_split_rows(tinytl_avg_pool2_out(h), (size_t)out_w * channels),
      .src = src,
      .dst = dst,
  };
}

/* Offset of cell (wy, wx) of the window of output pixel (oy, ox) in the input. */
static size_t avg_pool_cell(const avg_pool *p, int oy, int ox, int wy, int wx) {
  return ((size_t)(2 * oy + wy) * p->in_w + 2 * ox + wx) * p->channels;
}

static void avg_pool_forward_task(void *context, int task) {
  const avg_pool *p = context;
  float share = 1.0f / (float)(p->window_h * p->window_w);
  for (int oy = tinytl_split_first(&p->split, task); oy < tinytl_split_end(&p->split, task); oy++) {
    for (int ox = 0; ox < p->out_w; ox++) {
      const float *x00 = p->src + avg_pool_cell(p, oy, ox, 0, 0);
      float *y = p->dst + ((size_t)oy * p->out_w + ox) * p->channels;
      if (p->window_h == 2 && p->window_w == 2) {
        const float *x10 = x00 + (size_t)p->in_w * p->channels;
        const float *x01 = x00 + p->channels, *x11 = x10 + p->channels;
        for (int c = 0; c < p->channels; c++) {
          y[c] = share * ((x00[c] + x01[c]) + (x10[c] + x11[c]));
        }
      } else { /* one or two cells, one of which is the last of the window */
        const float *last = p->src + avg_pool_cell(p, oy, ox, p->window_h - 1, p->window_w - 1);
        for (int c = 0; c < p->channels; c++) y[c] = 0.5f * (x00[c] + last[c]);
      }
    }
  }
}

void tinytl_avg_pool2_forward(const tinytl_run *run, int h, int w, int channels, const float *x,
                              float *y) {
  avg_pool p = avg_pool_make(run, h, w, channels, x, y);
  tinytl_split_run(run, &p.split, avg_pool_forward_task, &p);
}

static void avg_pool_backward_task(void *context, int task) {
  const avg_pool *p = context;
  float share = 1.0f / (float)(p->window_h * p->window_w);
  for (int oy = tinytl_split_first(&p->split, task); oy < tinytl_split_end(&p->split, task); oy++) {
    for (int ox = 0; ox < p->out_w; ox++) {
      const float *dy = p->src + ((size_t)oy * p->out_w + ox) * p->channels;
      for (int wy = 0; wy < p->window_h; wy++) {
        for (int wx = 0; wx < p->window_w; wx++) {
          p->kernels->axpy(p->dst + avg_pool_cell(p, oy, ox, wy, wx), share, dy, p->channels);
        }
      }
    }
  }
}

void tinytl_avg_pool2_backward(const tinytl_run *run, int h, int w, int channels, const float *dy,
                               float *dx) {
  avg_pool p = avg_pool_make(run, h, w, channels, dy, dx);
  tinytl_split_run(run, &p.split, avg_pool_backward_task, &p);
}

/* ---- Global: y = mean over pixels; dx = dy / n_pixels -------------------------------------- */

enum { STRIP = 64 }; /* channels summed together */

typedef struct global_pool {
  int n_pixels, channels;
  tinytl_split split; /* rows: strips of channels forward, pixels backward */
  const float *src;
  float *dst;
} global_pool;

static void global_pool_forward_task(void *context, int task) {
  const global_pool *p = context;
  for (int s = tinytl_split_first(&p->split, task); s < tinytl_split_end(&p->split, task); s++) {
    int first = s * STRIP, n = tinytl_min(p->channels - first, STRIP);
    double sums[STRIP] = {0};
    for (int i = 0; i < p->n_pixels; i++) {
      const float *x = p->src + (size_t)i * p->channels + first;
      for (int c = 0; c < n; c++) sums[c] += x[c];
    }
    for (int c = 0; c < n; c++) p->dst[first + c] = (float)(sums[c] / p->n_pixels);
  }
}

void tinytl_global_pool_forward(const tinytl_run *run, int n_pixels, int channels, const float *x,
                                float *y) {
  int n_strips = tinytl_ceil_div(channels, STRIP);
  global_pool p = {n_pixels, channels, tinytl_split_rows(n_strips, (size_t)n_pixels * STRIP), x, y};
  tinytl_split_run(run, &p.split, global_pool_forward_task, &p);
}

static void global_pool_backward_task(void *context, int task) {
  const global_pool *p = context;
  float share = 1.0f / (float)p->n_pixels;
  for (int i = tinytl_split_first(&p->split, task); i < tinytl_split_end(&p->split, task); i++) {
    float *dx = p->dst + (size_t)i * p->channels;
    for (int c = 0; c < p->channels; c++) dx[c] = p->src[c] * share;
  }
}

void tinytl_global_pool_backward(const tinytl_run *run, int n_pixels, int channels, const float *dy,
                                 float *dx) {
  global_pool p = {n_pixels, channels, tinytl_split_rows(n_pixels, channels), dy, dx};
  tinytl_split_run(run, &p.split, global_pool_backward_task, &p);
}
