/* The kernels, included once by each instruction set's file, which defines before
 *   VECTOR_W          lanes of a vector
 *   MR                rows of the register tile; the columns are NV_MAX vectors
 *   NV_MAX            vectors of the register tile's columns
 *   KERNELS           name of the table of kernels that it exports
 *   KERNELS_NAME      the set's name
 * Sums run in one order (steps ascending, one multiply-add a term) whatever the tile. */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/vector.h"

enum { NR = NV_MAX * W };

/* The activation's limits. */
ALWAYS_INLINE vf act_low(tinytl_act act) {
  return splat(act == TINYTL_ACT_NONE ? -INFINITY : 0);
}
ALWAYS_INLINE vf act_high(tinytl_act act) {
  return splat(act == TINYTL_ACT_RELU6 ? 6 : INFINITY);
}

/* Which of the first `lanes` lanes pass the gradient. */
ALWAYS_INLINE unsigned act_bits(vf sum, vf low, vf high, int lanes) {
  return lane_bits((low < sum) & (sum < high)) & ((1u << lanes) - 1);
}

/* Bits of W channels that start at `channel`; a mask byte holds 8 channels. */
ALWAYS_INLINE void put_bits(uint8_t *mask, int channel, unsigned bits, int lanes) {
#if VECTOR_W == 4
  mask[channel / 8] = (uint8_t)(channel % 8 ? mask[channel / 8] | bits << 4 : bits);
  (void)lanes;
#else
  mask[channel / 8] = (uint8_t)bits;
  if (lanes > 8) mask[channel / 8 + 1] = (uint8_t)(bits >> 8);
#endif
}

ALWAYS_INLINE unsigned get_bits(const uint8_t *mask, int channel, int lanes) {
#if VECTOR_W == 4
  (void)lanes;
  return mask[channel / 8] >> channel % 8 & 15u;
#else
  unsigned bits = mask[channel / 8];
  return lanes > 8 ? bits | (unsigned)mask[channel / 8 + 1] << 8 : bits;
#endif
}

/* ---- Matrix product ------------------------------------------------------------------------ */

/* m rows and n_vectors vectors of columns, both known to the compiler: the sums live in registers.
 * Rows are addressed from every third one: base, base + row, base + 2 row are one address mode on
 * x86, and so are 12 rows with 5 registers. */
ALWAYS_INLINE void gemm_tile(const tinytl_gemm_tile *t, const int m, const int n_vectors) {
  vf sum[MR][NV_MAX];
  const ptrdiff_t a_row = t->a_row, a_step = t->a_step, c_row = t->c_row;
  const int last = t->n - (n_vectors - 1) * W; /* columns of the last vector */
  UNROLL for (int i = 0; i < m; i++) {
    UNROLL for (int j = 0; j < n_vectors; j++) {
      const float *c = t->c + i * c_row + j * W;
      sum[i][j] = !t->accumulate                   ? (vf){0}
                  : j + 1 < n_vectors || last == W ? load(c)
                                                   : load_n(c, last);
    }
  }
  const int n_runs = t->n_runs > 1 ? t->n_runs : 1;
  for (int run = 0; run < n_runs; run++) {
    const float *b = t->b + run * t->b_run;
    const float *a[(MR + 2) / 3];
    UNROLL for (int g = 0; g < (m + 2) / 3; g++) a[g] = t->a + run * t->a_run + 3 * g * a_row;
    for (int step = 0; step < t->k; step++) {
      vf column[NV_MAX];
      UNROLL for (int j = 0; j < n_vectors; j++) column[j] = load(b + j * W);
      UNROLL for (int i = 0; i < m; i++) {
        vf x = splat(a[i / 3][i % 3 * a_row]);
        UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] += x * column[j];
      }
      UNROLL for (int g = 0; g < (m + 2) / 3; g++) a[g] += a_step;
      b += NR;
    }
  }
  if (t->bias) {
    UNROLL for (int j = 0; j < n_vectors; j++) {
      const float *p = t->bias + j * W;
      const vf bias = j + 1 < n_vectors || last == W ? load(p) : load_n(p, last);
      UNROLL for (int i = 0; i < m; i++) sum[i][j] += bias;
    }
  }
  const vf low = act_low(t->act), high = act_high(t->act);
  if (t->mask) {
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) {
        const int lanes = j + 1 < n_vectors ? W : last;
        put_bits(t->mask + i * t->mask_row, j * W, act_bits(sum[i][j], low, high, lanes), lanes);
      }
    }
  }
  if (t->act != TINYTL_ACT_NONE) {
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] = clamp(sum[i][j], low, high);
    }
  }
  if (t->residual) {
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) {
        const float *p = t->residual + i * c_row + j * W;
        sum[i][j] += j + 1 < n_vectors || last == W ? load(p) : load_n(p, last);
      }
    }
  }
  UNROLL for (int i = 0; i < m; i++) {
    UNROLL for (int j = 0; j < n_vectors; j++) {
      float *c = t->c + i * c_row + j * W;
      if (j + 1 < n_vectors || last == W)
        store(c, sum[i][j]);
      else
        store_n(c, sum[i][j], last);
    }
  }
}

