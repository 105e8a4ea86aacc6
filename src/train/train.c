/* tinytl_train: features once or epochs of pictures, validation, the best parameters, calibration.
 */
#include "train/calibration.h"
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "core/clock.h"

#define PROGRESS_INTERVAL 0.1 /* seconds */

typedef struct session {
  tinytl_trainer *t;
  tinytl_error *error;
  tinytl_train_report report;
  double start, last_progress;
  uint64_t n_run;  /* training pictures that went through the network; cached ones once */
  double loss_sum; /* of the epoch */
  int n_losses;
  int n_train; /* training images that can be read, once known */
  float temperature, reject_below;
} session;

/* What validation says. */
typedef struct score {
  float top1;
  float noise; /* standard error of top1 */
} score;

static tinytl_status check_stop(const session *s) {
  const volatile int *stop = s->t->options.stop;
  if (stop && *stop) return tinytl_fail(s->error, TINYTL_INTERRUPTED, "stopped on request");
  return TINYTL_OK;
}

static void report_progress(session *s, int epoch, int image, int n_images, float val_top1,
                            bool finished) {
  const tinytl_train_options *options = &s->t->options;
  const double time = tinytl_now(), elapsed = time - s->start;
  if (!options->progress || (!finished && time - s->last_progress < PROGRESS_INTERVAL)) return;
  s->last_progress = time;
  const int n_epochs = s->t->rules.epochs;
  const double done = epoch > 0 ? epoch - 1 + (double)image / n_images : 0;
  const tinytl_epoch event = {.epoch = epoch,
                              .n_epochs = n_epochs,
                              .image = image,
                              .n_images = n_images,
                              .finished = finished,
                              .loss = s->n_losses > 0 ? (float)(s->loss_sum / s->n_losses) : NAN,
                              .val_top1 = val_top1,
                              .images_per_second = (double)s->n_run / (elapsed > 0 ? elapsed : 1),
                              .seconds_left = done > 0 ? elapsed * (n_epochs - done) / done : NAN};
  options->progress(options->context, &event);
}

/* ---- Pictures ----------------------------------------------------------------------------- */

/* The pictures of one pass, in the trainer's order. */
typedef struct pass {
  const tinytl_images *images;
  bool *unreadable; /* [n_images] */
  bool cached;      /* their features are read, not the pictures */
  int first_cached; /* features of image 0 */
  int n, n_given;   /* pictures of order */
} pass;

static pass train_pass(const tinytl_trainer *t, bool cached) {
  return (pass){.images = t->train, .unreadable = t->train_unreadable, .cached = cached};
}

static pass val_pass(const tinytl_trainer *t, bool cached) {
  return (pass){.images = t->val,
                .unreadable = t->val_unreadable,
                .cached = cached,
                .first_cached = t->train->n_images};
}

/* Takes out of the order what could not be read before, and begins. */
static tinytl_status begin_pass(session *s, pass *p, const tinytl_view *view) {
  int *order = s->t->order;
  p->n = p->n_given = 0;
  for (int i = 0; i < p->images->n_images; i++)
    if (!p->unreadable[order[i]]) order[p->n++] = order[i];
  if (p->cached) return TINYTL_OK;
  return tinytl_loader_start(s->t->loader, p->images, order, p->n, view, s->error);
}

/* A class of which no training picture can be read would never be learned. */
static tinytl_status check_class(const session *s, const pass *p, int label) {
  if (p->images != s->t->train) return TINYTL_OK;
  for (int i = 0; i < p->images->n_images; i++)
    if (p->images->labels[i] == label && !p->unreadable[i]) return TINYTL_OK;
  return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                     "class '%s': none of its training pictures can be read",
                     p->images->class_names[label]);
}

static tinytl_status next_sample(session *s, pass *p, tinytl_sample *sample) {
  TINYTL_TRY(check_stop(s));
  const int index = s->t->order[p->n_given++];
  *sample = (tinytl_sample){.index = index, .label = p->images->labels[index]};
  if (p->cached) return tinytl_trainer_fetch_features(s->t, p->first_cached + index, s->error);
  tinytl_lap(s->t->watch, TINYTL_WORK_OTHER, TINYTL_FORWARD);
  TINYTL_TRY(tinytl_loader_next(s->t->loader, sample, s->error));
  tinytl_lap(s->t->watch, TINYTL_WORK_WAIT, TINYTL_FORWARD);
  p->unreadable[index] = sample->skipped;
  return sample->skipped ? check_class(s, p, sample->label) : TINYTL_OK;
}

static void release_sample(const session *s, const pass *p, const tinytl_sample *sample) {
  if (!p->cached) tinytl_loader_release(s->t->loader, sample);
}

static int count_readable(const tinytl_images *images, const bool *unreadable) {
  int n = 0;
  for (int i = 0; i < images->n_images; i++) n += !unreadable[i];
  return n;
}

