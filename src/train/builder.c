#include "train/builder.h"

/* ---- Buffers ------------------------------------------------------------------------------ */

/* The step that is being built. */
static int now(const tinytl_builder *b) {
  return b->program->n_steps;
}

static int new_buffer(tinytl_builder *b, tinytl_purpose purpose, size_t n_pixels, size_t channels,
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

int tinytl_builder_map(tinytl_builder *b, int n_pixels, int channels) {
  return new_buffer(b, TINYTL_PURPOSE_MAP, (size_t)n_pixels, (size_t)channels, sizeof(float));
}

int tinytl_builder_saved(tinytl_builder *b, int n_pixels, int channels) {
  return new_buffer(b, TINYTL_PURPOSE_SAVED, (size_t)n_pixels, (size_t)channels, sizeof(float));
}

int tinytl_builder_mask(tinytl_builder *b, int i, tinytl_purpose purpose) {
  const tinytl_conv *conv = &b->network->conv[i];
  if (!b->reached[i] || b->network->backbone->arch.layers[i].act == TINYTL_ACT_NONE) return -1;
  return new_buffer(b, purpose, (size_t)tinytl_conv_n_pixels(conv), ((size_t)conv->out_c + 7) / 8,
                    1);
}

int tinytl_builder_scratch(tinytl_builder *b, size_t nbytes) {
  return nbytes > 0 ? new_buffer(b, TINYTL_PURPOSE_SCRATCH, nbytes, 1, 1) : -1;
}

void tinytl_builder_use(tinytl_builder *b, int buffer) {
  if (buffer >= 0) b->program->buffers[buffer].last_use = now(b);
}

void tinytl_builder_end_step(tinytl_builder *b, tinytl_step step) {
  tinytl_builder_use(b, step.x);
  tinytl_builder_use(b, step.y);
  tinytl_builder_use(b, step.residual);
  tinytl_builder_use(b, step.mask);
  tinytl_builder_use(b, step.mask_expand);
  b->program->steps[b->program->n_steps++] = step;
}

/* ---- Shapes of both directions ------------------------------------------------------------ */

tinytl_fused_block tinytl_builder_fused_shape(const tinytl_builder *b, int first, int last) {
  const tinytl_conv *conv = b->network->conv;
  const int expand = tinytl_builder_expand_of(first, last);
  return (tinytl_fused_block){.expand.conv = expand >= 0 ? &conv[expand] : NULL,
                              .depthwise.conv = &conv[last - 1],
                              .project.conv = &conv[last],
                              .n_threads = b->program->n_threads};
}

void tinytl_builder_lite_maps(tinytl_builder *b, int m, int (*make)(tinytl_builder *, int, int),
                              tinytl_lite_maps *maps) {
  const tinytl_conv *conv = &b->network->lite_conv[m].conv;
  const int n_pixels = tinytl_conv_n_pixels(conv), out_c = b->network->lite[m].out_c;
  maps->x_hat1 = make(b, n_pixels, conv->out_c);
  maps->rstd1 = make(b, 1, tinytl_group_norm_n_groups(conv->out_c));
  maps->relu = tinytl_builder_map(b, n_pixels, conv->out_c);
  maps->x_hat2 = make(b, n_pixels, out_c);
  maps->rstd2 = make(b, 1, tinytl_group_norm_n_groups(out_c));
}

size_t tinytl_builder_lite_scratch(const tinytl_builder *b, int m) {
  const tinytl_lite_conv *lite = &b->network->lite_conv[m];
  return tinytl_size_max(tinytl_conv_forward_scratch(&lite->conv, b->kernels),
                         tinytl_conv_forward_scratch(&lite->pointwise, b->kernels));
}
