/* tinytl_train: one method, or those of auto, each from what the one before it left. */
#include "train/method.h"

#include <math.h>
#include <stdlib.h>

#include "core/limit.h"
#include "core/pages.h"
#include "core/progress.h"
#include "data/images.h"
#include "data/joined.h"
#include "train/plan.h"
#include "train/reach.h"

typedef struct session {
  tinytl_task task;
  tinytl_train_options options; /* of the method that is trained */
  tinytl_auto_plan plan;
  tinytl_carry carry;
  float *right;         /* [validation images], of the method that is trained */
  bool *unreadable;     /* [training, then validation images], of all methods */
  tinytl_joined joined; /* with refit */
  tinytl_plan largest;
  tinytl_progress progress;
  double setup_seconds;
  uint64_t n_run;
  tinytl_error *error;
} session;

static void tell(const session *s, tinytl_auto_step step) {
  if (s->options.stepped) s->options.stepped(s->options.context, &step);
}

/* Of a method that nothing was measured of; NULL: nor was it tried. */
static void tell_reason(const session *s, tinytl_method method, const tinytl_outcome *tried,
                        const char *reason) {
  tell(s, (tinytl_auto_step){.method = method,
                             .tried = tried != NULL,
                             .val_top1 = NAN,
                             .gain = NAN,
                             .noise = NAN,
                             .expected = NAN,
                             .epochs = tried ? tried->report.epochs : 0,
                             .reason = reason});
}

/* NAN: of no picture yet, as of those that cannot be read. */
static tinytl_status take_right(const session *s, float **right) {
  const size_t nbytes = (size_t)s->task.val->n_images * sizeof **right;
  *right = malloc(nbytes);
  if (!*right) return tinytl_fail_memory(s->error, nbytes);
  for (int i = 0; i < s->task.val->n_images; i++) (*right)[i] = NAN;
  return TINYTL_OK;
}

static void drop_right(session *s) {
  free(s->carry.right);
  free(s->right);
  s->carry.right = s->right = NULL;
}

/* What a training took. */
static void add_cost(session *s, const tinytl_outcome *outcome) {
  s->n_run += outcome->n_run;
  s->setup_seconds += outcome->report.setup_seconds;
  if (outcome->report.plan.total_bytes > s->largest.total_bytes) s->largest = outcome->report.plan;
}

/* ---- How far ------------------------------------------------------------------------------- */

/* For options->method, which is to be trained next: it is planned, and told of, before. */
static tinytl_status find_reach(session *s, tinytl_train_options *options) {
  const tinytl_trial trial = tinytl_reach_trial(&s->task, options);
  tinytl_reach_outcome outcome = {0};
  tinytl_plan plan;
  if (s->task.reach > 0 || trial.n_epochs == 0) return TINYTL_OK;
  TINYTL_TRY(tinytl_method_plan(&s->task, options, &plan, s->error));
  if (options->planned) options->planned(options->context, &plan);
  options->planned = NULL;
  if (!s->right) TINYTL_TRY(take_right(s, &s->right));
  outcome.right = s->right;
  TINYTL_TRY(tinytl_reach_find(&s->task, options, &plan, &trial, &outcome, s->error));
  s->n_run += outcome.n_run;
  s->setup_seconds += outcome.setup_seconds;
  s->task.reach = outcome.reach.factor;
  if (options->reached) options->reached(options->context, &outcome.reach);
  return TINYTL_OK;
}

/* ---- One after the other ------------------------------------------------------------------ */

static void keep(session *s, tinytl_outcome *outcome) {
  tinytl_adapter_free(s->carry.adapter);
  s->carry.adapter = outcome->adapter;
  s->carry.report = outcome->report;
  float *right = s->carry.right;
  s->carry.right = s->right;
  s->right = right;
}

static const char *reason_of(bool is_first, bool kept) {
  if (is_first) return "the first method";
  return kept ? "it is expected to gain" : "it is not expected to gain";
}

