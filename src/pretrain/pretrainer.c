#include "pretrain/pretrainer.h"

#include <stdlib.h>
#include <string.h>

#include "core/pages.h"
#include "core/saver.h"
#include "data/images.h"
#include "model/strings.h"
#include "pretrain/sgd.h"
#include "train/calibration.h"
#include "train/optimizer.h"

enum {
  DEFAULT_EPOCHS = 60,
  DEFAULT_BATCH = 64,
  WARMUP_SHARE = 20 /* of all updates */
};
#define LR_OF_BATCH_64 0.1f
#define WEIGHT_DECAY 5e-4f /* as the scale below: docs/supernet.md, "Accuracy" */
/* First scale of the norm in front of a shortcut: blocks begin near the identity, which networks as
 * deep as a super-net's largest need (Goyal et al., 2017, section 5.1, have 0). */
#define SHORTCUT_SCALE 0.1f
#define RUNNING_SHARE 0.1f /* of the newest batch in the running statistics */

void tinytl_pretrain_options_init(tinytl_pretrain_options *options) {
  *options = (tinytl_pretrain_options){.epochs = DEFAULT_EPOCHS,
                                       .batch = DEFAULT_BATCH,
                                       .label_smoothing = 0.1f,
                                       .mirror = true,
                                       .save_seconds = 30};
}

static tinytl_status check_options(const tinytl_pretrain_options *options, tinytl_error *error) {
  TINYTL_TRY(tinytl_check_int("epochs", options->epochs, 1, TINYTL_MAX_EPOCHS, error));
  TINYTL_TRY(tinytl_check_int("batch", options->batch, 2, TINYTL_MAX_BATCH, error));
  if (options->image_size != 0)
    TINYTL_TRY(tinytl_check_int("image size", options->image_size, TINYTL_MIN_TRAIN_SIZE,
                                TINYTL_MAX_TRAIN_SIZE, error));
  TINYTL_TRY(tinytl_check_int("threads", options->n_threads, 0, 64, error));
  if (!(options->label_smoothing >= 0 && options->label_smoothing < 1))
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "label smoothing must be 0 to less than 1, not %g",
                       (double)options->label_smoothing);
  if (!(options->lr >= 0 && options->lr <= 10))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "learning rate must be 0 to 10, not %g",
                       (double)options->lr);
  TINYTL_TRY(tinytl_saver_check(options->save_seconds, error));
  return tinytl_check_int("weights", (int)options->weights, 0, TINYTL_WEIGHTS_F32, error);
}

/* ---- Beginning ---------------------------------------------------------------------------- */

/* The weights of a randomly initialised backbone; norms that change nothing. */
static void set_values(tinytl_pretrainer *p, const tinytl_backbone *random) {
  const tinytl_batch_params *params = &p->net->params;
  for (int i = 0; i < p->arch->n_layers; i++) {
    const tinytl_layer *layer = &p->arch->layers[i];
    memcpy(p->values + params->weight[i], random->weight[i].f32,
           tinytl_layer_n_weights(layer) * sizeof(float));
    const float scale = layer->add >= 0 ? SHORTCUT_SCALE : 1;
    for (int c = 0; c < layer->out_c; c++) p->values[params->scale[i] + (size_t)c] = scale;
  }
  for (int m = 0; m < p->arch->n_lite; m++)
    tinytl_batch_params_set_lite(params, p->arch, m, &random->lite[m], p->values);
  memcpy(p->values + params->classifier, random->classifier.f32,
         (size_t)p->arch->n_classes * (size_t)p->arch->n_features * sizeof(float));
  for (size_t c = 0; c < params->n_channels; c++) p->running.var[c] = 1;
  if (p->shrinking) tinytl_shared_values_init_matrices(&p->shrinking->shared, p->values);
}

static tinytl_status check_sizes(const tinytl_pretrainer *p, tinytl_error *error) {
  const tinytl_pretrain_options *options = &p->options;
  bool has_own = options->n_image_sizes == 0;
  TINYTL_TRY(tinytl_check_int("number of image sizes", options->n_image_sizes, 0,
                              TINYTL_MAX_IMAGE_SIZES, error));
  for (int i = 0; i < options->n_image_sizes; i++) {
    TINYTL_TRY(tinytl_check_int("each of the image sizes", options->image_sizes[i],
                                TINYTL_MIN_TRAIN_SIZE, TINYTL_MAX_TRAIN_SIZE, error));
    has_own = has_own || options->image_sizes[i] == p->input.size;
  }
  if (has_own) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE,
                     "the image sizes that are drawn must have the image size %d among them",
                     p->input.size);
}

