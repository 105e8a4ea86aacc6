/* One method: features once or epochs of pictures, validation, the best parameters, calibration.
 */
#include "train/method.h"

#include <math.h>
#include <string.h>

#include "core/progress.h"
#include "core/saver.h"
#include "data/order.h"
#include "train/calibration.h"
#include "train/mirroring.h"
#include "train/pass.h"
#include "train/prepare.h"

typedef struct session {
  tinytl_trainer *t;
  tinytl_error *error;
  tinytl_train_report report;
  tinytl_progress progress; /* of all */
  tinytl_progress epochs;   /* of them, in epochs: cached features come before */
  uint64_t n_run;           /* training pictures that went through the network; cached ones once */
  tinytl_position at;       /* with the pictures since the last update */
  tinytl_checkpoint checkpoint; /* without them */
  tinytl_saver saver;
  float temperature, reject_below;
  tinytl_outcome *outcome;
} session;

static void report_progress(session *s, int epoch, int image, int n_images, float val_top1,
                            bool finished) {
  const tinytl_train_options *options = &s->t->options;
  if (!options->progress || !tinytl_progress_due(&s->epochs, finished)) return;
  const int n_epochs = s->t->rules.epochs;
  const double done = epoch > 0 ? epoch - 1 + (double)image / n_images : 0;
  const bool is_cached = s->t->head_only && epoch > 0;
  const double n_cached = (done - s->epochs.done_before) * n_images;
  const tinytl_epoch event = {
      .trying = s->t->n_tried > 0,
      .method = s->t->choices.method,
      .epoch = epoch,
      .n_epochs = n_epochs,
      .image = image,
      .n_images = n_images,
      .finished = finished,
      .loss = epoch > 0 && s->at.n_fed > 0 ? (float)(s->at.loss_sum / s->at.n_fed) : NAN,
      .val_top1 = val_top1,
      .images_per_second = is_cached ? tinytl_progress_rate(&s->epochs, n_cached)
                                     : tinytl_progress_rate(&s->progress, (double)s->n_run),
      .seconds_left = tinytl_progress_left(&s->epochs, done, n_epochs)};
  options->progress(options->context, &event);
}

/* ---- Checkpoints -------------------------------------------------------------------------- */

static void save(session *s) {
  const tinytl_train_options *options = &s->t->options;
  if (!options->save || s->saver.is_saved) return;
  tinytl_saver_start(&s->saver);
  options->save(options->context, &s->checkpoint);
  tinytl_saver_end(&s->saver);
}

/* Between two updates: from here the run could go on. Saves it where that is due. */
static void settle(session *s) {
  s->checkpoint.at = s->at;
  if (tinytl_saver_change(&s->saver, s->t->options.save_seconds)) save(s);
}

/* Puts the run to its beginning, or to where a checkpoint has it. */
static tinytl_status begin(session *s, const tinytl_resume *resume) {
  const tinytl_train_options *options = &s->t->options;
  TINYTL_TRY(tinytl_checkpoint_init(&s->checkpoint, s->t, s->error));
  if (resume) {
    TINYTL_TRY(tinytl_resume_restore(resume, &s->checkpoint, s->error));
    const tinytl_resumed resumed = tinytl_resume_describe(resume, &s->checkpoint);
    if (options->resumed) options->resumed(options->context, &resumed);
  }
  s->at = s->checkpoint.at;
  s->epochs = s->progress;
  s->epochs.done_before = s->at.epoch - 1 + (double)s->at.n_fed / s->t->n_epoch;
  tinytl_saver_begin(&s->saver, resume != NULL);
  return TINYTL_OK;
}

/* ---- Pictures ----------------------------------------------------------------------------- */

static void tell_features(void *context, int n_done, int n) {
  report_progress(context, 0, n_done, n, NAN, false);
}

/* Of the pictures of a pass, which a method with more room might be able to read. */
static tinytl_status note_unfit(session *s, tinytl_status status) {
  s->outcome->is_unfit = status == TINYTL_ERROR_DATA;
  return status;
}

