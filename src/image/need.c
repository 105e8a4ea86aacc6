/* What decoding a picture takes at most, from its header. The sums follow what libjpeg-turbo and
 * libpng allocate; their files are named. tests/image/test_need.c counts real allocations. */
#include "image/image.h"
#include "image/jpeg_memory.h"

#include <math.h>

/* Besides what grows with the picture, measured with libjpeg-turbo 2.1, libpng 1.6 and zlib 1.2:
 * source and EXIF buffers, tables and controllers; libpng's structures, its read buffer (8 KB) and
 * zlib's window (32 KB). */
#define JPEG_FIXED_NBYTES ((size_t)48 << 10)
#define PNG_FIXED_NBYTES ((size_t)60 << 10)

/* The longer side of a crop, where the shorter is less than `shorter` (augment.c; 3: rounding). */
static double longer_side(double shorter) {
  return shorter * 4 / 3 + 3;
}

int tinytl_picture_most_reduction(const tinytl_picture_info *info) {
  bool jpeg = info->kind == TINYTL_PICTURE_JPEG || info->kind == TINYTL_PICTURE_JPEG_SCANS;
  return jpeg ? 8 : 1;
}

/* ---- JPEG --------------------------------------------------------------------------------- */

/* A JPEG component while it is decoded to blocks of `block` pixels. */
typedef struct component {
  int h, v;  /* sampling factors */
  int block; /* side of its own blocks after the inverse DCT */
} component;

/* jdmaster.c: subsampled components are reduced less, so that they need no upsampling. */
static int component_block(const component *c, int max_h, int max_v, int block) {
  int side = block;
  while (side < 8 && max_h * block % (c->h * side * 2) == 0 &&
         max_v * block % (c->v * side * 2) == 0)
    side *= 2;
  return side;
}

static int list_components(const tinytl_picture_info *info, int block, component *components,
                           int *max_h, int *max_v) {
  *max_h = *max_v = 1;
  for (int i = 0; i < info->depth; i++) {
    component *c = &components[i];
    *c = (component){.h = tinytl_sampling_h(info->sampling, i),
                     .v = tinytl_sampling_v(info->sampling, i)};
    if (c->h > *max_h) *max_h = c->h;
    if (c->v > *max_v) *max_v = c->v;
  }
  for (int i = 0; i < info->depth; i++)
    components[i].block = component_block(&components[i], *max_h, *max_v, block);
  return info->depth;
}

/* jdcoefct.c: the whole picture, 64 coefficients of 2 bytes a block. */
static uint64_t coefficients_cost(const tinytl_picture_info *info, const component *c, int max_h,
                                  int max_v) {
  int columns = tinytl_ceil_div(info->width * c->h, max_h * 8),
      rows = tinytl_ceil_div(info->height * c->v, max_v * 8);
  return tinytl_jpeg_blocks_cost(tinytl_round_up((size_t)columns, (size_t)c->h),
                                 tinytl_round_up((size_t)rows, (size_t)c->v));
}

static uint64_t jpeg_cost(const tinytl_picture_info *info, int reduction) {
  component components[4];
  int block = 8 / reduction, max_h, max_v;
  int n = list_components(info, block, components, &max_h, &max_v);
  int width = tinytl_ceil_div(info->width, reduction);

  /* jdsample.c: smooth upsampling of rows looks at the rows around. */
  bool context = false;
  for (int i = 0; i < n; i++)
    context = context || (block > 1 && components[i].v * components[i].block * 2 == max_v * block);
  int n_groups = context ? block + 2 : block;

  const size_t row = (size_t)width * (info->depth == 4 ? 4 : 3); /* ours */
  uint64_t cost = tinytl_budget_cost(row + TINYTL_JPEG_ROW_OFFSET);
  for (int i = 0; i < n; i++) {
    const component *c = &components[i];
    int columns = tinytl_ceil_div(info->width * c->h, max_h * 8), rows = c->v * c->block / block;
    /* jdmainct.c: row groups as they come from the inverse DCT. */
    cost += tinytl_jpeg_samples_cost((size_t)columns * (size_t)c->block,
                                     (size_t)rows * (size_t)n_groups);
    /* jdsample.c: rows of full width. */
    if (c->h * c->block != max_h * block || c->v * c->block != max_v * block)
      cost +=
          tinytl_jpeg_samples_cost(tinytl_round_up((size_t)width, (size_t)max_h), (size_t)max_v);
    if (info->kind == TINYTL_PICTURE_JPEG_SCANS) cost += coefficients_cost(info, c, max_h, max_v);
  }
  return JPEG_FIXED_NBYTES + cost;
}

