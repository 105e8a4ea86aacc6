/* Which genes are those of a sub-net of the space. */
#include "search/genes.h"

#include <string.h>

#include "support/cmocka.h"

static tinytl_space space_of(bool has_lite, int total_stride) {
  tinytl_space space;
  assert_int_equal(tinytl_space_named("supernet-0.25", 4, &space, NULL), TINYTL_OK);
  space.has_lite = has_lite;
  space.total_stride = total_stride;
  return space;
}

static void test_sub_nets_are_valid(void **state) {
  (void)state;
  static const tinytl_opening all = {3, 3, 3, 2};
  for (int lite = 0; lite < 2; lite++)
    for (int stride = 16; stride <= 32; stride *= 2) {
      const tinytl_space space = space_of(lite, stride);
      const tinytl_subnet largest = tinytl_subnet_largest(&space);
      const tinytl_subnet smallest = tinytl_subnet_smallest(&space);
      assert_true(tinytl_genes_are_valid(&space, &largest));
      assert_true(tinytl_genes_are_valid(&space, &smallest));
      for (uint64_t i = 0; i < 20; i++) {
        tinytl_subnet drawn = tinytl_subnet_draw(&space, &all, 1, i, 0);
        tinytl_subnet_normalise(&drawn);
        assert_true(tinytl_genes_are_valid(&space, &drawn));
      }
    }
}

/* Draws have all sizes; a child has one of its parents'. */
static void test_image_sizes(void **state) {
  (void)state;
  static const int sizes[] = {32, 48, 64};
  tinytl_space space = space_of(true, 16);
  tinytl_rng rng = tinytl_rng_make(3, TINYTL_RNG_SEARCH, 0, 0);
  float inputs[TINYTL_GENES_INPUTS];
  int n_drawn[3] = {0}, n_taken = 0;
  tinytl_genes_set_sizes(&space, 64, sizes, 3);
  tinytl_subnet mother = tinytl_subnet_largest(&space), father = tinytl_subnet_smallest(&space);
  assert_int_equal(mother.size, 2);
  assert_int_equal(father.size, 0);
  for (uint64_t i = 0; i < 60; i++) {
    const tinytl_subnet drawn = tinytl_genes_draw(&space, 1, i, 0);
    const tinytl_subnet child = tinytl_genes_cross(&mother, &father, &rng);
    assert_true(tinytl_genes_are_valid(&space, &drawn));
    n_drawn[drawn.size]++;
    assert_true(child.size == mother.size || child.size == father.size);
    n_taken += child.size == father.size;
    tinytl_genes_encode(&drawn, inputs);
    for (int s = 0; s < TINYTL_MAX_IMAGE_SIZES; s++)
      assert_true(inputs[s] == (float)(s == drawn.size));
  }
  for (int s = 0; s < 3; s++) assert_true(n_drawn[s] > 5);
  assert_true(n_taken > 5 && n_taken < 55);
  mother.size = 3;
  assert_false(tinytl_genes_are_valid(&space, &mother));
}

/* Without a list: 3/4 to twice the own size, above it none larger than 224; none below 32. */
static void test_default_sizes(void **state) {
  (void)state;
  static const struct {
    int own, n, sizes[6];
  } cases[] = {{32, 5, {32, 40, 48, 56, 64}},
               {64, 6, {48, 64, 80, 96, 112, 128}},
               {128, 5, {96, 128, 160, 192, 224}},
               {224, 2, {168, 224}},
               {256, 2, {192, 256}}};
  tinytl_space space = space_of(false, 32);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinytl_genes_set_sizes(&space, cases[i].own, NULL, 0);
    assert_int_equal(space.n_image_sizes, cases[i].n);
    assert_memory_equal(space.image_sizes, cases[i].sizes, (size_t)cases[i].n * sizeof(int));
  }
}

static void check_invalid(const tinytl_space *space, size_t at, uint8_t value) {
  tinytl_subnet subnet = tinytl_subnet_largest(space);
  ((uint8_t *)&subnet)[at] = value;
  assert_false(tinytl_genes_are_valid(space, &subnet));
}

static void test_others_are_not(void **state) {
  (void)state;
  const tinytl_space with = space_of(true, 32), without = space_of(false, 32);
  check_invalid(&with, offsetof(tinytl_subnet, depth[2]), 5);
  check_invalid(&with, offsetof(tinytl_subnet, depth[2]), 1);
  check_invalid(&with, offsetof(tinytl_subnet, kernel[1][0]), 4);
  check_invalid(&with, offsetof(tinytl_subnet, expand[3][1]), 5);
  check_invalid(&with, offsetof(tinytl_subnet, lite_kernel[1][0]), 7);
  check_invalid(&with, offsetof(tinytl_subnet, lite_groups[1][0]), 1);
  check_invalid(&with, offsetof(tinytl_subnet, lite_groups[1][0]), 0);
  check_invalid(&without, offsetof(tinytl_subnet, lite_kernel[1][0]), 3);
}

/* A kernel of 5 passed where the space has 3 alone, and weights before the tensor were read. */
static void test_small_maps_have_small_lite_kernels(void **state) {
  (void)state;
  const tinytl_space space = space_of(true, 32);
  const tinytl_subnet largest = tinytl_subnet_largest(&space);
  const int last = TINYTL_SUPERNET_STAGES - 1;
  assert_int_equal(largest.lite_kernel[last][0], 3);
  check_invalid(&space, offsetof(tinytl_subnet, lite_kernel) + (size_t)last * TINYTL_SUPERNET_DEPTH,
                5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sub_nets_are_valid),
      cmocka_unit_test(test_image_sizes),
      cmocka_unit_test(test_default_sizes),
      cmocka_unit_test(test_others_are_not),
      cmocka_unit_test(test_small_maps_have_small_lite_kernels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
