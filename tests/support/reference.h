/* The whole network in double precision, as documented in model/arch.h and model/backbone.h, by
 * the obvious loops; shares no code with src/. What training may change lies in one flat array, so
 * that any direction can be tried:
 *
 *   float gradient . direction  against  (loss(values + h d) - loss(values - h d)) / 2h
 */
#ifndef TINYTL_TEST_REFERENCE_H
#define TINYTL_TEST_REFERENCE_H

#include "model/backbone.h"

typedef enum reference_kind {
  REFERENCE_BIAS,      /* index: layer */
  REFERENCE_LITE_CONV, /* index: lite module; the six in the order of tinytl_lite_values */
  REFERENCE_LITE_SCALE1,
  REFERENCE_LITE_SHIFT1,
  REFERENCE_LITE_POINTWISE,
  REFERENCE_LITE_SCALE2,
  REFERENCE_LITE_SHIFT2,
  REFERENCE_CLASSIFIER, /* [n_classes][n_features] */
  REFERENCE_CLASSIFIER_BIAS,
  REFERENCE_WEIGHT, /* index: layer */
  REFERENCE_GAIN
} reference_kind;

/* values[first] to values[first + n - 1], laid out as in the model. */
typedef struct reference_segment {
  reference_kind kind;
  int index;
  size_t first, n;
} reference_segment;

typedef struct reference_net {
  tinytl_arch arch;
  tinytl_input input;
  double *values; /* may be changed between calls */
  size_t n_values;
  int n_segments;
  reference_segment segments[TINYTL_MAX_LAYERS * 6 + 2];
} reference_net;

/* Copies the model: arch (with n_lite, lite and n_classes), input, weight, bias, lite, classifier
 * and classifier_bias are read. To look at a model in training, copy the struct of its backbone
 * and point those members at what the trainer holds. */
reference_net *reference_net_make(const tinytl_backbone *model);
void reference_net_free(reference_net *net);

/* NULL where there is none. */
const reference_segment *reference_find(const reference_net *net, reference_kind kind, int index);

/* rgb [size][size][3] -> features [n_features], logits [n_classes]. `pattern` becomes a hash of
 * which side of its kinks every ReLU, ReLU6 stands on. Each of the three may be NULL. */
void reference_forward(const reference_net *net, const uint8_t *rgb, int size, double *features,
                       double *logits, uint64_t *pattern);

/* Cross entropy against (1 - smoothing) [label] + smoothing / n_classes; no dropout. */
double reference_loss(const reference_net *net, const uint8_t *rgb, int size, int label,
                      double smoothing, uint64_t *pattern);

/* The derivative of the loss along direction [n_values], by central differences of step h; false
 * where the step crosses a kink, so that the difference says nothing. */
bool reference_derivative(reference_net *net, const double *direction, double h, const uint8_t *rgb,
                          int size, int label, double smoothing, double *derivative);

/* y [out_h][out_w][out] += a lite residual module's output for x [in_h][in_w][in]; values in the
 * order of its tensors. */
void reference_lite(const tinytl_lite *lite, const double *const values[TINYTL_LITE_TENSORS],
                    const double *x, int in_h, int in_w, double *y, int out_h, int out_w);

#endif
