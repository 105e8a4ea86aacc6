/* Pictures: a decoder pushes rows, the resizer takes them as they come, so a picture costs a few
 * rows of memory and not its whole area.
 *
 *   file -> jpeg.c / png.c --rows--> resize.c -> rgb [size][size][3] -> turned upright, colours
 *                 geometry.c says which part is used and how it is scaled
 *
 * What it costs follows from the header (need.c); all of it comes out of one budget.
 */
#ifndef TINYTL_IMAGE_IMAGE_H
#define TINYTL_IMAGE_IMAGE_H

#include "core/status.h"
#include "image/budget.h"
#include "tinytl/pictures.h"

#include <stdio.h>

#define TINYTL_PICTURE_MAX_SIDE 65500 /* of libjpeg */

/* What decoding one picture may take where the view does not say. */
#define TINYTL_PICTURE_MAX_NBYTES ((size_t)256000000)

/* ---- Decoders ----------------------------------------------------------------------------- */

typedef enum tinytl_picture_kind {
  TINYTL_PICTURE_JPEG,       /* one scan: streamed, and reduced while it is decoded */
  TINYTL_PICTURE_JPEG_SCANS, /* several (progressive): whole in memory, as coefficients */
  TINYTL_PICTURE_PNG,        /* streamed */
  TINYTL_PICTURE_PNG_PASSES  /* interlaced: whole in memory, as pixels */
} tinytl_picture_kind;

/* All of a header that geometry and memory depend on. 8 bytes: a folder keeps many. */
typedef struct tinytl_picture_info {
  uint16_t width, height;  /* as stored, 1 to TINYTL_PICTURE_MAX_SIDE */
  uint16_t sampling;       /* JPEG: factors of each component, tinytl_sampling_pack */
  uint8_t depth;           /* JPEG: components (1, 3 or 4); PNG: bytes a pixel of libpng's rows */
  uint8_t orientation : 4; /* EXIF, 1 to 8 */
  uint8_t kind : 4;        /* tinytl_picture_kind */
} tinytl_picture_info;
_Static_assert(sizeof(tinytl_picture_info) == 8, "no padding: compared as bytes");

/* Four bits a component: h - 1 and v - 1, each 0 to 3. */
static inline uint16_t tinytl_sampling_pack(int component, int h, int v) {
  return (uint16_t)((unsigned)((h - 1) << 2 | (v - 1)) << 4 * component);
}
static inline int tinytl_sampling_h(uint16_t sampling, int component) {
  return (sampling >> (4 * component + 2) & 3) + 1;
}
static inline int tinytl_sampling_v(uint16_t sampling, int component) {
  return (sampling >> 4 * component & 3) + 1;
}

/* Who takes a picture. */
typedef struct tinytl_picture_sink {
  void *context;
  /* The header was read. *reduction is 1; a JPEG can be reduced by 2, 4 or 8 while it is decoded,
   * and a side of n pixels then has ceil(n / reduction). Another status than OK ends the decoding
   * and is returned. */
  tinytl_status (*begin)(void *context, const tinytl_picture_info *info, int *reduction,
                         tinytl_error *error);
  /* Row y of the reduced picture, [width][3], from 0 on. NULL: the header is all that is read. */
  void (*row)(void *context, int y, const uint8_t *rgb);
} tinytl_picture_sink;

/* Decode from the start of `file`. Damaged, unsupported or over the budget: TINYTL_ERROR_DATA, with
 * the library's own words. The message does not name the file. Pieces stay in the budget. */
tinytl_status tinytl_jpeg_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_budget *budget,
                                 tinytl_error *error);
tinytl_status tinytl_png_decode(FILE *file, const tinytl_picture_sink *sink, tinytl_budget *budget,
                                tinytl_error *error);

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

/* What a resizer costs. */
uint64_t tinytl_resizer_cost(const tinytl_axis *x, const tinytl_axis *y);
/* out [y->out_count][x->out_count][3] is borrowed. The budget, from which all of it comes, frees
 * it. */
tinytl_status tinytl_resizer_create(const tinytl_axis *x, const tinytl_axis *y, uint8_t *out,
                                    tinytl_budget *budget, tinytl_resizer **resizer,
                                    tinytl_error *error);
/* Takes row y of the source, [width][3]; each row once, from the top. Complete once row y->hi - 1
 * was taken. */
void tinytl_resizer_row(tinytl_resizer *resizer, int y, const uint8_t *rgb);

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

/* ---- Geometry ----------------------------------------------------------------------------- */

/* How the stored picture becomes the upright one: transposed first, then flipped. */
typedef struct tinytl_upright {
  bool transpose, flip_x, flip_y;
} tinytl_upright;

tinytl_upright tinytl_upright_of(int orientation); /* EXIF's, 1 to 8 */
/* rgb [size][size][3], in place. */
void tinytl_upright_turn(tinytl_upright upright, int size, uint8_t *rgb);

/* Without augmentation: the short side resized to view->resize, then the middle of it. Of the
 * upright picture. */
void tinytl_axes_centre(const tinytl_view *view, int width, int height, tinytl_axis *x,
                        tinytl_axis *y);
/* pixels [first, first + count) become view->size; nothing outside is seen by the filter. */
tinytl_axis tinytl_axis_crop(const tinytl_view *view, int first, int count);
/* The same output, mirrored, from a mirrored source of `side` pixels. */
void tinytl_axis_flip(tinytl_axis *axis, int side);
/* The most (1, 2, 4 or 8, up to `most`) by which a decoder may reduce, unseen. */
int tinytl_axes_reduction(const tinytl_axis *x, const tinytl_axis *y, int most);
void tinytl_axis_reduce(tinytl_axis *axis, int reduction);

/* ---- Memory ------------------------------------------------------------------------------- */

/* By how much a decoder can reduce this picture. */
int tinytl_picture_most_reduction(const tinytl_picture_info *info);
/* Bound of what decoding takes, whatever the crop. */
uint64_t tinytl_picture_need(const tinytl_picture_info *info, const tinytl_view *view);
/* Bound of what reading any header takes. */
#define TINYTL_PICTURE_HEADER_NBYTES ((size_t)24 << 10)

/* ---- Picture files ------------------------------------------------------------------------ */

/* TINYTL_ERROR_USAGE where a field is out of range. */
tinytl_status tinytl_view_check(const tinytl_view *view, tinytl_error *error);
/* As tinytl_picture_load, but the message does not name the file. */
tinytl_status tinytl_picture_decode(const char *path, int index, const tinytl_view *view,
                                    uint8_t *rgb, tinytl_error *error);
/* Opens the file, which is the caller's to close. Devices and pipes never are: opening alone may
 * wait for ever. Errors: DATA, INTERNAL (out of files or memory). */
tinytl_status tinytl_picture_open(const char *path, FILE **file, tinytl_error *error);
/* Reads the header only: what picture is this file? */
tinytl_status tinytl_picture_check(const char *path, tinytl_picture_info *info,
                                   tinytl_error *error);

#endif
