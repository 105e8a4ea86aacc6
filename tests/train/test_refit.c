/* Few pictures: what was chosen with some of them held back is trained once more on all. */
#include "support/cmocka.h"
#include "support/saved_run.h"

#include "data/joined.h"
#include "model/adapter.h"

#include <stdlib.h>
#include <string.h>

static tinytl_adapter *train_on(const saved_run *f, const tinytl_images *train,
                                const tinytl_images *val, tinytl_train_report *report) {
  tinytl_adapter *adapter = NULL;
  assert_int_equal(tinytl_train(f->backbone, train, val, &f->options, &adapter, report, NULL),
                   TINYTL_OK);
  return adapter;
}

static saved_run *make(tinytl_method method, bool refit) {
  saved_run *f = saved_run_make(method);
  f->options.save = NULL;
  f->options.refit = refit;
  return f;
}

/* Values as of a training on all pictures, what validation gave as of one with some held back. */
static void check_method(tinytl_method method) {
  saved_run *f = make(method, false);
  tinytl_train_report before, of_all, report;
  tinytl_joined joined;
  assert_int_equal(tinytl_joined_make(&joined, &f->train.images, &f->val.images, NULL), TINYTL_OK);
  tinytl_adapter *held_back = train_on(f, &f->train.images, &f->val.images, &before);
  tinytl_adapter *all = train_on(f, &joined.images, NULL, &of_all);
  f->options.refit = true;
  tinytl_adapter *adapter = train_on(f, &f->train.images, &f->val.images, &report);
  assert_int_equal(adapter->n_values, all->n_values);
  assert_memory_equal(adapter->values, all->values, all->n_values * sizeof *all->values);
  assert_memory_not_equal(adapter->values, held_back->values, all->n_values * sizeof *all->values);
  assert_true(adapter->val_top1 == held_back->val_top1);
  assert_true(adapter->temperature == held_back->temperature && adapter->temperature != 1);
  assert_true(adapter->reject_below == held_back->reject_below);
  assert_true(report.refit && !before.refit && !of_all.refit);
  assert_int_equal(report.train_images, SAVED_TRAIN + SAVED_VAL);
  assert_int_equal(report.val_images, SAVED_VAL);
  assert_int_equal(report.best_epoch, before.best_epoch);
  assert_true(report.val_top1 == before.val_top1);
  tinytl_joined_clear(&joined);
  tinytl_adapter_free(held_back), tinytl_adapter_free(all), tinytl_adapter_free(adapter);
  saved_run_free(f);
}

static void test_methods(void **state) {
  (void)state;
  for (int method = 0; method < TINYTL_METHOD_AUTO; method++) check_method((tinytl_method)method);
}

/* Chosen as without, and then trained as if it had been asked for by name; lite+bias not quite, as
 * it begins with what bias left. */
static void test_auto(void **state) {
  (void)state;
  bool kept[TINYTL_METHOD_AUTO] = {false};
  for (int i = 0; i < 4; i++) {
    saved_run *f = make(TINYTL_METHOD_AUTO, false);
    tinytl_train_report before, of_all, report;
    tinytl_joined joined;
    f->options.seed = (uint64_t)i;
    f->options.lr = i % 2 ? 0.02f : 1e-4f;
    f->train.sided = f->val.sided = i == 1;
    assert_int_equal(tinytl_joined_make(&joined, &f->train.images, &f->val.images, NULL),
                     TINYTL_OK);
    tinytl_adapter *held_back = train_on(f, &f->train.images, &f->val.images, &before);
    f->options.refit = true;
    tinytl_adapter *adapter = train_on(f, &f->train.images, &f->val.images, &report);
    f->options.method = before.method;
    f->options.mirror = before.mirrors ? TINYTL_SWITCH_ON : TINYTL_SWITCH_OFF;
    tinytl_adapter *all = train_on(f, &joined.images, NULL, &of_all);
    assert_int_equal(report.method, before.method);
    assert_int_equal(adapter->n_values, all->n_values);
    const size_t nbytes = all->n_values * sizeof *all->values;
    assert_true((memcmp(adapter->values, all->values, nbytes) == 0) ==
                (report.method != TINYTL_METHOD_LITE_BIAS));
    assert_memory_not_equal(adapter->values, held_back->values, nbytes);
    assert_true(adapter->temperature == held_back->temperature);
    assert_true(report.refit);
    assert_int_equal(report.mirrors, before.mirrors);
    assert_int_equal(report.train_images, SAVED_TRAIN + SAVED_VAL);
    kept[report.method] = true;
    tinytl_joined_clear(&joined);
    tinytl_adapter_free(held_back), tinytl_adapter_free(adapter), tinytl_adapter_free(all);
    saved_run_free(f);
  }
  assert_true(kept[TINYTL_METHOD_LAST] + kept[TINYTL_METHOD_BIAS] + kept[TINYTL_METHOD_LITE_BIAS] >
              1);
}

