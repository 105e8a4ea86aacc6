/* Building the list of steps and planning their buffers. */
#include "train/program.h"

#include <stdlib.h>
#include <string.h>

enum {
  /* A layer has at most a convolution forward, a shortcut, an epilogue and a convolution backward;
   * a module three steps; pool and head three. */
  MAX_STEPS = TINYTL_MAX_LAYERS * 4 + TINYTL_MAX_LAYERS / 2 * 3 + 3,
  MAX_BUFFERS = TINYTL_MAX_LAYERS * 6 + TINYTL_MAX_LAYERS / 2 * 14 + 8
};

typedef struct builder {
  const tinytl_network *network;
  const tinytl_kernels *kernels;
  tinytl_program *program;
  bool overflow;
  int output[TINYTL_MAX_LAYERS]; /* buffer of the layer's final output */
  int mask[TINYTL_MAX_LAYERS];
  int gradient[TINYTL_MAX_LAYERS]; /* buffer of the gradient of that output; -1: none yet */
  bool trains_bias, trains_lite;
  bool reached[TINYTL_MAX_LAYERS]; /* something trained lies at the layer's output or before it */
} builder;

/* ---- Buffers ------------------------------------------------------------------------------ */

/* The step that is being built. */
static int now(const builder *b) {
  return b->program->n_steps;
}

static int new_buffer(builder *b, size_t n_pixels, size_t channels, size_t element_nbytes) {
  tinytl_program *program = b->program;
  size_t nbytes;
  if (!tinytl_size_mul(n_pixels, channels, &nbytes) ||
      !tinytl_size_mul(nbytes, element_nbytes, &nbytes)) {
    b->overflow = true;
    nbytes = 0;
  }
  program->buffers[program->n_buffers] =
      (tinytl_buffer){.nbytes = nbytes, .first_use = now(b), .last_use = now(b)};
  return program->n_buffers++;
}

static int new_map(builder *b, int n_pixels, int channels) {
  return new_buffer(b, (size_t)n_pixels, (size_t)channels, sizeof(float));
}

static int new_scratch(builder *b, size_t nbytes) {
  return nbytes > 0 ? new_buffer(b, nbytes, 1, 1) : -1;
}

static void use(builder *b, int buffer) {
  if (buffer >= 0) b->program->buffers[buffer].last_use = now(b);
}

/* The buffers of a step must have been made or used at now(): a step ends here. */
static void end_step(builder *b, tinytl_step step) {
  use(b, step.x);
  use(b, step.y);
  use(b, step.residual);
  use(b, step.mask);
  b->program->steps[b->program->n_steps++] = step;
}

/* ---- Forward ------------------------------------------------------------------------------ */

static void build_conv(builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  const tinytl_layer *layer = &b->network->backbone->arch.layers[i];
  const int n_pixels = tinytl_conv_n_pixels(conv);
  b->output[i] = new_map(b, n_pixels, conv->out_c);
  b->mask[i] = -1;
  if (b->reached[i] && layer->act != TINYTL_ACT_NONE)
    b->mask[i] = new_buffer(b, (size_t)n_pixels, ((size_t)conv->out_c + 7) / 8, 1);
  end_step(b,
           (tinytl_step){.kind = TINYTL_STEP_CONV,
                         .index = i,
                         .x = i > 0 ? b->output[i - 1] : -1,
                         .y = b->output[i],
                         .residual = layer->add >= 0 ? b->output[layer->add] : -1,
                         .mask = b->mask[i],
                         .scratch = new_scratch(b, tinytl_conv_forward_scratch(conv, b->kernels))});
}

static void build_lite(builder *b, int m) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &b->network->lite_conv[m].pointwise;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  const int n_pixels = tinytl_conv_n_pixels(conv);
  tinytl_lite_buffers *lite = &b->program->lite[m];
  lite->pooled = new_map(b, conv->in_h * conv->in_w, conv->in_c);
  lite->x_hat1 = new_map(b, n_pixels, conv->out_c);
  lite->rstd1 = new_map(b, 1, tinytl_group_norm_n_groups(conv->out_c));
  lite->relu = new_map(b, n_pixels, conv->out_c);
  lite->x_hat2 = new_map(b, n_pixels, pointwise->out_c);
  lite->rstd2 = new_map(b, 1, tinytl_group_norm_n_groups(pointwise->out_c));
  lite->out = new_map(b, n_pixels, pointwise->out_c);
  const size_t scratch = tinytl_size_max(tinytl_conv_forward_scratch(conv, b->kernels),
                                         tinytl_conv_forward_scratch(pointwise, b->kernels));
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE,
                            .index = m,
                            .x = b->output[block->first - 1],
                            .y = b->output[block->last],
                            .residual = -1,
                            .mask = -1,
                            .scratch = new_scratch(b, scratch)});
}

