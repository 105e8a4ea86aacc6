/* Steps of the backward pass. */
#include "train/builder.h"

/* Makes the gradient of output i exist at this step; true if it held something before. */
static bool open_gradient(tinytl_builder *b, int i) {
  if (b->gradient[i] >= 0) return true;
  const tinytl_conv *conv = &b->network->conv[i];
  b->gradient[i] = tinytl_builder_map(b, tinytl_conv_n_pixels(conv), conv->out_c);
  return false;
}

static void use_lite_maps(tinytl_builder *b, const tinytl_lite_maps *maps) {
  tinytl_builder_use(b, maps->x_hat1);
  tinytl_builder_use(b, maps->rstd1);
  tinytl_builder_use(b, maps->x_hat2);
  tinytl_builder_use(b, maps->rstd2);
}

static void build_lite_backward(tinytl_builder *b, int m, int block_last) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const tinytl_conv *pointwise = &b->network->lite_conv[m].pointwise;
  const tinytl_block *block = &b->network->backbone->arch.blocks[b->network->lite[m].block];
  const int n_pixels = tinytl_conv_n_pixels(conv);
  tinytl_lite_buffers *lite = &b->program->lite[m];
  lite->d_out = tinytl_builder_map(b, n_pixels, pointwise->out_c);
  lite->d_mid = tinytl_builder_map(b, n_pixels, conv->out_c);
  lite->d_pooled = -1;
  if (b->reached[block->first - 1])
    lite->d_pooled = tinytl_builder_map(b, conv->in_h * conv->in_w, conv->in_c);
  lite->backward = lite->forward;
  size_t scratch = tinytl_size_max(tinytl_conv_backward_input_scratch(conv, b->kernels),
                                   tinytl_conv_backward_input_scratch(pointwise, b->kernels));
  if (b->program->recompute) {
    tinytl_builder_lite_maps(b, m, tinytl_builder_map, &lite->backward);
    scratch = tinytl_size_max(scratch, tinytl_builder_lite_scratch(b, m));
  } else {
    use_lite_maps(b, &lite->backward);
    lite->backward.relu = b->trains_lite ? tinytl_builder_map(b, n_pixels, conv->out_c) : -1;
  }
  if (b->trains_lite || b->program->recompute) tinytl_builder_use(b, lite->backward.pooled);
  if (b->trains_lite) {
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(conv, b->kernels));
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_scratch(pointwise, b->kernels));
  }
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_LITE_BACKWARD, m);
  step.x = lite->d_pooled;
  step.y = b->gradient[block_last];
  step.scratch = tinytl_builder_scratch(b, scratch);
  tinytl_builder_end_step(b, step);
}

/* Through the layer's activation and bias, in place. */
static void build_epilogue_backward(tinytl_builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  if (b->mask[i] < 0 && !b->trains_bias) return;
  const size_t scratch = tinytl_epilogue_backward_scratch(tinytl_conv_n_pixels(conv), conv->out_c);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_EPILOGUE_BACKWARD, i);
  step.y = b->gradient[i];
  step.mask = b->mask[i];
  step.scratch = tinytl_builder_scratch(b, scratch);
  tinytl_builder_end_step(b, step);
}

static void build_conv_backward(tinytl_builder *b, int i) {
  const size_t scratch = tinytl_conv_backward_input_scratch(&b->network->conv[i], b->kernels);
  const bool accumulate = open_gradient(b, i - 1);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_CONV_BACKWARD, i);
  step.x = b->gradient[i - 1];
  step.y = b->gradient[i];
  step.scratch = tinytl_builder_scratch(b, scratch);
  step.accumulate = accumulate;
  tinytl_builder_end_step(b, step);
}

static size_t weight_scratch(const tinytl_builder *b, int i) {
  const tinytl_conv *conv = &b->network->conv[i];
  const size_t scratch = i > 0 ? tinytl_conv_backward_weight_scratch(conv, b->kernels)
                               : tinytl_conv_backward_weight_rgb_scratch(conv);
  return scratch + (b->trains_gain ? tinytl_weight_gradient_nbytes(b->network, i) : 0);
}

