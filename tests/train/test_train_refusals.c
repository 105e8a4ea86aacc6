/* What ends a training run early, and what it leaves behind then: no adapter, and a reason. */
#include "support/cmocka.h"
#include "support/memory_images.h"
#include "support/tiny_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 22, N_VAL = 9, N_METHODS = TINYTL_METHOD_AUTO, MAX_TOLD = 64 };

typedef struct fixture {
  tinytl_backbone *backbone;
  memory_images train, val;
  tinytl_train_options options;
  tinytl_train_report report;
  tinytl_error error;
  volatile int stop;
  int stop_after; /* epochs */
  int n_steps;    /* of auto that were told */
  size_t planned; /* most bytes of a method */
  int n_told;     /* pictures that `skip` was told of */
  char told[MAX_TOLD][32];
} fixture;

static void skip_picture(void *context, const char *path, const char *reason) {
  fixture *f = context;
  assert_non_null(strstr(reason, "broken on purpose"));
  assert_true(f->n_told < MAX_TOLD);
  strncpy(f->told[f->n_told++], path, sizeof f->told[0] - 1);
}

static void stop_in_time(void *context, const tinytl_epoch *epoch) {
  fixture *f = context;
  if (epoch->finished && epoch->epoch == f->stop_after) f->stop = 1;
}

static fixture *make(tinytl_method method) {
  fixture *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  memory_images_init(&f->train, N_TRAIN, 1);
  memory_images_init(&f->val, N_VAL, 2);
  tinytl_train_options_init(&f->options);
  f->options.method = method;
  f->options.epochs = 3;
  f->options.n_threads = 1;
  f->options.skip = skip_picture;
  f->options.progress = stop_in_time;
  f->options.context = f;
  return f;
}

static void destroy(fixture *f) {
  tinytl_backbone_free(f->backbone);
  free(f);
}

/* On failure the outputs must be as they were. */
static tinytl_status train(fixture *f) {
  tinytl_adapter *const untouched = (void *)f;
  tinytl_adapter *adapter = untouched;
  memset(&f->error, 0, sizeof f->error);
  const tinytl_status status = tinytl_train(f->backbone, &f->train.images, &f->val.images,
                                            &f->options, &adapter, &f->report, &f->error);
  assert_int_equal(f->error.status, status);
  if (status == TINYTL_OK) {
    tinytl_adapter_free(adapter);
  } else {
    assert_ptr_equal(adapter, untouched);
    assert_true(strlen(f->error.message) > 0);
  }
  return status;
}

/* Two dense convolutions: nothing that a lite module could stand beside. Their outputs are of the
 * order of scale^2. */
static tinytl_backbone *plain_backbone(float scale) {
  enum { CHANNELS = 8 };
  static float weight[CHANNELS * 9 * CHANNELS], bias[CHANNELS];
  tinytl_backbone *values = calloc(1, sizeof *values), *made = NULL;
  for (size_t i = 0; i < sizeof weight / sizeof *weight; i++)
    weight[i] = scale * 0.01f * (float)(i % 7);
  values->arch.n_layers = 2;
  for (int i = 0; i < 2; i++) {
    values->arch.layers[i] = (tinytl_layer){.in_c = i == 0 ? 3 : CHANNELS,
                                            .out_c = CHANNELS,
                                            .kernel = 3,
                                            .stride = 1,
                                            .groups = 1,
                                            .act = TINYTL_ACT_NONE,
                                            .add = -1};
    values->weight[i].f32 = weight;
    values->bias[i] = bias;
  }
  values->input = (tinytl_input){TINY_SIZE, TINY_SIZE, {0, 0, 0}, {1, 1, 1}};
  assert_int_equal(tinytl_arch_finish(&values->arch, "plain", NULL), TINYTL_OK);
  assert_int_equal(tinytl_backbone_build(values, TINYTL_WEIGHTS_F32, &made, NULL), TINYTL_OK);
  free(values);
  return made;
}

/* ---- Pictures ----------------------------------------------------------------------------- */

static int times_told(const fixture *f, const char *name) {
  int n = 0;
  for (int i = 0; i < f->n_told; i++) n += strcmp(f->told[i], name) == 0;
  return n;
}

/* Unreadable pictures used to be reported anew in every epoch. */
static void test_unreadable_pictures_are_left_out(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method);
    f->train.answer[0] = f->train.answer[7] = TINYTL_ERROR_DATA;
    f->train.answer[N_TRAIN - 1] = TINYTL_ERROR_DATA;
    f->val.answer[2] = TINYTL_ERROR_DATA;
    assert_int_equal(train(f), TINYTL_OK);
    assert_int_equal(f->report.train_images, N_TRAIN - 3);
    assert_int_equal(f->report.val_images, N_VAL - 1);
    assert_int_equal(f->report.skipped_images, 4);
    assert_int_equal(f->n_told, 4);
    assert_int_equal(times_told(f, "picture 0"), 1);
    assert_int_equal(times_told(f, "picture 2"), 1);
    assert_int_equal(times_told(f, "picture 7"), 1);
    assert_int_equal(times_told(f, "picture 21"), 1);
    /* Each of the 8 readable validation pictures counts the same. */
    assert_true(fabsf(f->report.val_top1 * 8 - roundf(f->report.val_top1 * 8)) < 1e-5f);
    destroy(f);
  }
}

