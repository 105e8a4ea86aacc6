/* Bilinear upsampling, align_corners false: kernels.h has the formula of a side. */
#include <string.h>

#include "ops/split.h"

typedef struct upsample {
  const tinytl_kernels *kernels;
  int in_h, in_w, out_h, out_w, channels;
  tinytl_split split; /* rows: of what is written */
  const float *src;
  float *dst;
} upsample;

static void forward_task(void *context, int task) {
  const upsample *u = context;
  const size_t row = (size_t)u->in_w * u->channels;
  for (int oy = tinytl_split_first(&u->split, task); oy < tinytl_split_end(&u->split, task); oy++) {
    const tinytl_upsample_tap v = tinytl_upsample_tap_at(oy, u->in_h, u->out_h);
    u->kernels->upsample_row(u->in_w, u->out_w, u->channels, u->src + v.first * row,
                             u->src + v.second * row, v.weight,
                             u->dst + (size_t)oy * u->out_w * u->channels);
  }
}

void tinytl_upsample_forward(const tinytl_run *run, int in_h, int in_w, int out_h, int out_w,
                             int channels, const float *x, float *y) {
  tinytl_split split = tinytl_split_rows(out_h, (size_t)out_w * channels);
  upsample u = {run->kernels, in_h, in_w, out_h, out_w, channels, split, x, y};
  tinytl_split_run(run, &u.split, forward_task, &u);
}

/* A task owns rows of dx and gathers every output row that reaches them, a few at a time. */
static void backward_task(void *context, int task) {
  const upsample *u = context;
  const size_t row = (size_t)u->out_w * u->channels;
  for (int iy = tinytl_split_first(&u->split, task); iy < tinytl_split_end(&u->split, task); iy++) {
    float *dx = u->dst + (size_t)iy * u->in_w * u->channels, weights[TINYTL_UPSAMPLE_ROWS];
    int n_rows = 0;
    memset(dx, 0, (size_t)u->in_w * u->channels * sizeof *dx);
    for (int oy = 0; oy < u->out_h; oy++) {
      const tinytl_upsample_tap v = tinytl_upsample_tap_at(oy, u->in_h, u->out_h);
      if (v.second < iy) continue;
      const bool reaches = v.first <= iy;
      if (reaches)
        weights[n_rows++] = (v.first == iy ? 1 - v.weight : 0) + (v.second == iy ? v.weight : 0);
      const bool last = !reaches || oy == u->out_h - 1;
      if (n_rows == TINYTL_UPSAMPLE_ROWS || (last && n_rows > 0)) {
        u->kernels->upsample_row_grad(u->in_w, u->out_w, u->channels, n_rows, weights,
                                      u->src + (size_t)(oy + reaches - n_rows) * row, dx);
        n_rows = 0;
      }
      if (!reaches) break;
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
