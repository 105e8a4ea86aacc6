#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/pages.h"
#include "core/saver.h"
#include "train/choice.h"
#include "train/layout.h"

/* ---- Options ------------------------------------------------------------------------------ */

void tinytl_train_options_init(tinytl_train_options *options) {
  *options = (tinytl_train_options){.method = TINYTL_METHOD_AUTO,
                                    .optimizer = TINYTL_OPTIMIZER_AUTO,
                                    .batch = 8,
                                    .label_smoothing = -1,
                                    .dropout = 0.2f,
                                    .augment = TINYTL_SWITCH_AUTO,
                                    .save_seconds = 30};
}

/* The negated comparison refuses NaN too. */
static tinytl_status check_share(const char *name, float value, bool one_allowed,
                                 tinytl_error *error) {
  if (value >= 0 && (value < 1 || (one_allowed && value == 1))) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE, "%s must be 0 to %s1, not %g", name,
                     one_allowed ? "" : "less than ", (double)value);
}

tinytl_status tinytl_trainer_check_options(const tinytl_train_options *options,
                                           tinytl_error *error) {
  TINYTL_TRY(tinytl_check_int("method", (int)options->method, 0, TINYTL_METHOD_AUTO, error));
  TINYTL_TRY(
      tinytl_check_int("optimizer", (int)options->optimizer, 0, TINYTL_OPTIMIZER_AUTO, error));
  TINYTL_TRY(tinytl_check_int("augment", (int)options->augment, 0, TINYTL_SWITCH_ON, error));
  TINYTL_TRY(tinytl_check_int("mirror", (int)options->mirror, 0, TINYTL_SWITCH_ON, error));
  TINYTL_TRY(tinytl_check_int("epochs", options->epochs, 0, TINYTL_MAX_EPOCHS, error));
  TINYTL_TRY(tinytl_check_int("batch", options->batch, 1, TINYTL_MAX_BATCH, error));
  if (options->image_size != 0)
    TINYTL_TRY(tinytl_check_int("image size", options->image_size, TINYTL_MIN_TRAIN_SIZE,
                                TINYTL_MAX_TRAIN_SIZE, error));
  TINYTL_TRY(tinytl_check_int("threads", options->n_threads, 0, 64, error));
  TINYTL_TRY(tinytl_check_int("patience", options->patience, 0, TINYTL_MAX_EPOCHS, error));
  if (!(options->lr >= 0 && options->lr <= 10))
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "learning rate must be above 0 and at most 10, not %g", (double)options->lr);
  if (!(options->label_smoothing < 0))
    TINYTL_TRY(check_share("label smoothing", options->label_smoothing, false, error));
  TINYTL_TRY(tinytl_saver_check(options->save_seconds, error));
  TINYTL_TRY(check_share("dropout", options->dropout, false, error));
  return check_share("colour jitter", options->colour_jitter, true, error);
}

/* ---- Trainer ------------------------------------------------------------------------------ */

static void set_rules(tinytl_trainer *t) {
  tinytl_train_options *options = &t->options;
  if (options->label_smoothing < 0)
    options->label_smoothing = tinytl_rules_label_smoothing(t->choices.method);
  const bool has_reach = t->reach > 0 && tinytl_method_has_reach(t->choices.method);
  const bool fresh_lite = t->network->backbone->arch.n_lite == 0;
  t->rules = tinytl_rules_make(t->choices.method, t->choices.optimizer, t->train->n_images,
                               options->batch, fresh_lite, has_reach ? t->reach : 1.0f);
  if (options->epochs > 0) t->rules.epochs = options->epochs;
  t->n_epoch = t->n_tried > 0 ? t->n_tried : t->train->n_images;
  /* options->lr is the classifier's rate; the other groups keep their ratio to it. */
  const float ratio = options->lr > 0 ? options->lr / t->rules.lr[TINYTL_GROUP_CLASSIFIER] : 1.0f;
  for (int g = 0; g < TINYTL_N_GROUPS; g++) t->lr[g] = t->rules.lr[g] * ratio;
  const uint64_t batch = (uint64_t)options->batch;
  t->n_steps = ((uint64_t)t->n_epoch + batch - 1) / batch * (uint64_t)t->rules.epochs;
  t->n_warmup = (uint64_t)((float)t->n_steps * t->rules.warmup);
  t->n_weight_warmup = (uint64_t)((float)t->n_steps * t->rules.weight_warmup);
}

