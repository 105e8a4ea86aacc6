/* Checkpoints: a run that goes on from one ends with the bytes of a run that was never ended. */
#include "support/cmocka.h"
#include "support/memory_images.h"
#include "support/sink.h"
#include "support/tiny_net.h"

#include "train/checkpoint.h"

#include <math.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 21, N_VAL = 9, BATCH = 4, N_EPOCHS = 3, N_METHODS = TINYTL_METHOD_LITE_BIAS + 1 };
enum { MAX_SAVES = 64 };

typedef struct fixture {
  tinytl_backbone *backbone;
  memory_images train, val;
  tinytl_train_options options;
  tinytl_train_report report;
  tinytl_error error;
  bool with_val;
  sink saves[MAX_SAVES]; /* the latest MAX_SAVES ones, in turn */
  int n_saves;
  volatile int stop;
  int loads_left; /* before it stops; below 0: never */
  float loss;     /* of the latest epoch that was told */
  tinytl_resumed resumed;
  int n_resumed;
} fixture;

/* ---- A run -------------------------------------------------------------------------------- */

static sink *latest(fixture *f) {
  assert_true(f->n_saves > 0);
  return &f->saves[(f->n_saves - 1) % MAX_SAVES];
}

static void save(void *context, const tinytl_checkpoint *checkpoint) {
  fixture *f = context;
  f->n_saves++;
  free(latest(f)->bytes);
  *latest(f) = (sink){0};
  assert_int_equal(tinytl_checkpoint_write(checkpoint, sink_write, latest(f), NULL), TINYTL_OK);
}

static void note_loss(void *context, const tinytl_epoch *epoch) {
  fixture *f = context;
  if (epoch->finished) f->loss = epoch->loss;
}

static void note_resumed(void *context, const tinytl_resumed *resumed) {
  fixture *f = context;
  f->resumed = *resumed;
  f->resumed.version = f->resumed.kernels = NULL;
  assert_string_equal(resumed->version, TINYTL_VERSION);
  assert_string_equal(resumed->kernels, tinytl_kernels_name());
  f->n_resumed++;
}

/* Stops the run from the loader's thread: at one picture or the other, which must not matter. */
static tinytl_status load_and_stop(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                   tinytl_error *error) {
  fixture *f = context;
  if (f->loads_left >= 0 && f->loads_left-- == 0) f->stop = 1;
  return f->train.images.load(&f->train, index, view, rgb, error);
}

static void init(fixture *f, tinytl_method method) {
  memory_images_init(&f->train, N_TRAIN, 1);
  memory_images_init(&f->val, N_VAL, 2);
  tinytl_train_options_init(&f->options);
  f->options.method = method;
  f->options.batch = BATCH;
  f->options.epochs = N_EPOCHS;
  f->options.n_threads = 1;
  f->options.save_seconds = 0;
  f->options.save = save;
  f->options.progress = note_loss;
  f->options.resumed = note_resumed;
  f->options.context = f;
  f->options.stop = &f->stop;
  f->with_val = true;
  f->loads_left = -1;
}

static fixture *make(tinytl_method method) {
  fixture *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  init(f, method);
  return f;
}

static void destroy(fixture *f) {
  for (int i = 0; i < MAX_SAVES; i++) free(f->saves[i].bytes);
  tinytl_backbone_free(f->backbone);
  free(f);
}

static bool read_sink(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const sink *file = context;
  assert_true(offset <= file->nbytes && nbytes <= file->nbytes - offset);
  memcpy(bytes, file->bytes + offset, nbytes);
  return true;
}

/* Trains, from a checkpoint where there is one; the adapter's bytes go into *adapter. */
static tinytl_status train(fixture *f, const sink *from, sink *adapter) {
  tinytl_images images = f->train.images;
  tinytl_source source = {.name = "saved", .context = (void *)from, .read = read_sink};
  tinytl_adapter *trained = NULL;
  if (f->loads_left >= 0) {
    images.load = load_and_stop;
    images.context = f;
  }
  if (from) source.nbytes = from->nbytes;
  f->options.resume = from ? &source : NULL;
  f->stop = 0;
  const tinytl_status status =
      tinytl_train(f->backbone, &images, f->with_val ? &f->val.images : NULL, &f->options, &trained,
                   &f->report, &f->error);
  *adapter = (sink){0};
  if (status == TINYTL_OK)
    assert_int_equal(tinytl_adapter_write(trained, sink_write, adapter, NULL), TINYTL_OK);
  tinytl_adapter_free(trained);
  return status;
}

