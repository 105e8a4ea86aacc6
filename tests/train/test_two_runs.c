/* The thread rule of tinytl.h: two threads train and predict at once, with one backbone and one
 * adapter between them, and each gets what it would have got alone. */
#include "support/cmocka.h"
#include "support/saved_run.h"
#include "support/tiny_net.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_THREADS = 2, N_PICTURES = 5 };

/* Nothing is asserted in here: cmocka wants that from the thread that runs the test. */
typedef struct work {
  const tinytl_backbone *backbone;
  const tinytl_adapter *adapter;
  saved_run *run;
  sink trained;
  float probabilities[N_PICTURES][MEMORY_CLASSES];
  tinytl_status status;
} work;

static tinytl_status predict(work *w) {
  uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
  tinytl_predictor *predictor = NULL;
  tinytl_status status = tinytl_predictor_create(w->backbone, w->adapter, 0, 2, &predictor, NULL);
  for (int i = 0; status == TINYTL_OK && i < N_PICTURES; i++) {
    tiny_picture((uint64_t)i, rgb);
    status = tinytl_predictor_run(predictor, rgb, w->probabilities[i], NULL);
  }
  tinytl_predictor_free(predictor);
  return status;
}

static tinytl_status train(work *w) {
  saved_run *run = w->run;
  tinytl_adapter *adapter = NULL;
  tinytl_status status = tinytl_train(w->backbone, &run->train.images, &run->val.images,
                                      &run->options, &adapter, &run->report, &run->error);
  w->trained = (sink){0};
  if (status == TINYTL_OK) status = tinytl_adapter_write(adapter, sink_write, &w->trained, NULL);
  tinytl_adapter_free(adapter);
  return status;
}

static void *work_main(void *argument) {
  work *w = argument;
  w->status = train(w);
  if (w->status == TINYTL_OK) w->status = predict(w);
  return NULL;
}

static void start(work *w, const tinytl_backbone *backbone, const tinytl_adapter *adapter,
                  tinytl_method method) {
  *w = (work){.backbone = backbone, .adapter = adapter, .run = saved_run_make(method)};
  w->run->options.n_threads = 2;
  w->run->options.save = NULL;
}

static void finish(work *w) {
  free(w->trained.bytes);
  saved_run_free(w->run);
}

static void test_two_runs(void **state) {
  (void)state;
  static const tinytl_method methods[N_THREADS] = {TINYTL_METHOD_LITE_BIAS, TINYTL_METHOD_BIAS};
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  tinytl_adapter *adapter = NULL;
  work alone[N_THREADS], together[N_THREADS];
  pthread_t threads[N_THREADS];
  for (int i = 0; i < N_THREADS; i++) {
    start(&alone[i], backbone, adapter, methods[i]);
    assert_int_equal(train(&alone[i]), TINYTL_OK);
    if (i == 0)
      assert_int_equal(tinytl_adapter_open(alone[0].trained.bytes, alone[0].trained.nbytes, "alone",
                                           backbone, &adapter, NULL),
                       TINYTL_OK);
    alone[i].adapter = adapter;
    assert_int_equal(predict(&alone[i]), TINYTL_OK);
  }
  for (int i = 0; i < N_THREADS; i++) start(&together[i], backbone, adapter, methods[i]);
  for (int i = 0; i < N_THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, work_main, &together[i]), 0);
  for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < N_THREADS; i++) {
    assert_int_equal(together[i].status, TINYTL_OK);
    sink_assert_same(&together[i].trained, &alone[i].trained);
    assert_memory_equal(together[i].probabilities, alone[i].probabilities,
                        sizeof alone[i].probabilities);
    finish(&alone[i]);
    finish(&together[i]);
  }
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(backbone);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_runs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