/* ---- PNG ---------------------------------------------------------------------------------- */

/* pngrutil.c, png_read_start_row: two rows, and a few pixels and bytes more; png.c of ours: what
 * becomes of them. */
static uint64_t png_cost(const tinytl_picture_info *info) {
  uint64_t width = info->width, height = info->kind == TINYTL_PICTURE_PNG_PASSES ? info->height : 1;
  const uint64_t row = (width + 8) * info->depth + 64;
  return PNG_FIXED_NBYTES + 2 * tinytl_budget_cost(row) + tinytl_budget_cost(width * 3 * height);
}

/* ---- Views -------------------------------------------------------------------------------- */

/* At one reduction, for an upright picture. */
static uint64_t total_cost(const tinytl_picture_info *info, tinytl_axis x, tinytl_axis y,
                           int reduction) {
  bool jpeg = tinytl_picture_most_reduction(info) > 1;
  bool transpose = tinytl_upright_of(info->orientation).transpose;
  tinytl_axis_reduce(&x, reduction);
  tinytl_axis_reduce(&y, reduction);
  return TINYTL_BUDGET_OUTSIDE_NBYTES + (jpeg ? jpeg_cost(info, reduction) : png_cost(info)) +
         tinytl_resizer_cost(transpose ? &y : &x, transpose ? &x : &y);
}

static tinytl_axis shortened(const tinytl_view *view, int side, double longest) {
  return tinytl_axis_crop(view, 0, side < longest ? side : (int)longest);
}

/* Any crop: the largest reduction is that of the whole picture, the smallest that of the smallest
 * crop (augment.c). At a reduction below the format's most, the shorter side of the crop is less
 * than 4 size reduction, or it would be reduced more. */
static uint64_t crops_cost(const tinytl_picture_info *info, const tinytl_view *view, int width,
                           int height) {
  int most = tinytl_picture_most_reduction(info);
  double least = floor(sqrt(view->min_scale * (double)width * height * 0.75)) - 1;
  double longest = longer_side(width < height ? width : height);
  tinytl_axis x = shortened(view, width, longest), y = shortened(view, height, longest);
  tinytl_axis least_x = shortened(view, width, least), least_y = shortened(view, height, least);
  int reduction = tinytl_axes_reduction(&x, &y, most);
  int last = tinytl_axes_reduction(&least_x, &least_y, most);
  uint64_t cost = total_cost(info, x, y, reduction);
  for (reduction /= 2; reduction >= last && reduction > 0; reduction /= 2) {
    longest = fmin(longest, longer_side(4.0 * view->size * reduction));
    const uint64_t one = total_cost(info, shortened(view, width, longest),
                                    shortened(view, height, longest), reduction);
    if (one > cost) cost = one;
  }
  return cost;
}

uint64_t tinytl_picture_need(const tinytl_picture_info *info, const tinytl_view *view) {
  bool transpose = tinytl_upright_of(info->orientation).transpose;
  int width = transpose ? info->height : info->width;
  int height = transpose ? info->width : info->height;
  if (view->augment) return crops_cost(info, view, width, height);
  tinytl_axis x, y;
  tinytl_axes_centre(view, width, height, &x, &y);
  return total_cost(info, x, y, tinytl_axes_reduction(&x, &y, tinytl_picture_most_reduction(info)));
}
