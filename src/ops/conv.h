/* What the convolutions share: weights packed into panels, and the cut into tasks.
 *
 * A product has columns (output channels forward, input channels backward), counted in panels of
 * nr within each group, and tasks that each own some pixels of some panels. Panels are packed into
 * scratch, as many at a time as fit TINYTL_CONV_PANELS_NBYTES, whatever the number of threads. */
#ifndef TINYTL_OPS_CONV_H
#define TINYTL_OPS_CONV_H

#include <string.h>

#include "ops/ops.h"

/* So that panels stay in the second-level cache, beside those of another thread, while the pixels
 * stream. Four times as much was no faster, and is memory in every lane. */
enum { TINYTL_CONV_PANELS_NBYTES = 128 * 1024 };

/* Threads share a map of more pixels by its rows, one of fewer by its channels, all operators
 * alike: so a core finds in its caches what it made itself. */
enum { TINYTL_CONV_ROWS_ABOVE = 128 };

/* ---- Shape (conv_shape.c) -------------------------------------------------------------------- */

/* Taps of a phase, k % stride, along a side of the kernel. */
int tinytl_conv_phase_taps(const tinytl_conv *conv, int phase);

/* The source row that tap row ky brings to a target row (transposed: to a row of the gradient of
 * the input); -1: none. */
int tinytl_conv_source_row(const tinytl_conv *conv, bool transposed, int target_row, int ky);

/* The outputs that tap kx of a row meets, [first, first + n), and the input of the first; vertical
 * taps alike. n may be 0. */
typedef struct tinytl_conv_tap {
  int first, n, input;
} tinytl_conv_tap;
tinytl_conv_tap tinytl_conv_tap_span(int in, int out, int stride, int pad, int k);

bool tinytl_conv_is_depthwise(const tinytl_conv *conv);
/* Kernel 1, stride 1, one group: pixels are independent rows of a matrix. */
bool tinytl_conv_is_pointwise(const tinytl_conv *conv);

/* ---- Panels (conv_panels.c) ------------------------------------------------------------------ */

/* The weights of a convolution as panels: [taps * steps][nr] each, steps (the other side's
 * channels) within taps, which are ranked where transposed. Whoever packs sets run, weight and
 * packed. */
typedef struct tinytl_conv_panels {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const tinytl_weight *weight;
  float *packed;       /* _nbytes of scratch, aligned to 64 */
  bool transposed;     /* columns are input channels: for the gradient of the input */
  int columns;         /* of a group */
  int steps;           /* of a tap */
  int per_group;       /* panels */
  int n_panels;        /* of all groups */
  int capacity;        /* panels that `packed` holds */
  size_t panel_stride; /* floats */
  int first, n;        /* panels that it holds now */
} tinytl_conv_panels;

tinytl_conv_panels tinytl_conv_panels_make(const tinytl_kernels *kernels, const tinytl_conv *conv,
                                           bool transposed);
size_t tinytl_conv_panels_nbytes(const tinytl_conv_panels *panels);
/* Packs the next panels, the threads together; false when all were done. */
bool tinytl_conv_panels_next(tinytl_conv_panels *panels);
/* Gives panels another size than that of all their steps. */
void tinytl_conv_panels_stride(tinytl_conv_panels *panels, size_t n_floats);

/* Where panel `index` lies and what it holds. */
typedef struct tinytl_conv_panel {
  float *b;
  int group;
  int column, n; /* first column within the group, number */
} tinytl_conv_panel;
tinytl_conv_panel tinytl_conv_panels_at(const tinytl_conv_panels *panels, int index);
/* Pointwise: packs n steps of the panel, from `step` on, to where it lies. */
void tinytl_conv_panels_pack(const tinytl_conv_panels *panels, const tinytl_conv_panel *panel,
                             int step, int n);

/* ---- Epilogue (conv_epilogue.c) -------------------------------------------------------------- */

/* Applies the epilogue to channels [channel, channel + channels) of n pixels from `pixel`; channel
 * is a multiple of 8 where a mask is kept. y is the first of these elements, its pixels out_c
 * apart; the epilogue's arrays are whole maps. */
void tinytl_conv_epilogue(const tinytl_kernels *kernels, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int n, int channel, int channels, float *y);