/* last, asked to augment, mirrors before its features tell that it should not; kept, it is trained
 * again without, which the report did not say. */
static void test_last_mirrors_no_more(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_AUTO, false);
  memory_images_init(&f->val, SAVED_PROOF, 2);
  f->train.sided = f->val.sided = true;
  f->options.augment = TINYTL_SWITCH_ON;
  f->options.lr = 1e-4f;
  for (int i = 0; i < 2; i++) {
    tinytl_train_report report;
    f->options.refit = i == 1;
    tinytl_adapter_free(train_on(f, &f->train.images, &f->val.images, &report));
    assert_int_equal(report.method, TINYTL_METHOD_LAST);
    assert_int_equal(report.refit, i == 1);
    assert_int_equal(report.mirrors, i == 0);
  }
  saved_run_free(f);
}

/* Enough pictures, or none held back: once is enough. */
static void test_once(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    saved_run *f = make(TINYTL_METHOD_LAST, i != 0);
    tinytl_train_report report;
    if (i == 1) memory_images_init(&f->train, 100 * MEMORY_CLASSES - SAVED_VAL, 1);
    tinytl_adapter *adapter =
        train_on(f, &f->train.images, i == 2 ? NULL : &f->val.images, &report);
    assert_false(report.refit);
    assert_int_equal(report.train_images, f->train.images.n_images);
    tinytl_adapter_free(adapter);
    saved_run_free(f);
  }
}

static void note_images(void *context, tinytl_method method, int n_images) {
  saved_run *f = context;
  (void)method;
  f->n_told = n_images;
}

/* What could not be read was counted to what is trained on once more. */
static void test_unreadable(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_LAST, true);
  tinytl_train_report report;
  f->train.answer[1] = f->val.answer[0] = TINYTL_ERROR_DATA;
  f->options.refitting = note_images;
  tinytl_adapter_free(train_on(f, &f->train.images, &f->val.images, &report));
  assert_int_equal(f->n_told, SAVED_TRAIN + SAVED_VAL - 2);
  assert_int_equal(report.train_images, f->n_told);
  saved_run_free(f);
}

/* ---- Going on ----------------------------------------------------------------------------- */

static bool is_second(const saved_run *f) {
  return f->n_resumed > 0 && f->resumed.n_images == SAVED_TRAIN + SAVED_VAL;
}

/* From a checkpoint of before the second training and from those within it, the latter without the
 * first training. */