/* Fills the feature cache. */
static tinytl_status compute_features(session *s, tinytl_pass p) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  tinytl_order_by_number(p.n, t->order);
  TINYTL_TRY(tinytl_pass_begin(&p, 0, &view, s->error));
  while (p.n_given < p.n) {
    tinytl_pass_group g;
    TINYTL_TRY(note_unfit(s, tinytl_pass_next(&p, &g, s->error)));
    tinytl_trainer_test(t, g.samples, g.n);
    for (int i = 0; i < g.n; i++)
      TINYTL_TRY(tinytl_trainer_store_features(t, p.first_cached + g.samples[i].index,
                                               tinytl_machine_features(&t->test_machines[i]),
                                               s->error));
    tinytl_pass_release(&p, &g);
    if (p.images == t->train) s->n_run += (uint64_t)g.n;
    tell_features(s, p.n_given, p.n);
  }
  return TINYTL_OK;
}

/* ---- Epochs ------------------------------------------------------------------------------- */

/* Told of the logits [n_classes] of one validation picture. */
typedef void (*judge_fn)(void *context, const tinytl_sample *sample, int n_classes,
                         const float *logits);

/* Has every validation picture judged that can be read. */
static tinytl_status judge_val(session *s, judge_fn judge, void *context) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  tinytl_pass p = tinytl_pass_val(t, t->head_only);
  tinytl_order_by_number(p.n, t->order);
  TINYTL_TRY(tinytl_pass_begin(&p, 0, &view, s->error));
  while (p.n_given < p.n) {
    tinytl_pass_group g;
    TINYTL_TRY(tinytl_pass_next(&p, &g, s->error));
    if (!p.cached) tinytl_trainer_test(t, g.samples, g.n);
    for (int i = 0; i < g.n; i++)
      judge(context, &g.samples[i], t->network->n_classes,
            p.cached ? tinytl_trainer_head(t) : tinytl_machine_logits(&t->test_machines[i]));
    tinytl_pass_release(&p, &g);
  }
  return TINYTL_OK;
}

typedef struct tally {
  int n, n_right;
} tally;

static void count_right(void *context, const tinytl_sample *sample, int n_classes,
                        const float *logits) {
  tally *counts = context;
  counts->n_right += tinytl_is_right(n_classes, logits, sample->label);
  counts->n++;
}

static tinytl_status validate(session *s, tinytl_score *result) {
  tally counts = {0};
  TINYTL_TRY(judge_val(s, count_right, &counts));
  if (counts.n == 0)
    return note_unfit(
        s, tinytl_fail(s->error, TINYTL_ERROR_DATA, "no validation picture can be read"));
  const float top1 = (float)counts.n_right / (float)counts.n;
  *result = (tinytl_score){top1, sqrtf(top1 * (1 - top1) / (float)counts.n)};
  return TINYTL_OK;
}

static tinytl_status add_fed(session *s, const tinytl_fed *fed) {
  s->outcome->is_unfit = fed->odd >= 0;
  if (s->outcome->is_unfit)
    return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                       "the loss is not finite in epoch %d at picture %d: expected a number, "
                       "found %g; a lower learning rate may help",
                       s->at.epoch, s->at.n_fed + fed->odd + 1, (double)fed->odd_loss);
  s->at.n_fed += s->t->n_fed;
  s->at.loss_sum += fed->loss_sum;
  if (!s->t->head_only) s->n_run += (uint64_t)s->t->n_fed;
  return TINYTL_OK;
}

/* One pass over the training pictures, or over their cached features, or what is left of it. */
static tinytl_status train_epoch(session *s) {
  tinytl_trainer *t = s->t;
  const int epoch = s->at.epoch;
  const tinytl_view view = tinytl_trainer_view(t, true, epoch);
  tinytl_pass p = tinytl_pass_train(t, t->head_only);
  p.n = t->n_epoch;
  tinytl_order(t->options.seed, (uint64_t)epoch, t->train->n_images, t->order);
  TINYTL_TRY(tinytl_pass_begin(&p, s->at.n_fed, &view, s->error));
  while (p.n_given < p.n) {
    tinytl_fed fed;
    TINYTL_TRY(note_unfit(s, tinytl_pass_feed(&p, (uint64_t)epoch, &fed, s->error)));
    TINYTL_TRY(add_fed(s, &fed));
    if (t->n_fed > 0) {
      tinytl_trainer_update(t);
      settle(s);
    }
    report_progress(s, epoch, p.n_given, p.n, NAN, false);
  }
  s->at.n_train = s->at.n_fed;
  return TINYTL_OK;
}

/* Keeps the parameters of the latest epoch that is not worse than the best by more than the noise
 * of validation: a few dozen pictures cannot tell epochs apart, and later ones have seen more. */
