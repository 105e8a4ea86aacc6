/* How far training goes, and the short trainings that tell. */
#include "support/cmocka.h"
#include "support/saved_run.h"

#include "train/reach.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 600 }; /* epochs, with which SAVED_TRAIN pictures are worth short trainings */

static void check_trial(int n_epochs, int n_images, int trial_epochs, int trial_images) {
  const tinytl_trial trial = tinytl_trial_plan(n_epochs, n_images);
  assert_int_equal(trial.n_epochs, trial_epochs);
  assert_int_equal(trial.n_images, trial_images);
}

/* A quarter of what training sees, 3,000 to 4,000 pictures. */
static void test_trial(void **state) {
  (void)state;
  check_trial(1, 1, 0, 0);
  check_trial(11999, 1, 0, 0);
  check_trial(12000, 1, 3000, 1);
  check_trial(20, 650, 5, 650);
  check_trial(20, 2000, 2, 2000);
  check_trial(17, 2580, 2, 2000);
  check_trial(8, 40000, 1, 4000);
  check_trial(TINYTL_MAX_EPOCHS, 1 << 30, 1, 4000);
}

/* In half octaves; noise brings it back to where no gain is. */
static void test_factor(void **state) {
  (void)state;
  static const float gains[] = {-1, -0.05f, -0.02f, 0, 0.03f, 0.06f, 0.07f, 0.1f, 1};
  static const double halves[] = {-2, -2, -1, -1, 0, 1, 1, 2, 2};
  for (int i = 0; i < 9; i++)
    assert_float_equal(tinytl_reach_factor(gains[i], 0), exp2(halves[i] / 2), 1e-6);
  assert_float_equal(tinytl_reach_factor(0.1f, 0.1f), exp2(0.5), 1e-6);
  assert_float_equal(tinytl_reach_factor(-0.05f, 0.1f), exp2(-0.5), 1e-6);
  assert_true(tinytl_reach_factor(0, INFINITY) == 1);
}

static tinytl_trainer *trainer_of(const saved_run *f, float reach) {
  const tinytl_task task = {.backbone = f->backbone, .train = &f->train.images, .reach = reach};
  tinytl_trainer *t = NULL;
  assert_int_equal(tinytl_trainer_create(&task, &f->options, &t, NULL), TINYTL_OK);
  return t;
}

/* Against a training whose reach is not known. */
static void check_rates(tinytl_method method, float reach, int epochs, int n_epochs, double rate) {
  saved_run *f = saved_run_make(method);
  f->options.epochs = epochs;
  tinytl_trainer *usual = trainer_of(f, 0), *t = trainer_of(f, reach);
  assert_int_equal(usual->rules.epochs, epochs ? epochs : 4000 / SAVED_TRAIN);
  assert_int_equal(t->rules.epochs, n_epochs);
  for (int g = 0; g < TINYTL_N_GROUPS; g++)
    assert_float_equal(t->lr[g], rate * (double)usual->lr[g], 1e-6);
  tinytl_trainer_free(usual), tinytl_trainer_free(t);
  saved_run_free(f);
}

static void test_rates_and_epochs(void **state) {
  (void)state;
  const int usual = 4000 / SAVED_TRAIN;
  check_rates(TINYTL_METHOD_BIAS, 1, 0, usual, 1);
  check_rates(TINYTL_METHOD_BIAS, 0.5f, 0, usual, 0.5);
  check_rates(TINYTL_METHOD_LITE, 1.5f, 0, 200, 1.5); /* the most there are for so few pictures */
  check_rates(TINYTL_METHOD_LITE_BIAS, 1.5f, 7, 7, 1.5);
  check_rates(TINYTL_METHOD_NORM, 2, 0, usual, 1);
  check_rates(TINYTL_METHOD_FULL, 2, 0, usual, 1);
}

/* ---- Runs ----------------------------------------------------------------------------------- */

static struct {
  int n;
  tinytl_reach reach;
  int n_trained;                /* progress of trainings that are kept, before; */
  int n_tried, n_epoch, n_most; /* of short ones; their epochs, and pictures of one */
  int n_planned, n_skipped;
  memory_images *spoiled; /* one class of it, once short trainings begin; NULL: none */
} told;

