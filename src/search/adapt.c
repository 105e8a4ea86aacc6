/* Adapting a super-net to pictures: TinyTL's feature extractor adaptation. The weights of its
 * layers stay as they are. A sub-net is folded as for use, with statistics of norms that it has as
 * pre-training left it, and goes through the program that trains biases, and lite modules where
 * training will: one picture at a time. So what is trained is what `train` would train in that
 * sub-net, and gradients are those of what is measured. */
#include <stdlib.h>
#include <string.h>

#include "search/searcher.h"
#include "train/builder.h"
#include "train/rules.h"

enum {
  LARGEST_BATCH = 32, /* pictures of an update, which sees one sub-net, and of its statistics */
  SMALLEST_BATCH = 8, /* training's default, which its rules' rates were found with */
  EPOCH_UPDATES = 4   /* batches are smaller where an epoch would have fewer */
};

/* ---- Memory ------------------------------------------------------------------------------- */

static tinytl_status make_program(const tinytl_searcher *s, tinytl_program **program,
                                  tinytl_error *error) {
  const tinytl_adaptation *a = &s->adaptation;
  const tinytl_program_options options = {
      .goal = TINYTL_GOAL_TRAIN, .n_threads = tinytl_n_threads(s->options->train.n_threads)};
  return tinytl_program_create(a->network, a->params, &options, tinytl_kernels_get(), program,
                               error);
}

static tinytl_status set_network(tinytl_searcher *s, tinytl_error *error) {
  return tinytl_network_init(s->adaptation.network, &s->folded, s->input.size, s->train->n_classes,
                             false, error);
}

/* The arena for this sub-net. */
static tinytl_status count_program(tinytl_searcher *s, const tinytl_subnet *subnet,
                                   tinytl_error *error) {
  tinytl_adaptation *a = &s->adaptation;
  tinytl_program *program;
  tinytl_shape_set(&s->folded, s->supernet, subnet);
  TINYTL_TRY(set_network(s, error));
  tinytl_params_layout(a->params, a->network, a->method);
  TINYTL_TRY(make_program(s, &program, error));
  a->program_nbytes = tinytl_size_max(a->program_nbytes, program->nbytes);
  tinytl_program_free(program);
  memset(&s->folded, 0, sizeof s->folded);
  return TINYTL_OK;
}

tinytl_status tinytl_adaptation_init(tinytl_searcher *s, tinytl_method method,
                                     tinytl_error *error) {
  const tinytl_subnet largest = tinytl_subnet_largest(&s->supernet->space);
  tinytl_subnet smallest = tinytl_subnet_smallest(&s->supernet->space);
  tinytl_adaptation *a = &s->adaptation;
  smallest.size = largest.size;
  a->method = method;
  a->params = malloc(sizeof *a->params);
  a->network = malloc(sizeof *a->network);
  a->gradients = malloc(sizeof *a->gradients);
  if (!a->params || !a->network || !a->gradients)
    return tinytl_fail_memory(error, sizeof *a->network);
  TINYTL_TRY(count_program(s, &smallest, error));
  return count_program(s, &largest, error);
}

void tinytl_adaptation_free(tinytl_adaptation *a) {
  free(a->params);
  free(a->network);
  free(a->gradients);
}

/* Its own, and a program while it is being made. */
size_t tinytl_adaptation_heap_nbytes(const tinytl_searcher *s) {
  return sizeof(tinytl_params) + sizeof(tinytl_network) + sizeof(tinytl_gradients) +
         tinytl_program_heap_nbytes(s->shared.arch.n_layers, s->shared.arch.n_lite);
}

/* ---- Where the values lie ----------------------------------------------------------------- */

/* All of the largest sub-net: of each of its lite modules these tensors, all but the last one. */
enum { TRAINED_TENSORS = TINYTL_LITE_SHIFT2 };

static size_t classifier_offset(const tinytl_adaptation *a, bool of_bias) {
  return tinytl_params_offset(
      a->params, (tinytl_segment){.layer = -1, .lite = -1, .classifier_bias = of_bias});
}

tinytl_weight tinytl_adaptation_classifier(const tinytl_adaptation *a, const float **bias) {
  *bias = a->values + classifier_offset(a, true);
  return (tinytl_weight){.f32 = a->values + classifier_offset(a, false)};
}

/* Of layer i of the sub-net that is worked on. */
static size_t bias_offset(const tinytl_searcher *s, int i) {
  const tinytl_segment bias = {.group = TINYTL_GROUP_BIAS, .layer = s->part.layers[i], .lite = -1};
  return tinytl_params_offset(s->adaptation.params, bias);
}