/* Gives the epilogue to the product that makes these elements; channel is a multiple of 8. */
void tinytl_conv_tile_epilogue(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                               int pixel, int channel);
/* All of it but the bias, to the last of several products that make them one after the other. */
void tinytl_conv_tile_end(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int channel);

/* ---- By rows --------------------------------------------------------------------------------- */

/* The kinds of convolution by rows, for a caller that holds a few rows of a map. Pointers to source
 * and target are to the first of their elements, the epilogue's arrays are whole maps, and the
 * panels packed now are what is multiplied by. */

typedef struct tinytl_pointwise {
  tinytl_conv_panels panels;
  const tinytl_epilogue *epilogue;
  bool accumulate; /* add to the target */
} tinytl_pointwise;
/* n pixels; the epilogue's arrays are read from `pixel` on. */
void tinytl_pointwise_pixels(const tinytl_pointwise *product, int pixel, int n, const float *source,
                             float *target);

enum { TINYTL_RGB_PERIOD = 16 }; /* pixels whose 48 scales line up with vectors */
typedef struct tinytl_conv_rgb {
  tinytl_conv_panels panels;
  const tinytl_epilogue *epilogue;
  const uint8_t *rgb; /* this and below: tinytl_conv_rgb_input */
  float scale[3 * TINYTL_RGB_PERIOD], shift[3 * TINYTL_RGB_PERIOD];
} tinytl_conv_rgb;
void tinytl_conv_rgb_input(tinytl_conv_rgb *conv, const uint8_t *rgb, const float input_scale[3],
                           const float input_shift[3]);
void tinytl_conv_rgb_row(const tinytl_conv_rgb *conv, int oy, float *y);
/* n pixels of input row y from x on, either of which may lie outside; reads conv, rgb and the
 * scales alone. */
void tinytl_conv_rgb_widen(const tinytl_conv_rgb *conv, int y, int x, int n, float *out);

typedef struct tinytl_depthwise_rows {
  const tinytl_kernels *kernels;
  const tinytl_conv *conv;
  bool transposed;     /* from rows of dy to rows of dx */
  const float *taps;   /* tinytl_depthwise_widen made them */
  const float *source; /* source row y lies in slot y % n_slots: a whole map, or the latest rows */
  int n_slots;
  bool accumulate;                 /* add to the target */
  const tinytl_epilogue *epilogue; /* forward; its arrays are whole maps */
} tinytl_depthwise_rows;
void tinytl_depthwise_widen(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                            float *taps); /* tinytl_depthwise_scratch bytes */
/* Channels [channel, channel + channels) of a target row, whose first of them is at `target`. */
void tinytl_depthwise_row_part(const tinytl_depthwise_rows *rows, int target_row, int channel,
                               int channels, float *target);

/* ---- By whole maps --------------------------------------------------------------------------- */

/* The kinds of convolution by whole maps; arguments as in ops.h. */
void tinytl_conv_pointwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                           bool transposed, const tinytl_epilogue *epilogue, const float *source,
                           float *target, bool accumulate);
size_t tinytl_conv_pointwise_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels,
                                     bool transposed);
/* On n_images that follow each other. */
void tinytl_conv_dense(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                       const tinytl_weight *w, bool transposed, const float *source, float *target,
                       bool accumulate);
/* Groups of so few channels that a depthwise convolution for each of them is less work. */
bool tinytl_conv_is_narrow(const tinytl_conv *conv, const tinytl_kernels *kernels);
size_t tinytl_conv_narrow_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels);
void tinytl_conv_narrow(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                        bool transposed, const float *source, float *target, bool accumulate);
size_t tinytl_conv_narrow_weight_scratch(const tinytl_conv *conv);
void tinytl_conv_narrow_backward_weight(const tinytl_run *run, const tinytl_conv *conv,
                                        const float *x, const float *dy, float *dw);
size_t tinytl_depthwise_scratch(const tinytl_conv *conv);
void tinytl_depthwise(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                      bool transposed, const tinytl_epilogue *epilogue, const float *source,
                      float *target, bool accumulate);
size_t tinytl_depthwise_weight_scratch(const tinytl_conv *conv);
void tinytl_depthwise_backward_weight(const tinytl_run *run, const tinytl_conv *conv,
                                      const float *x, const float *dy, float *dw);

#endif