static void build_forward(builder *b, tinytl_goal goal) {
  const tinytl_network *network = b->network;
  const int n_layers = network->backbone->arch.n_layers;
  for (int i = 0; i < n_layers; i++) {
    build_conv(b, i);
    if (network->lite_after[i] >= 0) build_lite(b, network->lite_after[i]);
  }
  b->program->features = new_map(b, 1, network->n_features);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_POOL,
                            .x = b->output[n_layers - 1],
                            .y = b->program->features,
                            .residual = -1,
                            .mask = -1,
                            .scratch = -1});
  if (goal == TINYTL_GOAL_FEATURES) return;
  b->program->logits = new_map(b, 1, network->n_classes);
  b->program->d_features = -1;
  if (b->reached[n_layers - 1]) b->program->d_features = new_map(b, 1, network->n_features);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_HEAD,
                            .x = b->program->features,
                            .y = b->program->logits,
                            .residual = b->program->d_features,
                            .mask = -1,
                            .scratch = -1});
}

/* ---- Backward ----------------------------------------------------------------------------- */

/* reached[i]: see builder. */
static void find_reached(builder *b) {
  const tinytl_network *network = b->network;
  bool reached = false;
  for (int i = 0; i < network->backbone->arch.n_layers; i++) {
    reached = reached || b->trains_bias || (b->trains_lite && network->lite_after[i] >= 0);
    b->reached[i] = reached;
  }
}

/* Makes the gradient of output i exist at this step; true if it held something before. */
static bool open_gradient(builder *b, int i) {
  if (b->gradient[i] >= 0) return true;
  const tinytl_conv *conv = &b->network->conv[i];
  b->gradient[i] = new_map(b, tinytl_conv_n_pixels(conv), conv->out_c);
  return false;
}

static void build_lite_backward(builder *b, int m, int block_last) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &b->network->lite_conv[m].pointwise;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  const int n_pixels = tinytl_conv_n_pixels(conv);
  tinytl_lite_buffers *lite = &b->program->lite[m];
  lite->d_out = new_map(b, n_pixels, pointwise->out_c);
  lite->relu_again = b->trains_lite ? new_map(b, n_pixels, conv->out_c) : -1;
  lite->d_mid = new_map(b, n_pixels, conv->out_c);
  lite->d_pooled = -1;
  if (b->reached[block->first - 1])
    lite->d_pooled = new_map(b, conv->in_h * conv->in_w, conv->in_c);
  use(b, lite->x_hat1);
  use(b, lite->rstd1);
  use(b, lite->x_hat2);
  use(b, lite->rstd2);
  size_t scratch = tinytl_size_max(tinytl_conv_backward_input_scratch(conv, b->kernels),
                                   tinytl_conv_backward_input_scratch(pointwise, b->kernels));
  if (b->trains_lite) {
    use(b, lite->pooled);
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(conv, b->kernels));
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(pointwise, b->kernels));
  }
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE_BACKWARD,
                            .index = m,
                            .x = lite->d_pooled,
                            .y = b->gradient[block_last],
                            .residual = -1,
                            .mask = -1,
                            .scratch = new_scratch(b, scratch)});
}

/* Through the layer's activation and bias, in place. */
static void build_epilogue_backward(builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  if (b->mask[i] < 0 && !b->trains_bias) return;
  const size_t scratch = tinytl_epilogue_backward_scratch(tinytl_conv_n_pixels(conv), conv->out_c);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_EPILOGUE_BACKWARD,
                            .index = i,
                            .x = -1,
                            .y = b->gradient[i],
                            .residual = -1,
                            .mask = b->mask[i],
                            .scratch = new_scratch(b, scratch)});
}

