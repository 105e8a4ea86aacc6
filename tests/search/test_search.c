#include "support/cmocka.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pages.h"
#include "model/shared_values.h"
#include "model/supernet.h"
#include "search/searcher.h"
#include "support/memory_images.h"
#include "support/saved_run.h"
#include "train/plan.h"

enum { TRAIN = 45, VAL = 24, CANDIDATES = 16, FINALISTS = 10 };

typedef struct fixture {
  memory_images train, val;
  tinytl_supernet *supernet;
  tinytl_search_options options;
  tinytl_search_report report;
  tinytl_error error;
  tinytl_candidate measured[CANDIDATES + FINALISTS], front[CANDIDATES + FINALISTS];
  int n_measured, n_front, n_told;
} fixture;

static void note_measured(void *context, int n, int n_candidates, const tinytl_candidate *c) {
  fixture *f = context;
  assert_in_range(n_candidates, CANDIDATES, CANDIDATES + FINALISTS);
  assert_int_equal(n, f->n_measured + 1);
  f->measured[f->n_measured++] = *c;
}

static void note_front(void *context, const tinytl_candidate *c) {
  fixture *f = context;
  f->n_told++;
  if (c->on_front) f->front[f->n_front++] = *c;
}

/* Without and with lite modules; no search changes them. */
static tinytl_supernet *supernets[2];

static int make_supernets(void **state) {
  (void)state;
  memory_images train;
  memory_images_init(&train, TRAIN, 1);
  for (int lite = 0; lite < 2; lite++) {
    tinytl_pretrain_options pretrain;
    tinytl_pretrain_options_init(&pretrain);
    pretrain.epochs = 8;
    pretrain.batch = 15;
    pretrain.image_size = 32;
    pretrain.lite = lite;
    if (tinytl_pretrain_supernet("supernet-0.1", &train.images, NULL, &pretrain, &supernets[lite],
                                 NULL, NULL) != TINYTL_OK)
      return -1;
  }
  return 0;
}

static int free_supernets(void **state) {
  (void)state;
  for (int lite = 0; lite < 2; lite++) tinytl_supernet_free(supernets[lite]);
  return 0;
}

static fixture *make(bool with_lite) {
  fixture *f = calloc(1, sizeof *f);
  memory_images_init(&f->train, TRAIN, 1);
  memory_images_init(&f->val, VAL, 2);
  f->supernet = supernets[with_lite];
  tinytl_search_options_init(&f->options);
  f->options.candidates = CANDIDATES;
  f->options.train.epochs = 1;
  f->options.image_sizes[f->options.n_image_sizes++] = 32;
  f->options.image_sizes[f->options.n_image_sizes++] = 40;
  f->options.progress = note_measured;
  f->options.measured = note_front;
  f->options.train.context = f;
  f->options.train.n_threads = 1;
  return f;
}

static tinytl_status run(fixture *f, tinytl_backbone **backbone) {
  f->n_measured = f->n_front = f->n_told = 0;
  return tinytl_search(f->supernet, &f->train.images, &f->val.images, &f->options, backbone,
                       &f->report, &f->error);
}

static sink search(fixture *f) {
  tinytl_backbone *backbone = NULL;
  sink file = {0};
  if (run(f, &backbone) != TINYTL_OK) fail_msg("%s", f->error.message);
  assert_int_equal(tinytl_backbone_write(backbone, sink_write, &file, NULL), TINYTL_OK);
  tinytl_backbone_free(backbone);
  return file;
}