static void train_or_fail(fixture *f, const sink *from, sink *adapter) {
  if (train(f, from, adapter) != TINYTL_OK) fail_msg("%s", f->error.message);
}

static sink copy(const sink *file) {
  sink made = {0};
  assert_true(sink_write(&made, file->bytes, file->nbytes));
  return made;
}

static void assert_same(const sink *x, const sink *y) {
  assert_int_equal(x->nbytes, y->nbytes);
  assert_memory_equal(x->bytes, y->bytes, x->nbytes);
}

static void assert_same_report(const tinytl_train_report *x, const tinytl_train_report *y) {
  assert_int_equal(x->epochs, y->epochs);
  assert_int_equal(x->best_epoch, y->best_epoch);
  assert_int_equal(x->train_images, y->train_images);
  assert_int_equal(x->val_images, y->val_images);
  assert_int_equal(x->skipped_images, y->skipped_images);
  assert_true(x->val_top1 == y->val_top1 || (isnan(x->val_top1) && isnan(y->val_top1)));
}

/* Goes on from every step-th checkpoint of a run. */
static void check_every_place(fixture *f, int step) {
  sink whole, again;
  train_or_fail(f, NULL, &whole);
  const int n_saves = f->n_saves;
  const tinytl_train_report report = f->report;
  const float loss = f->loss;
  assert_true(n_saves <= MAX_SAVES);
  sink saves[MAX_SAVES];
  for (int i = 0; i < n_saves; i++) saves[i] = copy(&f->saves[i]);
  for (int i = 0; i < n_saves; i += step) {
    f->n_saves = 0;
    train_or_fail(f, &saves[i], &again);
    assert_same(&whole, &again);
    assert_same_report(&report, &f->report);
    assert_true(f->loss == loss);
    /* And its checkpoints are those of the run that was not ended. */
    assert_int_equal(f->n_saves, n_saves - 1 - i);
    if (f->n_saves > 0) assert_same(latest(f), &saves[n_saves - 1]);
    free(again.bytes);
  }
  for (int i = 0; i < n_saves; i++) free(saves[i].bytes);
  free(whole.bytes);
}

/* ---- The same bytes ----------------------------------------------------------------------- */

static void test_every_update(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    for (int optimizer = 0; optimizer < TINYTL_OPTIMIZER_AUTO; optimizer++)
      for (int with_val = 0; with_val < 2; with_val++) {
        fixture *f = make((tinytl_method)method);
        f->options.optimizer = (tinytl_optimizer)optimizer;
        f->with_val = with_val;
        check_every_place(f, method == TINYTL_METHOD_LITE_BIAS && with_val ? 1 : 5);
        /* 6 updates and the epoch's end, each of them. */
        assert_int_equal(f->n_resumed, method == TINYTL_METHOD_LITE_BIAS && with_val ? 21 : 5);
        destroy(f);
      }
}

static void test_options(void **state) {
  (void)state;
  for (int i = 0; i < 6; i++) {
    fixture *f = make(TINYTL_METHOD_LITE_BIAS);
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
    default: /* what the checkpoint's run chose */
      f->options.method = TINYTL_METHOD_AUTO;
      f->options.seed = UINT64_MAX;
    }
    check_every_place(f, 4);
    destroy(f);
  }
}

static void test_unreadable_pictures(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method += TINYTL_METHOD_LITE_BIAS) {
    fixture *f = make((tinytl_method)method);
    static const int broken[] = {0, 4, 9, 20};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
      f->train.answer[broken[i]] = TINYTL_ERROR_DATA;
    f->val.answer[3] = TINYTL_ERROR_DATA;
    check_every_place(f, 1);
    assert_int_equal(f->report.skipped_images, 5);
    destroy(f);
  }
}

