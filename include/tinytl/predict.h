/* Using a backbone, with an adapter or as it is. */
#ifndef TINYTL_PREDICT_H
#define TINYTL_PREDICT_H

#include "adapter.h"
#include "pictures.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_predictor tinytl_predictor;

/* adapter NULL: the backbone's own classifier. image_size 1 to 4096; 0: the adapter's or
 * backbone's. n_threads 1 to 64; 0: one a core. The backbone and the adapter must outlive the
 * predictor. Errors: USAGE (a size or number of threads, an adapter that was opened without its
 * backbone), MODEL (an adapter of another backbone), INTERNAL (no memory, no thread). */
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
/* Of the picture that tinytl_predictor_run ran last without an error: its largest logit. Pictures
 * of the classes tend to score higher than those of other things, which may still have a
 * probability near 1. */
float tinytl_predictor_score(const tinytl_predictor *predictor);

/* Told of picture `index`: its probabilities [n_classes] and its score. Any status but OK ends the
 * run. */
typedef tinytl_status (*tinytl_answer_fn)(void *context, int index, const float *probabilities,
                                          float score, tinytl_error *error);
/* Runs all pictures of a set, decoded meanwhile, as many at once as there are threads (16 at most),
 * and tells `answer` in their order, from the calling thread. `skip` (may be NULL) is told of those
 * that cannot be read; both are given `context`. For every picture at once it takes, until it
 * returns, two decoded pictures and what decoding takes, and for every one but the first an arena.
 * Errors: INTERNAL (no memory, no thread), those of images->load, of tinytl_predictor_run, and of
 * `answer`. */
tinytl_status tinytl_predictor_run_all(tinytl_predictor *predictor, const tinytl_images *images,
                                       tinytl_skip_fn skip, tinytl_answer_fn answer, void *context,
                                       tinytl_error *error);
size_t tinytl_predictor_nbytes(const tinytl_predictor *predictor); /* arena */
uint64_t tinytl_predictor_macs(const tinytl_predictor *predictor); /* of one picture */
void tinytl_predictor_free(tinytl_predictor *predictor);           /* NULL is allowed */

#ifdef __cplusplus
}
#endif

#endif
