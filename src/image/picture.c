/* From a picture file to the network's input. */
#include "image/image.h"
#include "tinytl/ranges.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_RESIZE 16384 /* keeps the long side of the most slender picture inside an int */

/* For stdio, which would else allocate as much as the file system likes. */
#define FILE_BUFFER_NBYTES 4096

/* ---- Decoding ----------------------------------------------------------------------------- */

/* The sink of one picture. */
typedef struct picture {
  const tinytl_view *view;
  int index;
  uint8_t *rgb; /* [size][size][3] */
  tinytl_budget *budget;
  tinytl_resizer *resizer;
  tinytl_upright upright;
  tinytl_augment augment;
} picture;

static tinytl_status check_need(const picture *self, const tinytl_picture_info *info,
                                tinytl_error *error) {
  static const char *const kinds[] = {[TINYTL_PICTURE_JPEG] = "JPEG",
                                      [TINYTL_PICTURE_JPEG_SCANS] = "progressive JPEG",
                                      [TINYTL_PICTURE_PNG] = "PNG",
                                      [TINYTL_PICTURE_PNG_PASSES] = "interlaced PNG"};
  const uint64_t need = tinytl_picture_need(info, self->view);
  if (need <= self->budget->limit) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_DATA,
                     "%s of %d x %d pixels: decoding needs %.1f MB, %.1f MB are allowed",
                     kinds[info->kind], info->width, info->height, (double)need / 1e6,
                     (double)self->budget->limit / 1e6);
}

static tinytl_status begin(void *context, const tinytl_picture_info *info, int *reduction,
                           tinytl_error *error) {
  picture *self = context;
  const tinytl_view *view = self->view;
  TINYTL_TRY(check_need(self, info, error));
  self->upright = tinytl_upright_of(info->orientation);
  int width = self->upright.transpose ? info->height : info->width;
  int height = self->upright.transpose ? info->width : info->height;

  tinytl_axis x, y; /* of the upright picture */
  if (view->augment) {
    self->augment = tinytl_augment_draw(view, self->index, width, height);
    x = tinytl_axis_crop(view, self->augment.x, self->augment.width);
    y = tinytl_axis_crop(view, self->augment.y, self->augment.height);
  } else {
    tinytl_axes_centre(view, width, height, &x, &y);
  }
  if (self->upright.flip_x) tinytl_axis_flip(&x, width);
  if (self->upright.flip_y) tinytl_axis_flip(&y, height);

  *reduction = tinytl_axes_reduction(&x, &y, tinytl_picture_most_reduction(info));
  tinytl_axis_reduce(&x, *reduction);
  tinytl_axis_reduce(&y, *reduction);
  bool transpose = self->upright.transpose;
  return tinytl_resizer_create(transpose ? &y : &x, transpose ? &x : &y, self->rgb, self->budget,
                               &self->resizer, error);
}

static void take_row(void *context, int y, const uint8_t *rgb) {
  tinytl_resizer_row(((picture *)context)->resizer, y, rgb);
}

/* ---- Files -------------------------------------------------------------------------------- */

tinytl_status tinytl_picture_open(const char *path, FILE **file, tinytl_error *error) {
  struct stat about;
  if (stat(path, &about) != 0) return tinytl_fail(error, TINYTL_ERROR_DATA, "%s", strerror(errno));
  if (S_ISDIR(about.st_mode))
    return tinytl_fail(error, TINYTL_ERROR_DATA, "is a folder, not a picture");
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

enum { MARK_NBYTES = 12 };

/* What begins so, for people; NULL: nothing known. */
static const char *kind_of(const uint8_t start[MARK_NBYTES]) {
  static const struct {
    const char *mark, *kind;
    size_t at, n;
  } kinds[] = {{"GIF8", "a GIF", 0, 4},           {"BM", "a BMP", 0, 2},
               {"II*\0", "a TIFF", 0, 4},         {"MM\0*", "a TIFF", 0, 4},
               {"WEBP", "a WebP", 8, 4},          {"ftypavif", "an AVIF", 4, 8},
               {"ftyp", "a HEIF or video", 4, 4}, {"%PDF", "a PDF", 0, 4}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (memcmp(start + kinds[i].at, kinds[i].mark, kinds[i].n) == 0) return kinds[i].kind;
  return NULL;
}

static tinytl_status fail_unknown(const uint8_t start[MARK_NBYTES], size_t n, tinytl_error *error) {
  const char *kind = kind_of(start);
  if (n == 0) return tinytl_fail(error, TINYTL_ERROR_DATA, "empty file");
  return tinytl_fail(error, TINYTL_ERROR_DATA, "neither a JPEG nor a PNG file%s%s",
                     kind ? ", but begins like " : "", kind ? kind : "");
}

static tinytl_status decode_file(const char *path, const tinytl_picture_sink *sink,
                                 tinytl_budget *budget, tinytl_error *error) {
  static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
  static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  FILE *file = NULL;
  char buffer[FILE_BUFFER_NBYTES];
  TINYTL_TRY(tinytl_picture_open(path, &file, error));
  setvbuf(file, buffer, _IOFBF, sizeof buffer);
  uint8_t start[MARK_NBYTES] = {0};
  const size_t n = fread(start, 1, sizeof start, file);
  rewind(file);
  tinytl_status status;
  if (n >= sizeof jpeg && memcmp(start, jpeg, sizeof jpeg) == 0)
    status = tinytl_jpeg_decode(file, sink, budget, error);
  else if (n >= sizeof png && memcmp(start, png, sizeof png) == 0)
    status = tinytl_png_decode(file, sink, budget, error);
  else
    status = fail_unknown(start, n, error);
  fclose(file);
  tinytl_budget_give_all(budget);
  return status;
}

tinytl_status tinytl_view_check(const tinytl_view *view, tinytl_error *error) {
  if (view->size < 1 || view->size > TINYTL_MAX_IMAGE_SIZE)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "picture size %d: expected 1 to %d", view->size,
                       TINYTL_MAX_IMAGE_SIZE);
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
  TINYTL_TRY(tinytl_view_check(view, error));
  tinytl_budget budget = tinytl_budget_make(view->max_nbytes);
  picture self = {.view = view, .index = index, .rgb = rgb, .budget = &budget};
  const tinytl_picture_sink sink = {&self, begin, take_row};
  TINYTL_TRY(decode_file(path, &sink, &budget, error));
  if (self.augment.mirror) self.upright.flip_x = !self.upright.flip_x;
  tinytl_upright_turn(self.upright, view->size, rgb);
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

static tinytl_status keep_info(void *context, const tinytl_picture_info *info, int *reduction,
                               tinytl_error *error) {
  (void)reduction, (void)error;
  *(tinytl_picture_info *)context = *info;
  return TINYTL_OK;
}

tinytl_status tinytl_picture_check(const char *path, tinytl_picture_info *info,
                                   tinytl_error *error) {
  tinytl_budget budget = tinytl_budget_make(TINYTL_PICTURE_HEADER_NBYTES);
  const tinytl_picture_sink sink = {info, keep_info, NULL};
  return decode_file(path, &sink, &budget, error);
}
