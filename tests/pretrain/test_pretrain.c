#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pretrain/pretrainer.h"
#include "support/memory_images.h"
#include "support/sink.h"

enum { TRAIN = 50, VAL = 12, BATCH = 8, EPOCHS = 3, MAX_SAVES = 128 };

typedef struct run {
  memory_images train, val;
  tinytl_pretrain_options options;
  tinytl_pretrain_report report;
  tinytl_error error;
  sink saves[MAX_SAVES];
  int n_saves, n_resumed, stop_after; /* updates; below 0: never */
  volatile int stop;
  float first_loss, loss;
  size_t planned;
} run;

static void save(void *context, const tinytl_pretrain_state *state) {
  run *r = context;
  assert_true(r->n_saves < MAX_SAVES);
  assert_int_equal(tinytl_pretrain_state_write(state, sink_write, &r->saves[r->n_saves++], NULL),
                   TINYTL_OK);
  if (r->n_saves == r->stop_after) r->stop = 1;
}

static void note_loss(void *context, const tinytl_epoch *epoch) {
  run *r = context;
  if (!epoch->finished) return;
  if (epoch->epoch == 1) r->first_loss = epoch->loss;
  r->loss = epoch->loss;
}

static void note_resumed(void *context, const tinytl_epoch *at) {
  run *r = context;
  assert_int_equal(at->n_epochs, EPOCHS);
  r->n_resumed++;
}

static run *make(void) {
  run *r = calloc(1, sizeof *r);
  memory_images_init(&r->train, TRAIN, 1);
  memory_images_init(&r->val, VAL, 2);
  tinytl_pretrain_options_init(&r->options);
  r->options.epochs = EPOCHS;
  r->options.batch = BATCH;
  r->options.image_size = 32;
  r->options.n_threads = 1;
  r->options.save_seconds = 0;
  r->options.progress = note_loss;
  r->options.resumed = note_resumed;
  r->options.stop = &r->stop;
  r->options.context = r;
  r->stop_after = -1;
  return r;
}

static void discard(run *r) {
  for (int i = 0; i < r->n_saves; i++) free(r->saves[i].bytes);
  free(r);
}

static tinytl_status train(run *r, tinytl_backbone **backbone) {
  return tinytl_pretrain("mobilenet-v2-0.1", &r->train.images, &r->val.images, &r->options,
                         backbone, &r->report, &r->error);
}

/* The file's bytes. */
static sink train_whole(run *r) {
  tinytl_backbone *backbone = NULL;
  sink file = {0};
  assert_int_equal(train(r, &backbone), TINYTL_OK);
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &file, NULL), TINYTL_OK);
  tinytl_backbone_free(backbone);
  return file;
}

static void assert_same(const sink *left, const sink *right) {
  assert_int_equal(left->nbytes, right->nbytes);
  assert_memory_equal(left->bytes, right->bytes, left->nbytes);
}

static void test_learns(void **state) {
  (void)state;
  run *r = make();
  r->options.epochs = 25;
  r->options.lr = 0.01f; /* of six seeds all get every picture right; higher rates are luck */
  free(train_whole(r).bytes);
  assert_true(r->loss < 0.6f * r->first_loss);
  assert_true(r->report.val_top1 > 0.8f);
  assert_int_equal(r->report.train_images, TRAIN);
  assert_int_equal(r->report.val_images, VAL);
  discard(r);
}

static void test_threads(void **state) {
  (void)state;
  run *one = make(), *three = make();
  three->options.n_threads = 3;
  sink first = train_whole(one), other = train_whole(three);
  assert_same(&first, &other);
  free(first.bytes);
  free(other.bytes);
  discard(one);
  discard(three);
}

