#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/memory_images.h"
#include "support/rank_threads.h"
#include "support/sink.h"

enum { TRAIN = 50, VAL = 13, BATCH = 24, EPOCHS = 2, MAX_SAVES = 32, MADE_UNREADABLE = 17 };

typedef struct member {
  memory_images train, val;
  const char *architecture;
  tinytl_pretrain_options options;
  tinytl_pretrain_report report;
  tinytl_status status;
  tinytl_error error;
  sink file, saves[MAX_SAVES];
  int n_saves, n_skipped, stop_after; /* saves; 0: never */
  volatile int stop;
  float loss;
} member;

typedef struct team {
  int n_ranks;
  member *members[RANKS_MAX];
  rank_thread ranks[RANKS_MAX];
} team;

static void save(void *context, const tinytl_pretrain_state *state) {
  member *m = context;
  assert_true(m->n_saves < MAX_SAVES);
  tinytl_pretrain_state_write(state, sink_write, &m->saves[m->n_saves++], NULL);
}

/* Counts updates on every rank, and asks one of them to stop. */
static void note(void *context, const tinytl_epoch *epoch) {
  member *m = context;
  if (epoch->finished) m->loss = epoch->loss;
  if (m->stop_after > 0 && epoch->finished && epoch->epoch == m->stop_after) m->stop = 1;
}

static void count_skipped(void *context, const char *name, const char *reason) {
  (void)name;
  (void)reason;
  member *m = context;
  m->n_skipped++;
}

static void make(team *t, int n_ranks) {
  *t = (team){.n_ranks = n_ranks};
  for (int r = 0; r < n_ranks; r++) {
    member *m = t->members[r] = calloc(1, sizeof *m);
    memory_images_init(&m->train, TRAIN, 1);
    memory_images_init(&m->val, VAL, 2);
    m->architecture = "mobilenet-v2-0.1";
    tinytl_pretrain_options_init(&m->options);
    m->options.epochs = EPOCHS;
    m->options.batch = BATCH;
    m->options.lr = 0.01f;
    m->options.image_size = 64;
    m->options.n_threads = 1;
    m->options.weights = TINYTL_WEIGHTS_F32;
    m->options.save_seconds = 0;
    m->options.save = r == 0 ? save : NULL;
    m->options.progress = note;
    m->options.skip = count_skipped;
    m->options.stop = &m->stop;
    m->options.context = m;
    if (n_ranks > 1) m->options.group = &t->ranks[r].group;
  }
}

static void discard(team *t) {
  for (int r = 0; r < t->n_ranks; r++) {
    member *m = t->members[r];
    for (int i = 0; i < m->n_saves; i++) free(m->saves[i].bytes);
    free(m->file.bytes);
    free(m);
  }
}

static void *work(void *context) {
  member *m = context;
  tinytl_backbone *backbone = NULL;
  tinytl_supernet *supernet = NULL;
  if (strncmp(m->architecture, "supernet", 8) == 0)
    m->status = tinytl_pretrain_supernet(m->architecture, &m->train.images, &m->val.images,
                                         &m->options, &supernet, &m->report, &m->error);
  else
    m->status = tinytl_pretrain(m->architecture, &m->train.images, &m->val.images, &m->options,
                                &backbone, &m->report, &m->error);
  if (backbone) tinytl_backbone_write(backbone, sink_write, &m->file, NULL);
  if (supernet) tinytl_supernet_write(supernet, TINYTL_WEIGHTS_F32, sink_write, &m->file, NULL);
  tinytl_backbone_free(backbone);
  tinytl_supernet_free(supernet);
  return NULL;
}

static void train(team *t) {
  rank_threads_run(t->n_ranks, t->ranks, work, (void **)t->members);
}

static void train_whole(team *t) {
  train(t);
  for (int r = 0; r < t->n_ranks; r++) {
    if (t->members[r]->status != TINYTL_OK) fail_msg("%s", t->members[r]->error.message);
    assert_true(r == 0 ? t->members[r]->file.nbytes > 0 : t->members[r]->file.nbytes == 0);
  }
}

/* Of two safetensors files of float32 with the same header: the largest difference of values. */
static float difference(const sink *left, const sink *right) {
  uint64_t header;
  assert_int_equal(left->nbytes, right->nbytes);
  memcpy(&header, left->bytes, sizeof header);
  const size_t first = 8 + (size_t)header;
  assert_memory_equal(left->bytes, right->bytes, first);
  float largest = 0;
  for (size_t i = first; i + sizeof(float) <= left->nbytes; i += sizeof(float)) {
    float x, y;
    memcpy(&x, left->bytes + i, sizeof x);
    memcpy(&y, right->bytes + i, sizeof y);
    largest = fmaxf(largest, fabsf(x - y));
  }
  return largest;
}

static void assert_same(const sink *left, const sink *right) {
  assert_int_equal(left->nbytes, right->nbytes);
  assert_memory_equal(left->bytes, right->bytes, left->nbytes);
}

/* One rank's result up to rounding, whatever the number of ranks, odd ones among them, and though
 * pictures cannot be read. Judged by two updates: the second one's loss tells of every gradient.
 * Norms over few values make rounding grow tenfold and more an update, as they do between two
 * kernel sets. */
