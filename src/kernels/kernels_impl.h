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
  return bits_between(low, sum, high) & ((1u << lanes) - 1);
}

/* Bits of W channels that start at `channel`; a mask byte holds 8 channels. */
ALWAYS_INLINE void put_bits(uint8_t *mask, int channel, unsigned bits, int lanes) {
#if VECTOR_W == 4
  mask[channel / 8] = (uint8_t)(channel % 8 ? mask[channel / 8] | bits << 4 : bits);
  (void)lanes;
#else
  mask[channel / 8] = (uint8_t)bits;
  if (W > 8 && lanes > 8) mask[channel / 8 + 1] = (uint8_t)(bits >> 8);
#endif
}

ALWAYS_INLINE unsigned get_bits(const uint8_t *mask, int channel, int lanes) {
#if VECTOR_W == 4
  (void)lanes;
  return mask[channel / 8] >> channel % 8 & 15u;
#else
  unsigned bits = mask[channel / 8];
  return W > 8 && lanes > 8 ? bits | (unsigned)mask[channel / 8 + 1] << 8 : bits;
#endif
}

/* ---- Matrix product ------------------------------------------------------------------------ */

/* The sums of a tile of m rows and n_vectors vectors of columns, which the compiler knows, live in
 * registers; `last` columns are in the last vector. Rows are addressed from every third one: base,
 * base + row, base + 2 row are one address mode on x86, and so are 12 rows with 5 registers. */

ALWAYS_INLINE void add_rows(vf sum[MR][NV_MAX], const int m, const int n_vectors, int last,
                            const float *from, ptrdiff_t row) {
  UNROLL for (int i = 0; i < m; i++, from += row) {
    UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] +=
        load_lanes(from + j * W, j + 1 < n_vectors ? W : last);
  }
}

#ifdef MULTIPLIES_BY_LANE
/* W steps, which stand side by side in every row: one load a row brings them. */
ALWAYS_INLINE void multiply_steps(const float *const a[], ptrdiff_t a_row, const float *b,
                                  const int m, const int n_vectors, vf sum[MR][NV_MAX]) {
  vf x[MR];
  UNROLL for (int i = 0; i < m; i++) x[i] = load(a[i / 3] + i % 3 * a_row);
  UNROLL for (int step = 0; step < W; step++, b += NR) {
    vf column[NV_MAX];
    UNROLL for (int j = 0; j < n_vectors; j++) column[j] = load(b + j * W);
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] += splat(x[i][step]) * column[j];
    }
  }
}

/* The same for k steps of m rows, a multiple of W, that stand side by side in every step. */
ALWAYS_INLINE void multiply_side_by_side(const float *a, ptrdiff_t a_step, const float *b, int k,
                                         const int m, const int n_vectors, vf sum[MR][NV_MAX]) {
  for (; k > 0; k--, a += a_step, b += NR) {
    vf x[MR / W], column[NV_MAX];
    UNROLL for (int i = 0; i < m / W; i++) x[i] = load(a + i * W);
    UNROLL for (int j = 0; j < n_vectors; j++) column[j] = load(b + j * W);
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] += splat(x[i / W][i % W]) * column[j];
    }
  }
}
#endif

