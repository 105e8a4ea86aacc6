/* What `tinytl bench` measured, and how it is told. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "tinytl.h"

typedef struct cli_bench_result {
  const char *task;         /* "train", "predict" */
  tinytl_method method;     /* of training */
  int batch, n_classes;     /* n_classes 0: no training */
  double images_per_second; /* without what comes before the first picture */
  double setup_seconds;     /* that; of training */
  double peak_flops;        /* of the threads that were used */
  uint64_t macs;            /* of one picture: forward, or a training step */
  size_t planned_bytes;
  double load_seconds;           /* of the processor, to decode or make one picture */
  double n_images;               /* trained on; of the profile */
  const tinytl_profile *profile; /* NULL: not asked for */
} cli_bench_result;

void cli_bench_print(const cli_bench_result *result);
void cli_bench_print_json(const cli_bench_result *result);

#endif