static tinytl_status set_up(tinytl_pretrainer *p, const tinytl_backbone *random,
                            tinytl_error *error) {
  p->arch = malloc(sizeof *p->arch);
  p->net = malloc(sizeof *p->net);
  if (!p->arch || !p->net) return tinytl_fail_memory(error, sizeof *p->net);
  *p->arch = random->arch;
  p->input = random->input;
  if (p->options.image_size) p->input.size = p->options.image_size;
  p->input.resize = tinytl_input_default_resize(p->input.size);
  p->batch = tinytl_min(p->options.batch, p->train->n_images);
  const int n_ranks = tinytl_ranks_n(&p->ranks);
  if (n_ranks > p->batch)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "a batch of %d pictures can be split over %d ranks at most, not %d",
                       p->batch, p->batch, n_ranks);
  p->share = tinytl_ceil_div(p->batch, n_ranks);
  if (p->options.lr == 0) p->options.lr = LR_OF_BATCH_64 * (float)p->batch / 64;
  TINYTL_TRY(check_sizes(p, error));
  TINYTL_TRY(tinytl_pretrainer_plan(p, error));
  TINYTL_TRY(tinytl_pretrainer_take_block(p, error));
  set_values(p, random);
  return TINYTL_OK;
}

static tinytl_status init_space(tinytl_pretrainer *p, const char *name, tinytl_arch *arch,
                                int *image_size, tinytl_error *error) {
  const tinytl_pretrain_options *options = &p->options;
  p->shrinking = calloc(1, sizeof *p->shrinking);
  if (!p->shrinking) return tinytl_fail_memory(error, sizeof *p->shrinking);
  tinytl_space *space = &p->shrinking->space;
  TINYTL_TRY(tinytl_space_named(name, p->train->n_classes, space, error));
  space->has_lite = options->lite;
  *image_size = space->image_size;
  if (options->image_size && options->image_size < TINYTL_SUPERNET_LARGE_IMAGE)
    space->total_stride /= 2;
  tinytl_shared_values_layout(&p->shrinking->shared, space);
  *arch = p->shrinking->shared.arch;
  return TINYTL_OK;
}

/* The random backbone of the architecture, or of the largest sub-net. */
static tinytl_status init_network(tinytl_pretrainer *p, const char *architecture,
                                  tinytl_backbone **random, tinytl_error *error) {
  int image_size = 0;
  tinytl_arch *arch = malloc(sizeof *arch);
  if (!arch) return tinytl_fail_memory(error, sizeof *arch);
  tinytl_status status;
  if (tinytl_space_is_named(architecture)) {
    status = init_space(p, architecture, arch, &image_size, error);
  } else {
    status = tinytl_arch_named(architecture, p->train->n_classes, arch, &image_size, error);
    if (status == TINYTL_OK && p->options.lite)
      tinytl_arch_add_lite(arch, TINYTL_LITE_DEFAULT, arch->lite, &arch->n_lite);
  }
  if (status == TINYTL_OK)
    status = tinytl_backbone_random(arch, image_size, TINYTL_WEIGHTS_F32, p->options.seed, random,
                                    error);
  free(arch);
  return status;
}

tinytl_status tinytl_pretrainer_create(const char *architecture, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_pretrainer **pretrainer, tinytl_error *error) {
  tinytl_backbone *random = NULL;
  if (val && val->n_images == 0) val = NULL;
  TINYTL_TRY(check_options(options, error));
  TINYTL_TRY(tinytl_images_check(train, val, error));
  tinytl_pretrainer *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->options = *options;
  made->ranks.group = options->group;
  made->base_bytes = tinytl_resident_nbytes();
  made->train = train;
  made->val = val;
  tinytl_status status = init_network(made, architecture, &random, error);
  if (status == TINYTL_OK) status = set_up(made, random, error);
  tinytl_backbone_free(random);
  if (status != TINYTL_OK)
    tinytl_pretrainer_free(made);
  else
    *pretrainer = made;
  return status;
}

void tinytl_pretrainer_free(tinytl_pretrainer *p) {
  if (!p) return;
  tinytl_threads_stop(&p->threads);
  tinytl_pages_free(p->block, p->block_nbytes);
  free(p->arch);
  free(p->net);
  free(p->shrinking);
  free(p->teacher);
  free(p);
}

/* ---- Steps -------------------------------------------------------------------------------- */