static void test_goes_on(void **state) {
  (void)state;
  const tinytl_method methods[] = {TINYTL_METHOD_LAST, TINYTL_METHOD_LITE_BIAS, TINYTL_METHOD_AUTO};
  bool seen[TINYTL_METHOD_AUTO] = {false}; /* in the second training of auto */
  for (int i = 0; i < 3; i++) {
    saved_run *f = saved_run_make(methods[i]);
    sink whole, again;
    int n_second = 0;
    f->options.refit = true;
    f->options.lr = 0.02f;
    f->options.refitting = note_images;
    f->train.answer[4] = f->val.answer[2] = TINYTL_ERROR_DATA;
    saved_run_finish(f, NULL, &whole);
    const int n_saves = f->n_saves;
    sink saves[SAVED_MAX];
    assert_true(n_saves <= SAVED_MAX);
    for (int k = 0; k < n_saves; k++) saves[k] = sink_copy(&f->saves[k]);
    for (int k = n_saves - 1; k >= 0; k -= 4) {
      f->n_resumed = f->n_saves = 0;
      saved_run_finish(f, &saves[k], &again);
      sink_assert_same(&whole, &again);
      assert_true(f->report.refit);
      assert_int_equal(f->report.train_images, SAVED_TRAIN + SAVED_VAL - 2);
      assert_int_equal(f->n_told, SAVED_TRAIN + SAVED_VAL - 2);
      assert_int_equal(f->report.val_images, SAVED_VAL - 1);
      assert_int_equal(f->n_resumed, 1);
      assert_true(f->n_saves <= n_saves - k);
      if (is_second(f) && methods[i] == TINYTL_METHOD_AUTO) seen[f->resumed.method] = true;
      n_second += is_second(f);
      free(again.bytes);
    }
    assert_true(n_second > 0);
    for (int k = 0; k < n_saves; k++) free(saves[k].bytes);
    free(whole.bytes);
    saved_run_free(f);
  }
  assert_true(seen[TINYTL_METHOD_BIAS] && seen[TINYTL_METHOD_LITE_BIAS]);
}

/* ---- Coming to nothing -------------------------------------------------------------------- */

typedef struct spoiler {
  saved_run *f;
  tinytl_status answer; /* of all pictures of a class in the second training; OK: they are grey */
  uint64_t grey_from;   /* the epoch of either training from which on pictures are grey; 0: none */
  bool is_second;
  int n_failed;
  tinytl_status (*load)(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                        tinytl_error *error);
} spoiler;

static spoiler spoiled; /* load's context is the set */

static tinytl_status load_spoiled(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                  tinytl_error *error) {
  const tinytl_status status = spoiled.load(context, index, view, rgb, error);
  const bool is_late = spoiled.grey_from > 0 && view->augment && view->epoch >= spoiled.grey_from;
  if (status == TINYTL_OK && (spoiled.is_second || is_late))
    memset(rgb, 128, (size_t)view->size * (size_t)view->size * 3);
  return status;
}

static void spoil(void *context, tinytl_method method, int n_images) {
  (void)context, (void)method, (void)n_images;
  spoiled.is_second = true;
  for (int i = 0; i < SAVED_TRAIN; i += MEMORY_CLASSES) spoiled.f->train.answer[i] = spoiled.answer;
  for (int i = 0; i < SAVED_VAL; i += MEMORY_CLASSES) spoiled.f->val.answer[i] = spoiled.answer;
}

static void note_failed(void *context, const char *reason) {
  (void)context;
  spoiled.n_failed++;
  assert_non_null(strstr(reason, spoiled.answer == TINYTL_OK
                                     ? "the loss of its last epoch"
                                     : "none of its training pictures can be read"));
}

static void begin_spoiled(saved_run *f, tinytl_status answer) {
  spoiled = (spoiler){.f = f, .answer = answer, .load = f->train.images.load};
  f->train.images.load = f->val.images.load = load_spoiled;
  f->options.refitting = spoil;
  f->options.refit_failed = note_failed;
  f->options.lr = 0.02f;
}

static void prepare_spoiled(saved_run *f) {
  memset(f->train.answer, 0, sizeof f->train.answer);
  memset(f->val.answer, 0, sizeof f->val.answer);
  spoiled.is_second = false;
  spoiled.n_failed = f->n_saves = f->n_resumed = 0;
}

static void run_spoiled(saved_run *f, const sink *from, sink *adapter) {
  prepare_spoiled(f);
  saved_run_finish(f, from, adapter);
}

static void check_first(const saved_run *f, const tinytl_train_report *first) {
  assert_int_equal(spoiled.n_failed, 1);
  assert_false(f->report.refit);
  assert_int_equal(f->report.method, first->method);
  assert_int_equal(f->report.train_images, first->train_images);
  assert_int_equal(f->report.skipped_images, 0);
  assert_true(f->report.loss == first->loss && f->report.val_top1 == first->val_top1);
}

