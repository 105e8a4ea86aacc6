/* What decoding takes, counted, against the bound that the header gives. */
#include "image/image.h"
#include "support/cmocka.h"
#include "support/pictures.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counting ----------------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

static size_t in_use, most_in_use; /* bytes of the heap, of this program and its libraries */

/* These take the place of the C library's; a sanitizer wants that for itself. */
#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTS true
#include <malloc.h>

void *__libc_malloc(size_t nbytes);
void *__libc_calloc(size_t n, size_t nbytes);
void *__libc_realloc(void *memory, size_t nbytes);
void *__libc_memalign(size_t align, size_t nbytes);
void __libc_free(void *memory);

/* Of a piece: and malloc's own words before it. */
static size_t piece_nbytes(void *memory) {
  return memory ? malloc_usable_size(memory) + sizeof(size_t) : 0;
}

static void *counted(void *memory) {
  in_use += piece_nbytes(memory);
  if (in_use > most_in_use) most_in_use = in_use;
  return memory;
}

void *malloc(size_t nbytes) {
  return counted(__libc_malloc(nbytes));
}

void *calloc(size_t n, size_t nbytes) {
  return counted(__libc_calloc(n, nbytes));
}

void *realloc(void *memory, size_t nbytes) {
  in_use -= piece_nbytes(memory);
  return counted(__libc_realloc(memory, nbytes));
}

void *aligned_alloc(size_t align, size_t nbytes) {
  return counted(__libc_memalign(align, nbytes));
}

void free(void *memory) {
  in_use -= piece_nbytes(memory);
  __libc_free(memory);
}
#else
#define COUNTS false
#endif

static uint8_t pixels[512 * 512 * 3];

/* Loads, and tells the most that was taken meanwhile; nothing may be left. */
static tinytl_status load(const char *path, int index, const tinytl_view *view, size_t *taken,
                          tinytl_error *error) {
  size_t before = most_in_use = in_use;
  tinytl_status status = tinytl_picture_load(path, index, view, pixels, error);
  assert_int_equal(in_use, before);
  *taken = most_in_use - before;
  return status;
}

/* ---- Pictures ----------------------------------------------------------------------------- */

/* A JPEG of one colour, made without encoding it: with Huffman tables of one code of one bit, every
 * block is one or two zero bits, and a file of zeros need not lie on the disk. */
typedef struct flat_jpeg {
  int width, height, n_components, h, v; /* sampling factors of the first; the others have 1 x 1 */
  enum { SEQUENTIAL, PROGRESSIVE, SEPARATE_SCANS } scans;
} flat_jpeg;

static void put_scan(FILE *file, int first, int n, bool progressive) {
  const uint8_t head[] = {0xff, 0xda, 0, (uint8_t)(6 + 2 * n), (uint8_t)n};
  fwrite(head, 1, sizeof head, file);
  for (int c = first; c < first + n; c++) fwrite((uint8_t[]){(uint8_t)(c + 1), 0}, 1, 2, file);
  fwrite((uint8_t[]){0, progressive ? 0 : 63, 0}, 1, 3, file);
}

static void write_flat_jpeg(const pictures_dir *dir, const char *name, const flat_jpeg *jpeg) {
  FILE *file = fopen(pictures_path(dir, name), "wb");
  assert_non_null(file);
  fwrite((uint8_t[]){0xff, 0xd8, 0xff, 0xdb, 0, 67, 0}, 1, 7, file); /* SOI, DQT */
  for (int i = 0; i < 64; i++) putc(1, file);
  bool progressive = jpeg->scans == PROGRESSIVE;
  int n = jpeg->n_components;
  const uint8_t frame[] = {0xff,
                           progressive ? 0xc2 : 0xc0,
                           0,
                           (uint8_t)(8 + 3 * n),
                           8,
                           (uint8_t)(jpeg->height >> 8),
                           (uint8_t)jpeg->height,
                           (uint8_t)(jpeg->width >> 8),
                           (uint8_t)jpeg->width,
                           (uint8_t)n};
  fwrite(frame, 1, sizeof frame, file);
  for (int c = 0; c < n; c++) {
    int factors = c == 0 ? jpeg->h << 4 | jpeg->v : 0x11;
    fwrite((uint8_t[]){(uint8_t)(c + 1), (uint8_t)factors, 0}, 1, 3, file);
  }
  for (int table = 0; table < 2; table++) { /* DHT, DC and AC: the one symbol is 0 */
    fwrite((uint8_t[]){0xff, 0xc4, 0, 20, (uint8_t)(table << 4), 1}, 1, 6, file);
    for (int i = 0; i < 16; i++) putc(0, file);
  }
  int n_scans = jpeg->scans == SEPARATE_SCANS ? n : 1;
  long scan_nbytes = ((long)(jpeg->width + 32) / 8) * ((jpeg->height + 32) / 8) * n / 4 + 64;
  for (int s = 0; s < n_scans; s++) {
    put_scan(file, s, n / n_scans, progressive);
    fseek(file, scan_nbytes, SEEK_CUR);
  }
  fwrite((uint8_t[]){0xff, 0xd9}, 1, 2, file);
  assert_int_equal(fclose(file), 0);
}

