/* From a picture file to the network's input: which part of the picture is used, at which size,
 * and the right way up. */
#include "image/image.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_RESIZE 16384 /* keeps the long side of the most slender picture inside an int */

/* ---- Geometry ----------------------------------------------------------------------------- */

/* How the stored picture becomes the upright one: transposed first, then flipped. */
typedef struct turn {
  bool transpose, flip_x, flip_y;
} turn;

static turn turn_of_orientation(int orientation) {
  static const turn turns[9] = {
      [2] = {.flip_x = true},
      [3] = {.flip_x = true, .flip_y = true},
      [4] = {.flip_y = true},
      [5] = {.transpose = true},
      [6] = {.transpose = true, .flip_x = true},
      [7] = {.transpose = true, .flip_x = true, .flip_y = true},
      [8] = {.transpose = true, .flip_y = true},
  };
  return turns[orientation];
}

/* Round half to even, as Python's round(n / 2). */
static int half(int n) {
  return n / 2 + (n % 2 != 0 && n / 2 % 2 != 0);
}

/* Resize so that the short side has view->resize pixels, then take the middle. */
static tinytl_axis centre_axis(const tinytl_view *view, int side, int other) {
  int64_t out_size = side <= other ? view->resize : (int64_t)view->resize * side / other;
  return (tinytl_axis){.hi = side,
                       .end = (float)side,
                       .out_size = (int)out_size,
                       .out_first = half((int)out_size - view->size),
                       .out_count = view->size};
}

/* Nothing outside a crop is seen by the filter. */
static tinytl_axis crop_axis(const tinytl_view *view, int first, int count) {
  return (tinytl_axis){.lo = first,
                       .hi = first + count,
                       .begin = (float)first,
                       .end = (float)(first + count),
                       .out_size = view->size,
                       .out_count = view->size};
}

/* The same output, mirrored, from a mirrored source of `side` pixels. */
static void axis_flip(tinytl_axis *axis, int side) {
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

static void axis_reduce(tinytl_axis *axis, int reduction) {
  axis->lo /= reduction;
  axis->hi = (axis->hi + reduction - 1) / reduction;
  axis->begin /= (float)reduction;
  axis->end /= (float)reduction;
}

/* ---- Decoding ----------------------------------------------------------------------------- */

/* The sink of one picture. */
typedef struct picture {
  const tinytl_view *view;
  int index;
  uint8_t *rgb; /* [size][size][3] */
  tinytl_resizer *resizer;
  turn turn;
  tinytl_augment augment;
} picture;

static tinytl_status begin(void *context, const tinytl_picture_info *info, int *reduction,
                           tinytl_error *error) {
  picture *self = context;
  const tinytl_view *view = self->view;
  self->turn = turn_of_orientation(info->orientation);
  int width = self->turn.transpose ? info->height : info->width;
  int height = self->turn.transpose ? info->width : info->height;

  tinytl_axis x, y; /* of the upright picture */
  if (view->augment) {
    self->augment = tinytl_augment_draw(view, self->index, width, height);
    x = crop_axis(view, self->augment.x, self->augment.width);
    y = crop_axis(view, self->augment.y, self->augment.height);
  } else {
    x = centre_axis(view, width, height);
    y = centre_axis(view, height, width);
  }
  if (self->turn.flip_x) axis_flip(&x, width);
  if (self->turn.flip_y) axis_flip(&y, height);

  while (*reduction > 1 && !(axis_allows(&x, *reduction) && axis_allows(&y, *reduction)))
    *reduction /= 2;
  axis_reduce(&x, *reduction);
  axis_reduce(&y, *reduction);
  bool transpose = self->turn.transpose;
  return tinytl_resizer_create(transpose ? &y : &x, transpose ? &x : &y, self->rgb, &self->resizer,
                               error);
}

static void take_row(void *context, int y, const uint8_t *rgb) {
  tinytl_resizer_row(((picture *)context)->resizer, y, rgb);
}

static void swap_pixels(uint8_t *one, uint8_t *other) {
  uint8_t pixel[3];
  memcpy(pixel, one, 3);
  memcpy(one, other, 3);
  memcpy(other, pixel, 3);
}

static void turn_square(turn turn, int size, uint8_t *rgb) {
  size_t n = (size_t)size;
  for (size_t y = 0; turn.transpose && y < n; y++)
    for (size_t x = 0; x < y; x++) swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * (x * n + y));
  for (size_t y = 0; turn.flip_x && y < n; y++)
    for (size_t x = 0; x < n / 2; x++)
      swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * (y * n + n - 1 - x));
  for (size_t y = 0; turn.flip_y && y < n / 2; y++)
    for (size_t x = 0; x < n; x++)
      swap_pixels(rgb + 3 * (y * n + x), rgb + 3 * ((n - 1 - y) * n + x));
}

