/* Building the list of steps and planning their buffers. */
#include "train/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/guard.h"

typedef struct builder {
  const tinytl_network *network;
  const tinytl_kernels *kernels;
  tinytl_program *program;
  bool overflow;
  int output[TINYTL_MAX_LAYERS]; /* buffer of the layer's final output */
  int mask[TINYTL_MAX_LAYERS];
  int gradient[TINYTL_MAX_LAYERS];    /* buffer of the gradient of that output; -1: none yet */
  int fused_last[TINYTL_MAX_LAYERS];  /* last layer of the fused block that begins here; -1: none */
  int fused_first[TINYTL_MAX_LAYERS]; /* first layer of the fused block that ends here; -1: none */
  bool trains_bias, trains_lite;
  bool reached[TINYTL_MAX_LAYERS]; /* something trained lies at the layer's output or before it */
} builder;

/* ---- Buffers ------------------------------------------------------------------------------ */

/* The step that is being built. */
static int now(const builder *b) {
  return b->program->n_steps;
}

static int new_buffer(builder *b, tinytl_purpose purpose, size_t n_pixels, size_t channels,
                      size_t element_nbytes) {
  tinytl_program *program = b->program;
  size_t nbytes;
  if (!tinytl_size_mul(n_pixels, channels, &nbytes) ||
      !tinytl_size_mul(nbytes, element_nbytes, &nbytes)) {
    b->overflow = true;
    nbytes = 0;
  }
  program->buffers[program->n_buffers] =
      (tinytl_buffer){.nbytes = nbytes, .first_use = now(b), .last_use = now(b)};
  program->purposes[program->n_buffers] = purpose;
  return program->n_buffers++;
}

static int new_map(builder *b, int n_pixels, int channels) {
  return new_buffer(b, TINYTL_PURPOSE_MAP, (size_t)n_pixels, (size_t)channels, sizeof(float));
}

static int new_saved(builder *b, int n_pixels, int channels) {
  return new_buffer(b, TINYTL_PURPOSE_SAVED, (size_t)n_pixels, (size_t)channels, sizeof(float));
}

/* One bit an element of layer i's output, where backward will ask for it. */
static int new_mask(builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  if (!b->reached[i] || b->network->backbone->arch.layers[i].act == TINYTL_ACT_NONE) return -1;
  return new_buffer(b, TINYTL_PURPOSE_SAVED, (size_t)tinytl_conv_n_pixels(conv),
                    ((size_t)conv->out_c + 7) / 8, 1);
}

static int new_scratch(builder *b, size_t nbytes) {
  return nbytes > 0 ? new_buffer(b, TINYTL_PURPOSE_SCRATCH, nbytes, 1, 1) : -1;
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
  use(b, step.mask_expand);
  b->program->steps[b->program->n_steps++] = step;
}

/* ---- What is reached, what is fused -------------------------------------------------------- */

/* reached[i]: see builder. */
static void find_reached(builder *b) {
  const tinytl_network *network = b->network;
  bool reached = false;
  for (int i = 0; i < network->backbone->arch.n_layers; i++) {
    reached = reached || b->trains_bias || (b->trains_lite && network->lite_after[i] >= 0);
    b->reached[i] = reached;
  }
}

/* The layer from which on block k can run as one step: its first, or the network's first before a
 * block that widens nothing. */
static int fusable_from(const builder *b, int k) {
  const tinytl_network *network = b->network;
  const tinytl_block *block = &network->backbone->arch.blocks[k];
  const bool widens = block->last - block->first == 2;
  if (widens || block->first != 1 || network->lite_before[1] >= 0) return block->first;
  for (int i = 1; i < network->backbone->arch.n_layers; i++)
    if (network->backbone->arch.layers[i].add == 0) return block->first;
  return 0;
}

/* The layer of layers [first, last] that widens; -1: none. */
static int expand_of(int first, int last) {
  return first < last - 1 ? first : -1;
}

static tinytl_fused_block fused_shape(const builder *b, int first, int last) {
  const tinytl_conv *conv = b->network->conv;
  const int expand = expand_of(first, last);
  return (tinytl_fused_block){.expand.conv = expand >= 0 ? &conv[expand] : NULL,
                              .depthwise.conv = &conv[last - 1],
                              .project.conv = &conv[last]};
}

