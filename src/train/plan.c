#include "train/plan.h"

#include <stdlib.h>

#include "core/limit.h"
#include "core/pages.h"
#include "data/images.h"
#include "train/choice.h"

/* For pictures that are not there yet: JPEGs of 12 megapixels from a camera, streamed, whatever the
 * crop. */
static size_t typical_load_nbytes(void *context, const tinytl_view *view) {
  (void)context, (void)view;
  return 150 * 1000;
}

tinytl_status tinytl_method_plan(const tinytl_task *task, const tinytl_train_options *options,
                                 tinytl_plan *plan, tinytl_error *error) {
  tinytl_trainer *t = calloc(1, sizeof *t);
  if (!t) return tinytl_fail_memory(error, sizeof *t);
  t->options = *options;
  t->train = task->train;
  t->val = task->val;
  t->carry = task->carry;
  t->found = task->found;
  const tinytl_status status = tinytl_trainer_choose(t, task->backbone, task->base_nbytes, error);
  if (status == TINYTL_OK || status == TINYTL_ERROR_MEMORY_LIMIT) *plan = t->plan;
  tinytl_trainer_free(t);
  return status;
}

/* Lite modules stand beside every inverted residual but the first. */
static bool can_do(const tinytl_backbone *backbone, tinytl_method method) {
  return !tinytl_method_trains_lite(method) || backbone->arch.n_lite > 0 ||
         backbone->arch.n_blocks > 1;
}

static tinytl_status plan_if_possible(const tinytl_task *task, const tinytl_train_options *options,
                                      tinytl_plan *plan, tinytl_error *error) {
  if (can_do(task->backbone, options->method))
    return tinytl_method_plan(task, options, plan, error);
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "method %s: the backbone has no place for lite modules",
                     tinytl_method_name(options->method));
}

/* Whether auto can do without a method for this reason. */
static bool is_no_place(tinytl_status status) {
  return status == TINYTL_ERROR_MEMORY_LIMIT || status == TINYTL_ERROR_MODEL;
}

/* In a checkpoint's header there are the names twice over, each time with room for escapes. */
size_t tinytl_carried_nbytes(const tinytl_task *task, const tinytl_train_options *options,
                             size_t values_nbytes) {
  const size_t names = tinytl_class_names_nbytes(task->train);
  return sizeof(tinytl_adapter) + values_nbytes + names + (options->save ? 4 * names : 0);
}

/* Where several methods do not fit, the error is that of the one which wants most. */
tinytl_status tinytl_auto_plan_make(const tinytl_task *task, const tinytl_train_options *options,
                                    const tinytl_carry *resumed, tinytl_auto_plan *plan,
                                    tinytl_error *error) {
  tinytl_train_options own = *options;
  const size_t compared = /* by the best method so far, and the next */
      2 * (size_t)task->val->n_images * sizeof(float);
  tinytl_carry carry = {.nbytes = compared};
  tinytl_task own_task = *task;
  tinytl_error reason;
  size_t most = 0; /* that one which does not fit would do with; 0: all fit */
  own_task.carry = &carry;
  *plan = (tinytl_auto_plan){.why_not = TINYTL_OK};
  const int n_methods = resumed ? resumed->n_methods : TINYTL_N_AUTO_METHODS;
  for (int i = 0; i < n_methods; i++) {
    const tinytl_plan *planned = &plan->plans[i];
    const bool is_done = resumed && i < resumed->method_at;
    own.method = tinytl_auto_methods[i];
    if (resumed) own.optimizer = resumed->optimizers[i];
    carry.asks_mirror =
        i == 0 && options->mirror == TINYTL_SWITCH_AUTO && options->augment != TINYTL_SWITCH_OFF;
    plan->carried[i] = carry.nbytes;
    const tinytl_status status = plan_if_possible(&own_task, &own, &plan->plans[i], &reason);
    if (i > 0 && !resumed && is_no_place(status)) {
      plan->why_not = status;
      break;
    }
    const bool is_limited = status == TINYTL_ERROR_MEMORY_LIMIT;
    const bool is_largest = is_limited && !is_done && planned->smallest_bytes > most;
    if (is_largest) most = planned->smallest_bytes;
    /* The methods to come may want a larger limit still. */
    const bool goes_on =
        status == TINYTL_OK || (resumed && is_limited && planned->smallest_bytes > 0);
    if ((is_largest || !goes_on) && error) *error = reason;
    if (!goes_on) return status;
    plan->n_methods++;
    carry.nbytes = compared + tinytl_carried_nbytes(task, options, planned->trained_bytes);
  }
  if (resumed && n_methods < TINYTL_N_AUTO_METHODS) /* it was left out at the beginning */
    plan->why_not = can_do(task->backbone, tinytl_auto_methods[n_methods])
                        ? TINYTL_ERROR_MEMORY_LIMIT
                        : TINYTL_ERROR_MODEL;
  return most > 0 ? TINYTL_ERROR_MEMORY_LIMIT : TINYTL_OK;
}

