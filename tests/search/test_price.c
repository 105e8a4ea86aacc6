/* What sub-nets are priced with. */
#include "support/cmocka.h"

#include "core/rng.h"
#include "model/supernet.h"
#include "search/price.h"
#include "support/memory_images.h"
#include "train/plan.h"

typedef struct fixture {
  tinytl_supernet supernet; /* its values are not read */
  memory_images train, val;
  tinytl_search_options options;
  tinytl_pricer pricer;
} fixture;

static void make(fixture *f) {
  *f = (fixture){0};
  memory_images_init(&f->train, 45, 1);
  memory_images_init(&f->val, 24, 2);
  assert_int_equal(tinytl_space_named("supernet-0.1", MEMORY_CLASSES, &f->supernet.space, NULL),
                   TINYTL_OK);
  f->supernet.input = (tinytl_input){.size = 64, .resize = 73};
  const int sizes[] = {32, 48};
  tinytl_genes_set_sizes(&f->supernet.space, 64, sizes, 2);
  tinytl_search_options_init(&f->options);
  f->options.train.method = TINYTL_METHOD_BIAS;
  f->options.train.n_threads = 1;
  f->pricer = (tinytl_pricer){.supernet = &f->supernet,
                              .train = &f->train.images,
                              .val = &f->val.images,
                              .options = &f->options,
                              .base_nbytes = 1000000};
  assert_int_equal(tinytl_pricer_init(&f->pricer, NULL), TINYTL_OK);
}

static tinytl_plan price(fixture *f, bool *meets) {
  const tinytl_subnet largest = tinytl_subnet_largest(&f->supernet.space);
  tinytl_plan plan;
  assert_int_equal(tinytl_price(&f->pricer, &largest, &plan, meets, NULL), TINYTL_OK);
  return plan;
}

static size_t half_a_megabyte(void *context, const tinytl_view *view) {
  (void)context, (void)view;
  return 500000;
}

/* A plan of pictures that were made up chose what training did not have room for. */
static void test_counts_the_pictures_that_there_are(void **state) {
  (void)state;
  fixture f;
  bool meets;
  make(&f);
  const size_t without = price(&f, &meets).total_bytes;
  assert_true(meets);
  f.train.images.load_nbytes = half_a_megabyte;
  const tinytl_plan with = price(&f, &meets);
  assert_int_equal(with.total_bytes, without + 500000);
  /* Every picture of either side may be trained on in the end. */
  tinytl_images all = f.train.images;
  const tinytl_task task = {
      .backbone = f.pricer.shape, .train = &all, .val = &f.val.images, .base_nbytes = 1000000};
  tinytl_plan plan;
  all.n_images = 45 + 24;
  assert_int_equal(tinytl_method_plan(&task, &f.options.train, &plan, NULL), TINYTL_OK);
  assert_int_equal(plan.total_bytes, with.total_bytes);
  tinytl_pricer_clear(&f.pricer);
}

/* It went on for ever where not even the smallest one met the limits. */
static void test_shrinking_ends(void **state) {
  (void)state;
  fixture f;
  bool meets;
  make(&f);
  f.options.train.memory_limit = 1000000 + price(&f, &meets).total_bytes;
  tinytl_subnet smallest = tinytl_subnet_smallest(&f.supernet.space);
  tinytl_subnet subnet = tinytl_subnet_largest(&f.supernet.space);
  tinytl_rng rng = tinytl_rng_make(1, TINYTL_RNG_SEARCH, 0, 0);
  tinytl_plan plan;
  assert_int_equal(tinytl_price_shrink(&f.pricer, &smallest, &rng, &subnet, &plan, NULL),
                   TINYTL_OK);
  assert_true(plan.total_bytes < f.options.train.memory_limit - 1000000);
  f.options.train.memory_limit = 1100000;
  tinytl_error error;
  assert_int_equal(tinytl_price_shrink(&f.pricer, &smallest, &rng, &subnet, NULL, &error),
                   TINYTL_ERROR_MEMORY_LIMIT);
  assert_string_equal(error.message, "no sub-net meets the limits at an image size of 32");
  tinytl_pricer_clear(&f.pricer);
}

/* Work is counted without a plan, and is the plan's. With both limits too: most sub-nets that are
 * drawn fail by their work. */
static void check_work(fixture *f, const tinytl_subnet *subnet) {
  const volatile int stop = 1;
  tinytl_plan plan;
  bool meets;
  assert_int_equal(tinytl_price(&f->pricer, subnet, &plan, &meets, NULL), TINYTL_OK);
  f->options.train.memory_limit = 1000000000;
  f->options.max_macs = plan.macs;
  assert_int_equal(tinytl_price_meets(&f->pricer, subnet, &meets, NULL), TINYTL_OK);
  assert_true(meets);
  f->options.max_macs--;
  f->options.train.stop = &stop; /* a plan is not begun */
  assert_int_equal(tinytl_price_meets(&f->pricer, subnet, &meets, NULL), TINYTL_OK);
  assert_false(meets);
  f->options.train.stop = NULL;
  f->options.max_macs = 0;
}

static void test_plans_none_whose_work_is_too_much(void **state) {
  (void)state;
  fixture f;
  make(&f);
  for (int k = 0; k < 4; k++) {
    f.supernet.space.has_lite = k & 1;
    f.options.train.method = k & 2 ? TINYTL_METHOD_LITE_BIAS : TINYTL_METHOD_BIAS;
    for (uint64_t i = 0; i < 5; i++) {
      const tinytl_subnet drawn = tinytl_genes_draw(&f.supernet.space, 1, i, 0);
      check_work(&f, &drawn);
    }
  }
  tinytl_pricer_clear(&f.pricer);
}

/* As much of a picture is seen at every size, but no short side is longer than a picture may be: at
 * 1024 it was 8192, which decoding refuses. */
static void test_input(void **state) {
  (void)state;
  fixture f;
  const int sizes[] = {32, 48, 1024};
  make(&f);
  f.supernet.input = (tinytl_input){.size = 32, .resize = 256};
  tinytl_genes_set_sizes(&f.supernet.space, 32, sizes, 3);
  for (uint8_t i = 0; i < 3; i++) {
    const tinytl_subnet any = {.size = i};
    const tinytl_input input = tinytl_subnet_input(&f.supernet, &any);
    assert_int_equal(input.size, sizes[i]);
    assert_int_equal(input.resize, i < 2 ? 8 * sizes[i] : TINYTL_MAX_IMAGE_SIZE);
  }
  tinytl_pricer_clear(&f.pricer);
}

static void test_stops(void **state) {
  (void)state;
  fixture f;
  bool meets;
  const volatile int stop = 1;
  make(&f);
  const tinytl_subnet largest = tinytl_subnet_largest(&f.supernet.space);
  tinytl_plan plan;
  f.options.train.stop = &stop;
  assert_int_equal(tinytl_price(&f.pricer, &largest, &plan, &meets, NULL), TINYTL_INTERRUPTED);
  tinytl_pricer_clear(&f.pricer);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_the_pictures_that_there_are),
                                     cmocka_unit_test(test_shrinking_ends),
                                     cmocka_unit_test(test_plans_none_whose_work_is_too_much),
                                     cmocka_unit_test(test_input), cmocka_unit_test(test_stops)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
