/* Batch norm (Ioffe and Szegedy, "Batch Normalization", 2015) over the pixels of all images.
 *
 *   x_hat = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps)       over a channel's pixels
 *   y     = act(x_hat * scale + shift) = act(x * slope + offset),
 *           slope = scale * rstd,  offset = shift - mean * slope
 *
 * With dy masked by the activation, and means over the pixels:
 *   dscale = sum of dy * x_hat,   dshift = sum of dy
 *   dx     = slope * (dy - mean(dy) - x_hat * mean(dy * x_hat))
 *
 * A task owns some pixels and walks over them by chunks that stay in the first-level cache. Its
 * sums go into scratch, and are added up in order:
 *
 *   task: 4 doubles a channel | ... | factor, slope, offset: 3 floats a channel */
#include <math.h>

#include "ops/split.h"

enum { CHUNK_FLOATS = 8192, MAX_TASKS = 32, TASK_DOUBLES = 4 };

typedef struct cut {
  int n_pixels, channels;
  int chunk_pixels, task_pixels, n_tasks;
} cut;

static cut cut_pixels(int n_pixels, int channels) {
  cut c = {.n_pixels = n_pixels, .channels = channels};
  c.chunk_pixels = CHUNK_FLOATS / channels < 8 ? 8 : CHUNK_FLOATS / channels;
  const int n_chunks = tinytl_ceil_div(n_pixels, c.chunk_pixels);
  c.task_pixels = tinytl_ceil_div(n_chunks, MAX_TASKS) * c.chunk_pixels;
  c.n_tasks = tinytl_ceil_div(n_pixels, c.task_pixels);
  return c;
}

static void run_tasks(const tinytl_run *run, const cut *c, tinytl_task_fn task, void *context) {
  const bool alone = (size_t)c->n_pixels * (size_t)c->channels < TINYTL_SPLIT_ALONE;
  tinytl_parallel_for(alone ? NULL : run->pool, c->n_tasks, task, context);
}

/* The chunk of a task that begins at `pixel`. */
static tinytl_channels chunk_at(const cut *c, int task, int pixel) {
  const int end =
      (task + 1) * c->task_pixels < c->n_pixels ? (task + 1) * c->task_pixels : c->n_pixels;
  const int n = tinytl_min(end - pixel, c->chunk_pixels);
  return (tinytl_channels){n, c->channels, c->channels};
}

static size_t task_doubles(const cut *c) {
  return (size_t)TASK_DOUBLES * (size_t)c->channels;
}

size_t tinytl_batch_norm_scratch(int channels) {
  const cut c = {.channels = channels};
  /* Of as many tasks as there may be: fewer channels may be cut into more tasks. */
  return MAX_TASKS * task_doubles(&c) * sizeof(double) + 3 * (size_t)channels * sizeof(float);
}

/* ---- Statistics --------------------------------------------------------------------------- */

typedef struct statistics {
  const tinytl_kernels *kernels;
  cut cut;
  const float *x;
  double *sums; /* a task: mean | sum of squares | of the chunk | mean and rest, floats */
} statistics;

/* Adds n_b pixels of mean_b and squares_b to n_a (Chan, Golub, LeVeque, 1979). */
static void combine(double n_a, double *mean_a, double *squares_a, double n_b, double mean_b,
                    double squares_b) {
  const double delta = mean_b - *mean_a, n = n_a + n_b;
  *mean_a += delta * n_b / n;
  *squares_a += squares_b + delta * delta * n_a * n_b / n;
}

static void statistics_task(void *context, int task) {
  const statistics *s = context;
  const int channels = s->cut.channels;
  double *mean = s->sums + (size_t)task * task_doubles(&s->cut), *squares = mean + channels;
  double *chunk = squares + channels;
  float *chunk_mean = (float *)(chunk + channels), *rest = chunk_mean + channels;
  const int first = task * s->cut.task_pixels;
  for (int c = 0; c < channels; c++) mean[c] = squares[c] = 0;
  for (int pixel = first;;) {
    const tinytl_channels map = chunk_at(&s->cut, task, pixel);
    if (map.n_pixels <= 0) return;
    const float *x = s->x + (size_t)pixel * (size_t)channels;
    s->kernels->channel_sums(&map, x, chunk);
    for (int c = 0; c < channels; c++) {
      const double exact = chunk[c] / map.n_pixels;
      chunk_mean[c] = (float)exact;
      rest[c] = (float)(exact - chunk_mean[c]);
    }
    s->kernels->channel_squares(&map, x, chunk_mean, rest, chunk);
    for (int c = 0; c < channels; c++)
      combine(pixel - first, &mean[c], &squares[c], map.n_pixels, (double)chunk_mean[c] + rest[c],
              chunk[c]);
    pixel += map.n_pixels;
  }
}

