/* The formats that tinytl_backbone_import tells apart. */
#ifndef TINYTL_FORMAT_IMPORT_H
#define TINYTL_FORMAT_IMPORT_H

#include "format/state_dict.h"
#include "model/backbone.h"

/* A safetensors file whose metadata describes a chain of convolutions: chain.c. */
tinytl_status tinytl_import_chain(const tinytl_safetensors *file, tinytl_weights weights,
                                  tinytl_backbone **backbone, tinytl_error *error);

/* A network that is known by the names of its tensors: state_import.c, families.c. */
tinytl_status tinytl_import_state(const tinytl_state_dict *state, tinytl_weights weights,
                                  tinytl_backbone **backbone, tinytl_error *error);

tinytl_status tinytl_import_tflite(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_weights weights, tinytl_backbone **backbone,
                                   tinytl_error *error);

#endif
