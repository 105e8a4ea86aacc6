/* The adapter in memory: an overlay over one backbone. */
#ifndef TINYTL_MODEL_ADAPTER_H
#define TINYTL_MODEL_ADAPTER_H

#include "model/backbone.h"
#include "tinytl/adapter.h"

struct tinytl_adapter {
  tinytl_method method;
  int image_size, resize;
  float val_top1;     /* NAN: none */
  float temperature;  /* > 0; 1: none was fitted */
  float reject_below; /* score; NAN: none */
  char backbone_sha256[65];
  bool is_unchecked; /* shapes are the file's own, nobody compared them with a backbone's */
  int n_classes;
  char **class_names;                     /* [n_classes]; owned */
  const float *classifier;                /* [n_classes][n_features] */
  const float *classifier_bias;           /* [n_classes] */
  const float *bias[TINYTL_MAX_LAYERS];   /* [out_c]; NULL: the backbone's */
  const float *gain[TINYTL_MAX_LAYERS];   /* [out_c], times the weights; NULL: 1 */
  const float *weight[TINYTL_MAX_LAYERS]; /* dims below; NULL: the backbone's */
  int n_features, n_layers;
  int layer_out_c[TINYTL_MAX_LAYERS];
  int layer_n_dims[TINYTL_MAX_LAYERS], layer_dims[TINYTL_MAX_LAYERS][4]; /* tinytl_layer_dims */
  int n_lite; /* 0: the backbone's, if it has any */
  tinytl_lite lite_shape[TINYTL_MAX_LAYERS / 2];
  tinytl_lite_values lite[TINYTL_MAX_LAYERS / 2];
  float *values; /* owned block behind the pointers */
  size_t n_values;
};

/* Copies the adapter that `values` describes (any pointers; `values->values` and n_values are not
 * read) into a new one that owns everything. Errors: TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_adapter_build(const tinytl_adapter *values, tinytl_adapter **adapter,
                                   tinytl_error *error);

#endif
