/* Adapting a super-net to pictures: TinyTL's feature extractor adaptation. Weights stay as they
 * are. A sub-net is folded as for use, with statistics of norms that it has as pre-training left
 * it, and goes through the program that trains biases: one picture at a time. So what is trained is
 * what `train` would train in that sub-net, and gradients are those of what is measured. */
#include <stdlib.h>
#include <string.h>

#include "search/searcher.h"
#include "train/builder.h"
#include "train/rules.h"

#define METHOD TINYTL_METHOD_BIAS

enum {
  LARGEST_BATCH = 32, /* pictures of an update, and of the statistics behind it */
  SMALLEST_BATCH = 8,
  EPOCH_UPDATES = 4 /* batches are smaller where an epoch would have fewer */
};

/* ---- Memory ------------------------------------------------------------------------------- */

static tinytl_status make_program(const tinytl_adaptation *a, tinytl_program **program,
                                  tinytl_error *error) {
  const tinytl_program_options options = {.goal = TINYTL_GOAL_TRAIN,
                                          .fuse_above = TINYTL_FUSE_ABOVE};
  return tinytl_program_create(a->network, a->params, &options, tinytl_kernels_get(), program,
                               error);
}

static tinytl_status set_network(tinytl_searcher *s, tinytl_error *error) {
  return tinytl_network_init(s->adaptation->network, &s->folded, s->input.size, s->train->n_classes,
                             false, error);
}

/* The arena for this sub-net. */
static tinytl_status count_program(tinytl_searcher *s, const tinytl_subnet *subnet,
                                   tinytl_error *error) {
  tinytl_adaptation *a = s->adaptation;
  tinytl_program *program;
  tinytl_shape_set(&s->folded, s->supernet, subnet);
  s->folded.input = s->input;
  TINYTL_TRY(set_network(s, error));
  tinytl_params_layout(a->params, a->network, METHOD);
  TINYTL_TRY(make_program(a, &program, error));
  a->program_nbytes = tinytl_size_max(a->program_nbytes, program->nbytes);
  tinytl_program_free(program);
  memset(&s->folded, 0, sizeof s->folded);
  return TINYTL_OK;
}

void tinytl_adaptation_begin(tinytl_searcher *s) {
  tinytl_adaptation *a = s->adaptation;
  const int n_images = s->train->n_images, n_epochs = s->options->train.epochs;
  a->batch = LARGEST_BATCH;
  while (a->batch > SMALLEST_BATCH && n_images < EPOCH_UPDATES * a->batch) a->batch /= 2;
  if (a->batch > n_images) a->batch = n_images;
  if (a->batch > s->batch) a->batch = s->batch;
  const tinytl_rules rules =
      tinytl_rules_make(METHOD, TINYTL_OPTIMIZER_ADAM, n_images, a->batch, false);
  a->n_epochs = n_epochs ? n_epochs : rules.epochs;
  a->n_steps = (uint64_t)(n_images / a->batch) * (uint64_t)a->n_epochs;
  a->n_warmup = (uint64_t)((float)a->n_steps * rules.warmup);
  memcpy(a->lr, rules.lr, sizeof a->lr);
  tinytl_rules_weigh_classes(s->train, a->class_weights);
}

tinytl_status tinytl_adaptation_init(tinytl_searcher *s, tinytl_error *error) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&s->supernet->space);
  const tinytl_subnet largest = tinytl_subnet_largest(&s->supernet->space);
  tinytl_adaptation *a = calloc(1, sizeof *a);
  if (!a) return tinytl_fail_memory(error, sizeof *a);
  s->adaptation = a;
  a->params = malloc(sizeof *a->params);
  a->network = malloc(sizeof *a->network);
  a->gradients = malloc(sizeof *a->gradients);
  if (!a->params || !a->network || !a->gradients)
    return tinytl_fail_memory(error, sizeof *a->network);
  TINYTL_TRY(count_program(s, &smallest, error));
  return count_program(s, &largest, error);
}

void tinytl_adaptation_free(tinytl_adaptation *a) {
  if (!a) return;
  free(a->params);
  free(a->network);
  free(a->gradients);
  free(a);
}

/* Its own, and a program while it is being made: tinytl_program_create says how many steps and
 * buffers a layer has at most. */
size_t tinytl_adaptation_heap_nbytes(const tinytl_searcher *s) {
  const tinytl_adaptation *a = s->adaptation;
  const size_t n_layers = (size_t)s->shared.arch.n_layers;
  return sizeof *a + sizeof *a->params + sizeof *a->network + sizeof *a->gradients +
         sizeof(tinytl_program) + sizeof(tinytl_builder) +
         n_layers * (6 * sizeof(tinytl_step) +
                     10 * (sizeof(tinytl_buffer) + sizeof(tinytl_purpose) + 3 * sizeof(void *)));
}

/* ---- Where the values lie ----------------------------------------------------------------- */

