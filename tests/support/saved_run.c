#include "support/saved_run.h"

#include "support/cmocka.h"
#include "support/tiny_net.h"

#include "format/sealed_file.h"

#include <stdlib.h>
#include <string.h>

sink *saved_run_latest(saved_run *f) {
  assert_true(f->n_saves > 0);
  return &f->saves[(f->n_saves - 1) % SAVED_MAX];
}

static void save(void *context, const tinytl_checkpoint *checkpoint) {
  saved_run *f = context;
  f->n_saves++;
  free(saved_run_latest(f)->bytes);
  *saved_run_latest(f) = (sink){0};
  assert_int_equal(tinytl_checkpoint_write(checkpoint, sink_write, saved_run_latest(f), NULL),
                   TINYTL_OK);
}

static void note_loss(void *context, const tinytl_epoch *epoch) {
  saved_run *f = context;
  if (epoch->finished) f->loss = epoch->loss;
}

static void note_resumed(void *context, const tinytl_resumed *resumed) {
  saved_run *f = context;
  f->resumed = *resumed;
  f->resumed.version = f->resumed.kernels = NULL;
  assert_string_equal(resumed->version, TINYTL_VERSION);
  assert_string_equal(resumed->kernels, tinytl_kernels_name());
  f->n_resumed++;
}

/* Stop the run from the loader's thread: at one picture or the other, which must not matter. */
static void count_load(saved_run *f) {
  if (f->loads_left >= 0 && f->loads_left-- == 0) f->stop = 1;
}

static tinytl_status load_train(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                                tinytl_error *error) {
  saved_run *f = context;
  count_load(f);
  return f->train.images.load(&f->train, index, view, rgb, error);
}

static tinytl_status load_val(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                              tinytl_error *error) {
  saved_run *f = context;
  count_load(f);
  return f->val.images.load(&f->val, index, view, rgb, error);
}

void saved_run_init(saved_run *f, tinytl_method method) {
  memory_images_init(&f->train, SAVED_TRAIN, 1);
  memory_images_init(&f->val, SAVED_VAL, 2);
  tinytl_train_options_init(&f->options);
  f->options.method = method;
  f->options.batch = SAVED_BATCH;
  f->options.epochs = SAVED_EPOCHS;
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

saved_run *saved_run_make(tinytl_method method) {
  saved_run *f = calloc(1, sizeof *f);
  f->backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  saved_run_init(f, method);
  return f;
}

void saved_run_free(saved_run *f) {
  for (int i = 0; i < SAVED_MAX; i++) free(f->saves[i].bytes);
  tinytl_backbone_free(f->backbone);
  free(f);
}

static bool read_sink(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const sink *file = context;
  assert_true(offset <= file->nbytes && nbytes <= file->nbytes - offset);
  memcpy(bytes, file->bytes + offset, nbytes);
  return true;
}

tinytl_source sink_source(const sink *file) {
  return (tinytl_source){
      .name = "saved", .nbytes = file->nbytes, .context = (void *)file, .read = read_sink};
}

tinytl_status saved_run_train(saved_run *f, const sink *from, sink *adapter) {
  tinytl_images images = f->train.images, val = f->val.images;
  tinytl_source source = {0};
  tinytl_adapter *trained = NULL;
  if (f->loads_left >= 0) {
    images.load = load_train;
    val.load = load_val;
    images.context = val.context = f;
  }
  if (from) source = sink_source(from);
  f->options.resume = from ? &source : NULL;
  f->stop = 0;
  const tinytl_status status = tinytl_train(f->backbone, &images, f->with_val ? &val : NULL,
                                            &f->options, &trained, &f->report, &f->error);
  *adapter = (sink){0};
  if (status == TINYTL_OK)
    assert_int_equal(tinytl_adapter_write(trained, sink_write, adapter, NULL), TINYTL_OK);
  tinytl_adapter_free(trained);
  return status;
}

tinytl_status saved_run_train_low(saved_run *f, const sink *from, sink *adapter) {
  tinytl_status status = TINYTL_ERROR_MEMORY_LIMIT;
  for (size_t margin = 100000; status == TINYTL_ERROR_MEMORY_LIMIT; margin += 100000) {
    tinytl_plan plan;
    f->options.memory_limit = 0;
    assert_int_equal(tinytl_plan_make(f->backbone, MEMORY_CLASSES, SAVED_TRAIN, SAVED_VAL,
                                      &f->options, &plan, &f->error),
                     TINYTL_OK);
    f->options.memory_limit = plan.smallest_bytes + margin;
    status = saved_run_train(f, from, adapter);
    assert_true(margin < 3000000);
  }
  return status;
}

void saved_run_finish(saved_run *f, const sink *from, sink *adapter) {
  if (saved_run_train(f, from, adapter) != TINYTL_OK) fail_msg("%s", f->error.message);
}

sink sink_copy(const sink *file) {
  sink made = {0};
  assert_true(sink_write(&made, file->bytes, file->nbytes));
  return made;
}

void sink_seal(sink *file) {
  SHA2_CTX sha256;
  SHA256Init(&sha256);
  SHA256Update(&sha256, file->bytes, file->nbytes - TINYTL_CHECKSUM_NBYTES);
  SHA256Final(file->bytes + file->nbytes - TINYTL_CHECKSUM_NBYTES, &sha256);
}

void sink_assert_same(const sink *x, const sink *y) {
  assert_int_equal(x->nbytes, y->nbytes);
  assert_memory_equal(x->bytes, y->bytes, x->nbytes);
}
