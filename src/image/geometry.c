/* Which part of a picture is used, at which size, and the right way up. */
#include "image/image.h"

#include <string.h>

tinytl_upright tinytl_upright_of(int orientation) {
  static const tinytl_upright all[9] = {
      [2] = {.flip_x = true},
      [3] = {.flip_x = true, .flip_y = true},
      [4] = {.flip_y = true},
      [5] = {.transpose = true},
      [6] = {.transpose = true, .flip_x = true},
      [7] = {.transpose = true, .flip_x = true, .flip_y = true},
      [8] = {.transpose = true, .flip_y = true},
  };
  return all[orientation];
}

static void swap_pixels(uint8_t *one, uint8_t *other) {
  uint8_t pixel[3];
  memcpy(pixel, one, 3);
  memcpy(one, other, 3);
  memcpy(other, pixel, 3);
}

void tinytl_upright_turn(tinytl_upright upright, int size, uint8_t *rgb) {
  size_t n = (size_t)size;
  for (size_t y = 0; upright.transpose && y < n; y++)
    for (size_t x = 0; x < y; x++) swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * (x * n + y));
  for (size_t y = 0; upright.flip_x && y < n; y++)
    for (size_t x = 0; x < n / 2; x++)
      swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * (y * n + n - 1 - x));
  for (size_t y = 0; upright.flip_y && y < n / 2; y++)
    for (size_t x = 0; x < n; x++)
      swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * ((n - 1 - y) * n + x));
}

/* Round half to even, as Python's round(n / 2). */
static int half(int n) {
  return n / 2 + (n % 2 != 0 && n / 2 % 2 != 0);
}

static tinytl_axis centre_axis(const tinytl_view *view, int side, int other) {
  int64_t out_size = side <= other ? view->resize : (int64_t)view->resize * side / other;
  return (tinytl_axis){.hi = side,
                       .end = (float)side,
                       .out_size = (int)out_size,
                       .out_first = half((int)out_size - view->size),
                       .out_count = view->size};
}

void tinytl_axes_centre(const tinytl_view *view, int width, int height, tinytl_axis *x,
                        tinytl_axis *y) {
  *x = centre_axis(view, width, height);
  *y = centre_axis(view, height, width);
}

tinytl_axis tinytl_axis_crop(const tinytl_view *view, int first, int count) {
  return (tinytl_axis){.lo = first,
                       .hi = first + count,
                       .begin = (float)first,
                       .end = (float)(first + count),
                       .out_size = view->size,
                       .out_count = view->size};
}

void tinytl_axis_flip(tinytl_axis *axis, int side) {
  tinytl_axis old = *axis;
  axis->lo = side - old.hi;
  axis->hi = side - old.lo;
  axis->begin = (float)side - old.end;
  axis->end = (float)side - old.begin;
  axis->out_first = old.out_size - old.out_first - old.out_count;
}

/* True where a picture reduced by `reduction` has at least twice the pixels that are needed: what
 * the decoder's own filter does is then not seen (reducing_gap=2 in Pillow). */
static bool axis_allows(const tinytl_axis *axis, int reduction) {
  return (double)(axis->end - axis->begin) / reduction >= 2.0 * axis->out_size;
}

int tinytl_axes_reduction(const tinytl_axis *x, const tinytl_axis *y, int most) {
  int reduction = most;
  while (reduction > 1 && !(axis_allows(x, reduction) && axis_allows(y, reduction))) reduction /= 2;
  return reduction;
}

void tinytl_axis_reduce(tinytl_axis *axis, int reduction) {
  axis->lo /= reduction;
  axis->hi = tinytl_ceil_div(axis->hi, reduction);
  axis->begin /= (float)reduction;
  axis->end /= (float)reduction;
}
