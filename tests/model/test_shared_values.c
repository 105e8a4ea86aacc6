#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/shared_values.h"
#include "support/batch_reference.h"
#include "support/op_check.h"

enum { SIZE = 32, IMAGES = 2, CLASSES = 4 };

typedef struct fixture {
  tinytl_space space;
  tinytl_shared_values shared;
  tinytl_part_values part;
  float *all, *values;
} fixture;

static fixture *make(void) {
  fixture *f = calloc(1, sizeof *f);
  assert_int_equal(tinytl_space_named("supernet-0.1", CLASSES, &f->space, NULL), TINYTL_OK);
  f->space.has_lite = true;
  tinytl_shared_values_layout(&f->shared, &f->space);
  f->all = op_random(f->shared.n, 1);
  f->values = calloc(f->shared.params.n, sizeof(float));
  return f;
}

static void discard(fixture *f) {
  free(f->all);
  free(f->values);
  free(f);
}

static tinytl_subnet draw(const fixture *f, int n) {
  return tinytl_subnet_draw(&f->space, &(tinytl_opening){3, 3, 3, 2}, 7, n, 0);
}

/* Weight [o][ky][kx][i] of a sub-net's layer, looked up in the super-net where it lies. */
static float in_place(const fixture *f, int layer, int o, int ky, int kx, int i) {
  const tinytl_layer *small = &f->part.arch.layers[layer];
  const int index = f->part.layers[layer];
  const tinytl_layer *large = &f->shared.arch.layers[index];
  const float *w = f->all + f->shared.params.weight[index];
  if (large->groups == 1)
    return w[((o * large->kernel + ky) * large->kernel + kx) * large->in_c + i];
  const float *m5 = f->all + f->shared.matrices[index], *m3 = m5 + 625;
  if (small->kernel == large->kernel) return w[(ky * large->kernel + kx) * large->out_c + o];
  float medium[25], least = 0;
  for (int t = 0; t < 25; t++) {
    medium[t] = 0;
    for (int s = 0; s < 25; s++)
      medium[t] += m5[t * 25 + s] * w[((s / 5 + 1) * 7 + s % 5 + 1) * large->out_c + o];
  }
  if (small->kernel == 5) return medium[ky * 5 + kx];
  for (int s = 0; s < 9; s++)
    least += m3[(ky * 3 + kx) * 9 + s] * medium[(s / 3 + 1) * 5 + s % 3 + 1];
  return least;
}

/* The super-net's block that module m of the part is beside. */
static int block_in_place(const fixture *f, int m) {
  const int layer = f->part.layers[f->part.arch.blocks[f->part.arch.lite[m].block].first];
  for (int b = 0; b < f->shared.arch.n_blocks; b++)
    if (f->shared.arch.blocks[b].first == layer) return b;
  return -1;
}

/* Weight between input channel i (of all) and output channel o of a lite module's convolution;
 * elsewhere than in o's group there is none. */
static void look_up_lite(const fixture *f, int m, float *values) {
  const tinytl_lite *small = &f->part.arch.lite[m];
  const int whole = block_in_place(f, m) - 1, k = small->kernel;
  const tinytl_lite *large = &f->shared.arch.lite[whole];
  const size_t *to = f->part.params.lite[m], *from = f->shared.params.lite[whole];
  const int in = small->in_c / small->groups, large_in = large->in_c / large->groups;
  const int border = (large->kernel - k) / 2;
  for (int o = 0; o < small->mid_c; o++)
    for (int i = 0; i < small->in_c; i++)
      for (int t = 0; t < k * k; t++) {
        if (i / in != o * small->groups / small->mid_c) continue;
        assert_int_equal(i / large_in, o * large->groups / large->mid_c);
        values[to[TINYTL_LITE_CONV] + (o * k * k + t) * in + i % in] =
            f->all[from[TINYTL_LITE_CONV] +
                   ((o * large->kernel + t / k + border) * large->kernel + t % k + border) *
                       large_in +
                   i % large_in];
      }
  for (int i = 0; i < small->mid_c; i++) {
    values[to[TINYTL_LITE_SCALE1] + i] = f->all[from[TINYTL_LITE_SCALE1] + i];
    values[to[TINYTL_LITE_SHIFT1] + i] = f->all[from[TINYTL_LITE_SHIFT1] + i];
  }
  for (int i = 0; i < small->out_c; i++) {
    values[to[TINYTL_LITE_SCALE2] + i] = f->all[from[TINYTL_LITE_SCALE2] + i];
    values[to[TINYTL_LITE_SHIFT2] + i] = f->all[from[TINYTL_LITE_SHIFT2] + i];
  }
  for (int i = 0; i < small->out_c * small->mid_c; i++)
    values[to[TINYTL_LITE_POINTWISE] + i] = f->all[from[TINYTL_LITE_POINTWISE] + i];
}

