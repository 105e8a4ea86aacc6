/* Picture files of every kind against Pillow's output (tests/golden/image), and damaged ones. */
#include "image/image.h"
#include "support/cmocka.h"
#include "support/pictures.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static tinytl_view centre_view(int size, int resize) {
  return (tinytl_view){.size = size, .resize = resize};
}

static int largest_difference(const uint8_t *one, const uint8_t *other, size_t n) {
  int largest = 0;
  for (size_t i = 0; i < n; i++) {
    int difference = abs(one[i] - other[i]);
    if (difference > largest) largest = difference;
  }
  return largest;
}

static tinytl_status load_failing(const char *path, tinytl_error *error) {
  uint8_t rgb[8 * 8 * 3];
  tinytl_view view = centre_view(8, 8);
  return tinytl_picture_load(path, 0, &view, rgb, error);
}

static void assert_refused(const pictures_dir *dir, const char *name, const char *reason) {
  tinytl_error error = {0};
  assert_int_equal(load_failing(pictures_path(dir, name), &error), TINYTL_ERROR_DATA);
  if (!strstr(error.message, name) || !strstr(error.message, reason))
    fail_msg("'%s' says neither '%s' nor '%s'", error.message, name, reason);
}

/* ---- Golden files ------------------------------------------------------------------------- */

