#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/supernet.h"

static tinytl_space space_of(const char *name) {
  tinytl_space space;
  assert_int_equal(tinytl_space_named(name, 10, &space, NULL), TINYTL_OK);
  return space;
}

static void test_names(void **state) {
  (void)state;
  static const char *const wrong[] = {"supernet-",      "supernet-0.05",    "supernet-3",
                                      "supernet-0.35x", "mobilenet-v2-1.0", "supernet"};
  tinytl_space space;
  tinytl_error error;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(tinytl_space_named(wrong[i], 10, &space, &error), TINYTL_ERROR_USAGE);
    assert_non_null(strstr(error.message, wrong[i]));
  }
  assert_int_equal(tinytl_space_named("supernet-1", 0, &space, NULL), TINYTL_ERROR_USAGE);
  space = space_of("supernet-1.0");
  assert_int_equal(space.stem, 32);
  assert_int_equal(space.total_stride, 32);
  assert_false(space.has_lite);
  assert_int_equal(space.out_c[6], 320);
}

/* 9 choices a block, depth 2 to 4 in five stages, one block in the last. With lite modules 4 times
 * as many a block; twice where their kernel is 3, which is behind the last stride. */
static void test_size_of_space(void **state) {
  (void)state;
  tinytl_space space = space_of("supernet-1.0");
  const double of_stage = 81 + 729 + 6561;
  assert_true(tinytl_space_n_subnets(&space) == pow(of_stage, 5) * 9);
  space.has_lite = true;
  const double whole = pow(36, 2) + pow(36, 3) + pow(36, 4);
  const double small = 36 * (18 + pow(18, 2) + pow(18, 3));
  assert_true(tinytl_space_n_subnets(&space) == pow(whole, 4) * small * 18);
}

static void test_largest_and_smallest(void **state) {
  (void)state;
  const tinytl_space space = space_of("supernet-1.0");
  const tinytl_subnet largest = tinytl_subnet_largest(&space),
                      smallest = tinytl_subnet_smallest(&space);
  tinytl_arch *arch = malloc(sizeof *arch);
  int layers[TINYTL_MAX_LAYERS];
  tinytl_subnet_arch(&space, &largest, arch, layers);
  assert_int_equal(arch->n_blocks, 22);
  assert_int_equal(arch->n_layers, 1 + 2 + 3 * 21 + 1);
  for (int i = 0; i < arch->n_layers; i++) assert_int_equal(layers[i], i);
  assert_int_equal(arch->layers[4].kernel, 7);
  assert_int_equal(arch->layers[3].out_c, 6 * 16);
  tinytl_subnet_arch(&space, &smallest, arch, layers);
  assert_int_equal(arch->n_blocks, 12);
  assert_int_equal(arch->layers[4].kernel, 3);
  assert_int_equal(arch->layers[3].out_c, 3 * 16);
  assert_int_equal(layers[9], 3 + 3 * 4); /* the second stage's first block */
  assert_int_equal(layers[arch->n_layers - 1], 1 + 2 + 3 * 21);
  assert_int_equal(arch->n_features, 1280);
  free(arch);
}

/* Sorting channels had room for any architecture's on the stack, 256 KiB. */
static void test_widest_block(void **state) {
  (void)state;
  const tinytl_space space = space_of("supernet-2.0");
  const tinytl_subnet largest = tinytl_subnet_largest(&space);
  tinytl_arch *arch = malloc(sizeof *arch);
  int widest = 0;
  tinytl_subnet_arch(&space, &largest, arch, NULL);
  for (int b = 0; b < arch->n_blocks; b++) {
    const int wide = arch->layers[arch->blocks[b].last].in_c;
    if (wide > widest) widest = wide;
  }
  assert_int_equal(widest, TINYTL_SUPERNET_MAX_WIDE);
  free(arch);
}

