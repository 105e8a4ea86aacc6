/* Adapting: gradients against the double-precision reference, and memory against the plan. */
#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/searcher.h"
#include "support/memory_images.h"
#include "support/reference.h"

enum { TRAIN = 40, VAL = 12 };

typedef struct fixture {
  memory_images train, val;
  tinytl_supernet *supernet;
  tinytl_search_options options;
  tinytl_searcher *s;
} fixture;

static fixture *make(bool lite, int epochs) {
  fixture *f = calloc(1, sizeof *f);
  tinytl_pretrain_options pretrain;
  memory_images_init(&f->train, TRAIN, 1);
  memory_images_init(&f->val, VAL, 2);
  tinytl_pretrain_options_init(&pretrain);
  pretrain.epochs = 8;
  pretrain.batch = 20;
  pretrain.image_size = 32;
  pretrain.lite = lite;
  assert_int_equal(tinytl_pretrain_supernet("supernet-0.1", &f->train.images, NULL, &pretrain,
                                            &f->supernet, NULL, NULL),
                   TINYTL_OK);
  tinytl_search_options_init(&f->options);
  f->options.candidates = 16;
  f->options.train.epochs = epochs;
  f->options.train.n_threads = 1;
  f->options.train.dropout = 0;
  assert_int_equal(tinytl_searcher_create(
                       f->supernet, &f->train.images, &f->val.images, &f->options,
                       lite ? TINYTL_METHOD_LITE_BIAS : TINYTL_METHOD_BIAS, NULL, &f->s, NULL),
                   TINYTL_OK);
  f->s->at.epoch = 1;
  return f;
}

static void discard(fixture *f) {
  tinytl_searcher_free(f->s);
  tinytl_supernet_free(f->supernet);
  free(f);
}

static void hold(tinytl_searcher *s) {
  assert_int_equal(tinytl_searcher_hold_update(s, 1, 0, 0, s->adaptation.batch, NULL), TINYTL_OK);
  assert_int_equal(s->run.n_images, s->adaptation.batch);
}

static void move_values(tinytl_searcher *s, uint64_t seed) {
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 0, 0);
  for (size_t i = 0; i < s->adaptation.params->n_trained; i++)
    s->adaptation.values[i] += 0.1f * tinytl_rng_normal(&rng);
}

/* The folded sub-net, with what is adapted, in double precision. */
static reference_net *reference_of(const tinytl_searcher *s) {
  const tinytl_adaptation *a = &s->adaptation;
  tinytl_backbone *model = malloc(sizeof *model);
  *model = s->folded;
  model->arch.n_classes = MEMORY_CLASSES;
  model->classifier = (tinytl_weight){.f32 = a->values};
  model->classifier_bias = a->values + a->params->segments[1].offset;
  reference_net *net = reference_net_make(model);
  free(model);
  return net;
}

/* Number of module m's block, and so of its module, in the largest sub-net. */
static int whole_of(const tinytl_searcher *s, int m) {
  const int first = s->part.layers[s->part.arch.blocks[s->part.arch.lite[m].block].first];
  return (first - 3) / 3;
}

/* Which value of the whole module's tensor value i of the part's is. */
static size_t place_of(const tinytl_lite *whole, const tinytl_lite *part, int tensor, size_t i) {
  if (tensor != TINYTL_LITE_CONV) return i;
  const int in = part->in_c / part->groups, whole_in = whole->in_c / whole->groups;
  const int c = (int)i % in, kx = (int)i / in % part->kernel;
  const int ky = (int)i / in / part->kernel % part->kernel;
  const int o = (int)i / in / part->kernel / part->kernel;
  const int channel = o * part->groups / part->mid_c * in + c,
            border = part->kernel < whole->kernel;
  return (size_t)(((o * whole->kernel + ky + border) * whole->kernel + kx + border) * whole_in +
                  channel % whole_in);
}

/* The gradient of what a sub-net has of a shared tensor, along a random direction. */
static double add_tensor(const tinytl_searcher *s, const reference_segment *segment, int shared,
                         int m, tinytl_rng *rng, double *direction) {
  const tinytl_adaptation *a = &s->adaptation;
  const tinytl_segment *whole = &a->params->segments[shared];
  double along = 0;
  for (size_t i = 0; i < segment->n; i++) {
    const size_t place = m < 0 ? i
                               : place_of(&s->shared.arch.lite[whole->lite], &s->part.arch.lite[m],
                                          whole->tensor, i);
    direction[segment->first + i] = (double)tinytl_rng_normal(rng);
    along += direction[segment->first + i] * (double)a->gradient[whole->offset + place];
  }
  return along;
}