ALWAYS_INLINE void gemm_rows(const tinytl_gemm_tile *t, const int m) {
  if (NV_MAX == 3 && t->n > 2 * W)
    gemm_tile(t, m, NV_MAX);
  else if (t->n > W)
    gemm_tile(t, m, 2);
  else
    gemm_tile(t, m, 1);
}

static void gemm(const tinytl_gemm_tile *t) {
  switch (t->m) {
  case 1:
    gemm_rows(t, 1);
    break;
  case 2:
    gemm_rows(t, 2);
    break;
  case 3:
    gemm_rows(t, 3);
    break;
  case 4:
    gemm_rows(t, 4);
    break;
#if MR > 4
  case 5:
    gemm_rows(t, 5);
    break;
  case 6:
    gemm_rows(t, 6);
    break;
#endif
#if MR > 6
  case 7:
    gemm_rows(t, 7);
    break;
  case 8:
    gemm_rows(t, 8);
    break;
#endif
#if MR > 8
  case 9:
    gemm_rows(t, 9);
    break;
  case 10:
    gemm_rows(t, 10);
    break;
  case 11:
    gemm_rows(t, 11);
    break;
  case 12:
    gemm_rows(t, 12);
    break;
#endif
  }
}

/* ---- Packing ------------------------------------------------------------------------------- */

static void pack_zero(float *panel, int k) {
  for (int step = 0; step < k; step++) store(panel + (ptrdiff_t)step * NR, (vf){0});
}

/* Columns stand in rows of w (step_stride 1): W x W squares are turned. */
static void pack_columns_f32(float *panel, const float *w, int k, int n, ptrdiff_t column_stride) {
  for (int step = 0; step < k; step += W) {
    const int steps = k - step < W ? k - step : W;
    vi square[W];
    UNROLL for (int i = 0; i < W; i++) {
      const float *row = w + i * column_stride + step;
      square[i] = i >= n ? (vi){0} : (vi)(steps == W ? load(row) : load_n(row, steps));
    }
    transpose(square);
    for (int i = 0; i < steps; i++) store(panel + (ptrdiff_t)(step + i) * NR, (vf)square[i]);
  }
}

static void pack_f32(float *panel, const float *w, int k, int n, ptrdiff_t step_stride,
                     ptrdiff_t column_stride) {
  for (int j = 0; j < NR; j += W) {
    const int columns = n - j < W ? n - j : W;
    const float *first = w + j * column_stride;
    if (columns <= 0) {
      pack_zero(panel + j, k);
    } else if (column_stride != 1) {
      pack_columns_f32(panel + j, first, k, columns, column_stride);
    } else {
      for (int step = 0; step < k; step++) {
        const float *row = first + step * step_stride;
        store(panel + (ptrdiff_t)step * NR + j, columns == W ? load(row) : load_n(row, columns));
      }
    }
  }
}

/* As pack_columns_f32, four steps to a lane: byte b of lane i is moved to the top, then down with
 * its sign. Little-endian, as every machine this is built for. */
static void pack_columns_i8(float *panel, const int8_t *w, vf scale, int k, int n,
                            ptrdiff_t column_stride) {
  for (int step = 0; step < k; step += 4 * W) {
    const int steps = k - step < 4 * W ? k - step : 4 * W;
    vi square[W];
    UNROLL for (int i = 0; i < W; i++) square[i] =
        i < n ? load_bytes(w + i * column_stride + step, steps) : (vi){0};
    transpose(square);
    float *out = panel + (ptrdiff_t)step * NR;
    for (int i = 0; i < steps / 4; i++, out += 4 * NR) {
      UNROLL for (int b = 0; b < 4; b++) {
        vi value = (vi)((vu)square[i] << (24 - 8 * b)) >> 24;
        store(out + b * NR, __builtin_convertvector(value, vf) * scale);
      }
    }
    for (int b = 0; b < steps % 4; b++, out += NR) {
      vi value = (vi)((vu)square[steps / 4] << (24 - 8 * b)) >> 24;
      store(out, __builtin_convertvector(value, vf) * scale);
    }
  }
}

static void pack_i8(float *panel, const int8_t *w, const float *scale, bool by_step, int k, int n,
                    ptrdiff_t step_stride, ptrdiff_t column_stride) {
  for (int j = 0; j < NR; j += W) {
    const int columns = n - j < W ? n - j : W;
    const int8_t *first = w + j * column_stride;
    if (columns <= 0) {
      pack_zero(panel + j, k);
      continue;
    }
    vf column_scale = by_step ? (vf){0} : load_n(scale + j, columns);
    if (column_stride != 1) {
      pack_columns_i8(panel + j, first, column_scale, k, columns, column_stride);
      continue;
    }
    for (int step = 0; step < k; step++) {
      int8_t edge[W] = {0};
      const int8_t *row = first + step * step_stride;
      if (columns < W) row = memcpy(edge, row, (size_t)columns);
      vf s = by_step ? splat(scale[step]) : column_scale;
      store(panel + (ptrdiff_t)step * NR + j, load_i8(row) * s);
    }
  }
}