static tinytl_status judge_epoch(session *s) {
  tinytl_trainer *t = s->t;
  tinytl_position *at = &s->at;
  tinytl_score result = {NAN, 0};
  if (t->val) TINYTL_TRY(validate(s, &result));
  at->n_without_gain = !t->val || result.top1 > at->best.top1 ? 0 : at->n_without_gain + 1;
  if (result.top1 > at->best.top1) at->best = result;
  if (!t->val || result.top1 >= at->best.top1 - at->best.noise) {
    at->best_epoch = at->epoch;
    at->val_top1 = result.top1;
    at->loss = (float)(at->loss_sum / at->n_fed);
    TINYTL_TRY(tinytl_trainer_keep(t, s->error));
  }
  report_progress(s, at->epoch, at->n_train, at->n_train, result.top1, true);
  return TINYTL_OK;
}

static tinytl_status train_epochs(session *s) {
  const int patience = s->t->options.patience;
  tinytl_position *at = &s->at;
  while (at->epoch <= s->t->rules.epochs && (patience == 0 || at->n_without_gain < patience)) {
    TINYTL_TRY(train_epoch(s));
    TINYTL_TRY(judge_epoch(s));
    at->epoch++;
    at->n_fed = 0;
    at->loss_sum = 0;
    settle(s);
  }
  return TINYTL_OK;
}

/* ---- Calibration -------------------------------------------------------------------------- */

typedef struct calibration {
  tinytl_temperature_fit temperature;
  tinytl_reject_fit reject;
} calibration;

static void add_to_fits(void *context, const tinytl_sample *sample, int n_classes,
                        const float *logits) {
  calibration *fits = context;
  const int label = sample->label;
  tinytl_temperature_add(&fits->temperature, n_classes, logits, label);
  if (tinytl_is_right(n_classes, logits, label)) tinytl_reject_add(&fits->reject, logits[label]);
}

typedef struct marks {
  float temperature;
  const float *before; /* [validation images], probabilities of the right class, to compare with */
  float *right;        /* [validation images], the same now; may be `before` */
  tinytl_comparison *comparison;
} marks;

static void mark(void *context, const tinytl_sample *sample, int n_classes, const float *logits) {
  const marks *m = context;
  const float max = tinytl_largest(n_classes, logits);
  double sum = 0;
  for (int k = 0; k < n_classes; k++)
    sum += exp((double)(logits[k] - max) / (double)m->temperature);
  const double share = exp((double)(logits[sample->label] - max) / (double)m->temperature) / sum;
  const float right = isfinite(share) ? (float)share : 0; /* NAN is of those not read */
  tinytl_comparison_add(m->comparison, m->before[sample->index], right);
  m->right[sample->index] = right;
}

/* One more pass, at the temperature that was found. */
static tinytl_status compare(session *s) {
  tinytl_outcome *outcome = s->outcome;
  marks m = {.temperature = s->temperature,
             .before = s->t->carry->right,
             .right = outcome->right,
             .comparison = &outcome->comparison};
  return judge_val(s, mark, &m);
}

/* Fits temperature and threshold to the kept values: one more pass over the validation pictures at
 * the end, so that nothing of them has to be kept beside the best values. */
static tinytl_status calibrate(session *s) {
  calibration fits = {0};
  TINYTL_TRY(tinytl_trainer_restore(s->t, s->error));
  TINYTL_TRY(judge_val(s, add_to_fits, &fits));
  s->temperature = tinytl_temperature_find(&fits.temperature);
  s->reject_below = tinytl_reject_find(&fits.reject);
  return s->t->carry ? compare(s) : TINYTL_OK;
}

/* ---- The run ------------------------------------------------------------------------------ */

/* Those known before are not tried again. */
static void take_unreadable(session *s) {
  const tinytl_trainer *t = s->t;
  const bool *known = s->outcome->unreadable;
  if (!known) return;
  memcpy(t->train_unreadable, known, (size_t)t->train->n_images * sizeof *known);
  if (t->val)
    memcpy(t->val_unreadable, known + t->train->n_images, (size_t)t->val->n_images * sizeof *known);
}

static void leave_unreadable(const session *s) {
  const tinytl_trainer *t = s->t;
  bool *known = s->outcome->unreadable;
  if (!known) return;
  memcpy(known, t->train_unreadable, (size_t)t->train->n_images * sizeof *known);
  if (t->val)
    memcpy(known + t->train->n_images, t->val_unreadable, (size_t)t->val->n_images * sizeof *known);
}