/* ---- Files -------------------------------------------------------------------------------- */

/* Devices and pipes are never opened: opening alone may wait for ever. */
static tinytl_status open_picture(const char *path, FILE **file, tinytl_error *error) {
  struct stat about;
  if (stat(path, &about) != 0) return tinytl_fail(error, TINYTL_ERROR_DATA, "%s", strerror(errno));
  if (!S_ISREG(about.st_mode)) return tinytl_fail(error, TINYTL_ERROR_DATA, "not a regular file");
  FILE *opened = fopen(path, "rb");
  if (!opened) {
    bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    return tinytl_fail(error, exhausted ? TINYTL_ERROR_INTERNAL : TINYTL_ERROR_DATA, "%s",
                       strerror(errno));
  }
  *file = opened;
  return TINYTL_OK;
}

static tinytl_status decode_file(const char *path, const tinytl_picture_sink *sink,
                                 tinytl_error *error) {
  static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
  static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  FILE *file = NULL;
  TINYTL_TRY(open_picture(path, &file, error));
  uint8_t start[sizeof png];
  size_t n = fread(start, 1, sizeof start, file);
  rewind(file);
  tinytl_status status;
  if (n >= sizeof jpeg && memcmp(start, jpeg, sizeof jpeg) == 0)
    status = tinytl_jpeg_decode(file, sink, error);
  else if (n == sizeof png && memcmp(start, png, sizeof png) == 0)
    status = tinytl_png_decode(file, sink, error);
  else
    status = tinytl_fail(error, TINYTL_ERROR_DATA,
                         n == 0 ? "empty file" : "neither a JPEG nor a PNG file");
  fclose(file);
  return status;
}

static tinytl_status check_view(const tinytl_view *view, tinytl_error *error) {
  if (view->size < 1 || view->size > 4096)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "picture size %d: expected 1 to 4096",
                       view->size);
  if (!view->augment && (view->resize < view->size || view->resize > MAX_RESIZE))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "short side %d: expected %d to %d", view->resize,
                       view->size, MAX_RESIZE);
  if (view->augment && !(view->min_scale > 0 && view->min_scale <= 1))
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "smallest crop %g: expected a share above 0 and up to 1", view->min_scale);
  if (view->augment && !(view->colour_jitter >= 0 && view->colour_jitter <= 1))
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "colour jitter %g: expected 0 to 1",
                       view->colour_jitter);
  return TINYTL_OK;
}

tinytl_status tinytl_picture_decode(const char *path, int index, const tinytl_view *view,
                                    uint8_t *rgb, tinytl_error *error) {
  TINYTL_TRY(check_view(view, error));
  picture self = {.view = view, .index = index, .rgb = rgb};
  const tinytl_picture_sink sink = {&self, begin, take_row};
  tinytl_status status = decode_file(path, &sink, error);
  tinytl_resizer_free(self.resizer);
  if (status != TINYTL_OK) return status;
  if (self.augment.mirror) self.turn.flip_x = !self.turn.flip_x;
  turn_square(self.turn, view->size, rgb);
  if (view->augment) tinytl_augment_colour(&self.augment, rgb, view->size * view->size);
  return TINYTL_OK;
}

tinytl_status tinytl_picture_load(const char *path, int index, const tinytl_view *view,
                                  uint8_t *rgb, tinytl_error *error) {
  tinytl_error reason;
  tinytl_status status = tinytl_picture_decode(path, index, view, rgb, &reason);
  if (status == TINYTL_OK) return status;
  return tinytl_fail(error, status, "%s: %s", path, reason.message);
}

static tinytl_status accept(void *context, const tinytl_picture_info *info, int *reduction,
                            tinytl_error *error) {
  (void)context, (void)info, (void)reduction, (void)error;
  return TINYTL_OK;
}

tinytl_status tinytl_picture_check(const char *path, tinytl_error *error) {
  const tinytl_picture_sink sink = {NULL, accept, NULL};
  return decode_file(path, &sink, error);
}
