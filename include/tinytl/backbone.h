/* Pre-trained networks. */
#ifndef TINYTL_BACKBONE_H
#define TINYTL_BACKBONE_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A frozen feature extractor, with a classifier of its own and lite residual modules where the
 * file carries them. */
typedef struct tinytl_backbone tinytl_backbone;

typedef enum tinytl_weights {
  TINYTL_WEIGHTS_INT8, /* symmetric, one scale per output channel (default) */
  TINYTL_WEIGHTS_F32
} tinytl_weights;

/* The most heap that opening a file takes, beside the file itself, which is read whole: what its
 * header asks for and, is_copied, the values of an adapter or super-net. Of a file whose header
 * cannot be read it is little. */
size_t tinytl_open_nbytes(const void *bytes, size_t nbytes, bool is_copied);

/* Opens a backbone file of this project. `bytes` [nbytes] is borrowed and must stay valid and
 * unchanged until the backbone is freed. `name` is used in messages. On success the caller owns
 * *backbone. Errors: TINYTL_ERROR_MODEL, TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_backbone_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_backbone **backbone, tinytl_error *error);

/* Reads a model of another format: TFLite (int8, uint8 or float32); a safetensors file that carries
 * an `architecture`; a safetensors file or a PyTorch checkpoint (zip) with the tensors of a
 * MobileNetV2, ProxylessNAS or once-for-all ProxylessNAS super-net (its largest sub-net) under
 * their public names, batch norms included. The format is told by content, and nothing of a
 * checkpoint is executed. Nothing of `bytes` is kept. Errors: TINYTL_ERROR_USAGE (weights),
 * TINYTL_ERROR_MODEL, TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_backbone_import(const void *bytes, size_t nbytes, const char *name,
                                     tinytl_weights weights, tinytl_backbone **backbone,
                                     tinytl_error *error);

/* Makes a randomly initialised backbone (He fan-out normal) of a named architecture:
 * "mobilenet-v2-W" (W: width multiplier, 0.1 to 2.0, e.g. "mobilenet-v2-0.35"),
 * "proxyless-mobile", "mcunet-5fps". n_classes: 1 to 100,000. */
tinytl_status tinytl_backbone_init(const char *architecture, int n_classes, tinytl_weights weights,
                                   uint64_t seed, tinytl_backbone **backbone, tinytl_error *error);

/* Writes the backbone file. */
tinytl_status tinytl_backbone_write(const tinytl_backbone *backbone, tinytl_write_fn write,
                                    void *context, tinytl_error *error);

void tinytl_backbone_free(tinytl_backbone *backbone); /* NULL is allowed */

/* What a backbone holds. Strings belong to the backbone. */
typedef struct tinytl_backbone_info {
  const char *architecture;
  const char *source, *licence; /* "" where the file does not say */
  tinytl_weights weights;
  int image_size;       /* side of the square input, pixels */
  int n_layers;         /* convolutions */
  int n_blocks;         /* inverted residuals */
  int n_features;       /* length of the pooled feature vector */
  int n_classes;        /* of its own classifier; 0: has none */
  int n_lite;           /* pre-trained lite residual modules; 0: has none */
  size_t n_parameters;  /* weights and biases, classifier and lite modules included */
  size_t weight_nbytes; /* bytes they take at rest */
  uint64_t macs;        /* multiply-accumulates of one image at image_size */
  char sha256[65];      /* of its file, or of the file that tinytl_backbone_write makes;
                           lower-case hexadecimal */
} tinytl_backbone_info;

void tinytl_backbone_describe(const tinytl_backbone *backbone, tinytl_backbone_info *info);

/* Name of class `index` of the backbone's own classifier; NULL when out of range or unnamed. */
const char *tinytl_backbone_label(const tinytl_backbone *backbone, int index);

#ifdef __cplusplus
}
#endif

#endif