typedef struct flat_png {
  int width, height, depth, colour, interlace;
} flat_png;

/* What a file may carry besides: all kinds of chunks, each of half a megabyte. */
static void put_chunks(png_structp png, png_infop info) {
  static char words[500000];
  memset(words, 'x', sizeof words - 1);
  png_text texts[3] = {{.compression = PNG_TEXT_COMPRESSION_NONE, .key = "a", .text = words},
                       {.compression = PNG_TEXT_COMPRESSION_zTXt, .key = "b", .text = words},
                       {.compression = PNG_ITXT_COMPRESSION_zTXt, .key = "c", .text = words}};
  for (int i = 0; i < 3; i++) texts[i].text_length = sizeof words - 1;
  png_set_text(png, info, texts, 3);
  png_unknown_chunk unknown = {
      .name = "tiNy", .data = (png_byte *)words, .size = sizeof words, .location = PNG_HAVE_IHDR};
  png_set_unknown_chunks(png, info, &unknown, 1);
  png_color_16 transparent = {.gray = 1, .red = 1, .green = 1, .blue = 1};
  if (!(png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA))
    png_set_tRNS(png, info, NULL, 0, &transparent);
}

static void write_flat_png(const pictures_dir *dir, const char *name, const flat_png *spec,
                           bool with_chunks) {
  FILE *file = fopen(pictures_path(dir, name), "wb");
  assert_non_null(file);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  assert_non_null(png);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_compression_level(png, 1);
  png_set_IHDR(png, info, (png_uint_32)spec->width, (png_uint_32)spec->height, spec->depth,
               spec->colour, spec->interlace, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_color colours[16] = {{0}};
  if (spec->colour == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, colours, 16);
  if (with_chunks) put_chunks(png, info);
  png_write_info(png, info);
  uint8_t *row = calloc((size_t)spec->width, 8);
  assert_non_null(row);
  for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
    for (int y = 0; y < spec->height; y++) png_write_row(png, row);
  png_write_end(png, info);
  free(row);
  png_destroy_write_struct(&png, &info);
  assert_int_equal(fclose(file), 0);
}

/* ---- The bound ---------------------------------------------------------------------------- */

static const tinytl_view views[] = {
    {.size = 224, .resize = 256},
    {.size = 32, .resize = 32},
    {.size = 512, .resize = 600},
    {.size = 224, .augment = true, .min_scale = 0.25f, .mirror = true},
    {.size = 64, .augment = true, .min_scale = 0.05f},
};

/* Never more than the bound, and not much less: of random crops the most costly one. */
static void check_bound(const char *path, const char *what, tinytl_view view) {
  tinytl_picture_info info;
  tinytl_error error = {0};
  most_in_use = in_use;
  size_t before = in_use;
  if (tinytl_picture_check(path, &info, &error) != TINYTL_OK) fail_msg("%s", error.message);
  assert_in_range(most_in_use - before, 0, TINYTL_PICTURE_HEADER_NBYTES);
  size_t need = tinytl_picture_need(&info, &view), most = 0;
  view.max_nbytes = need; /* what is counted inside stays below, with any allocator */
  for (int index = 0; index < (view.augment ? 3 : 1); index++) {
    size_t taken;
    if (load(path, index, &view, &taken, &error) != TINYTL_OK) fail_msg("%s", error.message);
    most = taken > most ? taken : most;
  }
  if (getenv("TINYTL_TEST_SHOW"))
    print_message("%-44s size %3d %s: needs %9zu, takes %9zu\n", what, view.size,
                  view.augment ? "crops" : "     ", need, most);
  if (most > need) fail_msg("%s: takes %zu, bound %zu", what, most, need);
  size_t tight = most + most / 10 + ((size_t)64 << 10);
  if (COUNTS && !view.augment && need > tight)
    fail_msg("%s: bound %zu, takes %zu", what, need, most);

  size_t taken;
  view.max_nbytes = need - 1;
  assert_int_equal(load(path, 0, &view, &taken, &error), TINYTL_ERROR_DATA);
  assert_non_null(strstr(error.message, "MB are allowed"));
  assert_in_range(taken, 0, TINYTL_PICTURE_HEADER_NBYTES);
}

static void check_views(const char *path, const char *what) {
  for (size_t v = 0; v < sizeof views / sizeof *views; v++) check_bound(path, what, views[v]);
}

static void flat_jpegs_stay_inside(void **state) {
  (void)state;
  static const flat_jpeg kinds[] = {
      {500, 375, 3, 2, 2, SEQUENTIAL},     {500, 375, 3, 1, 1, SEQUENTIAL},
      {500, 375, 3, 2, 1, SEQUENTIAL},     {500, 375, 3, 1, 2, SEQUENTIAL},
      {500, 375, 3, 4, 1, SEQUENTIAL},     {500, 375, 3, 4, 2, SEQUENTIAL},
      {500, 375, 1, 1, 1, SEQUENTIAL},     {500, 375, 1, 2, 2, SEQUENTIAL},
      {500, 375, 4, 1, 1, SEQUENTIAL},     {500, 375, 4, 2, 2, SEQUENTIAL},
      {1, 1, 3, 2, 2, SEQUENTIAL},         {9, 2000, 3, 2, 2, SEQUENTIAL},
      {65500, 20, 3, 2, 2, SEQUENTIAL},    {65500, 40, 3, 1, 1, SEQUENTIAL},
      {20, 65500, 3, 2, 1, SEQUENTIAL},    {2400, 1800, 3, 2, 2, SEQUENTIAL},
      {500, 375, 3, 2, 2, PROGRESSIVE},    {500, 375, 3, 1, 1, PROGRESSIVE},
      {500, 375, 1, 1, 1, PROGRESSIVE},    {1201, 901, 3, 2, 2, PROGRESSIVE},
      {801, 601, 4, 1, 2, PROGRESSIVE},    {65500, 20, 3, 2, 2, PROGRESSIVE},
      {500, 375, 3, 2, 2, SEPARATE_SCANS}, {17, 33, 3, 4, 2, SEPARATE_SCANS},
      {601, 401, 4, 2, 1, SEPARATE_SCANS}, {601, 401, 3, 3, 1, SEQUENTIAL},
  };
  pictures_dir dir = pictures_dir_make();
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const flat_jpeg *k = &kinds[i];
    static const char *const scans[] = {"", " progressive", " separate scans"};
    char what[100];
    snprintf(what, sizeof what, "JPEG %d x %d of %d, %dx%d%s", k->width, k->height, k->n_components,
             k->h, k->v, scans[k->scans]);
    write_flat_jpeg(&dir, "a.jpg", k);
    check_views(pictures_path(&dir, "a.jpg"), what);
  }
  pictures_dir_remove(&dir);
}