static int count_right(run *r, const tinytl_backbone *backbone) {
  tinytl_predictor *predictor = NULL;
  assert_int_equal(tinytl_predictor_create(backbone, NULL, 0, 1, &predictor, NULL), TINYTL_OK);
  const tinytl_view view = tinytl_predictor_view(predictor);
  uint8_t *rgb = malloc(3 * view.size * view.size);
  int n_right = 0;
  for (int i = 0; i < VAL; i++) {
    float p[MEMORY_CLASSES];
    assert_int_equal(r->val.images.load(&r->val, i, &view, rgb, NULL), TINYTL_OK);
    assert_int_equal(tinytl_predictor_run(predictor, rgb, p, NULL), TINYTL_OK);
    const int label = r->val.labels[i];
    n_right += p[label] >= p[0] && p[label] >= p[1] && p[label] >= p[2];
  }
  free(rgb);
  tinytl_predictor_free(predictor);
  return n_right;
}

/* The file that it writes, as float, gets as many pictures right as the run says: norms are folded
 * as they are. */
static void test_backbone_is_the_network(void **state) {
  (void)state;
  for (int lite = 0; lite < 2; lite++) {
    run *r = make();
    tinytl_backbone *backbone = NULL;
    tinytl_backbone_info info;
    r->options.weights = TINYTL_WEIGHTS_F32;
    r->options.epochs = 8;
    r->options.lite = lite;
    assert_int_equal(train(r, &backbone), TINYTL_OK);
    tinytl_backbone_describe(backbone, &info);
    assert_int_equal(info.n_lite, lite ? info.n_blocks - 1 : 0);
    assert_string_equal(tinytl_backbone_label(backbone, 1), r->train.images.class_names[1]);
    assert_float_equal(r->report.val_top1, (float)count_right(r, backbone) / VAL, 1e-6);
    tinytl_backbone_free(backbone);
    discard(r);
  }
}

static bool read_bytes(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const sink *file = context;
  memcpy(bytes, file->bytes + offset, nbytes);
  return true;
}

static tinytl_source source_of(sink *file) {
  return (tinytl_source){
      .name = "run.ckpt", .nbytes = file->nbytes, .context = file, .read = read_bytes};
}

/* From every state that was saved, stopped or not, and past a picture that cannot be read. */
static void test_goes_on_to_the_same_bytes(void **state) {
  (void)state;
  run *whole = make();
  whole->train.answer[3] = TINYTL_ERROR_DATA;
  whole->options.save = save;
  sink expected = train_whole(whole);
  assert_true(whole->n_saves >= 3 * (TRAIN / BATCH));
  for (int i = 0; i < whole->n_saves; i += 2) {
    run *rest = make();
    const tinytl_source source = source_of(&whole->saves[i]);
    rest->train.answer[3] = TINYTL_ERROR_DATA;
    rest->options.resume = &source;
    sink found = train_whole(rest);
    assert_int_equal(rest->n_resumed, 1);
    assert_same(&found, &expected);
    free(found.bytes);
    discard(rest);
  }
  free(expected.bytes);
  discard(whole);
}

static sink train_supernet(run *r) {
  tinytl_supernet *supernet = NULL;
  sink file = {0};
  assert_int_equal(tinytl_pretrain_supernet("supernet-0.1", &r->train.images, &r->val.images,
                                            &r->options, &supernet, &r->report, &r->error),
                   TINYTL_OK);
  assert_int_equal(tinytl_supernet_write(supernet, TINYTL_WEIGHTS_F32, sink_write, &file, NULL),
                   TINYTL_OK);
  tinytl_supernet_free(supernet);
  return file;
}

/* Through every phase; from states of all of them, with other threads, to the same bytes. */
static void test_supernet(void **state) {
  (void)state;
  enum { SUPERNET_EPOCHS = 20 };
  run *whole = make();
  whole->options.epochs = SUPERNET_EPOCHS;
  whole->options.batch = 10;
  whole->options.lr = 0.05f;
  whole->options.lite = true;
  whole->options.save = save;
  whole->options.save_seconds = 1e6f;
  sink expected = train_supernet(whole);
  assert_true(whole->report.val_top1 > 0.6f);
  assert_true(isfinite(whole->report.smallest_top1));
  run *part = make(), *rest = make();
  part->options = whole->options;
  part->options.context = part;
  part->options.stop = &part->stop;
  part->options.save_seconds = 0;
  part->stop_after = SUPERNET_EPOCHS * (TRAIN / 10) * 2 / 3; /* depths shrink there */
  tinytl_supernet *none = NULL;
  assert_int_equal(tinytl_pretrain_supernet("supernet-0.1", &part->train.images, &part->val.images,
                                            &part->options, &none, NULL, &part->error),
                   TINYTL_INTERRUPTED);
  const tinytl_source source = source_of(&part->saves[part->n_saves - 1]);
  rest->options = whole->options;
  rest->options.context = rest;
  rest->options.stop = &rest->stop;
  rest->options.resumed = NULL;
  rest->options.resume = &source;
  rest->options.n_threads = 2;
  sink found = train_supernet(rest);
  assert_same(&found, &expected);
  free(found.bytes);
  discard(part);
  discard(rest);
  free(expected.bytes);
  discard(whole);
}

