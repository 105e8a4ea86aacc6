/* One method: features once or epochs of pictures, validation, the best parameters, calibration.
 */
#include "train/train.h"
#include "train/calibration.h"

#include <math.h>
#include <string.h>

#include "core/clock.h"

#define PROGRESS_INTERVAL 0.1 /* seconds */
#define SAVE_SHARE 0.01       /* of the time, at most, for checkpoints */

typedef struct session {
  tinytl_trainer *t;
  tinytl_error *error;
  tinytl_train_report report;
  double start, last_progress;
  double done_before; /* epochs that were done when the run went on */
  uint64_t n_run;     /* training pictures that went through the network; cached ones once */
  tinytl_position at; /* with the pictures since the last update */
  tinytl_checkpoint checkpoint; /* without them */
  bool is_saved;                /* the checkpoint */
  double last_save, save_time;  /* when the latest save ended, and what it took */
  float temperature, reject_below;
  tinytl_outcome *outcome;
} session;

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
  const double done_now = done - s->done_before;
  const tinytl_epoch event = {
      .method = s->t->choices.method,
      .epoch = epoch,
      .n_epochs = n_epochs,
      .image = image,
      .n_images = n_images,
      .finished = finished,
      .loss = epoch > 0 && s->at.n_fed > 0 ? (float)(s->at.loss_sum / s->at.n_fed) : NAN,
      .val_top1 = val_top1,
      .images_per_second = (double)s->n_run / (elapsed > 0 ? elapsed : 1),
      .seconds_left = done_now > 0 ? elapsed * (n_epochs - done) / done_now : NAN};
  options->progress(options->context, &event);
}

/* ---- Checkpoints -------------------------------------------------------------------------- */

static void save(session *s) {
  const tinytl_train_options *options = &s->t->options;
  if (!options->save || s->is_saved) return;
  const double begin = tinytl_now();
  options->save(options->context, &s->checkpoint);
  s->is_saved = true;
  s->last_save = tinytl_now();
  s->save_time = s->last_save - begin;
}

/* Between two updates: from here the run could go on. Saves it where that is due. */
static void settle(session *s) {
  const double interval = (double)s->t->options.save_seconds;
  s->checkpoint.at = s->at;
  s->is_saved = false;
  if (interval == 0 || tinytl_now() - s->last_save >= fmax(interval, s->save_time / SAVE_SHARE))
    save(s);
}

/* Puts the run to its beginning, or to where a checkpoint has it. */
static tinytl_status begin(session *s, const tinytl_resume *resume) {
  const tinytl_train_options *options = &s->t->options;
  TINYTL_TRY(tinytl_checkpoint_init(&s->checkpoint, s->t, s->error));
  if (resume) {
    TINYTL_TRY(tinytl_resume_restore(resume, &s->checkpoint, s->error));
    const tinytl_resumed resumed = tinytl_resume_describe(resume, &s->checkpoint);
    if (options->resumed) options->resumed(options->context, &resumed);
    s->is_saved = true;
  }
  s->at = s->checkpoint.at;
  s->done_before = s->at.epoch - 1 + (double)s->at.n_fed / s->t->train->n_images;
  s->last_save = tinytl_now();
  return TINYTL_OK;
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

/* Takes out of the order what could not be read before, and begins behind its first n_done. */
static tinytl_status begin_pass(session *s, pass *p, int n_done, const tinytl_view *view) {
  int *order = s->t->order;
  p->n = 0;
  p->n_given = n_done;
  for (int i = 0; i < p->images->n_images; i++)
    if (!p->unreadable[order[i]]) order[p->n++] = order[i];
  if (n_done > p->n)
    return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                       "%d training pictures could be read before, now %d", n_done, p->n);
  if (p->cached) return TINYTL_OK;
  return tinytl_loader_start(s->t->threads.loader, p->images, order + n_done, p->n - n_done, view,
                             s->error);
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
  TINYTL_TRY(tinytl_loader_next(s->t->threads.loader, sample, s->error));
  tinytl_lap(s->t->watch, TINYTL_WORK_WAIT, TINYTL_FORWARD);
  p->unreadable[index] = sample->skipped;
  return sample->skipped ? check_class(s, p, sample->label) : TINYTL_OK;
}

/* Pictures that go through the network side by side; one where features are read. */
typedef struct group {
  tinytl_sample samples[TINYTL_MAX_LANES];
  int n;
} group;

/* The next ones that can be read, `most` of them if there are; none at the pass's end. */
static tinytl_status next_group(session *s, pass *p, int most, group *g) {
  most = p->cached ? 1 : tinytl_min(most, s->t->choices.n_lanes);
  for (g->n = 0; g->n < most && p->n_given < p->n;) {
    tinytl_sample *sample = &g->samples[g->n];
    TINYTL_TRY(next_sample(s, p, sample));
    g->n += !sample->skipped;
  }
  return TINYTL_OK;
}

