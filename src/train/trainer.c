#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

enum {
  LOADER_SLOTS = 4 /* enough to ride out a slow picture: a decode takes about as long as a step */
};

/* ---- Options ------------------------------------------------------------------------------ */

void tinytl_train_options_init(tinytl_train_options *options) {
  *options = (tinytl_train_options){.method = TINYTL_METHOD_LITE_BIAS,
                                    .optimizer = TINYTL_OPTIMIZER_ADAM,
                                    .batch = 8,
                                    .label_smoothing = -1,
                                    .dropout = 0.2f,
                                    .augment = TINYTL_SWITCH_AUTO,
                                    .mirror = true};
}

static tinytl_status check_int(const char *name, int value, int low, int high,
                               tinytl_error *error) {
  if (value >= low && value <= high) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE, "%s must be %d to %d, not %d", name, low, high,
                     value);
}

/* The negated comparison refuses NaN too. */
static tinytl_status check_share(const char *name, float value, bool one_allowed,
                                 tinytl_error *error) {
  if (value >= 0 && (value < 1 || (one_allowed && value == 1))) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE, "%s must be 0 to %s1, not %g", name,
                     one_allowed ? "" : "less than ", (double)value);
}

static tinytl_status check_options(const tinytl_train_options *options, tinytl_error *error) {
  TINYTL_TRY(check_int("method", (int)options->method, 0, TINYTL_METHOD_LITE_BIAS, error));
  TINYTL_TRY(check_int("optimizer", (int)options->optimizer, 0, TINYTL_OPTIMIZER_SGD, error));
  TINYTL_TRY(check_int("augment", (int)options->augment, 0, TINYTL_SWITCH_ON, error));
  TINYTL_TRY(check_int("epochs", options->epochs, 0, 10000, error));
  TINYTL_TRY(check_int("batch", options->batch, 1, 4096, error));
  if (options->image_size != 0)
    TINYTL_TRY(check_int("image size", options->image_size, 32, 1024, error));
  TINYTL_TRY(check_int("patience", options->patience, 0, 10000, error));
  if (!(options->lr >= 0 && options->lr <= 10))
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "learning rate must be above 0 and at most 10, not %g", (double)options->lr);
  if (!(options->label_smoothing < 0))
    TINYTL_TRY(check_share("label smoothing", options->label_smoothing, false, error));
  TINYTL_TRY(check_share("dropout", options->dropout, false, error));
  return check_share("colour jitter", options->colour_jitter, true, error);
}

static tinytl_status check_images(const tinytl_images *images, int n_classes, const char *what,
                                  tinytl_error *error) {
  if (images->n_images < 1 || images->n_classes != n_classes || n_classes < 2)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "%s pictures: expected 2 or more classes and at least one picture, found %d "
                       "classes and %d pictures",
                       what, images->n_classes, images->n_images);
  for (int i = 0; i < images->n_images; i++)
    if (images->labels[i] < 0 || images->labels[i] >= n_classes)
      return tinytl_fail(error, TINYTL_ERROR_DATA, "%s picture %d has label %d of %d classes", what,
                         i, images->labels[i], n_classes);
  return TINYTL_OK;
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Hands out pieces of a block; with base NULL it only counts. */
typedef struct cursor {
  unsigned char *base;
  size_t used;
  bool overflow;
} cursor;

static void *take(cursor *c, size_t n, size_t element_nbytes) {
  size_t nbytes;
  if (!tinytl_size_mul(n, element_nbytes, &nbytes) || nbytes > SIZE_MAX / 4 ||
      c->used > SIZE_MAX / 4) {
    c->overflow = true;
    return NULL;
  }
  void *piece = c->base ? c->base + c->used : NULL;
  c->used += tinytl_round_up(nbytes, TINYTL_ARENA_ALIGN);
  return piece;
}

static tinytl_loader_options loader_options(const tinytl_trainer *t) {
  return (tinytl_loader_options){.capacity = LOADER_SLOTS,
                                 .n_workers = 1,
                                 .max_size = t->network->image_size,
                                 .skip = t->options.skip,
                                 .skip_context = t->options.context};
}

