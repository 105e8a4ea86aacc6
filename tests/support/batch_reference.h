/* A network with batch norms in plain double, layer by layer as the formulas have it. */
#ifndef TINYTL_TEST_BATCH_REFERENCE_H
#define TINYTL_TEST_BATCH_REFERENCE_H

#include "pretrain/batch_net.h"

/* Logits [n_images][n_classes] of pictures [size][size][3], by their own statistics; values as
 * tinytl_batch_params has them. */
void batch_reference_forward(const tinytl_batch_net *net, const double *values,
                             const uint8_t *const *rgb, int n_images, const float input_scale[3],
                             const float input_shift[3], double *logits);

#endif