static void test_chooses_the_best_it_measured(void **state) {
  (void)state;
  fixture *f = make(false);
  free(search(f).bytes);
  assert_true(f->n_measured > CANDIDATES && f->n_measured <= CANDIDATES + FINALISTS);
  assert_int_equal(f->n_told, f->n_measured);
  for (int i = 0; i < f->n_measured; i++) {
    assert_true(f->measured[i].score <= f->report.chosen.score);
    assert_true(f->measured[i].top1 >= 0 && f->measured[i].top1 <= 1);
    assert_true(f->measured[i].score < f->report.chosen.score ||
                f->measured[i].macs >= f->report.chosen.macs);
  }
  /* The front begins with the choice; nothing on it is beaten. */
  assert_memory_equal(&f->front[0], &f->report.chosen, sizeof *f->front);
  for (int i = 0; i < f->n_front; i++)
    for (int j = 0; j < f->n_measured; j++)
      assert_false(f->measured[j].score > f->front[i].score &&
                   f->measured[j].planned_bytes < f->front[i].planned_bytes);
  free(f);
}

static void test_same_whatever_the_threads(void **state) {
  (void)state;
  fixture *f = make(false);
  sink one = search(f);
  f->options.train.n_threads = 3;
  sink three = search(f);
  assert_int_equal(one.nbytes, three.nbytes);
  assert_memory_equal(one.bytes, three.bytes, one.nbytes);
  free(one.bytes);
  free(three.bytes);
  free(f);
}

/* The backbone is the sub-net that was chosen, and can be planned as it was priced. */
static void test_backbone(void **state) {
  (void)state;
  fixture *f = make(true);
  tinytl_backbone *backbone = NULL;
  tinytl_backbone_info info;
  tinytl_train_options train = f->options.train;
  tinytl_plan plan;
  assert_int_equal(run(f, &backbone), TINYTL_OK);
  tinytl_backbone_describe(backbone, &info);
  int n_blocks = 0;
  for (int s = 0; s < 7; s++) n_blocks += f->report.chosen.depth[s];
  assert_int_equal(info.n_blocks, n_blocks);
  assert_int_equal(info.n_lite, n_blocks - 1);
  assert_int_equal(info.image_size, f->report.chosen.image_size);
  assert_string_equal(info.architecture, "supernet-0.1");
  assert_string_equal(tinytl_backbone_label(backbone, 0), f->train.images.class_names[0]);
  tinytl_images all = f->train.images;
  const tinytl_task task = {.backbone = backbone, .train = &all, .val = &f->val.images};
  all.n_images += VAL;
  assert_int_equal(tinytl_method_plan(&task, &train, &plan, NULL), TINYTL_OK);
  assert_int_equal(plan.total_bytes, f->report.chosen.planned_bytes);
  assert_true(plan.macs == f->report.chosen.macs);
  tinytl_backbone_free(backbone);
  free(f);
}

static int count_size(const fixture *f, int image_size) {
  int n = 0;
  for (int i = 0; i < f->n_measured; i++) n += f->measured[i].image_size == image_size;
  return n;
}

/* Sub-nets differ in the size of their pictures too: by default from 3/4 to twice the super-net's,
 * 32 at least. What no sub-net may have within the limits is left out. */
static void test_image_sizes(void **state) {
  (void)state;
  fixture *f = make(false);
  f->options.n_image_sizes = 0;
  free(search(f).bytes);
  assert_int_equal(f->measured[0].image_size, 64);
  assert_int_equal(f->measured[1].image_size, 32);
  assert_true(count_size(f, 32) < f->n_measured - 1);
  assert_int_equal(count_size(f, 32) + count_size(f, 40) + count_size(f, 48) + count_size(f, 56) +
                       count_size(f, 64),
                   f->n_measured);
  f->options.max_macs = f->measured[1].macs * 5 / 4;
  free(search(f).bytes);
  assert_int_equal(count_size(f, 32), f->n_measured);
  free(f);
}

