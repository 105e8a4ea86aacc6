/* JPEG by libjpeg-turbo: any colour space to RGB, reduced sizes, EXIF orientation. */
#include "image/image.h"
#include "image/jpeg_memory.h"

#include <jerror.h>
#include <setjmp.h>

/* A progressive file may hold any number of scans, each a pass over the whole picture; encoders
 * write about ten. The bound is that of libjpeg-turbo's own fuzzers. */
#define MAX_SCANS 500
/* Pixels that all scans together may pass over where they are more than encoders write. */
#define MAX_SCANNED ((int64_t)2500 * 1000 * 1000)
#define LEAST_SCANS 20

/* Of an APP1 segment, where its first directory lies. */
#define EXIF_NBYTES 4096

typedef struct jpeg_reader {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  char message[JMSG_LENGTH_MAX]; /* set before a jump to `failed`, as is: */
  tinytl_status status;
  const tinytl_picture_sink *sink;
  tinytl_budget *budget;
  tinytl_error *error;
  uint8_t *row;    /* [output_width][3 or 4] */
  int orientation; /* 0: none found so far */
  uint8_t exif[EXIF_NBYTES];
} jpeg_reader;

static void on_error(j_common_ptr jpeg) {
  jpeg_reader *self = jpeg->client_data;
  jpeg->err->format_message(jpeg, self->message);
  bool memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
  self->status = memory ? TINYTL_ERROR_INTERNAL : TINYTL_ERROR_DATA;
  longjmp(self->failed, 1);
}

/* Warnings that mean pixels are missing or wrong end the picture (libjpeg would fill in grey);
 * the others (bytes between segments, odd versions) are common in good files. Of bad codes in the
 * midst of a baseline JPEG without restart markers libjpeg-turbo does not warn each time. */
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
  const int n_scans = self->jpeg.input_scan_number;
  const int64_t n_pixels = (int64_t)self->jpeg.image_width * self->jpeg.image_height;
  if (n_scans > MAX_SCANS) fail(self, "more than 500 scans");
  if (n_scans > LEAST_SCANS && n_scans * n_pixels > MAX_SCANNED)
    fail(self, "more scans than are supported at this size");
}

static int next_byte(j_decompress_ptr jpeg) {
  struct jpeg_source_mgr *source = jpeg->src;
  if (source->bytes_in_buffer == 0) source->fill_input_buffer(jpeg);
  source->bytes_in_buffer--;
  return *source->next_input_byte++;
}

/* An APP1 segment: its start is looked at, nothing is kept. jpeg_save_markers would keep every
 * one whole. */
static boolean read_app1(j_decompress_ptr jpeg) {
  jpeg_reader *self = jpeg->client_data;
  int high = next_byte(jpeg), length = (high << 8 | next_byte(jpeg)) - 2;
  int n = length < EXIF_NBYTES ? length : EXIF_NBYTES;
  if (self->orientation != 0 || n < 0) n = 0;
  for (int i = 0; i < n; i++) self->exif[i] = (uint8_t)next_byte(jpeg);
  if (n > 0) self->orientation = tinytl_exif_orientation(self->exif, (size_t)n);
  if (length > n) jpeg->src->skip_input_data(jpeg, length - n);
  return TRUE;
}

static tinytl_picture_info read_info(jpeg_reader *self) {
  j_decompress_ptr jpeg = &self->jpeg;
  int n = jpeg->num_components;
  if (jpeg->data_precision != 8) fail(self, "JPEG of other than 8 bits a sample");
  if (n != 1 && n != 3 && n != 4) fail(self, "JPEG of other than 1, 3 or 4 components");
  bool scans = jpeg_has_multiple_scans(jpeg);
  tinytl_picture_info info = {.width = (uint16_t)jpeg->image_width,
                              .height = (uint16_t)jpeg->image_height,
                              .depth = (uint8_t)n,
                              .orientation =
                                  self->orientation ? (uint8_t)self->orientation & 15 : 1,
                              .kind = scans ? TINYTL_PICTURE_JPEG_SCANS : TINYTL_PICTURE_JPEG};
  for (int c = 0; c < n; c++)
    info.sampling |=
        tinytl_sampling_pack(c, jpeg->comp_info[c].h_samp_factor, jpeg->comp_info[c].v_samp_factor);
  return info;
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

/* libjpeg-turbo 3 decodes lossless JPEGs too, and does not reduce them: it takes scale_denom back.
 */
static void check_reduced(jpeg_reader *self, int reduction) {
  j_decompress_ptr jpeg = &self->jpeg;
  if ((int)jpeg->output_width != tinytl_ceil_div((int)jpeg->image_width, reduction) ||
      (int)jpeg->output_height != tinytl_ceil_div((int)jpeg->image_height, reduction))
    fail(self, "JPEG that cannot be reduced while it is decoded, as lossless ones cannot");
}

static void read_rows(jpeg_reader *self, int reduction) {
  j_decompress_ptr jpeg = &self->jpeg;
  bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg->scale_num = 1;
  jpeg->scale_denom = (unsigned)reduction;
  jpeg_start_decompress(jpeg);
  check_reduced(self, reduction);
  size_t nbytes = (size_t)jpeg->output_width * (size_t)jpeg->output_components;
  self->row =
      jpeg->mem->alloc_large((j_common_ptr)jpeg, JPOOL_IMAGE, nbytes + TINYTL_JPEG_ROW_OFFSET);
  self->row += TINYTL_JPEG_ROW_OFFSET;
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
  tinytl_jpeg_memory_install(jpeg, self->budget);
  jpeg->progress = &self->progress;
  jpeg_stdio_src(jpeg, file);
  jpeg_set_marker_processor(jpeg, JPEG_APP0 + 1, read_app1);
  jpeg_read_header(jpeg, TRUE);

  tinytl_picture_info info = read_info(self);
  int reduction = 1;
  self->status = self->sink->begin(self->sink->context, &info, &reduction, self->error);
  if (self->status != TINYTL_OK || !self->sink->row) return;
  read_rows(self, reduction);
}

/* Alone in its function: no local variable lives across setjmp. */
static bool try_read(jpeg_reader *self, FILE *file) {
  if (setjmp(self->failed)) return false;
  read_picture(self, file);
  return true;
}

tinytl_status tinytl_jpeg_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_budget *budget,
                                 tinytl_error *error) {
  jpeg_reader *self = tinytl_budget_take(budget, sizeof *self);
  if (!self) return tinytl_budget_fail(budget, error);
  *self = (jpeg_reader){.sink = sink, .budget = budget, .error = error};
  self->jpeg.err = jpeg_std_error(&self->errors);
  self->jpeg.client_data = self;
  self->errors.error_exit = on_error;
  self->errors.emit_message = on_message;
  self->errors.output_message = on_output;
  self->progress.progress_monitor = on_progress;
  tinytl_status status;
  if (try_read(self, file))
    status = self->status;
  else if (tinytl_budget_failed(budget))
    status = tinytl_budget_fail(budget, error);
  else
    status = tinytl_fail(error, self->status, "%s", self->message);
  jpeg_destroy_decompress(&self->jpeg);
  return status;
}
