#include "format/tensor_list.h"

#include <stdio.h>

#include "model/quantise.h"

static tinytl_tensor *push(tinytl_tensor_list *list, const char *name, int n_dims,
                           const int *dims) {
  tinytl_tensor *tensor = &list->tensors[list->n];
  snprintf(list->names[list->n], sizeof list->names[0], "%s", name);
  *tensor = (tinytl_tensor){.name = list->names[list->n], .n_dims = n_dims, .nbytes = 1};
  for (int i = 0; i < n_dims; i++) {
    tensor->dims[i] = (size_t)dims[i];
    tensor->nbytes *= tensor->dims[i];
  }
  list->n++;
  return tensor;
}

void tinytl_tensor_list_f32(tinytl_tensor_list *list, const char *name, int n_dims, const int *dims,
                            const float *data) {
  tinytl_tensor *tensor = push(list, name, n_dims, dims);
  tensor->dtype = TINYTL_DTYPE_F32;
  tensor->nbytes *= sizeof *data;
  tensor->data = data;
}

static void add_i8(tinytl_tensor_list *list, const char *name, int n_dims, const int *dims,
                   const int8_t *data) {
  tinytl_tensor *tensor = push(list, name, n_dims, dims);
  tensor->dtype = TINYTL_DTYPE_I8;
  tensor->data = data;
}

void tinytl_tensor_list_weight(tinytl_tensor_list *list, const char *prefix, int n_dims,
                               const int *dims, int out_c, const tinytl_weight *weight) {
  char name[40];
  snprintf(name, sizeof name, "%s.weight", prefix);
  if (!weight->i8) {
    tinytl_tensor_list_f32(list, name, n_dims, dims, weight->f32);
    return;
  }
  add_i8(list, name, n_dims, dims, weight->i8);
  snprintf(name, sizeof name, "%s.scale", prefix);
  tinytl_tensor_list_f32(list, name, 1, &out_c, weight->scale);
}

void tinytl_tensor_list_lite(tinytl_tensor_list *list, const tinytl_lite *lite,
                             const tinytl_lite_values *values) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(lite, tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    char name[40];
    snprintf(name, sizeof name, "lite.%d.%s", lite->block, tensors[t].name);
    tinytl_tensor_list_f32(list, name, tensors[t].n_dims, tensors[t].dims,
                           tinytl_lite_data(values, &tensors[t]));
  }
}

tinytl_status tinytl_read_weight(const tinytl_safetensors *file, const char *prefix, int n_dims,
                                 const int *dims, int out_c, tinytl_weight *weight,
                                 tinytl_error *error) {
  char name[40];
  snprintf(name, sizeof name, "%s.weight", prefix);
  const tinytl_tensor *tensor = tinytl_safetensors_find(file, name);
  if (!tensor || tensor->dtype != TINYTL_DTYPE_I8)
    return tinytl_safetensors_f32(file, name, n_dims, dims, &weight->f32, error);
  TINYTL_TRY(tinytl_safetensors_i8(file, name, n_dims, dims, &weight->i8, error));
  snprintf(name, sizeof name, "%s.scale", prefix);
  TINYTL_TRY(tinytl_safetensors_f32(file, name, 1, &out_c, &weight->scale, error));
  char where[TINYTL_ST_WHERE];
  tinytl_format(where, sizeof where, "%s: tensor \"%s\"", tinytl_safetensors_name(file), name);
  return tinytl_scales_check(weight->scale, out_c, where, error);
}

tinytl_status tinytl_read_lite(const tinytl_safetensors *file, const tinytl_lite *lite,
                               tinytl_lite_values *values, tinytl_error *error) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(lite, tensors);
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) {
    char name[40];
    snprintf(name, sizeof name, "lite.%d.%s", lite->block, tensors[t].name);
    TINYTL_TRY(tinytl_safetensors_f32(file, name, tensors[t].n_dims, tensors[t].dims,
                                      tinytl_lite_member(values, &tensors[t]), error));
  }
  return TINYTL_OK;
}
