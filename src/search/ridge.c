#include "search/ridge.h"

#include <math.h>
#include <string.h>

#include "core/cursor.h"
#include "ops/split.h"

enum { ROWS = 32 /* of the matrix, made at a time */ };

/* How they compare with others: docs/supernet.md, "Why a ridge classifier". */
#define PENALTY 0.05f
#define SHARPNESS 20.0f
#define LEAST 1e-30f /* of the features the largest, below which they count as 0 */

static size_t lay_out(tinytl_ridge *ridge, void *memory) {
  tinytl_cursor c = {.base = memory};
  const size_t most = (size_t)ridge->most;
  ridge->features = tinytl_take(&c, most * (size_t)ridge->n_features, sizeof *ridge->features);
  ridge->scales = tinytl_take(&c, most, sizeof *ridge->scales);
  ridge->labels = tinytl_take(&c, most, sizeof *ridge->labels);
  return c.used;
}

size_t tinytl_ridge_nbytes(int n_features, int most) {
  tinytl_ridge ridge = {.n_features = n_features, .most = most};
  return lay_out(&ridge, NULL);
}

tinytl_ridge tinytl_ridge_place(const tinytl_run *run, int n_features, int n_classes, int most,
                                void *memory) {
  tinytl_ridge ridge = {.run = run, .n_features = n_features, .n_classes = n_classes, .most = most};
  lay_out(&ridge, memory);
  return ridge;
}

void tinytl_ridge_add(tinytl_ridge *ridge, const float *features, int label) {
  int8_t *to = ridge->features + (size_t)ridge->n * (size_t)ridge->n_features;
  double squares = 0;
  float largest = 0;
  for (int i = 0; i < ridge->n_features; i++) {
    squares += (double)features[i] * features[i];
    largest = fmaxf(largest, fabsf(features[i]));
  }
  const bool has_length = largest > LEAST && isfinite(squares);
  const float step = largest / 127;
  for (int i = 0; i < ridge->n_features; i++)
    to[i] = has_length ? (int8_t)lrintf(features[i] / step) : 0;
  ridge->scales[ridge->n] = has_length ? step / (float)sqrt(squares) : 0;
  ridge->labels[ridge->n++] = label;
}

/* ---- The work ----------------------------------------------------------------------------- */

typedef struct workplace {
  const tinytl_ridge *ridge;
  tinytl_run run;
  tinytl_conv conv;        /* pointwise, a picture a channel: products of ROWS pictures with all */
  float *matrix;           /* [n][n] */
  float *rows;             /* [ROWS][n_features] */
  float *pivots;           /* [n] */
  double *sums;            /* [n], of the matrix's rows */
  float *shares, *answers; /* [n_classes]: of the pictures; for one of them */
  int n_right;
  double log_sum;     /* of probabilities */
  float level;        /* of every G_ii, what the means of all pictures are in it: 1 / (n penalty) */
  tinytl_split split; /* rows */
  int pivot;
} workplace;

static size_t lay_out_work(workplace *w, int n, void *memory) {
  const tinytl_ridge *ridge = w->ridge;
  tinytl_cursor c = {.base = memory};
  w->conv = (tinytl_conv){.in_h = 1,
                          .in_w = ROWS,
                          .in_c = ridge->n_features,
                          .out_h = 1,
                          .out_w = ROWS,
                          .out_c = n,
                          .kernel = 1,
                          .stride = 1,
                          .groups = 1};
  w->matrix = tinytl_take(&c, (size_t)n * (size_t)n, sizeof *w->matrix);
  w->rows = tinytl_take(&c, (size_t)ROWS * (size_t)ridge->n_features, sizeof *w->rows);
  w->pivots = tinytl_take(&c, (size_t)n, sizeof *w->pivots);
  w->sums = tinytl_take(&c, (size_t)n, sizeof *w->sums);
  w->shares = tinytl_take(&c, (size_t)ridge->n_classes, sizeof *w->shares);
  w->answers = tinytl_take(&c, (size_t)ridge->n_classes, sizeof *w->answers);
  w->run.scratch = tinytl_take(&c, tinytl_conv_forward_scratch(&w->conv, tinytl_kernels_get()), 1);
  return c.used;
}

size_t tinytl_ridge_work_nbytes(int n_features, int n_classes, int most) {
  const tinytl_ridge ridge = {.n_features = n_features, .n_classes = n_classes};
  workplace w = {.ridge = &ridge};
  return lay_out_work(&w, most, NULL);
}

/* matrix = X X^T. */
static void multiply(workplace *w) {
  const tinytl_ridge *ridge = w->ridge;
  const tinytl_weight pictures = {.i8 = ridge->features, .scale = ridge->scales};
  const tinytl_epilogue none = {.act = TINYTL_ACT_NONE};
  const size_t n_features = (size_t)ridge->n_features;
  for (int first = 0; first < ridge->n; first += ROWS) {
    const int n = ridge->n - first < ROWS ? ridge->n - first : ROWS;
    for (int i = 0; i < n; i++) {
      const int8_t *from = ridge->features + (size_t)(first + i) * n_features;
      for (size_t k = 0; k < n_features; k++)
        w->rows[(size_t)i * n_features + k] = ridge->scales[first + i] * (float)from[k];
    }
    w->conv.in_w = w->conv.out_w = n;
    tinytl_conv_forward(&w->run, &w->conv, &pictures, &none, w->rows,
                        w->matrix + (size_t)first * (size_t)ridge->n);
  }
}