static void test_equals_one_rank(void **state) {
  (void)state;
  team one;
  make(&one, 1);
  one.members[0]->options.epochs = 1;
  one.members[0]->train.answer[MADE_UNREADABLE] = TINYTL_ERROR_DATA;
  one.members[0]->val.answer[2] = TINYTL_ERROR_DATA;
  train_whole(&one);
  for (int n_ranks = 2; n_ranks <= RANKS_MAX; n_ranks++) {
    team many;
    int n_skipped = 0;
    make(&many, n_ranks);
    for (int r = 0; r < n_ranks; r++) {
      many.members[r]->options.epochs = 1;
      many.members[r]->train.answer[MADE_UNREADABLE] = TINYTL_ERROR_DATA;
      many.members[r]->val.answer[2] = TINYTL_ERROR_DATA;
    }
    train_whole(&many);
    const member *first = many.members[0];
    assert_true(difference(&one.members[0]->file, &first->file) < 0.05f);
    assert_int_equal(first->n_saves, one.members[0]->n_saves);
    assert_float_equal(first->loss, one.members[0]->loss, 1e-5);
    for (int r = 0; r < n_ranks; r++) {
      n_skipped += many.members[r]->n_skipped;
      assert_int_equal(many.members[r]->report.train_images, TRAIN - 1);
      assert_int_equal(many.members[r]->report.val_images, VAL - 1);
      assert_true(many.members[r]->loss == first->loss);
    }
    assert_int_equal(n_skipped, 2);
    assert_true(first->report.planned_bytes < one.members[0]->report.planned_bytes);
    discard(&many);
  }
  discard(&one);
}

static void test_supernet(void **state) {
  (void)state;
  team teams[3];
  for (int i = 0; i < 3; i++) {
    make(&teams[i], i == 0 ? 1 : 3);
    for (int r = 0; r < teams[i].n_ranks; r++) {
      member *m = teams[i].members[r];
      m->architecture = "supernet-0.1";
      m->options.epochs = 3;
      m->options.lr = 1e-3f;
      m->options.save = NULL;
    }
    train_whole(&teams[i]);
  }
  assert_float_equal(teams[0].members[0]->loss, teams[1].members[0]->loss, 0.02);
  assert_same(&teams[1].members[0]->file, &teams[2].members[0]->file);
  for (int i = 0; i < 3; i++) discard(&teams[i]);
}

static bool read_bytes(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const sink *file = context;
  memcpy(bytes, file->bytes + offset, nbytes);
  return true;
}

/* A rank that is asked to stop stops all at the same update; from there any number of ranks goes
 * on, two to the bytes of two that nobody stopped. */
static void test_stops_and_goes_on(void **state) {
  (void)state;
  team whole, part;
  make(&whole, 2);
  train_whole(&whole);
  make(&part, 2);
  part.members[1]->stop_after = 1;
  train(&part);
  for (int r = 0; r < 2; r++) assert_int_equal(part.members[r]->status, TINYTL_INTERRUPTED);
  sink *saved = &part.members[0]->saves[part.members[0]->n_saves - 1];
  const tinytl_source source = {
      .name = "run.ckpt", .nbytes = saved->nbytes, .context = saved, .read = read_bytes};
  for (int n_ranks = 1; n_ranks <= 3; n_ranks++) {
    team rest;
    make(&rest, n_ranks);
    rest.members[0]->options.resume = &source;
    train_whole(&rest);
    assert_true(rest.members[0]->n_saves < whole.members[0]->n_saves);
    if (n_ranks == 2)
      assert_same(&rest.members[0]->file, &whole.members[0]->file);
    else
      assert_float_equal(rest.members[0]->loss, whole.members[0]->loss, 0.05);
    discard(&rest);
  }
  discard(&part);
  discard(&whole);
}

static void expect_failure(team *t, tinytl_status status, const char *part) {
  train(t);
  for (int r = 0; r < t->n_ranks; r++) {
    const member *m = t->members[r];
    if (m->status != status || !strstr(m->error.message, part))
      fail_msg("rank %d: status %d, %s", r, m->status, m->error.message);
    assert_int_equal(m->file.nbytes, 0);
  }
  discard(t);
}

/* What fails on one rank alone ends all of them with its message. */
static void test_one_fails(void **state) {
  (void)state;
  team t;
  make(&t, 3);
  for (int i = 0; i < TRAIN; i++) t.members[2]->train.answer[i] = TINYTL_ERROR_INTERNAL;
  expect_failure(&t, TINYTL_ERROR_INTERNAL, "rank 2: picture");
  make(&t, 2);
  t.members[1]->options.memory_limit = 4 << 20;
  expect_failure(&t, TINYTL_ERROR_MEMORY_LIMIT, "rank 1: batches of");
  make(&t, 2);
  t.members[1]->options.seed = 1;
  expect_failure(&t, TINYTL_ERROR_USAGE, "rank 1: expected the options of rank 0");
  make(&t, 2);
  memory_images_init(&t.members[1]->val, VAL - 1, 2);
  expect_failure(&t, TINYTL_ERROR_DATA, "rank 1: expected the pictures of rank 0");
  make(&t, 3);
  for (int r = 0; r < 3; r++) t.members[r]->options.batch = 2;
  expect_failure(&t, TINYTL_ERROR_USAGE, "2 pictures can be split over 2 ranks at most, not 3");
}

/* A rank that is gone, at whichever of its calls: the others end. What is saved then is good. */
static void test_one_is_gone(void **state) {
  (void)state;
  for (unsigned leave_at = 1; leave_at < 500; leave_at = leave_at * 3 + 1) {
    team t;
    make(&t, 3);
    t.ranks[1].leave_at = leave_at;
    expect_failure(&t, TINYTL_ERROR_INTERNAL, "another rank of the run is gone");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equals_one_rank),   cmocka_unit_test(test_supernet),
      cmocka_unit_test(test_stops_and_goes_on), cmocka_unit_test(test_one_fails),
      cmocka_unit_test(test_one_is_gone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