static void test_limits(void **state) {
  (void)state;
  fixture *f = make(false);
  free(search(f).bytes);
  const tinytl_candidate *largest = &f->measured[0], *smallest = &f->measured[1];
  assert_true(smallest->macs < largest->macs);
  f->options.max_macs = (smallest->macs + largest->macs) / 2;
  free(search(f).bytes);
  for (int i = 0; i < f->n_measured; i++) assert_true(f->measured[i].macs <= f->options.max_macs);
  f->options.max_macs = smallest->macs;
  free(search(f).bytes);
  assert_int_equal(f->n_measured, 1);
  assert_true(isnan(f->report.tau)); /* no fifth of one is there to be ranked */
  tinytl_backbone *backbone = NULL;
  f->options.max_macs = f->measured[0].macs / 2;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_MEMORY_LIMIT);
  assert_non_null(strstr(f->error.message, "the smallest one, of 12 blocks at 32 px"));
  f->options.max_macs = 0;
  f->options.train.memory_limit = 100 * 1000;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_MEMORY_LIMIT);
  assert_non_null(strstr(f->error.message, "no sub-net meets the limits"));
  assert_null(backbone);
  free(f);
}

static void test_refusals(void **state) {
  (void)state;
  fixture *f = make(false);
  tinytl_backbone *backbone = NULL;
  volatile int stop = 1;
  f->options.candidates = 15;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  f->options.candidates = CANDIDATES;
  f->options.train.method = TINYTL_METHOD_AUTO;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  f->options.train.method = TINYTL_METHOD_BIAS;
  f->options.train.stop = &stop;
  assert_int_equal(run(f, &backbone), TINYTL_INTERRUPTED);
  f->options.train.stop = NULL;
  f->options.image_sizes[1] = 32;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  f->options.image_sizes[1] = 2000;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  f->options.image_sizes[1] = 40;
  f->options.train.image_size = 40;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  f->options.train.image_size = 0;
  for (int i = 0; i < VAL; i++) f->val.answer[i] = TINYTL_ERROR_DATA;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  for (int i = 0; i < TRAIN; i++) f->train.answer[i] = TINYTL_ERROR_DATA;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  memory_images_init(&f->val, 0, 2);
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  memory_images_init(&f->train, TRAIN, 1), memory_images_init(&f->val, VAL, 2);
  f->val.labels[1] = MEMORY_CLASSES;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  assert_null(backbone);
  free(f);
}

/* A batch of all of them was waited for. */
static void test_adapts_to_few_pictures_of_which_one_is_unreadable(void **state) {
  (void)state;
  fixture *f = make(true);
  memory_images_init(&f->train, 4, 1);
  f->train.answer[2] = TINYTL_ERROR_DATA;
  free(search(f).bytes);
  for (int i = 0; i < 4; i++) f->train.answer[i] = TINYTL_ERROR_DATA;
  tinytl_backbone *backbone = NULL;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  free(f);
}

/* The choice meets the limits, has a classifier of the pictures' classes, and finalists, which a
 * predictor knows, were measured beside the candidates. */
static void check_choice(const fixture *f, const sink *file) {
  tinytl_backbone *backbone = NULL;
  tinytl_backbone_info info;
  assert_int_equal(tinytl_backbone_open(file->bytes, file->nbytes, "chosen", &backbone, NULL),
                   TINYTL_OK);
  tinytl_backbone_describe(backbone, &info);
  assert_int_equal(info.n_classes, MEMORY_CLASSES);
  assert_string_equal(tinytl_backbone_label(backbone, 2), f->train.images.class_names[2]);
  assert_true(f->n_measured > CANDIDATES && f->n_measured <= CANDIDATES + FINALISTS);
  assert_true(f->report.tau >= -1 && f->report.tau <= 1);
  for (int i = 0; i < f->n_front; i++) assert_true(f->front[i].predicted > -1);
  for (int i = 0; i < f->n_measured; i++) {
    assert_true(f->measured[i].macs <= f->options.max_macs);
    /* A likelihood is that of chance at least: at no other temperature is it less. */
    assert_true(f->measured[i].score > 0.9f / MEMORY_CLASSES && f->measured[i].score <= 1);
  }
  tinytl_backbone_free(backbone);
}

/* A search that is stopped wherever a state was saved, and goes on from it, threads or none,
 * chooses the same to the byte. */
