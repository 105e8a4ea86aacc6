/* Training through the public API: what is learned, what the adapter holds, what is reported. */
#include "support/cmocka.h"
#include "support/memory_images.h"
#include "support/sink.h"
#include "support/tiny_net.h"

#include "model/adapter.h"
#include "model/quantise.h"
#include "train/auto.h"
#include "train/calibration.h"
#include "train/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 45, N_VAL = 30, N_METHODS = TINYTL_METHOD_AUTO };

typedef struct fixture {
  tinytl_backbone *backbone;
  memory_images train, val;
  tinytl_train_options options;
  tinytl_adapter *adapter;
  tinytl_train_report report;
} fixture;

static fixture *make(tinytl_method method, bool with_lite) {
  fixture *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, with_lite);
  memory_images_init(&f->train, N_TRAIN, 1);
  memory_images_init(&f->val, N_VAL, 2);
  tinytl_train_options_init(&f->options);
  f->options.method = method;
  f->options.epochs = 4;
  f->options.n_threads = 1;
  return f;
}

static void destroy(fixture *f) {
  tinytl_adapter_free(f->adapter);
  tinytl_backbone_free(f->backbone);
  free(f);
}

static void train(fixture *f, bool with_val) {
  tinytl_error error = {0};
  tinytl_adapter_free(f->adapter);
  if (tinytl_train(f->backbone, &f->train.images, with_val ? &f->val.images : NULL, &f->options,
                   &f->adapter, &f->report, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
}

static sink write_adapter(const fixture *f) {
  sink file = {0};
  assert_int_equal(tinytl_adapter_write(f->adapter, sink_write, &file, NULL), TINYTL_OK);
  return file;
}

static void assert_same(const sink *x, const sink *y) {
  assert_int_equal(x->nbytes, y->nbytes);
  assert_memory_equal(x->bytes, y->bytes, x->nbytes);
}

/* ---- Learning ----------------------------------------------------------------------------- */

static void check_learns(tinytl_method method, tinytl_optimizer optimizer, bool with_lite) {
  fixture *f = make(method, with_lite);
  f->options.optimizer = optimizer;
  f->options.epochs = method == TINYTL_METHOD_LAST ? 60 : 25;
  train(f, true);
  if (!(f->report.val_top1 >= 0.8f)) /* chance: a third */
    fail_msg("method %s, optimizer %d: accuracy %g", tinytl_method_name(method), (int)optimizer,
             (double)f->report.val_top1);
  destroy(f);
}

static void test_learns(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    check_learns((tinytl_method)method, TINYTL_OPTIMIZER_ADAM, false);
    check_learns((tinytl_method)method, TINYTL_OPTIMIZER_ADAM, true);
  }
  check_learns(TINYTL_METHOD_LITE_BIAS, TINYTL_OPTIMIZER_SGD, false);
}

/* The last batch of an epoch may hold fewer pictures, one too. */
static void test_batches(void **state) {
  (void)state;
  static const int batches[] = {1, 7, N_TRAIN - 1, 1000};
  for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
    fixture *f = make(TINYTL_METHOD_BIAS, false);
    f->options.batch = batches[i];
    f->options.epochs = 20;
    f->options.lr = 1e-2f;
    train(f, true);
    assert_true(f->report.val_top1 > 0.5f);
    destroy(f);
  }
}

static void test_patience(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS, false);
  f->options.epochs = 50;
  f->options.patience = 2;
  train(f, true);
  assert_true(f->report.epochs < 50);
  assert_true(f->report.best_epoch <= f->report.epochs);
  destroy(f);
}

/* ---- What the adapter holds --------------------------------------------------------------- */

static bool equal(const float *x, const float *y, size_t n) {
  return memcmp(x, y, n * sizeof *x) == 0;
}

/* Values [n], which are there where they are trained alone, and then are others than before. */
static void check_values(const float *values, bool trained, const float *before, size_t n) {
  assert_int_equal(values != NULL, trained);
  if (trained) assert_false(equal(values, before, n));
}

