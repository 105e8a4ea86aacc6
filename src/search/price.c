#include "search/price.h"

#include <math.h>
#include <stdlib.h>

#include "model/backbone.h"
#include "train/plan.h"

tinytl_status tinytl_pricer_init(tinytl_pricer *pricer, tinytl_error *error) {
  pricer->shape = calloc(1, sizeof *pricer->shape);
  return pricer->shape ? TINYTL_OK : tinytl_fail_memory(error, sizeof *pricer->shape);
}

void tinytl_pricer_clear(tinytl_pricer *pricer) {
  free(pricer->shape);
}

tinytl_input tinytl_subnet_input(const tinytl_supernet *supernet, const tinytl_subnet *subnet) {
  tinytl_input input = supernet->input;
  if (supernet->space.n_image_sizes) input.size = supernet->space.image_sizes[subnet->size];
  input.resize = tinytl_input_resize_at(&supernet->input, input.size);
  return input;
}

void tinytl_shape_set(tinytl_backbone *shape, const tinytl_supernet *supernet,
                      const tinytl_subnet *subnet) {
  static const int8_t no_weight;
  static const float no_value;
  const tinytl_weight weight = {.i8 = &no_weight, .scale = &no_value};
  tinytl_subnet_arch(&supernet->space, subnet, &shape->arch, NULL);
  shape->input = tinytl_subnet_input(supernet, subnet);
  shape->classifier = weight;
  shape->classifier_bias = &no_value;
  for (int i = 0; i < shape->arch.n_layers; i++) {
    shape->weight[i] = weight;
    shape->bias[i] = &no_value;
  }
}

tinytl_status tinytl_price(tinytl_pricer *pricer, const tinytl_subnet *subnet, tinytl_plan *plan,
                           bool *meets, tinytl_error *error) {
  const tinytl_search_options *options = pricer->options;
  tinytl_images all = *pricer->train;
  const tinytl_task task = {.backbone = pricer->shape,
                            .train = &all,
                            .val = pricer->val,
                            .base_nbytes = pricer->base_nbytes};
  tinytl_error reason;
  TINYTL_TRY(tinytl_check_stop(options->train.stop, error));
  all.n_images += pricer->val->n_images;
  tinytl_shape_set(pricer->shape, pricer->supernet, subnet);
  const tinytl_status status = tinytl_method_plan(&task, &options->train, plan, &reason);
  *meets = status == TINYTL_OK && (options->max_macs == 0 || plan->macs <= options->max_macs);
  if (status == TINYTL_OK || status == TINYTL_ERROR_MEMORY_LIMIT) return TINYTL_OK;
  if (error) *error = reason;
  return status;
}

/* Of the network that training has. */
static uint64_t count_macs(tinytl_pricer *pricer, const tinytl_subnet *subnet) {
  tinytl_arch *arch = &pricer->shape->arch;
  tinytl_shape_set(pricer->shape, pricer->supernet, subnet);
  arch->n_classes = pricer->train->n_classes;
  if (tinytl_method_trains_lite(pricer->options->train.method) && arch->n_lite == 0)
    tinytl_arch_add_lite(arch, TINYTL_LITE_DEFAULT, arch->lite, &arch->n_lite);
  return tinytl_arch_macs(arch, pricer->shape->input.size);
}

/* Work is counted at once, while a plan lays a whole program out. */
static bool meets_max_macs(tinytl_pricer *pricer, const tinytl_subnet *subnet) {
  const uint64_t most = pricer->options->max_macs;
  return most == 0 || count_macs(pricer, subnet) <= most;
}

/* plan may be NULL. */
static tinytl_status price(tinytl_pricer *pricer, const tinytl_subnet *subnet, tinytl_plan *plan,
                           bool *meets, tinytl_error *error) {
  tinytl_plan unused;
  *meets = meets_max_macs(pricer, subnet);
  if (!*meets || (!plan && !pricer->options->train.memory_limit)) return TINYTL_OK;
  return tinytl_price(pricer, subnet, plan ? plan : &unused, meets, error);
}

tinytl_status tinytl_price_meets(tinytl_pricer *pricer, const tinytl_subnet *subnet, bool *meets,
                                 tinytl_error *error) {
  return price(pricer, subnet, NULL, meets, error);
}

tinytl_status tinytl_price_check_limits(tinytl_pricer *pricer, tinytl_error *error) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&pricer->supernet->space);
  tinytl_plan plan;
  bool meets;
  TINYTL_TRY(tinytl_price(pricer, &smallest, &plan, &meets, error));
  if (meets) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "no sub-net meets the limits: the smallest one, of %d blocks at %d px, takes "
                     "%.1f million multiply-accumulates, and a memory limit of %.1fM for method %s",
                     pricer->shape->arch.n_blocks, pricer->shape->input.size,
                     ceil((double)plan.macs / 1e5) / 10, (double)plan.smallest_bytes / 1e6,
                     tinytl_method_name(plan.method));
}

tinytl_status tinytl_price_shrink(tinytl_pricer *pricer, const tinytl_subnet *smallest,
                                  tinytl_rng *rng, tinytl_subnet *subnet, tinytl_plan *plan,
                                  tinytl_error *error) {
  bool meets;
  for (int tenths = 1; tenths <= 11; tenths++) { /* the tenth change takes all that is left */
    TINYTL_TRY(price(pricer, subnet, plan, &meets, error));
    if (meets) return TINYTL_OK;
    tinytl_genes_take(subnet, smallest, (float)tenths / 10, rng);
  }
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "no sub-net meets the limits at an image size of %d",
                     tinytl_subnet_input(pricer->supernet, smallest).size);
}
