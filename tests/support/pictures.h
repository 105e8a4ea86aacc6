/* A temporary folder, and picture files to put there. Failures end the test. */
#ifndef TESTS_SUPPORT_PICTURES_H
#define TESTS_SUPPORT_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pictures_dir {
  char path[200];
} pictures_dir;

pictures_dir pictures_dir_make(void);
void pictures_dir_remove(const pictures_dir *dir); /* and all that is in it */

/* DIR/name, in a buffer that the fourth call after this one overwrites. */
const char *pictures_path(const pictures_dir *dir, const char *name);

void pictures_mkdir(const pictures_dir *dir, const char *name);
void pictures_write(const pictures_dir *dir, const char *name, const void *bytes, size_t nbytes);
/* Keeps the first nbytes of a file. */
void pictures_cut(const pictures_dir *dir, const char *name, size_t nbytes);
size_t pictures_nbytes(const pictures_dir *dir, const char *name);

/* The colour of a pixel of every picture written here: smooth, and different for every seed. */
uint8_t pictures_pixel(int seed, int x, int y, int channel);

typedef enum pictures_jpeg {
  PICTURES_JPEG_RGB,
  PICTURES_JPEG_PROGRESSIVE,
  PICTURES_JPEG_YCCK,
  PICTURES_JPEG_RESTARTS /* a restart marker after every row of blocks */
} pictures_jpeg;
void pictures_write_jpeg(const pictures_dir *dir, const char *name, pictures_jpeg kind, int width,
                         int height, int seed);

typedef enum pictures_png {
  PICTURES_PNG_RGB,
  PICTURES_PNG_INTERLACED,
  PICTURES_PNG_16
} pictures_png;
void pictures_write_png(const pictures_dir *dir, const char *name, pictures_png kind, int width,
                        int height, int seed);

#endif
