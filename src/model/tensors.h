/* The tensors of a model. Weight layouts (the same in the file, docs/format.md):
 *   dense      [out][kernel][kernel][in]       depthwise  [kernel][kernel][channel]
 *   classifier [class][feature]
 *   lite       conv [mid][kernel][kernel][in / groups], pointwise [out][mid], float32 */
#ifndef TINYTL_MODEL_TENSORS_H
#define TINYTL_MODEL_TENSORS_H

#include "model/arch.h"

/* A weight tensor: exactly one of i8 and f32 is not NULL. value = (i8 * scale or f32) * gain, of
 * the output channel. */
typedef struct tinytl_weight {
  const int8_t *i8;
  const float *f32;
  const float *scale; /* [out channel], with i8 */
  const float *gain;  /* [out channel], of a convolution; NULL: 1 */
} tinytl_weight;

/* Values of one lite residual module; pointers into a backbone, an adapter or the trainer. */
typedef struct tinytl_lite_values {
  const float *conv;            /* [mid][kernel][kernel][in / groups] */
  const float *scale1, *shift1; /* group norm, [mid] */
  const float *pointwise;       /* [out][mid] */
  const float *scale2, *shift2; /* group norm, [out] */
} tinytl_lite_values;

/* Number of values of a layer's weight. */
size_t tinytl_layer_n_weights(const tinytl_layer *layer);
/* Shape of a layer's weight, as in the file; returns the number of dims, 3 or 4. */
int tinytl_layer_dims(const tinytl_layer *layer, int dims[4]);

/* The classifier as a pointwise layer: its weight has the same layout. */
tinytl_layer tinytl_classifier_layer(const tinytl_arch *arch);

/* Tensors of a lite module, in the order of the file; for walking over them. */
enum {
  TINYTL_LITE_CONV,
  TINYTL_LITE_SCALE1,
  TINYTL_LITE_SHIFT1,
  TINYTL_LITE_POINTWISE,
  TINYTL_LITE_SCALE2,
  TINYTL_LITE_SHIFT2,
  TINYTL_LITE_TENSORS
};
typedef struct tinytl_lite_tensor {
  const char *name; /* "conv.weight", "norm1.weight", ... */
  int n_dims, dims[4];
  size_t n;      /* values */
  size_t member; /* offsetof its pointer in tinytl_lite_values */
} tinytl_lite_tensor;
void tinytl_lite_tensors(const tinytl_lite *lite, tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS]);
/* Where a module's values have their pointer to a tensor; and that pointer. */
static inline const float **tinytl_lite_member(tinytl_lite_values *values,
                                               const tinytl_lite_tensor *tensor) {
  return (const float **)(void *)((char *)values + tensor->member);
}
static inline const float *tinytl_lite_data(const tinytl_lite_values *values,
                                            const tinytl_lite_tensor *tensor) {
  return *(const float *const *)(const void *)((const char *)values + tensor->member);
}
#endif
