/* Pictures: a decoder pushes rows, the resizer takes them as they come, so a picture costs a few
 * rows of memory and not its whole area.
 *
 *   file -> jpeg.c / png.c --rows--> resize.c -> rgb [size][size][3] -> turned upright, colours
 *                 picture.c says which part is used and how it is scaled
 */
#ifndef TINYTL_IMAGE_IMAGE_H
#define TINYTL_IMAGE_IMAGE_H

#include "core/status.h"

#include <stdio.h>

#define TINYTL_PICTURE_MAX_SIDE 65500 /* of libjpeg */

/* What a decoder may hold of one picture where its format forbids to stream: interlaced PNG,
 * progressive JPEG. */
#define TINYTL_PICTURE_MAX_NBYTES ((size_t)256 << 20)

/* ---- Decoders ----------------------------------------------------------------------------- */

typedef struct tinytl_picture_info {
  int width, height; /* as stored, 1 to TINYTL_PICTURE_MAX_SIDE */
  int orientation;   /* EXIF, 1 to 8 */
} tinytl_picture_info;

/* Who takes a picture. */
typedef struct tinytl_picture_sink {
  void *context;
  /* The header was read. *reduction is the most that the format can reduce while it decodes; the
   * sink lowers it to 1, 2, 4 or 8, and a side of n pixels then has ceil(n / reduction). Another
   * status than OK ends the decoding and is returned. */
  tinytl_status (*begin)(void *context, const tinytl_picture_info *info, int *reduction,
                         tinytl_error *error);
  /* Row y of the reduced picture, [width][3], from 0 on. NULL: the header is all that is read. */
  void (*row)(void *context, int y, const uint8_t *rgb);
} tinytl_picture_sink;

/* Decode from the start of `file`. Damaged or unsupported: TINYTL_ERROR_DATA with the library's
 * own words. The message does not name the file. */
tinytl_status tinytl_jpeg_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_error *error);
tinytl_status tinytl_png_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_error *error);

/* Orientation (1 to 8) that an APP1 segment of a JPEG file holds; 0: none. */
int tinytl_exif_orientation(const uint8_t *bytes, size_t nbytes);

/* ---- Resize ------------------------------------------------------------------------------- */

/* One axis of a resize: the interval [begin, end) of the source becomes out_size pixels, of which
 * the out_count from out_first on are made. Source pixels outside [lo, hi) do not exist. */
typedef struct tinytl_axis {
  int lo, hi;
  float begin, end;
  int out_size, out_first, out_count;
} tinytl_axis;

/* Antialiased bilinear, in the arithmetic of Pillow's Image.resize(..., BILINEAR, box). */
typedef struct tinytl_resizer tinytl_resizer;

/* out [y->out_count][x->out_count][3] is borrowed. */
tinytl_status tinytl_resizer_create(const tinytl_axis *x, const tinytl_axis *y, uint8_t *out,
                                    tinytl_resizer **resizer, tinytl_error *error);
/* Takes row y of the source, [width][3]; each row once, from the top. Complete once row y->hi - 1
 * was taken. */
void tinytl_resizer_row(tinytl_resizer *resizer, int y, const uint8_t *rgb);
void tinytl_resizer_free(tinytl_resizer *resizer); /* NULL is allowed */

/* ---- Augmentation ------------------------------------------------------------------------- */

/* The random choices for one picture. */
typedef struct tinytl_augment {
  int x, y, width, height; /* crop, pixels of the upright picture */
  bool mirror;
  float brightness, contrast, saturation; /* factors, 1: unchanged */
} tinytl_augment;

/* Depends on view->seed, view->epoch, index and the picture's size alone. */
tinytl_augment tinytl_augment_draw(const tinytl_view *view, int index, int width, int height);
/* Brightness, contrast, saturation, in this order, in place: rgb [n_pixels][3]. */
void tinytl_augment_colour(const tinytl_augment *augment, uint8_t *rgb, int n_pixels);

/* ---- Picture files ------------------------------------------------------------------------ */

/* As tinytl_picture_load, but the message does not name the file. */
tinytl_status tinytl_picture_decode(const char *path, int index, const tinytl_view *view,
                                    uint8_t *rgb, tinytl_error *error);
/* Reads the header only: can this file be a picture? */
tinytl_status tinytl_picture_check(const char *path, tinytl_error *error);

#endif
