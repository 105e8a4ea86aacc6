/* Checkpoints that are not of the run that is to go on, or are damaged. */
#include "support/cmocka.h"
#include "support/saved_run.h"
#include "support/tiny_net.h"

#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run_to_the_end(saved_run *f) {
  sink adapter;
  saved_run_finish(f, NULL, &adapter);
  free(adapter.bytes);
}

/* A checkpoint of a run that was stopped, f ready to go on from it. */
static sink make_checkpoint(saved_run *f) {
  run_to_the_end(f);
  return sink_copy(&f->saves[8]);
}

static void assert_refused(saved_run *f, const sink *from, tinytl_status status,
                           const char *words) {
  sink adapter;
  f->error.message[0] = '\0';
  assert_int_equal(saved_run_train(f, from, &adapter), status);
  if (!strstr(f->error.message, words))
    fail_msg("expected \"%s\" in \"%s\"", words, f->error.message);
}

static void test_other_options(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink from = make_checkpoint(f);
  const tinytl_train_options same = f->options;
#define REFUSED(change, words)                           \
  do {                                                   \
    f->options.change;                                   \
    assert_refused(f, &from, TINYTL_ERROR_USAGE, words); \
    f->options = same;                                   \
  } while (0)
  REFUSED(method = TINYTL_METHOD_LAST, "\"method\" is \"bias\", this run's is \"last\"");
  REFUSED(optimizer = TINYTL_OPTIMIZER_SGD, "\"optimizer\" is \"adam\", this run's is \"sgd\"");
  REFUSED(epochs = 4, "\"epochs\" is 3, this run's is 4");
  REFUSED(batch = 5, "\"batch\" is 4, this run's is 5");
  REFUSED(image_size = 32, "\"image_size\" is 22, this run's is 32");
  REFUSED(lr = 0.5f, "\"lr\" is [");
  REFUSED(label_smoothing = 0.25f, "\"label_smoothing\" is 0.1, this run's is 0.25");
  REFUSED(dropout = 0, "\"dropout\" is 0.2, this run's is 0");
  REFUSED(refit = true, "\"refit\" is 0, this run's is 1");
  REFUSED(patience = 9, "\"patience\" is 0, this run's is 9");
  REFUSED(augment = TINYTL_SWITCH_OFF, "\"augment\" is 1, this run's is 0");
  REFUSED(mirror = TINYTL_SWITCH_OFF, "\"mirror\" is 1, this run's is 0");
  REFUSED(colour_jitter = 0.5f, "\"colour_jitter\" is 0, this run's is 0.5");
  REFUSED(seed = 7, "\"seed\" is \"0\", this run's is \"7\"");
#undef REFUSED
  assert_int_equal(f->n_resumed, 0);
  free(from.bytes);
  saved_run_free(f);
}

static const char *numbered(void *context, int index) {
  static char name[64];
  const memory_images *set = context;
  snprintf(name, sizeof name, "%s/%llu-%d.png", index % 2 ? "a" : "b",
           (unsigned long long)set->seed, index);
  return name;
}

static const char *numbered_elsewhere(void *context, int index) {
  static char name[80];
  snprintf(name, sizeof name, "moved/%s", numbered(context, index));
  return name;
}

static void test_other_pictures(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  f->train.images.name = f->val.images.name = numbered;
  sink from = make_checkpoint(f), adapter;

  f->train.images.name = numbered_elsewhere; /* may move */
  saved_run_finish(f, &from, &adapter);
  free(adapter.bytes);
  f->train.images.name = numbered;

  f->train.images.n_images = 20;
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "\"train_images\" is 21, this run's is 20");
  f->train.images.n_images = 21;
  f->with_val = false;
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "\"val_images\" is 9, this run's is 0");
  f->with_val = true;
  f->train.labels[3] = 1;
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "other pictures: its \"names_sha256\" is \"");
  f->train.labels[3] = 0;
  f->val.seed = 9;
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "other pictures: its \"names_sha256\" is \"");
  f->val.seed = 2;

  tinytl_backbone_free(f->backbone);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, false);
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "of a run on another backbone: its sha256 is ");
  free(from.bytes);
  saved_run_free(f);
}

/* Of a file's text, and what is said of it. */
typedef struct change {
  const char *from, *to, *words;
} change;

static void assert_each_refused(saved_run *f, const sink *from, const change *changes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    sink damaged = sink_copy(from);
    if (!sink_replace(&damaged, changes[i].from, changes[i].to)) fail_msg("no %s", changes[i].from);
    sink_seal(&damaged);
    assert_refused(f, &damaged, TINYTL_ERROR_MODEL, changes[i].words);
    free(damaged.bytes);
  }
}

