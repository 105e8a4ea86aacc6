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
  metrics->bin_images[bin]++;
  metrics->bin_right[bin] += right;
  metrics->bin_confidence[bin] += (double)confidence;
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
