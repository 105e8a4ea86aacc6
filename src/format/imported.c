#include "format/imported.h"

#include "format/arch_json.h"

#include <stdio.h>
#include <string.h>

void tinytl_import_name(const char *file, char name[64]) {
  const char *base = strrchr(file, '/');
  base = base ? base + 1 : file;
  const char *dot = strrchr(base, '.');
  const size_t length = dot && dot > base ? (size_t)(dot - base) : strlen(base);
  snprintf(name, 64, "%.*s", length < 63 ? (int)length : 63, base);
}

void tinytl_import_reorder(const tinytl_layer *layer, const void *from, const double *scale,
                           float *to) {
  const size_t area = (size_t)layer->kernel * (size_t)layer->kernel;
  const size_t in_c = (size_t)(layer->in_c / layer->groups), out_c = (size_t)layer->out_c;
  const char *next = from;
  for (size_t o = 0; o < out_c; o++)
    for (size_t i = 0; i < in_c; i++)
      for (size_t k = 0; k < area; k++, next += sizeof *to) {
        const size_t at = layer->groups > 1 ? k * out_c + o : (o * area + k) * in_c + i;
        float value;
        memcpy(&value, next, sizeof value);
        to[at] = scale ? (float)(value * scale[o]) : value;
      }
}

tinytl_status tinytl_import_build(const tinytl_backbone *values, const char *file,
                                  tinytl_weights weights, tinytl_backbone **backbone,
                                  tinytl_error *error) {
  tinytl_error reason;
  TINYTL_TRY(tinytl_input_check(&values->input, file, error));
  const tinytl_status status = tinytl_backbone_build(values, weights, backbone, &reason);
  if (status != TINYTL_OK) return tinytl_fail(error, status, "%s: %s", file, reason.message);
  return TINYTL_OK;
}