/* The first method is kept whatever it is worth. */
static bool judge(session *s, tinytl_outcome *outcome) {
  const bool is_first = s->carry.adapter == NULL;
  const tinytl_comparison *comparison = &outcome->comparison;
  const float expected = tinytl_auto_expected_gain(comparison, s->options.method);
  const bool kept = is_first || expected > TINYTL_AUTO_LEAST_GAIN;
  tell(s, (tinytl_auto_step){.method = s->options.method,
                             .tried = true,
                             .kept = kept,
                             .val_top1 = outcome->report.val_top1,
                             .gain = is_first ? NAN : tinytl_comparison_gain(comparison),
                             .noise = is_first ? NAN : tinytl_comparison_noise(comparison),
                             .expected = is_first ? NAN : expected,
                             .epochs = outcome->report.epochs,
                             .reason = reason_of(is_first, kept)});
  if (kept)
    keep(s, outcome);
  else
    tinytl_adapter_free(outcome->adapter);
  return kept;
}

static void choose_mirroring(session *s, tinytl_mirror_answer answer) {
  const tinytl_mirroring found = {
      .mirrors = !tinytl_mirror_hurts(answer), .share = answer.share, .noise = answer.noise};
  s->carry.mirror = found.mirrors ? TINYTL_SWITCH_ON : TINYTL_SWITCH_OFF;
  if (s->options.mirrored) s->options.mirrored(s->options.context, &found);
}

static tinytl_status train_one(session *s, const tinytl_resume *resume, bool *goes_on) {
  const int i = s->carry.method_at;
  tinytl_outcome outcome = {.right = s->right, .unreadable = s->unreadable};
  s->options.method = tinytl_auto_methods[i];
  s->options.optimizer = s->carry.optimizers[i];
  s->carry.asks_mirror = s->carry.mirror == TINYTL_SWITCH_AUTO && s->carry.n_methods > 1 &&
                         s->options.augment != TINYTL_SWITCH_OFF;
  s->options.mirror = s->carry.mirror;
  s->carry.nbytes = s->plan.carried[i];
  tinytl_train_options options = s->options;
  if (!resume) TINYTL_TRY(find_reach(s, &options));
  tinytl_error reason;
  const tinytl_status status = tinytl_method_train(&s->task, &options, resume, &outcome, &reason);
  add_cost(s, &outcome);
  if (outcome.is_unfit && s->carry.adapter) {
    tell_reason(s, s->options.method, &outcome, reason.message);
    *goes_on = false;
    return TINYTL_OK;
  }
  if (status != TINYTL_OK) {
    if (s->error) *s->error = reason;
    return status;
  }
  if (s->carry.asks_mirror) choose_mirroring(s, outcome.mirror);
  *goes_on = judge(s, &outcome);
  return TINYTL_OK;
}

static void tell_untried(const session *s) {
  const tinytl_status why = s->plan.why_not;
  if (s->carry.method_at < s->plan.n_methods || why == TINYTL_OK) return;
  tell_reason(s, tinytl_auto_methods[s->plan.n_methods], NULL,
              why == TINYTL_ERROR_MEMORY_LIMIT ? "it does not fit in the memory limit"
                                               : "the backbone has no place for lite modules");
}

static tinytl_status train_all(session *s, const tinytl_resume *resume) {
  bool goes_on = true;
  if (resume) TINYTL_TRY(tinytl_resume_carry(resume, &s->task, &s->carry, s->error));
  for (; goes_on && s->carry.method_at < s->carry.n_methods; s->carry.method_at++) {
    TINYTL_TRY(train_one(s, resume, &goes_on));
    resume = NULL;
  }
  if (goes_on) tell_untried(s);
  return TINYTL_OK;
}

/* ---- Auto --------------------------------------------------------------------------------- */

static tinytl_status plan_auto(session *s) {
  const bool goes_on = s->carry.n_methods > 0;
  TINYTL_TRY(
      tinytl_auto_plan_make(&s->task, &s->options, goes_on ? &s->carry : NULL, &s->plan, s->error));
  if (!goes_on) {
    s->carry.n_methods = s->plan.n_methods;
    for (int i = 0; i < s->plan.n_methods; i++) s->carry.optimizers[i] = s->plan.plans[i].optimizer;
  } else if (s->options.optimizer != TINYTL_OPTIMIZER_AUTO) {
    /* That of another name is refused where the checkpoint is compared. */
    for (int i = 0; i < s->carry.n_methods; i++) s->carry.optimizers[i] = s->options.optimizer;
  }
  s->task.carry = &s->carry;
  return TINYTL_OK;
}

static tinytl_status run_auto(session *s, const tinytl_resume *resume) {
  TINYTL_TRY(plan_auto(s));
  TINYTL_TRY(take_right(s, &s->carry.right));
  TINYTL_TRY(take_right(s, &s->right));
  return train_all(s, resume);
}

