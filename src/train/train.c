/* tinytl_train: features once or epochs of pictures, validation, the best parameters. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define PROGRESS_INTERVAL 0.1 /* seconds */

typedef struct session {
  tinytl_trainer *t;
  tinytl_error *error;
  tinytl_train_report report;
  double start, last_progress;
  uint64_t n_fed;  /* training images of all epochs */
  double loss_sum; /* of the epoch */
  int n_losses;
  int n_train; /* training images that can be read, once known */
} session;

/* What validation says. */
typedef struct score {
  float top1;
  float noise; /* standard error of top1 */
} score;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static tinytl_status check_stop(const session *s) {
  const volatile int *stop = s->t->options.stop;
  if (stop && *stop) return tinytl_fail(s->error, TINYTL_INTERRUPTED, "stopped on request");
  return TINYTL_OK;
}

static void report_progress(session *s, int epoch, int image, int n_images, float val_top1,
                            bool finished) {
  const tinytl_train_options *options = &s->t->options;
  const double time = now(), elapsed = time - s->start;
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
                              .images_per_second = (epoch > 0 ? (double)s->n_fed : image) /
                                                   (elapsed > 0 ? elapsed : 1),
                              .seconds_left = done > 0 ? elapsed * (n_epochs - done) / done : NAN};
  options->progress(options->context, &event);
}

static tinytl_view test_view(const tinytl_trainer *t) {
  return (tinytl_view){.size = t->network->image_size,
                       .resize = tinytl_test_resize(t->network->backbone, t->network->image_size)};
}

static tinytl_view train_view(const tinytl_trainer *t, int epoch) {
  const tinytl_train_options *options = &t->options;
  tinytl_view view = test_view(t);
  view.augment = options->augment == TINYTL_SWITCH_ON;
  view.min_scale = TINYTL_MIN_CROP_SCALE;
  view.mirror = options->mirror;
  view.colour_jitter = options->colour_jitter;
  view.seed = options->seed;
  view.epoch = (uint64_t)epoch;
  return view;
}

/* ---- Cached features ---------------------------------------------------------------------- */

static tinytl_status compute_features(session *s, const tinytl_images *images,
                                      tinytl_loader *loader, float *features, bool *readable) {
  tinytl_trainer *t = s->t;
  const size_t n_features = (size_t)t->network->n_features;
  const tinytl_view view = test_view(t);
  for (int i = 0; i < images->n_images; i++) t->order[i] = i;
  TINYTL_TRY(tinytl_loader_start(loader, t->order, images->n_images, &view, s->error));
  for (int i = 0; i < images->n_images; i++) {
    tinytl_sample sample;
    TINYTL_TRY(check_stop(s));
    TINYTL_TRY(tinytl_loader_next(loader, &sample, s->error));
    readable[i] = !sample.skipped;
    if (sample.skipped) continue;
    tinytl_machine_run(&t->features_machine, sample.rgb, NULL);
    memcpy(features + (size_t)i * n_features, tinytl_machine_features(&t->features_machine),
           n_features * sizeof *features);
    tinytl_loader_release(loader, &sample);
    report_progress(s, 0, i + 1, images->n_images, NAN, false);
  }
  return TINYTL_OK;
}

/* The next sample of a run; loader NULL: cached features of picture `index`. */
static tinytl_status next_sample(session *s, tinytl_loader *loader, const tinytl_images *images,
                                 const bool *readable, int index, tinytl_sample *sample) {
  TINYTL_TRY(check_stop(s));
  if (loader) return tinytl_loader_next(loader, sample, s->error);
  *sample =
      (tinytl_sample){.index = index, .label = images->labels[index], .skipped = !readable[index]};
  return TINYTL_OK;
}

/* ---- Epochs ------------------------------------------------------------------------------- */

static tinytl_status validate(session *s, score *result) {
  tinytl_trainer *t = s->t;
  const tinytl_images *val = t->val;
  const int n_classes = t->network->n_classes;
  const tinytl_view view = test_view(t);
  for (int i = 0; i < val->n_images; i++) t->order[i] = i;
  if (!t->head_only)
    TINYTL_TRY(tinytl_loader_start(t->val_loader, t->order, val->n_images, &view, s->error));
  int n = 0, n_right = 0;
  for (int i = 0; i < val->n_images; i++) {
    tinytl_sample sample;
    TINYTL_TRY(
        next_sample(s, t->head_only ? NULL : t->val_loader, val, t->val_readable, i, &sample));
    if (sample.skipped) continue;
    const float *logits = tinytl_trainer_logits(t, sample.rgb, i);
    bool right = true;
    for (int c = 0; c < n_classes; c++) right = right && logits[c] <= logits[sample.label];
    n_right += right;
    n++;
    if (sample.rgb) tinytl_loader_release(t->val_loader, &sample);
  }
  if (n == 0) return tinytl_fail(s->error, TINYTL_ERROR_DATA, "no validation picture can be read");
  const float top1 = (float)n_right / (float)n;
  *result = (score){top1, sqrtf(top1 * (1 - top1) / (float)n)};
  return TINYTL_OK;
}