/* Stopped again and again, wherever that hits. */
static void test_stops(void **state) {
  (void)state;
  for (int method = 0; method < N_METHODS; method++)
    for (int loads = 5; loads < 50; loads += 11) {
      fixture *f = make((tinytl_method)method);
      sink whole, again, from = {0};
      f->train.answer[2] = TINYTL_ERROR_DATA;
      train_or_fail(f, NULL, &whole);
      f->options.save_seconds = 1000; /* at the stop and at the end alone */
      f->n_saves = 0;
      int n_stops = 0;
      tinytl_status status;
      do {
        /* A run that starts with as many features would never get beyond them. */
        f->loads_left = method == TINYTL_METHOD_LAST && n_stops > 0 ? -1 : loads;
        status = train(f, n_stops ? &from : NULL, &again);
        assert_true(status == TINYTL_OK || status == TINYTL_INTERRUPTED);
        if (status == TINYTL_INTERRUPTED) n_stops++;
        free(from.bytes);
        from = copy(latest(f));
      } while (status == TINYTL_INTERRUPTED);
      assert_true(n_stops > 0 || (method == TINYTL_METHOD_LAST && loads >= N_TRAIN));
      assert_same(&whole, &again);
      free(from.bytes);
      free(whole.bytes);
      free(again.bytes);
      destroy(f);
    }
}

static void set_low_limit(fixture *f) {
  tinytl_plan plan;
  f->options.memory_limit = 0;
  assert_int_equal(
      tinytl_plan_make(f->backbone, MEMORY_CLASSES, N_TRAIN, N_VAL, &f->options, &plan, &f->error),
      TINYTL_OK);
  f->options.memory_limit = plan.smallest_bytes + 100000;
}

/* A checkpoint of a run without a limit goes on under one, with everything saved, and the reverse.
 */
static void test_savings(void **state) {
  (void)state;
  fixture *f = calloc(1, sizeof *f);
  assert_int_equal(
      tinytl_backbone_init("mobilenet-v2-0.35", 3, TINYTL_WEIGHTS_INT8, 1, &f->backbone, NULL),
      TINYTL_OK);
  init(f, TINYTL_METHOD_LITE_BIAS);
  f->options.image_size = 32;
  f->options.epochs = 2;
  f->options.optimizer = TINYTL_OPTIMIZER_ADAM;
  f->options.spill_dir = ".";
  sink whole, again;
  train_or_fail(f, NULL, &whole);
  assert_false(f->report.plan.spills);
  const int n_saves = f->n_saves;
  assert_int_equal(n_saves, 14);
  for (int i = 2; i < n_saves; i += 7) { /* in the first epoch, and in the second */
    sink from = copy(&f->saves[i]);
    set_low_limit(f);
    train_or_fail(f, &from, &again);
    assert_true(f->report.plan.spills && f->report.plan.defers_gradients);
    assert_same(&whole, &again);
    free(again.bytes);
    free(from.bytes);
  }
  set_low_limit(f);
  f->n_saves = 0;
  train_or_fail(f, NULL, &again);
  assert_same(&whole, &again);
  free(again.bytes);
  f->options.memory_limit = 0;
  sink from = copy(&f->saves[9]);
  train_or_fail(f, &from, &again);
  assert_false(f->report.plan.spills);
  assert_same(&whole, &again);
  free(from.bytes);
  free(again.bytes);
  free(whole.bytes);
  destroy(f);
}

/* ---- Told --------------------------------------------------------------------------------- */

static void test_what_is_told(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
  sink adapter;
  train_or_fail(f, NULL, &adapter);
  free(adapter.bytes);
  assert_int_equal(f->n_resumed, 0);
  sink from = copy(&f->saves[8]); /* 6 updates, the epoch's end, 2 updates */
  train_or_fail(f, &from, &adapter);
  assert_int_equal(f->n_resumed, 1);
  assert_int_equal(f->resumed.method, TINYTL_METHOD_BIAS);
  assert_int_equal(f->resumed.epoch, 2);
  assert_int_equal(f->resumed.n_epochs, N_EPOCHS);
  assert_int_equal(f->resumed.image, 2 * BATCH);
  assert_int_equal(f->resumed.n_images, N_TRAIN);
  free(adapter.bytes);
  free(from.bytes);
  destroy(f);
}

