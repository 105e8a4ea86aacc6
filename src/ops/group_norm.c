/* Group norm (Wu and He, "Group Normalization", 2018), its scale and shift, and ReLU.
 *
 *   x_hat = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps)      over a group's channels and pixels
 *   y     = x_hat * scale + shift                                scale, shift of the channel
 *
 * With g = dy * scale and means over the group:
 *   dscale = sum over pixels of dy * x_hat,   dshift = sum over pixels of dy
 *   dx     = rstd * (g - mean(g) - x_hat * mean(g * x_hat))
 *
 * Groups that a vector holds together are done together: a column. */
#include <math.h>

#include "ops/split.h"

enum { GROUP = TINYTL_GROUP_NORM_CHANNELS, COLUMN = 2 * GROUP };

int tinytl_group_norm_n_groups(int channels) {
  return tinytl_ceil_div(channels, GROUP);
}

static tinytl_split split_columns(int n_pixels, int channels) {
  return tinytl_split_rows(tinytl_ceil_div(channels, COLUMN), (size_t)n_pixels * COLUMN);
}

static tinytl_channels column_at(int n_pixels, int channels, int column) {
  const int rest = channels - column * COLUMN;
  return (tinytl_channels){n_pixels, rest < COLUMN ? rest : COLUMN, channels};
}

/* Channels of the column's group that starts at `first`: all are GROUP wide but the map's last. */
static int group_width(const tinytl_channels *column, int first) {
  const int rest = column->channels - first;
  return rest < GROUP ? rest : GROUP;
}

static double sum_of(const double *lanes, int width) {
  double sum = 0;
  for (int c = 0; c < width; c++) sum += lanes[c];
  return sum;
}

typedef struct norm {
  const tinytl_kernels *kernels;
  int n_pixels, channels;
  tinytl_split split; /* rows: columns */
  float *x, *rstd;
} norm;

static void normalise(const norm *n, int column) {
  const tinytl_channels map = column_at(n->n_pixels, n->channels, column);
  float *x = n->x + column * COLUMN, mean[COLUMN], rest[COLUMN], rstd[COLUMN];
  double sums[COLUMN];
  n->kernels->channel_sums(&map, x, sums);
  for (int first = 0; first < map.channels; first += GROUP) {
    const int width = group_width(&map, first);
    const double exact = sum_of(sums + first, width) / n->n_pixels / width;
    for (int c = first; c < first + width; c++) {
      mean[c] = (float)exact;
      rest[c] = (float)(exact - mean[c]);
    }
  }
  n->kernels->channel_squares(&map, x, mean, rest, sums);
  for (int first = 0; first < map.channels; first += GROUP) {
    const int width = group_width(&map, first);
    const double var = sum_of(sums + first, width) / n->n_pixels / width;
    for (int c = 0; c < width; c++)
      rstd[first + c] = (float)(1 / sqrt(var + TINYTL_GROUP_NORM_EPS));
    n->rstd[column * (COLUMN / GROUP) + first / GROUP] = rstd[first];
  }
  n->kernels->normalise(&map, mean, rest, rstd, x);
}

static void norm_task(void *context, int task) {
  const norm *n = context;
  for (int c = tinytl_split_first(&n->split, task); c < tinytl_split_end(&n->split, task); c++)
    normalise(n, c);
}

void tinytl_group_norm_forward(const tinytl_run *run, int n_pixels, int channels, float *x,
                               float *rstd) {
  norm n = {run->kernels, n_pixels, channels, split_columns(n_pixels, channels), x, rstd};
  tinytl_split_run(run, &n.split, norm_task, &n);
}

typedef struct affine {
  const tinytl_kernels *kernels;
  int channels;
  tinytl_split split; /* rows: pixels */
  const float *x_hat, *scale, *shift;
  tinytl_act act;
  float *y;
} affine;

static void affine_task(void *context, int task) {
  const affine *a = context;
  const int first = tinytl_split_first(&a->split, task), end = tinytl_split_end(&a->split, task);
  const tinytl_channels map = {end - first, a->channels, a->channels};
  const size_t offset = (size_t)first * a->channels;
  a->kernels->scale_shift(&map, a->x_hat + offset, a->scale, a->shift, a->act, a->y + offset);
}

void tinytl_scale_shift_forward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *scale, const float *shift,
                                tinytl_act act, float *y) {
  affine a = {run->kernels, channels, tinytl_split_rows(n_pixels, channels), x_hat, scale, shift,
              act,          y};
  tinytl_split_run(run, &a.split, affine_task, &a);
}

typedef struct norm_backward {
  const tinytl_kernels *kernels;
  int n_pixels, channels;
  tinytl_split split; /* rows: columns */
  const float *x_hat, *rstd, *scale, *shift;
  tinytl_act act;
  float *dy, *dscale, *dshift;
} norm_backward;

/* dx = dy * factor - (x_hat * slope + offset), for the group that starts at `first`. */
typedef struct coefficients {
  float factor[COLUMN], slope[COLUMN], offset[COLUMN];
} coefficients;

static void group_coefficients(const norm_backward *n, const float *scale, const double *dscale,
                               const double *dshift, float rstd, int first, int width,
                               coefficients *out) {
  double sum_g = 0, sum_g_x_hat = 0;
  for (int c = first; c < first + width; c++) {
    sum_g += scale[c] * dshift[c];
    sum_g_x_hat += scale[c] * dscale[c];
  }
  const double count = (double)n->n_pixels * width;
  for (int c = first; c < first + width; c++) {
    out->factor[c] = rstd * scale[c];
    out->slope[c] = rstd * (float)(sum_g_x_hat / count);
    out->offset[c] = rstd * (float)(sum_g / count);
  }
}

static void column_backward(const norm_backward *n, int column) {
  const tinytl_channels map = column_at(n->n_pixels, n->channels, column);
  const int start = column * COLUMN;
  const float *x_hat = n->x_hat + start, *scale = n->scale + start;
  double dscale[COLUMN], dshift[COLUMN];
  coefficients k;
  n->kernels->norm_grad_sums(&map, x_hat, scale, n->shift + start, n->act, n->dy + start, dscale,
                             dshift);
  for (int first = 0; first < map.channels; first += GROUP)
    group_coefficients(n, scale, dscale, dshift, n->rstd[(start + first) / GROUP], first,
                       group_width(&map, first), &k);
  n->kernels->norm_grad(&map, x_hat, k.factor, k.slope, k.offset, n->dy + start);
  for (int c = 0; c < map.channels; c++) {
    if (n->dshift) n->dshift[start + c] += (float)dshift[c];
    if (n->dscale) n->dscale[start + c] += (float)dscale[c];
  }
}

static void norm_backward_task(void *context, int task) {
  const norm_backward *n = context;
  for (int c = tinytl_split_first(&n->split, task); c < tinytl_split_end(&n->split, task); c++)
    column_backward(n, c);
}

void tinytl_group_norm_backward(const tinytl_run *run, int n_pixels, int channels,
                                const float *x_hat, const float *rstd, const float *scale,
                                const float *shift, tinytl_act act, float *dy, float *dscale,
                                float *dshift) {
  norm_backward n = {.kernels = run->kernels,
                     .n_pixels = n_pixels,
                     .channels = channels,
                     .split = split_columns(n_pixels, channels),
                     .x_hat = x_hat,
                     .rstd = rstd,
                     .scale = scale,
                     .shift = shift,
                     .act = act,
                     .dy = dy,
                     .dscale = dscale,
                     .dshift = dshift};
  if (dscale || dshift) tinytl_await_turn(run);
  tinytl_split_run(run, &n.split, norm_backward_task, &n);
}