/* As if the features' mean had been taken from each; the penalty is added. */
static void centre(workplace *w) {
  const int n = w->ridge->n;
  double all = 0, trace = 0;
  for (int i = 0; i < n; i++) {
    w->sums[i] = 0;
    for (int j = 0; j < n; j++) w->sums[i] += (double)w->matrix[(size_t)i * n + j];
    all += w->sums[i];
  }
  for (int i = 0; i < n; i++) {
    const double base = (w->sums[i] - all / n) / n;
    for (int j = 0; j < n; j++) w->matrix[(size_t)i * n + j] -= (float)(base + w->sums[j] / n);
    trace += (double)w->matrix[(size_t)i * n + i];
  }
  /* Where all features are alike there is no length: any unit does. */
  const float unit = trace > 1e-6 * n ? (float)(trace / n) : 1;
  for (int i = 0; i < n; i++) w->matrix[(size_t)i * n + i] += PENALTY * unit;
  w->level = n > 1 ? 1 / ((float)n * PENALTY * unit) : 0;
}

static void sweep_task(void *context, int task) {
  const workplace *w = context;
  const size_t n = (size_t)w->ridge->n;
  const float d = w->pivots[w->pivot];
  for (int i = tinytl_split_first(&w->split, task); i < tinytl_split_end(&w->split, task); i++) {
    float *row = w->matrix + (size_t)i * n;
    const float factor = w->pivots[i] / d;
    if (i == w->pivot) continue;
    w->run.kernels->axpy(row, -factor, w->pivots, (size_t)i + 1);
    if (i > w->pivot) row[w->pivot] = factor;
  }
}

/* The matrix becomes minus its inverse, pivot by pivot (Beaton's sweep operator): the lower half,
 * which is then copied to the upper one. */
static void invert(workplace *w) {
  const int n = w->ridge->n;
  float *a = w->matrix;
  w->split = tinytl_split_rows(n, (size_t)n / 2);
  for (w->pivot = 0; w->pivot < n; w->pivot++) {
    const int k = w->pivot;
    float *row = a + (size_t)k * n;
    memcpy(w->pivots, row, (size_t)(k + 1) * sizeof *row);
    for (int j = k + 1; j < n; j++) w->pivots[j] = a[(size_t)j * n + k];
    tinytl_split_run(&w->run, &w->split, sweep_task, w);
    for (int j = 0; j < k; j++) row[j] = w->pivots[j] / w->pivots[k];
    row[k] = -1 / w->pivots[k];
  }
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++) a[(size_t)i * n + j] = a[(size_t)j * n + i];
}

/* What the others say of picture i: right is a larger answer for its class than for any other one
 * that is there. */
static void tell(workplace *w, int i) {
  const tinytl_ridge *ridge = w->ridge;
  const float *row = w->matrix + (size_t)i * (size_t)ridge->n; /* of -G */
  const int label = ridge->labels[i];
  float sum = 0;
  memset(w->answers, 0, (size_t)ridge->n_classes * sizeof *w->answers);
  for (int j = 0; j < ridge->n; j++) {
    w->answers[ridge->labels[j]] += row[j];
    sum += row[j];
  }
  for (int c = 0; c < ridge->n_classes; c++) {
    const float wanted = (float)(c == label) - w->shares[c];
    w->answers[c] = wanted - (w->answers[c] - w->shares[c] * sum) / (row[i] + w->level);
  }
  bool is_right = true;
  double others = 0; /* odds against the class */
  for (int c = 0; c < ridge->n_classes; c++) {
    if (c == label || w->shares[c] == 0) continue;
    is_right = is_right && w->answers[c] < w->answers[label];
    others += exp((double)(SHARPNESS * (w->answers[c] - w->answers[label])));
  }
  w->n_right += is_right;
  w->log_sum -= log1p(others);
}

tinytl_ridge_answer tinytl_ridge_leave_one_out(const tinytl_ridge *ridge, void *work) {
  workplace w = {.ridge = ridge, .run = *ridge->run};
  lay_out_work(&w, ridge->n, work);
  multiply(&w);
  centre(&w);
  invert(&w);
  memset(w.shares, 0, (size_t)ridge->n_classes * sizeof *w.shares);
  for (int i = 0; i < ridge->n; i++) w.shares[ridge->labels[i]] += 1.0f / (float)ridge->n;
  for (int i = 0; i < ridge->n; i++) tell(&w, i);
  return (tinytl_ridge_answer){.top1 = (float)w.n_right / (float)ridge->n,
                               .score = (float)exp(w.log_sum / ridge->n)};
}