static tinytl_status make_adapter(session *s) {
  tinytl_trainer *t = s->t;
  const float *values = t->values;
  tinytl_trainer_finish(t);
  const tinytl_status finite = tinytl_check_trained(values, t->params->n, s->error);
  s->outcome->is_unfit = finite != TINYTL_OK;
  TINYTL_TRY(finite);
  TINYTL_TRY(tinytl_params_to_adapter(t->params, t->network, values, t->train->class_names,
                                      s->at.val_top1, &s->outcome->adapter, s->error));
  s->outcome->adapter->temperature = s->temperature;
  s->outcome->adapter->reject_below = s->reject_below;
  return TINYTL_OK;
}

static tinytl_status run_pictures(session *s) {
  tinytl_trainer *t = s->t;
  if (t->head_only) TINYTL_TRY(compute_features(s, tinytl_pass_train(t, false)));
  if (t->head_only && t->val) TINYTL_TRY(compute_features(s, tinytl_pass_val(t, false)));
  if (t->head_only) s->epochs.start = tinytl_progress_begin().start;
  TINYTL_TRY(train_epochs(s));
  save(s); /* while the values are those of training, and though the adapter may fail */
  if (t->val) TINYTL_TRY(calibrate(s));
  if (!t->carry || !t->carry->asks_mirror) return TINYTL_OK;
  return tinytl_mirroring_test(t, tell_features, s, &s->outcome->mirror, s->error);
}

/* The profile begins where the pictures do, and ends with the last of them. */
static tinytl_status run_measured(session *s) {
  tinytl_trainer *t = s->t;
  tinytl_stopwatch watch;
  tinytl_pool_cost cost = {0};
  if (!t->options.profile) return run_pictures(s);
  tinytl_stopwatch_start(&watch, &s->report.profile);
  tinytl_trainer_watch(t, &watch);
  tinytl_pool_measure(t->threads.pool, &cost);
  const tinytl_status status = run_pictures(s);
  tinytl_lap(&watch, TINYTL_WORK_OTHER, TINYTL_FORWARD);
  tinytl_pool_measure(t->threads.pool, NULL);
  tinytl_trainer_watch(t, NULL);
  s->report.profile.n_forks = cost.n_forks;
  s->report.profile.join_seconds = cost.join_seconds;
  return status;
}

static tinytl_status run(session *s) {
  tinytl_trainer *t = s->t;
  s->report.setup_seconds = tinytl_progress_seconds(&s->progress);
  TINYTL_TRY(run_measured(s));
  if (t->val) s->report.val_images = tinytl_count_readable(t->val_unreadable, t->val->n_images);
  leave_unreadable(s);
  return make_adapter(s);
}

static void complete_report(session *s) {
  tinytl_train_report *report = &s->report;
  const tinytl_trainer *t = s->t;
  report->epochs = s->at.epoch - 1;
  report->best_epoch = s->at.best_epoch;
  report->val_top1 = s->at.val_top1;
  report->loss = s->at.loss;
  report->train_images = s->at.n_train;
  report->skipped_images =
      t->train->n_images - s->at.n_train + (t->val ? t->val->n_images - report->val_images : 0);
  report->method = t->choices.method;
  const tinytl_view view = tinytl_trainer_view(t, true, 0);
  report->mirrors = view.augment && view.mirror;
  report->plan = t->plan;
  report->seconds = tinytl_progress_seconds(&s->progress);
  report->images_per_second = tinytl_progress_rate(&s->progress, (double)s->n_run);
  s->outcome->n_run = s->n_run;
}

tinytl_status tinytl_method_train(const tinytl_task *task, const tinytl_train_options *options,
                                  const tinytl_resume *resume, tinytl_outcome *outcome,
                                  tinytl_error *error) {
  session s = {
      .error = error, .progress = tinytl_progress_begin(), .temperature = 1, .reject_below = NAN};
  s.outcome = outcome;
  tinytl_status status = tinytl_trainer_create(task, options, &s.t, error);
  if (status == TINYTL_OK) {
    take_unreadable(&s);
    status = begin(&s, resume);
  }
  if (status == TINYTL_OK) status = run(&s);
  if (status == TINYTL_INTERRUPTED && s.t) save(&s);
  if (s.t) {
    complete_report(&s);
    outcome->report = s.report;
  }
  tinytl_checkpoint_clear(&s.checkpoint);
  tinytl_trainer_free(s.t);
  return status;
}
