/* Random resized crop, mirror, colour jitter: the choices of torchvision's RandomResizedCrop,
 * RandomHorizontalFlip and ColorJitter, the arithmetic of Pillow's ImageEnhance. */
#include "core/rng.h"
#include "image/image.h"

#include <math.h>

#define MIN_ASPECT (3.0 / 4.0)
#define MAX_ASPECT (4.0 / 3.0)
#define N_TRIES 10

static double between(tinytl_rng *rng, double low, double high) {
  return low + (high - low) * (double)tinytl_rng_uniform(rng);
}

/* The largest crop in the middle whose aspect is allowed: where no try fits. */
static void crop_centre(tinytl_augment *crop, int width, int height) {
  double aspect = (double)width / height;
  crop->width = aspect > MAX_ASPECT ? (int)lrint(height * MAX_ASPECT) : width;
  crop->height = aspect < MIN_ASPECT ? (int)lrint(width / MIN_ASPECT) : height;
  crop->x = (width - crop->width) / 2;
  crop->y = (height - crop->height) / 2;
}

static void crop_random(tinytl_rng *rng, tinytl_augment *crop, double min_scale, int width,
                        int height) {
  for (int i = 0; i < N_TRIES; i++) {
    double area = (double)width * height * between(rng, min_scale, 1.0);
    double aspect = exp(between(rng, log(MIN_ASPECT), log(MAX_ASPECT)));
    long w = lrint(sqrt(area * aspect)), h = lrint(sqrt(area / aspect));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    crop->width = (int)w;
    crop->height = (int)h;
    crop->y = (int)tinytl_rng_below(rng, (uint32_t)(height - h + 1));
    crop->x = (int)tinytl_rng_below(rng, (uint32_t)(width - w + 1));
    return;
  }
  crop_centre(crop, width, height);
}

tinytl_augment tinytl_augment_draw(const tinytl_view *view, int index, int width, int height) {
  tinytl_rng rng =
      tinytl_rng_make(view->seed, TINYTL_RNG_AUGMENT, view->epoch, (uint64_t)(unsigned)index);
  tinytl_augment augment = {.brightness = 1, .contrast = 1, .saturation = 1};
  /* Mirror and colours first: they do not depend on how many crops were tried. */
  augment.mirror = tinytl_rng_below(&rng, 2) == 1 && view->mirror;
  double jitter = view->colour_jitter;
  augment.brightness = (float)between(&rng, 1 - jitter, 1 + jitter);
  augment.contrast = (float)between(&rng, 1 - jitter, 1 + jitter);
  augment.saturation = (float)between(&rng, 1 - jitter, 1 + jitter);
  crop_random(&rng, &augment, view->min_scale, width, height);
  return augment;
}

/* ITU-R 601-2 luma in 16-bit fixed point. */
static int luma(const uint8_t *rgb) {
  return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16;
}

/* from + factor (to - from), cut to 0..255. */
static uint8_t blend(int from, int to, float factor) {
  float value = (float)from + factor * (float)(to - from);
  return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

static int mean_luma(const uint8_t *rgb, int n_pixels) {
  uint64_t sum = 0;
  for (int i = 0; i < n_pixels; i++) sum += (uint64_t)luma(rgb + 3 * (size_t)i);
  return (int)((double)sum / n_pixels + 0.5);
}

void tinytl_augment_colour(const tinytl_augment *augment, uint8_t *rgb, int n_pixels) {
  size_t n = 3 * (size_t)n_pixels;
  if (augment->brightness != 1)
    for (size_t i = 0; i < n; i++) rgb[i] = blend(0, rgb[i], augment->brightness);
  if (augment->contrast != 1) {
    int grey = mean_luma(rgb, n_pixels);
    for (size_t i = 0; i < n; i++) rgb[i] = blend(grey, rgb[i], augment->contrast);
  }
  if (augment->saturation != 1)
    for (size_t i = 0; i < n; i += 3) {
      int grey = luma(rgb + i);
      for (int c = 0; c < 3; c++) rgb[i + c] = blend(grey, rgb[i + c], augment->saturation);
    }
}