/* A JPEG decoder may round its colours otherwise, which CMYK amplifies. */
static void check_golden(const char *name, int tolerance) {
  char path[600];
  snprintf(path, sizeof path, "%s/tests/golden/image/%s.rgb", TINYTL_SOURCE_DIR, name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  int32_t geometry[2];
  assert_int_equal(fread(geometry, sizeof geometry, 1, file), 1);
  size_t n = (size_t)geometry[0] * (size_t)geometry[0] * 3;
  uint8_t *expected = malloc(n), *rgb = malloc(n);
  assert_true(expected && rgb);
  assert_int_equal(fread(expected, 1, n, file), n);
  fclose(file);

  path[strlen(path) - strlen(".rgb")] = '\0';
  tinytl_view view = centre_view(geometry[0], geometry[1]);
  tinytl_error error = {0};
  if (tinytl_picture_load(path, 0, &view, rgb, &error) != TINYTL_OK) fail_msg("%s", error.message);
  int difference = largest_difference(rgb, expected, n);
  if (difference > tolerance) fail_msg("%s: differs from Pillow by %d", name, difference);
  free(expected);
  free(rgb);
}

static void png_agrees_with_pillow(void **state) {
  (void)state;
  const char *const names[] = {"rgb",     "rgba",     "grey",    "grey_alpha",
                               "bilevel", "palette4", "palette", "palette_transparent"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s.png", names[i]);
    check_golden(name, 1);
  }
}

static void jpeg_agrees_with_pillow(void **state) {
  (void)state;
  const char *const names[] = {"wide.jpg", "tall.jpg", "444.jpg",     "progressive.jpg",
                               "grey.jpg", "cmyk.jpg", "upscaled.jpg"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_golden(names[i], 1);
}

static void every_orientation_is_upright(void **state) {
  (void)state;
  for (int orientation = 1; orientation <= 8; orientation++) {
    char name[64];
    snprintf(name, sizeof name, "orientation%d.jpg", orientation);
    check_golden(name, 1);
  }
}

/* Orientation 6 is 5 flipped from left to right; the crop is as wide as the upright picture. */
static void mirror_and_orientation_add_up(void **state) {
  (void)state;
  enum { SIZE = 24 };
  uint8_t rgb[2][2][SIZE * SIZE * 3]; /* [orientation 5, 6][as it is, mirrored] */
  tinytl_view view = {.size = SIZE, .augment = true, .min_scale = 1, .mirror = true};
  int index = 0;
  while (!tinytl_augment_draw(&view, index, SIZE, SIZE).mirror) index++;
  for (int flipped = 0; flipped < 2; flipped++)
    for (int mirrored = 0; mirrored < 2; mirrored++) {
      char path[600];
      snprintf(path, sizeof path, "%s/tests/golden/image/orientation%d.jpg", TINYTL_SOURCE_DIR,
               5 + flipped);
      view.mirror = mirrored;
      assert_int_equal(tinytl_picture_load(path, index, &view, rgb[flipped][mirrored], NULL),
                       TINYTL_OK);
    }
  assert_memory_not_equal(rgb[0][0], rgb[0][1], sizeof rgb[0][0]);
  assert_memory_equal(rgb[0][0], rgb[1][1], sizeof rgb[0][0]);
  assert_memory_equal(rgb[0][1], rgb[1][0], sizeof rgb[0][0]);
}

/* ---- Files made here ---------------------------------------------------------------------- */

/* At its own size a picture comes through pixel by pixel. */
static void check_pixels(const char *path, int size, int seed, int tolerance) {
  uint8_t rgb[24 * 24 * 3];
  tinytl_view view = centre_view(size, size);
  tinytl_error error = {0};
  if (tinytl_picture_load(path, 0, &view, rgb, &error) != TINYTL_OK) fail_msg("%s", error.message);
  for (int y = 0; y < size; y++)
    for (int x = 0; x < size; x++)
      for (int c = 0; c < 3; c++) {
        int difference = rgb[(y * size + x) * 3 + c] - pictures_pixel(seed, x, y, c);
        assert_true(abs(difference) <= tolerance);
      }
}

static void png_is_exact(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_write_png(&dir, "rgb.png", PICTURES_PNG_RGB, 24, 24, 1);
  pictures_write_png(&dir, "interlaced.png", PICTURES_PNG_INTERLACED, 24, 24, 2);
  pictures_write_png(&dir, "deep.png", PICTURES_PNG_16, 24, 24, 3);
  pictures_write_png(&dir, "really a png.jpg", PICTURES_PNG_RGB, 24, 24, 4);
  check_pixels(pictures_path(&dir, "rgb.png"), 24, 1, 0);
  check_pixels(pictures_path(&dir, "interlaced.png"), 24, 2, 0);
  check_pixels(pictures_path(&dir, "deep.png"), 24, 3, 0);
  check_pixels(pictures_path(&dir, "really a png.jpg"), 24, 4, 0);
  pictures_dir_remove(&dir);
}

/* A large JPEG is decoded at a reduced size; a PNG of the same pixels never is. */
static void reduced_decoding_is_not_seen(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  tinytl_view views[] = {centre_view(20, 24), {.size = 20, .augment = true, .min_scale = 0.5f}};
  /* A crop's edge may lie inside a reduced pixel, which then brings in what is outside. */
  const int tolerances[] = {4, 16};
  pictures_write_png(&dir, "a.png", PICTURES_PNG_RGB, 501, 403, 5);
  const pictures_jpeg kinds[] = {PICTURES_JPEG_RGB, PICTURES_JPEG_PROGRESSIVE, PICTURES_JPEG_YCCK};
  for (int k = 0; k < 3; k++)
    for (int v = 0; v < 2; v++) {
      uint8_t png[20 * 20 * 3], jpeg[20 * 20 * 3];
      pictures_write_jpeg(&dir, "a.jpg", kinds[k], 501, 403, 5);
      assert_int_equal(tinytl_picture_load(pictures_path(&dir, "a.png"), 3, &views[v], png, NULL),
                       TINYTL_OK);
      assert_int_equal(tinytl_picture_load(pictures_path(&dir, "a.jpg"), 3, &views[v], jpeg, NULL),
                       TINYTL_OK);
      assert_true(largest_difference(png, jpeg, sizeof png) <= tolerances[v]);
    }
  pictures_dir_remove(&dir);
}

/* ---- Bad input ---------------------------------------------------------------------------- */

static void truncated_pictures_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int png, jpeg; /* kinds; -1: not */
  } files[] = {{"rgb.png", PICTURES_PNG_RGB, -1},
               {"interlaced.png", PICTURES_PNG_INTERLACED, -1},
               {"rgb.jpg", -1, PICTURES_JPEG_RGB},
               {"progressive.jpg", -1, PICTURES_JPEG_PROGRESSIVE}};
  pictures_dir dir = pictures_dir_make();
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    for (int share = 0; share < 20; share++) { /* twentieths of the file that are left */
      const char *name = files[i].name;
      if (files[i].png >= 0)
        pictures_write_png(&dir, name, (pictures_png)files[i].png, 150, 100, 1);
      else
        pictures_write_jpeg(&dir, name, (pictures_jpeg)files[i].jpeg, 150, 100, 1);
      pictures_cut(&dir, name, pictures_nbytes(&dir, name) * (size_t)share / 20);
      assert_refused(&dir, name, share == 0 ? "empty file" : "");
    }
  pictures_dir_remove(&dir);
}

static size_t read_bytes(const pictures_dir *dir, const char *name, uint8_t *bytes, size_t most) {
  FILE *file = fopen(pictures_path(dir, name), "rb");
  assert_non_null(file);
  size_t n = fread(bytes, 1, most, file);
  fclose(file);
  assert_in_range(n, 100, most - 1);
  return n;
}

