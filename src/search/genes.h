/* A sub-net's genes: the size of its pictures, the depth of every stage, kernel and expand ratio of
 * every block, kernel and groups of its lite module. */
#ifndef TINYTL_SEARCH_GENES_H
#define TINYTL_SEARCH_GENES_H

#include "core/rng.h"
#include "model/supernet.h"

/* The sizes of pictures that there are to choose from: those n or, n 0, from 3/4 to twice `own`,
 * the super-net's, in quarters, above it none larger than 224. */
void tinytl_genes_set_sizes(tinytl_space *space, int own, const int *sizes, int n);
/* Any of the space. */
tinytl_subnet tinytl_genes_draw(const tinytl_space *space, uint64_t seed, uint64_t first,
                                uint64_t second);
/* Takes each gene with this chance, and those that blocks beyond the own depth do not have. */
void tinytl_genes_take(tinytl_subnet *to, const tinytl_subnet *from, float chance, tinytl_rng *rng);
/* Each gene from either parent. */
tinytl_subnet tinytl_genes_cross(const tinytl_subnet *mother, const tinytl_subnet *father,
                                 tinytl_rng *rng);
/* Each gene with a chance of a tenth that of `other`, a drawn one. */
tinytl_subnet tinytl_genes_mutate(const tinytl_subnet *parent, const tinytl_subnet *other,
                                  tinytl_rng *rng);
bool tinytl_genes_are_equal(const tinytl_subnet *left, const tinytl_subnet *right);
/* One of the space, with 0 beyond the depth. */
bool tinytl_genes_are_valid(const tinytl_space *space, const tinytl_subnet *subnet);

/* The inputs of a predictor: one a size of the picture; of every block that may be there one input
 * a kernel and one an expand ratio, and one a kernel and groups of its lite module, 1 for the
 * sub-net's own, and all 0 where it has no such block. The first stage is the same for all. */
enum {
  TINYTL_GENES_BLOCKS = (TINYTL_SUPERNET_STAGES - 2) * TINYTL_SUPERNET_DEPTH + 1,
  TINYTL_GENES_OF_BLOCK = 2 * TINYTL_SUPERNET_CHOICES + 2 * TINYTL_LITE_CHOICES,
  TINYTL_GENES_INPUTS = TINYTL_MAX_IMAGE_SIZES + TINYTL_GENES_BLOCKS * TINYTL_GENES_OF_BLOCK
};
void tinytl_genes_encode(const tinytl_subnet *subnet, float inputs[TINYTL_GENES_INPUTS]);

#endif