/* Strips save memory where what they need themselves is less than the map that they save: not in
 * late blocks, whose weights are packed whole. */
static bool is_worth_fusing(const builder *b, int first, int last, size_t fuse_above) {
  const tinytl_conv *widest = &b->network->conv[first];
  const size_t pixel = (size_t)widest->out_c * sizeof(float);
  const size_t map = (size_t)tinytl_conv_n_pixels(widest) * pixel;
  const tinytl_fused_block shape = fused_shape(b, first, last);
  return map > fuse_above &&
         (fuse_above == 0 || map > tinytl_fused_block_forward_scratch(&shape, b->kernels));
}

static void find_fused(builder *b, size_t fuse_above) {
  const tinytl_arch *arch = &b->network->backbone->arch;
  memset(b->fused_last, -1, sizeof b->fused_last);
  memset(b->fused_first, -1, sizeof b->fused_first);
  for (int k = 0; k < arch->n_blocks; k++) {
    const int first = fusable_from(b, k), last = arch->blocks[k].last;
    if (!is_worth_fusing(b, first, last, fuse_above)) continue;
    b->fused_last[first] = last;
    b->fused_first[last] = first;
  }
}

/* ---- Forward ------------------------------------------------------------------------------ */

static void build_conv(builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  const int add = b->network->backbone->arch.layers[i].add;
  b->output[i] = new_map(b, tinytl_conv_n_pixels(conv), conv->out_c);
  b->mask[i] = new_mask(b, i);
  end_step(b,
           (tinytl_step){.kind = TINYTL_STEP_CONV,
                         .index = i,
                         .x = i > 0 ? b->output[i - 1] : -1,
                         .y = b->output[i],
                         .residual = add >= 0 ? b->output[add] : -1,
                         .mask = b->mask[i],
                         .mask_expand = -1,
                         .scratch = new_scratch(b, tinytl_conv_forward_scratch(conv, b->kernels))});
}

static void build_block(builder *b, int first, int last) {
  const tinytl_conv *project = &b->network->conv[last];
  const int add = b->network->backbone->arch.layers[last].add, expand = expand_of(first, last);
  const tinytl_fused_block shape = fused_shape(b, first, last);
  for (int i = first; i < last; i++) b->mask[i] = new_mask(b, i);
  b->mask[last] = -1;
  b->output[last] = new_map(b, tinytl_conv_n_pixels(project), project->out_c);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_BLOCK,
                            .index = last,
                            .x = first > 0 ? b->output[first - 1] : -1,
                            .y = b->output[last],
                            .residual = add >= 0 ? b->output[add] : -1,
                            .mask = b->mask[last - 1],
                            .expand = expand,
                            .mask_expand = expand >= 0 ? b->mask[expand] : -1,
                            .scratch = new_scratch(
                                b, tinytl_fused_block_forward_scratch(&shape, b->kernels))});
}

/* Maps of module m behind its pooled input; `make`: new_saved where backward reads them. */
static void new_lite_maps(builder *b, int m, int (*make)(builder *, int, int),
                          tinytl_lite_maps *maps) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const int n_pixels = tinytl_conv_n_pixels(conv), out_c = b->network->lite[m].out_c;
  maps->x_hat1 = make(b, n_pixels, conv->out_c);
  maps->rstd1 = make(b, 1, tinytl_group_norm_n_groups(conv->out_c));
  maps->relu = new_map(b, n_pixels, conv->out_c);
  maps->x_hat2 = make(b, n_pixels, out_c);
  maps->rstd2 = make(b, 1, tinytl_group_norm_n_groups(out_c));
}

static size_t lite_forward_scratch(const builder *b, int m) {
  const tinytl_lite_conv *lite = &b->network->lite_conv[m];
  return tinytl_size_max(tinytl_conv_forward_scratch(&lite->conv, b->kernels),
                         tinytl_conv_forward_scratch(&lite->pointwise, b->kernels));
}