/* `row`: the tile's first. half: the last vector's upper half is not wanted. */
ALWAYS_INLINE void multiply_tile(const tinytl_gemm_tile *t, int row, const int m,
                                 const int n_vectors, const bool half, vf sum[MR][NV_MAX]) {
  const int n_whole = n_vectors - half;
  vh tail[MR];
  UNROLL for (int i = 0; half && i < m; i++) tail[i] = low_half(sum[i][n_whole]);
  const ptrdiff_t a_row = t->a_row, a_step = t->a_step;
  const float *a_run = t->a + row * a_row, *b_run = t->b;
  for (int n_runs = t->n_runs;; a_run += t->a_run, b_run += t->b_run) {
    const float *b = b_run, *a[(MR + 2) / 3];
#ifdef MULTIPLIES_BY_LANE
    if (m % W == 0 && a_row == 1) {
      multiply_side_by_side(a_run, a_step, b_run, t->k, m, n_vectors, sum);
      if (--n_runs <= 0) break;
      continue;
    }
#endif
    UNROLL for (int g = 0; g < (m + 2) / 3; g++) a[g] = a_run + 3 * g * a_row;
    int step = 0;
#ifdef MULTIPLIES_BY_LANE
    for (; a_step == 1 && step + W <= t->k; step += W, b += W * NR) {
      multiply_steps(a, a_row, b, m, n_vectors, sum);
      UNROLL for (int g = 0; g < (m + 2) / 3; g++) a[g] += W;
    }
#endif
    for (; step < t->k; step++) {
      vf column[NV_MAX];
      const vh tail_column = half ? load_half(b + n_whole * W) : (vh){0};
      UNROLL for (int j = 0; j < n_whole; j++) column[j] = load(b + j * W);
      UNROLL for (int i = 0; i < m; i++) {
        vf x = splat(a[i / 3][i % 3 * a_row]);
        UNROLL for (int j = 0; j < n_whole; j++) sum[i][j] += x * column[j];
        if (half) tail[i] += low_half(x) * tail_column;
      }
      UNROLL for (int g = 0; g < (m + 2) / 3; g++) a[g] += a_step;
      b += NR;
    }
    if (--n_runs <= 0) break;
  }
  UNROLL for (int i = 0; half && i < m; i++) sum[i][n_whole] = from_half(tail[i]);
}

ALWAYS_INLINE void finish_tile(const tinytl_gemm_tile *t, int row, const int m, const int n_vectors,
                               vf sum[MR][NV_MAX]) {
  const int last = t->n - (n_vectors - 1) * W;
  const vf low = act_low(t->act), high = act_high(t->act);
  if (t->mask) {
    uint8_t *mask = t->mask + row * t->mask_row;
    UNROLL for (int i = 0; i < m; i++, mask += t->mask_row) {
      UNROLL for (int j = 0; j < n_vectors; j++) {
        const int lanes = j + 1 < n_vectors ? W : last;
        put_bits(mask, j * W, act_bits(sum[i][j], low, high, lanes), lanes);
      }
    }
  }
  if (t->act != TINYTL_ACT_NONE) {
    UNROLL for (int i = 0; i < m; i++) {
      UNROLL for (int j = 0; j < n_vectors; j++) sum[i][j] = clamp(sum[i][j], low, high);
    }
  }
  if (t->residual) add_rows(sum, m, n_vectors, last, t->residual + row * t->c_row, t->c_row);
}

/* n_tiles tiles below each other. */
ALWAYS_INLINE void gemm_tiles(const tinytl_gemm_tile *t, int row, int n_tiles, const int m,
                              const int n_vectors, const bool half) {
  const int last = t->n - (n_vectors - 1) * W;
  const ptrdiff_t c_row = t->c_row;
  for (; n_tiles > 0; n_tiles--, row += m) {
    vf sum[MR][NV_MAX] = {{{0}}};
    if (t->bias) {
      UNROLL for (int j = 0; j < n_vectors; j++) {
        const vf bias = load_lanes(t->bias + j * W, j + 1 < n_vectors ? W : last);
        UNROLL for (int i = 0; i < m; i++) sum[i][j] = bias;
      }
    }
    /* Else addresses are kept in memory from tile to tile, which costs more than making them. */
    float *c = opaque(t->c + row * c_row);
    if (t->accumulate) add_rows(sum, m, n_vectors, last, c, c_row);
    multiply_tile(t, row, m, n_vectors, half, sum);
    finish_tile(t, row, m, n_vectors, sum);
    c = opaque(c);
    UNROLL for (int i = 0; i < m; i++, c += c_row) {
      UNROLL for (int j = 0; j < n_vectors; j++)
          store_lanes(c + j * W, sum[i][j], j + 1 < n_vectors ? W : last);
    }
  }
}

ALWAYS_INLINE void gemm_rows(const tinytl_gemm_tile *t, int row, int n_tiles, const int m) {
  if (t->n > NV_MAX * W - W / 2)
    gemm_tiles(t, row, n_tiles, m, NV_MAX, false);
  else if (HALVES && t->n > W && t->n <= W + W / 2)
    gemm_tiles(t, row, n_tiles, m, 2, true);
  else if (t->n > W)
    gemm_tiles(t, row, n_tiles, m, 2, false);
  else if (HALVES && t->n <= W / 2)
    gemm_tiles(t, row, n_tiles, m, 1, true);
  else
    gemm_tiles(t, row, n_tiles, m, 1, false);
}

