/* Colours against Pillow (tests/golden/image/colour.bin), crops against torchvision's rules. */
#include "image/image.h"
#include "support/cmocka.h"
#include "support/pictures.h"

#include <stdlib.h>
#include <string.h>

static const tinytl_view plain = {.size = 16, .augment = true, .min_scale = 0.25f};

/* ---- Choices ------------------------------------------------------------------------------ */

static void crops_keep_to_their_bounds(void **state) {
  (void)state;
  enum { WIDTH = 90, HEIGHT = 70, N = 4000 };
  double mean_share = 0;
  for (int i = 0; i < N; i++) {
    tinytl_augment a = tinytl_augment_draw(&plain, i, WIDTH, HEIGHT);
    assert_true(a.x >= 0 && a.y >= 0 && a.width > 0 && a.height > 0);
    assert_true(a.x + a.width <= WIDTH && a.y + a.height <= HEIGHT);
    double share = (double)a.width * a.height / (WIDTH * HEIGHT);
    double aspect = (double)a.width / a.height;
    assert_true(share > 0.24 && share <= 1.0); /* sides are rounded to pixels */
    assert_true(aspect > 0.73 && aspect < 1.37);
    mean_share += share / N;
  }
  /* Uniform in [0.25, 1], less some large crops that do not fit. */
  assert_true(mean_share > 0.52 && mean_share < 0.64);
}

static void slender_pictures_are_cropped_in_the_middle(void **state) {
  (void)state;
  tinytl_augment wide = tinytl_augment_draw(&plain, 0, 900, 9);
  assert_int_equal(wide.height, 9);
  assert_int_equal(wide.width, 12);
  assert_int_equal(wide.x, 444);
  tinytl_augment tall = tinytl_augment_draw(&plain, 0, 9, 900);
  assert_int_equal(tall.width, 9);
  assert_int_equal(tall.height, 12);
  assert_int_equal(tall.y, 444);
  tinytl_augment dot = tinytl_augment_draw(&plain, 0, 1, 1);
  assert_int_equal(dot.width * dot.height, 1);
}

static void half_are_mirrored(void **state) {
  (void)state;
  tinytl_view view = plain;
  int n_mirrored = 0;
  for (int i = 0; i < 2000; i++) {
    assert_false(tinytl_augment_draw(&view, i, 40, 40).mirror);
    view.mirror = true;
    n_mirrored += tinytl_augment_draw(&view, i, 40, 40).mirror;
    view.mirror = false;
  }
  assert_in_range(n_mirrored, 880, 1120); /* five standard deviations */
}

static void jitter_keeps_to_its_strength(void **state) {
  (void)state;
  tinytl_view view = plain;
  assert_true(tinytl_augment_draw(&view, 0, 40, 40).brightness == 1);
  view.colour_jitter = 0.4f;
  float low = 1, high = 1;
  for (int i = 0; i < 1000; i++) {
    tinytl_augment a = tinytl_augment_draw(&view, i, 40, 40);
    const float factors[] = {a.brightness, a.contrast, a.saturation};
    assert_true(factors[0] != factors[1] && factors[1] != factors[2]);
    for (int f = 0; f < 3; f++) {
      low = factors[f] < low ? factors[f] : low;
      high = factors[f] > high ? factors[f] : high;
    }
  }
  assert_true(low >= 0.6f - 1e-6f && low < 0.61f && high <= 1.4f + 1e-6f && high > 1.39f);
}

static bool same(const tinytl_augment *one, const tinytl_augment *other) {
  return one->x == other->x && one->y == other->y && one->width == other->width &&
         one->height == other->height && one->brightness == other->brightness;
}

static void depends_on_seed_epoch_and_index(void **state) {
  (void)state;
  tinytl_view view = plain;
  view.colour_jitter = 0.4f;
  tinytl_augment first = tinytl_augment_draw(&view, 7, 400, 300);
  tinytl_augment again = tinytl_augment_draw(&view, 7, 400, 300);
  assert_true(same(&first, &again));
  tinytl_augment other_index = tinytl_augment_draw(&view, 8, 400, 300);
  view.epoch = 1;
  tinytl_augment other_epoch = tinytl_augment_draw(&view, 7, 400, 300);
  view.epoch = 0;
  view.seed = 1;
  tinytl_augment other_seed = tinytl_augment_draw(&view, 7, 400, 300);
  assert_false(same(&first, &other_index));
  assert_false(same(&first, &other_epoch));
  assert_false(same(&first, &other_seed));
}

/* ---- Pixels ------------------------------------------------------------------------------- */

/* What the crop and the mirror name is what the network sees: at the crop's own size, pixel by
 * pixel. min_scale 1 leaves the whole square picture. */
static void mirror_turns_the_picture(void **state) {
  (void)state;
  enum { SIDE = 16 };
  pictures_dir dir = pictures_dir_make();
  pictures_write_png(&dir, "a.png", PICTURES_PNG_RGB, SIDE, SIDE, 1);
  tinytl_view view = {.size = SIDE, .augment = true, .min_scale = 1, .mirror = true};
  int n_mirrored = 0;
  for (int index = 0; index < 20; index++) {
    uint8_t rgb[SIDE * SIDE * 3];
    assert_int_equal(tinytl_picture_load(pictures_path(&dir, "a.png"), index, &view, rgb, NULL),
                     TINYTL_OK);
    tinytl_augment a = tinytl_augment_draw(&view, index, SIDE, SIDE);
    if (a.width != SIDE || a.height != SIDE) continue;
    n_mirrored += a.mirror;
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
      int x = i / 3 % SIDE, y = i / 3 / SIDE;
      assert_int_equal(rgb[i], pictures_pixel(1, a.mirror ? SIDE - 1 - x : x, y, i % 3));
    }
  }
  assert_in_range(n_mirrored, 1, 19);
  pictures_dir_remove(&dir);
}

static void colours_agree_with_pillow(void **state) {
  (void)state;
  enum { MAX_PIXELS = 1000 };
  FILE *file = fopen(TINYTL_SOURCE_DIR "/tests/golden/image/colour.bin", "rb");
  assert_non_null(file);
  float factors[3];
  int n_cases = 0;
  for (; fread(factors, sizeof factors, 1, file) == 1; n_cases++) {
    static uint8_t rgb[MAX_PIXELS * 3], expected[MAX_PIXELS * 3];
    int32_t n_pixels;
    assert_int_equal(fread(&n_pixels, sizeof n_pixels, 1, file), 1);
    assert_in_range(n_pixels, 1, MAX_PIXELS);
    assert_int_equal(fread(rgb, 3, (size_t)n_pixels, file), n_pixels);
    assert_int_equal(fread(expected, 3, (size_t)n_pixels, file), n_pixels);
    const tinytl_augment augment = {
        .brightness = factors[0], .contrast = factors[1], .saturation = factors[2]};
    tinytl_augment_colour(&augment, rgb, n_pixels);
    for (int i = 0; i < n_pixels * 3; i++) assert_true(abs(rgb[i] - expected[i]) <= 1);
  }
  fclose(file);
  assert_int_equal(n_cases, 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(crops_keep_to_their_bounds),
      cmocka_unit_test(slender_pictures_are_cropped_in_the_middle),
      cmocka_unit_test(half_are_mirrored),
      cmocka_unit_test(jitter_keeps_to_its_strength),
      cmocka_unit_test(depends_on_seed_epoch_and_index),
      cmocka_unit_test(mirror_turns_the_picture),
      cmocka_unit_test(colours_agree_with_pillow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