static void build_lite(builder *b, int m) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  tinytl_lite_buffers *lite = &b->program->lite[m];
  const bool backward = b->reached[block->last], recompute = b->program->recompute;
  const bool keeps_input = backward && (b->trains_lite || recompute);
  const int n_pooled = conv->in_h * conv->in_w;
  lite->forward.pooled =
      keeps_input ? new_saved(b, n_pooled, conv->in_c) : new_map(b, n_pooled, conv->in_c);
  new_lite_maps(b, m, backward && !recompute ? new_saved : new_map, &lite->forward);
  lite->out = new_map(b, tinytl_conv_n_pixels(conv), b->network->lite[m].out_c);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE,
                            .index = m,
                            .x = b->output[block->first - 1],
                            .y = b->output[block->last],
                            .residual = -1,
                            .mask = -1,
                            .mask_expand = -1,
                            .scratch = new_scratch(b, lite_forward_scratch(b, m))});
}

static void build_forward(builder *b, tinytl_goal goal) {
  const tinytl_network *network = b->network;
  const int n_layers = network->backbone->arch.n_layers;
  for (int i = 0; i < n_layers; i++) {
    if (b->fused_last[i] >= 0) {
      const int first = i;
      i = b->fused_last[i];
      build_block(b, first, i);
    } else {
      build_conv(b, i);
    }
    if (network->lite_after[i] >= 0) build_lite(b, network->lite_after[i]);
  }
  b->program->features = new_map(b, 1, network->n_features);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_POOL,
                            .x = b->output[n_layers - 1],
                            .y = b->program->features,
                            .residual = -1,
                            .mask = -1,
                            .mask_expand = -1,
                            .scratch = -1});
  if (goal == TINYTL_GOAL_FEATURES) return;
  b->program->head = now(b);
  b->program->logits = new_map(b, 1, network->n_classes);
  b->program->d_features = -1;
  if (b->reached[n_layers - 1]) b->program->d_features = new_map(b, 1, network->n_features);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_HEAD,
                            .x = b->program->features,
                            .y = b->program->logits,
                            .residual = b->program->d_features,
                            .mask = -1,
                            .mask_expand = -1,
                            .scratch = -1});
}

/* ---- Backward ----------------------------------------------------------------------------- */

/* Makes the gradient of output i exist at this step; true if it held something before. */
static bool open_gradient(builder *b, int i) {
  if (b->gradient[i] >= 0) return true;
  const tinytl_conv *conv = &b->network->conv[i];
  b->gradient[i] = new_map(b, tinytl_conv_n_pixels(conv), conv->out_c);
  return false;
}

static void use_lite_maps(builder *b, const tinytl_lite_maps *maps) {
  use(b, maps->x_hat1);
  use(b, maps->rstd1);
  use(b, maps->x_hat2);
  use(b, maps->rstd2);
}

static void build_lite_backward(builder *b, int m, int block_last) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &b->network->lite_conv[m].pointwise;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  const int n_pixels = tinytl_conv_n_pixels(conv);
  tinytl_lite_buffers *lite = &b->program->lite[m];
  lite->d_out = new_map(b, n_pixels, pointwise->out_c);
  lite->d_mid = new_map(b, n_pixels, conv->out_c);
  lite->d_pooled = -1;
  if (b->reached[block->first - 1])
    lite->d_pooled = new_map(b, conv->in_h * conv->in_w, conv->in_c);
  lite->backward = lite->forward;
  size_t scratch = tinytl_size_max(tinytl_conv_backward_input_scratch(conv, b->kernels),
                                   tinytl_conv_backward_input_scratch(pointwise, b->kernels));
  if (b->program->recompute) {
    new_lite_maps(b, m, new_map, &lite->backward);
    scratch = tinytl_size_max(scratch, lite_forward_scratch(b, m));
  } else {
    use_lite_maps(b, &lite->backward);
    lite->backward.relu = b->trains_lite ? new_map(b, n_pixels, conv->out_c) : -1;
  }
  if (b->trains_lite || b->program->recompute) use(b, lite->backward.pooled);
  if (b->trains_lite) {
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(conv, b->kernels));
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(pointwise, b->kernels));
  }
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE_BACKWARD,
                            .index = m,
                            .x = lite->d_pooled,
                            .y = b->gradient[block_last],
                            .residual = -1,
                            .mask = -1,
                            .mask_expand = -1,
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
                            .mask_expand = -1,
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
                            .mask_expand = -1,
                            .scratch = new_scratch(b, scratch),
                            .accumulate = accumulate});
}

