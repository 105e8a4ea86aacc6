/* Choosing a super-net's sub-net for the pictures it is to be trained on. */
#ifndef TINYTL_SEARCH_H
#define TINYTL_SEARCH_H

#include "supernet.h"
#include "train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A sub-net that was measured. Stages and blocks are those of docs/supernet.md; blocks beyond the
 * depth are 0. */
typedef struct tinytl_candidate {
  int image_size; /* side of the pictures, in pixels */
  int depth[TINYTL_SUPERNET_STAGES];
  int kernel[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  int expand[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  int lite_kernel[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH]; /* 0: no lite module */
  int lite_groups[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  uint64_t macs;                    /* multiply-accumulates of one image, forward */
  size_t planned_bytes, base_bytes; /* of training it, as tinytl_plan's one_lane and base */
  float top1;                       /* of held-out pictures, 0 to 1 */
  float score; /* what sub-nets are ranked by, 0 to 1: the geometric mean of the probability given
                  to the right class, at the temperature at which it is largest */
  float predicted; /* the score by the predictor; NAN: not yet */
  bool on_front;   /* no other one beats it in score with as little memory */
} tinytl_candidate;

/* Where a search is, to be written while the callback that gets it runs. */
typedef struct tinytl_search_state tinytl_search_state;
tinytl_status tinytl_search_state_write(const tinytl_search_state *state, tinytl_write_fn write,
                                        void *context, tinytl_error *error);

typedef struct tinytl_search_options {
  /* What candidates are priced for; memory_limit, n_threads, seed, stop, skip, save_seconds and
   * context are the search's own too, and epochs (0: as many as training by method bias has at its
   * usual rates), augment, mirror, colour_jitter, label_smoothing and dropout, for adapting. Its
   * method is lite+bias at first, and must not be auto; where it trains lite modules, those of the
   * super-net are adapted too, if the limit has room. image_size must be 0: each candidate has its
   * own. */
  tinytl_train_options train;
  /* Sides of the pictures to choose from, ascending, 32 to 1024 each. What is too large for the
   * limits is left out. n_image_sizes 0 (default): from 3/4 to twice the super-net's, in quarters,
   * above its own none larger than 224. */
  int image_sizes[TINYTL_MAX_IMAGE_SIZES], n_image_sizes;
  uint64_t max_macs;   /* of one image, forward; 0: any (default) */
  size_t search_limit; /* of the search itself, where it runs on another machine than training will;
                          0: train.memory_limit (default) */
  int candidates;      /* to be measured, 16 to 1000, and some more at the end; 0: 100 (default) */
  /* Told of each one as it was measured (on_front is not set), and at the end of all, best first.
   * NULL: nobody */
  void (*progress)(void *context, int n, int n_candidates, const tinytl_candidate *candidate);
  void (*measured)(void *context, const tinytl_candidate *candidate);
  /* Adapting goes on. NULL: nobody */
  void (*adapting)(void *context, const tinytl_epoch *epoch);
  /* Handed the state every train.save_seconds, and where the search is interrupted. NULL: nobody */
  void (*save)(void *context, const tinytl_search_state *state);
  const tinytl_source *resume; /* state to go on from; NULL: from the beginning (default). All that
                                  changes the result must be the same: threads too under a limit */
  /* Told where; epoch: of adapting, n_epochs + 1 where that is done. NULL: nobody */
  void (*resumed)(void *context, int epoch, int n_measured);
} tinytl_search_options;

void tinytl_search_options_init(tinytl_search_options *options);

typedef struct tinytl_search_report {
  tinytl_candidate chosen;
  int candidates;        /* measured; fewer than asked for where there are no more */
  tinytl_method adapted; /* BIAS, or with lite modules LITE_BIAS; the classifier always */
  float tau; /* Kendall's, of predicted and measured scores of a fifth of the candidates that a
                predictor had not seen, the mean over the fifths; NAN: of five or fewer */
  size_t planned_bytes, search_base_bytes; /* what the search takes; what the process held before */
  double seconds;
} tinytl_search_report;

/* Chooses the sub-net, and the size of its pictures, that has the best score on these pictures and
 * on `val`, held-out ones of the same classes, within options->train.memory_limit and max_macs;
 * how, stands in docs/supernet.md. *backbone, which is the caller's, has int8 weights; its
 * classifier is one of the pictures' classes, and its biases and lite modules are adapted to them.
 * Same seed, same bytes, whatever the number of threads; but under a memory limit their stacks
 * count, so it must be the same, and so does what the process holds, which differs by some pages
 * from start to start: a sub-net that only just meets the limit may not the next time. Errors:
 * USAGE (options; a state of others), DATA, MODEL (a state that is damaged, or of another super-net
 * or other pictures; a sub-net whose values are not finite), MEMORY_LIMIT (no sub-net meets the
 * limits: the message says what the smallest takes; or the search does not), INTERRUPTED. */
tinytl_status tinytl_search(const tinytl_supernet *supernet, const tinytl_images *train,
                            const tinytl_images *val, const tinytl_search_options *options,
                            tinytl_backbone **backbone, tinytl_search_report *report,
                            tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
