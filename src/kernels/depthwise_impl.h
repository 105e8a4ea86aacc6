/* Depthwise convolution by rows, for kernels_impl.h. */

/* Both directions are a correlation along a row: output pixel j sums, over the given rows and over
 * n_taps taps t, taps[t] * row[j * stride + first + t]. */
typedef struct strip {
  int n_rows;
  const float *rows[TINYTL_MAX_KERNEL], *taps[TINYTL_MAX_KERNEL];
  ptrdiff_t tap_step; /* floats from tap to tap; negative: backwards */
  int n_taps, stride, first;
  int in_w, n_out, channels;
  ptrdiff_t in_pixel, out_pixel;
  float *y;
  bool accumulate;
  const float *bias; /* NULL: no epilogue */
  tinytl_act act;
  uint8_t *mask;
  ptrdiff_t mask_pixel;
} strip;

enum {
  STRIP_PIXELS = 4,             /* outputs of a pass, which share their loads */
  FEW_VECTORS = W == 8 ? 2 : 1, /* channels of a pass of few taps: enough sums at a time to hide
                                    the latency, where 16 registers have no room for the taps */
};

/* sum becomes output pixel j, whose `lanes` channels from `channel` it holds. */
ALWAYS_INLINE void put_output(const strip *s, int j, int channel, int lanes, vf sum) {
  if (s->bias) {
    const vf low = act_low(s->act), high = act_high(s->act);
    sum += load_lanes(s->bias + channel, lanes);
    if (s->mask)
      put_bits(s->mask + j * s->mask_pixel, channel, act_bits(sum, low, high, lanes), lanes);
    sum = clamp(sum, low, high);
  }
  store_lanes(s->y + j * s->out_pixel + channel, sum, lanes);
}

ALWAYS_INLINE vf get_output(const strip *s, int j, int channel, int lanes) {
  return s->accumulate ? load_lanes(s->y + j * s->out_pixel + channel, lanes) : (vf){0};
}

/* Output pixel j, with the taps that meet the row. */
ALWAYS_INLINE void correlate_pixel(const strip *s, int j, int channel, int lanes, const int n_rows,
                                   const int n_taps, const int stride) {
  const int left = j * stride + s->first;
  vf sum = get_output(s, j, channel, lanes);
  for (int r = 0; r < n_rows; r++) {
    const float *row = s->rows[r] + left * s->in_pixel + channel;
    const float *taps = s->taps[r] + channel;
    for (int t = 0; t < n_taps; t++)
      if (left + t >= 0 && left + t < s->in_w)
        sum += load_lanes(row + t * s->in_pixel, lanes) * load(taps + t * s->tap_step);
  }
  put_output(s, j, channel, lanes, sum);
}

/* STRIP_PIXELS outputs from j, all taps of which meet the row. */
ALWAYS_INLINE void correlate_pixels(const strip *s, int j, int channel, int lanes, const int n_rows,
                                    const int n_taps, const int stride) {
  const ptrdiff_t offset = (j * stride + s->first) * s->in_pixel + channel;
  vf sum[STRIP_PIXELS];
  UNROLL for (int p = 0; p < STRIP_PIXELS; p++) sum[p] = get_output(s, j + p, channel, lanes);
  for (int r = 0; r < n_rows; r++) {
    const float *row = s->rows[r] + offset, *taps = s->taps[r] + channel;
    for (int t = 0; t < n_taps; t++) {
      const vf tap = load(taps + t * s->tap_step);
      UNROLL for (int p = 0; p < STRIP_PIXELS; p++) sum[p] +=
          load_lanes(row + (p * stride + t) * s->in_pixel, lanes) * tap;
    }
  }
  UNROLL for (int p = 0; p < STRIP_PIXELS; p++) put_output(s, j + p, channel, lanes, sum[p]);
}

/* The same two, where rows and taps are so few that the compiler lays them out, and for n_vectors
 * neighbouring vectors of channels: whole ones, or one. taps NULL: they are read in the row's turn.
 * Sums run over rows, then taps, as above. */
ALWAYS_INLINE vf few_tap(const strip *s, int channel, int r, int t, const vf taps[3][3]) {
  return taps ? taps[r][t] : load(s->taps[r] + t * s->tap_step + channel);
}

ALWAYS_INLINE void few_pixel(const strip *s, int j, int channel, int lanes, const int n_vectors,
                             const int n_rows, const int n_taps, const int stride,
                             const vf taps[3][3]) {
  const int left = j * stride + s->first;
  const ptrdiff_t offset = left * s->in_pixel + channel;
  vf sum[FEW_VECTORS];
  UNROLL for (int v = 0; v < n_vectors; v++) sum[v] = get_output(s, j, channel + v * W, lanes);
  UNROLL for (int r = 0; r < n_rows; r++) {
    UNROLL for (int t = 0; t < n_taps; t++) {
      if (left + t < 0 || left + t >= s->in_w) continue;
      UNROLL for (int v = 0; v < n_vectors; v++) sum[v] +=
          load_lanes(s->rows[r] + offset + t * s->in_pixel + v * W, lanes) *
          few_tap(s, channel + v * W, r, t, taps);
    }
  }
  UNROLL for (int v = 0; v < n_vectors; v++) put_output(s, j, channel + v * W, lanes, sum[v]);
}