static void release_group(const session *s, const pass *p, const group *g) {
  for (int i = 0; i < g->n && !p->cached; i++)
    tinytl_loader_release(s->t->threads.loader, &g->samples[i]);
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
  TINYTL_TRY(begin_pass(s, &p, 0, &view));
  while (p.n_given < p.n) {
    group g;
    TINYTL_TRY(next_group(s, &p, TINYTL_MAX_LANES, &g));
    tinytl_trainer_test(t, g.samples, g.n);
    for (int i = 0; i < g.n; i++)
      TINYTL_TRY(tinytl_trainer_store_features(t, p.first_cached + g.samples[i].index,
                                               tinytl_machine_features(&t->test_machines[i]),
                                               s->error));
    release_group(s, &p, &g);
    if (p.images == t->train) s->n_run += (uint64_t)g.n;
    report_progress(s, 0, p.n_given, p.n, NAN, false);
  }
  return TINYTL_OK;
}

/* ---- Epochs ------------------------------------------------------------------------------- */

/* Told of the logits [n_classes] of one validation picture. */
typedef void (*judge_fn)(void *context, const tinytl_sample *sample, int n_classes,
                         const float *logits);

static void mirror(int size, uint8_t *rgb) {
  for (int y = 0; y < size; y++, rgb += 3 * size)
    for (int x = 0; x < size / 2; x++)
      for (int c = 0; c < 3; c++) {
        uint8_t *left = &rgb[3 * x + c], *right = &rgb[3 * (size - 1 - x) + c];
        const uint8_t kept = *left;
        *left = *right;
        *right = kept;
      }
}

/* Has every validation picture judged that can be read. */
static tinytl_status judge_val(session *s, bool mirrored, judge_fn judge, void *context) {
  tinytl_trainer *t = s->t;
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  pass p = val_pass(t, t->head_only);
  order_by_number(t, t->val);
  TINYTL_TRY(begin_pass(s, &p, 0, &view));
  while (p.n_given < p.n) {
    group g;
    TINYTL_TRY(next_group(s, &p, TINYTL_MAX_LANES, &g));
    for (int i = 0; i < g.n && mirrored; i++) mirror(t->network->image_size, g.samples[i].rgb);
    if (!p.cached) tinytl_trainer_test(t, g.samples, g.n);
    for (int i = 0; i < g.n; i++)
      judge(context, &g.samples[i], t->network->n_classes,
            p.cached ? tinytl_trainer_head(t) : tinytl_machine_logits(&t->test_machines[i]));
    release_group(s, &p, &g);
  }
  return TINYTL_OK;
}

typedef struct tally {
  int n, n_right;
} tally;

static void count_right(void *context, const tinytl_sample *sample, int n_classes,
                        const float *logits) {
  tally *counts = context;
  counts->n_right += logits[sample->label] >= tinytl_largest(n_classes, logits);
  counts->n++;
}

static tinytl_status validate(session *s, tinytl_score *result) {
  tally counts = {0};
  TINYTL_TRY(judge_val(s, false, count_right, &counts));
  if (counts.n == 0)
    return tinytl_fail(s->error, TINYTL_ERROR_DATA, "no validation picture can be read");
  const float top1 = (float)counts.n_right / (float)counts.n;
  *result = (tinytl_score){top1, sqrtf(top1 * (1 - top1) / (float)counts.n)};
  return TINYTL_OK;
}

static tinytl_status add_losses(session *s, const float *losses, int n) {
  for (int i = 0; i < n; i++) {
    s->at.n_fed++;
    if (!isfinite(losses[i]))
      return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                         "the loss is not finite in epoch %d at picture %d: expected a number, "
                         "found %g; a lower learning rate may help",
                         s->at.epoch, s->at.n_fed, (double)losses[i]);
    s->at.loss_sum += (double)losses[i];
  }
  return TINYTL_OK;
}