/* Of a tensor of a module of the largest sub-net. */
static size_t lite_offset(const tinytl_searcher *s, int whole, int tensor) {
  const tinytl_segment of_module = {
      .group = TINYTL_GROUP_LITE, .layer = -1, .lite = whole, .tensor = tensor};
  return tinytl_params_offset(s->adaptation.params, of_module);
}

static int n_trained_modules(const tinytl_searcher *s, const tinytl_arch *arch) {
  return s->adaptation.method == TINYTL_METHOD_LITE_BIAS ? arch->n_lite : 0;
}

static size_t tensor_n(const tinytl_lite *lite, int tensor) {
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(lite, tensors);
  return tensors[tensor].n;
}

/* Lite modules begin as pre-training left them. */
static void begin_lite(tinytl_searcher *s) {
  const tinytl_arch *arch = &s->shared.arch;
  for (int m = 0; m < n_trained_modules(s, arch); m++)
    for (int t = 0; t < TRAINED_TENSORS; t++)
      memcpy(s->adaptation.values + lite_offset(s, m, t),
             s->supernet->values + s->shared.params.lite[m][t],
             tensor_n(&arch->lite[m], t) * sizeof(float));
}

/* Module m of the sub-net that is worked on, out of what was adapted. */
static void copy_lite(const tinytl_searcher *s, int m) {
  const int whole = tinytl_shared_values_module(&s->shared, &s->part, m);
  const tinytl_lite *lite = &s->part.arch.lite[m];
  const float *all = s->adaptation.values;
  const size_t *to = s->part.params.lite[m];
  for (int t = TINYTL_LITE_CONV + 1; t < TRAINED_TENSORS; t++)
    memcpy(s->values + to[t], all + lite_offset(s, whole, t), tensor_n(lite, t) * sizeof *all);
  tinytl_lite_conv_move(&s->shared.arch.lite[whole], lite,
                        all + lite_offset(s, whole, TINYTL_LITE_CONV),
                        s->values + to[TINYTL_LITE_CONV], false);
}

void tinytl_adaptation_apply(const tinytl_searcher *s) {
  for (int i = 0; i < s->part.arch.n_layers; i++)
    s->run.run.kernels->add(s->values + s->part.params.shift[i],
                            s->adaptation.values + bias_offset(s, i),
                            (size_t)s->part.arch.layers[i].out_c);
  for (int m = 0; m < n_trained_modules(s, &s->part.arch); m++) copy_lite(s, m);
}

/* ---- Gradients ---------------------------------------------------------------------------- */

static bool is_smaller(const tinytl_searcher *s, int m) {
  const tinytl_lite *whole =
      &s->shared.arch.lite[tinytl_shared_values_module(&s->shared, &s->part, m)];
  const tinytl_lite *lite = &s->part.arch.lite[m];
  return lite->kernel != whole->kernel || lite->groups != whole->groups;
}

size_t tinytl_adaptation_n_part(const tinytl_searcher *s) {
  size_t n = 0;
  for (int m = 0; m < n_trained_modules(s, &s->shared.arch); m++)
    n += (tensor_n(&s->shared.arch.lite[m], TINYTL_LITE_CONV) + 1) / 2;
  return n;
}

/* The gradients of module m go to those of the largest sub-net's; of a smaller convolution to
 * `conv` first. Returns what that takes. */
static size_t point_at_lite(tinytl_searcher *s, int m, float *conv) {
  float **gradient = s->adaptation.gradients->lite[m];
  const int whole = tinytl_shared_values_module(&s->shared, &s->part, m);
  const size_t n = tensor_n(&s->part.arch.lite[m], TINYTL_LITE_CONV);
  for (int t = 0; t < TRAINED_TENSORS; t++)
    gradient[t] = s->adaptation.gradient + lite_offset(s, whole, t);
  if (!is_smaller(s, m)) return 0;
  memset(conv, 0, n * sizeof *conv);
  gradient[TINYTL_LITE_CONV] = conv;
  return n;
}

static void add_lite_gradients(tinytl_searcher *s) {
  const tinytl_adaptation *a = &s->adaptation;
  for (int m = 0; m < n_trained_modules(s, &s->part.arch); m++) {
    const int whole = tinytl_shared_values_module(&s->shared, &s->part, m);
    if (is_smaller(s, m))
      tinytl_lite_conv_move(&s->shared.arch.lite[whole], &s->part.arch.lite[m],
                            a->gradients->lite[m][TINYTL_LITE_CONV],
                            a->gradient + lite_offset(s, whole, TINYTL_LITE_CONV), true);
  }
}