/* Lays the block out. */
static void lay_out(tinytl_trainer *t, cursor *c, void **loader_memory) {
  const size_t n_features = (size_t)t->network->n_features;
  const size_t n_train = (size_t)t->train->n_images;
  const size_t n_val = t->val ? (size_t)t->val->n_images : 0;
  t->values = take(c, t->params->n, sizeof(float));
  t->gradient = take(c, t->params->n_trained, sizeof(float));
  t->optimizer.moment1 = take(c, t->params->n_trained, sizeof(float));
  if (tinytl_optimizer_n_moments(t->options.optimizer) > 1)
    t->optimizer.moment2 = take(c, t->params->n_trained, sizeof(float));
  if (t->val) t->best = take(c, t->params->n, sizeof(float));
  t->train_unreadable = take(c, n_train, sizeof(bool));
  t->val_unreadable = take(c, n_val, sizeof(bool));
  if (t->head_only) {
    t->train_features = take(c, n_train, n_features * sizeof(float));
    t->val_features = take(c, n_val, n_features * sizeof(float));
    t->logits = take(c, (size_t)t->network->n_classes, sizeof(float));
    t->dropped = take(c, n_features, sizeof(float));
  }
  t->order = take(c, n_train > n_val ? n_train : n_val, sizeof(int));
  const tinytl_loader_options loader = loader_options(t);
  *loader_memory = take(c, tinytl_loader_nbytes(&loader), 1);
  /* The programs take turns in the same activations. */
  size_t activations = t->train_program ? t->train_program->nbytes : 0;
  if (t->test_program) activations = tinytl_size_max(activations, t->test_program->nbytes);
  t->train_machine.arena = t->test_machine.arena = take(c, activations, 1);
}

static tinytl_status take_memory(tinytl_trainer *t, tinytl_error *error) {
  cursor count = {0};
  void *loader_memory;
  lay_out(t, &count, &loader_memory);
  t->planned_nbytes = count.used + tinytl_network_frozen_nbytes(t->network);
  if (count.overflow || (t->options.memory_limit && t->planned_nbytes > t->options.memory_limit))
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                       "method %s at image size %d needs %zu bytes, the limit is %zu",
                       tinytl_method_name(t->options.method), t->network->image_size,
                       count.overflow ? SIZE_MAX : t->planned_nbytes, t->options.memory_limit);
  t->block = aligned_alloc(TINYTL_ARENA_ALIGN, count.used);
  if (!t->block) return tinytl_fail_memory(error, count.used);

  cursor place = {.base = t->block};
  lay_out(t, &place, &loader_memory);
  memset(t->train_unreadable, 0, (size_t)t->train->n_images * sizeof(bool));
  if (t->val) memset(t->val_unreadable, 0, (size_t)t->val->n_images * sizeof(bool));
  memset(t->gradient, 0, t->params->n_trained * sizeof(float));
  memset(t->optimizer.moment1, 0, t->params->n_trained * sizeof(float));
  if (t->optimizer.moment2) memset(t->optimizer.moment2, 0, t->params->n_trained * sizeof(float));
  t->optimizer.kind = t->options.optimizer;
  tinytl_params_init(t->params, t->network, t->options.seed, t->values);
  tinytl_params_gradients(t->params, t->gradient, t->gradients);

  const tinytl_loader_options loader = loader_options(t);
  return tinytl_loader_create(&loader, loader_memory, &t->loader, error);
}

/* ---- Trainer ------------------------------------------------------------------------------ */

static tinytl_status make_programs(tinytl_trainer *t, tinytl_error *error) {
  const tinytl_kernels *kernels = tinytl_kernels_get();
  if (!t->head_only)
    TINYTL_TRY(tinytl_program_create(t->network, t->params, TINYTL_GOAL_TRAIN, kernels,
                                     &t->train_program, error));
  if (t->head_only || t->val)
    TINYTL_TRY(tinytl_program_create(t->network, NULL,
                                     t->head_only ? TINYTL_GOAL_FEATURES : TINYTL_GOAL_LOGITS,
                                     kernels, &t->test_program, error));
  t->train_machine = (tinytl_machine){.network = t->network,
                                      .program = t->train_program,
                                      .gradients = t->gradients,
                                      .run = {.kernels = kernels, .pool = t->pool}};
  t->test_machine = t->train_machine;
  t->test_machine.program = t->test_program;
  return TINYTL_OK;
}

static void set_rules(tinytl_trainer *t, bool fresh_lite) {
  const tinytl_train_options *options = &t->options;
  t->rules = tinytl_rules_make(options->method, options->optimizer, t->train->n_images,
                               options->batch, fresh_lite);
  if (options->epochs > 0) t->rules.epochs = options->epochs;
  /* --lr sets the classifier's rate; the other groups keep their ratio to it. */
  const float ratio = options->lr > 0 ? options->lr / t->rules.lr[TINYTL_GROUP_CLASSIFIER] : 1.0f;
  for (int g = 0; g < TINYTL_N_GROUPS; g++) t->lr[g] = t->rules.lr[g] * ratio;
  const uint64_t batch = (uint64_t)options->batch;
  t->n_steps = ((uint64_t)t->train->n_images + batch - 1) / batch * (uint64_t)t->rules.epochs;
  t->n_warmup = (uint64_t)((float)t->n_steps * t->rules.warmup);
}