/* Makes mean and squares those of all ranks; returns their number of pixels. Between ranks go sums,
 * not about the mean, which is not known yet: doubles have the digits for it. */
static double combine_ranks(tinytl_ranks *ranks, int n_pixels, int channels, double *mean) {
  double *squares = mean + channels, *n = squares + channels;
  for (int c = 0; c < channels; c++) {
    squares[c] += mean[c] * mean[c] * n_pixels;
    mean[c] *= n_pixels;
  }
  *n = n_pixels;
  tinytl_ranks_sum_doubles(ranks, mean, 2 * (size_t)channels + 1);
  for (int c = 0; c < channels; c++) {
    mean[c] /= *n;
    squares[c] = fmax(squares[c] - mean[c] * mean[c] * *n, 0);
  }
  return *n;
}

void tinytl_batch_norm_statistics(const tinytl_run *run, int n_pixels, int channels, const float *x,
                                  float *mean, float *var) {
  statistics s = {run->kernels, cut_pixels(n_pixels, channels), x, run->scratch};
  run_tasks(run, &s.cut, statistics_task, &s);
  double *total = s.sums, *squares = total + channels;
  for (int task = 1; task < s.cut.n_tasks; task++) {
    const double *part = s.sums + (size_t)task * task_doubles(&s.cut);
    const int first = task * s.cut.task_pixels;
    const int n = tinytl_min(n_pixels - first, s.cut.task_pixels);
    for (int c = 0; c < channels; c++)
      combine(first, &total[c], &squares[c], n, part[c], part[channels + c]);
  }
  const double n = run->ranks ? combine_ranks(run->ranks, n_pixels, channels, total) : n_pixels;
  for (int c = 0; c < channels; c++) {
    mean[c] = (float)total[c];
    var[c] = (float)(squares[c] / n);
  }
}

static double rstd_of(float var) {
  return 1 / sqrt((double)var + (double)TINYTL_BATCH_NORM_EPS);
}

void tinytl_batch_norm_fold(int channels, const float *mean, const float *var, const float *scale,
                            const float *shift, float *slope, float *offset) {
  for (int c = 0; c < channels; c++) {
    const double exact = scale[c] * rstd_of(var[c]);
    slope[c] = (float)exact;
    offset[c] = (float)(shift[c] - mean[c] * exact);
  }
}

/* ---- Forward ------------------------------------------------------------------------------ */

typedef struct affine {
  const tinytl_kernels *kernels;
  cut cut;
  const tinytl_batch_norm *norm;
  const float *x, *residual;
  float *y;
} affine;

static void affine_task(void *context, int task) {
  const affine *a = context;
  for (int pixel = task * a->cut.task_pixels;;) {
    const tinytl_channels map = chunk_at(&a->cut, task, pixel);
    if (map.n_pixels <= 0) return;
    const size_t offset = (size_t)pixel * (size_t)a->cut.channels;
    a->kernels->scale_shift(&map, a->x + offset, a->norm->slope, a->norm->offset, a->norm->act,
                            a->y + offset);
    if (a->residual)
      a->kernels->add(a->y + offset, a->residual + offset,
                      (size_t)map.n_pixels * (size_t)map.channels);
    pixel += map.n_pixels;
  }
}

void tinytl_batch_norm_forward(const tinytl_run *run, int n_pixels, int channels,
                               const tinytl_batch_norm *norm, const float *x, const float *residual,
                               float *y) {
  affine a = {run->kernels, cut_pixels(n_pixels, channels), norm, x, residual, y};
  run_tasks(run, &a.cut, affine_task, &a);
}