/* STRIP_PIXELS outputs from j become these sums; addresses are made by walking from pixel to pixel,
 * as too many would be kept otherwise. */
ALWAYS_INLINE void put_outputs(const strip *s, int j, int channel, int lanes, const int n_vectors,
                               vf sum[STRIP_PIXELS][FEW_VECTORS]) {
  if (s->bias) {
    const vf low = act_low(s->act), high = act_high(s->act);
    UNROLL for (int v = 0; v < n_vectors; v++) {
      const vf bias = load_lanes(s->bias + channel + v * W, lanes);
      UNROLL for (int p = 0; p < STRIP_PIXELS; p++) sum[p][v] += bias;
    }
    if (s->mask) {
      uint8_t *mask = opaque(s->mask + j * s->mask_pixel);
      UNROLL for (int p = 0; p < STRIP_PIXELS; p++, mask += s->mask_pixel) {
        UNROLL for (int v = 0; v < n_vectors; v++)
            put_bits(mask, channel + v * W, act_bits(sum[p][v], low, high, lanes), lanes);
      }
    }
    UNROLL for (int p = 0; p < STRIP_PIXELS; p++) {
      UNROLL for (int v = 0; v < n_vectors; v++) sum[p][v] = clamp(sum[p][v], low, high);
    }
  }
  float *y = opaque(s->y + j * s->out_pixel + channel);
  UNROLL for (int p = 0; p < STRIP_PIXELS; p++, y = opaque(y + s->out_pixel)) {
    UNROLL for (int v = 0; v < n_vectors; v++) store_lanes(y + v * W, sum[p][v], lanes);
  }
}

/* Each source is loaded once. */
ALWAYS_INLINE void few_pixels(const strip *s, int j, int channel, int lanes, const int n_vectors,
                              const int n_rows, const int n_taps, const int stride,
                              const vf taps[3][3]) {
  const ptrdiff_t offset = (j * stride + s->first) * s->in_pixel + channel;
  vf sum[STRIP_PIXELS][FEW_VECTORS] = {{{0}}};
  if (s->accumulate) {
    UNROLL for (int p = 0; p < STRIP_PIXELS; p++) {
      UNROLL for (int v = 0; v < n_vectors; v++) sum[p][v] =
          get_output(s, j + p, channel + v * W, lanes);
    }
  }
  UNROLL for (int r = 0; r < n_rows; r++) {
    const float *row = opaque(s->rows[r] + offset);
    vf tap[3][FEW_VECTORS];
    UNROLL for (int t = 0; t < n_taps; t++) {
      UNROLL for (int v = 0; v < n_vectors; v++) tap[t][v] =
          few_tap(s, channel + v * W, r, t, taps);
    }
    UNROLL for (int x = 0; x < (STRIP_PIXELS - 1) * stride + n_taps; x++) {
      UNROLL for (int v = 0; v < n_vectors; v++) {
        const vf source = load_lanes(row + v * W, lanes);
        UNROLL for (int p = 0; p < STRIP_PIXELS; p++) {
          const int t = x - p * stride;
          if (t >= 0 && t < n_taps) sum[p][v] += source * tap[t][v];
        }
      }
      row = opaque(row + s->in_pixel);
    }
  }
  put_outputs(s, j, channel, lanes, n_vectors, sum);
}

ALWAYS_INLINE void hold_taps(const strip *s, int channel, const int n_rows, const int n_taps,
                             vf held[3][3]) {
  UNROLL for (int r = 0; r < n_rows; r++) {
    UNROLL for (int t = 0; t < n_taps; t++) held[r][t] = few_tap(s, channel, r, t, NULL);
  }
}

/* `lanes` channels, of each vector, of the whole row. */
ALWAYS_INLINE void correlate_channels(const strip *s, int channel, int lanes, const int n_vectors,
                                      const int n_rows, const int n_taps, const int stride,
                                      const bool few) {
  vf held[3][3];
  const vf(*taps)[3] = n_vectors == 1 ? held : NULL;
  if (few && taps) hold_taps(s, channel, n_rows, n_taps, held);
  const int room = s->in_w - s->first - n_taps; /* j * stride <= room: all taps meet the row */
  for (int j = 0; j < s->n_out;) {
    const bool inside = j * stride + s->first >= 0 && (j + STRIP_PIXELS - 1) * stride <= room;
    if (inside && j + STRIP_PIXELS <= s->n_out) {
      if (few)
        few_pixels(s, j, channel, lanes, n_vectors, n_rows, n_taps, stride, taps);
      else
        correlate_pixels(s, j, channel, lanes, n_rows, n_taps, stride);
      j += STRIP_PIXELS;
      continue;
    }
    if (few)
      few_pixel(s, j, channel, lanes, n_vectors, n_rows, n_taps, stride, taps);
    else
      correlate_pixel(s, j, channel, lanes, n_rows, n_taps, stride);
    j++;
  }
}

