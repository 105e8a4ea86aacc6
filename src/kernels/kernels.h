/* The inner loops. One source (kernels_impl.h, written on vectors of the compiler) is compiled once
 * per instruction set; tinytl_kernels_get is the one place that decides which runs.
 *
 * Every element of an output is summed in one fixed order, so results do not depend on how the work
 * was cut into tiles. */
#ifndef TINYTL_KERNELS_H
#define TINYTL_KERNELS_H

#include "model/arch.h"

enum { TINYTL_MAX_NR = 32 }; /* columns of the largest register tile */

/* One tile of a matrix product: C[m][n] (+)= sum over k of A[m][k] * B[k][n].
 * A element (row, step) is a[row * a_row + step * a_step]; B is a packed panel [k][nr], padded with
 * zeros to nr columns and aligned to 64; C element (row, column) is c[row * c_row + column].
 * m >= 1, 1 <= n <= nr, k >= 0. */
typedef struct tinytl_gemm_tile {
  int m, n, k;
  const float *a;
  ptrdiff_t a_row, a_step;
  const float *b;
  float *c;
  ptrdiff_t c_row;
  bool accumulate; /* add to what C holds */
  /* The k steps are done n_runs times (0 counts as 1), A moved by a_run and B by b_run floats after
   * each: a second level of steps. */
  int n_runs;
  ptrdiff_t a_run, b_run;
  const float *bias; /* [n], what sums begin with; NULL: 0 */
  /* C becomes act(sum) + residual, and mask is kept, as tinytl_bias_act says. */
  tinytl_act act;
  const float *residual; /* rows c_row apart; NULL: none */
  uint8_t *mask;         /* NULL: not kept */
  ptrdiff_t mask_row;    /* bytes */
} tinytl_gemm_tile;

/* y[i][c] = act(y[i][c] + bias[c]) (+ residual[i][c]) over n pixels of `channels`; rows are `pixel`
 * floats apart in y and residual. Bit c % 8 of mask[i * mask_pixel + c / 8] says whether the
 * gradient passes the activation (0 < sum, and sum < 6 for ReLU6; what is not finite never
 * passes). bias, residual and mask may be NULL. */
typedef struct tinytl_bias_act {
  int n, channels;
  float *y;
  ptrdiff_t pixel;
  const float *bias;
  tinytl_act act;
  const float *residual;
  uint8_t *mask;
  ptrdiff_t mask_pixel; /* bytes */
} tinytl_bias_act;

/* Rows of depthwise convolution: see ops/depthwise.c for how they are cut. Layout [row][x][c]. */
typedef struct tinytl_depthwise_row {
  const float *const *rows; /* [kernel] input rows, NULL: above or below the map (zeros) */
  int in_w, out_w;          /* pixels */
  int channels;             /* of this call; rows, taps and y point at the first of them */
  ptrdiff_t pixel;          /* floats between neighbouring pixels, input and output alike */
  int kernel, stride, pad;  /* pad: left */
  const float *taps;        /* [kernel][kernel][tap] */
  ptrdiff_t tap;            /* floats between neighbouring taps: all channels rounded up to 16,
                               zero padded */
  float *y;                 /* output row */
  bool accumulate;          /* add to what y holds */
  const float *bias;        /* forward alone: act(y + bias) and mask as tinytl_bias_act says */
  tinytl_act act;
  uint8_t *mask;
  ptrdiff_t mask_pixel;
} tinytl_depthwise_row;

/* Gradient of a depthwise convolution's weights, from one row of dy: for every tap whose input row
 * is there, dw[ky][kx][c] += sum over ox, ascending, of rows[ky][ox * stride - pad + kx][c] *
 * dy[ox][c]. */
typedef struct tinytl_depthwise_weight_row {
  const float *const *rows; /* [kernel] input rows, NULL: above or below the map */
  const float *dy;
  int in_w, out_w;         /* pixels */
  int channels;            /* of this call; rows, dy and dw point at the first of them */
  ptrdiff_t pixel;         /* floats between neighbouring pixels of x and dy */
  int kernel, stride, pad; /* pad: left */
  float *dw;               /* [kernel][kernel][tap] */
  ptrdiff_t tap;           /* floats between neighbouring taps */
} tinytl_depthwise_weight_row;

#define TINYTL_ADAM_BETA1 0.9
#define TINYTL_ADAM_BETA2 0.999
enum { TINYTL_MOMENT_BLOCK = 256 /* values that share a scale of their 8-bit moments */ };

/* An optimizer's update of n values from their gradient, which becomes 0: train/optimizer.h says
 * how, and what the moments are. */
typedef struct tinytl_update {
  size_t n;
  float *values, *gradient;   /* [n] */
  float rate, gradient_scale; /* with Adam, rate is the learning rate over 1 - beta1^t */
  float root_correction;      /* Adam: 1 / sqrt(1 - beta2^t) */
  float *moment1, *moment2;   /* [n], floats; SGD has the first alone */
  uint8_t *code1, *code2;     /* [n], 8 bits, with scales [n / TINYTL_MOMENT_BLOCK, rounded up] */
  float *scale1, *scale2;
} tinytl_update;

/* Some neighbouring channels of maps whose pixels lie `pixel` floats apart. */
typedef struct tinytl_channels {
  int n_pixels, channels;
  ptrdiff_t pixel;
} tinytl_channels;

