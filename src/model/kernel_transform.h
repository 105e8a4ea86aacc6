/* Small depthwise kernels out of large ones (Cai et al., "Once-for-All", 2020, section 3.3): a
 * kernel is the centre of the next larger one, times a matrix: 7 -> 5, and from that 5 -> 3. The
 * matrices belong to a layer, and are the same for all of its channels. */
#ifndef TINYTL_MODEL_KERNEL_TRANSFORM_H
#define TINYTL_MODEL_KERNEL_TRANSFORM_H

/* A layer's matrices, the one behind the other: [25][25] and [9][9]. */
enum {
  TINYTL_KERNEL_MEDIUM_TAPS = 5 * 5,
  TINYTL_KERNEL_SMALL_TAPS = 3 * 3,
  TINYTL_KERNEL_MEDIUM_MATRIX = TINYTL_KERNEL_MEDIUM_TAPS * TINYTL_KERNEL_MEDIUM_TAPS,
  TINYTL_KERNEL_MATRICES =
      TINYTL_KERNEL_MEDIUM_MATRIX + TINYTL_KERNEL_SMALL_TAPS * TINYTL_KERNEL_SMALL_TAPS
};

/* [7][7][large_channels] -> [kernel][kernel][channels] of the first channels; kernel 7, 5 or 3.
 * Backward adds to dlarge and dmatrices from dsmall. */
void tinytl_kernel_shrink(int kernel, int large_channels, int channels, const float *large,
                          const float *matrices, float *small);
void tinytl_kernel_shrink_backward(int kernel, int large_channels, int channels, const float *large,
                                   const float *matrices, const float *dsmall, float *dlarge,
                                   float *dmatrices);

#endif
