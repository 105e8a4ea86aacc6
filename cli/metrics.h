/* How good the predictions on a set of labelled pictures are. */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include "tinytl.h"

enum { CLI_TOP_MAX = 1000, CLI_CALIBRATION_BINS = 15 };

/* The k most probable of n classes, best first, into index [k]; the lower index where equal. */
void cli_top(const float *probabilities, int n, int k, int *index);

typedef struct cli_metrics {
  int n_classes; /* of the pictures */
  int n_columns; /* n_classes, and one more where the model knows further classes */
  int n_images, n_top1, n_top5;
  int *confusion; /* [n_classes true][n_columns predicted]; last: any further class */
  /* Of the predictions whose confidence falls into each of the equal bins of 0 to 1: */
  int bin_right[CLI_CALIBRATION_BINS];
  double bin_confidence[CLI_CALIBRATION_BINS]; /* sum */
  double bin_variance[CLI_CALIBRATION_BINS];   /* of bin_right, if confidences were exact */
} cli_metrics;

/* False: out of memory. */
bool cli_metrics_init(cli_metrics *metrics, int n_classes, bool has_further_classes);
void cli_metrics_free(cli_metrics *metrics);

/* A picture of class `label`; predicted: the most probable class, -1 for one that the pictures
 * do not have. */
void cli_metrics_add(cli_metrics *metrics, int label, int predicted, bool in_top5,
                     float confidence);

int cli_metrics_class_images(const cli_metrics *metrics, int label);
/* Share of a class's pictures that were recognised; NAN: it has none. */
double cli_metrics_recall(const cli_metrics *metrics, int label);
/* Mean recall of the classes that have pictures. */
double cli_metrics_balanced_accuracy(const cli_metrics *metrics);
/* Expected calibration error (Guo et al., On Calibration of Modern Neural Networks, ICML 2017):
 * mean over pictures of |accuracy - confidence| of their bin, of 15 that are equally wide. */
double cli_metrics_calibration_error(const cli_metrics *metrics);
/* What that error would be, in the mean, if every answer were right with the probability that its
 * confidence says: few pictures scatter about it. Right answers of a bin as normally distributed,
 * whose mean absolute deviation is sqrt(2 variance / pi). */
double cli_metrics_calibration_by_chance(const cli_metrics *metrics);

typedef struct cli_interval {
  double low, high;
} cli_interval;

/* 95 % confidence interval of a share of which n_right of n were seen (Wilson, Probable inference,
 * the law of succession, and statistical inference, 1927). n is above 0. */
cli_interval cli_wilson(int n_right, int n);

/* How well scores part known pictures from unknown ones: the probability that a known picture's
 * score is the higher one, ties counted half; both are sorted. NAN where there are none of either.
 */
double cli_auroc(float *known, int n_known, float *unknown, int n_unknown);

static inline int cli_metrics_confusion(const cli_metrics *metrics, int label, int predicted) {
  return metrics->confusion[(size_t)label * (size_t)metrics->n_columns + (size_t)predicted];
}

#endif
