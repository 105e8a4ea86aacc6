#include "model/supernet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

const struct tinytl_block_choices tinytl_block_choices = {
    .kernel = {7, 5, 3}, .expand = {6, 4, 3}, .lite_kernel = {5, 3}, .lite_groups = {2, 4}};

/* ProxylessNAS (Cai, Zhu, Han, 2019), as in method TinyTL's super-net. */
static const int widths[TINYTL_SUPERNET_STAGES] = {16, 24, 40, 80, 96, 192, 320};
static const int strides[TINYTL_SUPERNET_STAGES] = {1, 2, 2, 2, 1, 2, 1};
enum { STEM = 32, HEAD = 1280, IMAGE_SIZE = 224, TOTAL_STRIDE = 32, LAST_STRIDED_STAGE = 5 };

/* ---- The space ---------------------------------------------------------------------------- */

static const char prefix[] = "supernet-";

bool tinytl_space_is_named(const char *name) {
  return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

tinytl_status tinytl_space_named(const char *name, int n_classes, tinytl_space *space,
                                 tinytl_error *error) {
  const int width =
      tinytl_space_is_named(name) ? tinytl_parse_thousandths(name + sizeof prefix - 1) : 0;
  if (width < 100 || width > 2000 || strlen(name) >= sizeof space->name)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "expected the super-net supernet-W with a width W of 0.1 to 2.0 and at most "
                       "three decimals, found \"%.60s\"",
                       name);
  if (n_classes < 1 || n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "expected 1 to %d classes, found %d",
                       TINYTL_MAX_CLASSES, n_classes);
  *space = (tinytl_space){.n_classes = n_classes,
                          .image_size = IMAGE_SIZE,
                          .total_stride = TOTAL_STRIDE,
                          .stem = tinytl_scale_channels(STEM, width),
                          .head = tinytl_scale_channels(HEAD, width > 1000 ? width : 1000)};
  snprintf(space->name, sizeof space->name, "%s", name);
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++)
    space->out_c[s] = tinytl_scale_channels(widths[s], width);
  return TINYTL_OK;
}

int tinytl_space_max_depth(int stage) {
  return stage == 0 || stage == TINYTL_SUPERNET_STAGES - 1 ? 1 : TINYTL_SUPERNET_DEPTH;
}

int tinytl_space_min_depth(int stage) {
  const int most = tinytl_space_max_depth(stage);
  return most == 1 ? 1 : most - TINYTL_SUPERNET_CHOICES + 1;
}

static int stage_stride(const tinytl_space *space, int stage) {
  return stage == LAST_STRIDED_STAGE && space->total_stride < TOTAL_STRIDE ? 1 : strides[stage];
}

/* Of the lite module beside block j of a stage: 5, or 3 where that would reach past half of the
 * block's input, as in the paper; for pictures whose last maps are 8 x 8. */
static int most_lite_kernel(const tinytl_space *space, int stage, int j) {
  int side = 8 * space->total_stride / 2;
  for (int s = 0; s < stage + (j > 0); s++) side /= stage_stride(space, s);
  return side / 2 < tinytl_block_choices.lite_kernel[0] ? tinytl_block_choices.lite_kernel[1]
                                                        : tinytl_block_choices.lite_kernel[0];
}

/* Of a block. */
static double n_choices(const tinytl_space *space, int stage, int j) {
  const int n = TINYTL_SUPERNET_CHOICES * TINYTL_SUPERNET_CHOICES;
  if (!space->has_lite) return n;
  return n * TINYTL_LITE_CHOICES *
         (most_lite_kernel(space, stage, j) == tinytl_block_choices.lite_kernel[0]
              ? TINYTL_LITE_CHOICES
              : 1);
}

/* Of the picture. */
static int n_sizes(const tinytl_space *space) {
  return space->n_image_sizes ? space->n_image_sizes : 1;
}