/* ---- Backward ----------------------------------------------------------------------------- */

typedef struct norm_backward {
  const tinytl_kernels *kernels;
  tinytl_ranks *ranks;
  cut cut;
  const tinytl_batch_norm *norm;
  const float *x;
  float *dy;
  double *sums; /* a task: of dy * x | of dy | the same of a chunk */
  float *factor, *slope, *offset;
} norm_backward;

static void sums_task(void *context, int task) {
  const norm_backward *n = context;
  const int channels = n->cut.channels;
  double *total = n->sums + (size_t)task * task_doubles(&n->cut), *chunk = total + 2 * channels;
  for (int c = 0; c < 2 * channels; c++) total[c] = 0;
  for (int pixel = task * n->cut.task_pixels;;) {
    const tinytl_channels map = chunk_at(&n->cut, task, pixel);
    if (map.n_pixels <= 0) return;
    const size_t offset = (size_t)pixel * (size_t)channels;
    n->kernels->norm_grad_sums(&map, n->x + offset, n->norm->slope, n->norm->offset, n->norm->act,
                               n->dy + offset, chunk, chunk + channels);
    for (int c = 0; c < 2 * channels; c++) total[c] += chunk[c];
    pixel += map.n_pixels;
  }
}

static void grad_task(void *context, int task) {
  const norm_backward *n = context;
  for (int pixel = task * n->cut.task_pixels;;) {
    const tinytl_channels map = chunk_at(&n->cut, task, pixel);
    if (map.n_pixels <= 0) return;
    const size_t offset = (size_t)pixel * (size_t)n->cut.channels;
    n->kernels->norm_grad(&map, n->x + offset, n->factor, n->slope, n->offset, n->dy + offset);
    pixel += map.n_pixels;
  }
}

/* dx = dy * factor - (x * slope + offset), with x_hat written out. */
static void find_coefficients(const norm_backward *n, float *dscale, float *dshift) {
  const int channels = n->cut.channels;
  double n_pixels = n->cut.n_pixels;
  for (int task = 1; task < n->cut.n_tasks; task++) {
    const double *part = n->sums + (size_t)task * task_doubles(&n->cut);
    for (int c = 0; c < 2 * channels; c++) n->sums[c] += part[c];
  }
  if (n->ranks) {
    n->sums[2 * channels] = n_pixels;
    tinytl_ranks_sum_doubles(n->ranks, n->sums, 2 * (size_t)channels + 1);
    n_pixels = n->sums[2 * channels];
  }
  const bool adds = !n->ranks || tinytl_ranks_own(n->ranks) == 0;
  for (int c = 0; c < channels; c++) {
    const double mean = n->norm->mean[c], rstd = rstd_of(n->norm->var[c]);
    const double sum = n->sums[channels + c], sum_x_hat = (n->sums[c] - mean * sum) * rstd;
    const double slope = n->norm->slope[c] * rstd * sum_x_hat / n_pixels;
    n->factor[c] = n->norm->slope[c];
    n->slope[c] = (float)slope;
    n->offset[c] = (float)(n->norm->slope[c] * sum / n_pixels - mean * slope);
    if (!adds) continue;
    dscale[c] += (float)sum_x_hat;
    dshift[c] += (float)sum;
  }
}

void tinytl_batch_norm_backward(const tinytl_run *run, int n_pixels, int channels,
                                const tinytl_batch_norm *norm, const float *x, float *dy,
                                float *dscale, float *dshift) {
  norm_backward n = {.kernels = run->kernels,
                     .ranks = run->ranks,
                     .cut = cut_pixels(n_pixels, channels),
                     .norm = norm,
                     .x = x,
                     .dy = dy,
                     .sums = run->scratch};
  n.factor = (float *)(n.sums + (size_t)n.cut.n_tasks * task_doubles(&n.cut));
  n.slope = n.factor + channels;
  n.offset = n.slope + channels;
  run_tasks(run, &n.cut, sums_task, &n);
  find_coefficients(&n, dscale, dshift);
  run_tasks(run, &n.cut, grad_task, &n);
}
