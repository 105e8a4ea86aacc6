#include "search/genes.h"

#include <string.h>

#define MUTATION 0.1f /* chance of a gene */

static const uint8_t kernels[TINYTL_SUPERNET_CHOICES] = {3, 5, 7};
static const uint8_t expands[TINYTL_SUPERNET_CHOICES] = {3, 4, 6};

tinytl_subnet tinytl_genes_draw(uint64_t seed, uint64_t first, uint64_t second) {
  const tinytl_opening all = {TINYTL_SUPERNET_CHOICES, TINYTL_SUPERNET_CHOICES,
                              TINYTL_SUPERNET_CHOICES};
  return tinytl_subnet_draw(&all, seed, first, second);
}

void tinytl_genes_take(tinytl_subnet *to, const tinytl_subnet *from, float chance,
                       tinytl_rng *rng) {
  for (int stage = 1; stage < TINYTL_SUPERNET_STAGES; stage++) {
    const bool depth = tinytl_rng_uniform(rng) < chance;
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      const bool kernel = tinytl_rng_uniform(rng) < chance;
      const bool expand = tinytl_rng_uniform(rng) < chance;
      if (from->kernel[stage][j] && (kernel || !to->kernel[stage][j]))
        to->kernel[stage][j] = from->kernel[stage][j];
      if (from->expand[stage][j] && (expand || !to->expand[stage][j]))
        to->expand[stage][j] = from->expand[stage][j];
    }
    if (depth) to->depth[stage] = from->depth[stage];
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

/* Number of the choice; -1: it is none. */
static int choice(const uint8_t choices[TINYTL_SUPERNET_CHOICES], int value) {
  for (int i = 0; i < TINYTL_SUPERNET_CHOICES; i++)
    if (choices[i] == value) return i;
  return -1;
}

bool tinytl_genes_are_valid(const tinytl_subnet *subnet) {
  const tinytl_subnet largest = tinytl_subnet_largest();
  if (subnet->depth[0] != 1 || subnet->kernel[0][0] != largest.kernel[0][0] ||
      subnet->expand[0][0] != largest.expand[0][0])
    return false;
  for (int stage = 1; stage < TINYTL_SUPERNET_STAGES; stage++) {
    const int depth = subnet->depth[stage];
    if (depth < tinytl_space_min_depth(stage) || depth > tinytl_space_max_depth(stage))
      return false;
    for (int j = 0; j < depth; j++)
      if (choice(kernels, subnet->kernel[stage][j]) < 0 ||
          choice(expands, subnet->expand[stage][j]) < 0)
        return false;
  }
  tinytl_subnet normal = *subnet;
  tinytl_subnet_normalise(&normal);
  return tinytl_genes_are_equal(&normal, subnet);
}

void tinytl_genes_encode(const tinytl_subnet *subnet, float inputs[TINYTL_GENES_INPUTS]) {
  int first = 0;
  memset(inputs, 0, TINYTL_GENES_INPUTS * sizeof *inputs);
  for (int stage = 1; stage < TINYTL_SUPERNET_STAGES; stage++)
    for (int j = 0; j < tinytl_space_max_depth(stage); j++) {
      if (j < subnet->depth[stage]) {
        inputs[first + choice(kernels, subnet->kernel[stage][j])] = 1;
        inputs[first + TINYTL_SUPERNET_CHOICES + choice(expands, subnet->expand[stage][j])] = 1;
      }
      first += 2 * TINYTL_SUPERNET_CHOICES;
    }
}
