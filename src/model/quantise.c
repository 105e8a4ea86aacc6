#include "model/quantise.h"

#include <math.h>
#include <string.h>

tinytl_weight_shape tinytl_weight_shape_of(const tinytl_layer *layer) {
  const size_t n = tinytl_layer_n_weights(layer);
  /* Depthwise weights have the channel last, dense ones first. */
  const size_t run = layer->groups > 1 ? 1 : n / (size_t)layer->out_c;
  return (tinytl_weight_shape){.n = n, .run = run, .out_c = layer->out_c};
}

tinytl_status tinytl_scales_check(const float *scale, int n, const char *where,
                                  tinytl_error *error) {
  for (int c = 0; c < n; c++)
    if (!(scale[c] > 0 && scale[c] <= TINYTL_MAX_SCALE))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: scale %d must be above 0 and at most %g, found %g", where, c,
                         (double)TINYTL_MAX_SCALE, (double)scale[c]);
  return TINYTL_OK;
}

void tinytl_quantise(tinytl_weight_shape shape, const float *w, int8_t *i8, float *scale) {
  for (int c = 0; c < shape.out_c; c++) scale[c] = 0;
  for (size_t i = 0; i < shape.n; i++) {
    float *largest = &scale[tinytl_weight_channel(shape, i)];
    *largest = fmaxf(*largest, fabsf(w[i]));
  }
  for (int c = 0; c < shape.out_c; c++)
    scale[c] = scale[c] / 127 < FLT_MIN ? 1 : fminf(scale[c] / 127, TINYTL_MAX_SCALE);
  for (size_t i = 0; i < shape.n; i++)
    i8[i] = (int8_t)lrintf(fminf(fmaxf(w[i] / scale[tinytl_weight_channel(shape, i)], -127), 127));
}

void tinytl_dequantise(tinytl_weight_shape shape, const int8_t *i8, const float *scale, float *w) {
  for (size_t i = 0; i < shape.n; i++) w[i] = (float)i8[i] * scale[tinytl_weight_channel(shape, i)];
}

void tinytl_weight_copy(tinytl_weight_shape shape, const tinytl_weight *weight, float *w) {
  if (weight->i8)
    tinytl_dequantise(shape, weight->i8, weight->scale, w);
  else
    memcpy(w, weight->f32, shape.n * sizeof *w);
}
