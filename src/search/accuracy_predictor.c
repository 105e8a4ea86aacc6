#include "search/accuracy_predictor.h"

#include <math.h>
#include <string.h>

#include "core/cursor.h"

enum { N = TINYTL_GENES_INPUTS };

static size_t lay_out(tinytl_accuracy_predictor *p, void *memory) {
  tinytl_cursor c = {.base = memory};
  p->matrix = tinytl_take(&c, (size_t)N * N, sizeof *p->matrix);
  p->means = tinytl_take(&c, N, sizeof *p->means);
  p->weights = tinytl_take(&c, N, sizeof *p->weights);
  return c.used;
}

size_t tinytl_accuracy_predictor_nbytes(void) {
  tinytl_accuracy_predictor p;
  return lay_out(&p, NULL);
}

tinytl_accuracy_predictor tinytl_accuracy_predictor_place(void *memory) {
  tinytl_accuracy_predictor p = {0};
  lay_out(&p, memory);
  return p;
}

/* ---- Fitting ------------------------------------------------------------------------------ */

/* The lower half of X^T X in the matrix, and X^T y in the weights; means are taken out of the sums,
 * as the genes' are counts and so exact. */
static void add_up(tinytl_accuracy_predictor *p, const tinytl_subnet *const *subnets,
                   const float *scores, int n) {
  memset(p->matrix, 0, (size_t)N * N * sizeof *p->matrix);
  memset(p->means, 0, N * sizeof *p->means);
  memset(p->weights, 0, N * sizeof *p->weights);
  p->mean = 0;
  for (int k = 0; k < n; k++) p->mean += (double)scores[k] / n;
  for (int k = 0; k < n; k++) {
    float genes[N];
    tinytl_genes_encode(subnets[k], genes);
    for (int i = 0; i < N; i++) {
      if (genes[i] == 0) continue;
      p->means[i] += 1.0 / n;
      p->weights[i] += (double)scores[k] - p->mean;
      for (int j = 0; j <= i; j++) p->matrix[i * N + j] += (double)genes[j];
    }
  }
  for (int i = 0; i < N; i++) {
    for (int j = 0; j <= i; j++) p->matrix[i * N + j] -= n * p->means[i] * p->means[j];
    p->matrix[i * N + i] +=
        i < TINYTL_MAX_IMAGE_SIZES ? TINYTL_PREDICTOR_SIZE_PENALTY : TINYTL_PREDICTOR_PENALTY;
  }
}

/* Cholesky's factor L takes the place of the lower half. */
static void factorise(double *matrix) {
  for (int i = 0; i < N; i++) {
    double *row = matrix + i * N;
    for (int j = 0; j <= i; j++) {
      double sum = row[j];
      for (int k = 0; k < j; k++) sum -= row[k] * matrix[j * N + k];
      row[j] = i == j ? sqrt(sum) : sum / matrix[j * N + j];
    }
  }
}

/* L L^T w = x, in place. */
static void solve(const double *matrix, double *x) {
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < i; k++) x[i] -= matrix[i * N + k] * x[k];
    x[i] /= matrix[i * N + i];
  }
  for (int i = N - 1; i >= 0; i--) {
    for (int k = i + 1; k < N; k++) x[i] -= matrix[k * N + i] * x[k];
    x[i] /= matrix[i * N + i];
  }
}

void tinytl_accuracy_predictor_fit(tinytl_accuracy_predictor *p,
                                   const tinytl_subnet *const *subnets, const float *scores,
                                   int n) {
  add_up(p, subnets, scores, n);
  factorise(p->matrix);
  solve(p->matrix, p->weights);
}

float tinytl_accuracy_predictor_run(const tinytl_accuracy_predictor *p,
                                    const tinytl_subnet *subnet) {
  float genes[N];
  double sum = p->mean;
  tinytl_genes_encode(subnet, genes);
  for (int i = 0; i < N; i++) sum += p->weights[i] * ((double)genes[i] - p->means[i]);
  return (float)sum;
}

/* ---- Kendall's tau ------------------------------------------------------------------------ */

static int sign(float x) {
  return (x > 0) - (x < 0);
}

float tinytl_kendall_tau(const float *x, const float *y, int n) {
  double sum = 0, n_x = 0, n_y = 0; /* pairs that differ in x, in y */
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++) {
      const int in_x = sign(x[i] - x[j]), in_y = sign(y[i] - y[j]);
      sum += in_x * in_y;
      n_x += in_x != 0;
      n_y += in_y != 0;
    }
  return n_x > 0 && n_y > 0 ? (float)(sum / sqrt(n_x * n_y)) : 0;
}
