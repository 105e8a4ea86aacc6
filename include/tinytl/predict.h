/* Using a backbone, with an adapter or as it is. */
#ifndef TINYTL_PREDICT_H
#define TINYTL_PREDICT_H

#include "adapter.h"
#include "pictures.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_predictor tinytl_predictor;

/* adapter NULL: the backbone's own classifier. image_size 0: the adapter's or backbone's. The
 * backbone and the adapter must outlive the predictor. n_threads 0: one a core. */
tinytl_status tinytl_predictor_create(const tinytl_backbone *backbone,
                                      const tinytl_adapter *adapter, int image_size, int n_threads,
                                      tinytl_predictor **predictor, tinytl_error *error);
int tinytl_predictor_n_classes(const tinytl_predictor *predictor);
/* Geometry of the pictures it wants (no augmentation). */
tinytl_view tinytl_predictor_view(const tinytl_predictor *predictor);
/* rgb [size][size][3] -> probabilities [n_classes], which sum to 1: the softmax of the logits
 * divided by the adapter's temperature. */
tinytl_status tinytl_predictor_run(tinytl_predictor *predictor, const uint8_t *rgb,
                                   float *probabilities, tinytl_error *error);
/* Of the picture that was run last without an error: its largest logit. Pictures of the classes
 * tend to score higher than those of other things, which may still have a probability near 1. */
float tinytl_predictor_score(const tinytl_predictor *predictor);
size_t tinytl_predictor_nbytes(const tinytl_predictor *predictor); /* arena */
uint64_t tinytl_predictor_macs(const tinytl_predictor *predictor); /* of one picture */
void tinytl_predictor_free(tinytl_predictor *predictor);           /* NULL is allowed */

#ifdef __cplusplus
}
#endif

#endif