double tinytl_space_n_subnets(const tinytl_space *space) {
  double n = n_sizes(space);
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    double of_stage = 0, of_blocks = 1;
    for (int depth = 1; depth <= tinytl_space_max_depth(s); depth++) {
      of_blocks *= n_choices(space, s, depth - 1);
      if (depth >= tinytl_space_min_depth(s)) of_stage += of_blocks;
    }
    n *= of_stage;
  }
  return n;
}

void tinytl_supernet_free(tinytl_supernet *supernet) {
  if (!supernet) return;
  free(supernet->labels);
  free(supernet->values);
  free(supernet);
}

void tinytl_supernet_describe(const tinytl_supernet *supernet, tinytl_supernet_info *info) {
  const tinytl_space *space = &supernet->space;
  *info = (tinytl_supernet_info){.name = space->name,
                                 .image_size = supernet->input.size,
                                 .n_classes = space->n_classes,
                                 .n_parameters = supernet->n_values,
                                 .n_subnets = tinytl_space_n_subnets(space),
                                 .has_lite = space->has_lite,
                                 .total_stride = space->total_stride};
  const tinytl_subnet ends[] = {tinytl_subnet_largest(space), tinytl_subnet_smallest(space)};
  uint64_t macs[2] = {0, 0};
  tinytl_arch *arch = malloc(sizeof *arch);
  for (int i = 0; arch && i < 2; i++) {
    tinytl_subnet_arch(space, &ends[i], arch, NULL);
    macs[i] = tinytl_arch_macs(arch, supernet->input.size);
  }
  free(arch);
  info->largest_macs = macs[0];
  info->smallest_macs = macs[1];
}

const char *tinytl_supernet_label(const tinytl_supernet *supernet, int index) {
  return index >= 0 && index < supernet->n_labels ? supernet->labels[index] : NULL;
}

/* ---- Sub-nets ----------------------------------------------------------------------------- */

/* Choices for the module beside block j of a stage. */
static void choose_lite(const tinytl_space *space, int s, int j, int kernel, int groups,
                        tinytl_subnet *subnet) {
  const int most = most_lite_kernel(space, s, j);
  if (!space->has_lite || s == 0) return;
  subnet->lite_kernel[s][j] = (uint8_t)(tinytl_block_choices.lite_kernel[kernel] < most
                                            ? tinytl_block_choices.lite_kernel[kernel]
                                            : most);
  subnet->lite_groups[s][j] = tinytl_block_choices.lite_groups[groups];
}

/* The same choice, 0: the largest, for everything. */
static tinytl_subnet subnet_of(const tinytl_space *space, int depth, int choice, int lite) {
  tinytl_subnet subnet = {0};
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++) {
    const int most = tinytl_space_max_depth(s);
    subnet.depth[s] = (uint8_t)(most == 1 ? 1 : depth);
    for (int j = 0; j < subnet.depth[s]; j++) {
      subnet.kernel[s][j] = (uint8_t)(s == 0 ? 3 : tinytl_block_choices.kernel[choice]);
      subnet.expand[s][j] = (uint8_t)(s == 0 ? 1 : tinytl_block_choices.expand[choice]);
      choose_lite(space, s, j, lite, lite, &subnet);
    }
  }
  return subnet;
}

tinytl_subnet tinytl_subnet_largest(const tinytl_space *space) {
  tinytl_subnet largest = subnet_of(space, TINYTL_SUPERNET_DEPTH, 0, 0);
  largest.size = (uint8_t)(n_sizes(space) - 1);
  return largest;
}

tinytl_subnet tinytl_subnet_smallest(const tinytl_space *space) {
  return subnet_of(space, TINYTL_SUPERNET_DEPTH - TINYTL_SUPERNET_CHOICES + 1,
                   TINYTL_SUPERNET_CHOICES - 1, TINYTL_LITE_CHOICES - 1);
}

static int draw_below(tinytl_rng *rng, int n) {
  return (int)tinytl_rng_below(rng, (uint32_t)n);
}