/* With nothing to choose by: the largest that fits. */
static tinytl_status choose_unseen(session *s) {
  tinytl_plan plan;
  TINYTL_TRY(tinytl_largest_plan_make(&s->task, &s->options, &plan, s->error));
  s->options.method = plan.method;
  return TINYTL_OK;
}

static tinytl_status run_method(session *s, const tinytl_resume *resume) {
  tinytl_outcome outcome = {.unreadable = s->unreadable};
  tinytl_train_options options = s->options;
  if (!resume) TINYTL_TRY(find_reach(s, &options));
  drop_right(s);
  TINYTL_TRY(tinytl_method_train(&s->task, &options, resume, &outcome, s->error));
  s->carry.adapter = outcome.adapter;
  s->carry.report = outcome.report;
  add_cost(s, &outcome);
  return TINYTL_OK;
}

/* ---- Once more on all pictures ------------------------------------------------------------ */

static bool is_refit(const session *s) {
  return s->joined.labels != NULL;
}

static tinytl_status make_joined(session *s) {
  const tinytl_images *train = s->task.train, *val = s->task.val;
  if (!s->options.refit || !val) return TINYTL_OK;
  const int64_t n = (int64_t)train->n_images + val->n_images;
  if (n >= (int64_t)TINYTL_REFIT_BELOW * train->n_classes) return TINYTL_OK;
  return tinytl_joined_make(&s->joined, train, val, s->error);
}

/* Of a method among those of auto; 0 where it was asked for by name. */
static int place_of(const session *s, tinytl_method method) {
  int i = 0;
  while (s->carry.n_methods > 0 && tinytl_auto_methods[i] != method) i++;
  return i;
}

/* The first of those that lead to the method that was kept: lite+bias begins with what bias
 * left. */
static int first_refit(const session *s, tinytl_method kept) {
  return tinytl_min(place_of(s, kept), 1);
}

/* Of method i. */
static void set_refit(const session *s, const tinytl_found *found, int i,
                      tinytl_train_options *options, tinytl_carry *carry) {
  options->optimizer = found->report.plan.optimizer;
  if (!s->task.carry) return;
  options->method = tinytl_auto_methods[i];
  options->optimizer = s->carry.optimizers[i];
  options->mirror = found->mirror;
  carry->nbytes =
      i > 1 ? tinytl_carried_nbytes(&s->task, options, s->plan.plans[i - 1].trained_bytes) : 0;
}

static tinytl_task refit_task(const session *s, const tinytl_found *found,
                              const tinytl_carry *carry) {
  return (tinytl_task){.backbone = s->task.backbone,
                       .train = &s->joined.images,
                       .base_nbytes = s->task.base_nbytes,
                       .carry = s->task.carry ? carry : NULL,
                       .found = found,
                       .reach = s->task.reach};
}

/* Refuses where half of what the first training learned is gone, of the loss of knowing nothing,
 * which is ln(classes); and a tenth of that, which luck may take where next to nothing was learned.
 */
static tinytl_status check_loss(const tinytl_found *found, float loss, int n_classes,
                                tinytl_error *error) {
  const float nothing = logf((float)n_classes), first = fminf(found->report.loss, nothing);
  if (!(loss - first > fmaxf((nothing - first) / 2, nothing / 10))) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_DATA,
                     "the loss of its last epoch is %.3f, of the first training's %.3f; a lower "
                     "learning rate may help",
                     (double)loss, (double)found->report.loss);
}

/* found->method_at, from s->carry.adapter, whose place its own adapter takes. */
static tinytl_status refit_one(session *s, const tinytl_found *found, const tinytl_resume *resume,
                               bool *came_to_nothing, tinytl_error *reason) {
  tinytl_carry carry = s->carry;
  const tinytl_task task = refit_task(s, found, &carry);
  tinytl_train_options options = s->options;
  tinytl_train_report *report = &s->carry.report;
  tinytl_outcome outcome = {.unreadable = s->unreadable};
  carry.right = NULL;
  carry.asks_mirror = false;
  set_refit(s, found, found->method_at, &options, &carry);
  const tinytl_status status = tinytl_method_train(&task, &options, resume, &outcome, reason);
  add_cost(s, &outcome);
  *came_to_nothing = outcome.is_unfit;
  TINYTL_TRY(status);
  tinytl_adapter_free(s->carry.adapter);
  s->carry.adapter = outcome.adapter;
  report->train_images = outcome.report.train_images;
  report->skipped_images = outcome.report.skipped_images;
  report->mirrors = outcome.report.mirrors;
  report->profile = outcome.report.profile;
  if (options.method != found->report.method) return TINYTL_OK;
  const tinytl_status learned =
      check_loss(found, outcome.report.loss, task.train->n_classes, reason);
  *came_to_nothing = learned != TINYTL_OK;
  return learned;
}