/* In every phase; a state goes on with the same teacher alone. */
static void test_teacher(void **state) {
  (void)state;
  tinytl_backbone *teacher = NULL;
  assert_int_equal(tinytl_backbone_init("mobilenet-v2-0.1", MEMORY_CLASSES, TINYTL_WEIGHTS_INT8, 5,
                                        &teacher, NULL),
                   TINYTL_OK);
  for (int lite = 0; lite < 2; lite++) {
    run *alone = make(), *taught = make(), *rest = make();
    alone->options.lite = taught->options.lite = rest->options.lite = lite;
    taught->options.teacher = rest->options.teacher = teacher;
    taught->options.save = save;
    rest->options.n_threads = 2;
    sink without, with, again;
    if (lite) {
      without = train_supernet(alone);
      with = train_supernet(taught);
    } else {
      without = train_whole(alone);
      with = train_whole(taught);
    }
    assert_true(without.nbytes == with.nbytes);
    assert_true(memcmp(without.bytes, with.bytes, with.nbytes) != 0);
    const tinytl_source source = source_of(&taught->saves[7]);
    rest->options.resume = &source;
    again = lite ? train_supernet(rest) : train_whole(rest);
    assert_same(&again, &with);
    tinytl_backbone *none = NULL;
    alone->options.resume = &source;
    assert_int_equal(train(alone, &none), TINYTL_ERROR_USAGE);
    free(without.bytes);
    free(with.bytes);
    free(again.bytes);
    discard(alone);
    discard(taught);
    discard(rest);
  }
  tinytl_backbone_free(teacher);
}

/* A size a step, the same ones whatever the threads and wherever the run was ended. */
static void test_image_sizes(void **state) {
  (void)state;
  tinytl_backbone *teacher = NULL;
  assert_int_equal(tinytl_backbone_init("mobilenet-v2-0.1", MEMORY_CLASSES, TINYTL_WEIGHTS_INT8, 5,
                                        &teacher, NULL),
                   TINYTL_OK);
  for (int super = 0; super < 2; super++) {
    run *whole = make(), *rest = make();
    whole->options.n_image_sizes = 3;
    whole->options.image_sizes[0] = 32;
    whole->options.image_sizes[1] = 48;
    whole->options.image_sizes[2] = 40;
    whole->options.lite = true;
    if (!super) whole->options.teacher = teacher;
    whole->train.answer[3] = rest->train.answer[3] = TINYTL_ERROR_DATA;
    rest->options = whole->options;
    rest->options.context = rest;
    whole->options.save = save;
    sink expected = super ? train_supernet(whole) : train_whole(whole);
    const tinytl_source source = source_of(&whole->saves[8]);
    rest->options.resume = &source;
    rest->options.n_threads = 2;
    sink found = super ? train_supernet(rest) : train_whole(rest);
    assert_same(&found, &expected);
    free(expected.bytes);
    free(found.bytes);
    discard(whole);
    discard(rest);
  }
  tinytl_backbone_free(teacher);
}

static void test_stops(void **state) {
  (void)state;
  run *r = make();
  tinytl_backbone *backbone = NULL;
  r->options.save = save;
  r->stop_after = 4;
  assert_int_equal(train(r, &backbone), TINYTL_INTERRUPTED);
  assert_null(backbone);
  assert_int_equal(r->n_saves, 4);
  discard(r);
}