/* ---- After the sum ------------------------------------------------------------------------- */

/* `lanes` channels from `channel` of all pixels. */
ALWAYS_INLINE void bias_act_column(const tinytl_bias_act *t, int channel, int lanes, bool whole,
                                   bool has_mask, bool has_residual) {
  vf bias = {0};
  if (t->bias) bias = whole ? load(t->bias + channel) : load_n(t->bias + channel, lanes);
  const vf low = act_low(t->act), high = act_high(t->act);
  float *y = t->y + channel;
  const float *residual = has_residual ? t->residual + channel : NULL;
  uint8_t *mask = t->mask;
  for (int i = 0; i < t->n; i++, y += t->pixel) {
    vf sum = (whole ? load(y) : load_n(y, lanes)) + bias;
    if (has_mask) {
      put_bits(mask, channel, act_bits(sum, low, high, lanes), lanes);
      mask += t->mask_pixel;
    }
    sum = clamp(sum, low, high);
    if (has_residual) {
      sum += whole ? load(residual) : load_n(residual, lanes);
      residual += t->pixel;
    }
    if (whole)
      store(y, sum);
    else
      store_n(y, sum, lanes);
  }
}

ALWAYS_INLINE void bias_act_variant(const tinytl_bias_act *t, bool has_mask, bool has_residual) {
  int channel = 0;
  for (; channel + W <= t->channels; channel += W)
    bias_act_column(t, channel, W, true, has_mask, has_residual);
  if (channel < t->channels)
    bias_act_column(t, channel, t->channels - channel, false, has_mask, has_residual);
}

static void bias_act(const tinytl_bias_act *t) {
  if (t->mask && t->residual)
    bias_act_variant(t, true, true);
  else if (t->mask)
    bias_act_variant(t, true, false);
  else if (t->residual)
    bias_act_variant(t, false, true);
  else
    bias_act_variant(t, false, false);
}

ALWAYS_INLINE void mask_grad_column(float *dy, int n, int channels, int channel, int lanes,
                                    bool whole, const uint8_t *mask, float *dbias) {
  vf sum = {0};
  if (dbias) sum = whole ? load(dbias + channel) : load_n(dbias + channel, lanes);
  dy += channel;
  for (int i = 0; i < n; i++, dy += channels) {
    vf v = whole ? load(dy) : load_n(dy, lanes);
    if (mask) {
      v = keep_lanes(v, get_bits(mask, channel, lanes));
      mask += (channels + 7) / 8;
      if (whole)
        store(dy, v);
      else
        store_n(dy, v, lanes);
    }
    sum += v;
  }
  if (dbias && whole) store(dbias + channel, sum);
  if (dbias && !whole) store_n(dbias + channel, sum, lanes);
}

static void mask_grad(float *dy, int n, int channels, const uint8_t *mask, float *dbias) {
  int channel = 0;
  for (; channel + W <= channels; channel += W)
    mask_grad_column(dy, n, channels, channel, W, true, mask, dbias);
  if (channel < channels)
    mask_grad_column(dy, n, channels, channel, channels - channel, false, mask, dbias);
}

/* ---- Vectors ------------------------------------------------------------------------------- */

static void add(float *y, const float *x, size_t n) {
  size_t i = 0;
  for (; i + W <= n; i += W) store(y + i, load(y + i) + load(x + i));
  if (i < n)
    store_n(y + i, load_n(y + i, (int)(n - i)) + load_n(x + i, (int)(n - i)), (int)(n - i));
}

static void axpy(float *y, float s, const float *x, size_t n) {
  size_t i = 0;
  for (; i + W <= n; i += W) store(y + i, load(y + i) + s * load(x + i));
  if (i < n)
    store_n(y + i, load_n(y + i, (int)(n - i)) + s * load_n(x + i, (int)(n - i)), (int)(n - i));
}

#include "kernels/depthwise_impl.h"
#include "kernels/depthwise_weight_impl.h"
#include "kernels/norm_impl.h"
#include "kernels/optimizer_impl.h"
#include "kernels/upsample_impl.h"

const tinytl_kernels KERNELS = {.name = KERNELS_NAME,
                                .mr = MR,
                                .nr = NR,
                                .gemm = gemm,
                                .pack_f32 = pack_f32,
                                .pack_i8 = pack_i8,
                                .bias_act = bias_act,
                                .mask_grad = mask_grad,
                                .depthwise_row = depthwise_row,
                                .depthwise_row_grad = depthwise_row_grad,
                                .depthwise_weight_row = depthwise_weight_row,
                                .add = add,
                                .axpy = axpy,
                                .channel_sums = channel_sums,
                                .channel_squares = channel_squares,
                                .normalise = normalise,
                                .scale_shift = scale_shift,
                                .norm_grad_sums = norm_grad_sums,
                                .norm_grad = norm_grad,
                                .upsample_row = upsample_row,
                                .upsample_row_grad = upsample_row_grad,
                                .sgd = sgd,
                                .adam = adam,
                                .adam8 = adam8};
