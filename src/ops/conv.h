/* What the convolutions share: weights packed into panels, and the cut into tasks.
 *
 * A product has columns (output channels forward, input channels backward), counted in panels of
 * nr within each group, and tasks that each own some pixels of some panels. Panels are packed into
 * scratch as many at a time as fit TINYTL_CONV_PANELS_NBYTES, whatever the number of threads. */
#ifndef TINYTL_OPS_CONV_H
#define TINYTL_OPS_CONV_H

#include <string.h>

#include "ops/ops.h"

/* Half of a common second-level cache, so that panels stay there while the pixels stream. */
enum { TINYTL_CONV_PANELS_NBYTES = 512 * 1024 };

/* The weights of a convolution as panels: [taps * steps][nr] each, steps (the other side's
 * channels) within taps. */
typedef struct tinytl_conv_panels {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const tinytl_weight *weight;
  bool transposed;     /* columns are input channels: for the gradient of the input */
  int columns;         /* of a group */
  int steps;           /* of a tap */
  int per_group;       /* panels */
  int n_panels;        /* of all groups */
  int capacity;        /* panels that scratch holds */
  size_t panel_stride; /* floats */
  int first, n;        /* panels that scratch holds now */
} tinytl_conv_panels;

tinytl_conv_panels tinytl_conv_panels_make(const tinytl_kernels *kernels, const tinytl_conv *conv,
                                           bool transposed);
size_t tinytl_conv_panels_nbytes(const tinytl_conv_panels *panels);
/* Packs the next panels, the threads together; false when all were done. */
bool tinytl_conv_panels_next(tinytl_conv_panels *panels);

/* Where panel `index` lies and what it holds. */
typedef struct tinytl_conv_panel {
  const float *b;
  int group;
  int column, n; /* first column within the group, number */
} tinytl_conv_panel;
tinytl_conv_panel tinytl_conv_panels_at(const tinytl_conv_panels *panels, int index);

/* The outputs that tap kx of a row meets, [first, first + n), and the input of the first; vertical
 * taps alike. n may be 0. */
typedef struct tinytl_conv_tap {
  int first, n, input;
} tinytl_conv_tap;
tinytl_conv_tap tinytl_conv_tap_span(int in, int out, int stride, int pad, int k);

bool tinytl_conv_is_depthwise(const tinytl_conv *conv);
/* Kernel 1, stride 1, one group: pixels are independent rows of a matrix. */
bool tinytl_conv_is_pointwise(const tinytl_conv *conv);

/* Applies the epilogue to channels [channel, channel + channels) of n pixels from `pixel`; channel
 * is a multiple of 8 where a mask is kept. y and the epilogue's arrays are whole maps of out_c. */
void tinytl_conv_epilogue(const tinytl_kernels *kernels, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int n, int channel, int channels, float *y);

/* What is left of the epilogue where the product added the bias itself: mask and shortcut. */
void tinytl_conv_after_bias(const tinytl_kernels *kernels, const tinytl_epilogue *epilogue,
                            int out_c, int pixel, int n, int channel, int channels, float *y);

/* c[0 .. n)[0 .. columns of the tile) by register tiles of even height. `tile` says the rest: m is
 * not read. */
void tinytl_conv_gemm_rows(const tinytl_kernels *kernels, tinytl_gemm_tile tile, int n);

/* The kinds of convolution; arguments as in ops.h. */
void tinytl_conv_pointwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                           bool transposed, const tinytl_epilogue *epilogue, const float *source,
                           float *target, bool accumulate);
void tinytl_conv_dense(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                       bool transposed, const float *source, float *target, bool accumulate);
size_t tinytl_depthwise_scratch(const tinytl_conv *conv);
void tinytl_depthwise_forward(const tinytl_run *run, const tinytl_conv *conv,
                              const tinytl_weight *w, const tinytl_epilogue *epilogue,
                              const float *x, float *y);
void tinytl_depthwise_backward_input(const tinytl_run *run, const tinytl_conv *conv,
                                     const tinytl_weight *w, const float *dy, float *dx,
                                     bool accumulate);

static inline int tinytl_min(int x, int y) {
  return x < y ? x : y;
}
static inline int tinytl_ceil_div(int x, int y) {
  return (x + y - 1) / y;
}

#endif
