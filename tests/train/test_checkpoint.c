/* Checkpoints: a run that goes on from one ends with the bytes of a run that was never ended. */
#include "support/cmocka.h"
#include "support/saved_run.h"

#include "train/checkpoint.h"
#include "train/layout.h"
#include "train/prepare.h"

#include <math.h>
#include <stdlib.h>

enum { N_METHODS = TINYTL_METHOD_AUTO };

static void assert_same_report(const tinytl_train_report *x, const tinytl_train_report *y) {
  assert_int_equal(x->epochs, y->epochs);
  assert_int_equal(x->best_epoch, y->best_epoch);
  assert_int_equal(x->train_images, y->train_images);
  assert_int_equal(x->val_images, y->val_images);
  assert_int_equal(x->skipped_images, y->skipped_images);
  assert_true(x->val_top1 == y->val_top1 || (isnan(x->val_top1) && isnan(y->val_top1)));
}

/* Goes on from every step-th checkpoint of a run. */
static void check_every_place(saved_run *f, int step) {
  sink whole, again;
  saved_run_finish(f, NULL, &whole);
  const int n_saves = f->n_saves;
  const tinytl_train_report report = f->report;
  const float loss = f->loss;
  assert_true(n_saves <= SAVED_MAX);
  sink saves[SAVED_MAX];
  for (int i = 0; i < n_saves; i++) saves[i] = sink_copy(&f->saves[i]);
  for (int i = 0; i < n_saves; i += step) {
    f->n_saves = 0;
    saved_run_finish(f, &saves[i], &again);
    sink_assert_same(&whole, &again);
    assert_same_report(&report, &f->report);
    assert_true(f->loss == loss);
    /* And its checkpoints are those of the run that was not ended. */
    assert_int_equal(f->n_saves, n_saves - 1 - i);
    if (f->n_saves > 0) sink_assert_same(saved_run_latest(f), &saves[n_saves - 1]);
    free(again.bytes);
  }
  for (int i = 0; i < n_saves; i++) free(saves[i].bytes);
  free(whole.bytes);
}

/* ---- The same bytes ----------------------------------------------------------------------- */

/* 6 updates and the epoch's end, three times: each of them, or every fifth. */
static void check_every_update(tinytl_method method, tinytl_optimizer optimizer, bool with_val,
                               bool each) {
  saved_run *f = saved_run_make(method);
  f->options.optimizer = optimizer;
  f->with_val = with_val;
  check_every_place(f, each ? 1 : 5);
  assert_int_equal(f->n_resumed, each ? 21 : 5);
  saved_run_free(f);
}

static void test_every_update(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    check_every_update((tinytl_method)method, TINYTL_OPTIMIZER_ADAM, method % 2, false);
  for (int optimizer = 0; optimizer < TINYTL_OPTIMIZER_AUTO; optimizer++) {
    check_every_update(TINYTL_METHOD_LITE_BIAS, (tinytl_optimizer)optimizer, false, false);
    check_every_update(TINYTL_METHOD_LITE_BIAS, (tinytl_optimizer)optimizer, true,
                       optimizer == TINYTL_OPTIMIZER_ADAM8);
  }
}

static void test_options(void **state) {
  (void)state;
  for (int i = 0; i < 6; i++) {
    saved_run *f = saved_run_make(TINYTL_METHOD_LITE_BIAS);
    switch (i) {
    case 0: /* `last` on pictures that change: nothing is cached */
      f->options.method = TINYTL_METHOD_LAST;
      f->options.augment = TINYTL_SWITCH_ON;
      break;
    case 1: /* the schedule's end comes early */
      f->options.patience = 1;
      f->options.epochs = 10;
      f->options.lr = 1e-6f;
      break;
    case 2: /* one update an epoch */
      f->options.batch = 1000;
      break;
    case 3:
      f->options.batch = 1;
      f->options.epochs = 2;
      break;
    case 4:
      f->options.n_threads = 3;
      break;
    default:
      f->options.seed = UINT64_MAX;
    }
    check_every_place(f, 4);
    saved_run_free(f);
  }
}

/* Methods of auto that were kept, from the first. */
static void count_kept(void *context, const tinytl_auto_step *step) {
  saved_run *f = context;
  f->n_kept += step->kept;
}

