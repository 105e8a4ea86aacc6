/* The gradient of every training method, through the whole network, against central differences of
 * the reference network in double. */
#include "support/cmocka.h"
#include "support/reference.h"
#include "support/tiny_net.h"

#include "core/rng.h"
#include "train/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
  tinytl_backbone *backbone;
  tinytl_network network;
  tinytl_params params;
  tinytl_gradients gradients;
  float *values, *gradient;
  uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
} fixture;

static const tinytl_target target = {.label = 3, .weight = 1.25f, .label_smoothing = 0.1f};

static fixture *make(tinytl_method method, tinytl_weights weights, tinytl_pad pad, bool with_lite) {
  fixture *f = calloc(1, sizeof *f);
  tinytl_error error = {0};
  f->backbone = tiny_backbone(weights, pad, with_lite);
  assert_int_equal(tinytl_network_init(&f->network, f->backbone, TINY_SIZE, TINY_CLASSES,
                                       tinytl_method_trains_lite(method), &error),
                   TINYTL_OK);
  tinytl_params_layout(&f->params, &f->network, method);
  f->values = calloc(f->params.n, sizeof *f->values);
  f->gradient = calloc(f->params.n_trained, sizeof *f->gradient);
  tinytl_params_init(&f->params, &f->network, 5, NULL, f->values);
  tiny_perturb(&f->params, 6, f->values);
  tinytl_gradients_layout(&f->gradients, &f->params, &f->network, tinytl_kernels_get(),
                          NONE_DEFERRED);
  tinytl_gradients_place(&f->gradients, &f->params, f->gradient);
  tiny_picture(4, f->rgb);
  return f;
}

static void destroy(fixture *f) {
  tinytl_backbone_free(f->backbone);
  free(f->values);
  free(f->gradient);
  free(f);
}

/* Loss and gradient (added to f->gradient) by the program under test. */
static float run_with(fixture *f, int n_threads, bool recompute, bool fuse) {
  tinytl_program *program = NULL;
  tinytl_pool *pool = NULL;
  const tinytl_kernels *kernels = tinytl_kernels_get();
  const tinytl_program_options options = {.goal = TINYTL_GOAL_TRAIN,
                                          .recompute = recompute,
                                          .n_threads = 2,
                                          .fusing = fuse ? TINYTL_FUSE_ALL : TINYTL_FUSE_NONE};
  assert_int_equal(
      tinytl_program_create(&f->network, &f->params, &options, kernels, &program, NULL), TINYTL_OK);
  assert_int_equal(tinytl_pool_create(n_threads, &pool, NULL), TINYTL_OK);
  tinytl_machine machine = {.network = &f->network,
                            .program = program,
                            .gradients = &f->gradients,
                            .arena = aligned_alloc(TINYTL_ARENA_ALIGN, program->nbytes),
                            .run = {.kernels = kernels, .pool = pool}};
  /* Whatever the arena holds must not matter. */
  memset(machine.arena, 0xff, program->nbytes);
  const float loss = tinytl_machine_run(&machine, f->rgb, &target);
  free(machine.arena);
  tinytl_pool_free(pool);
  tinytl_program_free(program);
  return loss;
}

static float run(fixture *f, int n_threads) {
  return run_with(f, n_threads, false, false);
}

static reference_net *make_reference(const fixture *f) {
  tinytl_backbone *model = malloc(sizeof *model);
  *model = *f->backbone;
  memcpy(model->weight, f->network.weight, sizeof model->weight);
  memcpy(model->bias, f->network.bias, sizeof model->bias);
  model->arch.n_lite = f->network.n_lite;
  memcpy(model->arch.lite, f->network.lite, sizeof model->arch.lite);
  memcpy(model->lite, f->network.lite_values, sizeof model->lite);
  model->classifier = f->network.classifier;
  model->classifier_bias = f->network.classifier_bias;
  reference_net *net = reference_net_make(model);
  free(model);
  return net;
}