static void check_layers(const fixture *f, tinytl_method method) {
  const tinytl_arch *arch = &f->backbone->arch;
  const bool norm = method == TINYTL_METHOD_NORM, full = method == TINYTL_METHOD_FULL;
  const bool bias = method == TINYTL_METHOD_BIAS || method == TINYTL_METHOD_LITE_BIAS;
  float ones[64];
  for (int c = 0; c < 64; c++) ones[c] = 1;
  for (int i = 0; i < arch->n_layers; i++) {
    const size_t n = (size_t)arch->layers[i].out_c,
                 n_weights = tinytl_layer_n_weights(&arch->layers[i]);
    const tinytl_weight *w = &f->backbone->weight[i];
    float *before = malloc(n_weights * sizeof *before);
    tinytl_dequantise(tinytl_weight_shape_of(&arch->layers[i]), w->i8, w->scale, before);
    assert_true(n <= 64);
    check_values(f->adapter->bias[i], bias || norm || full, f->backbone->bias[i], n);
    check_values(f->adapter->gain[i], norm, ones, n);
    check_values(f->adapter->weight[i], full, before, n_weights);
    free(before);
  }
}

/* The final norm's shift is trained by lite alone: with the biases it stays as it was. */
static void check_lite(const fixture *f, tinytl_method method, bool with_lite) {
  for (int m = 0; m < f->adapter->n_lite; m++) {
    const size_t n = (size_t)f->adapter->lite_shape[m].out_c;
    float *before = calloc(n, sizeof *before);
    if (with_lite) memcpy(before, f->backbone->lite[m].shift2, n * sizeof *before);
    const bool trained = method == TINYTL_METHOD_LITE;
    assert_true(equal(f->adapter->lite[m].shift2, before, n) != trained);
    memset(before, 0, n * sizeof *before);
    if (with_lite) memcpy(before, f->backbone->lite[m].scale2, n * sizeof *before);
    assert_false(equal(f->adapter->lite[m].scale2, before, n));
    free(before);
  }
}

static void test_adapter_holds_what_was_trained(void **state) {
  (void)state;
  for (int with_lite = 0; with_lite < 2; with_lite++)
    for (int method = 0; method < N_METHODS; method++) {
      fixture *f = make((tinytl_method)method, with_lite);
      f->options.epochs = 1;
      train(f, false);
      tinytl_adapter_info info;
      tinytl_adapter_describe(f->adapter, &info);
      assert_int_equal(info.method, method);
      assert_int_equal(info.n_classes, MEMORY_CLASSES);
      assert_int_equal(info.image_size, TINY_SIZE);
      assert_string_equal(tinytl_adapter_class(f->adapter, 1), "green");
      check_layers(f, (tinytl_method)method);
      const bool brought = with_lite && method >= TINYTL_METHOD_NORM;
      const bool lite = brought || tinytl_method_trains_lite((tinytl_method)method);
      assert_int_equal(info.n_lite, lite ? f->backbone->arch.n_blocks - 1 : 0);
      check_lite(f, (tinytl_method)method, with_lite);
      destroy(f);
    }
}

static void test_backbone_stays_as_it_was(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method, true);
    f->options.epochs = 1;
    sink before = {0}, after = {0};
    assert_int_equal(tinytl_backbone_write(f->backbone, sink_write, &before, NULL), TINYTL_OK);
    train(f, true);
    assert_int_equal(tinytl_backbone_write(f->backbone, sink_write, &after, NULL), TINYTL_OK);
    assert_same(&before, &after);
    free(before.bytes);
    free(after.bytes);
    destroy(f);
  }
}

/* ---- Determinism -------------------------------------------------------------------------- */

static void test_same_seed_same_bytes(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method, false);
    f->options.epochs = 2;
    train(f, true);
    sink first = write_adapter(f);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
      f->options.n_threads = n_threads;
      train(f, true);
      sink again = write_adapter(f);
      assert_same(&first, &again);
      free(again.bytes);
    }
    f->options.seed = 1;
    train(f, true);
    sink other = write_adapter(f);
    assert_false(other.nbytes == first.nbytes &&
                 memcmp(other.bytes, first.bytes, first.nbytes) == 0);
    free(first.bytes);
    free(other.bytes);
    destroy(f);
  }
}

/* ---- Reports ------------------------------------------------------------------------------ */

enum { MAX_EVENTS = 10000 };

typedef struct events {
  int n;
  tinytl_epoch event[MAX_EVENTS];
} events;

static void record(void *context, const tinytl_epoch *event) {
  events *all = context;
  if (all->n < MAX_EVENTS) all->event[all->n++] = *event;
}

