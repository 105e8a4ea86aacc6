/* A backbone made ready to run at one picture size: shapes, and where every value lies. */
#ifndef TINYTL_TRAIN_NETWORK_H
#define TINYTL_TRAIN_NETWORK_H

#include "model/adapter.h"
#include "ops/ops.h"

typedef struct tinytl_network {
  const tinytl_backbone *backbone; /* frozen values, shapes of layers and blocks */
  int image_size, n_classes, n_features;

  tinytl_conv conv[TINYTL_MAX_LAYERS];
  tinytl_weight weight[TINYTL_MAX_LAYERS];
  const float *bias[TINYTL_MAX_LAYERS];

  int n_lite;
  tinytl_lite lite[TINYTL_MAX_LAYERS / 2];
  tinytl_lite_conv lite_conv[TINYTL_MAX_LAYERS / 2];
  tinytl_lite_values lite_values[TINYTL_MAX_LAYERS / 2];
  int lite_before[TINYTL_MAX_LAYERS]; /* module whose block begins with the layer; -1: none */
  int lite_after[TINYTL_MAX_LAYERS];  /* module whose block ends with the layer; -1: none */

  tinytl_weight classifier;
  const float *classifier_bias;

  float input_scale[3], input_shift[3]; /* x = pixel * scale + shift */
} tinytl_network;

/* Shapes and the backbone's values. n_classes 0: the backbone's own classifier. With add_lite, a
 * backbone without lite modules gets new ones (tinytl_arch_add_lite), whose values the caller must
 * set. The network is large: allocate it. Errors: TINYTL_ERROR_MODEL, TINYTL_ERROR_USAGE. */
tinytl_status tinytl_network_init(tinytl_network *network, const tinytl_backbone *backbone,
                                  int image_size, int n_classes, bool add_lite,
                                  tinytl_error *error);

/* Lays an adapter's values over the backbone's. */
tinytl_status tinytl_network_adapt(tinytl_network *network, const tinytl_adapter *adapter,
                                   tinytl_error *error);

/* Multiply-accumulates of one image, forward: backbone, lite modules, classifier. */
uint64_t tinytl_network_macs(const tinytl_network *network);

#endif