static const reference_segment *find(const reference_net *net, const tinytl_segment *segment) {
  if (segment->group == TINYTL_GROUP_BIAS)
    return reference_find(net, REFERENCE_BIAS, segment->layer);
  if (segment->group == TINYTL_GROUP_GAIN)
    return reference_find(net, REFERENCE_GAIN, segment->layer);
  if (segment->group == TINYTL_GROUP_WEIGHT)
    return reference_find(net, REFERENCE_WEIGHT, segment->layer);
  if (segment->group == TINYTL_GROUP_LITE)
    return reference_find(net, (reference_kind)(REFERENCE_LITE_CONV + segment->tensor),
                          segment->lite);
  return reference_find(
      net, segment->classifier_bias ? REFERENCE_CLASSIFIER_BIAS : REFERENCE_CLASSIFIER, 0);
}

/* Compares along one random direction inside one trained segment. False where a kink is in the way.
 */
static bool check_segment(const fixture *f, reference_net *net, int s, uint64_t seed) {
  const tinytl_segment *segment = &f->params.segments[s];
  const reference_segment *twin = find(net, segment);
  assert_non_null(twin);
  assert_int_equal(twin->n, segment->n);
  double *direction = calloc(net->n_values, sizeof *direction);
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, (uint64_t)s, 9);
  double got = 0, size = 0, want = 0;
  for (size_t i = 0; i < segment->n; i++) {
    const double d = (double)tinytl_rng_normal(&rng);
    const double g = (double)f->gradient[segment->offset + i];
    direction[twin->first + i] = d;
    got += g * d;
    size += g * g;
  }
  got /= (double)target.weight;
  const bool smooth = reference_derivative(net, direction, 1e-6, f->rgb, TINY_SIZE, target.label,
                                           (double)target.label_smoothing, &want);
  free(direction);
  /* The sum of n random terms is about the gradient's norm large. */
  if (smooth && fabs(got - want) > 2e-4 * sqrt(size) + 1e-6)
    fail_msg("method %s, segment %d (layer %d, lite %d, tensor %d): derivative %.9g, expected %.9g",
             tinytl_method_name(f->params.method), s, segment->layer, segment->lite,
             segment->tensor, got, want);
  return smooth;
}

static void check_method(tinytl_method method, tinytl_weights weights, tinytl_pad pad,
                         bool with_lite, bool recompute, bool fuse) {
  fixture *f = make(method, weights, pad, with_lite);
  reference_net *net = make_reference(f);
  const double want =
      reference_loss(net, f->rgb, TINY_SIZE, target.label, (double)target.label_smoothing, NULL);
  const float loss = run_with(f, 2, recompute, fuse);
  assert_true(fabs((double)loss - want) < 1e-4 * (1 + fabs(want)));
  int n_checked = 0, n_trained = 0;
  for (int s = 0; s < f->params.n_segments; s++) {
    if (f->params.segments[s].offset >= f->params.n_trained) continue;
    n_trained++;
    bool smooth = false;
    for (uint64_t seed = 0; seed < 3; seed++) smooth = check_segment(f, net, s, seed) || smooth;
    n_checked += smooth;
  }
  assert_true(n_checked * 10 >= n_trained * 9);
  reference_net_free(net);
  destroy(f);
}

static void test_every_method(void **state) {
  (void)state;
  for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++)
    for (int with_lite = 0; with_lite < 2; with_lite++) {
      check_method((tinytl_method)method, TINYTL_WEIGHTS_F32, TINYTL_PAD_SYMMETRIC, with_lite,
                   false, false);
      check_method((tinytl_method)method, TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, with_lite, true,
                   true);
    }
}