/* Epochs and their pictures only ever go up, and an epoch is finished once, at its end. */
static void check_events(const events *all, int n_epochs, bool with_val) {
  int n_finished = 0;
  for (int i = 0; i < all->n; i++) {
    const tinytl_epoch *event = &all->event[i];
    assert_int_equal(event->n_epochs, n_epochs);
    assert_true(event->image >= 1 && event->image <= event->n_images);
    if (event->epoch > 0) {
      assert_int_equal(event->epoch, n_finished + 1);
      assert_int_equal(event->n_images, N_TRAIN);
      assert_true(isfinite(event->loss) && event->loss > 0);
    }
    if (i > 0 && event->epoch == event[-1].epoch && event->n_images == event[-1].n_images)
      assert_true(event->image >= event[-1].image);
    assert_true(isnan(event->val_top1) == !(event->finished && with_val));
    n_finished += event->finished;
    if (event->finished) assert_int_equal(event->image, event->n_images);
  }
  assert_int_equal(n_finished, n_epochs);
}

static void test_progress(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    for (int with_val = 0; with_val < 2; with_val++) {
      fixture *f = make((tinytl_method)method, false);
      events *all = calloc(1, sizeof *all);
      f->options.progress = record;
      f->options.context = all;
      f->options.epochs = 3;
      train(f, with_val);
      check_events(all, 3, with_val);
      free(all);
      destroy(f);
    }
}

static void test_report(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS, false);
  train(f, true);
  assert_int_equal(f->report.epochs, f->options.epochs);
  assert_true(f->report.best_epoch >= 1 && f->report.best_epoch <= f->report.epochs);
  assert_int_equal(f->report.train_images, N_TRAIN);
  assert_int_equal(f->report.skipped_images, 0);
  assert_int_equal(f->report.plan.method, TINYTL_METHOD_BIAS);
  assert_true(f->report.plan.total_bytes > 0);
  assert_true(f->report.seconds > 0 && f->report.images_per_second > 0);
  destroy(f);
}

static void test_without_validation(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method, false);
    train(f, false);
    tinytl_adapter_info info;
    tinytl_adapter_describe(f->adapter, &info);
    assert_true(isnan(f->report.val_top1) && isnan(info.val_top1));
    assert_true(info.temperature == 1 && isnan(info.reject_below));
    assert_int_equal(f->report.best_epoch, f->options.epochs);
    destroy(f);
  }
  /* There is nothing to be patient about. */
  fixture *f = make(TINYTL_METHOD_LAST, false);
  f->options.patience = 1;
  train(f, false);
  assert_int_equal(f->report.epochs, f->options.epochs);
  destroy(f);
}

/* ---- From the file ------------------------------------------------------------------------ */

typedef struct figures {
  float top1;
  double loss;                     /* what the temperature is the smallest of */
  int n_right, n_kept, n_kept_yet; /* right; not below the threshold, nor a little above it */
} figures;

/* Of the validation pictures. */
static figures evaluate(const fixture *f, const tinytl_adapter *adapter) {
  tinytl_predictor *predictor = NULL;
  assert_int_equal(tinytl_predictor_create(f->backbone, adapter, 0, 2, &predictor, NULL),
                   TINYTL_OK);
  assert_int_equal(tinytl_predictor_n_classes(predictor), MEMORY_CLASSES);
  const tinytl_view view = tinytl_predictor_view(predictor);
  assert_int_equal(view.size, TINY_SIZE);
  const tinytl_images *images = &f->val.images;
  figures found = {.loss =
                       pow(log((double)adapter->temperature) / TINYTL_TEMPERATURE_SPREAD, 2) / 2};
  for (int i = 0; i < images->n_images; i++) {
    uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
    float probabilities[MEMORY_CLASSES];
    assert_int_equal(images->load(images->context, i, &view, rgb, NULL), TINYTL_OK);
    assert_int_equal(tinytl_predictor_run(predictor, rgb, probabilities, NULL), TINYTL_OK);
    const int label = images->labels[i];
    const float score = tinytl_predictor_score(predictor);
    const bool right = probabilities[label] >= tinytl_largest(MEMORY_CLASSES, probabilities);
    found.loss -= log((double)probabilities[label]);
    found.n_right += right;
    found.n_kept += right && score >= adapter->reject_below;
    found.n_kept_yet += right && score >= adapter->reject_below + 1.0f / TINYTL_SCORE_STEPS;
  }
  found.top1 = (float)found.n_right / (float)images->n_images;
  tinytl_predictor_free(predictor);
  return found;
}

