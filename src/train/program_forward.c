/* Steps of the forward pass and the head. */
#include <string.h>

#include "train/builder.h"

/* ---- What is reached, what is fused -------------------------------------------------------- */

static void find_reached(tinytl_builder *b) {
  const tinytl_network *network = b->network;
  bool reached = false;
  for (int i = 0; i < network->backbone->arch.n_layers; i++) {
    reached = reached || b->trains_bias || b->trains_conv ||
              (b->trains_lite && network->lite_after[i] >= 0);
    b->reached[i] = reached;
  }
}

/* The layer from which on block k can run as one step: its first, or the network's first before a
 * block that widens nothing. */
static int fusable_from(const tinytl_builder *b, int k) {
  const tinytl_network *network = b->network;
  const tinytl_block *block = &network->backbone->arch.blocks[k];
  const bool widens = block->last - block->first == 2;
  if (widens || block->first != 1 || network->lite_before[1] >= 0) return block->first;
  for (int i = 1; i < network->backbone->arch.n_layers; i++)
    if (network->backbone->arch.layers[i].add == 0) return block->first;
  return 0;
}

static size_t widened_nbytes(const tinytl_builder *b, int first) {
  const tinytl_conv *conv = &b->network->conv[first];
  return (size_t)tinytl_conv_n_pixels(conv) * (size_t)conv->out_c * sizeof(float);
}

/* Below LARGE maps stay in the second-level cache anyway, and whole stages share better among the
 * threads; but the largest maps of a small network decide what it takes, while below SMALL there is
 * nothing to save. */
static size_t large_nbytes(const tinytl_builder *b) {
  enum { LARGE = 768 * 1024, SMALL = 128 * 1024, PART_OF_LARGEST = 2 };
  const tinytl_arch *arch = &b->network->backbone->arch;
  size_t largest = 0;
  for (int k = 0; k < arch->n_blocks; k++)
    largest = tinytl_size_max(largest, widened_nbytes(b, fusable_from(b, k)));
  const size_t part = largest / PART_OF_LARGEST;
  return part < SMALL ? SMALL : part < LARGE ? part : LARGE;
}

/* Rows save memory where what they need themselves is less than the map that they save: not in
 * late blocks, whose weights are packed whole. The same ones whatever the threads, as sums differ
 * by it in the last bits: those that save it for two. */
static bool saves_memory(const tinytl_builder *b, int first, int last) {
  tinytl_fused_block shape = tinytl_builder_fused_shape(b, first, last);
  shape.n_threads = 2;
  return widened_nbytes(b, first) > tinytl_fused_block_forward_scratch(&shape, b->kernels);
}

static void find_fused(tinytl_builder *b, tinytl_fusing fusing) {
  const tinytl_arch *arch = &b->network->backbone->arch;
  const size_t large = large_nbytes(b);
  memset(b->fused_last, -1, sizeof b->fused_last);
  memset(b->fused_first, -1, sizeof b->fused_first);
  for (int k = 0; k < arch->n_blocks && fusing != TINYTL_FUSE_NONE; k++) {
    const int first = fusable_from(b, k), last = arch->blocks[k].last;
    if (fusing == TINYTL_FUSE_LARGE &&
        (widened_nbytes(b, first) <= large || !saves_memory(b, first, last)))
      continue;
    b->fused_last[first] = last;
    b->fused_first[last] = first;
  }
}

/* What backward needs inside a block it computes again, from the block's input: kept are the maps
 * between blocks alone (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016). */
static void find_again(tinytl_builder *b) {
  const tinytl_arch *arch = &b->network->backbone->arch;
  memset(b->again_first, -1, sizeof b->again_first);
  for (int k = 0; b->trains_conv && k < arch->n_blocks; k++) {
    const int first = fusable_from(b, k), last = arch->blocks[k].last;
    b->again_first[last] = first;
    for (int i = first; i < last; i++) b->inside[i] = true;
  }
}

/* ---- Forward ------------------------------------------------------------------------------ */

/* Layer i's output, which is the next convolution's input. */
static int new_output(tinytl_builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  const bool last = i + 1 == b->network->backbone->arch.n_layers;
  const bool keeps = b->trains_conv && !b->inside[i] && !last;
  return (keeps ? tinytl_builder_saved : tinytl_builder_map)(b, tinytl_conv_n_pixels(conv),
                                                             conv->out_c);
}