static void check_any_threads(tinytl_method method) {
  fixture *f = make(method, TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  const float loss = run(f, 1);
  float *first = malloc(f->params.n_trained * sizeof *first);
  memcpy(first, f->gradient, f->params.n_trained * sizeof *first);
  for (int n_threads = 2; n_threads <= 4; n_threads++) {
    memset(f->gradient, 0, f->params.n_trained * sizeof *first);
    assert_true(run(f, n_threads) == loss);
    assert_memory_equal(f->gradient, first, f->params.n_trained * sizeof *first);
  }
  free(first);
  destroy(f);
}

static void test_any_threads(void **state) {
  (void)state;
  check_any_threads(TINYTL_METHOD_LITE_BIAS);
  check_any_threads(TINYTL_METHOD_NORM);
  check_any_threads(TINYTL_METHOD_FULL);
}

/* What is computed twice, or in strips, is the same: the loss and all gradients to the bit, but for
 * the order of the sums of biases where backward goes by strips. */
static void check_any_way(tinytl_method method) {
  for (int with_lite = 0; with_lite < 2; with_lite++) {
    fixture *f = make(method, TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, with_lite);
    const float loss = run(f, 1);
    float *first = malloc(f->params.n_trained * sizeof *first);
    memcpy(first, f->gradient, f->params.n_trained * sizeof *first);
    for (int way = 1; way < 4; way++) {
      memset(f->gradient, 0, f->params.n_trained * sizeof *first);
      assert_true(run_with(f, 2, way % 2, way / 2) == loss);
      for (int s = 0; s < f->params.n_segments; s++) {
        const tinytl_segment *segment = &f->params.segments[s];
        if (segment->offset >= f->params.n_trained) break;
        const bool strips = way >= 2 && method == TINYTL_METHOD_LITE_BIAS;
        const float tolerance = strips && segment->group == TINYTL_GROUP_BIAS ? 1e-5f : 0;
        for (size_t i = segment->offset; i < segment->offset + segment->n; i++)
          assert_true(fabsf(f->gradient[i] - first[i]) <= tolerance * (1 + fabsf(first[i])));
      }
    }
    free(first);
    destroy(f);
  }
}

static void test_any_way(void **state) {
  (void)state;
  check_any_way(TINYTL_METHOD_LITE_BIAS);
  check_any_way(TINYTL_METHOD_NORM);
  check_any_way(TINYTL_METHOD_FULL);
}

/* The gradient of a batch is the sum of its images' gradients. */
static void test_gradients_add_up(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LITE_BIAS, TINYTL_WEIGHTS_F32, TINYTL_PAD_SYMMETRIC, true);
  run(f, 1);
  float *first = malloc(f->params.n_trained * sizeof *first);
  memcpy(first, f->gradient, f->params.n_trained * sizeof *first);
  run(f, 1);
  for (size_t i = 0; i < f->params.n_trained; i++)
    assert_true(fabsf(f->gradient[i] - 2 * first[i]) <= 1e-5f + 1e-4f * fabsf(first[i]));
  free(first);
  destroy(f);
}

/* A lite module that was never trained is an exact identity: its final scale and shift are 0. */
static void test_fresh_lite_is_identity(void **state) {
  (void)state;
  float loss[2];
  for (int lite = 0; lite < 2; lite++) {
    fixture *f = make(lite ? TINYTL_METHOD_LITE : TINYTL_METHOD_LAST, TINYTL_WEIGHTS_F32,
                      TINYTL_PAD_SAME, false);
    tinytl_network_init(&f->network, f->backbone, TINY_SIZE, TINY_CLASSES, lite, NULL);
    tinytl_params_init(&f->params, &f->network, 5, NULL, f->values);
    loss[lite] = run(f, 1);
    destroy(f);
  }
  assert_true(loss[0] == loss[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_method),
      cmocka_unit_test(test_any_threads),
      cmocka_unit_test(test_any_way),
      cmocka_unit_test(test_gradients_add_up),
      cmocka_unit_test(test_fresh_lite_is_identity),
  };
  return cmocka_run_group_tests_name("gradient", tests, NULL, NULL);
}