tinytl_subnet tinytl_subnet_draw(const tinytl_space *space, const tinytl_opening *opening,
                                 uint64_t seed, uint64_t first, uint64_t second) {
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SUBNET, first, second);
  tinytl_subnet subnet = tinytl_subnet_largest(space);
  subnet.size = (uint8_t)draw_below(&rng, n_sizes(space));
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    const int fewer = draw_below(&rng, opening->n_depths);
    if (tinytl_space_max_depth(s) > 1) subnet.depth[s] = (uint8_t)(TINYTL_SUPERNET_DEPTH - fewer);
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      subnet.kernel[s][j] = tinytl_block_choices.kernel[draw_below(&rng, opening->n_kernels)];
      subnet.expand[s][j] = tinytl_block_choices.expand[draw_below(&rng, opening->n_expands)];
      if (!space->has_lite) continue;
      const int kernel = draw_below(&rng, opening->n_lites);
      choose_lite(space, s, j, kernel, draw_below(&rng, opening->n_lites), &subnet);
    }
  }
  tinytl_subnet_normalise(&subnet);
  return subnet;
}

void tinytl_subnet_normalise(tinytl_subnet *subnet) {
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++)
    for (int j = subnet->depth[s]; j < TINYTL_SUPERNET_DEPTH; j++) {
      subnet->kernel[s][j] = subnet->expand[s][j] = 0;
      subnet->lite_kernel[s][j] = subnet->lite_groups[s][j] = 0;
    }
}

/* Layers of block j of a stage before its first one in the largest sub-net: that of stage 0, which
 * does not widen, has 2, all others 3. */
static int first_layer(int stage, int j) {
  int blocks = j;
  for (int s = 1; s < stage; s++) blocks += tinytl_space_max_depth(s);
  return stage == 0 ? 1 : 3 + 3 * blocks;
}

/* Beside every block but the first, which is a stage of its own. */
static void add_lite(const tinytl_subnet *subnet, tinytl_arch *arch) {
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++)
    for (int j = 0; j < subnet->depth[s]; j++) {
      const int b = arch->n_lite + 1;
      const tinytl_block *block = &arch->blocks[b];
      arch->lite[arch->n_lite++] = (tinytl_lite){.block = b,
                                                 .in_c = block->in_c,
                                                 .mid_c = block->in_c,
                                                 .out_c = block->out_c,
                                                 .kernel = subnet->lite_kernel[s][j],
                                                 .groups = subnet->lite_groups[s][j],
                                                 .stride = block->stride};
    }
}

void tinytl_subnet_arch(const tinytl_space *space, const tinytl_subnet *subnet, tinytl_arch *arch,
                        int *layers) {
  tinytl_block_spec blocks[TINYTL_SUPERNET_BLOCKS];
  int n_blocks = 0, n = 0, all[TINYTL_MAX_LAYERS];
  if (!layers) layers = all;
  layers[n++] = 0;
  for (int s = 0; s < TINYTL_SUPERNET_STAGES; s++)
    for (int j = 0; j < subnet->depth[s]; j++) {
      blocks[n_blocks++] = (tinytl_block_spec){.kernel = subnet->kernel[s][j],
                                               .expand = subnet->expand[s][j],
                                               .out_c = space->out_c[s],
                                               .stride = j == 0 ? stage_stride(space, s) : 1};
      for (int k = 0; k < (s == 0 ? 2 : 3); k++) layers[n++] = first_layer(s, j) + k;
    }
  layers[n] = first_layer(TINYTL_SUPERNET_STAGES - 1, 1);
  memset(arch, 0, sizeof *arch);
  tinytl_arch_from_blocks(arch, space->stem, blocks, n_blocks, space->head);
  arch->n_classes = space->n_classes;
  snprintf(arch->name, sizeof arch->name, "%s", space->name);
  /* Cannot fail: all of it is in range. */
  tinytl_arch_finish(arch, space->name, NULL);
  if (space->has_lite) add_lite(subnet, arch);
}
