/* The classifier: y[o] = sum over i of w[o][i] * x[i] + bias[o]
 *   dw[o][i] += dy[o] * x[i],  dbias[o] += dy[o],  dx[i] = sum over o of dy[o] * w[o][i]
 * An int8 row is summed as it is; its scale multiplies the sum. */
#include <string.h>

#include "ops/split.h"

enum {
  LANES = 16, /* partial sums of a dot product, added up in order: vectors without reassociation */
  STRIP = 128 /* features of dx that one task gathers */
};

static float sum_of(const float *lanes) {
  float sum = 0;
  for (int l = 0; l < LANES; l++) sum += lanes[l];
  return sum;
}

static float dot_f32(const float *w, const float *x, int n) {
  float lanes[LANES] = {0};
  int whole = n - n % LANES;
  for (int i = 0; i < whole; i += LANES) {
    for (int l = 0; l < LANES; l++) lanes[l] += w[i + l] * x[i + l];
  }
  for (int i = whole; i < n; i++) lanes[i - whole] += w[i] * x[i];
  return sum_of(lanes);
}

static float dot_i8(const int8_t *w, const float *x, int n) {
  float lanes[LANES] = {0};
  int whole = n - n % LANES;
  for (int i = 0; i < whole; i += LANES) {
    for (int l = 0; l < LANES; l++) lanes[l] += (float)w[i + l] * x[i + l];
  }
  for (int i = whole; i < n; i++) lanes[i - whole] += (float)w[i] * x[i];
  return sum_of(lanes);
}

typedef struct linear {
  int in;
  tinytl_split split; /* rows: outputs */
  tinytl_weight w;
  const float *bias, *x;
  float *y;
} linear;

static void forward_task(void *context, int task) {
  const linear *l = context;
  for (int o = tinytl_split_first(&l->split, task); o < tinytl_split_end(&l->split, task); o++) {
    size_t row = (size_t)o * l->in;
    float sum = l->w.i8 ? dot_i8(l->w.i8 + row, l->x, l->in) * l->w.scale[o]
                        : dot_f32(l->w.f32 + row, l->x, l->in);
    l->y[o] = sum + l->bias[o];
  }
}

void tinytl_linear_forward(const tinytl_run *run, int in, int out, const tinytl_weight *w,
                           const float *bias, const float *x, float *y) {
  linear l = {in, tinytl_split_rows(out, in), *w, bias, x, y};
  tinytl_split_run(run, &l.split, forward_task, &l);
}

typedef struct linear_backward {
  const tinytl_kernels *kernels;
  int in, out;
  tinytl_split split; /* rows: outputs for dw, strips of features for dx */
  const float *w, *x, *dy;
  float *dw, *dbias, *dx;
} linear_backward;

static void weight_task(void *context, int task) {
  const linear_backward *l = context;
  for (int o = tinytl_split_first(&l->split, task); o < tinytl_split_end(&l->split, task); o++) {
    if (l->dw) l->kernels->axpy(l->dw + (size_t)o * l->in, l->dy[o], l->x, l->in);
    if (l->dbias) l->dbias[o] += l->dy[o];
  }
}

static void input_task(void *context, int task) {
  const linear_backward *l = context;
  for (int s = tinytl_split_first(&l->split, task); s < tinytl_split_end(&l->split, task); s++) {
    int first = s * STRIP, n = tinytl_min(l->in - first, STRIP);
    memset(l->dx + first, 0, n * sizeof(float));
    for (int o = 0; o < l->out; o++) {
      l->kernels->axpy(l->dx + first, l->dy[o], l->w + (size_t)o * l->in + first, n);
    }
  }
}

void tinytl_linear_backward(const tinytl_run *run, int in, int out, const float *w, const float *x,
                            const float *dy, float *dw, float *dbias, float *dx) {
  linear_backward l = {run->kernels, in, out, tinytl_split_rows(out, in), w, x, dy, dw, dbias, dx};
  if (dw || dbias) tinytl_await_turn(run);
  tinytl_split_run(run, &l.split, weight_task, &l);
  if (!dx) return;
  l.split = tinytl_split_rows(tinytl_ceil_div(in, STRIP), (size_t)out * STRIP);
  tinytl_split_run(run, &l.split, input_task, &l);
}
