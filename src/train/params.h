/* What a method trains: one flat vector of floats, cut into segments. The trained segments come
 * first, so that gradients and optimizer state are vectors over [0, n_trained). */
#ifndef TINYTL_TRAIN_PARAMS_H
#define TINYTL_TRAIN_PARAMS_H

#include "train/network.h"

/* Segments that share a learning rate. */
typedef enum tinytl_group {
  TINYTL_GROUP_CLASSIFIER,
  TINYTL_GROUP_BIAS,
  TINYTL_GROUP_LITE,
  TINYTL_GROUP_GAIN,
  TINYTL_GROUP_WEIGHT,
  TINYTL_N_GROUPS
} tinytl_group;

/* One tensor. `layer` or `lite` says whose; the others are -1. */
typedef struct tinytl_segment {
  size_t offset, n;
  tinytl_group group;
  int layer;            /* bias, gain or weight of this layer */
  int lite, tensor;     /* tensor (of tinytl_lite_tensors) of this module */
  bool classifier_bias; /* group classifier: weight or bias */
} tinytl_segment;

enum { TINYTL_MAX_SEGMENTS = TINYTL_MAX_LAYERS * (2 + TINYTL_LITE_TENSORS / 2) + 2 };

typedef struct tinytl_params {
  tinytl_method method;
  size_t n, n_trained; /* values */
  int n_segments, n_trained_segments;
  tinytl_segment segments[TINYTL_MAX_SEGMENTS];
} tinytl_params;

bool tinytl_method_trains_bias(tinytl_method method);
/* Of those that give lite modules to a network without them. */
bool tinytl_method_trains_lite(tinytl_method method);
bool tinytl_method_has_reach(tinytl_method method);
/* Bit t: trains tensor t of the network's lite modules. */
unsigned tinytl_method_lite_tensors(tinytl_method method);

/* Cuts the vector for a network that was made with add_lite = tinytl_method_trains_lite(method). */
void tinytl_params_layout(tinytl_params *params, const tinytl_network *network,
                          tinytl_method method);

/* Where a trained tensor lies: one that is there, told by all but `offset` and `n`. */
size_t tinytl_params_offset(const tinytl_params *params, tinytl_segment tensor);

/* Fills values [n]: weights, biases and lite modules from the backbone, new modules at random
 * (TinyTL, section 4.1), gains with 1, the classifier with 0, and points the network at them.
 * Biases that `from` (may be NULL) has are taken from there. */
void tinytl_params_init(const tinytl_params *params, tinytl_network *network, uint64_t seed,
                        const tinytl_adapter *from, float *values);

/* Copies values [n] into a new adapter, with temperature 1 and nothing to reject. */
tinytl_status tinytl_params_to_adapter(const tinytl_params *params, const tinytl_network *network,
                                       const float *values, const char *const *class_names,
                                       float val_top1, tinytl_adapter **adapter,
                                       tinytl_error *error);

#endif
