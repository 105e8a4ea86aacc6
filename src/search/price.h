/* What a sub-net takes: by the planner that training has. */
#ifndef TINYTL_SEARCH_PRICE_H
#define TINYTL_SEARCH_PRICE_H

#include "search/genes.h"
#include "tinytl/search.h"

typedef struct tinytl_pricer {
  const tinytl_supernet *supernet;
  const tinytl_images *train, *val;
  const tinytl_search_options *options;
  size_t base_nbytes;     /* what a process that trains holds before */
  tinytl_backbone *shape; /* an architecture, and where weights would be; owned */
} tinytl_pricer;

/* shape is made; all else is borrowed and set before. */
tinytl_status tinytl_pricer_init(tinytl_pricer *pricer, tinytl_error *error);
void tinytl_pricer_clear(tinytl_pricer *pricer);

/* *meets: both limits, options->train.memory_limit and max_macs. The training is that on all
 * pictures, the held-out ones too. Error: INTERRUPTED. */
tinytl_status tinytl_price(tinytl_pricer *pricer, const tinytl_subnet *subnet, tinytl_plan *plan,
                           bool *meets, tinytl_error *error);
/* The same alone. Nothing is planned where work is too much, or there is no memory limit. */
tinytl_status tinytl_price_meets(tinytl_pricer *pricer, const tinytl_subnet *subnet, bool *meets,
                                 tinytl_error *error);
/* The smallest sub-net, at the smallest size of the picture, must meet the limits, or none does:
 * MEMORY_LIMIT. */
tinytl_status tinytl_price_check_limits(tinytl_pricer *pricer, tinytl_error *error);
/* Makes ever more genes those of `smallest`, which meets the limits, until the sub-net does. *plan
 * (may be NULL) is that of the sub-net that does. Errors: MEMORY_LIMIT, `smallest` does not;
 * INTERRUPTED. */
tinytl_status tinytl_price_shrink(tinytl_pricer *pricer, const tinytl_subnet *smallest,
                                  tinytl_rng *rng, tinytl_subnet *subnet, tinytl_plan *plan,
                                  tinytl_error *error);
/* The super-net's input at the size of the sub-net's pictures, of which as much is seen. */
tinytl_input tinytl_subnet_input(const tinytl_supernet *supernet, const tinytl_subnet *subnet);
/* Points everything of the shape at one value: the planner reads none. */
void tinytl_shape_set(tinytl_backbone *shape, const tinytl_supernet *supernet,
                      const tinytl_subnet *subnet);

#endif
