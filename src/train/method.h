/* One method of a run. */
#ifndef TINYTL_TRAIN_METHOD_H
#define TINYTL_TRAIN_METHOD_H

#include "train/checkpoint.h"

/* What training a method made. */
typedef struct tinytl_outcome {
  tinytl_adapter *adapter;    /* the caller's */
  tinytl_train_report report; /* of a method that failed, what it took counts alone */
  uint64_t n_run;             /* training pictures that went through the network */
  /* Pictures that could not be read before, training, then validation images: left out, and told of
   * no more; what could not be read now is added. The caller's room; NULL: none is kept. */
  bool *unreadable;
  bool is_unfit; /* it failed (DATA) for what another method, or the first training, need not fail
                    for: a loss or a value is not finite, or its limit has no room for any picture
                    of a class, or of validation */
  /* With task->carry: */
  float *right; /* [validation images], the caller's room: of those that can be read, filled; the
                   others are left as they are. May be carry->right */
  tinytl_comparison comparison; /* with those of carry->right */
  tinytl_mirror_answer mirror;  /* where carry asks */
} tinytl_outcome;

/* Trains options->method, which is no AUTO. resume may be NULL. On failure outcome->adapter is
 * untouched. */
tinytl_status tinytl_method_train(const tinytl_task *task, const tinytl_train_options *options,
                                  const tinytl_resume *resume, tinytl_outcome *outcome,
                                  tinytl_error *error);

#endif
