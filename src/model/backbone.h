/* The backbone in memory. */
#ifndef TINYTL_MODEL_BACKBONE_H
#define TINYTL_MODEL_BACKBONE_H

#include "model/tensors.h"
#include "tinytl/backbone.h"

typedef struct tinytl_input {
  int size, resize;      /* pixels: square input; short side before the centre crop */
  float mean[3], std[3]; /* of pixel / 255: x = (pixel / 255 - mean) / std */
} tinytl_input;

/* Short side before the crop where a model does not say: size * 256 / 224, rounded; the share
 * of the picture that ImageNet models are tested on. */
static inline int tinytl_input_default_resize(int size) {
  const int resize = (size * 256 + 112) / 224;
  return resize < TINYTL_MAX_IMAGE_SIZE ? resize : TINYTL_MAX_IMAGE_SIZE;
}

/* Short side before the centre crop at another size of the picture: as much of it is seen, as far
 * as a file may say it. */
static inline int tinytl_input_resize_at(const tinytl_input *input, int size) {
  const int64_t resize = (int64_t)size * input->resize / input->size;
  return resize < TINYTL_MAX_IMAGE_SIZE ? (int)resize : TINYTL_MAX_IMAGE_SIZE;
}

/* Mean and deviation of ImageNet's pixels. */
static inline tinytl_input tinytl_input_imagenet(int size) {
  return (tinytl_input){.size = size,
                        .resize = tinytl_input_default_resize(size),
                        .mean = {0.485f, 0.456f, 0.406f},
                        .std = {0.229f, 0.224f, 0.225f}};
}

/* x = scale * pixel + shift, for each of the three colours. */
static inline void tinytl_input_affine(const tinytl_input *input, float scale[3], float shift[3]) {
  for (int c = 0; c < 3; c++) {
    scale[c] = 1.0f / (255.0f * input->std[c]);
    shift[c] = -input->mean[c] / input->std[c];
  }
}

struct tinytl_backbone {
  tinytl_arch arch;
  tinytl_input input;
  tinytl_weights weights_type;
  tinytl_weight weight[TINYTL_MAX_LAYERS];
  const float *bias[TINYTL_MAX_LAYERS];           /* [out_c] */
  tinytl_lite_values lite[TINYTL_MAX_LAYERS / 2]; /* [arch.n_lite] */
  tinytl_weight classifier;                       /* when arch.n_classes > 0 */
  const float *classifier_bias;
  char **labels; /* [n_labels]; owned, see model/strings.h */
  int n_labels;
  char *source, *licence; /* owned, never NULL */
  char sha256[65];        /* of its file, or of the file that tinytl_backbone_write makes of it */
  void *storage; /* owned block behind the pointers, or NULL where they point into borrowed bytes */
};

/* Copies the model that `values` describes (any pointers; arch is finished, source and licence may
 * be NULL) into a new backbone that owns its storage; quantises to int8 where asked (max |w| / 127
 * per output channel; a channel of zeros gets scale 1). Weights that are already int8 in `values`
 * are kept when weights is TINYTL_WEIGHTS_INT8, and widened when it is TINYTL_WEIGHTS_F32. Errors:
 * TINYTL_ERROR_MODEL on values that are not finite or scales that are not positive. */
tinytl_status tinytl_backbone_build(const tinytl_backbone *values, tinytl_weights weights,
                                    tinytl_backbone **backbone, tinytl_error *error);

/* tinytl_backbone_init for an architecture that is finished. */
tinytl_status tinytl_backbone_random(const tinytl_arch *arch, int image_size,
                                     tinytl_weights weights, uint64_t seed,
                                     tinytl_backbone **backbone, tinytl_error *error);

/* What values are stored as: weights in 8 bits are codes, with a scale an output channel among the
 * floats; biases and lite modules are floats in any case. nbytes: SIZE_MAX where a size_t cannot
 * hold it. */
typedef struct tinytl_value_count {
  size_t n_floats, n_codes, nbytes;
} tinytl_value_count;
/* Of a model of that architecture with all weights of one type. */
tinytl_value_count tinytl_arch_count_values(const tinytl_arch *arch, tinytl_weights type);
/* Of a backbone as it is; its weights may be of both types. classifier: count it. */
tinytl_value_count tinytl_backbone_count_values(const tinytl_backbone *backbone, bool classifier);

/* Tensor t of a module before training: convolutions He fan-out normal, norm scale 1, shift 0, the
 * final scale 0: the module is an exact identity until it is trained. stream: of random numbers,
 * of this module alone. */
void tinytl_lite_random(const tinytl_lite_tensor *tensor, int t, int stream, uint64_t seed,
                        float *values);

#endif
