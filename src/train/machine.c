/* Running a program. */
#include "train/program.h"

#include <string.h>

#include "train/guard.h"
#include "train/profile.h"

static void *at(const tinytl_machine *machine, int buffer) {
  return buffer < 0 ? NULL : machine->arena + machine->program->buffers[buffer].offset;
}

/* ---- Lite residual module ----------------------------------------------------------------- */

/* Charges a part of a module's step. */
static void lap(const tinytl_machine *machine, tinytl_work work, tinytl_direction direction) {
  tinytl_lap(machine->watch, work, direction);
}

static const tinytl_block *block_of(const tinytl_network *network, int m) {
  return &network->backbone->arch.blocks[network->lite[m].block];
}

/* From the pooled input to the second normalised map; fills all maps. */
static void compute_lite(const tinytl_machine *machine, int m, const tinytl_lite_maps *maps,
                         tinytl_direction direction) {
  const tinytl_conv *conv = &machine->network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &machine->network->lite_conv[m].pointwise;
  const tinytl_lite_values *values = &machine->network->lite_values[m];
  const tinytl_run *run = &machine->run;
  const tinytl_epilogue none = {.act = TINYTL_ACT_NONE};
  const tinytl_weight w_conv = {.f32 = values->conv}, w_pointwise = {.f32 = values->pointwise};
  const int n_pixels = tinytl_conv_n_pixels(conv);
  float *x_hat1 = at(machine, maps->x_hat1), *x_hat2 = at(machine, maps->x_hat2);
  float *relu = at(machine, maps->relu);

  tinytl_conv_forward(run, conv, &w_conv, &none, at(machine, maps->pooled), x_hat1);
  lap(machine, TINYTL_WORK_LITE_CONV, direction);
  tinytl_group_norm_forward(run, n_pixels, conv->out_c, x_hat1, at(machine, maps->rstd1));
  tinytl_scale_shift_forward(run, n_pixels, conv->out_c, x_hat1, values->scale1, values->shift1,
                             TINYTL_ACT_RELU, relu);
  lap(machine, TINYTL_WORK_LITE_NORM, direction);
  tinytl_conv_forward(run, pointwise, &w_pointwise, &none, relu, x_hat2);
  lap(machine, TINYTL_WORK_LITE_CONV, direction);
  tinytl_group_norm_forward(run, n_pixels, pointwise->out_c, x_hat2, at(machine, maps->rstd2));
  lap(machine, TINYTL_WORK_LITE_NORM, direction);
}

static void lite_forward(const tinytl_machine *machine, const tinytl_step *step) {
  const tinytl_network *network = machine->network;
  const int m = step->index;
  const tinytl_conv *conv = &network->lite_conv[m].conv;
  const tinytl_block *block = block_of(network, m);
  const tinytl_conv *first = &network->conv[block->first], *last = &network->conv[block->last];
  const tinytl_lite_values *values = &network->lite_values[m];
  const tinytl_lite_maps *maps = &machine->program->lite[m].forward;
  const tinytl_run *run = &machine->run;
  float *out = at(machine, machine->program->lite[m].out);

  tinytl_avg_pool2_forward(run, first->in_h, first->in_w, conv->in_c, at(machine, step->x),
                           at(machine, maps->pooled));
  lap(machine, TINYTL_WORK_LITE_RESIZE, TINYTL_FORWARD);
  compute_lite(machine, m, maps, TINYTL_FORWARD);
  tinytl_scale_shift_forward(run, tinytl_conv_n_pixels(conv), last->out_c,
                             at(machine, maps->x_hat2), values->scale2, values->shift2,
                             TINYTL_ACT_NONE, out);
  lap(machine, TINYTL_WORK_LITE_NORM, TINYTL_FORWARD);
  tinytl_upsample_forward(run, conv->out_h, conv->out_w, last->out_h, last->out_w, last->out_c, out,
                          at(machine, step->y));
}

/* The gradient of a convolution's weights: now, or its two factors kept for later. */
static void weight_gradient(const tinytl_machine *machine, const tinytl_conv *conv, const float *x,
                            const float *dy, float *gradient, const tinytl_factors *factors) {
  if (gradient)
    tinytl_conv_backward_weight(&machine->run, conv, x, dy, gradient);
  else if (factors->x)
    tinytl_factors_put(factors, machine->slot, x, dy);
  lap(machine, TINYTL_WORK_LITE_WEIGHT, TINYTL_BACKWARD);
}

