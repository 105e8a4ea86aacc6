#include "support/pictures.h"
#include "support/cmocka.h"

#include <stdio.h>

#include <dirent.h>
#include <jpeglib.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

pictures_dir pictures_dir_make(void) {
  pictures_dir dir;
  const char *parent = getenv("TMPDIR");
  snprintf(dir.path, sizeof dir.path, "%.160s/tinytl-test-XXXXXX", parent ? parent : "/tmp");
  assert_non_null(mkdtemp(dir.path));
  return dir;
}

static void remove_tree(const char *path) {
  struct stat about;
  assert_int_equal(lstat(path, &about), 0);
  if (!S_ISDIR(about.st_mode)) {
    assert_int_equal(unlink(path), 0);
    return;
  }
  chmod(path, 0700);
  DIR *dir = opendir(path);
  assert_non_null(dir);
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char child[1024];
    snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
    remove_tree(child);
  }
  closedir(dir);
  assert_int_equal(rmdir(path), 0);
}

void pictures_dir_remove(const pictures_dir *dir) {
  remove_tree(dir->path);
}

const char *pictures_path(const pictures_dir *dir, const char *name) {
  static char paths[4][600];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", dir->path, name);
  return path;
}

void pictures_mkdir(const pictures_dir *dir, const char *name) {
  assert_int_equal(mkdir(pictures_path(dir, name), 0700), 0);
}

static FILE *create(const pictures_dir *dir, const char *name) {
  FILE *file = fopen(pictures_path(dir, name), "wb");
  assert_non_null(file);
  return file;
}

void pictures_write(const pictures_dir *dir, const char *name, const void *bytes, size_t nbytes) {
  FILE *file = create(dir, name);
  assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
  assert_int_equal(fclose(file), 0);
}

void pictures_cut(const pictures_dir *dir, const char *name, size_t nbytes) {
  assert_int_equal(truncate(pictures_path(dir, name), (off_t)nbytes), 0);
}

size_t pictures_nbytes(const pictures_dir *dir, const char *name) {
  struct stat about;
  assert_int_equal(stat(pictures_path(dir, name), &about), 0);
  return (size_t)about.st_size;
}

uint8_t pictures_pixel(int seed, int x, int y, int channel) {
  int phase = ((x + seed * 17) * (3 + channel) + y * (5 - channel)) % 400;
  return (uint8_t)(20 + (phase < 200 ? phase : 400 - phase));
}

/* Adobe's CMYK is stored inverted; with black left at 255 (none) the inks are the colours. */
static void fill_jpeg_row(uint8_t *row, const struct jpeg_compress_struct *jpeg, int seed, int y) {
  for (int x = 0; x < (int)jpeg->image_width; x++)
    for (int c = 0; c < jpeg->input_components; c++)
      *row++ = c < 3 ? pictures_pixel(seed, x, y, c) : 255;
}

void pictures_write_jpeg(const pictures_dir *dir, const char *name, pictures_jpeg kind, int width,
                         int height, int seed) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors; /* the default: a failure ends the test program */
  FILE *file = create(dir, name);
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_stdio_dest(&jpeg, file);
  jpeg.image_width = (JDIMENSION)width;
  jpeg.image_height = (JDIMENSION)height;
  bool ycck = kind == PICTURES_JPEG_YCCK;
  jpeg.input_components = ycck ? 4 : 3;
  jpeg.in_color_space = ycck ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (ycck) jpeg_set_colorspace(&jpeg, JCS_YCCK);
  if (kind == PICTURES_JPEG_PROGRESSIVE) jpeg_simple_progression(&jpeg);
  if (kind == PICTURES_JPEG_RESTARTS) jpeg.restart_in_rows = 1;
  jpeg_start_compress(&jpeg, TRUE);
  uint8_t *row = malloc((size_t)width * 4);
  assert_non_null(row);
  for (int y = 0; y < height; y++) {
    fill_jpeg_row(row, &jpeg, seed, y);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  free(row);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  assert_int_equal(fclose(file), 0);
}

/* Of 16 bits the lower 8 are noise. */
static void fill_png_row(uint8_t *row, pictures_png kind, int width, int seed, int y) {
  for (int x = 0; x < width; x++)
    for (int c = 0; c < 3; c++) {
      *row++ = pictures_pixel(seed, x, y, c);
      if (kind == PICTURES_PNG_16) *row++ = (uint8_t)(x * 89 + c);
    }
}

void pictures_write_png(const pictures_dir *dir, const char *name, pictures_png kind, int width,
                        int height, int seed) {
  FILE *file = create(dir, name);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  assert_non_null(png);
  png_infop info = png_create_info_struct(png);
  assert_non_null(info);
  png_init_io(png, file);
  png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, kind == PICTURES_PNG_16 ? 16 : 8,
               PNG_COLOR_TYPE_RGB,
               kind == PICTURES_PNG_INTERLACED ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  int n_passes = png_set_interlace_handling(png);
  uint8_t *row = malloc((size_t)width * 6);
  assert_non_null(row);
  for (int pass = 0; pass < n_passes; pass++)
    for (int y = 0; y < height; y++) {
      fill_png_row(row, kind, width, seed, y);
      png_write_row(png, row);
    }
  free(row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  assert_int_equal(fclose(file), 0);
}