/* Every sub-net is a network whose layers are parts of the largest one's. */
static void test_drawn(void **state) {
  (void)state;
  const tinytl_space space = space_of("supernet-0.35");
  const tinytl_subnet largest = tinytl_subnet_largest(&space);
  const tinytl_opening all = {3, 3, 3, 2}, kernel_alone = {3, 1, 1, 1};
  tinytl_arch *large = malloc(sizeof *large), *arch = malloc(sizeof *arch);
  int layers[TINYTL_MAX_LAYERS];
  tinytl_subnet_arch(&space, &largest, large, NULL);
  for (int n = 0; n < 200; n++) {
    const tinytl_subnet subnet = tinytl_subnet_draw(&space, &all, 1, n, 0);
    const tinytl_subnet again = tinytl_subnet_draw(&space, &all, 1, n, 0);
    assert_memory_equal(&subnet, &again, sizeof subnet);
    tinytl_subnet_arch(&space, &subnet, arch, layers);
    assert_int_equal(tinytl_arch_finish(arch, "drawn", NULL), TINYTL_OK);
    for (int i = 0; i < arch->n_layers; i++) {
      const tinytl_layer *part = &arch->layers[i], *whole = &large->layers[layers[i]];
      assert_true(part->kernel <= whole->kernel && part->out_c <= whole->out_c);
      assert_int_equal(part->stride, whole->stride);
      assert_int_equal(part->act, whole->act);
      assert_int_equal(part->groups > 1, whole->groups > 1);
      assert_true(i == 0 || layers[i] > layers[i - 1]);
    }
    const tinytl_subnet deep = tinytl_subnet_draw(&space, &kernel_alone, 1, n, 0);
    for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
      assert_int_equal(deep.depth[s], tinytl_space_max_depth(s));
      assert_int_equal(deep.expand[s][0], 6);
    }
  }
  free(large);
  free(arch);
}

/* Beside every block but the first; a part's is a part of the whole one. */
static void test_lite_modules(void **state) {
  (void)state;
  tinytl_space space = space_of("supernet-0.35");
  space.has_lite = true;
  const tinytl_opening all = {3, 3, 3, 2}, closed = {3, 3, 3, 1};
  tinytl_arch *arch = malloc(sizeof *arch);
  int n_small = 0, n_fine = 0;
  for (int n = 0; n < 100; n++) {
    const tinytl_subnet subnet = tinytl_subnet_draw(&space, &all, 1, n, 0);
    tinytl_subnet_arch(&space, &subnet, arch, NULL);
    assert_int_equal(arch->n_lite, arch->n_blocks - 1);
    assert_int_equal(tinytl_arch_check_lite(arch, "drawn", NULL), TINYTL_OK);
    for (int m = 0; m < arch->n_lite; m++) {
      n_small += arch->lite[m].kernel == 3;
      n_fine += arch->lite[m].groups == 4;
    }
    const tinytl_subnet whole = tinytl_subnet_draw(&space, &closed, 1, n, 0);
    for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) assert_int_equal(whole.lite_groups[s][0], 2);
  }
  assert_true(n_small > 0 && n_fine > 0);
  /* As the rule of plain architectures has them, which is for 256 pixels. */
  tinytl_lite lite[TINYTL_SUPERNET_BLOCKS];
  int n_lite;
  const tinytl_subnet largest = tinytl_subnet_largest(&space);
  tinytl_subnet_arch(&space, &largest, arch, NULL);
  tinytl_arch_add_lite(arch, TINYTL_LITE_PAPER, lite, &n_lite);
  assert_int_equal(n_lite, arch->n_lite);
  assert_memory_equal(lite, arch->lite, n_lite * sizeof *lite);
  const tinytl_subnet smallest = tinytl_subnet_smallest(&space);
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    assert_int_equal(smallest.lite_kernel[s][0], 3);
    assert_int_equal(smallest.lite_groups[s][0], 4);
  }
  free(arch);
}

static void test_total_stride(void **state) {
  (void)state;
  tinytl_space space = space_of("supernet-0.35");
  tinytl_arch *arch = malloc(sizeof *arch);
  for (space.total_stride = 16; space.total_stride <= 32; space.total_stride *= 2) {
    const tinytl_subnet subnet = tinytl_subnet_smallest(&space);
    int stride = 1;
    tinytl_subnet_arch(&space, &subnet, arch, NULL);
    for (int i = 0; i < arch->n_layers; i++) stride *= arch->layers[i].stride;
    assert_int_equal(stride, space.total_stride);
  }
  free(arch);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_size_of_space),
      cmocka_unit_test(test_largest_and_smallest),
      cmocka_unit_test(test_widest_block),
      cmocka_unit_test(test_drawn),
      cmocka_unit_test(test_lite_modules),
      cmocka_unit_test(test_total_stride),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