static void lite_backward(const tinytl_machine *machine, const tinytl_step *step) {
  const tinytl_network *network = machine->network;
  const int m = step->index;
  const tinytl_conv *conv = &network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &network->lite_conv[m].pointwise;
  const tinytl_conv *last = &network->conv[block_of(network, m)->last];
  const tinytl_lite_values *values = &network->lite_values[m];
  const tinytl_lite_buffers *lite = &machine->program->lite[m];
  const tinytl_lite_maps *maps = &lite->backward;
  const tinytl_run *run = &machine->run;
  float *const *gradient = machine->gradients->lite[m];
  const tinytl_factors *factors = machine->gradients->lite_factors[m];
  const tinytl_weight w_conv = {.f32 = values->conv}, w_pointwise = {.f32 = values->pointwise};
  const int n_pixels = tinytl_conv_n_pixels(conv);
  float *d_out = at(machine, lite->d_out), *d_mid = at(machine, lite->d_mid);

  if (machine->program->recompute) compute_lite(machine, m, maps, TINYTL_BACKWARD);
  const float *x_hat1 = at(machine, maps->x_hat1), *x_hat2 = at(machine, maps->x_hat2);
  float *relu = at(machine, maps->relu);
  if (relu && !machine->program->recompute)
    tinytl_scale_shift_forward(run, n_pixels, conv->out_c, x_hat1, values->scale1, values->shift1,
                               TINYTL_ACT_RELU, relu);
  lap(machine, TINYTL_WORK_LITE_NORM, TINYTL_BACKWARD);

  tinytl_upsample_backward(run, conv->out_h, conv->out_w, last->out_h, last->out_w,
                           pointwise->out_c, at(machine, step->y), d_out);
  lap(machine, TINYTL_WORK_LITE_RESIZE, TINYTL_BACKWARD);
  tinytl_group_norm_backward(run, n_pixels, pointwise->out_c, x_hat2, at(machine, maps->rstd2),
                             values->scale2, values->shift2, TINYTL_ACT_NONE, d_out,
                             gradient[TINYTL_LITE_SCALE2], gradient[TINYTL_LITE_SHIFT2]);
  lap(machine, TINYTL_WORK_LITE_NORM, TINYTL_BACKWARD);
  tinytl_conv_backward_input(run, pointwise, &w_pointwise, d_out, d_mid, false);
  lap(machine, TINYTL_WORK_LITE_CONV, TINYTL_BACKWARD);
  weight_gradient(machine, pointwise, relu, d_out, gradient[TINYTL_LITE_POINTWISE], &factors[1]);
  tinytl_group_norm_backward(run, n_pixels, conv->out_c, x_hat1, at(machine, maps->rstd1),
                             values->scale1, values->shift1, TINYTL_ACT_RELU, d_mid,
                             gradient[TINYTL_LITE_SCALE1], gradient[TINYTL_LITE_SHIFT1]);
  lap(machine, TINYTL_WORK_LITE_NORM, TINYTL_BACKWARD);
  weight_gradient(machine, conv, at(machine, maps->pooled), d_mid, gradient[TINYTL_LITE_CONV],
                  &factors[0]);
  if (step->x >= 0)
    tinytl_conv_backward_input(run, conv, &w_conv, d_mid, at(machine, step->x), false);
}

/* ---- Head --------------------------------------------------------------------------------- */

float tinytl_head_train(const tinytl_run *run, const tinytl_network *network,
                        const tinytl_gradients *gradients, int slot, const tinytl_target *target,
                        float *features, float *logits, float *d_features) {
  const int n_features = network->n_features, n_classes = network->n_classes;
  tinytl_dropout(features, n_features, target->dropout, target->seed, target->epoch, target->image);
  tinytl_linear_forward(run, n_features, n_classes, &network->classifier, network->classifier_bias,
                        features, logits);
  const float loss = tinytl_cross_entropy(n_classes, target->label, target->label_smoothing,
                                          target->weight, logits);
  tinytl_linear_backward(run, n_features, n_classes, network->classifier.f32, features, logits,
                         gradients->classifier, gradients->classifier_bias, d_features);
  if (gradients->classifier_factors.x)
    tinytl_factors_put(&gradients->classifier_factors, slot, features, logits);
  if (d_features)
    tinytl_dropout(d_features, n_features, target->dropout, target->seed, target->epoch,
                   target->image);
  return loss;
}