static void point_at_values(tinytl_searcher *s) {
  tinytl_adaptation *a = &s->adaptation;
  tinytl_gradients *gradients = a->gradients;
  float *conv = a->part_gradient;
  a->network->classifier = tinytl_adaptation_classifier(a, &a->network->classifier_bias);
  memset(gradients, 0, sizeof *gradients);
  gradients->classifier = a->gradient + classifier_offset(a, false);
  gradients->classifier_bias = a->gradient + classifier_offset(a, true);
  for (int i = 0; i < s->part.arch.n_layers; i++)
    gradients->bias[i] = a->gradient + bias_offset(s, i);
  for (int m = 0; m < n_trained_modules(s, &s->part.arch); m++) conv += point_at_lite(s, m, conv);
}

/* ---- Steps -------------------------------------------------------------------------------- */

void tinytl_adaptation_classify(const tinytl_searcher *s, const float *features) {
  const float *bias;
  const tinytl_weight classifier = tinytl_adaptation_classifier(&s->adaptation, &bias);
  tinytl_linear_forward(&s->run.run, s->shared.arch.n_features, s->train->n_classes, &classifier,
                        bias, features, s->logits);
}

static double run_program(tinytl_searcher *s, const tinytl_program *program) {
  const tinytl_adaptation *a = &s->adaptation;
  const tinytl_train_options *train = &s->options->train;
  tinytl_machine machine = {.network = a->network,
                            .program = program,
                            .gradients = a->gradients,
                            .arena = s->work,
                            .run = {.kernels = tinytl_kernels_get(), .pool = s->threads.pool}};
  const float smoothing =
      train->label_smoothing < 0 ? tinytl_rules_label_smoothing(a->method) : train->label_smoothing;
  double loss = 0;
  for (int i = 0; i < s->run.n_images; i++) {
    const tinytl_target target = {.label = s->labels[i],
                                  .weight = a->class_weights[s->labels[i]],
                                  .label_smoothing = smoothing,
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
  tinytl_adaptation_apply(s);
  TINYTL_TRY(set_network(s, error));
  TINYTL_TRY(make_program(s, &program, error));
  *fits = program->nbytes <= s->work_nbytes;
  if (*fits) {
    point_at_values(s);
    *loss = run_program(s, program);
    add_lite_gradients(s);
  }
  tinytl_program_free(program);
  return TINYTL_OK;
}

void tinytl_adaptation_begin(tinytl_searcher *s) {
  tinytl_adaptation *a = &s->adaptation;
  const int n_images = s->train->n_images, n_epochs = s->options->train.epochs;
  a->batch = LARGEST_BATCH;
  while (a->batch > SMALLEST_BATCH && n_images < EPOCH_UPDATES * a->batch) a->batch /= 2;
  if (a->batch > n_images) a->batch = n_images;
  if (a->batch > s->batch) a->batch = s->batch;
  const tinytl_rules rules =
      tinytl_rules_make(a->method, TINYTL_OPTIMIZER_ADAM, n_images, a->batch, false, 1);
  a->n_epochs = n_epochs ? n_epochs : rules.epochs;
  a->n_steps = (uint64_t)(n_images / a->batch) * (uint64_t)a->n_epochs;
  a->n_warmup = (uint64_t)((float)a->n_steps * rules.warmup);
  memcpy(a->lr, rules.lr, sizeof a->lr);
  tinytl_rules_weigh_classes(s->train, a->class_weights);
  begin_lite(s);
}

void tinytl_adaptation_update(tinytl_searcher *s) {
  tinytl_adaptation *a = &s->adaptation;
  const float share = tinytl_schedule(a->optimizer.step, a->n_warmup, a->n_steps);
  float lr[TINYTL_N_GROUPS];
  for (int g = 0; g < TINYTL_N_GROUPS; g++) lr[g] = a->lr[g] * share;
  tinytl_optimizer_begin(&a->optimizer, lr, 1.0f / (float)s->run.n_images);
  for (int k = 0; k < a->params->n_trained_segments; k++) {
    const size_t first = a->params->segments[k].offset;
    tinytl_optimizer_update(&a->optimizer, a->params, k, 0, a->params->segments[k].n,
                            tinytl_kernels_get(), s->threads.pool, a->gradient + first,
                            a->values + first);
  }
}
