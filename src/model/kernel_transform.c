#include "model/kernel_transform.h"

#include <stddef.h>

enum {
  LARGE = 7,
  MEDIUM = 5,
  SMALL = 3,
  MEDIUM_TAPS = TINYTL_KERNEL_MEDIUM_TAPS,
  SMALL_TAPS = TINYTL_KERNEL_SMALL_TAPS
};

/* Tap i of the centre of a kernel: its number among all. */
static int centre_tap(int i, int side, int large_side) {
  const int border = (large_side - side) / 2;
  return (i / side + border) * large_side + i % side + border;
}

/* One channel: to [side^2] = matrix x the centre of from [large_side^2]. */
static void shrink(int side, int large_side, const float *matrix, const float *from, float *to) {
  const int taps = side * side;
  for (int o = 0; o < taps; o++) {
    to[o] = 0;
    for (int i = 0; i < taps; i++)
      to[o] += matrix[o * taps + i] * from[centre_tap(i, side, large_side)];
  }
}

static void shrink_backward(int side, int large_side, const float *matrix, const float *from,
                            const float *dto, float *dfrom, float *dmatrix) {
  const int taps = side * side;
  for (int o = 0; o < taps; o++)
    for (int i = 0; i < taps; i++) {
      const int tap = centre_tap(i, side, large_side);
      dfrom[tap] += matrix[o * taps + i] * dto[o];
      dmatrix[o * taps + i] += dto[o] * from[tap];
    }
}

static void take_channel(int taps, int channels, int c, const float *all, float *one) {
  for (int t = 0; t < taps; t++) one[t] = all[(size_t)t * (size_t)channels + (size_t)c];
}

static void add_channel(int taps, int channels, int c, const float *one, float *all) {
  for (int t = 0; t < taps; t++) all[(size_t)t * (size_t)channels + (size_t)c] += one[t];
}

void tinytl_kernel_shrink(int kernel, int large_channels, int channels, const float *large,
                          const float *matrices, float *small) {
  const int taps = kernel * kernel;
  for (int c = 0; c < channels; c++) {
    float whole[LARGE * LARGE], medium[MEDIUM_TAPS], least[SMALL_TAPS];
    const float *result = whole;
    take_channel(LARGE * LARGE, large_channels, c, large, whole);
    if (kernel < LARGE) {
      shrink(MEDIUM, LARGE, matrices, whole, medium);
      result = medium;
    }
    if (kernel < MEDIUM) {
      shrink(SMALL, MEDIUM, matrices + TINYTL_KERNEL_MEDIUM_MATRIX, medium, least);
      result = least;
    }
    for (int t = 0; t < taps; t++) small[(size_t)t * (size_t)channels + (size_t)c] = result[t];
  }
}

void tinytl_kernel_shrink_backward(int kernel, int large_channels, int channels, const float *large,
                                   const float *matrices, const float *dsmall, float *dlarge,
                                   float *dmatrices) {
  const float *last_matrix = matrices + TINYTL_KERNEL_MEDIUM_MATRIX;
  float *dlast_matrix = dmatrices + TINYTL_KERNEL_MEDIUM_MATRIX;
  for (int c = 0; c < channels; c++) {
    float whole[LARGE * LARGE], medium[MEDIUM_TAPS];
    float dwhole[LARGE * LARGE] = {0}, dmedium[MEDIUM_TAPS] = {0}, dleast[SMALL_TAPS];
    if (kernel == LARGE) {
      take_channel(LARGE * LARGE, channels, c, dsmall, dwhole);
    } else {
      take_channel(LARGE * LARGE, large_channels, c, large, whole);
      shrink(MEDIUM, LARGE, matrices, whole, medium);
      if (kernel == MEDIUM) {
        take_channel(MEDIUM_TAPS, channels, c, dsmall, dmedium);
      } else {
        take_channel(SMALL_TAPS, channels, c, dsmall, dleast);
        shrink_backward(SMALL, MEDIUM, last_matrix, medium, dleast, dmedium, dlast_matrix);
      }
      shrink_backward(MEDIUM, LARGE, matrices, whole, dmedium, dwhole, dmatrices);
    }
    add_channel(LARGE * LARGE, large_channels, c, dwhole, dlarge);
  }
}
