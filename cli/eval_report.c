#include "eval_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "terminal.h"

enum { LARGEST_TABLE = 20, WORST_PAIRS = 20 };

/* ---- JSON --------------------------------------------------------------------------------- */

/* Of n; NAN, which JSON has as null, where there are none or there is no threshold. */
static double share_of(const cli_rejection *rejection, int part, int n) {
  return n > 0 && !isnan(rejection->below) ? (double)part / n : (double)NAN;
}

static void put_rejection(cli_json *json, const cli_eval_report *report) {
  const cli_rejection *rejection = &report->rejection;
  const cli_metrics *metrics = report->metrics;
  cli_json_real(json, "reject_below", (double)rejection->below);
  cli_json_real(json, "right_kept", share_of(rejection, rejection->n_right_kept, metrics->n_top1));
  cli_json_real(
      json, "wrong_rejected",
      share_of(rejection, rejection->n_wrong_rejected, metrics->n_images - metrics->n_top1));
  if (rejection->n_unknown == 0) return;
  cli_json_int(json, "unknown_images", rejection->n_unknown);
  cli_json_int(json, "unknown_skipped", rejection->n_unknown_skipped);
  cli_json_real(json, "unknown_rejected",
                share_of(rejection, rejection->n_unknown_rejected, rejection->n_unknown));
  cli_json_real(json, "auroc", rejection->auroc);
}

void cli_eval_print_json(const cli_eval_report *report) {
  const cli_metrics *metrics = report->metrics;
  cli_json json = cli_json_begin();
  cli_json_text(&json, "event", "eval");
  cli_json_text(&json, "measured_on", report->measured_on);
  cli_json_int(&json, "images", metrics->n_images);
  cli_json_real(&json, "top1", (double)metrics->n_top1 / metrics->n_images);
  const cli_interval top1 = cli_wilson(metrics->n_top1, metrics->n_images);
  cli_json_real(&json, "top1_low", top1.low);
  cli_json_real(&json, "top1_high", top1.high);
  cli_json_real(&json, "top5", (double)metrics->n_top5 / metrics->n_images);
  cli_json_int(&json, "skipped", report->n_skipped);
  cli_json_real(&json, "ece", cli_metrics_calibration_error(metrics));
  cli_json_real(&json, "ece_by_chance", cli_metrics_calibration_by_chance(metrics));
  cli_json_real(&json, "balanced_accuracy", cli_metrics_balanced_accuracy(metrics));
  cli_json_real(&json, "temperature", (double)report->temperature);
  put_rejection(&json, report);
  cli_json_open(&json, "classes", '[');
  for (int i = 0; i < metrics->n_classes; i++) {
    cli_json_open(&json, NULL, '{');
    cli_json_text(&json, "name", report->class_names[i]);
    cli_json_int(&json, "images", cli_metrics_class_images(metrics, i));
    cli_json_real(&json, "recall", cli_metrics_recall(metrics, i));
    cli_json_close(&json, '}');
  }
  cli_json_close(&json, ']');
  cli_json_open(&json, "confusion", '[');
  for (int i = 0; i < metrics->n_classes; i++) {
    cli_json_open(&json, NULL, '[');
    for (int j = 0; j < metrics->n_columns; j++) {
      cli_json_int(&json, NULL, cli_metrics_confusion(metrics, i, j));
    }
    cli_json_close(&json, ']');
  }
  cli_json_close(&json, ']');
  cli_json_end(&json);
}

/* ---- Text --------------------------------------------------------------------------------- */

static void print_recalls(const cli_eval_report *report) {
  printf("\n   # images  recall  class\n");
  for (int i = 0; i < report->metrics->n_classes; i++) {
    double recall = cli_metrics_recall(report->metrics, i);
    printf("%4d %6d", i + 1, cli_metrics_class_images(report->metrics, i));
    if (isnan(recall))
      printf("       -  ");
    else
      printf(" %5.1f %%  ", 100 * recall);
    cli_put_text(stdout, report->class_names[i]);
    putchar('\n');
  }
}

/* Of a column that the largest count fits into, with a space before it. */
static int matrix_width(const cli_metrics *metrics) {
  int largest = 0, width = 2;
  for (int i = 0; i < metrics->n_classes; i++)
    for (int j = 0; j < metrics->n_columns; j++) {
      const int n = cli_metrics_confusion(metrics, i, j);
      if (n > largest) largest = n;
    }
  for (; largest >= 10; largest /= 10) width++;
  return width < 5 ? 5 : width;
}

