/* Frozen weights in 8 bits: symmetric, one scale per output channel. */
#ifndef TINYTL_MODEL_QUANTISE_H
#define TINYTL_MODEL_QUANTISE_H

#include <float.h>

#include "model/tensors.h"

/* Which output channel a value of a layer's weight belongs to: value i of [n] is of channel
 * (i / run) % out_c, tinytl_weight_channel. */
typedef struct tinytl_weight_shape {
  size_t n, run;
  int out_c;
} tinytl_weight_shape;
tinytl_weight_shape tinytl_weight_shape_of(const tinytl_layer *layer);
static inline int tinytl_weight_channel(tinytl_weight_shape shape, size_t i) {
  return (int)(i / shape.run % (size_t)shape.out_c);
}

/* The largest by which every code, -128 among them, stays a finite weight. */
#define TINYTL_MAX_SCALE (FLT_MAX / 128)
/* Refuses scales [n] that are not above 0 and at most TINYTL_MAX_SCALE (MODEL); where: the file or
 * tensor that they are of. */
tinytl_status tinytl_scales_check(const float *scale, int n, const char *where,
                                  tinytl_error *error);

/* i8 [n], scale [out_c] from finite values w [n]: scale = max |w| / 127 of the channel. A channel
 * whose values are all 0, or too small for a scale that is a normal number, gets scale 1; one of
 * the largest TINYTL_MAX_SCALE. */
void tinytl_quantise(tinytl_weight_shape shape, const float *w, int8_t *i8, float *scale);
/* w = i8 * scale. */
void tinytl_dequantise(tinytl_weight_shape shape, const int8_t *i8, const float *scale, float *w);
/* The same of codes, a copy of floats. */
void tinytl_weight_copy(tinytl_weight_shape shape, const tinytl_weight *weight, float *w);

#endif
