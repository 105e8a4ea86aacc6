/* Plans without a run. */
#ifndef TINYTL_TRAIN_PLAN_H
#define TINYTL_TRAIN_PLAN_H

#include "train/trainer.h"

/* The plan alone of options->method, which is no AUTO. Errors as of tinytl_plan_make. */
tinytl_status tinytl_method_plan(const tinytl_task *task, const tinytl_train_options *options,
                                 tinytl_plan *plan, tinytl_error *error);
/* What an adapter with so many bytes of values takes while a method is trained, and the header that
 * it has in every checkpoint. */
size_t tinytl_carried_nbytes(const tinytl_task *task, const tinytl_train_options *options,
                             size_t values_nbytes);
/* What auto may try, in its order: the methods that fit and that the backbone can do. */
typedef struct tinytl_auto_plan {
  int n_methods;
  tinytl_plan plans[TINYTL_N_AUTO_METHODS];
  size_t carried[TINYTL_N_AUTO_METHODS]; /* bytes, of what each inherits */
  tinytl_status why_not; /* of the method after these, MEMORY_LIMIT or MODEL; OK: none */
} tinytl_auto_plan;
/* With validation pictures. resumed NULL: what fits is chosen; else the run goes on, and its
 * methods from method_at to n_methods must fit with their optimizers. Errors where the first method
 * does not fit; then plans[0] is its smallest plan.
 */
tinytl_status tinytl_auto_plan_make(const tinytl_task *task, const tinytl_train_options *options,
                                    const tinytl_carry *resumed, tinytl_auto_plan *plan,
                                    tinytl_error *error);
/* Without them: the largest method of auto that fits, and that the backbone can do. */
tinytl_status tinytl_largest_plan_make(const tinytl_task *task, const tinytl_train_options *options,
                                       tinytl_plan *plan, tinytl_error *error);
/* tinytl_plan_make for a process that holds base_nbytes. */
tinytl_status tinytl_plan_upon(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               size_t base_nbytes, tinytl_plan *plan, tinytl_error *error);

#endif
