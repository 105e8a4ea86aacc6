/* How good a sub-net is for some pictures, without training: the statistics of its norms are
 * estimated on training pictures, and what the nearest class mean of its features gets right of
 * held-out ones is counted. Features are compared by angle. */
#ifndef TINYTL_SEARCH_MEASURE_H
#define TINYTL_SEARCH_MEASURE_H

#include "data/data.h"
#include "model/shared_values.h"
#include "pretrain/batch_net.h"

typedef struct tinytl_measure_options {
  const tinytl_supernet *supernet;
  const tinytl_images *train, *val;
  int image_size, n_threads;
  uint64_t seed;
  size_t memory_limit, base_nbytes; /* of the process, 0: none; what it holds */
  const volatile int *stop;         /* may be NULL */
  tinytl_skip_fn skip;              /* told once of a picture; may be NULL */
  void *context;                    /* of skip */
} tinytl_measure_options;

typedef struct tinytl_measure tinytl_measure;

/* All is borrowed. With a limit, batches are as large as fit. Errors: MEMORY_LIMIT, INTERNAL. */
tinytl_status tinytl_measure_create(const tinytl_measure_options *options, tinytl_measure **measure,
                                    tinytl_error *error);
void tinytl_measure_free(tinytl_measure *measure); /* NULL is allowed */
/* top1: a share, 0 to 1. The same sub-net gives the same. Errors: DATA (no held-out picture can
 * be read), INTERRUPTED. */
tinytl_status tinytl_measure_run(tinytl_measure *measure, const tinytl_subnet *subnet, float *top1,
                                 tinytl_error *error);
/* The sub-net as a backbone, with these statistics and the super-net's classifier. */
tinytl_status tinytl_measure_make_backbone(tinytl_measure *measure, const tinytl_subnet *subnet,
                                           tinytl_weights weights, tinytl_backbone **backbone,
                                           tinytl_error *error);

#endif