/* Temperature and threshold are those of the kept values: any other would be worse. */
static void check_calibration(const fixture *f, tinytl_adapter *adapter, const figures *found) {
  const float temperature = adapter->temperature;
  static const float factors[] = {0.95f, 1.05f};
  for (int i = 0; i < 2; i++) {
    adapter->temperature = temperature * factors[i];
    const double loss = evaluate(f, adapter).loss;
    if (!(loss > found->loss))
      fail_msg("loss %g at temperature %g, %g at %g", found->loss, (double)temperature, loss,
               (double)adapter->temperature);
  }
  adapter->temperature = temperature;
  assert_true(found->n_kept >= TINYTL_KEPT_SHARE * found->n_right);
  assert_true(found->n_kept_yet < TINYTL_KEPT_SHARE * found->n_right);
}

/* The latest epoch that is not worse than the best by more than one standard error of its accuracy,
 * from the accuracies that were told. */
static int expected_epoch(const events *all) {
  float best = -1;
  int epoch = 0;
  for (int i = 0; i < all->n; i++)
    if (all->event[i].finished && all->event[i].val_top1 > best) best = all->event[i].val_top1;
  const float noise = sqrtf(best * (1 - best) / N_VAL);
  for (int i = 0; i < all->n; i++)
    if (all->event[i].finished && all->event[i].val_top1 >= best - noise)
      epoch = all->event[i].epoch;
  return epoch;
}

/* Writes the adapter, opens it again and tests it. */
static void check_reopened(const fixture *f) {
  sink file = write_adapter(f);
  tinytl_adapter *adapter = NULL;
  assert_int_equal(
      tinytl_adapter_open(file.bytes, file.nbytes, "adapter", f->backbone, &adapter, NULL),
      TINYTL_OK);
  const figures found = evaluate(f, adapter);
  assert_true(found.top1 == f->report.val_top1);
  check_calibration(f, adapter, &found);
  assert_true(adapter->val_top1 == f->report.val_top1);
  tinytl_adapter_free(adapter);
  free(file.bytes);
}

/* Few steps at a high rate, and a third of the validation labels wrong, so that accuracy goes up
 * and down: else any epoch would do. */
static void test_kept_epoch(void **state) {
  (void)state;
  int labels[N_VAL];
  for (int i = 0; i < N_VAL; i++) labels[i] = (i + (i / 3 % 3 == 0)) % MEMORY_CLASSES;
  events *all = calloc(1, sizeof *all);
  for (int method = 0; method < N_METHODS; method++)
    for (uint64_t seed = 0; seed < 4; seed += 3) {
      fixture *f = make((tinytl_method)method, seed % 2 == 1);
      all->n = 0;
      f->val.images.labels = labels;
      f->options.progress = record;
      f->options.context = all;
      f->options.seed = seed;
      f->options.epochs = 8;
      f->options.lr = seed < 2 ? 2e-2f : 1e-1f;
      train(f, true);
      assert_int_equal(f->report.best_epoch, expected_epoch(all));
      check_reopened(f);
      destroy(f);
    }
  free(all);
}

static void test_another_backbone_is_refused(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LITE_BIAS, false);
  f->options.epochs = 1;
  train(f, false);
  sink file = write_adapter(f);
  tinytl_backbone *other = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, false);
  tinytl_adapter *adapter = NULL;
  tinytl_error error = {0};
  assert_int_equal(tinytl_adapter_open(file.bytes, file.nbytes, "adapter", other, &adapter, &error),
                   TINYTL_ERROR_MODEL);
  assert_null(adapter);
  assert_non_null(strstr(error.message, "backbone"));
  tinytl_backbone_free(other);
  free(file.bytes);
  destroy(f);
}

/* ---- Auto --------------------------------------------------------------------------------- */

typedef struct told {
  int n;
  tinytl_auto_step steps[TINYTL_N_AUTO_METHODS];
  int n_mirrorings;
  tinytl_mirroring mirroring;
} told;

static void on_stepped(void *context, const tinytl_auto_step *step) {
  told *t = context;
  assert_true(t->n < TINYTL_N_AUTO_METHODS);
  t->steps[t->n++] = *step;
}

/* The methods in their order up to the first that does not pay; the last kept one is the adapter.
 */
static void check_told(const told *t, const fixture *f) {
  assert_in_range(t->n, 1, TINYTL_N_AUTO_METHODS);
  tinytl_method kept = TINYTL_METHOD_LAST;
  for (int i = 0; i < t->n; i++) {
    const tinytl_auto_step *step = &t->steps[i];
    assert_int_equal(step->method, tinytl_auto_methods[i]);
    assert_true(step->kept || i == t->n - 1);
    assert_int_equal(isnan(step->gain) != 0, i == 0 || !step->tried);
    if (i > 0 && step->tried) assert_int_equal(step->kept, step->gain > step->noise);
    if (!step->kept) continue;
    kept = step->method;
    assert_float_equal(step->val_top1, f->report.val_top1, i == t->n - 1 ? 0 : 1);
  }
  tinytl_adapter_info info;
  tinytl_adapter_describe(f->adapter, &info);
  assert_int_equal(info.method, kept);
  assert_int_equal(f->report.method, kept);
}