/* Where none fits, the error is that of the one which wants least. */
tinytl_status tinytl_largest_plan_make(const tinytl_task *task, const tinytl_train_options *options,
                                       tinytl_plan *plan, tinytl_error *error) {
  tinytl_train_options own = *options;
  tinytl_status found = TINYTL_ERROR_MEMORY_LIMIT;
  tinytl_error why;
  for (int i = 0; i < TINYTL_N_AUTO_METHODS; i++) {
    tinytl_plan planned = {0};
    tinytl_error reason;
    own.method = tinytl_auto_methods[i];
    const tinytl_status status = plan_if_possible(task, &own, &planned, &reason);
    if (status == TINYTL_OK) {
      *plan = planned;
      found = TINYTL_OK;
    } else if (!is_no_place(status) || (i == 0 && status == TINYTL_ERROR_MODEL)) {
      if (error) *error = reason;
      return status;
    } else if (status == TINYTL_ERROR_MEMORY_LIMIT && found != TINYTL_OK &&
               (i == 0 || planned.smallest_bytes < plan->smallest_bytes)) {
      *plan = planned;
      why = reason;
    }
  }
  if (found != TINYTL_OK && error) *error = why;
  return found;
}

tinytl_status tinytl_plan_upon(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               size_t base_nbytes, tinytl_plan *plan, tinytl_error *error) {
  TINYTL_TRY(tinytl_trainer_check_options(options, error));
  if (n_classes < 2 || n_classes > TINYTL_MAX_CLASSES || n_train_images < 1 || n_val_images < 0)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "a plan needs 2 to %d classes, at least one training picture and 0 or more "
                       "of validation, not %d, %d and %d",
                       TINYTL_MAX_CLASSES, n_classes, n_train_images, n_val_images);
  const tinytl_images train = {
      .n_images = n_train_images, .n_classes = n_classes, .load_nbytes = typical_load_nbytes};
  const tinytl_images val = {.n_images = n_val_images, .n_classes = n_classes};
  const tinytl_task task = {.backbone = backbone,
                            .train = &train,
                            .val = n_val_images > 0 ? &val : NULL,
                            .base_nbytes = base_nbytes};
  if (options->method != TINYTL_METHOD_AUTO) return tinytl_method_plan(&task, options, plan, error);
  if (!task.val) return tinytl_largest_plan_make(&task, options, plan, error);
  tinytl_auto_plan all;
  const tinytl_status status = tinytl_auto_plan_make(&task, options, NULL, &all, error);
  if (status == TINYTL_OK || status == TINYTL_ERROR_MEMORY_LIMIT)
    *plan = all.plans[all.n_methods > 0 ? all.n_methods - 1 : 0];
  return status;
}

tinytl_status tinytl_plan_make(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               tinytl_plan *plan, tinytl_error *error) {
  const size_t base_nbytes = tinytl_resident_nbytes();
  TINYTL_TRY(tinytl_plan_upon(backbone, n_classes, n_train_images, n_val_images, options,
                              base_nbytes, plan, error));
  return tinytl_limit_check_base(options->memory_limit, base_nbytes, error);
}