static void keep_first(session *s, tinytl_found *found, const char *reason) {
  tinytl_adapter_free(s->carry.adapter);
  s->carry.adapter = found->adapter;
  s->carry.report = found->report;
  found->adapter = NULL;
  if (s->options.refit_failed) s->options.refit_failed(s->options.context, reason);
}

/* From found->method_at on. Of s->carry, the adapter is what that step begins with. */
static tinytl_status refit_from(session *s, tinytl_found *found, const tinytl_resume *resume) {
  const int last = place_of(s, found->report.method);
  if (s->options.refitting)
    s->options.refitting(s->options.context, found->report.method,
                         s->joined.images.n_images - found->report.skipped_images);
  s->carry.report = found->report;
  do {
    bool came_to_nothing;
    tinytl_error reason;
    const tinytl_status status = refit_one(s, found, resume, &came_to_nothing, &reason);
    if (status != TINYTL_OK && came_to_nothing && found->adapter) {
      keep_first(s, found, reason.message);
      return TINYTL_OK;
    }
    if (came_to_nothing)
      return tinytl_fail(s->error, status,
                         "the second training, on all pictures, came to nothing, and the memory "
                         "limit had no room to keep the first one's adapter: %s",
                         reason.message);
    if (status != TINYTL_OK && s->error) *s->error = reason;
    TINYTL_TRY(status);
    resume = NULL;
  } while (found->method_at++ < last);
  s->carry.adapter->val_top1 = found->report.val_top1;
  s->carry.adapter->temperature = found->temperature;
  s->carry.adapter->reject_below = found->reject_below;
  s->carry.report.refit = true;
  return TINYTL_OK;
}

/* Plans the methods from found->method_at to the one that was kept. */
static tinytl_status plan_second(const session *s, const tinytl_found *found, tinytl_error *error) {
  const int last = place_of(s, found->report.method);
  for (int i = found->method_at; i <= last; i++) {
    tinytl_carry carry = {0};
    tinytl_train_options options = s->options;
    tinytl_plan plan;
    const tinytl_task task = refit_task(s, found, &carry);
    set_refit(s, found, i, &options, &carry);
    TINYTL_TRY(tinytl_method_plan(&task, &options, &plan, error));
  }
  return TINYTL_OK;
}

/* Plans them beside found->adapter, or without that, which then goes. */
static tinytl_status make_room(const session *s, tinytl_found *found, tinytl_error *error) {
  if (found->adapter)
    found->nbytes = tinytl_carried_nbytes(
        &s->task, &s->options, found->adapter->n_values * sizeof *found->adapter->values);
  const tinytl_status status = plan_second(s, found, error);
  if (status != TINYTL_ERROR_MEMORY_LIMIT || !found->adapter) return status;
  found->nbytes = 0;
  TINYTL_TRY(plan_second(s, found, error));
  tinytl_adapter_free(found->adapter);
  found->adapter = NULL;
  return TINYTL_OK;
}

/* Where a limit has room for the training pictures alone, nothing is done. */
static tinytl_status refit(session *s) {
  tinytl_found found = {.report = s->carry.report,
                        .adapter = s->carry.adapter,
                        .temperature = s->carry.adapter->temperature,
                        .reject_below = s->carry.adapter->reject_below,
                        .mirror = s->carry.mirror,
                        .method_at = first_refit(s, s->carry.report.method)};
  tinytl_error reason;
  tinytl_status status = make_room(s, &found, &reason);
  if (status == TINYTL_ERROR_MEMORY_LIMIT) return TINYTL_OK;
  s->carry.adapter = NULL;
  drop_right(s);
  if (status == TINYTL_OK)
    status = refit_from(s, &found, NULL);
  else if (s->error)
    *s->error = reason;
  tinytl_adapter_free(found.adapter);
  return status;
}