/* One pass over the training pictures, or over their cached features. */
static tinytl_status train_epoch(session *s, int epoch, bool cached) {
  tinytl_trainer *t = s->t;
  const int n_images = t->train->n_images;
  const tinytl_view view = train_view(t, epoch);
  s->loss_sum = 0;
  s->n_losses = 0;
  tinytl_order(t->options.seed, (uint64_t)epoch, n_images, t->order);
  if (!cached)
    TINYTL_TRY(tinytl_loader_start(t->train_loader, t->order, n_images, &view, s->error));
  int in_batch = 0;
  for (int i = 0; i < n_images; i++) {
    tinytl_sample sample;
    TINYTL_TRY(next_sample(s, cached ? NULL : t->train_loader, t->train, t->train_readable,
                           t->order[i], &sample));
    if (!sample.skipped) {
      const float loss = tinytl_trainer_feed(t, sample.rgb, sample.index, (uint64_t)epoch);
      if (!isfinite(loss))
        return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                           "the loss is not finite in epoch %d at picture %d: expected a number, "
                           "found %g; a lower learning rate may help",
                           epoch, i + 1, (double)loss);
      if (sample.rgb) tinytl_loader_release(t->train_loader, &sample);
      s->loss_sum += (double)loss;
      s->n_losses++;
      in_batch++;
    }
    if (in_batch == t->options.batch || (i == n_images - 1 && in_batch > 0)) {
      tinytl_trainer_update(t, in_batch);
      in_batch = 0;
    }
    if (!cached || t->head_only) {
      s->n_fed += !sample.skipped;
      report_progress(s, epoch, i + 1, n_images, NAN, false);
    }
  }
  s->n_train = s->n_losses;
  if (s->n_train == 0)
    return tinytl_fail(s->error, TINYTL_ERROR_DATA, "no training picture can be read");
  return TINYTL_OK;
}

/* Keeps the parameters of the latest epoch that is not worse than the best by more than the noise
 * of validation: a few dozen pictures cannot tell epochs apart, and later ones have seen more. */
static tinytl_status train_epochs(session *s) {
  tinytl_trainer *t = s->t;
  score best = {-1, 0};
  int n_without_gain = 0;
  s->report.val_top1 = NAN;
  tinytl_trainer_begin(t, t->rules.epochs);
  for (int epoch = 1; epoch <= t->rules.epochs; epoch++) {
    TINYTL_TRY(train_epoch(s, epoch, t->head_only));
    s->report.epochs = epoch;
    score result = {NAN, 0};
    if (t->val) TINYTL_TRY(validate(s, &result));
    n_without_gain = result.top1 > best.top1 ? 0 : n_without_gain + 1;
    if (result.top1 > best.top1) best = result;
    if (!t->val || result.top1 >= best.top1 - best.noise) {
      s->report.best_epoch = epoch;
      s->report.val_top1 = result.top1;
      if (t->best) memcpy(t->best, t->values, t->params->n * sizeof *t->best);
    }
    report_progress(s, epoch, t->train->n_images, t->train->n_images, result.top1, true);
    if (t->options.patience > 0 && n_without_gain >= t->options.patience) break;
  }
  return TINYTL_OK;
}

/* The head alone, as method last would train it. */
static tinytl_status train_head(session *s) {
  tinytl_trainer_begin(s->t, s->t->rules.head_epochs);
  for (int epoch = 1; epoch <= s->t->rules.head_epochs; epoch++)
    TINYTL_TRY(train_epoch(s, epoch, true));
  return TINYTL_OK;
}

static tinytl_status run(session *s, tinytl_adapter **adapter) {
  tinytl_trainer *t = s->t;
  TINYTL_TRY(compute_features(s, t->train, t->train_loader, t->train_features, t->train_readable));
  if (t->head_only && t->val)
    TINYTL_TRY(compute_features(s, t->val, t->val_loader, t->val_features, t->val_readable));
  if (!t->head_only) TINYTL_TRY(train_head(s));
  TINYTL_TRY(train_epochs(s));
  return tinytl_params_to_adapter(t->params, t->network, t->best ? t->best : t->values,
                                  t->train->class_names, s->report.val_top1, adapter, s->error);
}

tinytl_status tinytl_train(const tinytl_backbone *backbone, const tinytl_images *train,
                           const tinytl_images *val, const tinytl_train_options *options,
                           tinytl_adapter **adapter, tinytl_train_report *report,
                           tinytl_error *error) {
  session s = {.error = error, .start = now()};
  TINYTL_TRY(tinytl_trainer_create(backbone, train, val, options, &s.t, error));
  const tinytl_status status = run(&s, adapter);
  if (status == TINYTL_OK && report) {
    s.report.train_images = s.n_train;
    s.report.skipped_images = train->n_images - s.n_train;
    s.report.planned_bytes = s.t->planned_nbytes;
    s.report.seconds = now() - s.start;
    s.report.images_per_second = (double)s.n_fed / (s.report.seconds > 0 ? s.report.seconds : 1);
    *report = s.report;
  }
  tinytl_trainer_free(s.t);
  return status;
}
