/* What a run takes, known before it; what a limit makes of it; and that no saving of memory but
 * adam8 changes what is learned. */
#include "support/cmocka.h"
#include "support/tiny_net.h"

#include "train/choice.h"
#include "train/layout.h"
#include "train/plan.h"
#include "train/prepare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_METHODS = TINYTL_METHOD_AUTO, N_CLASSES = 20, N_TRAIN = 300, N_VAL = 30 };
/* What a process holds differs from call to call, under a sanitizer by megabytes: here it does not.
 */
enum { BASE = 3000000 };

/* ---- Plans of a real backbone ------------------------------------------------------------- */

static int make_backbone(void **state) {
  return tinytl_backbone_init("mobilenet-v2-0.35", 10, TINYTL_WEIGHTS_INT8, 1,
                              (tinytl_backbone **)state, NULL);
}

static int free_backbone(void **state) {
  tinytl_backbone_free(*state);
  return 0;
}

static tinytl_train_options options_of(tinytl_method method) {
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = method;
  options.image_size = 160;
  options.n_threads = 2;
  options.spill_dir = ".";
  return options;
}

static tinytl_status plan(const tinytl_backbone *backbone, const tinytl_train_options *options,
                          tinytl_plan *made, tinytl_error *error) {
  return tinytl_plan_upon(backbone, N_CLASSES, N_TRAIN, N_VAL, options, BASE, made, error);
}

static void test_parts_add_up(void **state) {
  for (int method = 0; method < N_METHODS; method++) {
    const tinytl_train_options options = options_of((tinytl_method)method);
    tinytl_plan p;
    assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
    assert_int_equal(p.total_bytes, p.frozen_bytes + p.trained_bytes + p.gradient_bytes +
                                        p.optimizer_bytes + p.kept_bytes + p.picture_bytes +
                                        p.saved_bytes + p.map_bytes + p.scratch_bytes +
                                        p.other_bytes);
    assert_int_equal(p.method, method);
    assert_int_equal(p.optimizer, TINYTL_OPTIMIZER_ADAM);
    assert_int_equal(p.image_size, 160);
    assert_false(p.recomputes || p.spills);
    assert_true(strlen(p.peak_step) > 0);
    /* At the peak, which may lie before anything is kept. */
    if (method == TINYTL_METHOD_LAST) assert_int_equal(p.saved_bytes, 0);
    if (method == TINYTL_METHOD_NORM) assert_true(p.saved_bytes > 0);
    assert_true(p.smallest_bytes <= p.base_bytes + p.total_bytes + 300000);
  }
}

static size_t without_other_and_gradients(const tinytl_plan *p) {
  return p->total_bytes - p->other_bytes - p->gradient_bytes;
}

/* Images run one at a time in every lane. Factors of deferred gradients grow with the batch, up to
 * what the gradients take. */
static void test_batch_is_free(void **state) {
  for (int method = 0; method < N_METHODS; method++) {
    tinytl_train_options options = options_of((tinytl_method)method);
    tinytl_plan p, q;
    assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
    options.batch = 64;
    assert_int_equal(plan(*state, &options, &q, NULL), TINYTL_OK);
    assert_int_equal(without_other_and_gradients(&p), without_other_and_gradients(&q));
    assert_true(p.gradient_bytes <= q.gradient_bytes && q.gradient_bytes <= q.trained_bytes);
  }
}

/* A lane for every thread that a batch has a picture for; fewer under a limit, or one and no more
 * than that would take with one thread, but the stacks. */
