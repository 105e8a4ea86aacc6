/* JPEG by libjpeg-turbo: any colour space to RGB, reduced sizes, EXIF orientation. */
#include "image/image.h"

#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/* A progressive file may hold any number of scans, each a pass over the whole picture; encoders
 * write about ten. The bound is that of libjpeg-turbo's own fuzzers. */
#define MAX_SCANS 500

typedef struct jpeg_reader {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  char message[JMSG_LENGTH_MAX]; /* set before a jump to `failed`, as is: */
  tinytl_status status;
  const tinytl_picture_sink *sink;
  tinytl_error *error;
  uint8_t *row; /* [output_width][3 or 4] */
} jpeg_reader;

static void on_error(j_common_ptr jpeg) {
  jpeg_reader *self = jpeg->client_data;
  jpeg->err->format_message(jpeg, self->message);
  bool memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
  self->status = memory ? TINYTL_ERROR_INTERNAL : TINYTL_ERROR_DATA;
  longjmp(self->failed, 1);
}

/* Warnings that mean pixels are missing or wrong end the picture (libjpeg would fill in grey);
 * the others (bytes between segments, odd versions) are common in good files. */
static void on_message(j_common_ptr jpeg, int level) {
  if (level != -1) return;
  switch (jpeg->err->msg_code) {
  case JWRN_JPEG_EOF:
  case JWRN_HIT_MARKER:
  case JWRN_HUFF_BAD_CODE:
  case JWRN_MUST_RESYNC:
    on_error(jpeg);
  }
}

static void on_output(j_common_ptr jpeg) {
  (void)jpeg;
}

static void fail(jpeg_reader *self, const char *message) {
  snprintf(self->message, sizeof self->message, "%s", message);
  self->status = TINYTL_ERROR_DATA;
  longjmp(self->failed, 1);
}

static void on_progress(j_common_ptr jpeg) {
  jpeg_reader *self = jpeg->client_data;
  if (self->jpeg.input_scan_number > MAX_SCANS) fail(self, "more than 500 scans");
}

static int orientation(const jpeg_saved_marker_ptr first) {
  for (jpeg_saved_marker_ptr marker = first; marker; marker = marker->next) {
    int value = tinytl_exif_orientation(marker->data, marker->data_length);
    if (value != 0) return value;
  }
  return 1;
}

/* A picture of several scans is kept whole, as coefficients of 2 bytes. */
static void check_memory(jpeg_reader *self) {
  if (!jpeg_has_multiple_scans(&self->jpeg)) return;
  uint64_t nbytes = 0;
  for (int c = 0; c < self->jpeg.num_components; c++) {
    const jpeg_component_info *component = &self->jpeg.comp_info[c];
    nbytes += (uint64_t)component->width_in_blocks * component->height_in_blocks * sizeof(JBLOCK);
  }
  if (nbytes > TINYTL_PICTURE_MAX_NBYTES)
    fail(self, "progressive JPEG too large: decoding needs more than 256 MB");
}

static int scaled_down(int largest) {
  return largest >= 8 ? 8 : largest >= 4 ? 4 : largest >= 2 ? 2 : 1;
}

/* Adobe stores CMYK inverted, and so does everybody else by now; Pillow's formula. */
static void cmyk_to_rgb(uint8_t *pixels, unsigned n_pixels) {
  uint8_t *rgb = pixels;
  for (const uint8_t *cmyk = pixels; n_pixels > 0; n_pixels--, cmyk += 4) {
    int white = cmyk[3];
    for (int c = 0; c < 3; c++) {
      int ink = (255 - cmyk[c]) * white + 128;
      int value = white - ((ink + (ink >> 8)) >> 8);
      *rgb++ = value < 0 ? 0 : (uint8_t)value;
    }
  }
}

static void read_rows(jpeg_reader *self) {
  j_decompress_ptr jpeg = &self->jpeg;
  bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  size_t nbytes = (size_t)jpeg->output_width * (size_t)jpeg->output_components;
  self->row = jpeg->mem->alloc_large((j_common_ptr)jpeg, JPOOL_IMAGE, nbytes);
  while (jpeg->output_scanline < jpeg->output_height) {
    int y = (int)jpeg->output_scanline;
    if (jpeg_read_scanlines(jpeg, &self->row, 1) != 1) fail(self, "no row where one was expected");
    if (cmyk) cmyk_to_rgb(self->row, jpeg->output_width);
    self->sink->row(self->sink->context, y, self->row);
  }
}

static void read_picture(jpeg_reader *self, FILE *file) {
  j_decompress_ptr jpeg = &self->jpeg;
  jpeg_create_decompress(jpeg);
  jpeg->progress = &self->progress;
  jpeg_stdio_src(jpeg, file);
  jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(jpeg, TRUE);
  check_memory(self);

  tinytl_picture_info info = {(int)jpeg->image_width, (int)jpeg->image_height,
                              orientation(jpeg->marker_list)};
  int reduction = 8;
  self->status = self->sink->begin(self->sink->context, &info, &reduction, self->error);
  if (self->status != TINYTL_OK || !self->sink->row) return;
  jpeg->scale_num = 1;
  jpeg->scale_denom = (unsigned)scaled_down(reduction);
  read_rows(self);
}

/* Alone in its function: no local variable lives across setjmp. */
static bool try_read(jpeg_reader *self, FILE *file) {
  if (setjmp(self->failed)) return false;
  read_picture(self, file);
  return true;
}

tinytl_status tinytl_jpeg_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_error *error) {
  jpeg_reader *self = calloc(1, sizeof *self);
  if (!self) return tinytl_fail_memory(error, sizeof *self);
  self->sink = sink;
  self->error = error;
  self->jpeg.err = jpeg_std_error(&self->errors);
  self->jpeg.client_data = self;
  self->errors.error_exit = on_error;
  self->errors.emit_message = on_message;
  self->errors.output_message = on_output;
  self->progress.progress_monitor = on_progress;
  tinytl_status status =
      try_read(self, file) ? self->status : tinytl_fail(error, self->status, "%s", self->message);
  jpeg_destroy_decompress(&self->jpeg);
  free(self);
  return status;
}