tinytl_status tinytl_trainer_start(tinytl_trainer *t, tinytl_error *error) {
  const tinytl_train_options *options = &t->options;
  void *loader_memory = NULL;
  set_rules(t);
  TINYTL_TRY(tinytl_trainer_take_block(t, &loader_memory, error));
  tinytl_params_init(t->params, t->network, options->seed, t->carry ? t->carry->adapter : NULL,
                     t->values);
  tinytl_rules_weigh_classes(t->train, t->class_weights);
  if (t->choices.spill) TINYTL_TRY(tinytl_spill_create(options->spill_dir, &t->spill, error));
  const tinytl_loader_options loader = tinytl_trainer_loader_options(t);
  TINYTL_TRY(tinytl_threads_start(&t->threads, options->n_threads, &loader, loader_memory, error));
  t->run.pool = t->threads.pool;
  return TINYTL_OK;
}

static tinytl_status set_up(tinytl_trainer *t, const tinytl_task *task, tinytl_error *error) {
  TINYTL_TRY(tinytl_trainer_choose(t, task->backbone, task->base_nbytes, error));
  if (t->options.planned) t->options.planned(t->options.context, &t->plan);
  return tinytl_trainer_start(t, error);
}

tinytl_status tinytl_trainer_create(const tinytl_task *task, const tinytl_train_options *options,
                                    tinytl_trainer **trainer, tinytl_error *error) {
  tinytl_trainer *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->options = *options;
  made->train = task->train;
  made->val = task->val;
  made->carry = task->carry;
  made->found = task->found;
  made->reach = task->reach;
  made->n_tried = task->n_tried;
  const tinytl_status status = set_up(made, task, error);
  if (status != TINYTL_OK)
    tinytl_trainer_free(made);
  else
    *trainer = made;
  return status;
}

void tinytl_trainer_free(tinytl_trainer *trainer) {
  if (!trainer) return;
  tinytl_threads_stop(&trainer->threads);
  tinytl_program_free(trainer->train_program);
  tinytl_program_free(trainer->test_program);
  free(trainer->network);
  free(trainer->params);
  free(trainer->gradients);
  tinytl_spill_free(trainer->spill);
  tinytl_pages_free(trainer->block, trainer->block_nbytes);
  free(trainer);
}

void tinytl_trainer_watch(tinytl_trainer *t, tinytl_stopwatch *watch) {
  t->watch = t->train_machines[0].watch = t->test_machines[0].watch = watch;
}

/* ---- Training ----------------------------------------------------------------------------- */

static tinytl_target target_of(const tinytl_trainer *t, const tinytl_sample *sample,
                               uint64_t epoch) {
  return (tinytl_target){.label = sample->label,
                         .weight = t->class_weights[sample->label],
                         .label_smoothing = t->options.label_smoothing,
                         .dropout = t->options.dropout,
                         .seed = t->options.seed,
                         .epoch = epoch,
                         .image = (uint64_t)sample->index};
}

typedef struct batch {
  tinytl_trainer *t;
  const tinytl_supply *supply;
  uint64_t epoch;
  tinytl_sample held[TINYTL_MAX_LANES]; /* by lane */
  tinytl_fed fed;
} batch;

static bool next_image(void *context, int lane, tinytl_job *job) {
  batch *b = context;
  tinytl_trainer *t = b->t;
  tinytl_sample *sample = &b->held[lane];
  if (t->n_fed == t->options.batch ||
      !b->supply->next(b->supply->context, t->train_machines[lane].watch, sample))
    return false;
  *job = (tinytl_job){.rgb = sample->rgb, .target = target_of(t, sample, b->epoch)};
  t->train_machines[lane].slot = t->n_fed++;
  return true;
}

