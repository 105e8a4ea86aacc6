/* The tensors of a file that is to be written. */
#ifndef TINYTL_FORMAT_TENSOR_LIST_H
#define TINYTL_FORMAT_TENSOR_LIST_H

#include "format/safetensors.h"
#include "model/tensors.h"

enum {
  /* weight, scale and bias a layer, the same for the classifier, and the lite modules */
  TINYTL_MAX_FILE_TENSORS =
      3 * (TINYTL_MAX_LAYERS + 1) + TINYTL_LITE_TENSORS * (TINYTL_MAX_LAYERS / 2)
};

typedef struct tinytl_tensor_list {
  int n;
  tinytl_tensor tensors[TINYTL_MAX_FILE_TENSORS];
  char names[TINYTL_MAX_FILE_TENSORS][40];
} tinytl_tensor_list;

void tinytl_tensor_list_f32(tinytl_tensor_list *list, const char *name, int n_dims, const int *dims,
                            const float *data);
/* "PREFIX.weight" [n_dims] and, where it is int8, "PREFIX.scale" [out_c]. */
void tinytl_tensor_list_weight(tinytl_tensor_list *list, const char *prefix, int n_dims,
                               const int *dims, int out_c, const tinytl_weight *weight);
/* The tensors of one lite module. */
void tinytl_tensor_list_lite(tinytl_tensor_list *list, const tinytl_lite *lite,
                             const tinytl_lite_values *values);
/* The reverse: finds them in a file, as tinytl_safetensors_f32; scales pass
 * tinytl_scales_check. */
tinytl_status tinytl_read_weight(const tinytl_safetensors *file, const char *prefix, int n_dims,
                                 const int *dims, int out_c, tinytl_weight *weight,
                                 tinytl_error *error);
tinytl_status tinytl_read_lite(const tinytl_safetensors *file, const tinytl_lite *lite,
                               tinytl_lite_values *values, tinytl_error *error);

#endif