/* What the first training made is kept, in a whole run and in those that go on. */
static void check_kept(tinytl_method method, tinytl_status answer) {
  saved_run *f = saved_run_make(method);
  sink first, kept, again, saves[SAVED_MAX];
  int n_second = 0;
  begin_spoiled(f, answer);
  run_spoiled(f, NULL, &first);
  const tinytl_train_report report = f->report;
  f->options.refit = true;
  run_spoiled(f, NULL, &kept);
  sink_assert_same(&first, &kept);
  check_first(f, &report);
  const int n_saves = f->n_saves;
  assert_true(n_saves <= SAVED_MAX);
  for (int k = 0; k < n_saves; k++) saves[k] = sink_copy(&f->saves[k]);
  for (int k = n_saves - 1; k >= 0; k -= 4) {
    run_spoiled(f, &saves[k], &again);
    sink_assert_same(&first, &again);
    check_first(f, &report);
    n_second += is_second(f);
    free(again.bytes);
  }
  assert_true(n_second > 0);
  for (int k = 0; k < n_saves; k++) free(saves[k].bytes);
  free(first.bytes), free(kept.bytes);
  saved_run_free(f);
}

static void test_comes_to_nothing(void **state) {
  (void)state;
  check_kept(TINYTL_METHOD_LAST, TINYTL_OK);
  check_kept(TINYTL_METHOD_FULL, TINYTL_OK);
  check_kept(TINYTL_METHOD_AUTO, TINYTL_OK);
  check_kept(TINYTL_METHOD_LITE_BIAS, TINYTL_ERROR_DATA);
  check_kept(TINYTL_METHOD_AUTO, TINYTL_ERROR_DATA); /* bias fails, which leads to lite+bias */
}

/* The first training came to nothing too, after the epoch that was kept. */
static void test_both_come_to_nothing(void **state) {
  (void)state;
  saved_run *f = make(TINYTL_METHOD_BIAS, true);
  sink adapter;
  begin_spoiled(f, TINYTL_OK);
  spoiled.grey_from = 6;
  f->options.epochs = 8;
  run_spoiled(f, NULL, &adapter);
  assert_true(f->report.best_epoch < 6 && f->report.epochs == 8);
  assert_int_equal(spoiled.n_failed, 1);
  assert_false(f->report.refit);
  free(adapter.bytes);
  saved_run_free(f);
}

/* The smallest limits have the best values of the first training in a file, so there is no room for
 * its adapter beside the second. */
static void test_comes_to_nothing_without_room(void **state) {
  (void)state;
  saved_run *f = calloc(1, sizeof *f);
  assert_int_equal(
      tinytl_backbone_init("mobilenet-v2-0.35", 3, TINYTL_WEIGHTS_INT8, 1, &f->backbone, NULL),
      TINYTL_OK);
  saved_run_init(f, TINYTL_METHOD_FULL);
  f->options.image_size = 32;
  f->options.epochs = 1;
  f->options.save = NULL;
  f->options.spill_dir = ".";
  f->options.refit = true;
  begin_spoiled(f, TINYTL_ERROR_DATA);
  sink adapter;
  run_spoiled(f, NULL, &adapter);
  assert_int_equal(spoiled.n_failed, 1);
  free(adapter.bytes);
  prepare_spoiled(f);
  assert_int_equal(saved_run_train_low(f, NULL, &adapter), TINYTL_ERROR_DATA);
  assert_int_equal(spoiled.n_failed, 0);
  assert_non_null(strstr(f->error.message, "none of its training pictures can be read"));
  saved_run_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_methods),
      cmocka_unit_test(test_auto),
      cmocka_unit_test(test_once),
      cmocka_unit_test(test_goes_on),
      cmocka_unit_test(test_comes_to_nothing),
      cmocka_unit_test(test_both_come_to_nothing),
      cmocka_unit_test(test_comes_to_nothing_without_room),
      cmocka_unit_test(test_unreadable),
      cmocka_unit_test(test_last_mirrors_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