static float head(const tinytl_machine *machine, const tinytl_step *step,
                  const tinytl_target *target) {
  const tinytl_network *network = machine->network;
  if (target)
    return tinytl_head_train(&machine->run, network, machine->gradients, machine->slot, target,
                             at(machine, step->x), at(machine, step->y),
                             at(machine, step->residual));
  tinytl_linear_forward(&machine->run, network->n_features, network->n_classes,
                        &network->classifier, network->classifier_bias, at(machine, step->x),
                        at(machine, step->y));
  return 0;
}

/* ---- Steps -------------------------------------------------------------------------------- */

static void conv_forward(const tinytl_machine *machine, const tinytl_step *step,
                         const uint8_t *rgb) {
  const tinytl_network *network = machine->network;
  const int i = step->index;
  const tinytl_epilogue epilogue = {.bias = network->bias[i],
                                    .act = network->backbone->arch.layers[i].act,
                                    .residual = at(machine, step->residual),
                                    .mask = at(machine, step->mask)};
  if (step->x < 0)
    tinytl_conv_forward_rgb(&machine->run, &network->conv[i], &network->weight[i], &epilogue, rgb,
                            network->input_scale, network->input_shift, at(machine, step->y));
  else
    tinytl_conv_forward(&machine->run, &network->conv[i], &network->weight[i], &epilogue,
                        at(machine, step->x), at(machine, step->y));
}

/* Gradient of a convolution's weights, or of its gain by way of theirs. */
static void weight_backward(const tinytl_machine *machine, const tinytl_step *step,
                            const uint8_t *rgb) {
  const tinytl_network *network = machine->network;
  const tinytl_gradients *gradients = machine->gradients;
  const int i = step->index;
  const tinytl_conv *conv = &network->conv[i];
  const float *x = at(machine, step->x), *dy = at(machine, step->y);
  float *gain = gradients->gain[i];
  tinytl_run run = machine->run;
  float *dw = gradients->weight[i];
  if (gain) {
    const size_t nbytes = tinytl_weight_gradient_nbytes(network, i);
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a step with a gain has scratch */
    dw = memset(run.scratch, 0, nbytes);
    run.scratch = (char *)run.scratch + nbytes;
    run.turn = NULL;
  }
  if (!dw)
    tinytl_factors_put(&gradients->weight_factors[i], machine->slot, x, dy);
  else if (x)
    tinytl_conv_backward_weight(&run, conv, x, dy, dw);
  else
    tinytl_conv_backward_weight_rgb(&run, conv, rgb, network->input_scale, network->input_shift, dy,
                                    dw);
  if (gain) tinytl_conv_backward_gain(&machine->run, conv, &network->backbone->weight[i], dw, gain);
}

static tinytl_block_layer block_layer(const tinytl_machine *machine, int i, int mask) {
  const tinytl_network *network = machine->network;
  return (tinytl_block_layer){.conv = &network->conv[i],
                              .weight = &network->weight[i],
                              .bias = network->bias[i],
                              .act = network->backbone->arch.layers[i].act,
                              .mask = at(machine, mask),
                              .dbias = machine->gradients ? machine->gradients->bias[i] : NULL};
}

static tinytl_fused_block fused_block(const tinytl_machine *machine, const tinytl_step *step,
                                      const uint8_t *rgb) {
  const int project = step->index;
  tinytl_fused_block block = {.depthwise = block_layer(machine, project - 1, step->mask),
                              .project = block_layer(machine, project, -1),
                              .n_threads = machine->program->n_threads};
  if (step->expand >= 0) block.expand = block_layer(machine, step->expand, step->mask_expand);
  if (step->expand == 0) {
    block.rgb = rgb;
    memcpy(block.input_scale, machine->network->input_scale, sizeof block.input_scale);
    memcpy(block.input_shift, machine->network->input_shift, sizeof block.input_shift);
  }
  return block;
}

