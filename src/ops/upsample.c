/* Bilinear upsampling, align_corners false: output pixel i of a side lies at
 *   s = max(0, (i + 1/2) * in / out - 1/2)
 * of the input, between pixels floor(s) and floor(s) + 1 (the last one stands in past the edge). */
#include <string.h>

#include "ops/split.h"

typedef struct upsample {
  const tinytl_kernels *kernels;
  int in_h, in_w, out_h, out_w, channels;
  tinytl_split split; /* rows: of what is written */
  const float *src;
  float *dst;
} upsample;

/* Output pixel = (1 - weight) * input[first] + weight * input[second]. */
typedef struct tap {
  int first, second;
  float weight;
} tap;

static inline tap tap_at(int i, int in, int out) {
  float s = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f;
  if (s < 0) s = 0;
  int first = (int)s < in - 1 ? (int)s : in - 1;
  int second = first + 1 < in ? first + 1 : first;
  return (tap){first, second, s - (float)first};
}

static void forward_task(void *context, int task) {
  const upsample *u = context;
  int channels = u->channels;
  for (int oy = tinytl_split_first(&u->split, task); oy < tinytl_split_end(&u->split, task); oy++) {
    tap v = tap_at(oy, u->in_h, u->out_h);
    const float *top = u->src + (size_t)v.first * u->in_w * channels;
    const float *bottom = u->src + (size_t)v.second * u->in_w * channels;
    for (int ox = 0; ox < u->out_w; ox++) {
      tap h = tap_at(ox, u->in_w, u->out_w);
      size_t left = (size_t)h.first * channels, right = (size_t)h.second * channels;
      float w00 = (1 - v.weight) * (1 - h.weight), w01 = (1 - v.weight) * h.weight;
      float w10 = v.weight * (1 - h.weight), w11 = v.weight * h.weight;
      float *y = u->dst + ((size_t)oy * u->out_w + ox) * channels;
      for (int c = 0; c < channels; c++) {
        y[c] += w00 * top[left + c] + w01 * top[right + c] + w10 * bottom[left + c] +
                w11 * bottom[right + c];
      }
    }
  }
}

void tinytl_upsample_forward(const tinytl_run *run, int in_h, int in_w, int out_h, int out_w,
                             int channels, const float *x, float *y) {
  tinytl_split split = tinytl_split_rows(out_h, (size_t)out_w * channels);
  upsample u = {run->kernels, in_h, in_w, out_h, out_w, channels, split, x, y};
  tinytl_split_run(run, &u.split, forward_task, &u);
}

/* A task owns rows of dx and gathers every output row that reaches them. */
static void backward_task(void *context, int task) {
  const upsample *u = context;
  size_t channels = u->channels;
  for (int iy = tinytl_split_first(&u->split, task); iy < tinytl_split_end(&u->split, task); iy++) {
    float *dx = u->dst + (size_t)iy * u->in_w * channels;
    memset(dx, 0, u->in_w * channels * sizeof(float));
    for (int oy = 0; oy < u->out_h; oy++) {
      tap v = tap_at(oy, u->in_h, u->out_h);
      float row = (v.first == iy ? 1 - v.weight : 0) + (v.second == iy ? v.weight : 0);
      if (row == 0) continue;
      for (int ox = 0; ox < u->out_w; ox++) {
        tap h = tap_at(ox, u->in_w, u->out_w);
        const float *dy = u->src + ((size_t)oy * u->out_w + ox) * channels;
        u->kernels->axpy(dx + h.first * channels, row * (1 - h.weight), dy, channels);
        u->kernels->axpy(dx + h.second * channels, row * h.weight, dy, channels);
      }
    }
  }
}

void tinytl_upsample_backward(const tinytl_run *run, int in_h, int in_w, int out_h, int out_w,
                              int channels, const float *dy, float *dx) {
  size_t row_size = (size_t)out_w * channels * (out_h > in_h ? out_h / in_h : 1);
  upsample u = {run->kernels, in_h, in_w, out_h, out_w, channels, tinytl_split_rows(in_h, row_size),
                dy,           dx};
  tinytl_split_run(run, &u.split, backward_task, &u);
}