static void test_nothing_readable(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method);
    for (int i = 0; i < N_VAL; i++) f->val.answer[i] = TINYTL_ERROR_DATA;
    assert_int_equal(train(f), TINYTL_ERROR_DATA);
    assert_non_null(strstr(f->error.message, "validation"));
    f->n_told = 0;
    memory_images_init(&f->val, N_VAL, 2);
    for (int i = 0; i < N_TRAIN; i++) f->train.answer[i] = TINYTL_ERROR_DATA;
    assert_int_equal(train(f), TINYTL_ERROR_DATA);
    assert_non_null(strstr(f->error.message, "training"));
    destroy(f);
  }
}

/* Training went on with a class that it never saw. */
static void test_class_of_unreadable_pictures(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method);
    for (int i = 0; i < N_TRAIN; i++)
      if (f->train.labels[i] == 1) f->train.answer[i] = TINYTL_ERROR_DATA;
    assert_int_equal(train(f), TINYTL_ERROR_DATA);
    assert_non_null(strstr(f->error.message, f->train.images.class_names[1]));
    /* One is enough; and validation may lack a class. */
    f->n_told = 0;
    f->train.answer[1] = TINYTL_OK;
    for (int i = 0; i < N_VAL; i++)
      if (f->val.labels[i] == 1) f->val.answer[i] = TINYTL_ERROR_DATA;
    assert_int_equal(train(f), TINYTL_OK);
    destroy(f);
  }
}

/* An error that is not about the picture ends the run with itself. */
static void test_other_errors_of_load(void **state) {
  (void)state;
  static const tinytl_status errors[] = {TINYTL_ERROR_INTERNAL, TINYTL_ERROR_USAGE,
                                         TINYTL_INTERRUPTED};
  for (int method = 0; method < N_METHODS; method++)
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
      for (int in_val = 0; in_val < 2; in_val++) {
        fixture *f = make((tinytl_method)method);
        (in_val ? &f->val : &f->train)->answer[5] = errors[i];
        assert_int_equal(train(f), errors[i]);
        assert_non_null(strstr(f->error.message, "picture 5"));
        assert_int_equal(f->n_told, 0);
        destroy(f);
      }
}

static void test_unusable_sets(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LAST);
  f->train.labels[3] = MEMORY_CLASSES;
  assert_int_equal(train(f), TINYTL_ERROR_DATA);
  f->train.labels[3] = -1;
  assert_int_equal(train(f), TINYTL_ERROR_DATA);
  f->train.labels[3] = 0;
  f->train.images.n_images = 0;
  assert_int_equal(train(f), TINYTL_ERROR_DATA);
  f->train.images.n_images = N_TRAIN;
  f->val.images.n_classes = MEMORY_CLASSES + 1;
  assert_int_equal(train(f), TINYTL_ERROR_DATA);
  f->val.images.n_classes = MEMORY_CLASSES;
  assert_int_equal(train(f), TINYTL_OK);
  destroy(f);
}

/* ---- Stopping ----------------------------------------------------------------------------- */

static void test_stop(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    for (int stop_after = 0; stop_after < 3; stop_after++) {
      fixture *f = make((tinytl_method)method);
      f->options.stop = &f->stop;
      f->stop_after = stop_after;
      f->stop = stop_after == 0;
      assert_int_equal(train(f), TINYTL_INTERRUPTED);
      destroy(f);
    }
}

/* Features of 1e20: the first steps make the classifier so large that the logits overflow. */
static void test_loss_not_finite(void **state) {
  (void)state;
  for (int method = TINYTL_METHOD_LAST; method <= TINYTL_METHOD_BIAS; method++) {
    fixture *f = make((tinytl_method)method);
    tinytl_backbone_free(f->backbone);
    f->backbone = plain_backbone(1e10f);
    f->options.optimizer = TINYTL_OPTIMIZER_SGD;
    f->options.lr = 10;
    assert_int_equal(train(f), TINYTL_ERROR_DATA);
    assert_non_null(strstr(f->error.message, "loss is not finite"));
    destroy(f);
  }
}

static void count_steps(void *context, const tinytl_auto_step *step) {
  fixture *f = context;
  assert_int_equal(step->method, f->n_steps == 0 ? TINYTL_METHOD_LAST : TINYTL_METHOD_BIAS);
  assert_true(step->tried);
  assert_int_equal(step->kept, f->n_steps == 0);
  assert_int_equal(isfinite(step->val_top1), f->n_steps == 0);
  if (f->n_steps++ == 0) return;
  /* Of what had been tried the epochs were said to be 0. */
  int epoch;
  const char *where = strstr(step->reason, "loss is not finite in epoch ");
  assert_non_null(where);
  assert_int_equal(sscanf(where, "loss is not finite in epoch %d", &epoch), 1);
  assert_int_equal(step->epochs, epoch - 1);
}

