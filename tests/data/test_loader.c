/* The loader on a set of made-up pictures: order, skipped pictures, errors, early stop. */
#include "data/loader.h"
#include "data/order.h"
#include "support/cmocka.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_IMAGES = 40, SIZE = 5, PIXELS_NBYTES = SIZE * SIZE * 3 };

static int labels[N_IMAGES];
static const tinytl_view view = {.size = SIZE, .resize = SIZE, .epoch = 3};

/* Every data_every-th picture is unreadable (0: none), picture `internal` ends the run (-1: none).
 */
typedef struct fake {
  int data_every, internal;
} fake;

static uint8_t pixel_of(int index, int i) {
  return (uint8_t)(index * 5 + i);
}

static tinytl_status fake_load(void *context, int index, const tinytl_view *run_view, uint8_t *rgb,
                               tinytl_error *error) {
  const fake *self = context;
  if (run_view->epoch != view.epoch) return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "view lost");
  for (int i = index * 7 % 4; i > 0; i--) sched_yield(); /* let workers overtake each other */
  if (index == self->internal) return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "disk on fire");
  if (self->data_every > 0 && index % self->data_every == 0)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "bad %d", index);
  for (int i = 0; i < PIXELS_NBYTES; i++) rgb[i] = pixel_of(index, i);
  return TINYTL_OK;
}

static tinytl_images fake_images(fake *context) {
  for (int i = 0; i < N_IMAGES; i++) labels[i] = i % 3;
  return (tinytl_images){.n_images = N_IMAGES,
                         .n_classes = 3,
                         .labels = labels,
                         .context = context,
                         .load = fake_load};
}

typedef struct skips {
  int n;
  char last[100];
} skips;

static void on_skip(void *context, const char *path, const char *reason) {
  skips *self = context;
  self->n++;
  snprintf(self->last, sizeof self->last, "%s|%s", path, reason);
}

typedef struct fixture {
  void *memory;
  tinytl_loader *loader;
  skips skips;
} fixture;

static void fixture_make(fixture *f, int capacity, int n_workers) {
  *f = (fixture){0};
  const tinytl_loader_options options = {.capacity = capacity,
                                         .n_workers = n_workers,
                                         .max_size = SIZE,
                                         .skip = on_skip,
                                         .skip_context = &f->skips};
  f->memory = malloc(tinytl_loader_nbytes(&options));
  assert_non_null(f->memory);
  assert_int_equal(tinytl_loader_create(&options, f->memory, &f->loader, NULL), TINYTL_OK);
}

static void fixture_free(fixture *f) {
  tinytl_loader_free(f->loader);
  free(f->memory);
}

static void assert_sample(const tinytl_sample *sample, int index) {
  assert_int_equal(sample->index, index);
  assert_int_equal(sample->label, index % 3);
  assert_false(sample->skipped);
  for (int i = 0; i < PIXELS_NBYTES; i++) assert_int_equal(sample->rgb[i], pixel_of(index, i));
}

static void check_order(int capacity, int n_workers) {
  fake none = {0, -1};
  tinytl_images images = fake_images(&none);
  fixture f;
  fixture_make(&f, capacity, n_workers);
  for (uint64_t epoch = 0; epoch < 3; epoch++) {
    int order[N_IMAGES];
    tinytl_order(1, epoch, N_IMAGES, order);
    assert_int_equal(tinytl_loader_start(f.loader, &images, order, N_IMAGES, &view, NULL),
                     TINYTL_OK);
    for (int i = 0; i < N_IMAGES; i++) {
      tinytl_sample sample;
      assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
      assert_sample(&sample, order[i]);
      tinytl_loader_release(f.loader, &sample);
    }
    tinytl_sample sample;
    assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_ERROR_USAGE);
  }
  fixture_free(&f);
}

static void order_is_that_of_the_indices(void **state) {
  (void)state;
  const int capacities[] = {1, 2, 3, 8, 64}, workers[] = {1, 2, 5};
  for (int c = 0; c < 5; c++)
    for (int w = 0; w < 3; w++) check_order(capacities[c], workers[w]);
}