/* Fills vector `values` of a sub-net by looking every single one up. */
static void look_up(const fixture *f, float *values) {
  const tinytl_batch_params *to = &f->part.params, *from = &f->shared.params;
  for (int n = 0; n < f->part.arch.n_layers; n++) {
    const tinytl_layer *layer = &f->part.arch.layers[n];
    const int k = layer->kernel, index = f->part.layers[n];
    const bool depthwise = layer->groups > 1;
    for (int o = 0; o < layer->out_c; o++) {
      for (int ky = 0; ky < k; ky++)
        for (int kx = 0; kx < k; kx++)
          for (int i = 0; i < (depthwise ? 1 : layer->in_c); i++)
            values[to->weight[n] + (depthwise ? (ky * k + kx) * layer->out_c + o
                                              : ((o * k + ky) * k + kx) * layer->in_c + i)] =
                in_place(f, n, o, ky, kx, i);
      values[to->scale[n] + o] = f->all[from->scale[index] + o];
      values[to->shift[n] + o] = f->all[from->shift[index] + o];
    }
  }
  for (int m = 0; m < f->part.arch.n_lite; m++) look_up_lite(f, m, values);
  for (int i = 0; i < CLASSES * f->part.arch.n_features; i++)
    values[to->classifier + i] = f->all[from->classifier + i];
  for (int i = 0; i < CLASSES; i++) values[to->bias + i] = f->all[from->bias + i];
}

static void run_reference(const fixture *f, const float *values, double *logits) {
  tinytl_batch_net *net = malloc(sizeof *net);
  uint8_t pixels[IMAGES][SIZE * SIZE * 3];
  const uint8_t *rgb[IMAGES] = {pixels[0], pixels[1]};
  const float scale[3] = {0.01f, 0.02f, 0.01f}, shift[3] = {-1, -2, 0};
  for (int n = 0; n < IMAGES; n++)
    for (int i = 0; i < SIZE * SIZE * 3; i++) pixels[n][i] = (uint8_t)((i + n) * 31 + i / 7);
  assert_int_equal(tinytl_batch_net_init(net, &f->part.arch, SIZE, IMAGES, true, NULL), TINYTL_OK);
  double *wide = op_widen(values, f->part.params.n);
  batch_reference_forward(net, wide, rgb, IMAGES, scale, shift, logits);
  free(wide);
  free(net);
}

/* To the bit: values and outputs of what was copied out and of the super-net run in place. */
static void test_copied_out_is_in_place(void **state) {
  (void)state;
  fixture *f = make();
  float *expected = calloc(f->shared.params.n, sizeof(float));
  for (int n = 0; n < 12; n++) {
    const tinytl_subnet subnet = n == 0   ? tinytl_subnet_largest(&f->space)
                                 : n == 1 ? tinytl_subnet_smallest(&f->space)
                                          : draw(f, n);
    double copied_logits[IMAGES * CLASSES], in_place_logits[IMAGES * CLASSES];
    tinytl_part_values_layout(&f->part, &f->space, &subnet);
    tinytl_shared_values_copy_out(&f->shared, f->all, &f->part, f->values);
    look_up(f, expected);
    assert_memory_equal(f->values, expected, f->part.params.n * sizeof(float));
    if (n > 2) continue;
    run_reference(f, f->values, copied_logits);
    run_reference(f, expected, in_place_logits);
    assert_memory_equal(copied_logits, in_place_logits, sizeof copied_logits);
  }
  free(expected);
  discard(f);
}

/* The gradient goes back as the transpose of copying out, which is linear in the matrices and in
 * the rest: <d, J v> = <J^T d, v>, J v by differences. */