static void order_by_number(tinytl_trainer *t, const tinytl_images *images) {
  for (int i = 0; i < images->n_images; i++) t->order[i] = i;
}

/* Fills the feature cache. */
static tinytl_status compute_features(session *s, pass p) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  order_by_number(t, p.images);
  TINYTL_TRY(begin_pass(s, &p, &view));
  while (p.n_given < p.n) {
    tinytl_sample sample;
    TINYTL_TRY(next_sample(s, &p, &sample));
    if (sample.skipped) continue;
    tinytl_machine_run(&t->test_machine, sample.rgb, NULL);
    TINYTL_TRY(tinytl_trainer_store_features(t, p.first_cached + sample.index,
                                             tinytl_machine_features(&t->test_machine), s->error));
    release_sample(s, &p, &sample);
    s->n_run += p.images == t->train;
    report_progress(s, 0, p.n_given, p.n, NAN, false);
  }
  return TINYTL_OK;
}

/* ---- Epochs ------------------------------------------------------------------------------- */

/* Told of the logits [n_classes] of one validation picture. */
typedef void (*judge_fn)(void *context, int n_classes, const float *logits, int label);

/* Has every validation picture judged that can be read. */
static tinytl_status judge_val(session *s, judge_fn judge, void *context) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  pass p = val_pass(t, t->head_only);
  order_by_number(t, t->val);
  TINYTL_TRY(begin_pass(s, &p, &view));
  while (p.n_given < p.n) {
    tinytl_sample sample;
    TINYTL_TRY(next_sample(s, &p, &sample));
    if (sample.skipped) continue;
    judge(context, t->network->n_classes, tinytl_trainer_logits(t, sample.rgb), sample.label);
    release_sample(s, &p, &sample);
  }
  return TINYTL_OK;
}

typedef struct tally {
  int n, n_right;
} tally;

static void count_right(void *context, int n_classes, const float *logits, int label) {
  tally *counts = context;
  counts->n_right += logits[label] >= tinytl_largest(n_classes, logits);
  counts->n++;
}

static tinytl_status validate(session *s, score *result) {
  tally counts = {0};
  TINYTL_TRY(judge_val(s, count_right, &counts));
  if (counts.n == 0)
    return tinytl_fail(s->error, TINYTL_ERROR_DATA, "no validation picture can be read");
  const float top1 = (float)counts.n_right / (float)counts.n;
  *result = (score){top1, sqrtf(top1 * (1 - top1) / (float)counts.n)};
  return TINYTL_OK;
}

/* One pass over the training pictures, or over their cached features. */
static tinytl_status train_epoch(session *s, int epoch) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, true, epoch);
  pass p = train_pass(t, t->head_only);
  s->loss_sum = 0;
  s->n_losses = 0;
  tinytl_order(t->options.seed, (uint64_t)epoch, t->train->n_images, t->order);
  TINYTL_TRY(begin_pass(s, &p, &view));
  while (p.n_given < p.n) {
    tinytl_sample sample;
    TINYTL_TRY(next_sample(s, &p, &sample));
    if (!sample.skipped) {
      const float loss = tinytl_trainer_feed(t, sample.rgb, sample.index, (uint64_t)epoch);
      if (!isfinite(loss))
        return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                           "the loss is not finite in epoch %d at picture %d: expected a number, "
                           "found %g; a lower learning rate may help",
                           epoch, p.n_given, (double)loss);
      release_sample(s, &p, &sample);
      s->loss_sum += (double)loss;
      s->n_losses++;
      s->n_run += !t->head_only;
    }
    if (t->n_fed == t->options.batch || (p.n_given == p.n && t->n_fed > 0))
      tinytl_trainer_update(t);
    report_progress(s, epoch, p.n_given, p.n, NAN, false);
  }
  s->n_train = s->n_losses;
  return TINYTL_OK;
}

/* Keeps the parameters of the latest epoch that is not worse than the best by more than the noise
 * of validation: a few dozen pictures cannot tell epochs apart, and later ones have seen more. */
static tinytl_status train_epochs(session *s) {
  tinytl_trainer *t = s->t;
  score best = {-1, 0};
  int n_without_gain = 0;
  s->report.val_top1 = NAN;
  for (int epoch = 1; epoch <= t->rules.epochs; epoch++) {
    TINYTL_TRY(train_epoch(s, epoch));
    s->report.epochs = epoch;
    score result = {NAN, 0};
    if (t->val) TINYTL_TRY(validate(s, &result));
    n_without_gain = result.top1 > best.top1 ? 0 : n_without_gain + 1;
    if (result.top1 > best.top1) best = result;
    if (!t->val || result.top1 >= best.top1 - best.noise) {
      s->report.best_epoch = epoch;
      s->report.val_top1 = result.top1;
      TINYTL_TRY(tinytl_trainer_keep(t, s->error));
    }
    report_progress(s, epoch, s->n_train, s->n_train, result.top1, true);
    if (t->options.patience > 0 && n_without_gain >= t->options.patience) break;
  }
  return TINYTL_OK;
}