static void test_lanes(void **state) {
  for (int method = 0; method < N_METHODS; method++) {
    tinytl_train_options options = options_of((tinytl_method)method);
    tinytl_plan one, four, p;
    options.n_threads = 1;
    assert_int_equal(plan(*state, &options, &one, NULL), TINYTL_OK);
    assert_int_equal(one.n_lanes, 1);
    assert_int_equal(one.one_lane_bytes, one.total_bytes);
    options.n_threads = 4;
    assert_int_equal(plan(*state, &options, &four, NULL), TINYTL_OK);
    assert_int_equal(four.n_lanes, 4);
    assert_true(four.map_bytes == 4 * one.map_bytes && four.saved_bytes == 4 * one.saved_bytes);
    assert_true(four.one_lane_bytes - one.total_bytes < 3 * 100000); /* three stacks */
    options.memory_limit = four.base_bytes + four.total_bytes + 100000;
    assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
    assert_true(p.n_lanes == 3 || p.n_lanes == 2);
    options.memory_limit = four.base_bytes + four.one_lane_bytes + 200000;
    assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
    assert_int_equal(p.n_lanes, 1);
    assert_false(p.recomputes || p.spills);
    options.memory_limit = 0;
    options.batch = 3;
    assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
    assert_int_equal(p.n_lanes, 3);
  }
}

static int n_savings(const tinytl_plan *p) {
  return (p->n_lanes == 1) + p->recomputes + p->spills + (p->optimizer == TINYTL_OPTIMIZER_ADAM8);
}

/* From no limit that matters down to the smallest: the plan keeps to each, gives up more and more,
 * and below the smallest there is an error that names it. */
static void test_limits(void **state) {
  for (int method = 0; method < N_METHODS; method++) {
    tinytl_train_options options = options_of((tinytl_method)method);
    tinytl_plan whole, p;
    tinytl_error error = {0};
    assert_int_equal(plan(*state, &options, &whole, NULL), TINYTL_OK);
    const size_t top = whole.base_bytes + whole.total_bytes + 500000;
    int most = 0;
    for (int i = 0; i <= 10; i++) {
      options.memory_limit = top - (top - whole.smallest_bytes) / 10 * (size_t)i;
      assert_int_equal(plan(*state, &options, &p, &error), TINYTL_OK);
      assert_true(p.base_bytes + p.total_bytes <= options.memory_limit);
      assert_int_equal(p.method, method);
      if (i == 0) assert_int_equal(n_savings(&p), 0);
      if (n_savings(&p) > most) most = n_savings(&p);
    }
    if (method == TINYTL_METHOD_LITE_BIAS) assert_true(most >= 3);
    options.memory_limit = whole.smallest_bytes - 1000000;
    assert_int_equal(plan(*state, &options, &p, &error), TINYTL_ERROR_MEMORY_LIMIT);
    assert_non_null(strstr(error.message, tinytl_method_name((tinytl_method)method)));
    const char *named = strstr(error.message, "would do is ");
    assert_non_null(named);
    const double smallest = strtod(named + strlen("would do is "), NULL) * 1e6;
    options.memory_limit = (size_t)smallest;
    assert_int_equal(plan(*state, &options, &p, &error), TINYTL_OK);
  }
}

/* An optimizer that was asked for by name is not replaced. */
static void test_optimizer_by_name(void **state) {
  tinytl_train_options options = options_of(TINYTL_METHOD_LITE_BIAS);
  tinytl_plan automatic, p;
  assert_int_equal(plan(*state, &options, &automatic, NULL), TINYTL_OK);
  options.optimizer = TINYTL_OPTIMIZER_ADAM;
  assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_OK);
  assert_true(p.smallest_bytes > automatic.smallest_bytes);
  options.memory_limit = automatic.smallest_bytes;
  assert_int_equal(plan(*state, &options, &p, NULL), TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(p.optimizer, TINYTL_OPTIMIZER_ADAM);
}