static void print_matrix(const cli_metrics *metrics) {
  static const char other[] = " other";
  const int width = matrix_width(metrics), least = sizeof other - 1;
  const int other_width = width > least ? width : least;
  printf("\nConfusion: a row a true class, a column a predicted one\n    ");
  for (int j = 0; j < metrics->n_classes; j++) printf("%*d", width, j + 1);
  if (metrics->n_columns > metrics->n_classes) printf("%*s", other_width, other);
  putchar('\n');
  for (int i = 0; i < metrics->n_classes; i++) {
    printf("%4d", i + 1);
    for (int j = 0; j < metrics->n_columns; j++) {
      const int n = cli_metrics_confusion(metrics, i, j);
      const int of_column = j < metrics->n_classes ? width : other_width;
      if (n > 0)
        printf("%*d", of_column, n);
      else
        printf("%*s", of_column, ".");
    }
    putchar('\n');
  }
}

typedef struct pair {
  int label, predicted, n;
} pair;

static int compare_pairs(const void *left, const void *right) {
  const pair *x = left, *y = right;
  if (x->n != y->n) return y->n - x->n;
  return x->label != y->label ? x->label - y->label : x->predicted - y->predicted;
}

/* Where a matrix would be too wide: the classes most often taken for another. */
static void print_worst_pairs(const cli_eval_report *report) {
  const cli_metrics *metrics = report->metrics;
  pair worst[WORST_PAIRS + 1];
  size_t n = 0;
  for (int i = 0; i < metrics->n_classes; i++) {
    for (int j = 0; j < metrics->n_columns; j++) {
      int times = cli_metrics_confusion(metrics, i, j);
      if (i == j || times == 0) continue;
      worst[n++] = (pair){i, j, times};
      qsort(worst, n, sizeof *worst, compare_pairs);
      if (n > WORST_PAIRS) n = WORST_PAIRS;
    }
  }
  if (n == 0) return;
  printf("\nMost often taken for another class\n");
  for (size_t i = 0; i < n; i++) {
    const char *taken_for = worst[i].predicted < metrics->n_classes
                                ? report->class_names[worst[i].predicted]
                                : "a class that the pictures do not have";
    printf("%6d  ", worst[i].n);
    cli_put_text(stdout, report->class_names[worst[i].label]);
    printf(" -> ");
    cli_put_text(stdout, taken_for);
    putchar('\n');
  }
}

static void print_rejection(const cli_eval_report *report) {
  const cli_rejection *rejection = &report->rejection;
  const cli_metrics *metrics = report->metrics;
  const int n_right = metrics->n_top1, n_wrong = metrics->n_images - n_right;
  const bool rejects = !isnan(rejection->below);
  if (rejects) {
    printf("unknown      below a score of %.3f: %d of %d right answers, %d of %d wrong ones\n",
           (double)rejection->below, n_right - rejection->n_right_kept, n_right,
           rejection->n_wrong_rejected, n_wrong);
  }
  if (rejection->n_unknown == 0) return;
  printf("others       %d pictures, %d left out: ", rejection->n_unknown,
         rejection->n_unknown_skipped);
  if (rejects) printf("%d are unknown, ", rejection->n_unknown_rejected);
  printf("AUROC %.3f\n", rejection->auroc);
}

void cli_eval_print(const cli_eval_report *report) {
  const cli_metrics *metrics = report->metrics;
  double n = metrics->n_images;
  printf("pictures     %d, %d left out\n", metrics->n_images, report->n_skipped);
  const cli_interval top1 = cli_wilson(metrics->n_top1, metrics->n_images);
  printf("top-1        %.1f %%  between %.1f and %.1f %% with 95 %% confidence\n",
         100 * metrics->n_top1 / n, 100 * top1.low, 100 * top1.high);
  printf("top-5        %.1f %%\n", 100 * metrics->n_top5 / n);
  printf("balanced     %.1f %%  mean recall of the classes\n",
         100 * cli_metrics_balanced_accuracy(metrics));
  printf("calibration  %.1f %%  expected difference of confidence and accuracy; %.1f by chance\n",
         100 * cli_metrics_calibration_error(metrics),
         100 * cli_metrics_calibration_by_chance(metrics));
  print_rejection(report);
  print_recalls(report);
  if (metrics->n_classes <= LARGEST_TABLE)
    print_matrix(metrics);
  else
    print_worst_pairs(report);
}
