#include "train/profile.h"

#include <string.h>

#include "core/clock.h"

const char *tinytl_work_name(tinytl_work work) {
  static const char *const names[TINYTL_N_WORKS] = {
      [TINYTL_WORK_WAIT] = "waiting for pictures",
      [TINYTL_WORK_DENSE] = "first convolution",
      [TINYTL_WORK_POINTWISE] = "pointwise",
      [TINYTL_WORK_DEPTHWISE] = "depthwise",
      [TINYTL_WORK_WEIGHT] = "gradients of weights",
      [TINYTL_WORK_BLOCK] = "blocks row by row",
      [TINYTL_WORK_LITE_CONV] = "lite, convolutions",
      [TINYTL_WORK_LITE_WEIGHT] = "lite, weight gradients",
      [TINYTL_WORK_LITE_NORM] = "lite, norms",
      [TINYTL_WORK_LITE_RESIZE] = "lite, resampling",
      [TINYTL_WORK_EPILOGUE] = "masks, bias gradients, shortcuts",
      [TINYTL_WORK_HEAD] = "pool, classifier, loss",
      [TINYTL_WORK_UPDATE] = "optimizer",
      [TINYTL_WORK_OTHER] = "everything else"};
  return (unsigned)work < TINYTL_N_WORKS ? names[work] : NULL;
}

/* ---- Time --------------------------------------------------------------------------------- */

void tinytl_stopwatch_start(tinytl_stopwatch *watch, tinytl_profile *profile) {
  memset(profile, 0, sizeof *profile);
  *watch = (tinytl_stopwatch){profile, tinytl_now()};
}

void tinytl_lap(tinytl_stopwatch *watch, tinytl_work work, tinytl_direction direction) {
  if (!watch) return;
  const double time = tinytl_now();
  watch->profile->seconds[work][direction] += time - watch->last;
  watch->last = time;
}

/* ---- Kinds of steps ------------------------------------------------------------------------ */

static tinytl_work conv_work(const tinytl_conv *conv) {
  return conv->groups > 1    ? TINYTL_WORK_DEPTHWISE
         : conv->kernel == 1 ? TINYTL_WORK_POINTWISE
                             : TINYTL_WORK_DENSE;
}

tinytl_work tinytl_step_work(const tinytl_network *network, const tinytl_step *step) {
  switch (step->kind) {
  case TINYTL_STEP_CONV:
  case TINYTL_STEP_CONV_AGAIN:
  case TINYTL_STEP_CONV_BACKWARD:
    return conv_work(&network->conv[step->index]);
  case TINYTL_STEP_WEIGHT_BACKWARD:
    return TINYTL_WORK_WEIGHT;
  case TINYTL_STEP_BLOCK:
  case TINYTL_STEP_BLOCK_BACKWARD:
    return TINYTL_WORK_BLOCK;
  case TINYTL_STEP_LITE:
  case TINYTL_STEP_LITE_POOL_BACKWARD:
    return TINYTL_WORK_LITE_RESIZE;
  case TINYTL_STEP_LITE_BACKWARD:
    return TINYTL_WORK_LITE_CONV;
  case TINYTL_STEP_SHORTCUT_BACKWARD:
  case TINYTL_STEP_EPILOGUE_BACKWARD:
    return TINYTL_WORK_EPILOGUE;
  case TINYTL_STEP_POOL:
  case TINYTL_STEP_HEAD:
  case TINYTL_STEP_POOL_BACKWARD:
    return TINYTL_WORK_HEAD;
  }
  return TINYTL_WORK_OTHER;
}

tinytl_direction tinytl_step_direction(const tinytl_step *step) {
  return step->kind < TINYTL_STEP_POOL_BACKWARD ? TINYTL_FORWARD : TINYTL_BACKWARD;
}

/* ---- Arithmetic ---------------------------------------------------------------------------- */

static uint64_t block_macs(const tinytl_network *network, const tinytl_step *step) {
  const bool expands = step->expand >= 0;
  const bool backward = step->kind == TINYTL_STEP_BLOCK_BACKWARD;
  const uint64_t macs = tinytl_conv_macs(&network->conv[step->index]) +
                        tinytl_conv_macs(&network->conv[step->index - 1]);
  /* Backward goes through the layer that widens only where the block's input is reached. */
  if (!expands || (backward && step->x < 0)) return macs;
  return macs + tinytl_conv_macs(&network->conv[step->expand]);
}

static void add_lite_backward(const tinytl_program *program, const tinytl_network *network,
                              const tinytl_step *step, tinytl_macs macs) {
  const tinytl_lite_conv *lite = &network->lite_conv[step->index];
  const uint64_t conv = tinytl_conv_macs(&lite->conv),
                 pointwise = tinytl_conv_macs(&lite->pointwise);
  macs[TINYTL_WORK_LITE_CONV][TINYTL_BACKWARD] += pointwise + (step->x >= 0 ? conv : 0);
  if (program->trains_lite) macs[TINYTL_WORK_LITE_WEIGHT][TINYTL_BACKWARD] += conv + pointwise;
}

void tinytl_program_add_macs(const tinytl_program *program, const tinytl_network *network,
                             tinytl_macs macs) {
  const uint64_t classifier = (uint64_t)network->n_features * (uint64_t)network->n_classes;
  for (int s = 0; s < program->n_steps; s++) {
    const tinytl_step *step = &program->steps[s];
    const tinytl_direction direction = tinytl_step_direction(step);
    const tinytl_work work = tinytl_step_work(network, step);
    if (step->kind == TINYTL_STEP_CONV || step->kind == TINYTL_STEP_CONV_BACKWARD ||
        step->kind == TINYTL_STEP_WEIGHT_BACKWARD) {
      macs[work][direction] += tinytl_conv_macs(&network->conv[step->index]);
    } else if (work == TINYTL_WORK_BLOCK) {
      macs[work][direction] += block_macs(network, step);
    } else if (step->kind == TINYTL_STEP_LITE) {
      const tinytl_lite_conv *lite = &network->lite_conv[step->index];
      macs[TINYTL_WORK_LITE_CONV][direction] +=
          tinytl_conv_macs(&lite->conv) + tinytl_conv_macs(&lite->pointwise);
    } else if (step->kind == TINYTL_STEP_LITE_BACKWARD) {
      add_lite_backward(program, network, step, macs);
    } else if (step->kind == TINYTL_STEP_HEAD) {
      macs[work][TINYTL_FORWARD] += classifier;
      if (program->trains) macs[work][TINYTL_BACKWARD] += classifier;
      if (program->d_features >= 0) macs[work][TINYTL_BACKWARD] += classifier;
    }
  }
}

uint64_t tinytl_program_macs(const tinytl_program *program, const tinytl_network *network) {
  tinytl_macs macs = {{0}};
  uint64_t sum = 0;
  tinytl_program_add_macs(program, network, macs);
  for (int work = 0; work < TINYTL_N_WORKS; work++)
    sum += macs[work][TINYTL_FORWARD] + macs[work][TINYTL_BACKWARD];
  return sum;
}