/* What the methods before it leave is held on top. */
static void test_auto_takes_what_fits(void **state) {
  (void)state;
  static const tinytl_method want[] = {TINYTL_METHOD_LITE_BIAS, TINYTL_METHOD_BIAS,
                                       TINYTL_METHOD_LAST};
  tinytl_backbone *backbone; /* large enough for methods to differ by more than a limit's margin */
  assert_int_equal(
      tinytl_backbone_init("mobilenet-v2-1.0", 10, TINYTL_WEIGHTS_INT8, 1, &backbone, NULL),
      TINYTL_OK);
  tinytl_train_options options = options_of(TINYTL_METHOD_AUTO);
  options.image_size = 224;
  tinytl_plan p;
  assert_int_equal(plan(backbone, &options, &p, NULL), TINYTL_OK);
  assert_int_equal(p.method, TINYTL_METHOD_LITE_BIAS);
  for (int i = 0; i < 3; i++) {
    tinytl_train_options alone = options;
    tinytl_plan least;
    alone.method = want[i];
    assert_int_equal(plan(backbone, &alone, &least, NULL), TINYTL_OK);
    options.memory_limit = least.smallest_bytes + 400000;
    assert_int_equal(plan(backbone, &options, &p, NULL), TINYTL_OK);
    assert_int_equal(p.method, want[i]);
    alone.memory_limit = options.memory_limit;
    assert_int_equal(plan(backbone, &alone, &least, NULL), TINYTL_OK);
    assert_true(i == 2 || p.other_bytes > least.other_bytes + 4 * 1280 * 10);
  }
  tinytl_backbone_free(backbone);
}

/* What auto will not try is known before it begins. */
static void test_auto_ends_where_it_does_not_fit(void **state) {
  const tinytl_images train = {.n_images = N_TRAIN, .n_classes = N_CLASSES};
  const tinytl_images val = {.n_images = N_VAL, .n_classes = N_CLASSES};
  const tinytl_task task = {.backbone = *state, .train = &train, .val = &val, .base_nbytes = BASE};
  tinytl_train_options options = options_of(TINYTL_METHOD_AUTO);
  tinytl_auto_plan all, some;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &all, NULL), TINYTL_OK);
  assert_int_equal(all.n_methods, TINYTL_N_AUTO_METHODS);
  assert_int_equal(all.why_not, TINYTL_OK);
  assert_true(all.carried[0] < all.carried[1] && all.carried[1] < all.carried[2]);
  options.memory_limit = 1;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &some, NULL),
                   TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(some.n_methods, 0);
  options.memory_limit = all.plans[1].smallest_bytes;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &some, NULL), TINYTL_OK);
  assert_int_equal(some.n_methods, 2);
  assert_int_equal(some.why_not, TINYTL_ERROR_MEMORY_LIMIT);
  /* A run that goes on has its methods: one that does not fit any more is an error. */
  tinytl_carry resumed = {.n_methods = 2,
                          .optimizers = {some.plans[0].optimizer, some.plans[1].optimizer}};
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &some, NULL), TINYTL_OK);
  assert_int_equal(some.why_not, TINYTL_ERROR_MEMORY_LIMIT); /* was not told of any more */
  resumed.n_methods = TINYTL_N_AUTO_METHODS;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &some, NULL),
                   TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(some.why_not, TINYTL_OK);
  /* The limit that would do is that of the method which wants most, not of the first. */
  tinytl_error error;
  char words[40];
  options.memory_limit = 1;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &some, &error),
                   TINYTL_ERROR_MEMORY_LIMIT);
  size_t most = 0;
  for (int i = 0; i < TINYTL_N_AUTO_METHODS; i++)
    most = tinytl_size_max(most, some.plans[i].smallest_bytes);
  assert_true(most > some.plans[0].smallest_bytes);
  snprintf(words, sizeof words, "would do is %.1fM", (double)most / 1e6);
  assert_non_null(strstr(error.message, words));
  options.memory_limit = most;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &some, NULL), TINYTL_OK);
}

