/* Pictures one after the other, in groups that go through the network side by side. */
#ifndef TINYTL_TRAIN_PASS_H
#define TINYTL_TRAIN_PASS_H

#include "train/trainer.h"

/* The pictures of one pass: the first n of the trainer's order, which is for the caller to fill. */
typedef struct tinytl_pass {
  tinytl_trainer *t;
  const tinytl_images *images;
  bool *unreadable; /* [n_images] */
  bool cached;      /* their features are read, not the pictures */
  int first_cached; /* features of image 0 */
  int n, n_given;   /* pictures of order */
} tinytl_pass;

/* All pictures of a set. cached: of the feature cache, which was filled. */
tinytl_pass tinytl_pass_train(tinytl_trainer *trainer, bool cached);
tinytl_pass tinytl_pass_val(tinytl_trainer *trainer, bool cached);

/* Takes out of the order what could not be read before, and begins behind its first n_done. */
tinytl_status tinytl_pass_begin(tinytl_pass *pass, int n_done, const tinytl_view *view,
                                tinytl_error *error);

/* Pictures that go through the network side by side; one where features are read, which are then in
 * trainer->features. */
typedef struct tinytl_pass_group {
  tinytl_sample samples[TINYTL_MAX_LANES];
  int n;
} tinytl_pass_group;

/* The next ones that can be read, one a lane if there are as many; none at the pass's end. Errors:
 * INTERRUPTED, DATA (a class without a training picture that can be read), those of the loader. */
tinytl_status tinytl_pass_next(tinytl_pass *pass, tinytl_pass_group *group, tinytl_error *error);
void tinytl_pass_release(const tinytl_pass *pass, const tinytl_pass_group *group);

/* Feeds the trainer until its batch is full or the pass ends. Errors as above; then what was fed is
 * of no use. */
tinytl_status tinytl_pass_feed(tinytl_pass *pass, uint64_t epoch, tinytl_fed *fed,
                               tinytl_error *error);

#endif