/* ---- Calibration -------------------------------------------------------------------------- */

typedef struct calibration {
  tinytl_temperature_fit temperature;
  tinytl_reject_fit reject;
} calibration;

static void add_to_fits(void *context, int n_classes, const float *logits, int label) {
  calibration *fits = context;
  tinytl_temperature_add(&fits->temperature, n_classes, logits, label);
  if (logits[label] >= tinytl_largest(n_classes, logits))
    tinytl_reject_add(&fits->reject, logits[label]);
}

/* Fits temperature and threshold to the kept values: one more pass over the validation pictures at
 * the end, so that nothing of them has to be kept beside the best values. */
static tinytl_status calibrate(session *s) {
  calibration fits = {0};
  TINYTL_TRY(tinytl_trainer_restore(s->t, s->error));
  TINYTL_TRY(judge_val(s, add_to_fits, &fits));
  s->temperature = tinytl_temperature_find(&fits.temperature);
  s->reject_below = tinytl_reject_find(&fits.reject);
  return TINYTL_OK;
}

/* ---- The run ------------------------------------------------------------------------------ */

static tinytl_status make_adapter(session *s, tinytl_adapter **adapter) {
  tinytl_trainer *t = s->t;
  const float *values = t->values;
  tinytl_trainer_finish(t);
  /* The last update comes after the last loss that was looked at. */
  for (size_t i = 0; i < t->params->n; i++)
    if (!isfinite(values[i]))
      return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                         "a trained value is not finite: expected a number, found %g; a lower "
                         "learning rate may help",
                         (double)values[i]);
  TINYTL_TRY(tinytl_params_to_adapter(t->params, t->network, values, t->train->class_names,
                                      s->report.val_top1, adapter, s->error));
  (*adapter)->temperature = s->temperature;
  (*adapter)->reject_below = s->reject_below;
  return TINYTL_OK;
}

static tinytl_status run_pictures(session *s) {
  tinytl_trainer *t = s->t;
  if (t->head_only) TINYTL_TRY(compute_features(s, train_pass(t, false)));
  if (t->head_only && t->val) TINYTL_TRY(compute_features(s, val_pass(t, false)));
  TINYTL_TRY(train_epochs(s));
  return t->val ? calibrate(s) : TINYTL_OK;
}

/* The profile begins where the pictures do, and ends with the last of them. */
static tinytl_status run_measured(session *s) {
  tinytl_trainer *t = s->t;
  tinytl_stopwatch watch;
  tinytl_pool_cost cost = {0};
  if (!t->options.profile) return run_pictures(s);
  tinytl_stopwatch_start(&watch, &s->report.profile);
  tinytl_trainer_watch(t, &watch);
  tinytl_pool_measure(t->pool, &cost);
  const tinytl_status status = run_pictures(s);
  tinytl_lap(&watch, TINYTL_WORK_OTHER, TINYTL_FORWARD);
  tinytl_pool_measure(t->pool, NULL);
  tinytl_trainer_watch(t, NULL);
  s->report.profile.n_forks = cost.n_forks;
  s->report.profile.join_seconds = cost.join_seconds;
  return status;
}

static tinytl_status run(session *s, tinytl_adapter **adapter) {
  tinytl_trainer *t = s->t;
  s->report.setup_seconds = tinytl_now() - s->start;
  TINYTL_TRY(run_measured(s));
  if (t->val) s->report.val_images = count_readable(t->val, t->val_unreadable);
  return make_adapter(s, adapter);
}

tinytl_status tinytl_train(const tinytl_backbone *backbone, const tinytl_images *train,
                           const tinytl_images *val, const tinytl_train_options *options,
                           tinytl_adapter **adapter, tinytl_train_report *report,
                           tinytl_error *error) {
  session s = {.error = error, .start = tinytl_now(), .temperature = 1, .reject_below = NAN};
  TINYTL_TRY(tinytl_trainer_create(backbone, train, val, options, &s.t, error));
  const tinytl_status status = run(&s, adapter);
  if (status == TINYTL_OK && report) {
    s.report.train_images = s.n_train;
    s.report.skipped_images =
        train->n_images - s.n_train + (val ? val->n_images - s.report.val_images : 0);
    s.report.plan = s.t->plan;
    s.report.seconds = tinytl_now() - s.start;
    s.report.images_per_second = (double)s.n_run / (s.report.seconds > 0 ? s.report.seconds : 1);
    *report = s.report;
  }
  tinytl_trainer_free(s.t);
  return status;
}