/* From the gradient of the projection's sum to that of the block's input, where anything before the
 * block is trained. */
static void build_block_backward(builder *b, int first, int last) {
  const tinytl_fused_block shape = fused_shape(b, first, last);
  const bool deeper = first > 0 && b->reached[first - 1];
  const bool accumulate = deeper && open_gradient(b, first - 1);
  const int expand = expand_of(first, last);
  end_step(b, (tinytl_step){.kind = TINYTL_STEP_BLOCK_BACKWARD,
                            .index = last,
                            .x = deeper ? b->gradient[first - 1] : -1,
                            .y = b->gradient[last],
                            .residual = -1,
                            .mask = b->mask[last - 1],
                            .expand = expand,
                            .mask_expand = expand >= 0 ? b->mask[expand] : -1,
                            .scratch = new_scratch(
                                b, tinytl_fused_block_backward_scratch(&shape, b->kernels)),
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
                            .mask_expand = -1,
                            .scratch = -1,
                            .accumulate = accumulate});
}

/* The main branch and what stands beside it, from the output of layer i to that of the layer before
 * the first one that it covers, which is returned. */
static int build_layer_backward(builder *b, int i) {
  const tinytl_network *network = b->network;
  const int first = b->fused_first[i] >= 0 ? b->fused_first[i] : i;
  const int source = network->backbone->arch.layers[i].add;
  const bool shortcut = source >= 0 && b->reached[source];
  /* Without a mask the gradient is still whole at the end of the layer, and its buffer becomes the
   * source's: nothing is copied. Not where the convolution itself writes to the source's. */
  const bool hand_over =
      shortcut && source < first - 1 && b->mask[i] < 0 && b->gradient[source] < 0;
  if (shortcut && !hand_over) build_shortcut_backward(b, i, source);

  const int ending = network->lite_after[i], beginning = network->lite_before[first];
  if (ending >= 0) build_lite_backward(b, ending, i);
  build_epilogue_backward(b, i);
  if (first < i && b->reached[i - 1])
    build_block_backward(b, first, i);
  else if (i > 0 && b->reached[i - 1])
    build_conv_backward(b, i);
  if (hand_over) b->gradient[source] = b->gradient[i];
  if (beginning >= 0 && b->program->lite[beginning].d_pooled >= 0)
    end_step(b, (tinytl_step){.kind = TINYTL_STEP_LITE_POOL_BACKWARD,
                              .index = beginning,
                              .x = b->gradient[first - 1],
                              .y = b->program->lite[beginning].d_pooled,
                              .residual = -1,
                              .mask = -1,
                              .mask_expand = -1,
                              .scratch = -1});
  return first;
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
                            .mask_expand = -1,
                            .scratch = -1});
  for (int i = last; i >= 0 && b->reached[i]; i--) i = build_layer_backward(b, i);
}

/* ---- Program ------------------------------------------------------------------------------ */

static tinytl_status place_buffers(tinytl_program *program, tinytl_error *error) {
  for (int i = 0; i < program->n_buffers; i++) program->buffers[i].nbytes += TINYTL_GUARD_GAP;
  TINYTL_TRY(tinytl_arena_plan(program->buffers, program->n_buffers, &program->nbytes, error));
  for (int i = 0; i < program->n_buffers; i++) program->buffers[i].nbytes -= TINYTL_GUARD_GAP;
  return TINYTL_OK;
}

