#include "model/adapter.h"

#include "model/strings.h"

#include <stdlib.h>
#include <string.h>

static const char *const method_names[] = {
    [TINYTL_METHOD_LAST] = "last", [TINYTL_METHOD_BIAS] = "bias",
    [TINYTL_METHOD_LITE] = "lite", [TINYTL_METHOD_LITE_BIAS] = "lite+bias",
    [TINYTL_METHOD_NORM] = "norm", [TINYTL_METHOD_FULL] = "full",
    [TINYTL_METHOD_AUTO] = "auto"};

const char *tinytl_method_name(tinytl_method method) {
  return (unsigned)method <= TINYTL_METHOD_AUTO ? method_names[method] : NULL;
}

bool tinytl_method_parse(const char *name, tinytl_method *method) {
  for (int i = 0; i <= TINYTL_METHOD_AUTO; i++)
    if (strcmp(name, method_names[i]) == 0) {
      *method = (tinytl_method)i;
      return true;
    }
  return false;
}

/* ---- Building ----------------------------------------------------------------------------- */

/* Gives *values the next n floats of the block and copies what it pointed to; without a block it
 * only counts. */
static void move_values(tinytl_adapter *adapter, const float **values, size_t n) {
  if (adapter->values)
    *values = memcpy(adapter->values + adapter->n_values, *values, n * sizeof **values);
  adapter->n_values += n;
}

static size_t n_weights(const tinytl_adapter *adapter, int i) {
  size_t n = 1;
  for (int d = 0; d < adapter->layer_n_dims[i]; d++) n *= (size_t)adapter->layer_dims[i][d];
  return n;
}

static void move_all(tinytl_adapter *adapter) {
  adapter->n_values = 0;
  move_values(adapter, &adapter->classifier,
              (size_t)adapter->n_classes * (size_t)adapter->n_features);
  move_values(adapter, &adapter->classifier_bias, (size_t)adapter->n_classes);
  for (int i = 0; i < adapter->n_layers; i++)
    if (adapter->bias[i]) move_values(adapter, &adapter->bias[i], (size_t)adapter->layer_out_c[i]);
  for (int i = 0; i < adapter->n_layers; i++)
    if (adapter->gain[i]) move_values(adapter, &adapter->gain[i], (size_t)adapter->layer_out_c[i]);
  for (int i = 0; i < adapter->n_layers; i++)
    if (adapter->weight[i]) move_values(adapter, &adapter->weight[i], n_weights(adapter, i));
  for (int i = 0; i < adapter->n_lite; i++) {
    tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
    tinytl_lite_tensors(&adapter->lite_shape[i], tensors);
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
      move_values(adapter, tinytl_lite_member(&adapter->lite[i], &tensors[t]), tensors[t].n);
  }
}

static tinytl_status own(tinytl_adapter *adapter, tinytl_error *error) {
  const char *const *names = (const char *const *)adapter->class_names;
  adapter->class_names = NULL;
  adapter->values = NULL;
  TINYTL_TRY(tinytl_strings_copy(names, adapter->n_classes, &adapter->class_names, error));
  move_all(adapter);
  const size_t nbytes = adapter->n_values * sizeof(float);
  adapter->values = malloc(nbytes);
  if (!adapter->values) return tinytl_fail_memory(error, nbytes);
  move_all(adapter);
  return TINYTL_OK;
}

tinytl_status tinytl_adapter_build(const tinytl_adapter *values, tinytl_adapter **adapter,
                                   tinytl_error *error) {
  tinytl_adapter *built = malloc(sizeof *built);
  if (!built) return tinytl_fail_memory(error, sizeof *built);
  *built = *values;
  tinytl_status status = own(built, error);
  if (status != TINYTL_OK)
    tinytl_adapter_free(built);
  else
    *adapter = built;
  return status;
}

void tinytl_adapter_free(tinytl_adapter *adapter) {
  if (!adapter) return;
  free(adapter->class_names);
  free(adapter->values);
  free(adapter);
}

/* ---- Description -------------------------------------------------------------------------- */

void tinytl_adapter_describe(const tinytl_adapter *adapter, tinytl_adapter_info *info) {
  *info = (tinytl_adapter_info){.method = adapter->method,
                                .image_size = adapter->image_size,
                                .n_classes = adapter->n_classes,
                                .n_lite = adapter->n_lite,
                                .n_parameters = adapter->n_values,
                                .val_top1 = adapter->val_top1,
                                .temperature = adapter->temperature,
                                .reject_below = adapter->reject_below};
  memcpy(info->backbone_sha256, adapter->backbone_sha256, sizeof info->backbone_sha256);
}

const char *tinytl_adapter_class(const tinytl_adapter *adapter, int index) {
  return index >= 0 && index < adapter->n_classes ? adapter->class_names[index] : NULL;
}