/* Every place of every method, whether what it inherits is kept in the end or not. */
static void test_auto(void **state) {
  (void)state;
  bool ends_with[TINYTL_N_AUTO_METHODS + 1] = {false};
  for (int i = 0; i < 3; i++) {
    saved_run *f = saved_run_make(TINYTL_METHOD_AUTO);
    f->options.seed = (uint64_t)i;
    f->options.lr = i % 2 ? 0.02f : 1e-4f;
    f->options.stepped = count_kept;
    if (i == 0) memory_images_init(&f->val, SAVED_PROOF, 2);
    sink whole;
    saved_run_finish(f, NULL, &whole);
    free(whole.bytes);
    ends_with[f->n_kept] = true;
    f->n_saves = 0;
    f->val.answer[3] = i == 2 ? TINYTL_ERROR_DATA : TINYTL_OK;
    f->train.sided = f->val.sided = i == 1; /* trains without mirroring */
    check_every_place(f, i == 1 ? 2 : 7);
    saved_run_free(f);
  }
  assert_true(ends_with[1] && (ends_with[2] || ends_with[3]));
}

static void test_unreadable_pictures(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method += TINYTL_METHOD_LITE_BIAS) {
    saved_run *f = saved_run_make((tinytl_method)method);
    static const int broken[] = {0, 4, 9, 20};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
      f->train.answer[broken[i]] = TINYTL_ERROR_DATA;
    f->val.answer[3] = TINYTL_ERROR_DATA;
    check_every_place(f, 1);
    assert_int_equal(f->report.skipped_images, 5);
    saved_run_free(f);
  }
}

/* Of a checkpoint of auto: how likely the right class of each validation picture was. */
static void read_right(const sink *file, float right[SAVED_VAL]) {
  const tinytl_source source = sink_source(file);
  const tinytl_sealed_vector vector = tinytl_sealed_floats("auto.right", right, SAVED_VAL);
  tinytl_sealed_file sealed;
  assert_int_equal(tinytl_sealed_open(&sealed, &source, TINYTL_CHECKPOINT_FORMAT, NULL), TINYTL_OK);
  assert_int_equal(tinytl_sealed_read_vector(&sealed, &vector, NULL), TINYTL_OK);
  tinytl_sealed_close(&sealed);
}

/* Of pictures that cannot be read it is not what was in memory before. */
static void test_unreadable_is_not_compared(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_AUTO);
  sink adapter;
  float right[SAVED_VAL];
  f->val.answer[3] = TINYTL_ERROR_DATA;
  saved_run_finish(f, NULL, &adapter);
  read_right(saved_run_latest(f), right);
  for (int i = 0; i < SAVED_VAL; i++) assert_int_equal(isnan(right[i]), i == 3);
  free(adapter.bytes);
  saved_run_free(f);
}

/* Stopped again and again, wherever that hits. */
static void test_stops(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    for (int loads = 5; loads < 50; loads += 11) {
      saved_run *f = saved_run_make((tinytl_method)method);
      sink whole, again, from = {0};
      f->train.answer[2] = TINYTL_ERROR_DATA;
      saved_run_finish(f, NULL, &whole);
      f->options.save_seconds = 1000; /* at the stop and at the end alone */
      f->n_saves = 0;
      int n_stops = 0;
      tinytl_status status;
      do {
        /* More each time: features, validation and calibration begin anew. */
        f->loads_left = loads + n_stops;
        status = saved_run_train(f, n_stops ? &from : NULL, &again);
        assert_true(status == TINYTL_OK || status == TINYTL_INTERRUPTED);
        if (status == TINYTL_INTERRUPTED) n_stops++;
        free(from.bytes);
        from = sink_copy(saved_run_latest(f));
      } while (status == TINYTL_INTERRUPTED);
      assert_true(n_stops > 0 ||
                  (method == TINYTL_METHOD_LAST && loads >= SAVED_TRAIN + SAVED_VAL));
      sink_assert_same(&whole, &again);
      free(from.bytes);
      free(whole.bytes);
      free(again.bytes);
      saved_run_free(f);
    }
}

