#include "search/genes.h"

#include <string.h>

enum { SMALL_IMAGE = 32, LARGE_IMAGE = 224 };

#define MUTATION 0.1f /* chance of a gene */

void tinytl_genes_set_sizes(tinytl_space *space, int own, const int *sizes, int n) {
  const int largest = own > LARGE_IMAGE ? own : LARGE_IMAGE;
  space->n_image_sizes = 0;
  for (int i = 0; i < n; i++) space->image_sizes[space->n_image_sizes++] = sizes[i];
  for (int quarters = 3; n == 0 && quarters <= 8; quarters++) {
    const int size = own * quarters / 4;
    if (size >= SMALL_IMAGE && size <= largest) space->image_sizes[space->n_image_sizes++] = size;
  }
}

tinytl_subnet tinytl_genes_draw(const tinytl_space *space, uint64_t seed, uint64_t first,
                                uint64_t second) {
  const tinytl_opening all = {TINYTL_SUPERNET_CHOICES, TINYTL_SUPERNET_CHOICES,
                              TINYTL_SUPERNET_CHOICES, TINYTL_LITE_CHOICES};
  return tinytl_subnet_draw(space, &all, seed, first, second);
}

static void take_gene(uint8_t *to, uint8_t from, bool taken) {
  if (from && (taken || !*to)) *to = from;
}

void tinytl_genes_take(tinytl_subnet *to, const tinytl_subnet *from, float chance,
                       tinytl_rng *rng) {
  if (tinytl_rng_uniform(rng) < chance) to->size = from->size;
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    const bool depth = tinytl_rng_uniform(rng) < chance;
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      take_gene(&to->kernel[s][j], from->kernel[s][j], tinytl_rng_uniform(rng) < chance);
      take_gene(&to->expand[s][j], from->expand[s][j], tinytl_rng_uniform(rng) < chance);
      if (!from->lite_kernel[s][j]) continue;
      take_gene(&to->lite_kernel[s][j], from->lite_kernel[s][j], tinytl_rng_uniform(rng) < chance);
      take_gene(&to->lite_groups[s][j], from->lite_groups[s][j], tinytl_rng_uniform(rng) < chance);
    }
    if (depth) to->depth[s] = from->depth[s];
  }
  tinytl_subnet_normalise(to);
}

tinytl_subnet tinytl_genes_cross(const tinytl_subnet *mother, const tinytl_subnet *father,
                                 tinytl_rng *rng) {
  tinytl_subnet child = *mother;
  tinytl_genes_take(&child, father, 0.5f, rng);
  return child;
}

tinytl_subnet tinytl_genes_mutate(const tinytl_subnet *parent, const tinytl_subnet *other,
                                  tinytl_rng *rng) {
  tinytl_subnet child = *parent;
  tinytl_genes_take(&child, other, MUTATION, rng);
  return child;
}

bool tinytl_genes_are_equal(const tinytl_subnet *left, const tinytl_subnet *right) {
  return memcmp(left, right, sizeof *left) == 0;
}

/* How many of the choices are smaller; -1: it is none of them. */
static int rank(const uint8_t *choices, int n, int value) {
  int n_smaller = 0;
  bool is_there = false;
  for (int i = 0; i < n; i++) {
    n_smaller += choices[i] < value;
    is_there = is_there || choices[i] == value;
  }
  return is_there ? n_smaller : -1;
}

enum { CHOICES = TINYTL_SUPERNET_CHOICES, LITES = TINYTL_LITE_CHOICES };

static bool is_block_valid(const tinytl_space *space, const tinytl_subnet *subnet, int s, int j) {
  const int kernel = subnet->lite_kernel[s][j], groups = subnet->lite_groups[s][j];
  const bool lite = rank(tinytl_block_choices.lite_kernel, LITES, kernel) >= 0 &&
                    rank(tinytl_block_choices.lite_groups, LITES, groups) >= 0;
  return rank(tinytl_block_choices.kernel, CHOICES, subnet->kernel[s][j]) >= 0 &&
         rank(tinytl_block_choices.expand, CHOICES, subnet->expand[s][j]) >= 0 &&
         (space->has_lite ? lite : kernel == 0 && groups == 0);
}

bool tinytl_genes_are_valid(const tinytl_space *space, const tinytl_subnet *subnet) {
  const tinytl_subnet largest = tinytl_subnet_largest(space);
  tinytl_subnet same = *subnet;
  if (subnet->size > largest.size) return false;
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    const int depth = subnet->depth[s];
    if (depth < tinytl_space_min_depth(s) || depth > tinytl_space_max_depth(s)) return false;
    for (int j = 0; j < depth; j++)
      if (!is_block_valid(space, subnet, s, j) ||
          subnet->lite_kernel[s][j] > largest.lite_kernel[s][j])
        return false;
  }
  /* The first stage is that of any sub-net, and 0 stands beyond the depth. */
  same.depth[0] = largest.depth[0];
  memcpy(same.kernel[0], largest.kernel[0], sizeof same.kernel[0]);
  memcpy(same.expand[0], largest.expand[0], sizeof same.expand[0]);
  memcpy(same.lite_kernel[0], largest.lite_kernel[0], sizeof same.lite_kernel[0]);
  memcpy(same.lite_groups[0], largest.lite_groups[0], sizeof same.lite_groups[0]);
  tinytl_subnet_normalise(&same);
  return tinytl_genes_are_equal(&same, subnet);
}

static void set(float *inputs, const uint8_t *choices, int n, int value) {
  const int chosen = rank(choices, n, value);
  if (chosen >= 0) inputs[chosen] = 1;
}

void tinytl_genes_encode(const tinytl_subnet *subnet, float inputs[TINYTL_GENES_INPUTS]) {
  float *block = inputs + TINYTL_MAX_IMAGE_SIZES;
  memset(inputs, 0, TINYTL_GENES_INPUTS * sizeof *inputs);
  inputs[subnet->size] = 1;
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++)
    for (int j = 0; j < tinytl_space_max_depth(s); j++, block += TINYTL_GENES_OF_BLOCK) {
      if (j >= subnet->depth[s]) continue;
      set(block, tinytl_block_choices.kernel, CHOICES, subnet->kernel[s][j]);
      set(block + CHOICES, tinytl_block_choices.expand, CHOICES, subnet->expand[s][j]);
      set(block + 2 * CHOICES, tinytl_block_choices.lite_kernel, LITES, subnet->lite_kernel[s][j]);
      set(block + 2 * CHOICES + LITES, tinytl_block_choices.lite_groups, LITES,
          subnet->lite_groups[s][j]);
    }
}
