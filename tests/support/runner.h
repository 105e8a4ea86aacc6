/* A whole network on one picture at a time. */
#ifndef TINYTL_TEST_RUNNER_H
#define TINYTL_TEST_RUNNER_H

#include "train/program.h"

typedef struct runner {
  tinytl_network *network;
  tinytl_program *program;
  tinytl_machine machine;
} runner;

/* image_size 0: the backbone's. */
void runner_start(runner *r, const tinytl_backbone *backbone, int image_size, tinytl_goal goal,
                  const tinytl_kernels *kernels);
void runner_finish(runner *r);

#endif
