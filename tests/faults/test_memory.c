/* Every allocation, mapping and start of a thread fails once in turn: what was going on ends with
 * TINYTL_ERROR_INTERNAL and a message and leaves nothing behind, or does without and has the same
 * bytes as ever. */
#include "support/cmocka.h"
#include "support/faults.h"
#include "support/pictures.h"
#include "support/sink.h"
#include "support/tflite_maker.h"
#include "support/tiny_net.h"

#include "format/json.h"
#include "tinytl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that a piece of work makes, kept without taking memory. */
enum { MAX_OUTPUT = 1 << 20 };
static struct output {
  size_t nbytes;
  uint8_t bytes[MAX_OUTPUT];
} made, expected, saved;

static bool keep(void *context, const void *bytes, size_t nbytes) {
  struct output *output = context;
  assert_true(nbytes <= MAX_OUTPUT - output->nbytes);
  memcpy(output->bytes + output->nbytes, bytes, nbytes);
  output->nbytes += nbytes;
  return true;
}

/* What all works start from. */
static sink backbone_file, adapter_file, tflite_file;
static tinytl_backbone *backbone;
static pictures_dir dir;
static tinytl_source checkpoint; /* of `saved` */

void *__real_malloc(size_t nbytes);
void __real_free(void *piece);

typedef tinytl_status (*work_fn)(tinytl_error *error);

static void check(const char *name, work_fn work) {
  tinytl_error error;
  long at = 0, n_survived = 0;
  made.nbytes = 0;
  if (work(&error) != TINYTL_OK) fail_msg("%s: %s", name, error.message);
  expected = made;
  const long n_pieces = faults_n_pieces(), mapped = faults_mapped_nbytes();
  for (bool happened = true; happened; at++) {
    made.nbytes = 0;
    memset(&error, 0, sizeof error);
    faults_begin(FAULTS_MEMORY, at, ENOMEM, false);
    const tinytl_status status = work(&error);
    happened = faults_end();
    if (status == TINYTL_OK) {
      n_survived += happened;
      if (made.nbytes != expected.nbytes || memcmp(made.bytes, expected.bytes, made.nbytes) != 0)
        fail_msg("%s: other bytes after fault %ld", name, at);
    } else if (status != TINYTL_ERROR_INTERNAL || error.status != status || !error.message[0]) {
      fail_msg("%s: fault %ld: status %d: %s", name, at, status, error.message);
    }
    if (faults_n_pieces() != n_pieces || faults_mapped_nbytes() != mapped)
      fail_msg("%s: fault %ld: %ld pieces, %ld bytes are left", name, at,
               faults_n_pieces() - n_pieces, faults_mapped_nbytes() - mapped);
  }
  printf("%s: %ld faults, %ld of them did no harm\n", name, at - 1, n_survived);
  assert_true(at > 3);
}

/* ---- Work --------------------------------------------------------------------------------- */

static tinytl_status open_and_write(tinytl_error *error) {
  tinytl_backbone *opened = NULL;
  tinytl_adapter *adapter = NULL;
  tinytl_status status =
      tinytl_backbone_open(backbone_file.bytes, backbone_file.nbytes, "backbone", &opened, error);
  if (status == TINYTL_OK)
    status = tinytl_adapter_open(adapter_file.bytes, adapter_file.nbytes, "adapter", opened,
                                 &adapter, error);
  if (status == TINYTL_OK) status = tinytl_backbone_write(opened, keep, &made, error);
  if (status == TINYTL_OK) status = tinytl_adapter_write(adapter, keep, &made, error);
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(opened);
  return status;
}

static tinytl_status import_file(const sink *file, tinytl_error *error) {
  tinytl_backbone *imported = NULL;
  tinytl_status status = tinytl_backbone_import(file->bytes, file->nbytes, "file",
                                                TINYTL_WEIGHTS_INT8, &imported, error);
  if (status == TINYTL_OK) status = tinytl_backbone_write(imported, keep, &made, error);
  tinytl_backbone_free(imported);
  return status;
}