/* Features of so many pictures take more than all that bias trains, and have no file to go to. */
static void test_last_is_too_much(void **state) {
  const tinytl_images train = {.n_images = 100000, .n_classes = N_CLASSES};
  const tinytl_images val = {.n_images = N_VAL, .n_classes = N_CLASSES};
  tinytl_task task = {.backbone = *state, .train = &train, .base_nbytes = BASE};
  tinytl_train_options options = options_of(TINYTL_METHOD_BIAS);
  tinytl_plan bias, p;
  tinytl_error error;
  char words[40];
  options.spill_dir = NULL;
  assert_int_equal(tinytl_method_plan(&task, &options, &bias, NULL), TINYTL_OK);
  options.method = TINYTL_METHOD_AUTO;
  options.memory_limit = bias.smallest_bytes;
  assert_int_equal(tinytl_largest_plan_make(&task, &options, &p, NULL), TINYTL_OK);
  assert_int_equal(p.method, TINYTL_METHOD_BIAS);
  options.memory_limit = 1;
  assert_int_equal(tinytl_largest_plan_make(&task, &options, &p, &error),
                   TINYTL_ERROR_MEMORY_LIMIT);
  snprintf(words, sizeof words, "would do is %.1fM", (double)bias.smallest_bytes / 1e6);
  assert_non_null(strstr(error.message, words));
  options.memory_limit = 0;
  assert_int_equal(tinytl_largest_plan_make(&task, &options, &p, NULL), TINYTL_OK);
  assert_int_equal(p.method, TINYTL_METHOD_LITE_BIAS);
  /* A run that is at bias goes on; one that is at last does not. */
  tinytl_carry resumed = {.n_methods = 2};
  tinytl_auto_plan plan;
  task.val = &val;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &plan, NULL), TINYTL_OK);
  options.memory_limit = plan.plans[1].smallest_bytes;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &plan, NULL),
                   TINYTL_ERROR_MEMORY_LIMIT);
  resumed.method_at = 1;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, &resumed, &plan, NULL), TINYTL_OK);
}

static void save_nothing(void *context, const tinytl_checkpoint *checkpoint) {
  (void)context, (void)checkpoint;
}

/* Names are carried from method to method with the adapter, and printed twice into a checkpoint. */
static void test_long_names(void **state) {
  char name[1000];
  const char *names[N_CLASSES];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  for (int c = 0; c < N_CLASSES; c++) names[c] = name;
  const tinytl_images unnamed = {.n_images = N_TRAIN, .n_classes = N_CLASSES};
  const tinytl_images val = {.n_images = N_VAL, .n_classes = N_CLASSES};
  tinytl_images train = unnamed;
  tinytl_task task = {.backbone = *state, .train = &train, .val = &val, .base_nbytes = BASE};
  tinytl_train_options options = options_of(TINYTL_METHOD_AUTO);
  tinytl_auto_plan without, with, saved;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &without, NULL), TINYTL_OK);
  train.class_names = names;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &with, NULL), TINYTL_OK);
  options.save = save_nothing;
  assert_int_equal(tinytl_auto_plan_make(&task, &options, NULL, &saved, NULL), TINYTL_OK);
  assert_true(with.carried[1] >= without.carried[1] + N_CLASSES * sizeof name);
  assert_true(saved.carried[1] >= with.carried[1] + 2 * N_CLASSES * sizeof name);
}

/* A picture that needs much to decode is planned for; under a limit it gets what is left. */
static size_t five_megabytes(void *context, const tinytl_view *view) {
  const size_t need = 5000000;
  (void)context;
  return view->max_nbytes == 0 || view->max_nbytes >= need ? need : 0;
}

static void test_pictures(void **state) {
  tinytl_images images = {.n_images = N_TRAIN, .n_classes = N_CLASSES};
  size_t with = 0;
  for (int i = 0; i < 4; i++) {
    tinytl_trainer *t = calloc(1, sizeof *t);
    t->options = options_of(TINYTL_METHOD_BIAS);
    t->train = &images;
    images.load_nbytes = i == 0 ? NULL : five_megabytes;
    if (i >= 2) t->options.memory_limit = with + (i == 2 ? 500000 : (size_t)-3500000);
    assert_int_equal(tinytl_trainer_choose(t, *state, BASE, NULL), TINYTL_OK);
    const tinytl_view view = tinytl_trainer_view(t, true, 0);
    if (i == 0) with = t->plan.base_bytes + t->plan.total_bytes + 5000000;
    if (i == 1) assert_true(t->plan.picture_bytes >= 5000000);
    if (i == 2) assert_true(view.max_nbytes >= 5000000 && t->plan.picture_bytes >= 5000000);
    if (i == 3) assert_true(view.max_nbytes >= 1000000 && view.max_nbytes < 5000000);
    tinytl_trainer_free(t);
  }
}

