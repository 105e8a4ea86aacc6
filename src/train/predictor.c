/* tinytl_predictor: inference with a backbone and an adapter. */
#include "tinytl/predict.h"
#include "train/calibration.h"
#include "train/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tinytl_predictor {
  tinytl_network *network;
  tinytl_program *program;
  tinytl_pool *pool;
  tinytl_machine machine;
  int resize;
  float temperature, score;
};

static tinytl_status set_up(tinytl_predictor *p, const tinytl_backbone *backbone,
                            const tinytl_adapter *adapter, int image_size, int n_threads,
                            tinytl_error *error) {
  if (image_size == 0 && adapter) image_size = adapter->image_size;
  p->network = malloc(sizeof *p->network);
  if (!p->network) return tinytl_fail_memory(error, sizeof *p->network);
  TINYTL_TRY(tinytl_network_init(p->network, backbone, image_size, adapter ? adapter->n_classes : 0,
                                 false, error));
  if (adapter) TINYTL_TRY(tinytl_network_adapt(p->network, adapter, error));
  p->temperature = adapter ? adapter->temperature : 1;
  p->resize = adapter && image_size == adapter->image_size
                  ? adapter->resize
                  : tinytl_test_resize(backbone, p->network->image_size);

  const tinytl_kernels *kernels = tinytl_kernels_get();
  const tinytl_program_options options = {.goal = TINYTL_GOAL_LOGITS,
                                          .fuse_above = TINYTL_FUSE_ABOVE};
  TINYTL_TRY(tinytl_program_create(p->network, NULL, &options, kernels, &p->program, error));
  TINYTL_TRY(tinytl_pool_create(n_threads, &p->pool, error));
  p->machine = (tinytl_machine){
      .network = p->network, .program = p->program, .run = {.kernels = kernels, .pool = p->pool}};
  p->machine.arena = aligned_alloc(TINYTL_ARENA_ALIGN, p->program->nbytes);
  if (!p->machine.arena) return tinytl_fail_memory(error, p->program->nbytes);
  return TINYTL_OK;
}

tinytl_status tinytl_predictor_create(const tinytl_backbone *backbone,
                                      const tinytl_adapter *adapter, int image_size, int n_threads,
                                      tinytl_predictor **predictor, tinytl_error *error) {
  tinytl_predictor *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  const tinytl_status status = set_up(made, backbone, adapter, image_size, n_threads, error);
  if (status != TINYTL_OK)
    tinytl_predictor_free(made);
  else
    *predictor = made;
  return status;
}

void tinytl_predictor_free(tinytl_predictor *predictor) {
  if (!predictor) return;
  tinytl_pool_free(predictor->pool);
  tinytl_program_free(predictor->program);
  free(predictor->machine.arena);
  free(predictor->network);
  free(predictor);
}

int tinytl_predictor_n_classes(const tinytl_predictor *predictor) {
  return predictor->network->n_classes;
}

tinytl_view tinytl_predictor_view(const tinytl_predictor *predictor) {
  return (tinytl_view){.size = predictor->network->image_size, .resize = predictor->resize};
}

size_t tinytl_predictor_nbytes(const tinytl_predictor *predictor) {
  return predictor->program->nbytes;
}

float tinytl_predictor_score(const tinytl_predictor *predictor) {
  return predictor->score;
}

uint64_t tinytl_predictor_macs(const tinytl_predictor *predictor) {
  return tinytl_program_macs(predictor->program, predictor->network);
}

tinytl_status tinytl_predictor_run(tinytl_predictor *predictor, const uint8_t *rgb,
                                   float *probabilities, tinytl_error *error) {
  const int n_classes = predictor->network->n_classes;
  tinytl_machine_run(&predictor->machine, rgb, NULL);
  memcpy(probabilities, tinytl_machine_logits(&predictor->machine),
         (size_t)n_classes * sizeof *probabilities);
  predictor->score = tinytl_largest(n_classes, probabilities);
  tinytl_softmax_at(n_classes, predictor->temperature, probabilities);
  for (int c = 0; c < n_classes; c++)
    if (!isfinite(probabilities[c]))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "the model gives a probability of class %d that is not a number", c);
  return TINYTL_OK;
}