/* Any byte of the header changed: read or refused, never a fault. */
static void damaged_bytes_do_no_harm(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_write_jpeg(&dir, "good.jpg", PICTURES_JPEG_RGB, 40, 30, 1);
  pictures_write_png(&dir, "good.png", PICTURES_PNG_RGB, 20, 15, 1);
  const char *const names[] = {"good.jpg", "good.png"};
  for (int k = 0; k < 2; k++) {
    static uint8_t bytes[16384];
    size_t n = read_bytes(&dir, names[k], bytes, sizeof bytes);
    for (size_t i = 0; i < n; i += 1 + i / 200) {
      uint8_t old = bytes[i];
      bytes[i] = (uint8_t)(old ^ 0xff);
      pictures_write(&dir, "damaged", bytes, n);
      bytes[i] = old;
      tinytl_error error = {0};
      tinytl_status status = load_failing(pictures_path(&dir, "damaged"), &error);
      assert_true(status == TINYTL_OK || status == TINYTL_ERROR_DATA);
    }
  }
  pictures_dir_remove(&dir);
}

/* libjpeg only warns of these, and fills in pixels. Of a bad code libjpeg-turbo says nothing where
 * there are no restart markers and 3 KB of the file at hand. */
static void damaged_data_is_refused(void **state) {
  (void)state;
  static const struct {
    size_t at; /* bytes from the restart marker on */
    const char *bytes;
    size_t n;
    const char *reason;
  } damages[] = {{16, "\xff\xd9", 2, "premature end of data segment"},
                 {16, "\xff\0\xff\0\xff\0\xff\0\xff\0\xff", 12, "bad Huffman code"},
                 {0, "\xff\xd4", 2, "found marker 0xd4 instead of RST0"}};
  pictures_dir dir = pictures_dir_make();
  pictures_write_jpeg(&dir, "good.jpg", PICTURES_JPEG_RESTARTS, 40, 30, 1);
  assert_int_equal(load_failing(pictures_path(&dir, "good.jpg"), NULL), TINYTL_OK);
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    uint8_t bytes[3000];
    size_t n = read_bytes(&dir, "good.jpg", bytes, sizeof bytes), restart = 0;
    while (bytes[restart] != 0xff || bytes[restart + 1] != 0xd0) assert_true(++restart < n - 64);
    memcpy(bytes + restart + damages[i].at, damages[i].bytes, damages[i].n);
    pictures_write(&dir, "damaged.jpg", bytes, n);
    assert_refused(&dir, "damaged.jpg", damages[i].reason);
  }
  pictures_dir_remove(&dir);
}

static void what_is_no_picture_is_refused(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_write(&dir, "text.jpg", "just some words", 15);
  pictures_mkdir(&dir, "folder.jpg");
  assert_int_equal(mkfifo(pictures_path(&dir, "pipe.jpg"), 0600), 0);
  assert_refused(&dir, "text.jpg", "neither a JPEG nor a PNG");
  assert_refused(&dir, "missing.jpg", "No such file");
  assert_refused(&dir, "folder.jpg", "is a folder");
  assert_refused(&dir, "pipe.jpg", "not a regular file");
  pictures_dir_remove(&dir);
}

/* libjpeg-turbo 3 decodes it and does not reduce it: rows longer than the view expects. Versions
 * before refuse it at the header. */
static void a_lossless_jpeg_is_not_reduced(void **state) {
  (void)state;
  static const uint8_t frame[] = {0xff, 0xc3, 0, 17,  8,    0, 32,  0,    32, 3,
                                  'R',  0x11, 0, 'G', 0x11, 0, 'B', 0x11, 0};
  static const uint8_t code[22] = {0xff, 0xc4, 0, 20, 0, 1}; /* one, of one bit: as predicted */
  static const uint8_t scan[] = {0xff, 0xda, 0, 12, 3, 'R', 0, 'G', 0, 'B', 0, 1, 0, 0};
  static const uint8_t bits[32 * 32 * 3 / 8] = {0};
  pictures_dir dir = pictures_dir_make();
  FILE *file = fopen(pictures_path(&dir, "lossless.jpg"), "wb");
  assert_non_null(file);
  fwrite((uint8_t[]){0xff, 0xd8}, 1, 2, file);
  fwrite(frame, 1, sizeof frame, file);
  fwrite(code, 1, sizeof code, file);
  fwrite(scan, 1, sizeof scan, file);
  fwrite(bits, 1, sizeof bits, file);
  fwrite((uint8_t[]){0xff, 0xd9}, 1, 2, file);
  assert_int_equal(fclose(file), 0);
  assert_refused(&dir, "lossless.jpg", "JPEG");
  pictures_dir_remove(&dir);
}

