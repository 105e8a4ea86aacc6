/* Group norm (Wu and He, "Group Normalization", 2018), its scale and shift, and ReLU.
 *
 *   x_hat = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps)      over a group's channels and pixels
 *   y     = x_hat * scale + shift                                scale, shift of the channel
 *
 * With g = dy * scale and means over the group:
 *   dscale = sum over pixels of dy * x_hat,   dshift = sum over pixels of dy
 *   dx     = rstd * (g - mean(g) - x_hat * mean(g * x_hat))
 *
 * Sums run in double, a lane a channel: a 56 x 56 map of one sign loses nothing. */
#include <math.h>

#include "ops/split.h"

enum { GROUP = TINYTL_GROUP_NORM_CHANNELS };

typedef struct norm {
  int n_pixels, channels;
  tinytl_split split; /* rows: groups */
  float *x, *rstd;
} norm;

int tinytl_group_norm_n_groups(int channels) {
  return (channels + GROUP - 1) / GROUP;
}

/* Channels of one group: all are GROUP wide but the last. */
static int group_width(int channels, int group) {
  int rest = channels - group * GROUP;
  return rest < GROUP ? rest : GROUP;
}

static double sum_of(const double *lanes, int width) {
  double sum = 0;
  for (int c = 0; c < width; c++) sum += lanes[c];
  return sum;
}

/* One group in place. Inlined with a constant width, the loops over channels become vectors. */
static inline float normalise(float *x, int n_pixels, int channels, int width) {
  double lanes[GROUP] = {0}, squares[GROUP] = {0};
  double n = (double)n_pixels * width;
  for (int i = 0; i < n_pixels; i++) {
    for (int c = 0; c < width; c++) lanes[c] += x[(size_t)i * channels + c];
  }
  double mean = sum_of(lanes, width) / n;
  for (int i = 0; i < n_pixels; i++) {
    for (int c = 0; c < width; c++) {
      double centred = x[(size_t)i * channels + c] - mean;
      squares[c] += centred * centred;
    }
  }
  double rstd = 1 / sqrt(sum_of(squares, width) / n + TINYTL_GROUP_NORM_EPS);
  for (int i = 0; i < n_pixels; i++) {
    for (int c = 0; c < width; c++) {
      float *value = &x[(size_t)i * channels + c];
      *value = (float)((*value - mean) * rstd);
    }
  }
  return (float)rstd;
}

static void norm_task(void *context, int task) {
  const norm *n = context;
  for (int g = tinytl_split_first(&n->split, task); g < tinytl_split_end(&n->split, task); g++) {
    float *x = n->x + g * GROUP;
    int width = group_width(n->channels, g);
    n->rstd[g] = width == GROUP ? normalise(x, n->n_pixels, n->channels, GROUP)
                                : normalise(x, n->n_pixels, n->channels, width);
  }
}

void tinytl_group_norm_forward(const tinytl_run *run, int n_pixels, int channels, float *x,
                               float *rstd) {
  norm n = {n_pixels, channels,
            tinytl_split_rows(tinytl_group_norm_n_groups(channels), (size_t)n_pixels * GROUP), x,
            rstd};
  tinytl_split_run(run, &n.split, norm_task, &n);
}

/* Forward and backward must agree on the sign, hence one function. */
static inline float scale_shift(float x_hat, float scale, float shift) {
  return x_hat * scale + shift;
}

typedef struct affine {
  int channels;
  tinytl_split split; /* rows: pixels */
  const float *x_hat, *scale, *shift;
  bool relu;
  float *y;
} affine;

static void affine_task(void *context, int task) {
  const affine *a = context;
  for (int i = tinytl_split_first(&a->split, task); i < tinytl_split_end(&a->split, task); i++) {
    const float *x_hat = a->x_hat + (size_t)i * a->channels;
    float *y = a->y + (size_t)i * a->channels;
    if (a->relu) {
      for (int c = 0; c < a->channels; c++) {
        float value = scale_shift(x_hat[c], a->scale[c], a->shift[c]);
        y[c] = value < 0 ? 0 : value; /* NaN stays NaN */
      }
    } else {
      for (int c = 0; c < a->channels; c++) y[c] = scale_shift(x_hat[c], a->scale[c], a->shift[c]);
    }
  }
}

void tinytl_scale_shift_forward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *scale, const float *shift,
                                bool relu, float *y) {
  affine a = {channels, tinytl_split_rows(n_pixels, channels), x_hat, scale, shift, relu, y};
  tinytl_split_run(run, &a.split, affine_task, &a);
}

typedef struct norm_backward {
  int n_pixels, channels;
  tinytl_split split; /* rows: groups */
  const float *x_hat, *rstd, *scale, *shift;
  bool relu;
  float *dy, *dscale, *dshift;
} norm_backward;

static inline void group_backward(const norm_backward *n, int group, int width) {
  int first = group * GROUP;
  const float *x_hat = n->x_hat + first, *scale = n->scale + first, *shift = n->shift + first;
  float *dy = n->dy + first;
  size_t stride = n->channels;
  double dscale[GROUP] = {0}, dshift[GROUP] = {0};
  for (int i = 0; i < n->n_pixels; i++) {
    for (int c = 0; c < width; c++) {
      float value = x_hat[i * stride + c];
      bool pass = !n->relu || scale_shift(value, scale[c], shift[c]) > 0;
      float gradient = pass ? dy[i * stride + c] : 0;
      dy[i * stride + c] = gradient;
      dshift[c] += gradient;
      dscale[c] += (double)gradient * value;
    }
  }
  double sum_g = 0, sum_g_x_hat = 0;
  for (int c = 0; c < width; c++) {
    sum_g += scale[c] * dshift[c];
    sum_g_x_hat += scale[c] * dscale[c];
    if (n->dshift) n->dshift[first + c] += (float)dshift[c];
    if (n->dscale) n->dscale[first + c] += (float)dscale[c];
  }
  double count = (double)n->n_pixels * width;
  float mean_g = (float)(sum_g / count), mean_g_x_hat = (float)(sum_g_x_hat / count);
  float rstd = n->rstd[group];
  for (int i = 0; i < n->n_pixels; i++) {
    for (int c = 0; c < width; c++) {
      float g = dy[i * stride + c] * scale[c];
      dy[i * stride + c] = rstd * (g - mean_g - x_hat[i * stride + c] * mean_g_x_hat);
    }
  }
}

static void norm_backward_task(void *context, int task) {
  const norm_backward *n = context;
  for (int g = tinytl_split_first(&n->split, task); g < tinytl_split_end(&n->split, task); g++) {
    int width = group_width(n->channels, g);
    if (width == GROUP) {
      group_backward(n, g, GROUP);
    } else {
      group_backward(n, g, width);
    }
  }
}

void tinytl_group_norm_backward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *rstd, const float *scale,
                                const float *shift, bool relu, float *dy, float *dscale,
                                float *dshift) {
  norm_backward n = {
      n_pixels,
      channels,
      tinytl_split_rows(tinytl_group_norm_n_groups(channels), (size_t)n_pixels * GROUP),
      x_hat,
      rstd,
      scale,
      shift,
      relu,
      dy,
      dscale,
      dshift};
  tinytl_split_run(run, &n.split, norm_backward_task, &n);
}