/* Fields that are wrong in a file whose checksum is right. */
static void test_wrong_fields(void **state) {
  (void)state;
  static const change cases[] = {
      {"checkpoint 8", "checkpoint 2", "expected \"checkpoint 8\", found \"checkpoint 2\""},
      {"tinytl.format", "tinytl.xormat", "tinytl.format is missing"},
      {"tinytl.version", "tinytl.xersion", "tinytl.version is missing"},
      {"tinytl.kernels", "tinytl.xernels", "tinytl.kernels is missing"},
      {"tinytl.backbone", "tinytl.xackbone", "tinytl.backbone is missing"},
      {"tinytl.run", "tinytl.xun", "tinytl.run is missing"},
      {"tinytl.data", "tinytl.xata", "tinytl.data is missing"},
      {"tinytl.schedule", "tinytl.xchedule", "tinytl.schedule is missing"},
      {"tinytl.state", "tinytl.xtate", "tinytl.state is missing"},
      {"\\\"reach\\\":0", "\\\"reach\\\":3", "\"reach\" must be a number 0 to 2"},
      {"{\\\"classes\\\"", "[\\\"classes\\\"", "tinytl.data"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":5", "\"epoch\" must be a whole number 1 to 4"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":0", "\"epoch\" must be a whole number 1 to 4"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":1", "\"best_epoch\" must be a whole number 0 to 0"},
      {"\"images\\\":8", "\"images\\\":x", "tinytl.state"},
      {"\\\"images\\\"", "\\\"imagxs\\\"", "expected a number \"images\""},
      {"loss_sum", "loss_sux", "\"loss_sum\""},
      {"\\\"loss\\\"", "\\\"losx\\\"", "\"loss\" must be a number 0 to"},
      {"\"updates\\\":8", "\"updatex\\\":8", "\"updates\""},
      {"best_epoch", "best_epocx", "\"best_epoch\""},
      {"epochs_without_gain", "epochs_without_gaix", "\"epochs_without_gain\""},
      {"scores", "scorex", "\"scores\""},
      {"\"values\"", "\"valuex\"", "tensor \"values\": expected"},
      {"\"best\"", "\"besx\"", "tensor \"best\": expected"},
      {"\"moment1\"", "\"moment3\"", "tensor \"moment1\": expected"},
      {"\"unreadable.val\"", "\"unreadable.vax\"", "tensor \"unreadable.val\": expected"},
      {"\"checksum\"", "\"checksux\"", "tensor \"checksum\" is missing"},
  };
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink from = make_checkpoint(f);
  assert_each_refused(f, &from, cases, sizeof cases / sizeof *cases);
  /* The last byte before the checksum is the flag of a validation picture. */
  from.bytes[from.nbytes - TINYTL_CHECKSUM_NBYTES - 1] = 2;
  sink_seal(&from);
  assert_refused(f, &from, TINYTL_ERROR_MODEL,
                 "\"unreadable.val\": value 8 must be 0 or 1, found 2");
  free(from.bytes);
  saved_run_free(f);
}

/* Those of a later method of auto. */
static void test_wrong_fields_of_auto(void **state) {
  (void)state;
  static const change cases[] = {
      {"tinytl.auto", "tinytl.autx", "tinytl.auto is missing"},
      {"\"auto\\\":[\\\"adam\\\"", "\"auto\\\":[\\\"adax\\\"", "methods of auto"},
      {"\"method\\\":\\\"bias", "\"method\\\":\\\"lite", "methods of auto"},
      {"skipped_images", "skipped_imagex", "\"skipped_images\""},
      {"auto.right", "auto.righx", "tensor \"auto.right\": expected"},
      {"auto.adapter", "auto.adaptex", "tensor \"auto.adapter\" is missing"},
      {"adapter 1", "adapter 7", "expected \"adapter 1\", found \"adapter 7\""},
  };
  saved_run *f = saved_run_make(TINYTL_METHOD_AUTO);
  run_to_the_end(f);
  sink from = sink_copy(&f->saves[SAVED_EPOCHS * 7 + 3]); /* in its second method */
  assert_each_refused(f, &from, cases, sizeof cases / sizeof *cases);
  f->options.method = TINYTL_METHOD_BIAS;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "its \"auto\" is [\"adam\",");
  f->options.method = TINYTL_METHOD_AUTO;
  f->options.optimizer = TINYTL_OPTIMIZER_SGD;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "\"optimizer\" is \"adam\", this run's is \"sgd\"");
  f->options.optimizer = TINYTL_OPTIMIZER_AUTO;
  f->options.mirror = TINYTL_SWITCH_ON;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "\"auto_mirror\" is 0, this run's is 2");
  free(from.bytes);
  saved_run_free(f);
}

