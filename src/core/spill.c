#define _DEFAULT_SOURCE /* mkstemp */
#include "core/spill.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tinytl_spill {
  int fd;
  char dir[]; /* for messages */
};

static tinytl_status fail(const tinytl_spill *spill, const char *what, int reason,
                          tinytl_error *error) {
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "%s: temporary file cannot be %s: %s",
                     spill->dir, what, strerror(reason));
}

static int open_nameless(const char *dir) {
  const size_t size = strlen(dir) + sizeof "/.tinytl.XXXXXX";
  char *path = malloc(size);
  if (!path) return -1;
  snprintf(path, size, "%s/.tinytl.XXXXXX", dir);
  const int fd = mkstemp(path);
  if (fd >= 0) unlink(path);
  free(path);
  return fd;
}

tinytl_status tinytl_spill_create(const char *dir, tinytl_spill **spill, tinytl_error *error) {
  const size_t size = sizeof(tinytl_spill) + strlen(dir) + 1;
  tinytl_spill *made = malloc(size);
  if (!made) return tinytl_fail_memory(error, size);
  memcpy(made->dir, dir, strlen(dir) + 1);
  errno = ENOENT; /* of no name at all: not the root folder */
  made->fd = *dir ? open_nameless(dir) : -1;
  if (made->fd < 0) {
    const tinytl_status status = fail(made, "made", errno, error);
    free(made);
    return status;
  }
  *spill = made;
  return TINYTL_OK;
}

tinytl_status tinytl_spill_write(tinytl_spill *spill, uint64_t offset, const void *bytes,
                                 size_t nbytes, tinytl_error *error) {
  const char *from = bytes;
  while (nbytes > 0) {
    const ssize_t n = pwrite(spill->fd, from, nbytes, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(spill, "written", n < 0 ? errno : ENOSPC, error);
    from += n;
    offset += (uint64_t)n;
    nbytes -= (size_t)n;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_spill_read(tinytl_spill *spill, uint64_t offset, void *bytes, size_t nbytes,
                                tinytl_error *error) {
  char *to = bytes;
  while (nbytes > 0) {
    const ssize_t n = pread(spill->fd, to, nbytes, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(spill, "read", n < 0 ? errno : EIO, error);
    to += n;
    offset += (uint64_t)n;
    nbytes -= (size_t)n;
  }
  return TINYTL_OK;
}

void tinytl_spill_free(tinytl_spill *spill) {
  if (!spill) return;
  close(spill->fd);
  free(spill);
}
