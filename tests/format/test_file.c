#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "support/saved_run.h"
#include "tinytl.h"

static void assert_kind(const sink *file, tinytl_file_kind kind) {
  assert_int_equal(tinytl_file_kind_of(file->bytes, file->nbytes), kind);
}

/* All that a training run touches, and a super-net. */
static void test_kinds(void **state) {
  saved_run *f = *state;
  sink backbone = {0}, adapter = {0}, other = {0};
  assert_int_equal(tinytl_backbone_write(f->backbone, sink_write, &backbone, NULL), TINYTL_OK);
  saved_run_finish(f, NULL, &adapter);
  assert_kind(&backbone, TINYTL_FILE_BACKBONE);
  assert_kind(&adapter, TINYTL_FILE_ADAPTER);
  assert_kind(saved_run_latest(f), TINYTL_FILE_CHECKPOINT);
  assert_true(sink_write(&other, backbone.bytes, backbone.nbytes));
  assert_true(sink_replace(&other, "backbone 1", "super-net "));
  assert_kind(&other, TINYTL_FILE_SUPERNET);
  assert_true(sink_replace(&other, "super-net ", "supper-net"));
  assert_kind(&other, TINYTL_FILE_OTHER);
  assert_true(sink_replace(&other, "tinytl.format", "tinytl.farmat"));
  assert_kind(&other, TINYTL_FILE_OTHER);
  assert_int_equal(tinytl_file_kind_of(backbone.bytes, 7), TINYTL_FILE_OTHER);
  assert_int_equal(tinytl_file_kind_of(backbone.bytes, 100), TINYTL_FILE_OTHER);
  assert_int_equal(tinytl_file_kind_of("", 0), TINYTL_FILE_OTHER);
  free(backbone.bytes), free(adapter.bytes), free(other.bytes);
}

static void test_checkpoint(void **state) {
  saved_run *f = *state;
  sink adapter = {0};
  tinytl_checkpoint_info info;
  f->loads_left = 45; /* in its second epoch */
  assert_int_equal(saved_run_train(f, NULL, &adapter), TINYTL_INTERRUPTED);
  const sink *file = saved_run_latest(f);
  assert_int_equal(tinytl_checkpoint_describe(file->bytes, file->nbytes, "run", &info, &f->error),
                   TINYTL_OK);
  assert_int_equal(info.run, TINYTL_RUN_TRAIN);
  assert_string_equal(info.subject, "lite+bias");
  assert_int_equal(info.epoch, 2);
  assert_int_equal(info.n_epochs, SAVED_EPOCHS);
  assert_in_range(info.image, 1, SAVED_TRAIN);
  assert_int_equal(info.n_train_images, SAVED_TRAIN);
  assert_int_equal(info.n_val_images, SAVED_VAL);
  assert_true(info.val_top1 >= 0 && info.val_top1 <= 1);
  assert_string_equal(info.version, TINYTL_VERSION);
  assert_string_equal(info.kernels, tinytl_kernels_name());
  tinytl_backbone_info backbone;
  tinytl_backbone_describe(f->backbone, &backbone);
  assert_string_equal(info.backbone_sha256, backbone.sha256);
}

static void assert_refused(saved_run *f, const sink *file, const char *why) {
  tinytl_checkpoint_info info = {.epoch = 77};
  assert_int_equal(tinytl_checkpoint_describe(file->bytes, file->nbytes, "run", &info, &f->error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(f->error.message, why));
  assert_int_equal(info.epoch, 77);
}

static void test_refusals(void **state) {
  saved_run *f = *state;
  sink adapter = {0}, backbone = {0};
  saved_run_finish(f, NULL, &adapter);
  sink damaged = sink_copy(saved_run_latest(f));
  damaged.bytes[damaged.nbytes / 2] ^= 1;
  assert_refused(f, &damaged, "does not match its checksum");
  assert_true(sink_replace(&damaged, "checkpoint 8", "checkpoint 5"));
  assert_refused(f, &damaged, "expected \"checkpoint 8\", found \"checkpoint 5\"");
  damaged.nbytes /= 2;
  assert_refused(f, &damaged, "truncated");
  assert_int_equal(tinytl_backbone_write(f->backbone, sink_write, &backbone, NULL), TINYTL_OK);
  assert_refused(f, &backbone, "expected \"checkpoint 8\", found \"backbone 1\"");
  free(adapter.bytes), free(damaged.bytes), free(backbone.bytes);
}

static int make_run(void **state) {
  *state = saved_run_make(TINYTL_METHOD_LITE_BIAS);
  return 0;
}

static int free_run(void **state) {
  saved_run_free(*state);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_kinds, make_run, free_run),
      cmocka_unit_test_setup_teardown(test_checkpoint, make_run, free_run),
      cmocka_unit_test_setup_teardown(test_refusals, make_run, free_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
