#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "terminal.h"

/* ---- The lock ----------------------------------------------------------------------------- */

/* A lock of the system ends with its process, however that ends. It cannot be on the checkpoint
 * itself, which is another file after every save. */

/* The file that has the path now may be another than the one that was opened and waited for. */
static bool is_at(int fd, const char *path) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

static tinytl_status fail_locked(const cli_checkpoint *c, int fd, tinytl_error *error) {
  char holder[32] = "";
  ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
  holder[n > 0 ? strspn(holder, "0123456789") : 0] = '\0';
  return cli_fail(error, TINYTL_ERROR_USAGE, "%s: another run is using it: process %s", c->path,
                  *holder ? holder : "unknown");
}

/* Only a process's number, or nothing yet, is in a lock: what else is there is somebody's file. */
static bool is_lock(int fd) {
  char text[32] = "";
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  return n >= 0 && n < (ssize_t)sizeof text - 1 && strspn(text, "0123456789\n") == (size_t)n;
}

static tinytl_status lock(cli_checkpoint *c, tinytl_error *error) {
  for (;;) {
    int fd = open(c->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
      return cli_fail(error, TINYTL_ERROR_INTERNAL, "%s: cannot be written: %s", c->lock_path,
                      strerror(errno));
    }
    if (!is_lock(fd)) {
      close(fd);
      return cli_fail(error, TINYTL_ERROR_USAGE,
                      "%s: is no lock of a checkpoint, which --checkpoint keeps there",
                      c->lock_path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      int reason = errno;
      tinytl_status status =
          reason == EWOULDBLOCK ? fail_locked(c, fd, error)
                                : cli_fail(error, TINYTL_ERROR_INTERNAL, "%s: cannot be locked: %s",
                                           c->lock_path, strerror(reason));
      close(fd);
      return status;
    }
    if (is_at(fd, c->lock_path)) {
      c->lock_fd = fd;
      return TINYTL_OK;
    }
    close(fd);
  }
}

/* For whoever finds it locked. A disk that is full keeps it from being told, no more. */
static void sign_lock(const cli_checkpoint *c) {
  char text[32];
  int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
  if (ftruncate(c->lock_fd, 0) == 0 && pwrite(c->lock_fd, text, (size_t)n, 0) != n) {
    (void)!ftruncate(c->lock_fd, 0);
  }
}

/* ---- The file ----------------------------------------------------------------------------- */

static bool read_piece(void *context, uint64_t offset, void *bytes, size_t nbytes) {
  const cli_checkpoint *c = context;
  char *to = bytes;
  while (nbytes > 0) {
    ssize_t n = pread(c->fd, to, nbytes, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    offset += (uint64_t)n;
    nbytes -= (size_t)n;
  }
  return true;
}

static tinytl_status open_source(cli_checkpoint *c, tinytl_error *error) {
  struct stat info;
  c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
  if (c->fd < 0 || fstat(c->fd, &info) != 0) {
    return cli_fail(error, TINYTL_ERROR_MODEL, "%s: cannot be read: %s", c->path, strerror(errno));
  }
  c->source = (tinytl_source){
      .name = c->path, .nbytes = (uint64_t)info.st_size, .context = c, .read = read_piece};
  c->is_saved = true;
  return TINYTL_OK;
}

static tinytl_status open_locked(cli_checkpoint *c, const char *output, tinytl_error *error) {
  struct stat info;
  bool is_there = stat(c->path, &info) == 0;
  if (is_there && !S_ISREG(info.st_mode)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: is no file; --checkpoint wants one", c->path);
  }
  if (cli_is_same_file(c->path, output)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: --checkpoint and -o want different files",
                    c->path);
  }
  if (is_there && !c->resume) {
    return cli_fail(error, TINYTL_ERROR_USAGE,
                    "%s: is there already; --resume goes on from it, or remove it", c->path);
  }
  sign_lock(c);
  return is_there ? open_source(c, error) : TINYTL_OK;
}

static tinytl_status name_files(cli_checkpoint *c, tinytl_error *error) {
  c->target = cli_resolve(c->path);
  size_t size = c->target ? strlen(c->target) + sizeof ".lock" : 0;
  c->lock_path = c->target ? malloc(size) : NULL;
  if (!c->lock_path) return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory");
  snprintf(c->lock_path, size, "%s.lock", c->target);
  return TINYTL_OK;
}

tinytl_status cli_checkpoint_open(cli_checkpoint *c, const char *output, float *save_seconds,
                                  tinytl_error *error) {
  c->lock_fd = c->fd = -1;
  if (!c->path && c->resume) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "--resume wants --checkpoint FILE as well");
  }
  if (!c->path && c->every >= 0) {
    return cli_fail(error, TINYTL_ERROR_USAGE,
                    "--checkpoint-every wants --checkpoint FILE as well");
  }
  if (!c->path) return TINYTL_OK;
  if (c->every >= 0) *save_seconds = c->every;
  tinytl_status status = name_files(c, error);
  if (status == TINYTL_OK && cli_is_same_file(c->lock_path, output)) {
    status = cli_fail(error, TINYTL_ERROR_USAGE,
                      "%s: is the lock of --checkpoint; -o wants another file", output);
  }
  if (status == TINYTL_OK) status = lock(c, error);
  if (status == TINYTL_OK) status = open_locked(c, output, error);
  if (status != TINYTL_OK) cli_checkpoint_close(c);
  return status;
}

const tinytl_source *cli_checkpoint_source(const cli_checkpoint *c) {
  return c->fd >= 0 ? &c->source : NULL;
}

/* An open file takes its room on the disk though another has its name. */
static void close_source(cli_checkpoint *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

void cli_checkpoint_save(cli_checkpoint *c, cli_write_state_fn write_state, const void *state) {
  close_source(c);
  cli_output output;
  tinytl_error error;
  tinytl_status status = cli_output_open(&output, c->path, NULL, &error);
  if (status == TINYTL_OK) {
    cli_output_is_locked(&output);
    status = write_state(state, cli_output_write, &output, &error);
    status = cli_output_commit(&output, status, &error);
  }
  c->is_saved = status == TINYTL_OK;
  if (!c->is_saved && !c->has_failed) {
    cli_note("checkpoint: %s; training goes on, and what was saved before stays", error.message);
  }
  c->has_failed = !c->is_saved;
}

void cli_checkpoint_remove(const cli_checkpoint *c) {
  if (c->path) unlink(c->target);
}

void cli_checkpoint_note_end(const cli_checkpoint *c, tinytl_status status) {
  if (status != TINYTL_INTERRUPTED) return;
  if (!c->path)
    cli_note("with --checkpoint FILE an interrupted run can go on");
  else if (c->is_saved)
    cli_note("the run is saved in %s: with --resume it goes on", c->path);
  else if (c->has_failed)
    cli_note("the latest state of the run could not be saved in %s", c->path);
  else
    cli_note("there was nothing yet to save in %s: the run begins anew", c->path);
}

void cli_checkpoint_close(cli_checkpoint *c) {
  close_source(c);
  if (c->lock_path && c->lock_fd >= 0) {
    unlink(c->lock_path); /* while it is locked: nobody else's is removed */
    close(c->lock_fd);
  }
  free(c->target);
  free(c->lock_path);
  *c = (cli_checkpoint){.lock_fd = -1, .fd = -1};
}