static tinytl_status set_up(tinytl_trainer *t, const tinytl_backbone *backbone,
                            tinytl_error *error) {
  const tinytl_train_options *options = &t->options;
  const bool lite = tinytl_method_trains_lite(options->method);
  TINYTL_TRY(check_options(options, error));
  TINYTL_TRY(check_images(t->train, t->train->n_classes, "training", error));
  if (t->val) TINYTL_TRY(check_images(t->val, t->train->n_classes, "validation", error));
  t->network = malloc(sizeof *t->network);
  t->params = malloc(sizeof *t->params);
  t->gradients = malloc(sizeof *t->gradients);
  if (!t->network || !t->params || !t->gradients)
    return tinytl_fail_memory(error, sizeof *t->network);
  TINYTL_TRY(tinytl_network_init(t->network, backbone, options->image_size, t->train->n_classes,
                                 lite, error));
  if (lite && t->network->n_lite == 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "method %s needs inverted residual blocks for its lite modules, and the "
                       "backbone has none beyond the first; try method bias",
                       tinytl_method_name(options->method));
  tinytl_params_layout(t->params, t->network, options->method);
  if (t->options.augment == TINYTL_SWITCH_AUTO)
    t->options.augment =
        options->method == TINYTL_METHOD_LAST ? TINYTL_SWITCH_OFF : TINYTL_SWITCH_ON;
  if (options->label_smoothing < 0)
    t->options.label_smoothing = options->method == TINYTL_METHOD_LAST ? 0.0f : 0.1f;
  t->head_only = options->method == TINYTL_METHOD_LAST && t->options.augment == TINYTL_SWITCH_OFF;
  set_rules(t, backbone->arch.n_lite == 0);
  TINYTL_TRY(tinytl_pool_create(options->n_threads, &t->pool, error));
  TINYTL_TRY(make_programs(t, error));
  return take_memory(t, error);
}

tinytl_status tinytl_trainer_create(const tinytl_backbone *backbone, const tinytl_images *train,
                                    const tinytl_images *val, const tinytl_train_options *options,
                                    tinytl_trainer **trainer, tinytl_error *error) {
  tinytl_trainer *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->options = *options;
  made->train = train;
  made->val = val && val->n_images > 0 ? val : NULL;
  const tinytl_status status = set_up(made, backbone, error);
  if (status != TINYTL_OK)
    tinytl_trainer_free(made);
  else
    *trainer = made;
  return status;
}

void tinytl_trainer_free(tinytl_trainer *trainer) {
  if (!trainer) return;
  tinytl_loader_free(trainer->loader);
  tinytl_pool_free(trainer->pool);
  tinytl_program_free(trainer->train_program);
  tinytl_program_free(trainer->test_program);
  free(trainer->network);
  free(trainer->params);
  free(trainer->gradients);
  free(trainer->block);
  free(trainer);
}

float tinytl_trainer_feed(tinytl_trainer *t, const uint8_t *rgb, int index, uint64_t epoch) {
  const tinytl_target target = {.label = t->train->labels[index],
                                .label_smoothing = t->options.label_smoothing,
                                .dropout = t->options.dropout,
                                .seed = t->options.seed,
                                .epoch = epoch,
                                .image = (uint64_t)index};
  if (rgb) return tinytl_machine_run(&t->train_machine, rgb, &target);
  const size_t n_features = (size_t)t->network->n_features;
  memcpy(t->dropped, t->train_features + (size_t)index * n_features, n_features * sizeof(float));
  return tinytl_head_train(&t->train_machine.run, t->network, t->gradients, &target, t->dropped,
                           t->logits, NULL);
}

void tinytl_trainer_update(tinytl_trainer *t, int n) {
  const float share = tinytl_schedule(t->optimizer.step, t->n_warmup, t->n_steps);
  float lr[TINYTL_N_GROUPS];
  for (int g = 0; g < TINYTL_N_GROUPS; g++) lr[g] = t->lr[g] * share;
  tinytl_optimizer_update(&t->optimizer, t->params, t->pool, lr, 1.0f / (float)n, t->gradient,
                          t->values);
}

float *tinytl_trainer_logits(tinytl_trainer *t, const uint8_t *rgb, int index) {
  if (rgb) {
    tinytl_machine_run(&t->test_machine, rgb, NULL);
    return tinytl_machine_logits(&t->test_machine);
  }
  tinytl_linear_forward(&t->train_machine.run, t->network->n_features, t->network->n_classes,
                        &t->network->classifier, t->network->classifier_bias,
                        t->val_features + (size_t)index * (size_t)t->network->n_features,
                        t->logits);
  return t->logits;
}