static void image_done(void *context, int lane, const tinytl_job *job) {
  batch *b = context;
  b->fed.loss_sum += (double)job->loss;
  if (!isfinite(job->loss) && b->fed.odd < 0) {
    b->fed.odd = b->t->train_machines[lane].slot;
    b->fed.odd_loss = job->loss;
  }
  b->supply->release(b->supply->context, &b->held[lane]);
}

static void feed_head(batch *b) {
  tinytl_trainer *t = b->t;
  tinytl_job job;
  while (next_image(b, 0, &job)) {
    job.loss = tinytl_head_train(&t->run, t->network, t->gradients, t->train_machines->slot,
                                 &job.target, t->features, t->logits, NULL);
    tinytl_lap(t->watch, TINYTL_WORK_HEAD, TINYTL_FORWARD);
    image_done(b, 0, &job);
  }
}

tinytl_fed tinytl_trainer_feed(tinytl_trainer *t, const tinytl_supply *supply, uint64_t epoch) {
  batch b = {.t = t, .supply = supply, .epoch = epoch, .fed = {.odd = -1}};
  const tinytl_feed feed = {.next = next_image, .done = image_done, .context = &b};
  if (t->head_only)
    feed_head(&b);
  else
    tinytl_machines_train(t->train_machines, t->choices.n_lanes, &feed, t->threads.pool);
  return b.fed;
}

/* memory: update_nbytes of the gradients. */
static void update_segment(tinytl_trainer *t, const tinytl_run *run, int s, void *memory) {
  const tinytl_segment *segment = &t->params->segments[s];
  for (size_t done = 0; done < segment->n;) {
    const tinytl_gradient_range range =
        tinytl_gradients_make(t->gradients, t->params, t->network, run, s, done, t->n_fed, memory);
    tinytl_optimizer_update(&t->optimizer, t->params, s, range.first, range.n, run->kernels,
                            run->pool, range.gradient, t->values + segment->offset + done);
    done += range.n;
  }
}

/* All threads share the classifier's update, which may be most of all; of the rest each takes whole
 * segments. */
static bool shares_update(const tinytl_trainer *t, int s) {
  return t->params->segments[s].group == TINYTL_GROUP_CLASSIFIER;
}

/* Each thread makes gradients in memory of its own, of which a lane has room for some. */
static size_t updater_nbytes(const tinytl_trainer *t) {
  return tinytl_round_up(t->gradients->update_nbytes, TINYTL_ARENA_ALIGN);
}

static int n_updaters(const tinytl_trainer *t) {
  const size_t n_threads = (size_t)tinytl_pool_n_threads(t->run.pool), nbytes = updater_nbytes(t);
  if (nbytes == 0) return (int)n_threads;
  const size_t room = (size_t)t->choices.n_lanes * (tinytl_trainer_lane_nbytes(t) / nbytes);
  return (int)(room < n_threads ? room : n_threads);
}

typedef struct updates {
  tinytl_trainer *t;
  atomic_int n_left; /* segments: the last ones, which are the largest, go first */
} updates;

static void update_task(void *context, int task) {
  updates *u = context;
  tinytl_trainer *t = u->t;
  const tinytl_run alone = {.kernels = t->run.kernels};
  const int n_lanes = t->choices.n_lanes;
  char *memory =
      (char *)t->train_machines[task % n_lanes].arena + task / n_lanes * updater_nbytes(t);
  for (int s; (s = atomic_fetch_sub(&u->n_left, 1) - 1) >= 0;)
    if (!shares_update(t, s)) update_segment(t, &alone, s, memory);
}

void tinytl_trainer_update(tinytl_trainer *t) {
  const uint64_t step = t->optimizer.step;
  const float share = tinytl_schedule(step, t->n_warmup, t->n_steps);
  float lr[TINYTL_N_GROUPS];
  const int n_trained = t->params->n_trained_segments;
  for (int g = 0; g < TINYTL_N_GROUPS; g++) lr[g] = t->lr[g] * share;
  lr[TINYTL_GROUP_WEIGHT] =
      t->lr[TINYTL_GROUP_WEIGHT] * tinytl_weight_schedule(step, t->n_weight_warmup, t->n_steps);
  tinytl_optimizer_begin(&t->optimizer, lr, 1.0f / (float)t->n_fed);
  updates u = {.t = t, .n_left = n_trained};
  tinytl_parallel_for(t->run.pool, n_updaters(t), update_task, &u);
  for (int s = 0; s < n_trained; s++)
    if (shares_update(t, s)) update_segment(t, &t->run, s, t->train_machines[0].arena);
  t->n_fed = 0;
  tinytl_lap(t->watch, TINYTL_WORK_UPDATE, TINYTL_FORWARD);
}

