/* The profile of a run: nothing is counted twice, nothing is left out, and nothing else changes. */
#include "support/cmocka.h"
#include "support/memory_images.h"
#include "support/sink.h"
#include "support/tiny_net.h"

#include "train/profile.h"

#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 20, EPOCHS = 3, BATCH = 8 };

static tinytl_backbone *backbone;

static int make_backbone(void **state) {
  (void)state;
  backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  return 0;
}

static int free_backbone(void **state) {
  (void)state;
  tinytl_backbone_free(backbone);
  return 0;
}

static tinytl_train_options make_options(tinytl_method method) {
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = method;
  options.epochs = EPOCHS;
  options.batch = BATCH;
  options.n_threads = 1;
  options.profile = true;
  return options;
}

static tinytl_plan plan_of(tinytl_method method) {
  const tinytl_train_options options = make_options(method);
  tinytl_plan plan;
  assert_int_equal(tinytl_plan_make(backbone, MEMORY_CLASSES, N_TRAIN, 0, &options, &plan, NULL),
                   TINYTL_OK);
  return plan;
}

static tinytl_train_report train(const tinytl_train_options *options, sink *adapter_file) {
  memory_images set;
  tinytl_adapter *adapter = NULL;
  tinytl_train_report report;
  tinytl_error error = {0};
  memory_images_init(&set, N_TRAIN, 1);
  if (tinytl_train(backbone, &set.images, NULL, options, &adapter, &report, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  if (adapter_file)
    assert_int_equal(tinytl_adapter_write(adapter, sink_write, adapter_file, NULL), TINYTL_OK);
  tinytl_adapter_free(adapter);
  return report;
}

/* Backward of the biases asks for the input's gradient of every layer but the first, and of the
 * classifier for that of its weights as well; lite modules for that of theirs. */
static void test_step_macs(void **state) {
  (void)state;
  tinytl_network *network = malloc(sizeof *network);
  assert_int_equal(tinytl_network_init(network, backbone, 0, MEMORY_CLASSES, true, NULL),
                   TINYTL_OK);
  const uint64_t first = tinytl_conv_macs(&network->conv[0]);
  const uint64_t classifier = (uint64_t)network->n_features * MEMORY_CLASSES;
  uint64_t lite = 0;
  assert_true(network->n_lite > 0);
  for (int m = 0; m < network->n_lite; m++)
    lite += tinytl_conv_macs(&network->lite_conv[m].conv) +
            tinytl_conv_macs(&network->lite_conv[m].pointwise);
  const tinytl_plan last = plan_of(TINYTL_METHOD_LAST), bias = plan_of(TINYTL_METHOD_BIAS);
  const tinytl_plan both = plan_of(TINYTL_METHOD_LITE_BIAS), modules = plan_of(TINYTL_METHOD_LITE);
  assert_int_equal(both.macs, bias.macs + lite);
  assert_int_equal(last.step_macs, last.macs + classifier);
  assert_int_equal(bias.step_macs, 2 * bias.macs - first + classifier);
  assert_int_equal(both.step_macs, 2 * both.macs - first + classifier + lite);
  /* And for the weights' gradients of every layer, also where they only serve that of the gains. */
  const tinytl_plan norm = plan_of(TINYTL_METHOD_NORM), full = plan_of(TINYTL_METHOD_FULL);
  assert_int_equal(full.macs, bias.macs);
  assert_int_equal(full.step_macs, bias.step_macs + full.macs - classifier);
  assert_int_equal(norm.step_macs, full.step_macs);
  assert_int_equal(modules.macs, both.macs);
  assert_true(modules.step_macs < both.step_macs && modules.step_macs > modules.macs);
  free(network);
}

static uint64_t sum_macs(const tinytl_profile *profile) {
  uint64_t sum = 0;
  for (int work = 0; work < TINYTL_N_WORKS; work++)
    sum += profile->macs[work][TINYTL_FORWARD] + profile->macs[work][TINYTL_BACKWARD];
  return sum;
}

static double sum_seconds(const tinytl_profile *profile) {
  double sum = 0;
  for (int work = 0; work < TINYTL_N_WORKS; work++)
    for (int direction = 0; direction < TINYTL_N_DIRECTIONS; direction++) {
      assert_true(profile->seconds[work][direction] >= 0);
      sum += profile->seconds[work][direction];
    }
  return sum;
}

/* Which kinds of work a method has, in both directions. */
static void check_kinds(const tinytl_profile *profile, tinytl_method method) {
  const bool lite = tinytl_method_trains_lite(method), deep = method != TINYTL_METHOD_LAST;
  for (int work = TINYTL_WORK_LITE_CONV; work <= TINYTL_WORK_LITE_RESIZE; work++)
    assert_int_equal(profile->seconds[work][TINYTL_BACKWARD] > 0, lite);
  const bool weights = method == TINYTL_METHOD_NORM || method == TINYTL_METHOD_FULL;
  assert_int_equal(profile->seconds[TINYTL_WORK_WEIGHT][TINYTL_BACKWARD] > 0, weights);
  assert_int_equal(profile->seconds[TINYTL_WORK_LITE_NORM][TINYTL_FORWARD] > 0, lite);
  assert_int_equal(profile->seconds[TINYTL_WORK_POINTWISE][TINYTL_BACKWARD] > 0, deep);
  assert_int_equal(profile->seconds[TINYTL_WORK_EPILOGUE][TINYTL_BACKWARD] > 0, deep);
  assert_true(profile->seconds[TINYTL_WORK_POINTWISE][TINYTL_FORWARD] > 0);
  assert_true(profile->seconds[TINYTL_WORK_DEPTHWISE][TINYTL_FORWARD] > 0);
  assert_true(profile->seconds[TINYTL_WORK_HEAD][TINYTL_FORWARD] > 0);
  assert_true(profile->seconds[TINYTL_WORK_UPDATE][TINYTL_FORWARD] > 0);
}

static void test_profile(void **state) {
  (void)state;
  for (int method = TINYTL_METHOD_LAST; method < TINYTL_METHOD_AUTO; method++) {
    const tinytl_train_options options = make_options((tinytl_method)method);
    const tinytl_train_report report = train(&options, NULL);
    const tinytl_profile *profile = &report.profile;
    assert_true(report.setup_seconds > 0 && report.setup_seconds < report.seconds);
    assert_true(sum_seconds(profile) <= report.seconds - report.setup_seconds);
    check_kinds(profile, (tinytl_method)method);
    assert_int_equal(profile->n_forks, 0); /* one thread */
    assert_true(profile->join_seconds == 0);
    if (method != TINYTL_METHOD_LAST) /* whose features are computed once */
      assert_int_equal(sum_macs(profile), EPOCHS * N_TRAIN * report.plan.step_macs);
  }
}

static void test_nothing_else_changes(void **state) {
  (void)state;
  const tinytl_profile none = {0};
  sink with = {0}, without = {0};
  tinytl_train_options options = make_options(TINYTL_METHOD_LITE_BIAS);
  train(&options, &with);
  options.profile = false;
  const tinytl_train_report report = train(&options, &without);
  assert_memory_equal(&report.profile, &none, sizeof none);
  assert_int_equal(with.nbytes, without.nbytes);
  assert_memory_equal(with.bytes, without.bytes, with.nbytes);
  free(with.bytes);
  free(without.bytes);
}

static void test_names(void **state) {
  (void)state;
  for (int work = 0; work < TINYTL_N_WORKS; work++)
    assert_non_null(tinytl_work_name((tinytl_work)work));
  assert_null(tinytl_work_name(TINYTL_N_WORKS));
}

static void test_peak(void **state) {
  (void)state;
  assert_true(tinytl_peak_flops(1) > 1e6);
  assert_true(tinytl_peak_flops(2) > 1e6);
  assert_true(tinytl_peak_flops(65) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_step_macs),
      cmocka_unit_test(test_profile),
      cmocka_unit_test(test_nothing_else_changes),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_peak),
  };
  return cmocka_run_group_tests_name("profile", tests, make_backbone, free_backbone);
}