typedef struct saved {
  fixture f; /* must be first: the callbacks' context */
  sink states[512];
  int n_states;
} saved;

static void note_state(void *context, const tinytl_search_state *state) {
  saved *s = context;
  assert_true(s->n_states < 512);
  assert_int_equal(tinytl_search_state_write(state, sink_write, &s->states[s->n_states++], NULL),
                   TINYTL_OK);
}

/* Another super-net was a matter of options, and one that differed in its input alone accepted. */
static void check_other_supernets(fixture *f) {
  tinytl_supernet *own = f->supernet, other = *own;
  tinytl_backbone *backbone = NULL;
  f->supernet = &other;
  other.input.mean[1] += 0.25f;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(f->error.message, "of another super-net: its \"mean\" is"));
  other.input = own->input;
  other.space.total_stride *= 2;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(f->error.message, "\"stride\""));
  other.space = own->space;
  other.n_values--; /* as if they were others */
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_MODEL);
  assert_non_null(strstr(f->error.message, "\"values\""));
  f->supernet = own;
}

/* Fields of the first state that are wrong, under a checksum that is right. Of `step` the learning
 * rate would have gone up again. */
static void check_wrong_fields(fixture *f, const sink *first) {
  static const char *const cases[][3] = {
      {"step\\\":1", "step\\\":9", "expected at most 5 updates, found 9"},
      {"\"step\\\"", "\"stex\\\"", "expected a whole number \"step\""},
      {"base_bytes", "base_bytex", "expected a whole number \"base_bytes\""},
      {"loss_sum", "loss_sux", "expected a number \"loss_sum\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinytl_backbone *backbone = NULL;
    sink damaged = sink_copy(first);
    if (!sink_replace(&damaged, cases[i][0], cases[i][1])) fail_msg("no %s", cases[i][0]);
    sink_seal(&damaged);
    const tinytl_source source = sink_source(&damaged);
    f->options.resume = &source;
    assert_int_equal(run(f, &backbone), TINYTL_ERROR_MODEL);
    if (!strstr(f->error.message, cases[i][2])) fail_msg("%s", f->error.message);
    free(damaged.bytes);
  }
}

static void test_goes_on(void **state) {
  (void)state;
  fixture *made = make(true);
  saved *s = calloc(1, sizeof *s);
  s->f = *made;
  memory_images_init(&s->f.train, TRAIN, 1);
  memory_images_init(&s->f.val, VAL, 2);
  s->f.train.answer[7] = s->f.val.answer[3] = TINYTL_ERROR_DATA;
  s->f.options.train.context = s;
  s->f.options.save = note_state;
  s->f.options.train.save_seconds = 0;
  s->f.options.max_macs = 1000 * 1000;
  const sink whole = search(&s->f);
  check_choice(&s->f, &whole);
  const int n_states = s->n_states;
  assert_true(n_states >= CANDIDATES);
  s->f.options.save = NULL;
  s->f.options.train.n_threads = 2;
  /* While it adapts, while it measures candidates, and among the finalists. */
  const int tried[] = {2, n_states - FINALISTS - CANDIDATES / 2, n_states - 2};
  for (int k = 0; k < 3; k++) {
    const int i = tried[k];
    const tinytl_source source = sink_source(&s->states[i]);
    s->f.options.resume = &source;
    s->f.options.progress = NULL;
    const sink again = search(&s->f);
    assert_int_equal(again.nbytes, whole.nbytes);
    assert_memory_equal(again.bytes, whole.bytes, whole.nbytes);
    free(again.bytes);
  }
  /* Refusals: other options, other pictures, a damaged file. */
  tinytl_backbone *backbone = NULL;
  check_wrong_fields(&s->f, &s->states[0]);
  const tinytl_source source = sink_source(&s->states[0]);
  s->f.options.resume = &source;
  s->f.options.train.seed = 9;
  assert_int_equal(run(&s->f, &backbone), TINYTL_ERROR_USAGE);
  s->f.options.train.seed = 0;
  s->f.val.images.n_images--;
  assert_int_equal(run(&s->f, &backbone), TINYTL_ERROR_MODEL);
  s->f.val.images.n_images++;
  check_other_supernets(&s->f);
  s->states[0].bytes[s->states[0].nbytes / 2] ^= 1;
  assert_int_equal(run(&s->f, &backbone), TINYTL_ERROR_MODEL);
  assert_null(backbone);
  for (int i = 0; i < n_states; i++) free(s->states[i].bytes);
  free(whole.bytes);
  free(s);
  free(made);
}

static tinytl_status refuse(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                            tinytl_error *error) {
  (void)context, (void)index, (void)view, (void)rgb;
  error->status = TINYTL_ERROR_DATA;
  snprintf(error->message, sizeof error->message, "refused");
  return TINYTL_ERROR_DATA;
}

/* There are no statistics of norms then: all features were those of nothing. */
static void test_no_training_picture(void **state) {
  (void)state;
  fixture *f = make(false);
  tinytl_backbone *backbone = NULL;
  f->train.images.load = refuse;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  assert_non_null(strstr(f->error.message, "training picture"));
  free(f);
}

/* Found by fuzzing: behind a map that is always 0 weights are of no account, until they are folded.
 */
static void test_folded_weights_not_finite(void **state) {
  (void)state;
  fixture *f = make(false);
  tinytl_supernet changed = *supernets[0];
  tinytl_shared_values *shared = calloc(1, sizeof *shared);
  tinytl_backbone *backbone = NULL;
  tinytl_shared_values_layout(shared, &changed.space);
  const tinytl_layer *depthwise = &shared->arch.layers[1];
  changed.values = malloc(changed.n_values * sizeof *changed.values);
  memcpy(changed.values, supernets[0]->values, changed.n_values * sizeof *changed.values);
  changed.values[shared->params.shift[0]] = -1e6f;
  for (int k = 0; k < depthwise->kernel * depthwise->kernel; k++)
    changed.values[shared->params.weight[1] + (size_t)(k * depthwise->out_c)] = 3e38f;
  f->supernet = &changed;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_DATA);
  assert_non_null(strstr(f->error.message, "the loss is not finite"));
  tinytl_measured smallest = {.subnet = tinytl_subnet_smallest(&changed.space)};
  tinytl_searcher *searcher = NULL;
  assert_int_equal(tinytl_searcher_create(&changed, &f->train.images, &f->val.images, &f->options,
                                          TINYTL_METHOD_BIAS, NULL, &searcher, NULL),
                   TINYTL_OK);
  assert_int_equal(tinytl_searcher_measure(searcher, &smallest, NULL), TINYTL_OK);
  assert_int_equal(tinytl_searcher_finish(searcher, &smallest.subnet, &backbone, &f->error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(
      strstr(f->error.message, "the chosen sub-net, its norms folded: layers.1.weight"));
  tinytl_searcher_free(searcher);
  free(changed.values);
  free(shared);
  free(f);
}

/* Where the search's own limit has no room for adapting lite modules it adapts biases alone; with
 * another limit it is another search. */
static void test_limit_leaves_lite_modules(void **state) {
  (void)state;
  fixture *made = make(true);
  saved *s = calloc(1, sizeof *s);
  fixture *f = &s->f;
  *f = *made;
  memory_images_init(&f->train, TRAIN, 1);
  memory_images_init(&f->val, VAL, 2);
  f->options.n_image_sizes = 1;
  f->options.progress = NULL;
  free(search(f).bytes);
  assert_int_equal(f->report.adapted, TINYTL_METHOD_LITE_BIAS);
  f->options.train.context = s;
  f->options.train.save_seconds = 0;
  f->options.save = note_state;
  tinytl_backbone *backbone = NULL;
  tinytl_status status;
  size_t room = 0;
  int n_falls = 0;
  do {
    room += 100000;
    f->options.search_limit = tinytl_resident_nbytes() + room;
    status = run(f, &backbone);
    /* Under the address sanitizer what is held may fall in between. */
    if (status == TINYTL_OK && f->report.adapted != TINYTL_METHOD_BIAS && n_falls++ < 3) {
      tinytl_backbone_free(backbone);
      status = TINYTL_ERROR_MEMORY_LIMIT;
      room = 0;
    }
  } while (status == TINYTL_ERROR_MEMORY_LIMIT);
  assert_int_equal(status, TINYTL_OK);
  assert_int_equal(f->report.adapted, TINYTL_METHOD_BIAS);
  tinytl_backbone_free(backbone);
  const tinytl_source source = sink_source(&s->states[2]);
  f->options.resume = &source;
  f->options.search_limit = (size_t)1 << 30;
  assert_int_equal(run(f, &backbone), TINYTL_ERROR_USAGE);
  assert_non_null(strstr(f->error.message, "search_limit"));
  for (int i = 0; i < s->n_states; i++) free(s->states[i].bytes);
  free(s);
  free(made);
}

/* Sizes that a limit leaves out, and sub-nets that do not meet it, are no errors. */
static void test_error_is_untouched(void **state) {
  (void)state;
  fixture *f = make(false);
  tinytl_backbone *backbone = NULL;
  f->options.image_sizes[1] = 320;
  for (size_t limit = tinytl_resident_nbytes();; limit += 500000) {
    f->options.train.memory_limit = limit;
    f->error = (tinytl_error){0};
    const tinytl_status status = run(f, &backbone);
    assert_true(status == TINYTL_OK || status == TINYTL_ERROR_MEMORY_LIMIT);
    assert_int_equal(f->error.status, status);
    if (status == TINYTL_OK) break;
  }
  tinytl_backbone_free(backbone);
  free(f);
}

static size_t planned(fixture *f) {
  tinytl_searcher *s = NULL;
  assert_int_equal(tinytl_searcher_create(f->supernet, &f->train.images, &f->val.images,
                                          &f->options, TINYTL_METHOD_BIAS, NULL, &s, NULL),
                   TINYTL_OK);
  const size_t nbytes = s->total_bytes;
  tinytl_searcher_free(s);
  return nbytes;
}

/* They were not counted; the backbone has them, and for its hash they are printed. */
static void test_plans_long_names(void **state) {
  (void)state;
  enum { LONG = 2000000 };
  fixture *f = make(false);
  char *name = calloc(1, LONG);
  const char *names[MEMORY_CLASSES];
  memset(name, 'x', LONG / 2);
  for (int k = 0; k < MEMORY_CLASSES; k++) names[k] = name;
  f->train.images.class_names = names;
  const size_t nbytes = planned(f);
  memset(name, 'x', LONG - 1);
  const size_t more = planned(f) - nbytes;
  assert_true(more > 4 * MEMORY_CLASSES * LONG / 2 && more < 6 * MEMORY_CLASSES * LONG / 2);
  memset(name, '\1', LONG - 1); /* 6 characters in JSON, 7 in a string of JSON */
  const size_t most = planned(f) - nbytes;
  assert_true(most > 4 * more);
  free(name);
  free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chooses_the_best_it_measured),
      cmocka_unit_test(test_same_whatever_the_threads),
      cmocka_unit_test(test_adapts_to_few_pictures_of_which_one_is_unreadable),
      cmocka_unit_test(test_backbone),
      cmocka_unit_test(test_image_sizes),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_goes_on),
      cmocka_unit_test(test_no_training_picture),
      cmocka_unit_test(test_folded_weights_not_finite),
      cmocka_unit_test(test_limit_leaves_lite_modules),
      cmocka_unit_test(test_error_is_untouched),
      cmocka_unit_test(test_plans_long_names),
  };
  return cmocka_run_group_tests(tests, make_supernets, free_supernets);
}