static int new_mask(tinytl_builder *b, int i) {
  return b->inside[i] ? -1 : tinytl_builder_mask(b, i, TINYTL_PURPOSE_SAVED);
}

static void build_conv(tinytl_builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  const int add = b->network->backbone->arch.layers[i].add;
  b->output[i] = new_output(b, i);
  b->mask[i] = new_mask(b, i);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_CONV, i);
  step.x = i > 0 ? b->output[i - 1] : -1;
  step.y = b->output[i];
  step.residual = add >= 0 ? b->output[add] : -1;
  step.mask = b->mask[i];
  step.scratch = tinytl_builder_scratch(b, tinytl_conv_forward_scratch(conv, b->kernels));
  tinytl_builder_end_step(b, step);
}

static void build_block(tinytl_builder *b, int first, int last) {
  const int add = b->network->backbone->arch.layers[last].add,
            expand = tinytl_builder_expand_of(first, last);
  const tinytl_fused_block shape = tinytl_builder_fused_shape(b, first, last);
  for (int i = first; i < last; i++) b->mask[i] = new_mask(b, i);
  b->mask[last] = -1;
  b->output[last] = new_output(b, last);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_BLOCK, last);
  step.x = first > 0 ? b->output[first - 1] : -1;
  step.y = b->output[last];
  step.residual = add >= 0 ? b->output[add] : -1;
  step.mask = b->mask[last - 1];
  step.expand = expand;
  step.mask_expand = expand >= 0 ? b->mask[expand] : -1;
  step.scratch = tinytl_builder_scratch(b, tinytl_fused_block_forward_scratch(&shape, b->kernels));
  tinytl_builder_end_step(b, step);
}

static void build_lite(tinytl_builder *b, int m) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  tinytl_lite_buffers *lite = &b->program->lite[m];
  const bool backward = b->reached[block->last], recompute = b->program->recompute;
  const bool keeps_input = backward && (b->trains_lite || recompute);
  const int n_pooled = conv->in_h * conv->in_w;
  lite->forward.pooled = keeps_input ? tinytl_builder_saved(b, n_pooled, conv->in_c)
                                     : tinytl_builder_map(b, n_pooled, conv->in_c);
  tinytl_builder_lite_maps(b, m, backward && !recompute ? tinytl_builder_saved : tinytl_builder_map,
                           &lite->forward);
  lite->out = tinytl_builder_map(b, tinytl_conv_n_pixels(conv), b->network->lite[m].out_c);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_LITE, m);
  step.x = b->output[block->first - 1];
  step.y = b->output[block->last];
  step.scratch = tinytl_builder_scratch(b, tinytl_builder_lite_scratch(b, m));
  tinytl_builder_end_step(b, step);
}

static void build_pool(tinytl_builder *b) {
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_POOL, 0);
  b->program->features = tinytl_builder_map(b, 1, b->network->n_features);
  step.x = b->output[b->network->backbone->arch.n_layers - 1];
  step.y = b->program->features;
  tinytl_builder_end_step(b, step);
}

static void build_head(tinytl_builder *b) {
  const tinytl_network *network = b->network;
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_HEAD, 0);
  b->program->head = b->program->n_steps;
  b->program->logits = tinytl_builder_map(b, 1, network->n_classes);
  b->program->d_features = -1;
  if (b->reached[network->backbone->arch.n_layers - 1])
    b->program->d_features = tinytl_builder_map(b, 1, network->n_features);
  step.x = b->program->features;
  step.y = b->program->logits;
  step.residual = b->program->d_features;
  tinytl_builder_end_step(b, step);
}

void tinytl_build_forward(tinytl_builder *b, const tinytl_program_options *options) {
  const tinytl_network *network = b->network;
  const int n_layers = network->backbone->arch.n_layers;
  if (options->goal == TINYTL_GOAL_TRAIN) find_reached(b);
  find_fused(b, options->fusing);
  find_again(b);
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
  build_pool(b);
  if (options->goal != TINYTL_GOAL_FEATURES) build_head(b);
}