/* One pass over the training pictures, or over their cached features, or what is left of it. */
static tinytl_status train_epoch(session *s) {
  tinytl_trainer *t = s->t;
  const int epoch = s->at.epoch;
  const tinytl_view view = tinytl_trainer_view(t, true, epoch);
  pass p = train_pass(t, t->head_only);
  tinytl_order(t->options.seed, (uint64_t)epoch, t->train->n_images, t->order);
  TINYTL_TRY(begin_pass(s, &p, s->at.n_fed, &view));
  while (p.n_given < p.n) {
    group g;
    float losses[TINYTL_MAX_LANES];
    TINYTL_TRY(next_group(s, &p, t->options.batch - t->n_fed, &g));
    tinytl_trainer_feed(t, g.samples, g.n, (uint64_t)epoch, losses);
    TINYTL_TRY(add_losses(s, losses, g.n));
    release_group(s, &p, &g);
    if (!t->head_only) s->n_run += (uint64_t)g.n;
    if (t->n_fed == t->options.batch || (p.n_given == p.n && t->n_fed > 0)) {
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
  at->n_without_gain = result.top1 > at->best.top1 ? 0 : at->n_without_gain + 1;
  if (result.top1 > at->best.top1) at->best = result;
  if (!t->val || result.top1 >= at->best.top1 - at->best.noise) {
    at->best_epoch = at->epoch;
    at->val_top1 = result.top1;
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
  if (logits[label] >= tinytl_largest(n_classes, logits))
    tinytl_reject_add(&fits->reject, logits[label]);
}

/* Probabilities of the right class, compared with those of another time. */
typedef struct marks {
  float temperature;
  float *right;  /* [validation images] */
  bool is_first; /* time: they are noted, else compared with */
  tinytl_comparison comparison;
} marks;

static void mark(void *context, const tinytl_sample *sample, int n_classes, const float *logits) {
  marks *m = context;
  const float max = tinytl_largest(n_classes, logits);
  double sum = 0;
  for (int k = 0; k < n_classes; k++)
    sum += exp((double)(logits[k] - max) / (double)m->temperature);
  const float right =
      (float)(exp((double)(logits[sample->label] - max) / (double)m->temperature) / sum);
  if (m->is_first)
    m->right[sample->index] = right;
  else
    tinytl_comparison_add(&m->comparison, m->right[sample->index], right);
}

static tinytl_status note_right(session *s, marks *m) {
  m->is_first = true;
  for (int i = 0; i < s->t->val->n_images; i++) m->right[i] = NAN;
  return judge_val(s, false, mark, m);
}

/* For auto, which compares methods: more passes, at the temperature that was found. */
static tinytl_status compare_methods(session *s) {
  tinytl_trainer *t = s->t;
  tinytl_outcome *outcome = s->outcome;
  marks m = {.temperature = s->temperature, .right = outcome->right};
  TINYTL_TRY(note_right(s, &m));
  for (int i = 0; i < t->val->n_images; i++)
    tinytl_comparison_add(&outcome->comparison, t->carry->right[i], outcome->right[i]);
  if (!t->carry->asks_mirror) return TINYTL_OK;
  m.is_first = false;
  TINYTL_TRY(judge_val(s, true, mark, &m));
  outcome->mirrored = m.comparison;
  return TINYTL_OK;
}

/* Fits temperature and threshold to the kept values: one more pass over the validation pictures at
 * the end, so that nothing of them has to be kept beside the best values. */
static tinytl_status calibrate(session *s) {
  calibration fits = {0};
  TINYTL_TRY(tinytl_trainer_restore(s->t, s->error));
  TINYTL_TRY(judge_val(s, false, add_to_fits, &fits));
  s->temperature = tinytl_temperature_find(&fits.temperature);
  s->reject_below = tinytl_reject_find(&fits.reject);
  return s->t->carry ? compare_methods(s) : TINYTL_OK;
}

/* ---- The run ------------------------------------------------------------------------------ */

static tinytl_status make_adapter(session *s) {
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
                                      s->at.val_top1, &s->outcome->adapter, s->error));
  s->outcome->adapter->temperature = s->temperature;
  s->outcome->adapter->reject_below = s->reject_below;
  return TINYTL_OK;
}

static tinytl_status run_pictures(session *s) {
  tinytl_trainer *t = s->t;
  if (t->head_only) TINYTL_TRY(compute_features(s, train_pass(t, false)));
  if (t->head_only && t->val) TINYTL_TRY(compute_features(s, val_pass(t, false)));
  TINYTL_TRY(train_epochs(s));
  save(s); /* while the values are those of training, and though the adapter may fail */
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
  s->report.setup_seconds = tinytl_now() - s->start;
  TINYTL_TRY(run_measured(s));
  if (t->val) s->report.val_images = count_readable(t->val, t->val_unreadable);
  return make_adapter(s);
}

static void complete_report(session *s) {
  tinytl_train_report *report = &s->report;
  const tinytl_trainer *t = s->t;
  report->epochs = s->at.epoch - 1;
  report->best_epoch = s->at.best_epoch;
  report->val_top1 = s->at.val_top1;
  report->train_images = s->at.n_train;
  report->skipped_images =
      t->train->n_images - s->at.n_train + (t->val ? t->val->n_images - report->val_images : 0);
  report->method = t->choices.method;
  const tinytl_view view = tinytl_trainer_view(t, true, 0);
  report->mirrors = view.augment && view.mirror;
  report->plan = t->plan;
  report->seconds = tinytl_now() - s->start;
  report->images_per_second = (double)s->n_run / (report->seconds > 0 ? report->seconds : 1);
  s->outcome->n_run = s->n_run;
}

tinytl_status tinytl_method_train(const tinytl_task *task, const tinytl_train_options *options,
                                  const tinytl_resume *resume, tinytl_outcome *outcome,
                                  tinytl_error *error) {
  session s = {.error = error, .start = tinytl_now(), .temperature = 1, .reject_below = NAN};
  s.outcome = outcome;
  tinytl_status status = tinytl_trainer_create(task, options, &s.t, error);
  if (status == TINYTL_OK) status = begin(&s, resume);
  if (status == TINYTL_OK) status = run(&s);
  if (status == TINYTL_INTERRUPTED && s.t) save(&s);
  if (status == TINYTL_OK) {
    complete_report(&s);
    outcome->report = s.report;
  }
  tinytl_checkpoint_clear(&s.checkpoint);
  tinytl_trainer_free(s.t);
  return status;
}
