#include "train/reach.h"

#include <math.h>

#include "train/choice.h"

/* Shorter trainings always prefer the larger steps: docs/training.md. */
enum {
  MOST_TRIED = 4000, /* pictures of each short training, but */
  SHARE_TRIED = 4,   /* no more than what training sees, divided by this; */
  LEAST_TRIED = 3000 /* and none where that is less than this */
};

tinytl_trial tinytl_trial_plan(int n_epochs, int n_images) {
  const int64_t share = (int64_t)n_epochs * n_images / SHARE_TRIED;
  if (share < LEAST_TRIED) return (tinytl_trial){0};
  const int n = share < MOST_TRIED ? (int)share : MOST_TRIED;
  const int epochs = 1 + (n - 1) / n_images;
  return (tinytl_trial){.n_epochs = epochs, .n_images = n / epochs};
}

/* Short trainings want larger steps than whole ones, so it is a gain of 3 points that the usual
 * rates are for, and 7 points more or less are for an octave (docs/training.md). What a gain is off
 * those 3 counts half where its noise is 10. In half octaves, as noise is of that size: so kernel
 * sets, which round otherwise, mostly train at the same rates. */
float tinytl_reach_factor(float gain, float noise) {
  const float usual = 0.03f, octave = 0.07f, deviation = 0.1f;
  if (!isfinite(noise)) return 1;
  const float share = deviation * deviation / (deviation * deviation + noise * noise);
  const float halves = roundf(2 * (share * (gain - usual)) / octave);
  return exp2f(fminf(fmaxf(halves, -2), 2) / 2);
}

/* ---- The short trainings ------------------------------------------------------------------- */

static int n_epochs_of(const tinytl_task *task, const tinytl_train_options *options) {
  const tinytl_rules rules = tinytl_rules_make(options->method, options->optimizer,
                                               task->train->n_images, options->batch, false, 1);
  return options->epochs > 0 ? options->epochs : rules.epochs;
}

tinytl_trial tinytl_reach_trial(const tinytl_task *task, const tinytl_train_options *options) {
  if (!task->val || options->lr > 0 || !tinytl_method_has_reach(options->method))
    return (tinytl_trial){0};
  return tinytl_trial_plan(n_epochs_of(task, options), task->train->n_images);
}

/* Without what concerns the training itself alone, and under a limit in the memory that is planned
 * for that. What cannot be read is the training's to tell of, which may have more room. */
static tinytl_train_options trial_options(const tinytl_train_options *options,
                                          const tinytl_plan *plan, const tinytl_trial *trial) {
  const size_t planned = plan->base_bytes + plan->total_bytes + TINYTL_LIMIT_MARGIN;
  tinytl_train_options own = *options;
  own.method = TINYTL_METHOD_BIAS;
  own.epochs = trial->n_epochs;
  own.patience = 0;
  own.profile = false;
  own.skip = NULL;
  own.planned = NULL;
  own.save = NULL;
  own.resume = NULL;
  if (own.memory_limit > planned) own.memory_limit = planned;
  return own;
}

/* Half of the rates, then twice, which is compared with it. */
static tinytl_status try_both(tinytl_task *task, const tinytl_train_options *options,
                              tinytl_reach_outcome *outcome, tinytl_comparison *comparison,
                              bool *is_unfit, tinytl_error *error) {
  static const float factors[] = {0.5f, 2};
  for (int i = 0; i < 2; i++) {
    tinytl_outcome tried = {.right = outcome->right};
    task->reach = factors[i];
    const tinytl_status status = tinytl_method_train(task, options, NULL, &tried, error);
    outcome->n_run += tried.n_run;
    outcome->setup_seconds += tried.report.setup_seconds;
    *comparison = tried.comparison;
    *is_unfit = tried.is_unfit || status == TINYTL_ERROR_MEMORY_LIMIT;
    TINYTL_TRY(status);
    tinytl_adapter_free(tried.adapter);
    *is_unfit = tried.report.train_images == 0; /* of those that were drawn */
  }
  return TINYTL_OK;
}

tinytl_status tinytl_reach_find(const tinytl_task *task, const tinytl_train_options *options,
                                const tinytl_plan *plan, const tinytl_trial *trial,
                                tinytl_reach_outcome *outcome, tinytl_error *error) {
  const size_t n_val = (size_t)task->val->n_images;
  const tinytl_carry carry = {.nbytes = task->carry ? task->carry->nbytes
                                                    : n_val * sizeof *outcome->right,
                              .right = outcome->right};
  const tinytl_train_options own_options = trial_options(options, plan, trial);
  tinytl_task own = *task;
  tinytl_comparison comparison;
  tinytl_error reason;
  bool is_unfit = false;
  own.carry = &carry;
  own.n_tried = trial->n_images;
  for (size_t i = 0; i < n_val; i++) outcome->right[i] = NAN;
  const tinytl_status status =
      try_both(&own, &own_options, outcome, &comparison, &is_unfit, &reason);
  if (status != TINYTL_OK && !is_unfit) {
    if (error) *error = reason;
    return status;
  }
  outcome->reach = (tinytl_reach){.factor = 1, .gain = NAN, .noise = NAN};
  if (is_unfit) return TINYTL_OK;
  outcome->reach.gain = tinytl_comparison_gain(&comparison);
  outcome->reach.noise = tinytl_comparison_noise(&comparison);
  outcome->reach.factor = tinytl_reach_factor(outcome->reach.gain, outcome->reach.noise);
  return TINYTL_OK;
}
