/* The figures of `eval`, for people and as JSON. */
#ifndef CLI_EVAL_REPORT_H
#define CLI_EVAL_REPORT_H

#include "metrics.h"

/* What the adapter's threshold makes of the pictures, and of those that belong to no class. */
typedef struct cli_rejection {
  float below;                        /* the threshold; NAN: none */
  int n_right_kept, n_wrong_rejected; /* of the pictures evaluated; 0 without a threshold */
  int n_unknown;                      /* 0: not asked for */
  int n_unknown_skipped, n_unknown_rejected;
  double auroc;
} cli_rejection;

typedef struct cli_eval_report {
  const cli_metrics *metrics;
  const char *const *class_names; /* [metrics->n_classes] */
  const char *measured_on;        /* "test" or "val", a part of the folder, or "all" of it */
  int n_skipped;
  float temperature;
  cli_rejection rejection;
} cli_eval_report;

void cli_eval_print(const cli_eval_report *report);
/* One line. `confusion`: a row a true class in the order of `classes`, a column a predicted class
 * in the same order, and a last one for all further classes where the model knows any. */
void cli_eval_print_json(const cli_eval_report *report);

#endif