void tinytl_trainer_test(tinytl_trainer *t, const tinytl_sample *samples, int n) {
  tinytl_job jobs[TINYTL_MAX_LANES] = {{0}};
  for (int i = 0; i < n; i++) jobs[i].rgb = samples[i].rgb;
  tinytl_machines_run(t->test_machines, jobs, n, t->threads.pool);
}

float *tinytl_trainer_head(tinytl_trainer *t) {
  tinytl_linear_forward(&t->run, t->network->n_features, t->network->n_classes,
                        &t->network->classifier, t->network->classifier_bias, t->features,
                        t->logits);
  return t->logits;
}

/* ---- What is kept ------------------------------------------------------------------------- */

static size_t feature_nbytes(const tinytl_trainer *t) {
  return (size_t)t->network->n_features * sizeof(float);
}

tinytl_status tinytl_trainer_store_features(tinytl_trainer *t, int index, const float *features,
                                            tinytl_error *error) {
  const size_t nbytes = feature_nbytes(t);
  if (t->spill)
    return tinytl_spill_write(t->spill, (uint64_t)index * nbytes, features, nbytes, error);
  memcpy((char *)t->cache + (size_t)index * nbytes, features, nbytes);
  return TINYTL_OK;
}

tinytl_status tinytl_trainer_fetch_features(tinytl_trainer *t, int index, tinytl_error *error) {
  const size_t nbytes = feature_nbytes(t);
  if (t->spill)
    return tinytl_spill_read(t->spill, (uint64_t)index * nbytes, t->features, nbytes, error);
  memcpy(t->features, (const char *)t->cache + (size_t)index * nbytes, nbytes);
  return TINYTL_OK;
}

/* Where the best values stand in the spill file: behind the features. */
static uint64_t best_offset(const tinytl_trainer *t) {
  const int n_images = t->train->n_images + (t->val ? t->val->n_images : 0);
  return t->head_only ? (uint64_t)n_images * feature_nbytes(t) : 0;
}

tinytl_status tinytl_trainer_read_best(tinytl_trainer *t, size_t first, void *bytes, size_t nbytes,
                                       tinytl_error *error) {
  return tinytl_spill_read(t->spill, best_offset(t) + first, bytes, nbytes, error);
}

tinytl_status tinytl_trainer_write_best(tinytl_trainer *t, size_t first, const void *bytes,
                                        size_t nbytes, tinytl_error *error) {
  return tinytl_spill_write(t->spill, best_offset(t) + first, bytes, nbytes, error);
}

tinytl_status tinytl_trainer_keep(tinytl_trainer *t, tinytl_error *error) {
  const size_t nbytes = t->params->n * sizeof *t->values;
  if (!t->val) return TINYTL_OK;
  if (t->spill) return tinytl_trainer_write_best(t, 0, t->values, nbytes, error);
  memcpy(t->best, t->values, nbytes);
  return TINYTL_OK;
}

tinytl_status tinytl_trainer_restore(tinytl_trainer *t, tinytl_error *error) {
  const size_t nbytes = t->params->n * sizeof *t->values;
  if (!t->val) return TINYTL_OK;
  if (t->spill) return tinytl_trainer_read_best(t, 0, t->values, nbytes, error);
  memcpy(t->values, t->best, nbytes);
  return TINYTL_OK;
}

void tinytl_trainer_finish(tinytl_trainer *t) {
  tinytl_threads_stop(&t->threads);
  tinytl_pages_drop(t->block + t->kept_nbytes, t->block_nbytes - t->kept_nbytes);
}