tinytl_status tinytl_program_create(const tinytl_network *network, const tinytl_params *params,
                                    const tinytl_program_options *options,
                                    const tinytl_kernels *kernels, tinytl_program **program,
                                    tinytl_error *error) {
  const tinytl_goal goal = options->goal;
  /* A layer has at most a convolution forward, a shortcut, an epilogue and a convolution backward,
   * and two maps, a mask and scratch for three of them; a module three steps, ten buffers forward
   * and as many backward; pool and head three. */
  const size_t n_layers = (size_t)network->backbone->arch.n_layers;
  const size_t n_lite = (size_t)network->n_lite;
  const size_t max_steps = n_layers * 4 + n_lite * 3 + 3;
  const size_t max_buffers = n_layers * 6 + n_lite * 20 + 8;
  tinytl_program *made = calloc(1, sizeof *made);
  builder *b = calloc(1, sizeof *b);
  if (made) {
    made->steps = calloc(max_steps, sizeof *made->steps);
    made->buffers = calloc(max_buffers, sizeof *made->buffers);
    made->purposes = calloc(max_buffers, sizeof *made->purposes);
  }
  tinytl_status status = TINYTL_OK;
  if (!b || !made || !made->steps || !made->buffers || !made->purposes) {
    status = tinytl_fail_memory(error, max_buffers * sizeof *made->buffers);
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
    made->trains = goal == TINYTL_GOAL_TRAIN;
    made->trains_lite = b->trains_lite;
    made->recompute = options->recompute;
    find_fused(b, options->fuse_above);
    build_forward(b, goal);
    if (goal == TINYTL_GOAL_FEATURES) made->head = made->n_steps;
    if (goal == TINYTL_GOAL_TRAIN) build_backward(b);
    /* What the caller reads after a run lives to the end. */
    made->buffers[goal == TINYTL_GOAL_FEATURES ? made->features : made->logits].last_use = now(b);
    if (b->overflow)
      status = tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT, "the maps overflow the address space");
    else
      status = place_buffers(made, error);
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
  free(program->purposes);
  free(program);
}

/* ---- The peak ----------------------------------------------------------------------------- */

tinytl_program_peak tinytl_program_find_peak(const tinytl_program *program) {
  tinytl_program_peak peak = {0};
  size_t highest = 0;
  for (int step = 0; step < program->n_steps; step++) {
    size_t nbytes[TINYTL_N_PURPOSES] = {0}, total = 0;
    for (int i = 0; i < program->n_buffers; i++) {
      const tinytl_buffer *buffer = &program->buffers[i];
      if (step < buffer->first_use || step > buffer->last_use) continue;
      nbytes[program->purposes[i]] += buffer->nbytes;
      total += buffer->nbytes;
    }
    if (total <= highest) continue;
    highest = total;
    peak.step = step;
    memcpy(peak.nbytes, nbytes, sizeof nbytes);
  }
  return peak;
}

/* The block that layer i lies in; -1: none. */
static int block_with(const tinytl_arch *arch, int i) {
  for (int k = 0; k < arch->n_blocks; k++)
    if (arch->blocks[k].first <= i && i <= arch->blocks[k].last) return k;
  return -1;
}

void tinytl_program_name_step(const tinytl_program *program, const tinytl_network *network,
                              int step, char *name, size_t size) {
  const tinytl_step *s = &program->steps[step];
  const char *direction = step > program->head ? "backward" : "forward";
  const bool lite = s->kind == TINYTL_STEP_LITE || s->kind == TINYTL_STEP_LITE_BACKWARD ||
                    s->kind == TINYTL_STEP_LITE_POOL_BACKWARD;
  const bool fused = s->kind == TINYTL_STEP_BLOCK || s->kind == TINYTL_STEP_BLOCK_BACKWARD;
  const int block =
      lite ? network->lite[s->index].block : block_with(&network->backbone->arch, s->index);
  if (s->kind == TINYTL_STEP_HEAD)
    snprintf(name, size, "classifier");
  else if (s->kind == TINYTL_STEP_POOL || s->kind == TINYTL_STEP_POOL_BACKWARD)
    snprintf(name, size, "global pool, %s", direction);
  else if (lite)
    snprintf(name, size, "lite module of block %d, %s", block, direction);
  else if (fused)
    snprintf(name, size, "block %d, strip by strip, %s", block, direction);
  else if (block >= 0)
    snprintf(name, size, "layer %d in block %d, %s", s->index, block, direction);
  else
    snprintf(name, size, "layer %d, %s", s->index, direction);
}
