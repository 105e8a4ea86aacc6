/* Networks that hold many: pretrain.h makes them, search.h chooses from them. */
#ifndef TINYTL_SUPERNET_H
#define TINYTL_SUPERNET_H

#include "backbone.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sub-net has at most this: stages of inverted residuals, and blocks in one of them; and there
 * are at most so many sizes of pictures to draw or choose from. */
enum { TINYTL_SUPERNET_STAGES = 7, TINYTL_SUPERNET_DEPTH = 4, TINYTL_MAX_IMAGE_SIZES = 8 };

/* The weights of many sub-nets at once, and a classifier. A sub-net of it is a backbone. */
typedef struct tinytl_supernet tinytl_supernet;

/* Opens a super-net file; its content is copied. On success the caller owns *supernet. Errors:
 * TINYTL_ERROR_MODEL, TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_supernet_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_supernet **supernet, tinytl_error *error);
/* In memory its values are float32. In a file with INT8 those of convolutions and classifier, not
 * of lite modules, are rounded as a backbone's are: a quarter of the size. */
tinytl_status tinytl_supernet_write(const tinytl_supernet *supernet, tinytl_weights weights,
                                    tinytl_write_fn write, void *context, tinytl_error *error);
void tinytl_supernet_free(tinytl_supernet *supernet); /* NULL is allowed */

typedef struct tinytl_supernet_info {
  const char *name;                     /* "supernet-W"; belongs to the super-net */
  int image_size;                       /* that it was trained at */
  int n_classes;                        /* of its classifier */
  size_t n_parameters;                  /* of all sub-nets together */
  double n_subnets;                     /* that there are to choose from */
  uint64_t largest_macs, smallest_macs; /* multiply-accumulates of one image at image_size */
  bool has_lite;                        /* lite residual modules, which the sub-nets share */
  int total_stride;                     /* 16 or 32: of the picture's side to the last map's */
} tinytl_supernet_info;

void tinytl_supernet_describe(const tinytl_supernet *supernet, tinytl_supernet_info *info);
const char *tinytl_supernet_label(const tinytl_supernet *supernet, int index); /* NULL: none */

#ifdef __cplusplus
}
#endif

#endif