static void test_auto(void **state) {
  (void)state;
  sink first = {0};
  for (int i = 0; i < 4; i++) {
    fixture *f = make(TINYTL_METHOD_AUTO, false);
    told told = {0};
    f->options.lr = i < 3 ? 0.02f : 1e-5f;
    f->options.n_threads = i == 1 ? 3 : 1;
    f->options.stepped = on_stepped;
    f->options.context = &told;
    f->val.answer[7] = i == 2 ? TINYTL_ERROR_DATA : TINYTL_OK;
    train(f, true);
    check_told(&told, f);
    if (i == 0) first = write_adapter(f);
    if (i == 1) { /* whatever the number of threads */
      sink again = write_adapter(f);
      assert_same(&first, &again);
      free(again.bytes);
    }
    if (i == 3) assert_int_equal(told.n, 2); /* nothing is learned: bias does not pay */
    destroy(f);
  }
  free(first.bytes);
}

/* The largest method, and nothing to tell. */
static void test_auto_without_validation(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_AUTO, false);
  told told = {0};
  f->options.stepped = on_stepped;
  f->options.context = &told;
  train(f, false);
  assert_int_equal(told.n, 0);
  assert_int_equal(f->report.method, TINYTL_METHOD_LITE_BIAS);
  assert_true(f->report.mirrors);
  destroy(f);
}

/* ---- Mirroring ---------------------------------------------------------------------------- */

static void on_mirrored(void *context, const tinytl_mirroring *found) {
  told *t = context;
  t->mirroring = *found;
  t->n_mirrorings++;
}

static void test_mirroring_is_chosen(void **state) {
  (void)state;
  for (int sides = 0; sides < 2; sides++) {
    fixture *f = make(TINYTL_METHOD_AUTO, false);
    told told = {0};
    f->options.lr = 0.02f;
    f->options.epochs = 12;
    f->options.stepped = on_stepped;
    f->options.mirrored = on_mirrored;
    f->options.context = &told;
    f->train.sided = f->val.sided = sides;
    train(f, true);
    const tinytl_mirroring *found = &told.mirroring;
    assert_int_equal(told.n_mirrorings, 1);
    assert_int_equal(found->mirrors, !sides);
    assert_int_equal(found->share > 3 * found->noise, sides);
    assert_in_range(told.n, 2, 3); /* it was told of before the second method */
    assert_true(f->report.method != TINYTL_METHOD_LAST);
    assert_int_equal(f->report.mirrors, !sides);
    destroy(f);
  }
}

/* Who asks for it gets it, and without being told of a choice. */
static void test_mirroring_by_hand(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    fixture *f = make(i < 2 ? TINYTL_METHOD_AUTO : TINYTL_METHOD_BIAS, false);
    told told = {0};
    f->options.lr = 0.02f;
    f->options.mirror = i == 0 ? TINYTL_SWITCH_OFF : i == 1 ? TINYTL_SWITCH_ON : TINYTL_SWITCH_AUTO;
    f->options.stepped = on_stepped;
    f->options.mirrored = on_mirrored;
    f->options.context = &told;
    train(f, true);
    assert_int_equal(told.n_mirrorings, 0);
    assert_int_equal(f->report.mirrors, i > 0 && f->report.method != TINYTL_METHOD_LAST);
    destroy(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learns),
      cmocka_unit_test(test_batches),
      cmocka_unit_test(test_patience),
      cmocka_unit_test(test_adapter_holds_what_was_trained),
      cmocka_unit_test(test_backbone_stays_as_it_was),
      cmocka_unit_test(test_same_seed_same_bytes),
      cmocka_unit_test(test_progress),
      cmocka_unit_test(test_report),
      cmocka_unit_test(test_without_validation),
      cmocka_unit_test(test_kept_epoch),
      cmocka_unit_test(test_another_backbone_is_refused),
      cmocka_unit_test(test_auto),
      cmocka_unit_test(test_auto_without_validation),
      cmocka_unit_test(test_mirroring_is_chosen),
      cmocka_unit_test(test_mirroring_by_hand),
  };
  return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