/* few: n_rows and n_taps are known to the compiler, at most 3. The copy tells it that no store
 * changes the strip. */
ALWAYS_INLINE void correlate(const strip *given, const int n_rows, const int n_taps,
                             const int stride, const bool few) {
  const strip s = *given;
  int channel = 0;
  for (; few && FEW_VECTORS > 1 && channel + FEW_VECTORS * W <= s.channels;
       channel += FEW_VECTORS * W)
    correlate_channels(&s, channel, W, FEW_VECTORS, n_rows, n_taps, stride, few);
  for (; channel + W <= s.channels; channel += W)
    correlate_channels(&s, channel, W, 1, n_rows, n_taps, stride, few);
  if (channel < s.channels)
    correlate_channels(&s, channel, s.channels - channel, 1, n_rows, n_taps, stride, few);
}

/* Kernel 3, and the phases of its gradient at stride 2. */
#define FEW(rows, taps, stride)             \
  case 100 * (stride) + 10 * (rows) + taps: \
    correlate(s, rows, taps, stride, true); \
    break

static void correlate_row(const strip *s) {
  switch (s->n_taps > 9 || s->n_rows > 9 ? 0 : 100 * s->stride + 10 * s->n_rows + s->n_taps) {
    FEW(1, 1, 1);
    FEW(1, 2, 1);
    FEW(2, 1, 1);
    FEW(2, 2, 1);
    FEW(2, 3, 1);
    FEW(3, 3, 1);
    FEW(2, 3, 2);
    FEW(3, 3, 2);
  default:
    if (s->n_taps == 5 && s->stride == 1)
      correlate(s, s->n_rows, 5, 1, false);
    else if (s->n_taps == 7 && s->stride == 1)
      correlate(s, s->n_rows, 7, 1, false);
    else
      correlate(s, s->n_rows, s->n_taps, s->stride, false);
  }
}

static void depthwise_row(const tinytl_depthwise_row *row) {
  strip s = {.tap_step = row->tap,
             .n_taps = row->kernel,
             .stride = row->stride,
             .first = -row->pad,
             .in_w = row->in_w,
             .n_out = row->out_w,
             .channels = row->channels,
             .in_pixel = row->pixel,
             .out_pixel = row->pixel,
             .y = row->y,
             .accumulate = row->accumulate,
             .bias = row->bias,
             .act = row->act,
             .mask = row->mask,
             .mask_pixel = row->mask_pixel};
  for (int ky = 0; ky < row->kernel; ky++) {
    if (!row->rows[ky]) continue;
    s.rows[s.n_rows] = row->rows[ky];
    s.taps[s.n_rows++] = row->taps + ky * row->kernel * row->tap;
  }
  correlate_row(&s);
}

/* dx[ix] sums dy[(ix + pad - kx) / stride] * taps[kx] over the kx that divide. The pixels of one
 * phase, (ix + pad) % stride, share their taps, phase + m * stride, and ask for neighbours of dy.
 */
static void depthwise_row_grad(const tinytl_depthwise_row *row) {
  const int stride = row->stride;
  for (int phase = 0; phase < stride; phase++) {
    const int n_taps = phase < row->kernel ? (row->kernel - 1 - phase) / stride + 1 : 0;
    const int ahead = row->pad - phase; /* ix = q * stride - ahead, for q from q_first */
    const int q_first = ahead > 0 ? (ahead + stride - 1) / stride : 0;
    const int x_first = q_first * stride - ahead;
    if (x_first >= row->out_w) continue;
    strip s = {.tap_step = -stride * row->tap,
               .n_taps = n_taps,
               .stride = 1,
               .first = q_first - (n_taps - 1),
               .in_w = row->in_w,
               .n_out = (row->out_w - 1 - x_first) / stride + 1,
               .channels = row->channels,
               .in_pixel = row->pixel,
               .out_pixel = stride * row->pixel,
               .y = row->y + x_first * row->pixel,
               .accumulate = row->accumulate};
    for (int ky = 0; ky < row->kernel && n_taps > 0; ky++) {
      if (!row->rows[ky]) continue;
      s.rows[s.n_rows] = row->rows[ky];
      s.taps[s.n_rows++] =
          row->taps + (ky * row->kernel + phase + (n_taps - 1) * stride) * row->tap;
    }
    correlate_row(&s);
  }
}