static tinytl_status import_safetensors(tinytl_error *error) {
  return import_file(&backbone_file, error);
}

static tinytl_status import_tflite(tinytl_error *error) {
  return import_file(&tflite_file, error);
}

static tinytl_train_options options_of_run(void) {
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = TINYTL_METHOD_LITE_BIAS;
  options.epochs = 2;
  options.batch = 4;
  options.n_threads = 2;
  options.save_seconds = 0;
  return options;
}

static tinytl_status plan(tinytl_error *error) {
  tinytl_train_options options = options_of_run();
  tinytl_plan made_plan;
  tinytl_status status = tinytl_plan_make(backbone, 3, 20, 10, &options, &made_plan, error);
  if (status == TINYTL_OK) keep(&made, &made_plan.total_bytes, sizeof made_plan.total_bytes);
  return status;
}

static void save(void *context, const tinytl_checkpoint *state) {
  (void)context;
  saved.nbytes = 0;
  (void)tinytl_checkpoint_write(state, keep, &saved, NULL);
}

static tinytl_status train_upon(const tinytl_source *resume, bool saves, tinytl_error *error) {
  tinytl_train_options options = options_of_run();
  tinytl_folder *train = NULL, *val = NULL;
  tinytl_adapter *adapter = NULL;
  options.resume = resume;
  options.save = saves ? save : NULL;
  tinytl_status status = tinytl_folder_open(dir.path, TINYTL_PART_TRAIN, NULL, NULL, &train, error);
  if (status == TINYTL_OK) status = tinytl_folder_split(train, 0.3f, 0, &val, error);
  if (status == TINYTL_OK)
    status = tinytl_train(backbone, tinytl_folder_images(train), tinytl_folder_images(val),
                          &options, &adapter, NULL, error);
  if (status == TINYTL_OK) status = tinytl_adapter_write(adapter, keep, &made, error);
  tinytl_adapter_free(adapter);
  tinytl_folder_free(val);
  tinytl_folder_free(train);
  return status;
}

static tinytl_status train(tinytl_error *error) {
  return train_upon(NULL, true, error);
}

static tinytl_status go_on(tinytl_error *error) {
  return train_upon(&checkpoint, false, error);
}

static tinytl_status predict(tinytl_error *error) {
  static uint8_t rgb[TINY_SIZE * TINY_SIZE * 3];
  tinytl_predictor *predictor = NULL;
  float probabilities[TINY_CLASSES];
  tinytl_status status = tinytl_predictor_create(backbone, NULL, 0, 2, &predictor, error);
  static const char *const files[] = {"train/one/0.png", "train/two/1.jpg", "train/two/2.png"};
  for (int i = 0; status == TINYTL_OK && i < 3; i++) {
    const tinytl_view view = tinytl_predictor_view(predictor);
    status = tinytl_picture_load(pictures_path(&dir, files[i]), 0, &view, rgb, error);
    if (status == TINYTL_OK) status = tinytl_predictor_run(predictor, rgb, probabilities, error);
    if (status == TINYTL_OK) keep(&made, probabilities, sizeof probabilities);
  }
  tinytl_predictor_free(predictor);
  return status;
}

/* ---- What it starts from ------------------------------------------------------------------ */

static bool read_saved(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const struct output *file = context;
  memcpy(bytes, file->bytes + offset, nbytes);
  return true;
}

static void make_pictures(void) {
  dir = pictures_dir_make();
  pictures_mkdir(&dir, "train");
  pictures_mkdir(&dir, "train/one");
  pictures_mkdir(&dir, "train/two");
  for (int i = 0; i < 6; i++) {
    char name[32];
    snprintf(name, sizeof name, "train/%s/%d.%s", i < 3 ? "one" : "two", i % 3,
             i % 3 == 1 ? "jpg" : "png");
    if (i % 3 == 1)
      pictures_write_jpeg(&dir, name, i < 3 ? PICTURES_JPEG_RGB : PICTURES_JPEG_PROGRESSIVE, 30, 25,
                          i);
    else
      pictures_write_png(&dir, name, i < 3 ? PICTURES_PNG_RGB : PICTURES_PNG_INTERLACED, 25, 30, i);
  }
}