static void expect_refusal(run *r, tinytl_status status, const char *part) {
  tinytl_backbone *backbone = NULL;
  const tinytl_status found = train(r, &backbone);
  if (found != status || !strstr(r->error.message, part)) fail_msg("%s", r->error.message);
  assert_null(backbone);
}

static void test_refuses_states_of_other_runs(void **state) {
  (void)state;
  run *first = make();
  first->options.save = save;
  free(train_whole(first).bytes);
  tinytl_source source = source_of(&first->saves[2]);
  run *r = make();
  r->options.resume = &source;
  r->options.seed = 1;
  expect_refusal(r, TINYTL_ERROR_USAGE, "\"seed\" is \"0\", this run's is \"1\"");
  r->options.seed = 0;
  memory_images_init(&r->train, TRAIN - 1, 1);
  expect_refusal(r, TINYTL_ERROR_MODEL, "\"train_images\" is 50, this run's is 49");
  first->saves[2].bytes[first->saves[2].nbytes / 2] ^= 1;
  expect_refusal(r, TINYTL_ERROR_MODEL, "damaged");
  discard(r);
  discard(first);
}

static void test_memory_limit(void **state) {
  (void)state;
  run *r = make();
  r->options.memory_limit = 4 << 20;
  expect_refusal(r, TINYTL_ERROR_MEMORY_LIMIT, "the smallest limit that would do is");
  discard(r);
}

static void note_planned(void *context, size_t total_bytes, size_t base_bytes) {
  run *r = context;
  assert_true(base_bytes > 0);
  r->planned = total_bytes;
}

static size_t plan(run *r, const char *name) {
  r->options.planned = note_planned;
  r->options.memory_limit = 1; /* refused, once it is planned */
  tinytl_backbone *backbone = NULL;
  assert_int_equal(
      tinytl_pretrain(name, &r->train.images, NULL, &r->options, &backbone, NULL, &r->error),
      TINYTL_ERROR_MEMORY_LIMIT);
  return r->planned;
}

/* The backbone at the end takes its own size in the place of the maps, which are less here. It was
 * counted twice over, as float32. */
static void test_plans_the_backbone_once(void **state) {
  (void)state;
  run *r = make();
  tinytl_backbone *backbone = NULL;
  tinytl_backbone_info info;
  r->options.batch = 2;
  const size_t small = plan(r, "mobilenet-v2-1.4");
  r->options.weights = TINYTL_WEIGHTS_F32;
  const size_t large = plan(r, "mobilenet-v2-1.4");
  assert_int_equal(tinytl_backbone_init("mobilenet-v2-1.4", MEMORY_CLASSES, TINYTL_WEIGHTS_F32, 1,
                                        &backbone, NULL),
                   TINYTL_OK);
  tinytl_backbone_describe(backbone, &info);
  assert_true(large > small);
  /* Values, gradient and moment, and the backbone. */
  assert_true(large > 4 * info.weight_nbytes && large < 5 * info.weight_nbytes);
  tinytl_backbone_free(backbone);
  discard(r);
}

/* They were not counted; the backbone has them, and for its hash they are printed. */
static void test_plans_long_names(void **state) {
  (void)state;
  enum { LONG = 100000 };
  run *r = make();
  char *name = calloc(1, LONG);
  const char *names[MEMORY_CLASSES];
  memset(name, 'x', LONG - 1);
  r->options.batch = 2;
  const size_t with_short = plan(r, "mobilenet-v2-1.4");
  for (int k = 0; k < MEMORY_CLASSES; k++) names[k] = name;
  r->train.images.class_names = names;
  const size_t more = plan(r, "mobilenet-v2-1.4") - with_short;
  assert_true(more > 4 * MEMORY_CLASSES * LONG && more < 6 * MEMORY_CLASSES * LONG);
  free(name);
  discard(r);
}