/* The public call counts this process. */
static void test_base(void **state) {
  const tinytl_train_options options = options_of(TINYTL_METHOD_BIAS);
  tinytl_plan p, q;
  assert_int_equal(plan(*state, &options, &q, NULL), TINYTL_OK);
  assert_int_equal(tinytl_plan_make(*state, N_CLASSES, N_TRAIN, N_VAL, &options, &p, NULL),
                   TINYTL_OK);
  assert_int_equal(p.total_bytes, q.total_bytes);
  assert_int_equal(q.base_bytes, BASE);
  assert_true(p.base_bytes > 500000 || p.base_bytes == 0); /* 0: the system does not tell */
}

static void test_refusals(void **state) {
  const tinytl_train_options options = options_of(TINYTL_METHOD_BIAS);
  tinytl_plan p;
  assert_int_equal(tinytl_plan_make(*state, 1, 10, 0, &options, &p, NULL), TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_plan_make(*state, 2, 0, 0, &options, &p, NULL), TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_plan_make(*state, 2, 10, -1, &options, &p, NULL), TINYTL_ERROR_USAGE);
  tinytl_train_options wrong = options;
  wrong.batch = 0;
  assert_int_equal(tinytl_plan_make(*state, 2, 10, 0, &wrong, &p, NULL), TINYTL_ERROR_USAGE);
}

/* ---- Savings at work ---------------------------------------------------------------------- */

enum { BATCH = 3, N_UPDATES = 4 };

static tinytl_status tiny_load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                               tinytl_error *error) {
  (void)context, (void)view, (void)error;
  tiny_picture((uint64_t)index, rgb);
  return TINYTL_OK;
}

/* Pictures of a trainer, held by its lanes until they are given back. */
typedef struct pictures {
  tinytl_trainer *t;
  const int *labels;
  int n, n_given, n_held;
  uint8_t rgb[BATCH][TINY_SIZE * TINY_SIZE * 3];
} pictures;

static bool next_picture(void *context, tinytl_stopwatch *watch, tinytl_sample *sample) {
  pictures *p = context;
  tinytl_trainer *t = p->t;
  const int i = p->n_given++;
  assert_null(watch);
  assert_true(i < p->n);
  *sample = (tinytl_sample){.rgb = p->rgb[i % BATCH], .index = i, .label = p->labels[i]};
  tiny_picture((uint64_t)i, sample->rgb);
  p->n_held++;
  if (!t->head_only) return true;
  tinytl_trainer_test(t, sample, 1);
  assert_int_equal(
      tinytl_trainer_store_features(t, i, tinytl_machine_features(t->test_machines), NULL),
      TINYTL_OK);
  assert_int_equal(tinytl_trainer_fetch_features(t, i, NULL), TINYTL_OK);
  return true;
}

static void release_picture(void *context, const tinytl_sample *sample) {
  pictures *p = context;
  assert_ptr_equal(sample->rgb, p->rgb[sample->index % BATCH]);
  p->n_held--;
}

/* Weights of convolutions have a warm-up of their own, of a third of all updates. */
static void check_rates(const tinytl_trainer *t) {
  const uint64_t step = t->optimizer.step - 1;
  const double rate = (double)t->optimizer.rate[TINYTL_GROUP_WEIGHT];
  const double other = (double)t->optimizer.rate[TINYTL_GROUP_BIAS];
  const double share = (double)tinytl_weight_schedule(step, t->n_weight_warmup, t->n_steps) /
                       (double)tinytl_schedule(step, t->n_warmup, t->n_steps);
  const double ratio = (double)(t->lr[TINYTL_GROUP_WEIGHT] / t->lr[TINYTL_GROUP_BIAS]);
  if (t->head_only) return;
  assert_true(3 * t->n_weight_warmup <= t->n_steps && 3 * t->n_weight_warmup + 3 > t->n_steps);
  assert_true(step > 0 || share < 0.5);
  assert_float_equal(rate / other, ratio * share, 1e-5 * ratio * share);
}

