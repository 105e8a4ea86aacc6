/* PNG by libpng: every colour type and depth to 8-bit RGB. As in Pillow's convert("RGB"),
 * transparency is dropped and of 16 bits the upper 8 are kept. */
#include "image/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>

typedef struct png_reader {
  png_structp png;
  png_infop info;
  char message[128]; /* set before a jump to png_jmpbuf */
  tinytl_status status;
  const tinytl_picture_sink *sink;
  tinytl_error *error;
  uint8_t *pixels; /* [width][3] one row; interlaced: [height][width][3] */
} png_reader;

static void on_error(png_structp png, png_const_charp message) {
  png_reader *self = png_get_error_ptr(png);
  snprintf(self->message, sizeof self->message, "%s", message);
  self->status = TINYTL_ERROR_DATA;
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static void convert_to_rgb(png_reader *self) {
  png_structp png = self->png;
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
}

static void allocate(png_reader *self, size_t row, size_t n_rows) {
  size_t nbytes;
  if (!tinytl_size_mul(row, n_rows, &nbytes) || nbytes > TINYTL_PICTURE_MAX_NBYTES)
    png_error(self->png, "interlaced PNG too large: decoding needs more than 256 MB");
  self->pixels = calloc(nbytes, 1);
  if (!self->pixels) png_error(self->png, "out of memory");
}

static void read_rows(png_reader *self, const tinytl_picture_info *info) {
  png_structp png = self->png;
  convert_to_rgb(self);
  int n_passes = png_set_interlace_handling(png);
  png_read_update_info(png, self->info);
  size_t row = (size_t)info->width * 3;
  if (png_get_rowbytes(png, self->info) != row) png_error(png, "cannot be converted to RGB");
  allocate(self, row, n_passes > 1 ? (size_t)info->height : 1);
  for (int pass = 1; pass <= n_passes; pass++)
    for (int y = 0; y < info->height; y++) {
      uint8_t *pixels = self->pixels + (n_passes > 1 ? (size_t)y * row : 0);
      png_read_row(png, pixels, NULL);
      if (pass == n_passes) self->sink->row(self->sink->context, y, pixels);
    }
}

static void read_picture(png_reader *self, FILE *file) {
  png_structp png = self->png;
  png_init_io(png, file);
  png_set_user_limits(png, TINYTL_PICTURE_MAX_SIDE, TINYTL_PICTURE_MAX_SIDE);
  png_read_info(png, self->info);
  tinytl_picture_info info = {(int)png_get_image_width(png, self->info),
                              (int)png_get_image_height(png, self->info), 1};
  int reduction = 1;
  self->status = self->sink->begin(self->sink->context, &info, &reduction, self->error);
  if (self->status == TINYTL_OK && self->sink->row) read_rows(self, &info);
}

/* Alone in its function: no local variable lives across setjmp. */
static bool try_read(png_reader *self, FILE *file) {
  if (setjmp(png_jmpbuf(self->png))) return false;
  read_picture(self, file);
  return true;
}

tinytl_status tinytl_png_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_error *error) {
  png_reader *self = calloc(1, sizeof *self);
  if (!self) return tinytl_fail_memory(error, sizeof *self);
  self->sink = sink;
  self->error = error;
  self->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, self, on_error, on_warning);
  if (self->png) self->info = png_create_info_struct(self->png);
  tinytl_status status;
  if (!self->info)
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "libpng cannot be started");
  else if (try_read(self, file))
    status = self->status;
  else
    status = tinytl_fail(error, self->status, "%s", self->message);
  png_destroy_read_struct(&self->png, &self->info, NULL);
  free(self->pixels);
  free(self);
  return status;
}
