#include "metrics.h"

#include <math.h>
#include <stdlib.h>

void cli_top(const float *probabilities, int n, int k, int *index) {
  int n_kept = 0;
  for (int i = 0; i < n; i++) {
    int at = n_kept < k ? n_kept++ : k;
    while (at > 0 && probabilities[i] > probabilities[index[at - 1]]) {
      if (at < k) index[at] = index[at - 1];
      at--;
    }
    if (at < k) index[at] = i;
  }
}

bool cli_metrics_init(cli_metrics *metrics, int n_classes, bool has_further_classes) {
  *metrics = (cli_metrics){.n_classes = n_classes, .n_columns = n_classes + has_further_classes};
  size_t row_nbytes = sizeof *metrics->confusion * (size_t)metrics->n_columns;
  metrics->confusion = calloc((size_t)n_classes, row_nbytes);
  return metrics->confusion != NULL;
}

void cli_metrics_free(cli_metrics *metrics) {
  free(metrics->confusion);
  *metrics = (cli_metrics){0};
}

void cli_metrics_add(cli_metrics *metrics, int label, int predicted, bool in_top5,
                     float confidence) {
  int column = predicted < 0 ? metrics->n_classes : predicted;
  bool right = predicted == label;
  metrics->confusion[(size_t)label * (size_t)metrics->n_columns + (size_t)column]++;
  metrics->n_images++;
  metrics->n_top1 += right;
  metrics->n_top5 += in_top5;
  int bin = (int)(confidence * CLI_CALIBRATION_BINS);
  if (bin >= CLI_CALIBRATION_BINS) bin = CLI_CALIBRATION_BINS - 1;
  metrics->bin_right[bin] += right;
  metrics->bin_confidence[bin] += (double)confidence;
  metrics->bin_variance[bin] += (double)confidence * (1 - (double)confidence);
}

int cli_metrics_class_images(const cli_metrics *metrics, int label) {
  int n = 0;
  for (int j = 0; j < metrics->n_columns; j++) n += cli_metrics_confusion(metrics, label, j);
  return n;
}

double cli_metrics_recall(const cli_metrics *metrics, int label) {
  int n = cli_metrics_class_images(metrics, label);
  return n > 0 ? (double)cli_metrics_confusion(metrics, label, label) / n : (double)NAN;
}

double cli_metrics_balanced_accuracy(const cli_metrics *metrics) {
  double sum = 0;
  int n = 0;
  for (int i = 0; i < metrics->n_classes; i++) {
    double recall = cli_metrics_recall(metrics, i);
    if (isnan(recall)) continue;
    sum += recall;
    n++;
  }
  return sum / n;
}

double cli_metrics_calibration_error(const cli_metrics *metrics) {
  double sum = 0;
  for (int i = 0; i < CLI_CALIBRATION_BINS; i++) {
    sum += fabs(metrics->bin_right[i] - metrics->bin_confidence[i]);
  }
  return sum / metrics->n_images;
}

double cli_metrics_calibration_by_chance(const cli_metrics *metrics) {
  const double pi = 3.141592653589793;
  double sum = 0;
  for (int i = 0; i < CLI_CALIBRATION_BINS; i++) sum += sqrt(2 / pi * metrics->bin_variance[i]);
  return sum / metrics->n_images;
}

cli_interval cli_wilson(int n_right, int n) {
  const double z = 1.959963984540054; /* 97.5 % quantile of the normal distribution */
  const double share = (double)n_right / n, z2_n = z * z / n;
  const double centre = (share + z2_n / 2) / (1 + z2_n);
  const double half = z / (1 + z2_n) * sqrt(share * (1 - share) / n + z2_n / (4 * n));
  /* Exact at the ends, where rounding might step outside. */
  return (cli_interval){n_right == 0 ? 0 : centre - half, n_right == n ? 1 : centre + half};
}

static int compare_scores(const void *left, const void *right) {
  const float x = *(const float *)left, y = *(const float *)right;
  return (x > y) - (x < y);
}

double cli_auroc(float *known, int n_known, float *unknown, int n_unknown) {
  qsort(known, (size_t)n_known, sizeof *known, compare_scores);
  qsort(unknown, (size_t)n_unknown, sizeof *unknown, compare_scores);
  /* Of unknown ones, how many score below and how many not above known[i]. */
  int n_below = 0, n_upto = 0;
  double sum = 0;
  for (int i = 0; i < n_known; i++) {
    while (n_below < n_unknown && unknown[n_below] < known[i]) n_below++;
    while (n_upto < n_unknown && unknown[n_upto] <= known[i]) n_upto++;
    sum += 0.5 * ((double)n_below + n_upto);
  }
  return sum / n_known / n_unknown;
}