/* A random direction over the shared values, and the same in the reference of the sub-net; returns
 * the gradient along it. */
static double draw_direction(const tinytl_searcher *s, const reference_net *net, uint64_t seed,
                             double *direction) {
  const tinytl_params *params = s->adaptation.params;
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, 1, 0);
  double along = 0;
  memset(direction, 0, net->n_values * sizeof *direction);
  along += add_tensor(s, reference_find(net, REFERENCE_CLASSIFIER, 0), 0, -1, &rng, direction);
  along += add_tensor(s, reference_find(net, REFERENCE_CLASSIFIER_BIAS, 0), 1, -1, &rng, direction);
  for (int i = 0; i < s->part.arch.n_layers; i++)
    along += add_tensor(s, reference_find(net, REFERENCE_BIAS, i), 2 + s->part.layers[i], -1, &rng,
                        direction);
  for (int m = 0; m < s->part.arch.n_lite; m++)
    for (int k = 0; k < params->n_segments; k++) {
      const tinytl_segment *whole = &params->segments[k];
      if (whole->lite != whole_of(s, m) || whole->offset >= params->n_trained) continue;
      const reference_kind kind = (reference_kind)(REFERENCE_LITE_CONV + whole->tensor);
      along += add_tensor(s, reference_find(net, kind, m), k, m, &rng, direction);
    }
  return along;
}

/* Whether the gradient is the reference's along four directions, to what float rounds. It is not
 * where rounding takes one activation past its kink. */
static bool gradient_agrees(tinytl_searcher *s, const tinytl_subnet *subnet) {
  bool fits = false;
  double loss = 0, expected_loss = 0;
  memset(s->adaptation.gradient, 0, s->adaptation.params->n_trained * sizeof(float));
  assert_int_equal(tinytl_adaptation_add_gradient(s, subnet, &fits, &loss, NULL), TINYTL_OK);
  assert_true(fits);
  reference_net *net = reference_of(s);
  double *direction = malloc(net->n_values * sizeof *direction);
  for (int i = 0; i < s->run.n_images; i++)
    expected_loss += reference_loss(net, s->rgb[i], s->input.size, s->labels[i], 0.1, NULL);
  assert_true(fabs(loss - expected_loss) < 1e-4 * expected_loss);
  int n_checked = 0;
  bool agrees = true;
  for (uint64_t seed = 0; seed < 16 && n_checked < 4; seed++) {
    const double along = draw_direction(s, net, seed, direction);
    double difference = 0;
    bool smooth = true;
    for (int i = 0; smooth && i < s->run.n_images; i++) {
      double one;
      smooth = reference_derivative(net, direction, 1e-7, s->rgb[i], s->input.size, s->labels[i],
                                    0.1, &one);
      difference += smooth ? one : 0;
    }
    if (!smooth) continue;
    n_checked++;
    agrees = agrees && fabs(along - difference) < 1e-4 * (fabs(difference) + 1);
  }
  assert_true(n_checked > 0);
  free(direction);
  reference_net_free(net);
  return agrees;
}

/* At one of a few points. */
static void check_gradient(tinytl_searcher *s, const tinytl_subnet *subnet) {
  enum { POINTS = 4 };
  bool agrees = false;
  for (uint64_t seed = 0; seed < POINTS && !agrees; seed++) {
    move_values(s, seed);
    agrees = gradient_agrees(s, subnet);
  }
  assert_true(agrees);
}

static void check_gradients(bool lite) {
  fixture *f = make(lite, 0);
  const tinytl_subnet drawn = tinytl_genes_draw(&f->supernet->space, 5, 0, 0),
                      smallest = tinytl_subnet_smallest(&f->supernet->space);
  hold(f->s);
  check_gradient(f->s, &drawn);
  check_gradient(f->s, &smallest);
  discard(f);
}

static void test_gradient(void **state) {
  (void)state;
  check_gradients(false);
}

static void test_gradient_of_lite_modules(void **state) {
  (void)state;
  check_gradients(true);
}

/* Values of lite modules that are not as pre-training left them: in the border of 5 x 5
 * convolutions, and elsewhere. */
static void count_moved(const tinytl_searcher *s, int *n_border, int *n_inner) {
  const tinytl_params *params = s->adaptation.params;
  for (int k = 0; k < params->n_segments; k++) {
    const tinytl_segment *segment = &params->segments[k];
    if (segment->lite < 0 || segment->offset >= params->n_trained) continue;
    const tinytl_lite *lite = &s->shared.arch.lite[segment->lite];
    const float *values = s->adaptation.values + segment->offset;
    const float *before =
        s->supernet->values + s->shared.params.lite[segment->lite][segment->tensor];
    for (size_t i = 0; i < segment->n; i++) {
      const int tap = (int)i / (lite->in_c / lite->groups) % (lite->kernel * lite->kernel);
      const bool border = segment->tensor == TINYTL_LITE_CONV && lite->kernel == 5 &&
                          (tap / 5 % 4 == 0 || tap % 5 % 4 == 0);
      *(border ? n_border : n_inner) += values[i] != before[i];
    }
  }
}