static void unreadable_pictures_are_told_and_skipped(void **state) {
  (void)state;
  fake every_fourth = {4, -1};
  tinytl_images images = fake_images(&every_fourth);
  fixture f;
  fixture_make(&f, 3, 2);
  int order[N_IMAGES], n_skipped = 0;
  tinytl_order(0, 0, N_IMAGES, order);
  assert_int_equal(tinytl_loader_start(f.loader, &images, order, N_IMAGES, &view, NULL), TINYTL_OK);
  for (int i = 0; i < N_IMAGES; i++) {
    tinytl_sample sample;
    assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
    if (order[i] % 4 == 0) {
      char expected[100];
      snprintf(expected, sizeof expected, "picture %d|bad %d", order[i], order[i]);
      assert_string_equal(f.skips.last, expected);
      assert_true(sample.skipped && !sample.rgb && sample.index == order[i]);
      n_skipped++;
    } else {
      assert_sample(&sample, order[i]);
    }
    assert_int_equal(f.skips.n, n_skipped); /* told here, not ahead of its turn */
    tinytl_loader_release(f.loader, &sample);
  }
  assert_int_equal(n_skipped, N_IMAGES / 4);
  fixture_free(&f);
}

static void other_errors_end_the_run(void **state) {
  (void)state;
  fake breaks = {0, 6};
  tinytl_images images = fake_images(&breaks);
  fixture f;
  fixture_make(&f, 4, 3);
  int order[N_IMAGES];
  for (int i = 0; i < N_IMAGES; i++) order[i] = i;
  assert_int_equal(tinytl_loader_start(f.loader, &images, order, N_IMAGES, &view, NULL), TINYTL_OK);
  tinytl_sample sample;
  tinytl_error error = {0};
  for (int i = 0; i < 6; i++) {
    assert_int_equal(tinytl_loader_next(f.loader, &sample, &error), TINYTL_OK);
    assert_sample(&sample, i);
    tinytl_loader_release(f.loader, &sample);
  }
  assert_int_equal(tinytl_loader_next(f.loader, &sample, &error), TINYTL_ERROR_INTERNAL);
  assert_string_equal(error.message, "picture 6: disk on fire");
  assert_int_equal(tinytl_loader_next(f.loader, &sample, &error), TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_loader_start(f.loader, &images, order, 1, &view, NULL), TINYTL_OK);
  assert_int_equal(tinytl_loader_next(f.loader, &sample, &error), TINYTL_OK);
  assert_sample(&sample, 0);
  fixture_free(&f);
}

static void held_samples_stay_whole(void **state) {
  (void)state;
  fake none = {0, -1};
  tinytl_images images = fake_images(&none);
  fixture f;
  fixture_make(&f, 3, 2);
  int order[8] = {9, 8, 7, 6, 5, 4, 3, 2};
  assert_int_equal(tinytl_loader_start(f.loader, &images, order, 8, &view, NULL), TINYTL_OK);
  tinytl_sample held[3], further;
  for (int i = 0; i < 3; i++)
    assert_int_equal(tinytl_loader_next(f.loader, &held[i], NULL), TINYTL_OK);
  assert_int_equal(tinytl_loader_next(f.loader, &further, NULL), TINYTL_ERROR_USAGE);
  for (int i = 0; i < 3; i++) assert_sample(&held[i], order[i]);
  for (int i = 2; i >= 0; i--) tinytl_loader_release(f.loader, &held[i]); /* any order */
  for (int i = 3; i < 8; i++) {
    assert_int_equal(tinytl_loader_next(f.loader, &further, NULL), TINYTL_OK);
    assert_sample(&further, order[i]);
    tinytl_loader_release(f.loader, &further);
  }
  fixture_free(&f);
}

/* However many pictures in a row cannot be read: one that is held keeps none back. */
static void held_sample_keeps_nothing_back(void **state) {
  (void)state;
  fake every_fourth = {4, -1};
  tinytl_images images = fake_images(&every_fourth);
  const int order[] = {1, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 2, 3};
  enum { N = sizeof order / sizeof *order, CAPACITY = 3 };
  for (int n_workers = 1; n_workers <= CAPACITY; n_workers++) {
    fixture f;
    fixture_make(&f, CAPACITY, n_workers);
    tinytl_sample held, sample;
    assert_int_equal(tinytl_loader_start(f.loader, &images, order, N, &view, NULL), TINYTL_OK);
    assert_int_equal(tinytl_loader_next(f.loader, &held, NULL), TINYTL_OK);
    for (int i = 1; i < N; i++) {
      assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
      assert_int_equal(sample.index, order[i]);
      assert_int_equal(sample.skipped, order[i] % 4 == 0);
      tinytl_loader_release(f.loader, &sample);
    }
    assert_sample(&held, order[0]);
    fixture_free(&f);
  }
}