/* A convolution, a mean and a classifier. */
static sink make_tflite(void) {
  static const float values[3 * 8];
  static const int axes[] = {1, 2};
  maker m = {0};
  int x = maker_float(&m, 4, (const int[]){1, 8, 8, 3}, NULL);
  const int w = maker_float(&m, 4, (const int[]){8, 1, 1, 3}, values);
  const int b = maker_float(&m, 1, (const int[]){8}, values);
  x = maker_add(&m,
                (maker_op){.code = 3,
                           .n_inputs = 3,
                           .inputs = {x, w, b},
                           .n_options = 4,
                           .options = {{0, 1, 0}, {1, 4, 1}, {2, 4, 1}, {3, 1, 3}}},
                (const int[]){1, 8, 8, 8});
  const int a = maker_int32(&m, 1, (const int[]){2}, axes);
  x = maker_add(&m, (maker_op){.code = 40, .n_inputs = 2, .inputs = {x, a}},
                (const int[]){1, 1, 1, 8});
  const int classifier = maker_float(&m, 2, (const int[]){2, 8}, values);
  const int bias = maker_float(&m, 1, (const int[]){2}, values);
  maker_add(&m, (maker_op){.code = 9, .n_inputs = 3, .inputs = {x, classifier, bias}},
            (const int[]){1, 1, 1, 2});
  return maker_finish(&m);
}

static int set_up(void **state) {
  (void)state;
  backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, true);
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &backbone_file, NULL), TINYTL_OK);
  tflite_file = make_tflite();
  make_pictures();
  made.nbytes = 0;
  assert_int_equal(train(NULL), TINYTL_OK);
  assert_true(sink_write(&adapter_file, made.bytes, made.nbytes));
  checkpoint = (tinytl_source){
      .name = "saved", .nbytes = saved.nbytes, .context = &saved, .read = read_saved};
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tinytl_backbone_free(backbone);
  free(backbone_file.bytes);
  free(adapter_file.bytes);
  free(tflite_file.bytes);
  pictures_dir_remove(&dir);
  return 0;
}

static void test_open(void **state) {
  (void)state;
  check("open and write", open_and_write);
}

/* jansson's own calls, which are not wrapped. Strings are short: it does not look whether its
 * buffer for longer ones could grow. Of a string without memory it says that it is not valid. */
static void test_json(void **state) {
  (void)state;
  static const char text[] = "{\"a\": [1, \"bc\", {\"d\": null}]}";
  long at = 0;
  json_set_alloc_funcs(malloc, free);
  for (bool happened = true; happened; at++) {
    json_t *json = NULL;
    tinytl_error error = {0};
    const long n_pieces = faults_n_pieces();
    faults_begin(FAULTS_MEMORY, at, ENOMEM, false);
    const tinytl_status status = tinytl_json_parse(text, strlen(text), "text", &json, &error);
    happened = faults_end();
    assert_int_equal(status == TINYTL_OK, !happened);
    if (happened && status != TINYTL_ERROR_INTERNAL)
      assert_non_null(strstr(error.message, "not valid JSON"));
    json_decref(json);
    assert_int_equal(faults_n_pieces(), n_pieces);
  }
  json_set_alloc_funcs(__real_malloc, __real_free);
  assert_true(at > 10);
}

static void test_import(void **state) {
  (void)state;
  check("import of safetensors", import_safetensors);
  check("import of TFLite", import_tflite);
}

static void test_plan(void **state) {
  (void)state;
  check("plan", plan);
}

static void test_train(void **state) {
  (void)state;
  check("going on", go_on);
  check("training", train);
}

static void test_predict(void **state) {
  (void)state;
  check("prediction", predict);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_json), cmocka_unit_test(test_open),  cmocka_unit_test(test_import),
      cmocka_unit_test(test_plan), cmocka_unit_test(test_train), cmocka_unit_test(test_predict),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