static void note_progress(void *context, const tinytl_epoch *epoch) {
  const saved_run *f = context;
  told.n_trained += !epoch->trying && epoch->method != TINYTL_METHOD_LAST && told.n == 0;
  if (!epoch->trying) return;
  assert_int_equal(epoch->method, TINYTL_METHOD_BIAS);
  assert_true(told.n_planned > 0);
  told.n_tried++;
  told.n_epoch = epoch->n_epochs;
  told.n_most = epoch->n_images;
  for (int i = 0; told.spoiled && i < f->train.images.n_images; i += MEMORY_CLASSES)
    told.spoiled->answer[i] = TINYTL_ERROR_DATA;
}

static void note_planned(void *context, const tinytl_plan *plan) {
  (void)context, (void)plan;
  told.n_planned++;
}

static void note_skipped(void *context, const char *name, const char *reason) {
  (void)context, (void)name, (void)reason;
  told.n_skipped++;
}

static void note_reach(void *context, const tinytl_reach *reach) {
  (void)context;
  told.n++;
  told.reach = *reach;
}

static saved_run *make(tinytl_method method) {
  saved_run *f = saved_run_make(method);
  f->options.epochs = LONG;
  f->options.patience = 1;        /* which short trainings have not */
  f->options.save_seconds = 1000; /* at the stop and at the end alone */
  f->options.progress = note_progress;
  f->options.reached = note_reach;
  f->options.planned = note_planned;
  f->options.skip = note_skipped;
  memset(&told, 0, sizeof told);
  return f;
}

static void run(saved_run *f, const sink *from, sink *adapter) {
  f->n_saves = f->n_resumed = told.n = told.n_tried = told.n_trained = 0;
  told.n_planned = told.n_skipped = 0;
  saved_run_finish(f, from, adapter);
}

static void check_not_told(saved_run *f) {
  sink adapter;
  run(f, NULL, &adapter);
  assert_int_equal(told.n, 0);
  assert_int_equal(told.n_tried, 0);
  free(adapter.bytes);
  saved_run_free(f);
}

static void check_told(int n_images) {
  assert_int_equal(told.n, 1);
  assert_true(told.n_tried > 0);
  assert_int_equal(told.n_trained, 0);
  assert_int_equal(told.n_epoch, LONG / 4);
  assert_int_equal(told.n_most, n_images);
  assert_true(isfinite(told.reach.gain) && told.reach.noise > 0);
  assert_true(told.reach.factor == tinytl_reach_factor(told.reach.gain, told.reach.noise));
}

static void test_not_tried(void **state) {
  (void)state;
  check_not_told(make(TINYTL_METHOD_NORM));
  saved_run *f = make(TINYTL_METHOD_BIAS);
  f->options.lr = 1e-3f;
  check_not_told(f);
  f = make(TINYTL_METHOD_BIAS);
  f->with_val = false;
  check_not_told(f);
  f = make(TINYTL_METHOD_BIAS);
  f->options.epochs = 3000 * 4 / SAVED_TRAIN - 1;
  check_not_told(f);
}

/* The adapter is that of two trainings at the rates that were found, of which the short ones leave
 * nothing behind, and what concerns these alone is told of to nobody: a picture that cannot be read
 * was told of twice, and the plan reported was theirs. */
static void test_leaves_nothing(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_LITE_BIAS);
  sink found, asked;
  f->options.refit = true;
  f->train.answer[1] = f->val.answer[2] = TINYTL_ERROR_DATA;
  run(f, NULL, &found);
  check_told(SAVED_TRAIN - 1);
  assert_int_equal(told.n_skipped, 2);
  assert_int_equal(f->report.skipped_images, 2);
  assert_int_equal(f->report.plan.method, TINYTL_METHOD_LITE_BIAS);
  const int n_planned = told.n_planned;
  f->options.lr = told.reach.factor * 2e-3f * sqrtf(SAVED_BATCH / 8.0f);
  run(f, NULL, &asked);
  assert_int_equal(told.n, 0);
  assert_int_equal(told.n_planned, n_planned);
  sink_assert_same(&found, &asked);
  free(found.bytes), free(asked.bytes);
  saved_run_free(f);
}

/* Stopped after so many pictures: within the short trainings there is nothing of them to save, and
 * the run begins with them again; after them they are not repeated. */