static void train_low(saved_run *f, const sink *from, sink *adapter) {
  if (saved_run_train_low(f, from, adapter) != TINYTL_OK) fail_msg("%s", f->error.message);
}

/* A checkpoint of a run without a limit goes on under one, with everything saved, and the reverse.
 */
static void test_limits(void **state) {
  (void)state;
  saved_run *f = calloc(1, sizeof *f);
  assert_int_equal(
      tinytl_backbone_init("mobilenet-v2-0.35", 3, TINYTL_WEIGHTS_INT8, 1, &f->backbone, NULL),
      TINYTL_OK);
  saved_run_init(f, TINYTL_METHOD_LITE_BIAS);
  f->options.image_size = 32;
  f->options.epochs = 2;
  f->options.optimizer = TINYTL_OPTIMIZER_ADAM;
  f->options.spill_dir = ".";
  sink whole, again;
  saved_run_finish(f, NULL, &whole);
  assert_false(f->report.plan.spills);
  const int n_saves = f->n_saves;
  assert_int_equal(n_saves, 14);
  for (int i = 2; i < n_saves; i += 7) { /* in the first epoch, and in the second */
    sink from = sink_copy(&f->saves[i]);
    train_low(f, &from, &again);
    sink_assert_same(&whole, &again);
    free(again.bytes);
    free(from.bytes);
  }
  f->n_saves = 0;
  train_low(f, NULL, &again);
  sink_assert_same(&whole, &again);
  free(again.bytes);
  f->options.memory_limit = 0;
  sink from = sink_copy(&f->saves[9]);
  saved_run_finish(f, &from, &again);
  assert_false(f->report.plan.spills);
  sink_assert_same(&whole, &again);
  free(from.bytes);
  free(again.bytes);
  free(whole.bytes);
  saved_run_free(f);
}

static tinytl_trainer *make_trainer(const saved_run *f, bool spill) {
  const tinytl_choices choices = {.method = TINYTL_METHOD_LITE_BIAS,
                                  .n_lanes = 1,
                                  .optimizer = TINYTL_OPTIMIZER_ADAM8,
                                  .spill = spill};
  tinytl_trainer *t = calloc(1, sizeof *t);
  t->options = f->options;
  t->options.spill_dir = ".";
  t->train = &f->train.images;
  t->val = &f->val.images;
  assert_int_equal(tinytl_trainer_prepare(t, f->backbone, &choices, NULL), TINYTL_OK);
  assert_true(tinytl_trainer_count(t));
  assert_int_equal(tinytl_trainer_start(t, NULL), TINYTL_OK);
  return t;
}

/* The same file whether the best values are in memory or in a file, when saved and when gone on. */
static void test_spilled_values(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_LITE_BIAS);
  sink first = {0};
  for (int spill = 0; spill < 2; spill++) {
    tinytl_checkpoint checkpoint;
    tinytl_trainer *t = make_trainer(f, spill);
    assert_int_equal(tinytl_checkpoint_init(&checkpoint, t, NULL), TINYTL_OK);
    for (size_t i = 0; i < t->params->n; i++) t->values[i] = (float)i;
    assert_int_equal(tinytl_trainer_keep(t, NULL), TINYTL_OK);
    for (size_t i = 0; i < t->params->n; i++) t->values[i] = -1;
    checkpoint.at = (tinytl_position){.epoch = 2, .n_fed = 4, .n_train = 21, .best_epoch = 1};
    sink saved = {0}, again = {0};
    assert_int_equal(tinytl_checkpoint_write(&checkpoint, sink_write, &saved, NULL), TINYTL_OK);
    if (!first.bytes) first = sink_copy(&saved);
    sink_assert_same(&first, &saved);

    tinytl_checkpoint_clear(&checkpoint);
    tinytl_trainer_free(t);
    t = make_trainer(f, spill);
    assert_int_equal(tinytl_checkpoint_init(&checkpoint, t, NULL), TINYTL_OK);
    const tinytl_source source = sink_source(&saved);
    tinytl_resume *resume = NULL;
    assert_int_equal(tinytl_resume_open(&source, &resume, NULL), TINYTL_OK);
    assert_int_equal(tinytl_resume_restore(resume, &checkpoint, NULL), TINYTL_OK);
    tinytl_resume_free(resume);
    assert_int_equal(tinytl_checkpoint_write(&checkpoint, sink_write, &again, NULL), TINYTL_OK);
    sink_assert_same(&first, &again);
    free(saved.bytes);
    free(again.bytes);
    tinytl_checkpoint_clear(&checkpoint);
    tinytl_trainer_free(t);
  }
  free(first.bytes);
  saved_run_free(f);
}

