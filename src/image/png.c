/* PNG by libpng: every colour type and depth to 8-bit RGB. Transparency is dropped, as by Pillow's
 * convert("RGB"), and of 16 bits the upper 8 are kept, as Pillow does for colours; its 16-bit greys
 * are cut off at 255. */
#include "image/image.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

typedef struct png_reader {
  png_structp png;
  png_infop info;
  char message[128]; /* set before a jump to png_jmpbuf */
  tinytl_status status;
  const tinytl_picture_sink *sink;
  tinytl_error *error;
} png_reader;

static void on_error(png_structp png, png_const_charp message) {
  png_reader *self = png_get_error_ptr(png);
  const bool is_cut = strcmp(message, "Read Error") == 0;
  snprintf(self->message, sizeof self->message, "%s",
           is_cut ? "the PNG file ends too early" : message);
  self->status = TINYTL_ERROR_DATA;
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static png_voidp take(png_structp png, png_alloc_size_t nbytes) {
  return tinytl_budget_take(png_get_mem_ptr(png), nbytes);
}

static void give(png_structp png, png_voidp piece) {
  tinytl_budget_give(png_get_mem_ptr(png), piece);
}

/* Passes over all chunks but IHDR, PLTE, IDAT and IEND. What they hold (text, profiles) would be
 * decompressed and kept; transparency would be made into a fourth channel and dropped. */
static void ignore_chunks(png_structp png) {
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, (png_const_bytep) "tRNS", 1);
}

static void convert_to_rgb(png_reader *self) {
  png_structp png = self->png;
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  /* Asked of colours it changes nothing, but libpng takes twice the memory for a row. */
  if (!(png_get_color_type(png, self->info) & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
}

static void read_rows(png_reader *self, const tinytl_picture_info *info) {
  png_structp png = self->png;
  convert_to_rgb(self);
  int n_passes = png_set_interlace_handling(png);
  png_read_update_info(png, self->info);
  size_t row = (size_t)info->width * 3;
  if (png_get_rowbytes(png, self->info) != row) png_error(png, "cannot be converted to RGB");
  /* [width][3] one row; interlaced: [height][width][3] */
  size_t nbytes = row;
  if (n_passes > 1 && !tinytl_size_mul(row, info->height, &nbytes)) png_error(png, "too large");
  uint8_t *pixels = png_malloc(png, nbytes);
  for (int pass = 1; pass <= n_passes; pass++)
    for (int y = 0; y < info->height; y++) {
      uint8_t *at = pixels + (n_passes > 1 ? (size_t)y * row : 0);
      png_read_row(png, at, NULL);
      if (pass == n_passes) self->sink->row(self->sink->context, y, at);
    }
}

static tinytl_picture_info read_info(png_reader *self) {
  png_structp png = self->png;
  int colour = png_get_color_type(png, self->info);
  int n_channels = colour & PNG_COLOR_MASK_ALPHA ? 4 : 3; /* once expanded */
  bool interlaced = png_get_interlace_type(png, self->info) != PNG_INTERLACE_NONE;
  return (tinytl_picture_info){
      .width = (uint16_t)png_get_image_width(png, self->info),
      .height = (uint16_t)png_get_image_height(png, self->info),
      .depth = (uint8_t)(png_get_bit_depth(png, self->info) == 16 ? 2 * n_channels : n_channels),
      .orientation = 1,
      .kind = interlaced ? TINYTL_PICTURE_PNG_PASSES : TINYTL_PICTURE_PNG};
}

static void read_picture(png_reader *self, FILE *file) {
  png_structp png = self->png;
  png_init_io(png, file);
  png_set_user_limits(png, TINYTL_PICTURE_MAX_SIDE, TINYTL_PICTURE_MAX_SIDE);
  ignore_chunks(png);
  png_read_info(png, self->info);
  tinytl_picture_info info = read_info(self);
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

tinytl_status tinytl_png_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_budget *budget,
                                tinytl_error *error) {
  png_reader *self = tinytl_budget_take(budget, sizeof *self);
  if (!self) return tinytl_budget_fail(budget, error);
  *self = (png_reader){.sink = sink, .error = error};
  self->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, self, on_error, on_warning, budget,
                                       take, give);
  if (self->png) self->info = png_create_info_struct(self->png);
  tinytl_status status;
  if (self->info && try_read(self, file))
    status = self->status;
  else if (tinytl_budget_failed(budget))
    status = tinytl_budget_fail(budget, error);
  else if (self->info)
    status = tinytl_fail(error, self->status, "%s", self->message);
  else
    status = tinytl_fail(error, TINYTL_ERROR_INTERNAL, "libpng cannot be started");
  png_destroy_read_struct(&self->png, &self->info, NULL);
  return status;
}