/* What a sub-net does not have stays as it is, but for momentum, which is 0 at first. */
static void test_update_is_of_the_subnet(void **state) {
  (void)state;
  fixture *f = make(true, 0);
  tinytl_searcher *s = f->s;
  const tinytl_adaptation *a = &s->adaptation;
  const tinytl_subnet smallest = tinytl_subnet_smallest(&f->supernet->space);
  bool fits, has[TINYTL_MAX_LAYERS] = {false};
  double loss;
  hold(s);
  assert_int_equal(tinytl_adaptation_add_gradient(s, &smallest, &fits, &loss, NULL), TINYTL_OK);
  tinytl_adaptation_update(s);
  for (int i = 0; i < s->part.arch.n_layers; i++) has[s->part.layers[i]] = true;
  /* From a classifier of 0 no gradient goes back: a second update moves biases. */
  assert_int_equal(tinytl_adaptation_add_gradient(s, &smallest, &fits, &loss, NULL), TINYTL_OK);
  tinytl_adaptation_update(s);
  int n_moved = 0;
  for (int i = 0; i < s->shared.arch.n_layers; i++) {
    const tinytl_segment *segment = &a->params->segments[2 + i];
    for (size_t c = 0; c < segment->n; c++) {
      const float value = a->values[segment->offset + c];
      if (!has[i]) assert_true(value == 0);
      n_moved += value != 0;
    }
  }
  assert_true(n_moved > 0);
  int n_border = 0, n_inner = 0;
  count_moved(s, &n_border, &n_inner);
  assert_int_equal(n_border, 0);
  assert_true(n_inner > 0);
  discard(f);
}

/* Any sub-net's program fits where the largest and the smallest ones do, or says that it does not;
 * with TINYTL_GUARDS, writing beyond it would be told. */
static void test_memory(void **state) {
  (void)state;
  fixture *f = make(true, 0);
  tinytl_searcher *s = f->s;
  hold(s);
  for (uint64_t i = 0; i < 8; i++) {
    const tinytl_subnet subnet = tinytl_genes_draw(&f->supernet->space, 6, i, 0);
    bool fits = false;
    double loss;
    assert_int_equal(tinytl_adaptation_add_gradient(s, &subnet, &fits, &loss, NULL), TINYTL_OK);
    assert_true(fits);
  }
  /* Nothing is done where there is no room. */
  const size_t room = s->work_nbytes;
  const tinytl_subnet largest = tinytl_subnet_largest(&f->supernet->space);
  bool fits = true;
  double loss = -1;
  s->work_nbytes = s->adaptation.program_nbytes / 2;
  assert_int_equal(tinytl_adaptation_add_gradient(s, &largest, &fits, &loss, NULL), TINYTL_OK);
  assert_false(fits);
  assert_true(loss == -1);
  s->work_nbytes = room;
  discard(f);
}

/* In one sub-net the loss falls: that of the last epoch is below that of the first. (In a super-net
 * that has hardly been trained, features of different sub-nets have little in common.) */
static void test_learns(void **state) {
  (void)state;
  enum { EPOCHS = 20, EPOCH = 5, UPDATES = EPOCHS * EPOCH };
  fixture *f = make(true, EPOCHS);
  tinytl_searcher *s = f->s;
  const tinytl_subnet subnet = tinytl_subnet_largest(&f->supernet->space);
  const int batch = s->adaptation.batch;
  double first = 0, last = 0;
  for (int i = 0; i < UPDATES; i++) {
    bool fits;
    double loss;
    assert_int_equal(
        tinytl_searcher_hold_update(s, 1 + i / EPOCH, i % EPOCH * batch, 0, batch, NULL),
        TINYTL_OK);
    assert_int_equal(tinytl_adaptation_add_gradient(s, &subnet, &fits, &loss, NULL), TINYTL_OK);
    tinytl_adaptation_update(s);
    first += i < EPOCH ? loss : 0;
    last += i >= UPDATES - EPOCH ? loss : 0;
  }
  if (!(last < 0.95 * first)) fail_msg("%g, at first %g", last, first);
  discard(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradient),
      cmocka_unit_test(test_gradient_of_lite_modules),
      cmocka_unit_test(test_update_is_of_the_subnet),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_learns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