/* The classifier, its bias, then the biases of the largest sub-net's layers. */
enum { CLASSIFIER, CLASSIFIER_BIAS, FIRST_BIAS };

static size_t offset_of(const tinytl_searcher *s, int segment) {
  return s->adaptation->params->segments[segment].offset;
}

/* Of layer i of the sub-net that is worked on. */
static size_t bias_offset(const tinytl_searcher *s, int i) {
  return offset_of(s, FIRST_BIAS + s->part.layers[i]);
}

void tinytl_adaptation_add_biases(const tinytl_searcher *s) {
  for (int i = 0; i < s->part.arch.n_layers; i++)
    s->run.run.kernels->add(s->values + s->part.params.shift[i],
                            s->adaptation->values + bias_offset(s, i),
                            (size_t)s->part.arch.layers[i].out_c);
}

static void point_at_values(tinytl_searcher *s) {
  tinytl_adaptation *a = s->adaptation;
  tinytl_gradients *gradients = a->gradients;
  a->network->classifier = (tinytl_weight){.f32 = a->values + offset_of(s, CLASSIFIER)};
  a->network->classifier_bias = a->values + offset_of(s, CLASSIFIER_BIAS);
  memset(gradients, 0, sizeof *gradients);
  gradients->classifier = a->gradient + offset_of(s, CLASSIFIER);
  gradients->classifier_bias = a->gradient + offset_of(s, CLASSIFIER_BIAS);
  for (int i = 0; i < s->part.arch.n_layers; i++)
    gradients->bias[i] = a->gradient + bias_offset(s, i);
}

int tinytl_adaptation_predict(const tinytl_searcher *s, const float *features) {
  const tinytl_adaptation *a = s->adaptation;
  const tinytl_weight classifier = {.f32 = a->values + offset_of(s, CLASSIFIER)};
  const int n_classes = s->train->n_classes;
  int best = 0;
  tinytl_linear_forward(&s->run.run, s->shared.arch.n_features, n_classes, &classifier,
                        a->values + offset_of(s, CLASSIFIER_BIAS), features, s->logits);
  for (int k = 1; k < n_classes; k++)
    if (s->logits[k] > s->logits[best]) best = k;
  return best;
}

/* ---- Steps -------------------------------------------------------------------------------- */

static double run_program(tinytl_searcher *s, const tinytl_program *program) {
  const tinytl_adaptation *a = s->adaptation;
  const tinytl_train_options *train = &s->options->train;
  tinytl_machine machine = {.network = a->network,
                            .program = program,
                            .gradients = a->gradients,
                            .arena = s->work,
                            .run = {.kernels = tinytl_kernels_get(), .pool = s->threads.pool}};
  double loss = 0;
  for (int i = 0; i < s->n_held; i++) {
    const tinytl_target target = {.label = s->labels[i],
                                  .weight = a->class_weights[s->labels[i]],
                                  .label_smoothing =
                                      train->label_smoothing < 0 ? 0.1f : train->label_smoothing,
                                  .dropout = train->dropout,
                                  .seed = train->seed,
                                  .epoch = (uint64_t)s->at.epoch,
                                  .image = (uint64_t)s->indices[i]};
    loss += (double)tinytl_machine_run(&machine, s->rgb[i], &target);
  }
  return loss;
}

tinytl_status tinytl_adaptation_add_gradient(tinytl_searcher *s, const tinytl_subnet *subnet,
                                             bool *fits, double *loss, tinytl_error *error) {
  tinytl_program *program;
  TINYTL_TRY(tinytl_searcher_choose(s, subnet, error));
  tinytl_batch_forward(&s->run, NULL);
  /* From here on the maps' memory is the program's. */
  const tinytl_batch_statistics own = tinytl_batch_own_statistics(&s->run);
  tinytl_searcher_fold(s, &own);
  tinytl_adaptation_add_biases(s);
  TINYTL_TRY(set_network(s, error));
  TINYTL_TRY(make_program(s->adaptation, &program, error));
  *fits = program->nbytes <= s->work_nbytes;
  if (*fits) {
    point_at_values(s);
    *loss = run_program(s, program);
  }
  tinytl_program_free(program);
  return TINYTL_OK;
}

void tinytl_adaptation_update(tinytl_searcher *s) {
  tinytl_adaptation *a = s->adaptation;
  const float share = tinytl_schedule(a->optimizer.step, a->n_warmup, a->n_steps);
  float lr[TINYTL_N_GROUPS];
  for (int g = 0; g < TINYTL_N_GROUPS; g++) lr[g] = a->lr[g] * share;
  tinytl_optimizer_begin(&a->optimizer, lr, 1.0f / (float)s->n_held);
  for (int k = 0; k < a->params->n_segments; k++) {
    const size_t first = a->params->segments[k].offset;
    tinytl_optimizer_update(&a->optimizer, a->params, k, 0, a->params->segments[k].n,
                            tinytl_kernels_get(), s->threads.pool, a->gradient + first,
                            a->values + first);
  }
}