static void test_bad_data(void **state) {
  (void)state;
  run *r = make();
  for (int i = 0; i < TRAIN - BATCH + 1; i++) r->train.answer[i] = TINYTL_ERROR_DATA;
  expect_refusal(r, TINYTL_ERROR_DATA, "expected 8 training pictures that can be read");
  r->options.batch = 1;
  expect_refusal(r, TINYTL_ERROR_USAGE, "batch must be 2 to 4096, not 1");
  r->options.batch = BATCH;
  r->options.save_seconds = NAN;
  expect_refusal(r, TINYTL_ERROR_USAGE, "seconds between checkpoints must be 0 or more, not nan");
  r->options.save_seconds = 0;
  r->options.weights = (tinytl_weights)2;
  expect_refusal(r, TINYTL_ERROR_USAGE, "weights must be 0 to 1, not 2");
  r->options.weights = TINYTL_WEIGHTS_INT8;
  r->options.n_image_sizes = 1;
  r->options.image_sizes[0] = 48;
  expect_refusal(r, TINYTL_ERROR_USAGE, "must have the image size 32 among them");
  r->options.n_image_sizes = 0;
  memory_images_init(&r->train, TRAIN, 1);
  r->train.labels[5] = MEMORY_CLASSES;
  expect_refusal(r, TINYTL_ERROR_DATA, "training picture 5 has label 3 of 3 classes");
  discard(r);
}

/* What the last update made is in no loss. A backbone of that was called a damaged model. */
static void test_values_not_finite(void **state) {
  (void)state;
  for (int super = 0; super < 2; super++) {
    run *r = make();
    tinytl_pretrainer *p = NULL;
    tinytl_backbone *backbone = NULL;
    tinytl_supernet *supernet = NULL;
    assert_int_equal(tinytl_pretrainer_create(super ? "supernet-0.1" : "mobilenet-v2-0.1",
                                              &r->train.images, NULL, &r->options, &p, &r->error),
                     TINYTL_OK);
    p->values[7] = INFINITY;
    assert_int_equal(super ? tinytl_pretrainer_finish_supernet(p, &supernet, &r->error)
                           : tinytl_pretrainer_finish(p, &backbone, &r->error),
                     TINYTL_ERROR_DATA);
    assert_non_null(strstr(r->error.message, "a lower learning rate may help"));
    tinytl_pretrainer_free(p);
    discard(r);
  }
}

/* A network of zeros tells the first class of every picture. All of them were called right. */
static void test_equal_logits(void **state) {
  (void)state;
  run *r = make();
  tinytl_pretrainer *p = NULL;
  assert_int_equal(tinytl_pretrainer_create("mobilenet-v2-0.1", &r->train.images, NULL, &r->options,
                                            &p, &r->error),
                   TINYTL_OK);
  memset(p->values, 0, p->n_values * sizeof *p->values);
  for (int label = 0; label < MEMORY_CLASSES; label++) p->labels[p->batch_run.n_images++] = label;
  assert_int_equal(tinytl_pretrainer_count_right(p), 1);
  tinytl_pretrainer_free(p);
  discard(r);
}

/* Such ranks were asked whether they agree, and none of them was. */
static void test_bad_groups(void **state) {
  (void)state;
  static const int groups[][2] = {{0, 0}, {2, 2}, {-1, 2}, {0, -3}};
  for (int i = 0; i < 4; i++) {
    run *r = make();
    const tinytl_rank_group group = {.rank = groups[i][0], .n_ranks = groups[i][1]};
    r->options.group = &group;
    expect_refusal(r, TINYTL_ERROR_USAGE, "expected 0 to less than that");
    discard(r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learns),
      cmocka_unit_test(test_threads),
      cmocka_unit_test(test_backbone_is_the_network),
      cmocka_unit_test(test_goes_on_to_the_same_bytes),
      cmocka_unit_test(test_supernet),
      cmocka_unit_test(test_teacher),
      cmocka_unit_test(test_image_sizes),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_refuses_states_of_other_runs),
      cmocka_unit_test(test_memory_limit),
      cmocka_unit_test(test_plans_the_backbone_once),
      cmocka_unit_test(test_plans_long_names),
      cmocka_unit_test(test_bad_data),
      cmocka_unit_test(test_values_not_finite),
      cmocka_unit_test(test_equal_logits),
      cmocka_unit_test(test_bad_groups),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