typedef struct stop {
  int n_loads;
  bool is_saved, is_tried;
} stop;

static void check_goes_on(tinytl_method method, int n_stops, const stop *stops) {
  saved_run *f = make(method);
  sink whole, again, none;
  run(f, NULL, &whole);
  check_told(SAVED_TRAIN);
  const float factor = told.reach.factor;
  assert_true(factor != 1);
  for (int i = 0; i < n_stops; i++) {
    sink from = {0};
    f->n_saves = 0;
    f->loads_left = stops[i].n_loads;
    assert_int_equal(saved_run_train(f, NULL, &none), TINYTL_INTERRUPTED);
    assert_int_equal(f->n_saves > 0, stops[i].is_saved);
    f->loads_left = -1;
    if (stops[i].is_saved) from = sink_copy(saved_run_latest(f));
    run(f, stops[i].is_saved ? &from : NULL, &again);
    sink_assert_same(&whole, &again);
    assert_int_equal(told.n, stops[i].is_tried);
    assert_int_equal(f->n_resumed, stops[i].is_saved);
    assert_true(told.reach.factor == factor);
    free(again.bytes), free(from.bytes);
  }
  free(whole.bytes);
  saved_run_free(f);
}

/* auto has saved `last` before. */
static void test_goes_on(void **state) {
  (void)state;
  const int tried = LONG / 2 * (SAVED_TRAIN + SAVED_VAL);
  const stop of_bias[] = {{tried / 3, false, true}, {tried + 40, true, false}};
  const stop of_auto[] = {{tried / 3, true, true}};
  check_goes_on(TINYTL_METHOD_BIAS, 2, of_bias);
  check_goes_on(TINYTL_METHOD_AUTO, 1, of_auto);
}

/* A class that can be read no more fails them; then it fails the training, which tells of it. */
static void test_comes_to_nothing(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_AUTO);
  sink adapter;
  told.spoiled = &f->train;
  run(f, NULL, &adapter);
  assert_int_equal(told.n, 1);
  assert_true(told.reach.factor == 1 && isnan(told.reach.gain) && isnan(told.reach.noise));
  assert_int_equal(f->report.method, TINYTL_METHOD_LAST);
  free(adapter.bytes);
  saved_run_free(f);
}

/* Before anything is tried; it was after that. */
static void test_refused_before(void **state) {
  (void)state;
  saved_run *f = calloc(1, sizeof *f);
  tinytl_plan plan;
  sink none;
  assert_int_equal(
      tinytl_backbone_init("mobilenet-v2-0.35", 3, TINYTL_WEIGHTS_INT8, 1, &f->backbone, NULL),
      TINYTL_OK);
  saved_run_init(f, TINYTL_METHOD_LITE_BIAS);
  memset(&told, 0, sizeof told);
  f->options.epochs = LONG;
  f->options.image_size = 32;
  f->options.progress = note_progress;
  assert_int_equal(tinytl_plan_make(f->backbone, MEMORY_CLASSES, SAVED_TRAIN, SAVED_VAL,
                                    &f->options, &plan, &f->error),
                   TINYTL_OK);
  f->options.memory_limit = plan.base_bytes + plan.total_bytes / 4;
  assert_int_equal(saved_run_train(f, NULL, &none), TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(told.n_tried, 0);
  saved_run_free(f);
}

/* Nor are there any where a run goes on that had none. */
static void test_other_run_refused_before(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_BIAS);
  sink adapter;
  f->options.lr = 1e-3f;
  run(f, NULL, &adapter);
  const sink from = sink_copy(saved_run_latest(f));
  f->options.lr = 0;
  free(adapter.bytes);
  assert_int_equal(saved_run_train(f, &from, &adapter), TINYTL_ERROR_USAGE);
  assert_int_equal(told.n_tried, 0);
  free(from.bytes);
  saved_run_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_trial),
      cmocka_unit_test(test_factor),
      cmocka_unit_test(test_rates_and_epochs),
      cmocka_unit_test(test_not_tried),
      cmocka_unit_test(test_leaves_nothing),
      cmocka_unit_test(test_goes_on),
      cmocka_unit_test(test_comes_to_nothing),
      cmocka_unit_test(test_refused_before),
      cmocka_unit_test(test_other_run_refused_before),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
