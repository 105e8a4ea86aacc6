/* Makes small TFLite files, so that operators can be put together that no file at hand has. */
#ifndef TINYTL_TEST_TFLITE_MAKER_H
#define TINYTL_TEST_TFLITE_MAKER_H

#include "support/sink.h"

enum { MAKER_MAX = 64, MAKER_MAX_SCALES = 32 };

typedef struct maker_tensor {
  int type, n_dims, dims[4];
  const void *data; /* NULL: computed */
  size_t nbytes;
  int n_scales, scale_dim;
  float scales[MAKER_MAX_SCALES];
  int64_t zero_point;
  const int64_t *zero_points; /* instead, one a scale */
} maker_tensor;

typedef struct maker_option {
  int field, nbytes, value;
} maker_option;

typedef struct maker_op {
  int code, n_inputs, inputs[3], output, n_options;
  maker_option options[8];
} maker_op;

/* Tensor 0 is the picture; the last operator's output is the model's. */
typedef struct maker {
  int n_tensors, n_ops;
  maker_tensor tensors[MAKER_MAX];
  maker_op ops[MAKER_MAX];
} maker;

/* Append; the index is returned. `dims` has n_dims ints. */
int maker_float(maker *m, int n_dims, const int *dims, const float *data);
int maker_int32(maker *m, int n_dims, const int *dims, const int *data);
/* Appends an operator with one new float output of shape dims [4]; returns the output's index. */
int maker_add(maker *m, maker_op op, const int dims[4]);
sink maker_finish(const maker *m);

#endif
