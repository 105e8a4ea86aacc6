/* Runs one convolution a number of times, for whoever counts instructions: bench_instructions NAME
 * TIMES. Without arguments it lists the names, each with the multiply-adds of one time.
 * TINYTL_KERNELS chooses the kernel set. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "work.h"

typedef struct job {
  const char *name;
  op what;
  bool lite; /* float32 weights, no activation */
  int side, in_c, out_c, kernel, stride, groups;
} job;

/* Layers of MobileNetV2-1.0 at 224 pixels and of its lite modules, small enough for an emulator. */
static const job JOBS[] = {
    {"pointwise 64 -> 384, forward", FORWARD, false, 14, 64, 384, 1, 1, 1},
    {"pointwise 64 -> 384, backward input", BACKWARD_INPUT, false, 14, 64, 384, 1, 1, 1},
    {"pointwise 960 -> 160, forward", FORWARD, false, 7, 960, 160, 1, 1, 1},
    {"depthwise 384, kernel 3, forward", FORWARD, false, 14, 384, 384, 3, 1, 384},
    {"depthwise 384, kernel 3, backward input", BACKWARD_INPUT, false, 14, 384, 384, 3, 1, 384},
    {"depthwise 192, kernel 3, stride 2, forward", FORWARD, false, 28, 192, 192, 3, 2, 192},
    {"depthwise 192, kernel 5, forward", FORWARD, false, 14, 192, 192, 5, 1, 192},
    {"lite 32 -> 32, kernel 5, forward", FORWARD, true, 14, 32, 32, 5, 1, 2},
    {"lite 32 -> 32, kernel 5, backward input", BACKWARD_INPUT, true, 14, 32, 32, 5, 1, 2},
    {"lite 32 -> 32, kernel 5, backward weight", BACKWARD_WEIGHT, true, 14, 32, 32, 5, 1, 2}};
enum { N_JOBS = sizeof JOBS / sizeof *JOBS };

static tinytl_conv conv_of(const job *j) {
  return tinytl_conv_make(j->side, j->side, j->in_c, j->out_c, j->kernel, j->stride, j->groups,
                          TINYTL_PAD_SYMMETRIC);
}

static int run(const job *j, int times) {
  const tinytl_conv conv = conv_of(j);
  work k = work_make(&conv, j->lite);
  for (int i = 0; i < times; i++) work_do(&k, j->what);
  work_free(&k);
  return 0;
}

int main(int argc, char **argv) {
  for (int i = 0; i < N_JOBS; i++) {
    const tinytl_conv conv = conv_of(&JOBS[i]);
    if (argc == 1) printf("%s\t%" PRIu64 "\n", JOBS[i].name, tinytl_conv_macs(&conv));
    if (argc == 3 && strcmp(argv[1], JOBS[i].name) == 0) return run(&JOBS[i], atoi(argv[2]));
  }
  return argc == 1 ? 0 : 2;
}
