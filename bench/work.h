/* One convolution to run and run again, forward or backward, on random values. */
#ifndef TINYTL_BENCH_WORK_H
#define TINYTL_BENCH_WORK_H

#include "ops/ops.h"
#include "timing.h"

typedef enum op { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, N_OPS } op;

static const char *const OP_NAMES[N_OPS] = {"forward", "backward input", "backward weight"};

typedef struct work {
  tinytl_run run;
  tinytl_conv conv;
  tinytl_weight weight;
  tinytl_epilogue epilogue;
  float *x, *y, *w;
} work;

static inline size_t max_size(size_t x, size_t y) {
  return x > y ? x : y;
}

static inline work work_make(const tinytl_conv *conv, bool lite) {
  const size_t n_weights =
      (size_t)conv->out_c * conv->kernel * conv->kernel * (conv->in_c / conv->groups);
  work k = {.run.kernels = tinytl_kernels_get(), .conv = *conv};
  const size_t scratch =
      max_size(tinytl_conv_forward_scratch(conv, k.run.kernels),
               max_size(tinytl_conv_backward_input_scratch(conv, k.run.kernels),
                        tinytl_conv_backward_weight_scratch(conv, k.run.kernels)));
  k.run.scratch = random_floats(scratch / sizeof(float) + 1);
  k.x = random_floats((size_t)conv->in_h * conv->in_w * conv->in_c);
  k.y = random_floats((size_t)conv->out_h * conv->out_w * conv->out_c);
  k.w = random_floats(n_weights);
  if (lite) {
    k.weight.f32 = k.w;
    return k;
  }
  k.weight =
      (tinytl_weight){.i8 = random_int8(n_weights), .scale = random_floats((size_t)conv->out_c)};
  k.epilogue =
      (tinytl_epilogue){.bias = random_floats((size_t)conv->out_c), .act = TINYTL_ACT_RELU6};
  return k;
}

static inline void work_free(work *k) {
  void *owned[] = {k->run.scratch,
                   k->x,
                   k->y,
                   k->w,
                   (void *)(uintptr_t)k->weight.i8,
                   (void *)(uintptr_t)k->weight.scale,
                   (void *)(uintptr_t)k->epilogue.bias};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
}

static inline void work_do(const work *k, op what) {
  if (what == FORWARD)
    tinytl_conv_forward(&k->run, &k->conv, &k->weight, &k->epilogue, k->x, k->y);
  else if (what == BACKWARD_INPUT)
    tinytl_conv_backward_input(&k->run, &k->conv, &k->weight, k->y, k->x, false);
  else
    tinytl_conv_backward_weight(&k->run, &k->conv, k->x, k->y, k->w);
}

#endif