/* Bilinear upsampling along a row: output pixel = (1 - weight) input[first] + weight input[second],
 * align_corners false. Pixel i of `out` lies at s = max(0, (i + 1/2) * in / out - 1/2) of `in`,
 * between pixels floor(s) and floor(s) + 1; the last one stands in past the edge. */
typedef struct tinytl_upsample_tap {
  int first, second;
  float weight;
} tinytl_upsample_tap;

enum { TINYTL_UPSAMPLE_ROWS = 4 };

static inline tinytl_upsample_tap tinytl_upsample_tap_at(int i, int in, int out) {
  float s = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f;
  if (s < 0) s = 0;
  const int first = (int)s < in - 1 ? (int)s : in - 1;
  const int second = first + 1 < in ? first + 1 : first;
  return (tinytl_upsample_tap){first, second, s - (float)first};
}

typedef struct tinytl_kernels {
  const char *name;
  int mr, nr; /* register tile */
  int lanes;  /* of a vector */
  void (*gemm)(const tinytl_gemm_tile *tile);

  /* Packs n <= nr columns of B[k][column] into a panel [k][nr]: element (step, column) is at
   * w[step * step_stride + column * column_stride], where one of the strides is 1. int8 is widened
   * and multiplied by scale[step] (by_step, which needs column_stride 1) or scale[column]. */
  void (*pack_f32)(float *panel, const float *w, int k, int n, ptrdiff_t step_stride,
                   ptrdiff_t column_stride);
  void (*pack_i8)(float *panel, const int8_t *w, const float *scale, bool by_step, int k, int n,
                  ptrdiff_t step_stride, ptrdiff_t column_stride);

  void (*bias_act)(const tinytl_bias_act *tile);
  /* dy[i][c] = mask bit ? dy[i][c] : 0, dense rows of `channels`; mask NULL: all pass. Where dbias
   * is not NULL, dbias[c] += sum over i of the masked dy, i ascending, in float. */
  void (*mask_grad)(float *dy, int n, int channels, const uint8_t *mask, float *dbias);

  void (*depthwise_row)(const tinytl_depthwise_row *row);
  /* Gradient of the input of a depthwise convolution, one input row: rows[ky] is the gradient row
   * of the output that tap row ky reaches, NULL: none; in_w is the width of dy, out_w that of dx,
   * y the row of dx. */
  void (*depthwise_row_grad)(const tinytl_depthwise_row *row);
  void (*depthwise_weight_row)(const tinytl_depthwise_weight_row *row);

  /* One channel of each group of `width`, repeated over the group, of n dense pixels:
   * y[i][c] = x[i][c / width * width + which]. width divides channels and is lanes at most. */
  void (*spread)(int n, int channels, int width, int which, const float *x, float *y);

  void (*add)(float *y, const float *x, size_t n);           /* y[i] += x[i] */
  void (*axpy)(float *y, float s, const float *x, size_t n); /* y[i] += s * x[i] */

  /* Over all pixels of each channel: sum of x; of (x - mean - rest)^2, where mean + rest is the
   * mean to more digits than a float has. */
  void (*channel_sums)(const tinytl_channels *map, const float *x, double *sums);
  void (*channel_squares)(const tinytl_channels *map, const float *x, const float *mean,
                          const float *rest, double *sums);
  /* x = (x - mean - rest) * rstd */
  void (*normalise)(const tinytl_channels *map, const float *mean, const float *rest,
                    const float *rstd, float *x);
  /* y = act(x_hat * scale + shift) */
  void (*scale_shift)(const tinytl_channels *map, const float *x_hat, const float *scale,
                      const float *shift, tinytl_act act, float *y);
  /* Clears dy where the activation cut the above off; sums of dy * x_hat and of dy. */
  void (*norm_grad_sums)(const tinytl_channels *map, const float *x_hat, const float *scale,
                         const float *shift, tinytl_act act, float *dy, double *dscale,
                         double *dshift);
  /* dy = dy * factor - (x_hat * slope + offset) */
  void (*norm_grad)(const tinytl_channels *map, const float *x_hat, const float *factor,
                    const float *slope, const float *offset, float *dy);

  /* y [out_w][channels] += upsampled rows of [in_w][channels], weight of them bottom's. */
  void (*upsample_row)(int in_w, int out_w, int channels, const float *top, const float *bottom,
                       float weight, float *y);
  /* dx [in_w][channels] += the gradient, from n_rows rows of dy [out_w][channels] that follow each
   * other, of weights [n_rows]; up to TINYTL_UPSAMPLE_ROWS. */
  void (*upsample_row_grad)(int in_w, int out_w, int channels, int n_rows, const float *weights,
                            const float *dy, float *dx);

  void (*sgd)(const tinytl_update *update);
  void (*adam)(const tinytl_update *update);
  void (*adam8)(const tinytl_update *update); /* values begin at a block's first */
} tinytl_kernels;

/* The best set that this CPU runs, or the lesser one that TINYTL_KERNELS names. */
const tinytl_kernels *tinytl_kernels_get(void);
/* Every set that this CPU runs, portable first, best last; for tests and benchmarks. Returns their
 * number. */
enum { TINYTL_MAX_KERNEL_SETS = 4 };
int tinytl_kernels_all(const tinytl_kernels *sets[TINYTL_MAX_KERNEL_SETS]);

#endif