static void views_out_of_range_are_refused(void **state) {
  (void)state;
  const tinytl_view views[] = {
      {.size = 0, .resize = 8},
      {.size = 4097, .resize = 4097},
      {.size = 8, .resize = 7},
      {.size = 8, .resize = 16385},
      {.size = 8, .augment = true, .min_scale = 0},
      {.size = 8, .augment = true, .min_scale = 1.5f},
      {.size = 8, .augment = true, .min_scale = 0.5f, .colour_jitter = 2},
  };
  for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
    uint8_t rgb[3];
    assert_int_equal(tinytl_picture_load("x.jpg", 0, &views[i], rgb, NULL), TINYTL_ERROR_USAGE);
  }
}

/* A wide interlaced PNG would have to be held whole. */
static void oversized_interlaced_png_is_refused(void **state) {
  (void)state;
  /* IHDR: 60,000 x 60,000, 8-bit RGB, Adam7; then an IDAT of no bytes. */
  static const uint8_t bytes[] = {
      0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44,
      0x52, 0x00, 0x00, 0xea, 0x60, 0x00, 0x00, 0xea, 0x60, 0x08, 0x02, 0x00, 0x00, 0x01, 0x78,
      0xb7, 0xd2, 0x83, 0x00, 0x00, 0x00, 0x00, 0x49, 0x44, 0x41, 0x54, 0x35, 0xaf, 0x06, 0x1e};
  pictures_dir dir = pictures_dir_make();
  pictures_write(&dir, "huge.png", bytes, sizeof bytes);
  assert_refused(&dir, "huge.png", "256.0 MB are allowed");
  pictures_dir_remove(&dir);
}

/* "scans.jpg": a grey progressive JPEG of 81,920 empty blocks at most, which says so n times. */
static void write_scans(const pictures_dir *dir, int width, int height, int n) {
  static const uint8_t quantisation[69] = {0xff, 0xdb, 0, 67, 0, 1};
  uint8_t frame[13] = {0xff, 0xc2, 0, 11, 8, 0, 0, 0, 0, 1, 1, 0x11, 0};
  /* The bit 0, and 14 bits of how many more follow: 16,384 empty blocks. */
  static const uint8_t code[22] = {0xff, 0xc4, 0, 20, 0x10, 1, [21] = 0xe0};
  static const uint8_t scan[20] = {0xff, 0xda, 0, 8, 1, 1, 0, 1, 63}; /* and five of these */
  frame[5] = (uint8_t)(height >> 8);
  frame[6] = (uint8_t)height;
  frame[7] = (uint8_t)(width >> 8);
  frame[8] = (uint8_t)width;
  FILE *file = fopen(pictures_path(dir, "scans.jpg"), "wb");
  assert_non_null(file);
  fwrite((uint8_t[]){0xff, 0xd8}, 1, 2, file);
  fwrite(quantisation, 1, sizeof quantisation, file);
  fwrite(frame, 1, sizeof frame, file);
  fwrite(code, 1, sizeof code, file);
  for (int i = 0; i < n; i++) fwrite(scan, 1, sizeof scan, file);
  fwrite((uint8_t[]){0xff, 0xd9}, 1, 2, file);
  assert_int_equal(fclose(file), 0);
}

/* Each scan passes over the whole picture: 0.3 MB took minutes. */
static void too_many_scans_are_refused(void **state) {
  (void)state;
  tinytl_error error = {0};
  pictures_dir dir = pictures_dir_make();
  write_scans(&dir, 8, 8, 500);
  if (load_failing(pictures_path(&dir, "scans.jpg"), &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  write_scans(&dir, 8, 8, 501);
  assert_refused(&dir, "scans.jpg", "more than 500 scans");
  write_scans(&dir, 2560, 2048, 477); /* times the pixels just above 2.5e9 */
  assert_refused(&dir, "scans.jpg", "more scans than are supported at this size");
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(png_agrees_with_pillow),
      cmocka_unit_test(jpeg_agrees_with_pillow),
      cmocka_unit_test(every_orientation_is_upright),
      cmocka_unit_test(mirror_and_orientation_add_up),
      cmocka_unit_test(png_is_exact),
      cmocka_unit_test(reduced_decoding_is_not_seen),
      cmocka_unit_test(truncated_pictures_are_refused),
      cmocka_unit_test(damaged_bytes_do_no_harm),
      cmocka_unit_test(damaged_data_is_refused),
      cmocka_unit_test(what_is_no_picture_is_refused),
      cmocka_unit_test(a_lossless_jpeg_is_not_reduced),
      cmocka_unit_test(views_out_of_range_are_refused),
      cmocka_unit_test(oversized_interlaced_png_is_refused),
      cmocka_unit_test(too_many_scans_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