/* By default nothing is saved before half a minute is over, but at the end. */
static void test_interval(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
  sink adapter;
  f->options.save_seconds = 30;
  train_or_fail(f, NULL, &adapter);
  assert_int_equal(f->n_saves, 1);
  free(adapter.bytes);
  f->options.save_seconds = NAN;
  assert_int_equal(train(f, NULL, &adapter), TINYTL_ERROR_USAGE);
  destroy(f);
}

static void test_python(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
  sink adapter;
  f->options.optimizer = TINYTL_OPTIMIZER_ADAM8;
  train_or_fail(f, NULL, &adapter);
  sink_check_in_python(latest(f),
                       "m = f.metadata()\n"
                       "assert m[\"tinytl.format\"] == \"checkpoint 1\", m\n"
                       "assert json.loads(m[\"tinytl.state\"])[\"epoch\"] == 4, m\n"
                       "assert json.loads(m[\"tinytl.data\"])[\"train_images\"] == 21, m\n"
                       "n = f.get_tensor(\"values\").shape\n"
                       "assert f.get_tensor(\"best\").shape == n\n"
                       "assert f.get_tensor(\"moment1.code\").shape == n\n"
                       "assert f.get_tensor(\"moment1.code\").any()\n"
                       "assert f.get_tensor(\"unreadable.val\").shape == (9,)");
  free(adapter.bytes);
  destroy(f);
}

/* A save that fails at any byte says so, and the run does not care. */
static void save_into_nothing(void *context, const tinytl_checkpoint *checkpoint) {
  fixture *f = context;
  size_t room = (size_t)f->n_saves++ * 997 % latest(f)->nbytes;
  tinytl_error error = {0};
  assert_int_equal(tinytl_checkpoint_write(checkpoint, sink_full, &room, &error),
                   TINYTL_ERROR_INTERNAL);
  assert_string_equal(error.message, "the output could not be written");
}

static void test_full_disk(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_LITE_BIAS);
  sink whole, again;
  train_or_fail(f, NULL, &whole);
  for (int i = 0; i < MAX_SAVES; i++) f->saves[i].nbytes = f->saves[0].nbytes;
  f->options.save = save_into_nothing;
  train_or_fail(f, NULL, &again);
  assert_same(&whole, &again);
  free(whole.bytes);
  free(again.bytes);
  destroy(f);
}

/* ---- Refused ------------------------------------------------------------------------------ */

/* A checkpoint of a run that was stopped, f ready to go on from it. */
static sink make_checkpoint(fixture *f) {
  sink adapter;
  train_or_fail(f, NULL, &adapter);
  free(adapter.bytes);
  return copy(&f->saves[8]);
}

static void assert_refused(fixture *f, const sink *from, tinytl_status status, const char *words) {
  sink adapter;
  f->error.message[0] = '\0';
  assert_int_equal(train(f, from, &adapter), status);
  if (!strstr(f->error.message, words))
    fail_msg("expected \"%s\" in \"%s\"", words, f->error.message);
}

static void test_other_options(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
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
  REFUSED(patience = 9, "\"patience\" is 0, this run's is 9");
  REFUSED(augment = TINYTL_SWITCH_OFF, "\"augment\" is 1, this run's is 0");
  REFUSED(mirror = false, "\"mirror\" is 1, this run's is 0");
  REFUSED(colour_jitter = 0.5f, "\"colour_jitter\" is 0, this run's is 0.5");
  REFUSED(seed = 7, "\"seed\" is \"0\", this run's is \"7\"");
#undef REFUSED
  assert_int_equal(f->n_resumed, 0);
  free(from.bytes);
  destroy(f);
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
  fixture *f = make(TINYTL_METHOD_BIAS);
  f->train.images.name = f->val.images.name = numbered;
  sink from = make_checkpoint(f), adapter;

  f->train.images.name = numbered_elsewhere; /* may move */
  train_or_fail(f, &from, &adapter);
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
  destroy(f);
}

/* Makes the checksum right again. */
static void seal(sink *file) {
  SHA2_CTX sha256;
  SHA256Init(&sha256);
  SHA256Update(&sha256, file->bytes, file->nbytes - TINYTL_CHECKSUM_NBYTES);
  SHA256Final(file->bytes + file->nbytes - TINYTL_CHECKSUM_NBYTES, &sha256);
}

