/* The memory that the paper says training takes (TinyTL, Cai et al., 2020, section 4.1 and the
 * authors' profile_memory_cost): a theoretical figure, given beside what this library really takes.
 *
 *   memory = batch * peak activation + 4 * trained parameters + 1 * frozen parameters, in bytes
 *
 * Gradients, optimizer state, temporaries of backward and the process are not in it. */
#ifndef TINYTL_TRAIN_PAPER_H
#define TINYTL_TRAIN_PAPER_H

#include "tinytl/plan.h"
#include "train/network.h"

typedef struct tinytl_paper_memory {
  uint64_t total;           /* bytes */
  uint64_t peak_activation; /* bytes, one image */
  uint64_t saved;           /* of it at the end of forward: what backward needs, bytes */
  uint64_t trained, frozen; /* parameters */
} tinytl_paper_memory;

/* The network's lite modules count whether or not the method trains them: the networks of the
 * paper's tables carry them in every row. */
tinytl_paper_memory tinytl_paper_count(const tinytl_network *network, tinytl_method method,
                                       int batch);

#endif
