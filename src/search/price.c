#include "search/price.h"

#include <stdlib.h>

#include "model/backbone.h"
#include "train/trainer.h"

tinytl_status tinytl_pricer_init(tinytl_pricer *pricer, tinytl_error *error) {
  pricer->shape = calloc(1, sizeof *pricer->shape);
  return pricer->shape ? TINYTL_OK : tinytl_fail_memory(error, sizeof *pricer->shape);
}

void tinytl_pricer_clear(tinytl_pricer *pricer) {
  free(pricer->shape);
}

void tinytl_shape_set(tinytl_backbone *shape, const tinytl_supernet *supernet,
                      const tinytl_subnet *subnet) {
  static const int8_t no_weight;
  static const float no_value;
  const tinytl_weight weight = {.i8 = &no_weight, .scale = &no_value};
  tinytl_subnet_arch(&supernet->space, subnet, &shape->arch, NULL);
  shape->input = supernet->input;
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
  tinytl_train_options train = options->train;
  if (train.image_size == 0) train.image_size = pricer->supernet->input.size;
  tinytl_shape_set(pricer->shape, pricer->supernet, subnet);
  const tinytl_status status =
      tinytl_plan_upon(pricer->shape, pricer->train->n_classes, pricer->train->n_images,
                       pricer->val->n_images, &train, pricer->base_nbytes, plan, error);
  *meets = status == TINYTL_OK && (options->max_macs == 0 || plan->macs <= options->max_macs);
  return status == TINYTL_ERROR_MEMORY_LIMIT ? TINYTL_OK : status;
}

tinytl_status tinytl_price_check_limits(tinytl_pricer *pricer, tinytl_error *error) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&pricer->supernet->space);
  tinytl_plan plan;
  bool meets;
  TINYTL_TRY(tinytl_price(pricer, &smallest, &plan, &meets, error));
  if (meets) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "no sub-net meets the limits: the smallest one, of %d blocks, takes %.1f "
                     "million multiply-accumulates, and a memory limit of %.1fM for method %s",
                     pricer->shape->arch.n_blocks, (double)plan.macs / 1e6,
                     (double)plan.smallest_bytes / 1e6, tinytl_method_name(plan.method));
}

tinytl_status tinytl_price_shrink(tinytl_pricer *pricer, tinytl_rng *rng, tinytl_subnet *subnet,
                                  tinytl_plan *plan, tinytl_error *error) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&pricer->supernet->space);
  bool meets;
  for (int tenths = 1;; tenths++) {
    TINYTL_TRY(tinytl_price(pricer, subnet, plan, &meets, error));
    if (meets) return TINYTL_OK;
    tinytl_genes_take(subnet, &smallest, (float)tenths / 10, rng);
  }
}