static void build_conv_backward(builder *b, int i) {
  const size_t scratch = tinytl_conv_backward_input_scratch(&b->network->conv[i], b->kernels);
  const bool accumulate = open_gradient(b, i - 1);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_CONV_BACKWARD,
                            .index = i,
                            .x = b->gradient[i - 1],
                            .y = b->gradient[i],
                            .residual = -1,
                            .mask = -1,
                            .scratch = new_scratch(b, scratch),
                            .accumulate = accumulate});
}

/* Hands the gradient of output i on to the shortcut's source as it is, before the activation masks
 * it in place. */
static void build_shortcut_backward(builder *b, int i, int source) {
  const bool accumulate = open_gradient(b, source);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_SHORTCUT_BACKWARD,
                            .index = i,
                            .x = b->gradient[source],
                            .y = b->gradient[i],
                            .residual = -1,
                            .mask = -1,
                            .scratch = -1,
                            .accumulate = accumulate});
}

static void build_layer_backward(builder *b, int i) {
  const tinytl_network *network = b->network;
  const int source = network->backbone->arch.layers[i].add;
  const bool shortcut = source >= 0 && b->reached[source];
  /* Without a mask the gradient is still whole at the end of the layer, and its buffer becomes the
   * source's: nothing is copied. Not where the convolution itself writes to the source's. */
  const bool hand_over = shortcut && source < i - 1 && b->mask[i] < 0 && b->gradient[source] < 0;
  if (shortcut && !hand_over) build_shortcut_backward(b, i, source);

  const int ending = network->lite_after[i], beginning = network->lite_before[i];
  if (ending >= 0) build_lite_backward(b, ending, i);
  build_epilogue_backward(b, i);
  if (i > 0 && b->reached[i - 1]) build_conv_backward(b, i);
  if (hand_over) b->gradient[source] = b->gradient[i];
  if (beginning >= 0 && b->program->lite[beginning].d_pooled >= 0)
    end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE_POOL_BACKWARD,
                              .index = beginning,
                              .x = b->gradient[i - 1],
                              .y = b->program->lite[beginning].d_pooled,
                              .residual = -1,
                              .mask = -1,
                              .scratch = -1});
}

static void build_backward(builder *b) {
  const int last = b->network->backbone->arch.n_layers - 1;
  if (!b->reached[last]) return;
  open_gradient(b, last);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_POOL_BACKWARD,
                            .x = b->gradient[last],
                            .y = b->program->d_features,
                            .residual = -1,
                            .mask = -1,
                            .scratch = -1});
  for (int i = last; i >= 0 && b->reached[i]; i--) build_layer_backward(b, i);
}

/* ---- Program ------------------------------------------------------------------------------ */

tinytl_status tinytl_program_create(const tinytl_network *network, const tinytl_params *params,
                                    tinytl_goal goal, const tinytl_kernels *kernels,
                                    tinytl_program **program, tinytl_error *error) {
  tinytl_program *made = calloc(1, sizeof *made);
  builder *b = calloc(1, sizeof *b);
  if (made) {
    made->steps = calloc(MAX_STEPS, sizeof *made->steps);
    made->buffers = calloc(MAX_BUFFERS, sizeof *made->buffers);
  }
  tinytl_status status = TINYTL_OK;
  if (!b || !made || !made->steps || !made->buffers) {
    status = tinytl_fail_memory(error, MAX_BUFFERS * sizeof *made->buffers);
  } else {
    b->network = network;
    b->kernels = kernels;
    b->program = made;
    memset(b->gradient, -1, sizeof b->gradient);
    if (goal == TINYTL_GOAL_TRAIN) {
      b->trains_bias = tinytl_method_trains_bias(params->method);
      b->trains_lite = tinytl_method_trains_lite(params->method);
      find_reached(b);
    }
    build_forward(b, goal);
    if (goal == TINYTL_GOAL_TRAIN) build_backward(b);
    /* What the caller reads after a run lives to the end. */
    made->buffers[goal == TINYTL_GOAL_FEATURES ? made->features : made->logits].last_use = now(b);
    if (b->overflow)
      status = tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT, "the maps overflow the address space");
    else
      status = tinytl_arena_plan(made->buffers, made->n_buffers, &made->nbytes, error);
  }
  free(b);
  if (status != TINYTL_OK)
    tinytl_program_free(made);
  else
    *program = made;
  return status;
}

void tinytl_program_free(tinytl_program *program) {
  if (!program) return;
  free(program->steps);
  free(program->buffers);
  free(program);
}