/* restrict: no store changes the description. */
static void gemm_height(const tinytl_gemm_tile *restrict t, int row, int n_tiles, int height) {
  switch (height) {
#define HEIGHT(m)                  \
  case m:                          \
    gemm_rows(t, row, n_tiles, m); \
    break
    HEIGHT(1);
    HEIGHT(2);
    HEIGHT(3);
    HEIGHT(4);
#if MR > 4
    HEIGHT(5);
    HEIGHT(6);
#endif
#if MR > 6
    HEIGHT(7);
    HEIGHT(8);
#endif
#if MR > 8
    HEIGHT(9);
    HEIGHT(10);
    HEIGHT(11);
    HEIGHT(12);
#endif
#undef HEIGHT
  }
}

/* In tiles of even height: some of one row more than the others. */
static void gemm(const tinytl_gemm_tile *t) {
  const int n_tiles = (t->m + MR - 1) / MR, height = t->m / n_tiles;
  const int n_higher = t->m - n_tiles * height;
  if (n_higher > 0) gemm_height(t, 0, n_higher, height + 1);
  gemm_height(t, n_higher * (height + 1), n_tiles - n_higher, height);
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

/* As pack_columns_f32, four steps to a lane: byte b of lane i is moved to the top, alone there, and
 * the scale takes the 2^24 away again. Little-endian, as every machine this is built for. `steps`
 * are at most 4 W. */
ALWAYS_INLINE void pack_square_i8(float *panel, const int8_t *w, vf scale, const int steps, int n,
                                  ptrdiff_t column_stride) {
  scale *= splat(0x1p-24f);
  vi square[W];
  UNROLL for (int i = 0; i < W; i++) square[i] =
      i < n ? load_bytes(w + i * column_stride, steps) : (vi){0};
  transpose(square);
  UNROLL for (int i = 0; i < W; i++) {
    UNROLL for (int b = 0; b < 4; b++) {
      if (4 * i + b >= steps) return;
      const vi value = (vi)((vu)square[i] << (24 - 8 * b)) & (int32_t)0xff000000;
      store(panel + (4 * i + b) * NR, __builtin_convertvector(value, vf) * scale);
    }
  }
}

static void pack_columns_i8(float *panel, const int8_t *w, vf scale, int k, int n,
                            ptrdiff_t column_stride) {
  int step = 0;
  for (; n == W && step + 4 * W <= k; step += 4 * W)
    pack_square_i8(panel + (ptrdiff_t)step * NR, w + step, scale, 4 * W, W, column_stride);
  for (; step + 4 * W <= k; step += 4 * W)
    pack_square_i8(panel + (ptrdiff_t)step * NR, w + step, scale, 4 * W, n, column_stride);
  if (step < k)
    pack_square_i8(panel + (ptrdiff_t)step * NR, w + step, scale, k - step, n, column_stride);
}

/* Steps stand in rows of w (column_stride 1). */
ALWAYS_INLINE void pack_steps_i8(float *panel, const int8_t *w, const float *scale, bool by_step,
                                 int k, int n, ptrdiff_t step_stride) {
  vf column_scale[NV_MAX];
  UNROLL for (int j = 0; j < NV_MAX; j++) column_scale[j] =
      by_step || n <= j * W ? (vf){0} : load_lanes(scale + j * W, n < (j + 1) * W ? n - j * W : W);
  for (int step = 0; step < k; step++, w += step_stride, panel += NR) {
    int8_t edge[NR] = {0};
    const int8_t *row = n < NR ? memcpy(edge, w, (size_t)n) : w;
    const vf s = by_step ? splat(scale[step]) : (vf){0};
    UNROLL for (int j = 0; j < NV_MAX; j++)
        store(panel + j * W, load_i8(row + j * W) * (by_step ? s : column_scale[j]));
  }
}

static void pack_i8(float *panel, const int8_t *w, const float *scale, bool by_step, int k, int n,
                    ptrdiff_t step_stride, ptrdiff_t column_stride) {
  if (column_stride == 1) {
    if (by_step && n == NR)
      pack_steps_i8(panel, w, scale, true, k, NR, step_stride);
    else
      pack_steps_i8(panel, w, scale, by_step, k, n, step_stride);
    return;
  }
  for (int j = 0; j < NR; j += W) {
    const int columns = n - j < W ? n - j : W;
    if (columns > 0)
      pack_columns_i8(panel + j, w + j * column_stride, load_lanes(scale + j, columns), k, columns,
                      column_stride);
    else
      pack_zero(panel + j, k);
  }
}

/* ---- After the sum ------------------------------------------------------------------------- */

/* `lanes` channels from `channel` of all pixels. */
ALWAYS_INLINE void bias_act_column(const tinytl_bias_act *t, int channel, int lanes, bool has_mask,
                                   bool has_residual) {
  vf bias = {0};
  if (t->bias) bias = load_lanes(t->bias + channel, lanes);
  const vf low = act_low(t->act), high = act_high(t->act);
  float *y = t->y + channel;
  const float *residual = has_residual ? t->residual + channel : NULL;
  uint8_t *mask = t->mask;
  for (int i = 0; i < t->n; i++, y += t->pixel) {
    vf sum = load_lanes(y, lanes) + bias;
    if (has_mask) {
      put_bits(mask, channel, act_bits(sum, low, high, lanes), lanes);
      mask += t->mask_pixel;
    }
    sum = clamp(sum, low, high);
    if (has_residual) {
      sum += load_lanes(residual, lanes);
      residual += t->pixel;
    }
    store_lanes(y, sum, lanes);
  }
}

ALWAYS_INLINE void bias_act_variant(const tinytl_bias_act *t, bool has_mask, bool has_residual) {
  int channel = 0;
  for (; channel + W <= t->channels; channel += W)
    bias_act_column(t, channel, W, has_mask, has_residual);
  if (channel < t->channels)
    bias_act_column(t, channel, t->channels - channel, has_mask, has_residual);
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
                                    const uint8_t *mask, float *dbias) {
  vf sum = {0};
  if (dbias) sum = load_lanes(dbias + channel, lanes);
  dy += channel;
  for (int i = 0; i < n; i++, dy += channels) {
    vf v = load_lanes(dy, lanes);
    if (mask) {
      v = keep_lanes(v, get_bits(mask, channel, lanes));
      mask += (channels + 7) / 8;
      store_lanes(dy, v, lanes);
    }
    sum += v;
  }
  if (dbias) store_lanes(dbias + channel, sum, lanes);
}

static void mask_grad(float *dy, int n, int channels, const uint8_t *mask, float *dbias) {
  int channel = 0;
  for (; channel + W <= channels; channel += W)
    mask_grad_column(dy, n, channels, channel, W, mask, dbias);
  if (channel < channels)
    mask_grad_column(dy, n, channels, channel, channels - channel, mask, dbias);
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

/* As many groups at a time as a vector has room for. Lanes beyond them are written too, where what
 * belongs there is written later. */
static void spread(int n, int channels, int width, int which, const float *x, float *y) {
  const int step = W / width * width;
  const ptrdiff_t end = (ptrdiff_t)n * channels;
  vi index;
  for (int i = 0; i < W; i++) index[i] = i < step ? i / width * width : 0;
  ptrdiff_t at = 0;
  for (int i = 0; i < n; i++) {
    for (int c = 0; c < channels; c += step) {
      const int done = channels - c < step ? channels - c : step;
      if (end - at < W + which) {
        const int readable = (int)(end - at) - which;
        store_n(y + at, permute(load_n(x + at + which, readable), index), done);
      } else {
        store(y + at, permute(load(x + at + which), index));
      }
      at += done;
    }
  }
}

#include "kernels/depthwise_impl.h"
#include "kernels/depthwise_weight_impl.h"
#include "kernels/norm_impl.h"
#include "kernels/optimizer_impl.h"
#include "kernels/upsample_impl.h"

const tinytl_kernels KERNELS = {.name = KERNELS_NAME,
                                .mr = MR,
                                .nr = NR,
                                .lanes = W,
                                .gemm = gemm,
                                .pack_f32 = pack_f32,
                                .pack_i8 = pack_i8,
                                .bias_act = bias_act,
                                .mask_grad = mask_grad,
                                .depthwise_row = depthwise_row,
                                .depthwise_row_grad = depthwise_row_grad,
                                .depthwise_weight_row = depthwise_weight_row,
                                .spread = spread,
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