static void shortcut_backward(const tinytl_machine *machine, const tinytl_step *step) {
  const tinytl_conv *conv = &machine->network->conv[step->index];
  const size_t n = (size_t)tinytl_conv_n_pixels(conv) * (size_t)conv->out_c;
  float *d_source = at(machine, step->x);
  const float *dy = at(machine, step->y);
  if (step->accumulate)
    machine->run.kernels->add(d_source, dy, n);
  else
    memcpy(d_source, dy, n * sizeof *dy);
}

/* Returns the loss of the head's step, else 0. */
static float run_step(const tinytl_machine *machine, const tinytl_step *step, const uint8_t *rgb,
                      const tinytl_target *target) {
  const tinytl_network *network = machine->network;
  const tinytl_conv *conv = &network->conv[step->index];
  const tinytl_conv *last = &network->conv[network->backbone->arch.n_layers - 1];
  void *x = at(machine, step->x), *y = at(machine, step->y);
  tinytl_fused_block block;
  switch (step->kind) {
  case TINYTL_STEP_CONV:
  case TINYTL_STEP_CONV_AGAIN:
    conv_forward(machine, step, rgb);
    break;
  case TINYTL_STEP_BLOCK:
    block = fused_block(machine, step, rgb);
    tinytl_fused_block_forward(&machine->run, &block, x, at(machine, step->residual), y);
    break;
  case TINYTL_STEP_LITE:
    lite_forward(machine, step);
    break;
  case TINYTL_STEP_POOL:
    tinytl_global_pool_forward(&machine->run, tinytl_conv_n_pixels(last), last->out_c, x, y);
    break;
  case TINYTL_STEP_HEAD:
    return head(machine, step, target);
  case TINYTL_STEP_POOL_BACKWARD:
    tinytl_global_pool_backward(&machine->run, tinytl_conv_n_pixels(last), last->out_c, y, x);
    break;
  case TINYTL_STEP_SHORTCUT_BACKWARD:
    shortcut_backward(machine, step);
    break;
  case TINYTL_STEP_EPILOGUE_BACKWARD:
    tinytl_epilogue_backward(&machine->run, tinytl_conv_n_pixels(conv), conv->out_c,
                             at(machine, step->mask), y, machine->gradients->bias[step->index]);
    break;
  case TINYTL_STEP_WEIGHT_BACKWARD:
    weight_backward(machine, step, rgb);
    break;
  case TINYTL_STEP_CONV_BACKWARD:
    tinytl_conv_backward_input(&machine->run, conv, &network->weight[step->index], y, x,
                               step->accumulate);
    break;
  case TINYTL_STEP_BLOCK_BACKWARD:
    block = fused_block(machine, step, rgb);
    tinytl_fused_block_backward(&machine->run, &block, y, x, step->accumulate);
    break;
  case TINYTL_STEP_LITE_BACKWARD:
    lite_backward(machine, step);
    break;
  case TINYTL_STEP_LITE_POOL_BACKWARD:
    conv = &network->conv[block_of(network, step->index)->first];
    tinytl_avg_pool2_backward(&machine->run, conv->in_h, conv->in_w, conv->in_c, y, x);
    break;
  }
  return 0;
}

float tinytl_machine_run(tinytl_machine *machine, const uint8_t *rgb, const tinytl_target *target) {
  const tinytl_network *network = machine->network;
  const tinytl_program *program = machine->program;
  float loss = 0;
  tinytl_guard_begin(program, machine->arena);
  for (int s = 0; s < program->n_steps; s++) {
    const tinytl_step *step = &program->steps[s];
    machine->run.scratch = at(machine, step->scratch);
    machine->run.turn_at = s + 1;
    tinytl_guard_before(program, machine->arena, s);
    loss += run_step(machine, step, rgb, target);
    tinytl_guard_after(program, machine->arena, s);
    if (machine->watch)
      tinytl_lap(machine->watch, tinytl_step_work(network, step), tinytl_step_direction(step));
    if (machine->n_done) atomic_store(machine->n_done, s + 1);
  }
  tinytl_guard_end(program, machine->arena);
  if (machine->watch) tinytl_program_add_macs(program, network, machine->watch->profile->macs);
  return loss;
}

float *tinytl_machine_features(const tinytl_machine *machine) {
  return at(machine, machine->program->features);
}

float *tinytl_machine_logits(const tinytl_machine *machine) {
  return at(machine, machine->program->logits);
}
