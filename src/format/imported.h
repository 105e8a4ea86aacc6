/* What the importers of all formats share: a network out of the file of somebody else. */
#ifndef TINYTL_FORMAT_IMPORTED_H
#define TINYTL_FORMAT_IMPORTED_H

#include "model/backbone.h"

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