static void note_planned(void *context, const tinytl_plan *plan) {
  fixture *f = context;
  if (plan->total_bytes > f->planned) f->planned = plan->total_bytes;
}

/* Features of 1e12 and a rate that the classifier bears, but no bias before such weights: what was
 * kept is not lost. The report left out what bias had taken. */
static void test_auto_leaves_what_diverges(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_AUTO);
  tinytl_adapter *adapter = NULL;
  tinytl_backbone_free(f->backbone);
  f->backbone = plain_backbone(1e6f);
  f->options.optimizer = TINYTL_OPTIMIZER_SGD;
  f->options.lr = 10;
  f->options.stepped = count_steps;
  f->options.planned = note_planned;
  memset(&f->error, 0, sizeof f->error);
  assert_int_equal(tinytl_train(f->backbone, &f->train.images, &f->val.images, &f->options,
                                &adapter, &f->report, &f->error),
                   TINYTL_OK);
  assert_int_equal(f->error.message[0], 0);
  assert_int_equal(f->n_steps, 2);
  assert_int_equal(f->report.method, TINYTL_METHOD_LAST);
  assert_int_equal(f->report.plan.method, TINYTL_METHOD_BIAS);
  assert_int_equal(f->report.plan.total_bytes, f->planned);
  tinytl_adapter_free(adapter);
  destroy(f);
}

/* One update alone, and it overflows, as all pictures pull the same way: every loss was finite
 * before it. */
static void test_values_not_finite(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LAST);
  tinytl_backbone_free(f->backbone);
  f->backbone = plain_backbone(1e19f);
  for (int i = 0; i < N_TRAIN; i++) f->train.labels[i] = 0;
  f->options.optimizer = TINYTL_OPTIMIZER_SGD;
  f->options.lr = 10;
  f->options.batch = N_TRAIN;
  f->options.epochs = 1;
  assert_int_equal(train(f), TINYTL_ERROR_DATA);
  assert_non_null(strstr(f->error.message, "trained value is not finite"));
  destroy(f);
}

/* ---- Options and limits ------------------------------------------------------------------- */

static void test_options_out_of_range(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
  tinytl_train_options wrong[25];
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) wrong[i] = f->options;
  int n = 0;
  wrong[n++].epochs = -1;
  wrong[n++].epochs = 10001;
  wrong[n++].batch = 0;
  wrong[n++].batch = 4097;
  wrong[n++].image_size = 31;
  wrong[n++].image_size = 1025;
  wrong[n++].image_size = -1;
  wrong[n++].n_threads = -1;
  wrong[n].memory_limit = 1; /* it is the options that are told of */
  wrong[n++].n_threads = 65;
  wrong[n++].lr = -1e-3f;
  wrong[n++].lr = NAN;
  wrong[n++].lr = INFINITY;
  wrong[n++].label_smoothing = 1;
  wrong[n++].label_smoothing = NAN;
  wrong[n++].dropout = -0.1f;
  wrong[n++].dropout = 1;
  wrong[n++].dropout = NAN;
  wrong[n++].patience = -1;
  wrong[n++].colour_jitter = -0.1f;
  wrong[n++].colour_jitter = 1.1f;
  wrong[n++].colour_jitter = NAN;
  wrong[n++].method = (tinytl_method)(TINYTL_METHOD_AUTO + 1);
  wrong[n++].optimizer = (tinytl_optimizer)(TINYTL_OPTIMIZER_AUTO + 1);
  wrong[n++].augment = (tinytl_switch)3;
  wrong[n++].mirror = (tinytl_switch)3;
  assert_int_equal(n, sizeof wrong / sizeof *wrong);
  for (int i = 0; i < n; i++) {
    f->options = wrong[i];
    const tinytl_status status = train(f);
    if (status != TINYTL_ERROR_USAGE)
      fail_msg("wrong option %d: status %d, \"%s\"", i, (int)status, f->error.message);
  }
  destroy(f);
}

static void test_lite_needs_inverted_residuals(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++) {
    fixture *f = make((tinytl_method)method);
    tinytl_backbone_free(f->backbone);
    f->backbone = plain_backbone(1);
    const bool lite = method == TINYTL_METHOD_LITE || method == TINYTL_METHOD_LITE_BIAS;
    assert_int_equal(train(f), lite ? TINYTL_ERROR_MODEL : TINYTL_OK);
    if (lite) assert_non_null(strstr(f->error.message, "inverted residual"));
    destroy(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unreadable_pictures_are_left_out),
      cmocka_unit_test(test_nothing_readable),
      cmocka_unit_test(test_class_of_unreadable_pictures),
      cmocka_unit_test(test_other_errors_of_load),
      cmocka_unit_test(test_unusable_sets),
      cmocka_unit_test(test_stop),
      cmocka_unit_test(test_loss_not_finite),
      cmocka_unit_test(test_auto_leaves_what_diverges),
      cmocka_unit_test(test_values_not_finite),
      cmocka_unit_test(test_options_out_of_range),
      cmocka_unit_test(test_lite_needs_inverted_residuals),
  };
  return cmocka_run_group_tests_name("train_refusals", tests, NULL, NULL);
}