/* The gradient of the whole network; returns the sum of losses. */
static double add_gradient(tinytl_pretrainer *p) {
  if (p->teacher) tinytl_pretrainer_ask(p);
  p->batch_run.net = p->net;
  p->batch_run.values = p->values;
  float *logits = tinytl_batch_forward(&p->batch_run, NULL);
  if (p->net->image_size == p->input.size)
    tinytl_batch_blend_statistics(&p->batch_run, p->n_batch, RUNNING_SHARE, &p->running);
  const double loss =
      tinytl_pretrainer_losses(p, p->teacher != NULL, 1.0f / (float)p->n_batch, logits);
  tinytl_batch_backward(&p->batch_run, p->gradient);
  return loss;
}

double tinytl_pretrainer_step(tinytl_pretrainer *p, const tinytl_pretrain_position *at) {
  const tinytl_phase phase = tinytl_pretrainer_phase(p, at->epoch);
  const uint64_t epoch_steps = (uint64_t)(p->train->n_images / p->batch),
                 in_epoch = (uint64_t)(at->n_fed / p->batch);
  const uint64_t n_steps = (uint64_t)phase.n_epochs * epoch_steps;
  const uint64_t step = (uint64_t)(at->epoch - phase.first_epoch) * epoch_steps + in_epoch;
  double loss =
      phase.n_subnets == 0
          ? add_gradient(p)
          : tinytl_pretrainer_shrink(p, &phase, (uint64_t)at->epoch * epoch_steps + in_epoch);
  tinytl_ranks_sum_doubles(&p->ranks, &loss, 1);
  tinytl_ranks_sum_floats(&p->ranks, p->gradient, p->n_values);
  const float share = tinytl_schedule(step, n_steps / WARMUP_SHARE, n_steps);
  const tinytl_sgd sgd = {.n = p->n_values,
                          .n_decayed = p->net->params.n_decayed,
                          .lr = p->options.lr * phase.lr_share * share,
                          .decay = WEIGHT_DECAY,
                          .values = p->values,
                          .moment = p->moment,
                          .gradient = p->gradient};
  tinytl_sgd_update(&sgd, p->threads.pool);
  return loss;
}

int tinytl_pretrainer_count_right(tinytl_pretrainer *p) {
  const int n_classes = p->arch->n_classes;
  if (p->batch_run.n_images == 0) return 0; /* the others have the last pictures */
  const float *logits = tinytl_batch_forward(&p->batch_run, &p->running);
  int n_right = 0;
  for (int i = 0; i < p->batch_run.n_images; i++, logits += n_classes)
    n_right += tinytl_is_right(n_classes, logits, p->labels[i]);
  return n_right;
}

void tinytl_pretrainer_average_statistics(tinytl_pretrainer *p, int n) {
  tinytl_batch_forward(&p->batch_run, NULL);
  tinytl_batch_blend_statistics(&p->batch_run, p->n_batch, 1.0f / (float)n, &p->running);
}

/* ---- The backbone ------------------------------------------------------------------------- */

static void give_maps_back(tinytl_pretrainer *p) {
  tinytl_threads_stop(&p->threads);
  tinytl_pages_drop(p->block + p->maps_first, p->block_nbytes - p->maps_first);
}

tinytl_status tinytl_pretrainer_finish(tinytl_pretrainer *p, tinytl_backbone **backbone,
                                       tinytl_error *error) {
  give_maps_back(p);
  TINYTL_TRY(tinytl_check_trained(p->values, p->n_values, error));
  tinytl_backbone *folded = calloc(1, sizeof *folded);
  if (!folded) return tinytl_fail_memory(error, sizeof *folded);
  folded->arch = *p->arch;
  folded->input = p->input;
  folded->labels = (char **)p->train->class_names;
  folded->n_labels = p->train->n_classes;
  tinytl_batch_fold(p->net, &p->running, p->values, folded);
  const tinytl_status status = tinytl_backbone_build(folded, p->options.weights, backbone, error);
  free(folded);
  return status;
}

tinytl_status tinytl_pretrainer_finish_supernet(tinytl_pretrainer *p, tinytl_supernet **supernet,
                                                tinytl_error *error) {
  give_maps_back(p);
  TINYTL_TRY(tinytl_check_trained(p->values, p->n_values, error));
  tinytl_supernet *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->space = p->shrinking->space;
  made->input = p->input;
  made->n_labels = p->train->n_classes;
  made->n_values = p->n_values;
  made->values = malloc(p->n_values * sizeof *made->values);
  tinytl_status status =
      made->values
          ? tinytl_strings_copy(p->train->class_names, made->n_labels, &made->labels, error)
          : tinytl_fail_memory(error, p->n_values * sizeof *made->values);
  if (status == TINYTL_OK) {
    memcpy(made->values, p->values, p->n_values * sizeof *made->values);
    *supernet = made;
  } else {
    tinytl_supernet_free(made);
  }
  return status;
}