/* Fields that are wrong in a file whose checksum is right. */
static void test_wrong_fields(void **state) {
  (void)state;
  static const struct {
    const char *from, *to, *words;
  } cases[] = {
      {"checkpoint 1", "checkpoint 2", "expected \"checkpoint 1\", found \"checkpoint 2\""},
      {"tinytl.format", "tinytl.xormat", "tinytl.format is missing"},
      {"tinytl.version", "tinytl.xersion", "tinytl.version is missing"},
      {"tinytl.kernels", "tinytl.xernels", "tinytl.kernels is missing"},
      {"tinytl.backbone", "tinytl.xackbone", "tinytl.backbone is missing"},
      {"tinytl.run", "tinytl.xun", "tinytl.run is missing"},
      {"tinytl.data", "tinytl.xata", "tinytl.data is missing"},
      {"tinytl.schedule", "tinytl.xchedule", "tinytl.schedule is missing"},
      {"tinytl.state", "tinytl.xtate", "tinytl.state is missing"},
      {"{\\\"classes\\\"", "[\\\"classes\\\"", "tinytl.data"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":5", "\"epoch\" must be a whole number 1 to 4"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":0", "\"epoch\" must be a whole number 1 to 4"},
      {"{\\\"epoch\\\":2", "{\\\"epoch\\\":1", "\"best_epoch\" must be a whole number 0 to 0"},
      {"\"images\\\":8", "\"images\\\":x", "tinytl.state"},
      {"\\\"images\\\"", "\\\"imagxs\\\"", "expected a number \"images\""},
      {"loss_sum", "loss_sux", "\"loss_sum\""},
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
  fixture *f = make(TINYTL_METHOD_BIAS);
  sink from = make_checkpoint(f);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sink damaged = copy(&from);
    if (!sink_replace(&damaged, cases[i].from, cases[i].to)) fail_msg("no %s", cases[i].from);
    seal(&damaged);
    assert_refused(f, &damaged, TINYTL_ERROR_MODEL, cases[i].words);
    free(damaged.bytes);
  }
  /* The last byte before the checksum is the flag of a validation picture. */
  from.bytes[from.nbytes - TINYTL_CHECKSUM_NBYTES - 1] = 2;
  seal(&from);
  assert_refused(f, &from, TINYTL_ERROR_MODEL,
                 "\"unreadable.val\": value 8 must be 0 or 1, found 2");
  free(from.bytes);
  destroy(f);
}

static int read_file(const void *bytes, size_t nbytes) {
  sink file = {(uint8_t *)bytes, nbytes};
  const tinytl_source source = {
      .name = "damaged", .nbytes = nbytes, .context = &file, .read = read_sink};
  tinytl_resume *resume = NULL;
  const int status = tinytl_resume_open(&source, &resume, NULL);
  tinytl_resume_free(resume);
  return status;
}

/* Cut anywhere, or with any one byte changed, a checkpoint is refused. */
static void test_damage(void **state) {
  (void)state;
  fixture *f = make(TINYTL_METHOD_BIAS);
  sink from = make_checkpoint(f);
  assert_int_equal(read_file(from.bytes, from.nbytes), TINYTL_OK);
  sink_damage(&from, 0, TINYTL_ERROR_MODEL, read_file);
  for (size_t i = 0; i < from.nbytes; i += i < 2500 ? 1 : 61) {
    from.bytes[i] ^= (uint8_t)(1 + i % 255);
    assert_int_equal(read_file(from.bytes, from.nbytes), TINYTL_ERROR_MODEL);
    from.bytes[i] ^= (uint8_t)(1 + i % 255);
  }
  free(from.bytes);
  destroy(f);
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
      cmocka_unit_test(test_every_update),
      cmocka_unit_test(test_options),
      cmocka_unit_test(test_unreadable_pictures),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_savings),
      cmocka_unit_test(test_what_is_told),
      cmocka_unit_test(test_interval),
      cmocka_unit_test(test_python),
      cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_other_options),
      cmocka_unit_test(test_other_pictures),
      cmocka_unit_test(test_wrong_fields),
      cmocka_unit_test(test_damage),
      cmocka_unit_test(test_source_that_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