/* Of the methods of auto, those up to the one that was kept must fit. */
static tinytl_status plan_refit(session *s, tinytl_method kept) {
  const int n_methods = s->carry.n_methods;
  s->carry.n_methods = place_of(s, kept) + 1;
  const tinytl_status status = plan_auto(s);
  s->carry.n_methods = n_methods;
  return status;
}

static tinytl_status resume_second(session *s, const tinytl_resume *resume, tinytl_found *found) {
  TINYTL_TRY(tinytl_resume_found(resume, &s->task, &s->carry, found, s->error));
  if (s->carry.n_methods > 0) {
    TINYTL_TRY(plan_refit(s, found->report.method));
  } else {
    found->report.method = s->options.method;
    found->report.plan.optimizer = s->options.optimizer;
  }
  TINYTL_TRY(make_room(s, found, s->error));
  return refit_from(s, found, resume);
}

/* Goes on with the second training. */
static tinytl_status resume_refit(session *s, const tinytl_resume *resume) {
  tinytl_found found = {0};
  if (!is_refit(s))
    return tinytl_fail(
        s->error, TINYTL_ERROR_USAGE,
        "%s is of a run that trained once more on all pictures, which this run would "
        "not: its pictures, or what is held back of them, are others",
        s->options.resume->name);
  const tinytl_status status = resume_second(s, resume, &found);
  tinytl_adapter_free(found.adapter);
  return status;
}

/* ---- The run ------------------------------------------------------------------------------ */

static tinytl_status run_first(session *s, const tinytl_resume *resume) {
  const bool is_auto = s->options.method == TINYTL_METHOD_AUTO;
  if (is_auto && !s->task.val) TINYTL_TRY(choose_unseen(s));
  TINYTL_TRY(is_auto && s->task.val ? run_auto(s, resume) : run_method(s, resume));
  return is_refit(s) ? refit(s) : TINYTL_OK;
}

static tinytl_status go_on(session *s, const tinytl_resume *resume) {
  TINYTL_TRY(tinytl_resume_choose(resume, &s->options, &s->carry, &s->task.reach, s->error));
  return tinytl_resume_is_refit(resume) ? resume_refit(s, resume) : run_first(s, resume);
}

static tinytl_status run(session *s) {
  tinytl_resume *resume = NULL;
  TINYTL_TRY(tinytl_limit_check_base(s->options.memory_limit, s->task.base_nbytes, s->error));
  if (!s->options.resume) return run_first(s, NULL);
  TINYTL_TRY(tinytl_resume_open(s->options.resume, &resume, s->error));
  const tinytl_status status = go_on(s, resume);
  tinytl_resume_free(resume);
  return status;
}

static void complete_report(const session *s, tinytl_train_report *report) {
  *report = s->carry.report;
  report->plan = s->largest;
  report->setup_seconds = s->setup_seconds;
  report->seconds = tinytl_progress_seconds(&s->progress);
  report->images_per_second = tinytl_progress_rate(&s->progress, (double)s->n_run);
}

tinytl_status tinytl_train(const tinytl_backbone *backbone, const tinytl_images *train,
                           const tinytl_images *val, const tinytl_train_options *options,
                           tinytl_adapter **adapter, tinytl_train_report *report,
                           tinytl_error *error) {
  session s = {
      .task = {.backbone = backbone, .train = train, .val = val && val->n_images > 0 ? val : NULL},
      .options = *options,
      .carry = {.asked_mirror = options->mirror, .mirror = options->mirror},
      .progress = tinytl_progress_begin(),
      .error = error};
  TINYTL_TRY(tinytl_trainer_check_options(options, error));
  TINYTL_TRY(tinytl_images_check(train, s.task.val, error));
  TINYTL_TRY(make_joined(&s));
  s.task.base_nbytes = tinytl_resident_nbytes();
  const size_t n_images = (size_t)train->n_images + (s.task.val ? (size_t)val->n_images : 0);
  s.unreadable = calloc(n_images, sizeof *s.unreadable);
  const tinytl_status status = s.unreadable ? run(&s) : tinytl_fail_memory(error, n_images);
  if (status == TINYTL_OK) {
    *adapter = s.carry.adapter;
    if (report) complete_report(&s, report);
  } else {
    tinytl_adapter_free(s.carry.adapter);
  }
  drop_right(&s);
  free(s.unreadable);
  tinytl_joined_clear(&s.joined);
  return status;
}