/* Those of the training on all pictures. */
static void test_wrong_fields_of_refit(void **state) {
  (void)state;
  static const change cases[] = {
      {"{\\\"step\\\":", "{\\\"stex\\\":", "\"step\""},
      {"{\\\"step\\\":2", "{\\\"step\\\":3", "\"step\" must be a whole number 0 to 2"},
      {"\"method\\\":\\\"lite+bias\\\",\\\"val", "\"method\\\":\\\"lite+biax\\\",\\\"val",
       "\"method\" of this run"},
      {"val_top1\\\":0", "val_top1\\\":7", "\"val_top1\" must be a number 0 to 1"},
      {"temperature", "temperaturx", "\"temperature\" must be a number 0.01 to 100"},
      {"best_epoch", "best_epocx", "\"best_epoch\""},
      {"mirrors", "mirrorx", "\"mirrors\""},
      {"adapter 1", "adapter 7", "expected \"adapter 1\", found \"adapter 7\""},
      {"auto.adapter", "auto.adaptex", "tensor \"auto.adapter\" is missing"},
      {"\"values\"", "\"valuex\"", "tensor \"values\": expected"},
  };
  saved_run *f = saved_run_make(TINYTL_METHOD_AUTO);
  f->options.refit = true;
  f->options.lr = 0.02f; /* with which lite+bias is kept */
  run_to_the_end(f);
  sink from = sink_copy(saved_run_latest(f));
  assert_each_refused(f, &from, cases, sizeof cases / sizeof *cases);
  f->options.method = TINYTL_METHOD_LITE_BIAS;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "its \"auto\" is [\"adam\",");
  f->options.method = TINYTL_METHOD_AUTO;
  f->options.refit = false;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "a run that trained once more on all pictures");
  f->options.refit = true;
  f->with_val = false;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "a run that trained once more on all pictures");
  f->with_val = true;
  f->train.images.n_images--;
  assert_refused(f, &from, TINYTL_ERROR_MODEL, "\"train_images\" is 30, this run's is 29");
  free(from.bytes);
  saved_run_free(f);
}

/* Of a method that was asked for by name, options are compared as in the first training. */
static void test_other_options_of_refit(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  f->options.refit = true;
  run_to_the_end(f);
  sink from = sink_copy(saved_run_latest(f));
  f->options.method = TINYTL_METHOD_LAST;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "\"method\" is \"bias\", this run's is \"last\"");
  f->options.method = TINYTL_METHOD_BIAS;
  f->options.mirror = TINYTL_SWITCH_OFF;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "\"mirror\" is 1, this run's is 0");
  f->options.mirror = TINYTL_SWITCH_AUTO;
  f->options.optimizer = TINYTL_OPTIMIZER_SGD;
  assert_refused(f, &from, TINYTL_ERROR_USAGE, "\"optimizer\" is \"adam\", this run's is \"sgd\"");
  free(from.bytes);
  saved_run_free(f);
}

static int read_file(const void *bytes, size_t nbytes) {
  sink file = {(uint8_t *)bytes, nbytes};
  const tinytl_source source = sink_source(&file);
  tinytl_resume *resume = NULL;
  const int status = tinytl_resume_open(&source, &resume, NULL);
  tinytl_resume_free(resume);
  return status;
}

/* Cut anywhere, or with any one byte changed, a checkpoint is refused. */
static void test_damage(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_BIAS);
  sink from = make_checkpoint(f);
  assert_int_equal(read_file(from.bytes, from.nbytes), TINYTL_OK);
  sink_damage(&from, 0, TINYTL_ERROR_MODEL, read_file);
  for (size_t i = 0; i < from.nbytes; i += i < 2500 ? 1 : 61) {
    from.bytes[i] ^= (uint8_t)(1 + i % 255);
    assert_int_equal(read_file(from.bytes, from.nbytes), TINYTL_ERROR_MODEL);
    from.bytes[i] ^= (uint8_t)(1 + i % 255);
  }
  free(from.bytes);
  saved_run_free(f);
}

static bool read_nothing(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  (void)context, (void)offset, (void)bytes, (void)nbytes;
  return false;
}

static void test_source_that_fails(void **state) {
  (void)state;
  const tinytl_source source = {.name = "gone", .nbytes = 1000, .read = read_nothing};
  tinytl_resume *resume = NULL;
  tinytl_error error;
  assert_int_equal(tinytl_resume_open(&source, &resume, &error), TINYTL_ERROR_INTERNAL);
  assert_string_equal(error.message, "gone: cannot be read");
  assert_null(resume);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_other_options),
      cmocka_unit_test(test_other_pictures),
      cmocka_unit_test(test_wrong_fields),
      cmocka_unit_test(test_wrong_fields_of_auto),
      cmocka_unit_test(test_wrong_fields_of_refit),
      cmocka_unit_test(test_other_options_of_refit),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_source_that_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