/* ---- Told --------------------------------------------------------------------------------- */

static void test_what_is_told(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink adapter;
  saved_run_finish(f, NULL, &adapter);
  free(adapter.bytes);
  assert_int_equal(f->n_resumed, 0);
  sink from = sink_copy(&f->saves[8]); /* 6 updates, the epoch's end, 2 updates */
  saved_run_finish(f, &from, &adapter);
  assert_int_equal(f->n_resumed, 1);
  assert_int_equal(f->resumed.method, TINYTL_METHOD_BIAS);
  assert_int_equal(f->resumed.epoch, 2);
  assert_int_equal(f->resumed.n_epochs, SAVED_EPOCHS);
  assert_int_equal(f->resumed.image, 2 * SAVED_BATCH);
  assert_int_equal(f->resumed.n_images, SAVED_TRAIN);
  free(adapter.bytes);
  free(from.bytes);
  saved_run_free(f);
}

/* By default nothing is saved before half a minute is over, but at the end. */
static void test_interval(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink adapter;
  f->options.save_seconds = 30;
  saved_run_finish(f, NULL, &adapter);
  assert_int_equal(f->n_saves, 1);
  free(adapter.bytes);
  f->options.save_seconds = NAN;
  assert_int_equal(saved_run_train(f, NULL, &adapter), TINYTL_ERROR_USAGE);
  saved_run_free(f);
}

static void test_python(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink adapter;
  f->options.optimizer = TINYTL_OPTIMIZER_ADAM8;
  saved_run_finish(f, NULL, &adapter);
  sink_check_in_python(saved_run_latest(f),
                       "m = f.metadata()\n"
                       "assert m[\"tinytl.format\"] == \"checkpoint 4\", m\n"
                       "assert json.loads(m[\"tinytl.state\"])[\"epoch\"] == 4, m\n"
                       "assert json.loads(m[\"tinytl.data\"])[\"train_images\"] == 21, m\n"
                       "n = f.get_tensor(\"values\").shape\n"
                       "assert f.get_tensor(\"best\").shape == n\n"
                       "assert f.get_tensor(\"moment1.code\").shape == n\n"
                       "assert f.get_tensor(\"moment1.code\").any()\n"
                       "assert f.get_tensor(\"unreadable.val\").shape == (9,)");
  free(adapter.bytes);
  saved_run_free(f);
}

/* A save that fails at any byte says so, and the run does not care. */
static void save_into_nothing(void *context, const tinytl_checkpoint *checkpoint) {
  saved_run *f = context;
  size_t room = (size_t)f->n_saves++ * 997 % saved_run_latest(f)->nbytes;
  tinytl_error error = {0};
  assert_int_equal(tinytl_checkpoint_write(checkpoint, sink_full, &room, &error),
                   TINYTL_ERROR_INTERNAL);
  assert_string_equal(error.message, "the output could not be written");
}

static void test_full_disk(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_LITE_BIAS);
  sink whole, again;
  saved_run_finish(f, NULL, &whole);
  for (int i = 0; i < SAVED_MAX; i++) f->saves[i].nbytes = f->saves[0].nbytes;
  f->options.save = save_into_nothing;
  saved_run_finish(f, NULL, &again);
  sink_assert_same(&whole, &again);
  free(whole.bytes);
  free(again.bytes);
  saved_run_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_update),
      cmocka_unit_test(test_options),
      cmocka_unit_test(test_auto),
      cmocka_unit_test(test_unreadable_pictures),
      cmocka_unit_test(test_unreadable_is_not_compared),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_spilled_values),
      cmocka_unit_test(test_what_is_told),
      cmocka_unit_test(test_interval),
      cmocka_unit_test(test_python),
      cmocka_unit_test(test_full_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