static void test_gradient_goes_back(void **state) {
  (void)state;
  fixture *f = make();
  const float h = 1e-2f;
  float *above = calloc(f->shared.params.n, sizeof(float)), *moved = op_random(f->shared.n, 1);
  float *direction = op_random(f->shared.n, 3), *back = calloc(f->shared.n, sizeof(float));
  float *d = op_random(f->shared.params.n, 4);
  for (int n = 0; n < 4; n++) {
    const tinytl_subnet subnet = draw(f, n);
    double forward = 0, backward = 0, size = 0;
    tinytl_part_values_layout(&f->part, &f->space, &subnet);
    for (size_t i = 0; i < f->shared.n; i++) moved[i] = f->all[i] + h * direction[i];
    tinytl_shared_values_copy_out(&f->shared, moved, &f->part, above);
    for (size_t i = 0; i < f->shared.n; i++) moved[i] = f->all[i] - h * direction[i];
    tinytl_shared_values_copy_out(&f->shared, moved, &f->part, f->values);
    for (size_t i = 0; i < f->part.params.n; i++) {
      forward += d[i] * ((double)above[i] - f->values[i]) / (2 * h);
      size += fabs(d[i] * ((double)above[i] - f->values[i]) / (2 * h));
    }
    memset(back, 0, f->shared.n * sizeof(float));
    tinytl_shared_values_add_back(&f->shared, f->all, &f->part, d, back);
    for (size_t i = 0; i < f->shared.n; i++) backward += (double)back[i] * direction[i];
    assert_true(fabs(forward - backward) < 1e-4 * size);
  }
  free(above);
  free(moved);
  free(direction);
  free(back);
  free(d);
  discard(f);
}

static double importance(const fixture *f, const tinytl_block *block, int channel) {
  const int wide = f->shared.arch.layers[block->last].in_c;
  const float *w = f->all + f->shared.params.weight[block->last];
  double sum = 0;
  for (int o = 0; o < block->out_c; o++) sum += fabs(w[o * wide + channel]);
  return sum;
}

/* Sorting changes no output of the largest sub-net, and puts the important channels first. */
static void test_sorting(void **state) {
  (void)state;
  fixture *f = make();
  const tinytl_subnet largest = tinytl_subnet_largest(&f->space);
  double before[IMAGES * CLASSES], after[IMAGES * CLASSES];
  float *room = malloc(f->shared.n * sizeof(float));
  tinytl_part_values_layout(&f->part, &f->space, &largest);
  run_reference(f, f->all, before);
  tinytl_shared_values_sort(&f->shared, f->all, room);
  run_reference(f, f->all, after);
  for (int i = 0; i < IMAGES * CLASSES; i++)
    assert_true(fabs(before[i] - after[i]) < 1e-9 * (1 + fabs(before[i])));
  for (int b = 1; b < f->shared.arch.n_blocks; b++) {
    const tinytl_block *block = &f->shared.arch.blocks[b];
    for (int c = 1; c < f->shared.arch.layers[block->last].in_c; c++)
      assert_true(importance(f, block, c) <= importance(f, block, c - 1));
  }
  free(room);
  discard(f);
}

static void test_matrices_that_change_nothing(void **state) {
  (void)state;
  fixture *f = make();
  const tinytl_subnet smallest = tinytl_subnet_smallest(&f->space);
  tinytl_part_values_layout(&f->part, &f->space, &smallest);
  tinytl_shared_values_init_matrices(&f->shared, f->all);
  tinytl_shared_values_copy_out(&f->shared, f->all, &f->part, f->values);
  const float *w = f->values + f->part.params.weight[4];
  const float *large = f->all + f->shared.params.weight[4];
  const int channels = f->part.arch.layers[4].out_c, all = f->shared.arch.layers[4].out_c;
  for (int t = 0; t < 9; t++)
    for (int c = 0; c < channels; c++)
      assert_float_equal(w[t * channels + c], large[((t / 3 + 2) * 7 + t % 3 + 2) * all + c], 0);
  discard(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_copied_out_is_in_place),
      cmocka_unit_test(test_gradient_goes_back),
      cmocka_unit_test(test_sorting),
      cmocka_unit_test(test_matrices_that_change_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
