/* The resizer against Pillow's output (tests/golden/image/resize.bin). */
#include "image/image.h"
#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

typedef struct golden {
  int32_t width, height;
  float box[4]; /* left, top, right, bottom */
  int32_t out_width, out_height;
} golden;

static uint8_t *read_pixels(FILE *file, int width, int height) {
  size_t nbytes = (size_t)width * (size_t)height * 3;
  uint8_t *pixels = malloc(nbytes);
  assert_non_null(pixels);
  assert_int_equal(fread(pixels, 1, nbytes, file), nbytes);
  return pixels;
}

static tinytl_axis whole_axis(int side, float begin, float end, int out) {
  return (tinytl_axis){.hi = side, .begin = begin, .end = end, .out_size = out, .out_count = out};
}

static void resize(const tinytl_axis *x, const tinytl_axis *y, const uint8_t *rgb, int width,
                   int height, uint8_t *out) {
  tinytl_resizer *resizer = NULL;
  tinytl_budget budget =
      tinytl_budget_make(tinytl_resizer_cost(x, y) + TINYTL_BUDGET_OUTSIDE_NBYTES);
  assert_int_equal(tinytl_resizer_create(x, y, out, &budget, &resizer, NULL), TINYTL_OK);
  for (int row = 0; row < height; row++)
    tinytl_resizer_row(resizer, row, rgb + (size_t)row * (size_t)width * 3);
  tinytl_budget_give_all(&budget);
}

static int largest_difference(const uint8_t *one, const uint8_t *other, size_t n) {
  int largest = 0;
  for (size_t i = 0; i < n; i++) {
    int difference = abs(one[i] - other[i]);
    if (difference > largest) largest = difference;
  }
  return largest;
}

/* The same numbers from a crop of the output as from the whole of it. */
static void check_crop(const golden *g, const uint8_t *rgb, const uint8_t *whole) {
  tinytl_axis x = whole_axis(g->width, g->box[0], g->box[2], g->out_width);
  tinytl_axis y = whole_axis(g->height, g->box[1], g->box[3], g->out_height);
  x.out_first = x.out_size / 3;
  x.out_count = (x.out_size + 1) / 2;
  y.out_first = y.out_size / 4;
  y.out_count = (y.out_size + 1) / 3 + (y.out_size == 1);
  size_t row = (size_t)x.out_count * 3;
  uint8_t *crop = malloc(row * (size_t)y.out_count);
  assert_non_null(crop);
  resize(&x, &y, rgb, g->width, g->height, crop);
  for (int i = 0; i < y.out_count; i++)
    assert_memory_equal(
        crop + (size_t)i * row,
        whole + ((size_t)(y.out_first + i) * (size_t)g->out_width + (size_t)x.out_first) * 3, row);
  free(crop);
}

static void agrees_with_pillow(void **state) {
  (void)state;
  FILE *file = fopen(TINYTL_SOURCE_DIR "/tests/golden/image/resize.bin", "rb");
  assert_non_null(file);
  int n_cases = 0;
  for (golden g; fread(&g, sizeof g, 1, file) == 1; n_cases++) {
    uint8_t *rgb = read_pixels(file, g.width, g.height);
    uint8_t *expected = read_pixels(file, g.out_width, g.out_height);
    size_t n = (size_t)g.out_width * (size_t)g.out_height * 3;
    uint8_t *out = malloc(n);
    assert_non_null(out);
    tinytl_axis x = whole_axis(g.width, g.box[0], g.box[2], g.out_width);
    tinytl_axis y = whole_axis(g.height, g.box[1], g.box[3], g.out_height);
    resize(&x, &y, rgb, g.width, g.height, out);
    int difference = largest_difference(out, expected, n);
    if (difference > 0)
      print_message("%dx%d to %dx%d: differs by %d\n", g.width, g.height, g.out_width, g.out_height,
                    difference);
    assert_true(difference <= 1);
    check_crop(&g, rgb, out);
    free(out);
    free(expected);
    free(rgb);
  }
  fclose(file);
  assert_int_equal(n_cases, 15);
}

/* A crop that is then resized: what lies outside has no influence. */
static void sees_nothing_outside(void **state) {
  (void)state;
  enum { SIDE = 20, OUT = 6 };
  uint8_t dark[SIDE * SIDE * 3], bright[SIDE * SIDE * 3], out[2][OUT * OUT * 3];
  for (int i = 0; i < SIDE * SIDE * 3; i++) {
    int x = i / 3 % SIDE, y = i / 3 / SIDE;
    bool inside = x >= 5 && x < 15 && y >= 3 && y < 17;
    dark[i] = inside ? (uint8_t)(i * 7) : 0;
    bright[i] = inside ? (uint8_t)(i * 7) : 255;
  }
  tinytl_axis x = {.lo = 5, .hi = 15, .begin = 5, .end = 15, .out_size = OUT, .out_count = OUT};
  tinytl_axis y = {.lo = 3, .hi = 17, .begin = 3, .end = 17, .out_size = OUT, .out_count = OUT};
  resize(&x, &y, dark, SIDE, SIDE, out[0]);
  resize(&x, &y, bright, SIDE, SIDE, out[1]);
  assert_memory_equal(out[0], out[1], sizeof out[0]);
}

/* A row of pixels and the same ones in a column, which another loop resizes, become the same:
 * narrow ones, wide ones, parts, in memory that ends where they end. */
static void rows_are_as_columns(void **state) {
  (void)state;
  enum { MOST = 40 };
  const tinytl_axis one = whole_axis(1, 0, 1, 1);
  uint8_t row[3 * MOST], column[3 * MOST];
  unsigned random = 1;
  for (int n = 1; n <= MOST; n++)
    for (int n_out = 1; n_out <= MOST; n_out += 1 + n_out / 3)
      for (int part = 0; part < 3; part++) {
        uint8_t *rgb = malloc(3 * (size_t)n);
        assert_non_null(rgb);
        for (int i = 0; i < 3 * n; i++) {
          random = random * 1103515245 + 12345;
          rgb[i] = part == 2 ? 255 : (uint8_t)(random >> 16);
        }
        const tinytl_axis whole = whole_axis(n, 0, (float)n, n_out);
        const tinytl_axis inner = {.lo = n / 4,
                                   .hi = n - n / 5,
                                   .begin = (float)(n / 4) + 0.3f,
                                   .end = (float)(n - n / 5) - 0.4f,
                                   .out_size = n_out,
                                   .out_count = n_out};
        const tinytl_axis *axis = part == 1 && n > 1 ? &inner : &whole;
        resize(axis, &one, rgb, n, 1, row);
        resize(&one, axis, rgb, 1, n, column);
        assert_memory_equal(row, column, 3 * (size_t)n_out);
        free(rgb);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_pillow),
      cmocka_unit_test(sees_nothing_outside),
      cmocka_unit_test(rows_are_as_columns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
