/* tinytl_predictor: inference with a backbone and an adapter. */
#include "data/loader.h"
#include "data/order.h"
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
                  : tinytl_input_resize_at(&backbone->input, p->network->image_size);

  const tinytl_kernels *kernels = tinytl_kernels_get();
  const tinytl_program_options options = {.goal = TINYTL_GOAL_LOGITS,
                                          .n_threads = tinytl_n_threads(n_threads)};
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

/* Makes probabilities of logits; the largest logit goes to *score. */
static tinytl_status judge(const tinytl_predictor *predictor, float *probabilities, float *score,
                           tinytl_error *error) {
  const int n_classes = predictor->network->n_classes;
  *score = tinytl_largest(n_classes, probabilities);
  tinytl_softmax_at(n_classes, predictor->temperature, probabilities);
  for (int c = 0; c < n_classes; c++)
    if (!isfinite(probabilities[c]))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "the model gives a probability of class %d that is not a number", c);
  return TINYTL_OK;
}

tinytl_status tinytl_predictor_run(tinytl_predictor *predictor, const uint8_t *rgb,
                                   float *probabilities, tinytl_error *error) {
  tinytl_machine_run(&predictor->machine, rgb, NULL);
  memcpy(probabilities, tinytl_machine_logits(&predictor->machine),
         (size_t)predictor->network->n_classes * sizeof *probabilities);
  float score;
  TINYTL_TRY(judge(predictor, probabilities, &score, error));
  predictor->score = score;
  return TINYTL_OK;
}

/* ---- Many pictures ------------------------------------------------------------------------ */

typedef struct lanes {
  tinytl_machine machines[TINYTL_MAX_LANES];
  int n;
  int *order; /* of the pictures: that of their numbers */
  unsigned char *arenas;
  void *loader_memory;
  tinytl_loader *loader;
} lanes;

static tinytl_status make_lanes(tinytl_predictor *predictor, int n_images,
                                const tinytl_loader_options *options, lanes *l,
                                tinytl_error *error) {
  const size_t arena = predictor->program->nbytes, loader = tinytl_loader_nbytes(options);
  size_t arenas; /* the first lane has the predictor's own */
  if (!tinytl_size_mul((size_t)l->n - 1, arena, &arenas))
    return tinytl_fail_memory(error, SIZE_MAX);
  l->order = malloc((size_t)n_images * sizeof *l->order);
  if (arenas > 0) l->arenas = aligned_alloc(TINYTL_ARENA_ALIGN, arenas);
  l->loader_memory = malloc(loader);
  if (!l->order || (arenas > 0 && !l->arenas) || !l->loader_memory)
    return tinytl_fail_memory(error, arenas + loader + (size_t)n_images * sizeof *l->order);
  tinytl_order_by_number(n_images, l->order);
  for (int i = 0; i < l->n; i++) {
    l->machines[i] = predictor->machine;
    if (i > 0) l->machines[i].arena = l->arenas + (size_t)(i - 1) * arena;
  }
  return tinytl_loader_create(options, l->loader_memory, &l->loader, error);
}

static void free_lanes(lanes *l) {
  tinytl_loader_free(l->loader);
  free(l->loader_memory);
  free(l->arenas);
  free(l->order);
}

/* The next pictures that can be read, of those that are left: one a lane, if there are as many. */
static tinytl_status take_samples(lanes *l, int *n_left, tinytl_sample *samples, int *n,
                                  tinytl_error *error) {
  int n_taken = 0;
  while (*n_left > 0 && n_taken < l->n) {
    TINYTL_TRY(tinytl_loader_next(l->loader, &samples[n_taken], error));
    if (!samples[n_taken].skipped) n_taken++;
    --*n_left;
  }
  *n = n_taken;
  return TINYTL_OK;
}

static tinytl_status run_lanes(const tinytl_predictor *predictor, lanes *l, int n_images,
                               tinytl_answer_fn answer, void *context, tinytl_error *error) {
  for (int n_left = n_images; n_left > 0;) {
    tinytl_sample samples[TINYTL_MAX_LANES];
    tinytl_job jobs[TINYTL_MAX_LANES] = {{0}};
    int n;
    TINYTL_TRY(take_samples(l, &n_left, samples, &n, error));
    for (int i = 0; i < n; i++) jobs[i].rgb = samples[i].rgb;
    tinytl_machines_run(l->machines, jobs, n, predictor->pool);
    for (int i = 0; i < n; i++) {
      float *logits = tinytl_machine_logits(&l->machines[i]), score;
      TINYTL_TRY(judge(predictor, logits, &score, error));
      TINYTL_TRY(answer(context, samples[i].index, logits, score, error));
      tinytl_loader_release(l->loader, &samples[i]);
    }
  }
  return TINYTL_OK;
}

tinytl_status tinytl_predictor_run_all(tinytl_predictor *predictor, const tinytl_images *images,
                                       tinytl_skip_fn skip, tinytl_answer_fn answer, void *context,
                                       tinytl_error *error) {
  const tinytl_view view = tinytl_predictor_view(predictor);
  lanes l = {.n = tinytl_min(tinytl_pool_n_threads(predictor->pool), TINYTL_MAX_LANES)};
  const tinytl_loader_options options = {.capacity = 2 * l.n,
                                         .n_workers = l.n,
                                         .max_size = view.size,
                                         .skip = skip,
                                         .skip_context = context};
  if (images->n_images < 1) return TINYTL_OK;
  tinytl_status status = make_lanes(predictor, images->n_images, &options, &l, error);
  if (status == TINYTL_OK)
    status = tinytl_loader_start(l.loader, images, l.order, images->n_images, &view, error);
  if (status == TINYTL_OK)
    status = run_lanes(predictor, &l, images->n_images, answer, context, error);
  free_lanes(&l);
  return status;
}