/* All Huffman tables, many scans. */
static void encoded_jpegs_stay_inside(void **state) {
  (void)state;
  static const char *const what[] = {"JPEG RGB", "JPEG progressive", "JPEG YCCK"};
  pictures_dir dir = pictures_dir_make();
  for (int kind = PICTURES_JPEG_RGB; kind <= PICTURES_JPEG_YCCK; kind++) {
    pictures_write_jpeg(&dir, "a.jpg", (pictures_jpeg)kind, 700, 500, 1);
    check_views(pictures_path(&dir, "a.jpg"), what[kind]);
  }
  pictures_dir_remove(&dir);
}

static void pngs_stay_inside(void **state) {
  (void)state;
  static const int colours[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA,
                                PNG_COLOR_TYPE_PALETTE, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
  static const int sizes[][2] = {{500, 375}, {1, 1}, {65500, 9}, {7, 3000}};
  pictures_dir dir = pictures_dir_make();
  for (int c = 0; c < 5; c++)
    for (int s = 0; s < 4; s++)
      for (int variant = 0; variant < 4; variant++) { /* deep or not, interlaced or not */
        bool palette = colours[c] == PNG_COLOR_TYPE_PALETTE;
        bool tiny = palette || colours[c] == PNG_COLOR_TYPE_GRAY;
        flat_png png = {sizes[s][0], sizes[s][1],
                        variant & 1 ? 16
                        : tiny      ? 4
                                    : 8,
                        colours[c], variant & 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE};
        if (palette && png.depth == 16) continue;
        char what[100];
        snprintf(what, sizeof what, "PNG %d x %d colour %d depth %d%s", png.width, png.height,
                 png.colour, png.depth, png.interlace ? " interlaced" : "");
        write_flat_png(&dir, "a.png", &png, s == 0 && variant == 0 && !palette);
        check_bound(pictures_path(&dir, "a.png"), what, views[0]);
        check_bound(pictures_path(&dir, "a.png"), what, views[3]);
      }
  pictures_dir_remove(&dir);
}

/* ---- Limits ------------------------------------------------------------------------------- */

/* Whatever the limit: refused or loaded, and never over it. */
static void every_limit_holds(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  const char *const names[] = {"a.jpg", "progressive.jpg", "a.png", "interlaced.png"};
  pictures_write_jpeg(&dir, names[0], PICTURES_JPEG_RGB, 300, 200, 1);
  pictures_write_jpeg(&dir, names[1], PICTURES_JPEG_PROGRESSIVE, 300, 200, 1);
  pictures_write_png(&dir, names[2], PICTURES_PNG_RGB, 300, 200, 1);
  pictures_write_png(&dir, names[3], PICTURES_PNG_INTERLACED, 300, 200, 1);
  for (int i = 0; i < 4; i++) {
    int n_loaded = 0;
    for (size_t limit = 1; limit < 3000000; limit += limit / 3 + 1) {
      tinytl_view view = {.size = 100, .resize = 120, .max_nbytes = limit};
      tinytl_error error = {0};
      size_t taken;
      tinytl_status status = load(pictures_path(&dir, names[i]), 0, &view, &taken, &error);
      assert_true(status == TINYTL_OK || status == TINYTL_ERROR_DATA);
      n_loaded += status == TINYTL_OK;
      assert_true(taken <= tinytl_size_max(limit, TINYTL_BUDGET_OUTSIDE_NBYTES));
    }
    assert_true(n_loaded > 0);
  }
  pictures_dir_remove(&dir);
}

static void check_refused(const char *path, size_t max_nbytes, const char *message) {
  const tinytl_view view = {.size = 224, .resize = 256, .max_nbytes = max_nbytes};
  tinytl_error error = {0};
  size_t taken;
  assert_int_equal(load(path, 0, &view, &taken, &error), TINYTL_ERROR_DATA);
  assert_in_range(taken, 0, TINYTL_PICTURE_HEADER_NBYTES);
  assert_string_equal(error.message + strlen(path) + 2, message);
}

static void what_needs_too_much_is_named(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  const flat_jpeg progressive = {4000, 3000, 3, 2, 2, PROGRESSIVE};
  const flat_jpeg huge = {30000, 30000, 3, 2, 2, PROGRESSIVE};
  const flat_png interlaced = {3000, 2000, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7};
  write_flat_jpeg(&dir, "a.jpg", &progressive);
  check_refused(pictures_path(&dir, "a.jpg"), 3000000,
                "progressive JPEG of 4000 x 3000 pixels: decoding needs 36.2 MB, 3.0 MB are "
                "allowed");
  write_flat_jpeg(&dir, "a.jpg", &huge);
  check_refused(pictures_path(&dir, "a.jpg"), 0,
                "progressive JPEG of 30000 x 30000 pixels: decoding needs 2700.2 MB, 256.0 MB are "
                "allowed");
  write_flat_png(&dir, "a.png", &interlaced, false);
  check_refused(pictures_path(&dir, "a.png"), 3000000,
                "interlaced PNG of 3000 x 2000 pixels: decoding needs 18.1 MB, 3.0 MB are allowed");
  pictures_dir_remove(&dir);
}

/* 900 million pixels: reduced while they are decoded, a few rows at a time. */
static void a_huge_jpeg_takes_little(void **state) {
  (void)state;
  const flat_jpeg huge = {30000, 30000, 3, 2, 2, SEQUENTIAL};
  const tinytl_view view = {.size = 224, .resize = 256, .max_nbytes = 2000000};
  pictures_dir dir = pictures_dir_make();
  write_flat_jpeg(&dir, "a.jpg", &huge);
  tinytl_error error = {0};
  size_t taken;
  tinytl_status status = load(pictures_path(&dir, "a.jpg"), 0, &view, &taken, &error);
  if (status != TINYTL_OK) fail_msg("%s", error.message);
  assert_in_range(taken, 0, view.max_nbytes);
  for (size_t i = 0; i < 3 * 224 * 224; i++) assert_int_equal(pixels[i], pixels[i % 3]);
  pictures_dir_remove(&dir);
}

/* 40 EXIF segments of 64 KB: none is kept, and the orientation of the first that has one holds. */
static void segments_are_not_kept(void **state) {
  (void)state;
  static const uint8_t exif[] = {'E', 'x', 'i',  'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,
                                 1,   0,   0x12, 1,   3, 0, 1,   0,   0,  0, 6, 0, 0, 0};
  static uint8_t bytes[16384], segment[65535 + 2];
  pictures_dir dir = pictures_dir_make();
  pictures_write_jpeg(&dir, "a.jpg", PICTURES_JPEG_RGB, 60, 40, 1);
  FILE *file = fopen(pictures_path(&dir, "a.jpg"), "rb");
  assert_non_null(file);
  size_t n = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  file = fopen(pictures_path(&dir, "b.jpg"), "wb");
  assert_non_null(file);
  fwrite(bytes, 1, 2, file); /* SOI */
  for (int i = 0; i < 40; i++) {
    memcpy(segment, (uint8_t[]){0xff, 0xe1, 0xff, 0xff}, 4);
    if (i == 3) memcpy(segment + 4, exif, sizeof exif);
    if (i == 5) segment[4 + 24] = 3; /* another orientation */
    fwrite(segment, 1, sizeof segment, file);
  }
  fwrite(bytes + 2, 1, n - 2, file);
  assert_int_equal(fclose(file), 0);

  tinytl_picture_info info;
  size_t before = most_in_use = in_use;
  assert_int_equal(tinytl_picture_check(pictures_path(&dir, "b.jpg"), &info, NULL), TINYTL_OK);
  assert_in_range(most_in_use - before, 0, TINYTL_PICTURE_HEADER_NBYTES);
  assert_int_equal(info.orientation, 6);
  check_views(pictures_path(&dir, "b.jpg"), "JPEG of 40 EXIF segments");
  pictures_dir_remove(&dir);
}

/* Decoding many pictures leaves the heap as it was, whatever came between. */
static void nothing_is_left_behind(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  const char *const names[] = {"a.jpg", "b.jpg", "c.png", "d.png", "cut.jpg", "cut.png"};
  pictures_write_jpeg(&dir, names[0], PICTURES_JPEG_RGB, 90, 60, 1);
  pictures_write_jpeg(&dir, names[1], PICTURES_JPEG_PROGRESSIVE, 300, 200, 1);
  pictures_write_png(&dir, names[2], PICTURES_PNG_INTERLACED, 80, 90, 1);
  pictures_write_png(&dir, names[3], PICTURES_PNG_16, 200, 30, 1);
  pictures_write_jpeg(&dir, names[4], PICTURES_JPEG_PROGRESSIVE, 90, 60, 1);
  pictures_write_png(&dir, names[5], PICTURES_PNG_INTERLACED, 90, 60, 1);
  for (int i = 4; i < 6; i++) pictures_cut(&dir, names[i], pictures_nbytes(&dir, names[i]) / 2);
  for (int i = 0; i < 300; i++) {
    const tinytl_view view = {.size = 32 + i % 3, .augment = true, .min_scale = 0.25f};
    size_t taken; /* load looks at what is left */
    tinytl_status status = load(pictures_path(&dir, names[i % 6]), i, &view, &taken, NULL);
    assert_int_equal(status, i % 6 < 4 ? TINYTL_OK : TINYTL_ERROR_DATA);
  }
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flat_jpegs_stay_inside),
      cmocka_unit_test(encoded_jpegs_stay_inside),
      cmocka_unit_test(pngs_stay_inside),
      cmocka_unit_test(every_limit_holds),
      cmocka_unit_test(what_needs_too_much_is_named),
      cmocka_unit_test(a_huge_jpeg_takes_little),
      cmocka_unit_test(segments_are_not_kept),
      cmocka_unit_test(nothing_is_left_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