/* Freed or started anew at every point of a run, while workers decode. */
static void stops_early(void **state) {
  (void)state;
  fake every_third = {3, -1};
  tinytl_images images = fake_images(&every_third);
  int order[N_IMAGES];
  tinytl_order(5, 0, N_IMAGES, order);
  for (int taken = 0; taken < 12; taken++) {
    fixture f;
    fixture_make(&f, 1 + taken % 5, 1 + taken % 3);
    for (int run = 0; run < 3; run++) {
      assert_int_equal(tinytl_loader_start(f.loader, &images, order, N_IMAGES, &view, NULL),
                       TINYTL_OK);
      for (int i = 0; i < taken; i++) {
        tinytl_sample sample;
        assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
        assert_int_equal(sample.index, order[i]);
        tinytl_loader_release(f.loader, &sample);
      }
    }
    fixture_free(&f);
  }
  fixture_free(&(fixture){0});
}

/* As training and validation pictures do: of different numbers, labels, names and answers. */
static void serves_several_sets_in_turn(void **state) {
  (void)state;
  fake whole = {0, -1}, every_third = {3, -1};
  static int other_labels[N_IMAGES];
  for (int i = 0; i < N_IMAGES; i++) other_labels[i] = 2 - i % 3;
  tinytl_images train = fake_images(&whole), val = fake_images(&every_third);
  val.n_images = 9;
  val.labels = other_labels;
  fixture f;
  fixture_make(&f, 3, 2);
  int order[N_IMAGES];
  for (int i = 0; i < N_IMAGES; i++) order[i] = i;
  for (int epoch = 0; epoch < 4; epoch++) {
    assert_int_equal(tinytl_loader_start(f.loader, &train, order, N_IMAGES, &view, NULL),
                     TINYTL_OK);
    for (int i = 0; i < (epoch % 2 ? 5 : N_IMAGES); i++) { /* every other time given up */
      tinytl_sample sample;
      assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
      assert_sample(&sample, i);
      tinytl_loader_release(f.loader, &sample);
    }
    assert_int_equal(tinytl_loader_start(f.loader, &val, order, 10, &view, NULL),
                     TINYTL_ERROR_USAGE); /* it has 9 */
    assert_int_equal(tinytl_loader_start(f.loader, &val, order, 9, &view, NULL), TINYTL_OK);
    for (int i = 0; i < 9; i++) {
      tinytl_sample sample;
      assert_int_equal(tinytl_loader_next(f.loader, &sample, NULL), TINYTL_OK);
      assert_int_equal(sample.label, 2 - i % 3);
      assert_int_equal(sample.skipped, i % 3 == 0);
      tinytl_loader_release(f.loader, &sample);
    }
  }
  fixture_free(&f);
}

static void bad_arguments_are_refused(void **state) {
  (void)state;
  fake none = {0, -1};
  tinytl_images images = fake_images(&none);
  const tinytl_loader_options options[] = {{.capacity = 0, .n_workers = 1, .max_size = SIZE},
                                           {.capacity = 1, .n_workers = 0, .max_size = SIZE},
                                           {.capacity = 1, .n_workers = 17, .max_size = SIZE},
                                           {.capacity = 1, .n_workers = 1, .max_size = 0}};
  for (int i = 0; i < 4; i++) {
    tinytl_loader *loader = NULL;
    assert_int_equal(tinytl_loader_create(&options[i], NULL, &loader, NULL), TINYTL_ERROR_USAGE);
  }
  fixture f;
  fixture_make(&f, 2, 1);
  int outside[2] = {0, N_IMAGES};
  tinytl_view large = {.size = SIZE + 1, .resize = SIZE + 1};
  assert_int_equal(tinytl_loader_start(f.loader, &images, outside, 2, &view, NULL),
                   TINYTL_ERROR_USAGE);
  assert_int_equal(tinytl_loader_start(f.loader, &images, outside, 1, &large, NULL),
                   TINYTL_ERROR_USAGE);
  fixture_free(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_is_that_of_the_indices),
      cmocka_unit_test(unreadable_pictures_are_told_and_skipped),
      cmocka_unit_test(other_errors_end_the_run),
      cmocka_unit_test(held_samples_stay_whole),
      cmocka_unit_test(held_sample_keeps_nothing_back),
      cmocka_unit_test(stops_early),
      cmocka_unit_test(serves_several_sets_in_turn),
      cmocka_unit_test(bad_arguments_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
