#include "train/prepare.h"

#include <stdlib.h>

static void free_programs(tinytl_trainer *t) {
  tinytl_program_free(t->train_program);
  tinytl_program_free(t->test_program);
  t->train_program = t->test_program = NULL;
}

static tinytl_status make_programs(tinytl_trainer *t, tinytl_error *error) {
  const tinytl_kernels *kernels = tinytl_kernels_get();
  tinytl_program_free(t->train_program);
  t->train_program = NULL;
  tinytl_program_options options = {.goal = TINYTL_GOAL_TRAIN,
                                    .recompute = t->choices.recompute,
                                    .n_threads = t->choices.lane_threads};
  if (!t->head_only)
    TINYTL_TRY(
        tinytl_program_create(t->network, t->params, &options, kernels, &t->train_program, error));
  options.goal = t->head_only ? TINYTL_GOAL_FEATURES : TINYTL_GOAL_LOGITS;
  if ((t->head_only || t->val) && !t->test_program)
    TINYTL_TRY(tinytl_program_create(t->network, NULL, &options, kernels, &t->test_program, error));
  t->run.kernels = kernels;
  for (int i = 0; i < TINYTL_MAX_LANES; i++) {
    t->train_machines[i] = (tinytl_machine){.network = t->network,
                                            .program = t->train_program,
                                            .gradients = t->gradients,
                                            .run = {.kernels = kernels}};
    t->test_machines[i] = (tinytl_machine){
        .network = t->network, .program = t->test_program, .run = {.kernels = kernels}};
  }
  return TINYTL_OK;
}

/* What is left to the method by the options. */
static bool augments(const tinytl_trainer *t) {
  const tinytl_switch augment = t->options.augment;
  return augment == TINYTL_SWITCH_ON ||
         (augment == TINYTL_SWITCH_AUTO && t->choices.method != TINYTL_METHOD_LAST);
}

tinytl_status tinytl_trainer_prepare(tinytl_trainer *t, const tinytl_backbone *backbone,
                                     const tinytl_choices *choices, tinytl_error *error) {
  const bool lite = tinytl_method_trains_lite(choices->method);
  /* All that the programs depend on; a plan tries many choices. Tests recompute nothing. */
  if (t->choices.method != choices->method || t->choices.lane_threads != choices->lane_threads)
    free_programs(t);
  const bool have_programs =
      (t->train_program || t->test_program) && t->choices.recompute == choices->recompute;
  t->choices = *choices;
  if (!t->network) t->network = malloc(sizeof *t->network);
  if (!t->params) t->params = malloc(sizeof *t->params);
  if (!t->gradients) t->gradients = malloc(sizeof *t->gradients);
  if (!t->network || !t->params || !t->gradients)
    return tinytl_fail_memory(error, sizeof *t->network);
  TINYTL_TRY(tinytl_network_init(t->network, backbone, t->options.image_size, t->train->n_classes,
                                 lite, error));
  if (lite && t->network->n_lite == 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "method %s needs inverted residual blocks for its lite modules, and the "
                       "backbone has none beyond the first; try method bias",
                       tinytl_method_name(choices->method));
  tinytl_params_layout(t->params, t->network, choices->method);
  tinytl_gradients_layout(t->gradients, t->params, t->network, tinytl_kernels_get(),
                          t->options.batch);
  t->head_only = choices->method == TINYTL_METHOD_LAST && !augments(t);
  return have_programs ? TINYTL_OK : make_programs(t, error);
}

tinytl_view tinytl_trainer_view(const tinytl_trainer *t, bool training, int epoch) {
  const tinytl_train_options *options = &t->options;
  return (tinytl_view){
      .size = t->network->image_size,
      .resize = tinytl_input_resize_at(&t->network->backbone->input, t->network->image_size),
      .augment = training && augments(t),
      .min_scale = TINYTL_MIN_CROP_SCALE,
      .mirror = options->mirror != TINYTL_SWITCH_OFF,
      .colour_jitter = options->colour_jitter,
      .seed = options->seed,
      .epoch = (uint64_t)epoch,
      .max_nbytes = t->max_load_nbytes};
}