/* Values after some updates, the best ones kept halfway; the caller frees. */
static float *train_with(const tinytl_backbone *backbone, const tinytl_choices *choices,
                         tinytl_plan *made, size_t *n) {
  int labels[BATCH * N_UPDATES];
  for (int i = 0; i < BATCH * N_UPDATES; i++) labels[i] = i % TINY_CLASSES;
  const tinytl_images images = {.n_images = BATCH * N_UPDATES,
                                .n_classes = TINY_CLASSES,
                                .labels = labels,
                                .load = tiny_load};
  tinytl_trainer *t = calloc(1, sizeof *t);
  tinytl_train_options_init(&t->options);
  t->options.batch = BATCH;
  t->options.image_size = TINY_SIZE;
  t->options.spill_dir = ".";
  t->options.n_threads = BATCH;
  t->train = t->val = &images;
  assert_int_equal(tinytl_trainer_prepare(t, backbone, choices, NULL), TINYTL_OK);
  assert_true(tinytl_trainer_count(t));
  assert_int_equal(tinytl_trainer_start(t, NULL), TINYTL_OK);
  pictures p = {.t = t, .labels = labels, .n = images.n_images};
  const tinytl_supply supply = {.next = next_picture, .release = release_picture, .context = &p};
  while (p.n_given < p.n) {
    tinytl_trainer_feed(t, &supply, 1);
    assert_int_equal(t->n_fed, BATCH);
    assert_int_equal(p.n_held, 0);
    tinytl_trainer_update(t);
    check_rates(t);
    if (p.n_given == BATCH * (N_UPDATES - 1))
      assert_int_equal(tinytl_trainer_keep(t, NULL), TINYTL_OK);
  }
  assert_int_equal(tinytl_trainer_restore(t, NULL), TINYTL_OK);
  tinytl_trainer_finish(t);
  *made = t->plan;
  *n = t->params->n;
  float *copy = malloc(*n * sizeof *copy);
  memcpy(copy, t->values, *n * sizeof *copy);
  tinytl_trainer_free(t);
  return copy;
}

static size_t arena_nbytes(const tinytl_plan *p) {
  return p->saved_bytes + p->map_bytes + p->scratch_bytes;
}

static void test_savings_change_nothing(void **state) {
  (void)state;
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  for (int method = 0; method < N_METHODS; method++) {
    tinytl_choices choices = {
        .method = (tinytl_method)method, .n_lanes = 1, .optimizer = TINYTL_OPTIMIZER_ADAM};
    tinytl_plan whole, p;
    size_t n;
    float *want = train_with(backbone, &choices, &whole, &n);
    for (int savings = 1; savings < 12; savings++) {
      choices.spill = savings & 1;
      choices.recompute = savings & 2;
      choices.n_lanes = 1 + savings / 4;
      float *got = train_with(backbone, &choices, &p, &n);
      assert_memory_equal(got, want, n * sizeof *got);
      if (choices.spill) assert_true(p.kept_bytes < whole.kept_bytes);
      /* Less is kept, but at the peak, which may be another one now, more of it may be there. */
      if (choices.recompute)
        assert_true(arena_nbytes(&p) <= (size_t)choices.n_lanes * arena_nbytes(&whole));
      free(got);
    }
    free(want);
  }
  tinytl_backbone_free(backbone);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parts_add_up),
      cmocka_unit_test(test_batch_is_free),
      cmocka_unit_test(test_lanes),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_optimizer_by_name),
      cmocka_unit_test(test_auto_takes_what_fits),
      cmocka_unit_test(test_auto_ends_where_it_does_not_fit),
      cmocka_unit_test(test_last_is_too_much),
      cmocka_unit_test(test_long_names),
      cmocka_unit_test(test_pictures),
      cmocka_unit_test(test_base),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_savings_change_nothing),
  };
  return cmocka_run_group_tests_name("plan", tests, make_backbone, free_backbone);
}
