/* A picture file, its header first: what is whole decodes in the memory that the header says. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz.h"
#include "image/image.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_PIXELS = 1 << 22, MAX_SIZE = 64 };

/* The view depends on the length, so that the bytes stay a picture. */
static tinytl_view view_of(size_t nbytes) {
  return (tinytl_view){.size = 1 + (int)(nbytes % MAX_SIZE),
                       .resize = MAX_SIZE + (int)(nbytes % 7),
                       .augment = nbytes % 3 == 0,
                       .min_scale = 0.25f,
                       .mirror = true,
                       .colour_jitter = 0.5f,
                       .seed = nbytes,
                       .max_nbytes = nbytes % 5 == 0 ? 100000 : 0};
}

static void decode(const char *path, const tinytl_view *view) {
  tinytl_picture_info info;
  tinytl_error error;
  tinytl_status status = tinytl_picture_check(path, &info, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_DATA);
  if (status != TINYTL_OK || (size_t)info.width * info.height > MAX_PIXELS) return;
  uint8_t *rgb = malloc((size_t)(view->size * view->size * 3));
  status = tinytl_picture_load(path, 1, view, rgb, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_DATA);
  tinytl_view planned = *view;
  planned.max_nbytes = tinytl_picture_need(&info, view);
  if (status == TINYTL_OK)
    FUZZ_EXPECT(tinytl_picture_load(path, 1, &planned, rgb, &error) == TINYTL_OK);
  free(rgb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  char path[64];
  const tinytl_view view = view_of(nbytes);
  const int fd = memfd_create("fuzz", 0);
  FUZZ_EXPECT(fd >= 0 && write(fd, data, nbytes) == (ssize_t)nbytes);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  decode(path, &view);
  close(fd);
  (void)tinytl_exif_orientation(data, nbytes);
  return 0;
}
