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

/* tinytl_backbone_build with the file's name in messages. */
tinytl_status tinytl_import_build(const tinytl_backbone *values, const char *file,
                                  tinytl_weights weights, tinytl_backbone **backbone,
                                  tinytl_error *error);

/* A weight as PyTorch has it, [out][in / groups][area], to [out][area][in / groups], or
 * [area][channel] of a depthwise layer; each output channel times its scale (NULL: 1). `from` need
 * not be aligned: other writers do not see to it. */
void tinytl_import_reorder(const tinytl_layer *layer, const void *from, const double *scale,
                           float *to);

/* The name of an imported network: the file's, without folders and extension. */
void tinytl_import_name(const char *file, char name[64]);

#endif