/* Adds to the gradient of the layer's weights, or of its gain. */
static void build_weight_backward(tinytl_builder *b, int i) {
  if (!b->trains_conv) return;
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_WEIGHT_BACKWARD, i);
  step.x = i > 0 ? b->output[i - 1] : -1;
  step.y = b->gradient[i];
  step.scratch = tinytl_builder_scratch(b, weight_scratch(b, i));
  tinytl_builder_end_step(b, step);
}

/* The layers inside a block, forward from its input. */
static void build_again(tinytl_builder *b, int first, int last) {
  for (int i = first; i < last; i++) {
    const tinytl_conv *conv = &b->network->conv[i];
    const size_t scratch = tinytl_conv_forward_scratch(conv, b->kernels);
    b->output[i] = tinytl_builder_map(b, tinytl_conv_n_pixels(conv), conv->out_c);
    b->mask[i] = tinytl_builder_mask(b, i, TINYTL_PURPOSE_MAP);
    tinytl_step step = tinytl_builder_step(TINYTL_STEP_CONV_AGAIN, i);
    step.x = i > 0 ? b->output[i - 1] : -1;
    step.y = b->output[i];
    step.mask = b->mask[i];
    step.scratch = tinytl_builder_scratch(b, scratch);
    tinytl_builder_end_step(b, step);
  }
}

/* From the gradient of the projection's sum to that of the block's input, where anything before the
 * block is trained. */
static void build_block_backward(tinytl_builder *b, int first, int last) {
  const tinytl_fused_block shape = tinytl_builder_fused_shape(b, first, last);
  const bool deeper = first > 0 && b->reached[first - 1];
  const bool accumulate = deeper && open_gradient(b, first - 1);
  const int expand = tinytl_builder_expand_of(first, last);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_BLOCK_BACKWARD, last);
  step.x = deeper ? b->gradient[first - 1] : -1;
  step.y = b->gradient[last];
  step.mask = b->mask[last - 1];
  step.expand = expand;
  step.mask_expand = expand >= 0 ? b->mask[expand] : -1;
  step.scratch = tinytl_builder_scratch(b, tinytl_fused_block_backward_scratch(&shape, b->kernels));
  step.accumulate = accumulate;
  tinytl_builder_end_step(b, step);
}

/* Hands the gradient of output i on to the shortcut's source as it is, before the activation masks
 * it in place. */
static void build_shortcut_backward(tinytl_builder *b, int i, int source) {
  const bool accumulate = open_gradient(b, source);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_SHORTCUT_BACKWARD, i);
  step.x = b->gradient[source];
  step.y = b->gradient[i];
  step.accumulate = accumulate;
  tinytl_builder_end_step(b, step);
}

/* The main branch and what stands beside it, from the output of layer i to that of the layer before
 * the first one that it covers, which is returned. */
static int build_layer_backward(tinytl_builder *b, int i) {
  const tinytl_network *network = b->network;
  const int first = b->fused_first[i] >= 0 && !b->trains_conv ? b->fused_first[i] : i;
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
  if (b->again_first[i] >= 0) build_again(b, b->again_first[i], i);
  build_weight_backward(b, i);
  if (first < i && b->reached[i - 1])
    build_block_backward(b, first, i);
  else if (i > 0 && b->reached[i - 1])
    build_conv_backward(b, i);
  if (hand_over) b->gradient[source] = b->gradient[i];
  if (beginning >= 0 && b->program->lite[beginning].d_pooled >= 0) {
    tinytl_step step = tinytl_builder_step(TINYTL_STEP_LITE_POOL_BACKWARD, beginning);
    step.x = b->gradient[first - 1];
    step.y = b->program->lite[beginning].d_pooled;
    tinytl_builder_end_step(b, step);
  }
  return first;
}

void tinytl_build_backward(tinytl_builder *b) {
  const int last = b->network->backbone->arch.n_layers - 1;
  if (!b->reached[last]) return;
  open_gradient(b, last);
  tinytl_step step = tinytl_builder_step(TINYTL_STEP_POOL_BACKWARD, 0);
  step.x = b->gradient[last];
  step.y = b->program->d_features;
  tinytl_builder_end_step(b, step);
  for (int i = last; i >= 0 && b->reached[i]; i--) i = build_layer_backward(b, i);
}
