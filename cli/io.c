#define _GNU_SOURCE /* O_TMPFILE */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal.h"

/* ---- Reading ------------------------------------------------------------------------------ */

/* Of a file that has no size of its own: a device may never end. */
enum { STREAM_MAX_NBYTES = 1 << 28 };

/* Reads what has no size of its own: a pipe. */
static bool read_stream(int fd, size_t max_nbytes, cli_file *file) {
  size_t capacity = 1 << 16;
  char *bytes = malloc(capacity);
  size_t nbytes = 0;
  while (bytes) {
    ssize_t n = read(fd, bytes + nbytes, capacity - nbytes);
    if (n == 0) {
      *file = (cli_file){.bytes = bytes, .nbytes = nbytes};
      return true;
    }
    if (n < 0 && errno != EINTR) break;
    if (n > 0) nbytes += (size_t)n;
    if (nbytes > max_nbytes) {
      errno = EFBIG;
      break;
    }
    if (nbytes < capacity) continue;
    char *grown = realloc(bytes, capacity * 2);
    if (!grown) break;
    bytes = grown;
    capacity *= 2;
  }
  free(bytes);
  return false;
}

/* Reading what is mapped of a file that was cut meanwhile. */
static void end_at_cut_file(int signal_number) {
  (void)signal_number;
  static const char message[] = "tinytl: a model file was cut short while it was in use\n";
  (void)!write(STDERR_FILENO, message, sizeof message - 1);
  _exit(TINYTL_ERROR_MODEL);
}

static void catch_cut_files(void) {
  struct sigaction action = {.sa_handler = end_at_cut_file};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}

static bool map_or_read(int fd, size_t stream_nbytes, cli_file *file) {
  struct stat info;
  if (fstat(fd, &info) != 0) return false;
  if (S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    return false;
  }
  if (!S_ISREG(info.st_mode) || info.st_size == 0) return read_stream(fd, stream_nbytes, file);
  if ((uintmax_t)info.st_size > SIZE_MAX) {
    errno = EFBIG;
    return false;
  }
  void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) return false;
  catch_cut_files();
  *file = (cli_file){.bytes = bytes, .nbytes = (size_t)info.st_size, .is_mapped = true};
  return true;
}

tinytl_status cli_file_open(const char *path, size_t stream_nbytes, cli_file *file,
                            tinytl_error *error) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool done = fd >= 0 && map_or_read(fd, stream_nbytes ? stream_nbytes : STREAM_MAX_NBYTES, file);
  int reason = errno;
  if (fd >= 0) close(fd);
  if (done) return TINYTL_OK;
  const bool is_short =
      reason == ENOMEM || reason == EMFILE || reason == ENFILE; /* no fault of it */
  return cli_fail(error, is_short ? TINYTL_ERROR_INTERNAL : TINYTL_ERROR_MODEL,
                  "%s: cannot be read: %s", path, strerror(reason));
}

void cli_file_forget(const cli_file *file) {
  if (file->is_mapped) madvise(file->bytes, file->nbytes, MADV_DONTNEED);
}

void cli_file_close(cli_file *file) {
  if (file->is_mapped)
    munmap(file->bytes, file->nbytes);
  else
    free(file->bytes);
  *file = (cli_file){0};
}

/* ---- Signals ------------------------------------------------------------------------------ */

static volatile int stop;

static void note_stop(int signal_number) {
  stop = signal_number;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = note_stop, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  struct sigaction old; /* nohup ignores SIGHUP, and so it stays */
  if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
    sigaction(SIGHUP, &action, NULL);
  }
  /* A reader of stdout that goes away must not end the program before it has tidied up. */
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
  /* Nor must a limit on the size of files: the write fails and says so. */
  sigaction(SIGXFSZ, &action, NULL);
}

const volatile int *cli_stop_flag(void) {
  return &stop;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static tinytl_status write_failed(const cli_output *output, int reason, tinytl_error *error) {
  return cli_fail(error, TINYTL_ERROR_INTERNAL, "%s: cannot be written: %s", output->path,
                  strerror(reason));
}

/* The mode that a new file at this path gets: the old file's, or what the umask leaves. */
static mode_t wanted_mode(const struct stat *old) {
  if (old) return old->st_mode & 0777;
  mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

static const char *last_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The caller's to free; NULL: no memory. */
static char *folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

char *cli_output_directory(const cli_output *output) {
  return folder_of(output->target);
}

/* By which a file without a name can be given one. */
static void descriptor_path(int fd, char path[64]) {
  snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* A file of this directory without a name: nothing is left of it however the process ends. -1
 * where there is no such thing. */
static int open_nameless(const cli_output *output) {
#ifdef O_TMPFILE
  char path[64];
  char *directory = cli_output_directory(output);
  int fd = directory ? open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;
  free(directory);
  descriptor_path(fd, path);
  if (fd < 0 || access(path, F_OK) == 0) return fd;
  close(fd);
#else
  (void)output;
#endif
  return -1;
}

/* Gives a nameless file the temporary name. What has it already was left by a process of the same
 * number that was killed. */
static bool link_nameless(const cli_output *output) {
  char path[64];
  descriptor_path(fileno(output->file), path);
  unlink(output->temporary);
  return linkat(AT_FDCWD, path, AT_FDCWD, output->temporary, AT_SYMLINK_FOLLOW) == 0;
}

/* DIR/NAME -> a new file DIR/.NAME.XXXXXX, or one without a name that is to become .NAME.PID */
static FILE *open_temporary(cli_output *output, mode_t mode) {
  const char *name = last_name(output->target);
  size_t size = strlen(output->target) + 32;
  output->temporary = malloc(size);
  if (!output->temporary) return NULL;
  int n = snprintf(output->temporary, size, "%.*s.%s.", (int)(name - output->target),
                   output->target, name);
  int fd = open_nameless(output);
  output->is_nameless = fd >= 0;
  if (output->is_nameless) {
    snprintf(output->temporary + n, size - (size_t)n, "%ld", (long)getpid());
    if (strlen(output->temporary + (name - output->target)) > NAME_MAX) {
      close(fd);
      fd = -1;
      errno = ENAMETOOLONG;
    }
  } else {
    snprintf(output->temporary + n, size - (size_t)n, "XXXXXX");
    fd = mkstemp(output->temporary);
  }
  if (fd < 0) {
    free(output->temporary);
    output->temporary = NULL;
    return NULL;
  }
  fchmod(fd, mode);
  return fdopen(fd, "wb");
}

/* A pipe that nobody reads is an error (ENXIO): waiting for a reader could not be ended. */
static FILE *open_directly(const char *path) {
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0) return fdopen(fd, "wb");
  if (fd >= 0) close(fd);
  return NULL;
}

/* Those that a training reads are many, and told by their content. */
static bool is_picture(const char *path) {
  static const unsigned char jpeg[3] = {0xff, 0xd8, 0xff}, png[4] = {0x89, 'P', 'N', 'G'};
  unsigned char bytes[4] = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
  if (fd >= 0) close(fd);
  return n == (ssize_t)sizeof bytes &&
         (memcmp(bytes, jpeg, sizeof jpeg) == 0 || memcmp(bytes, png, sizeof png) == 0);
}

static bool stat_folder(const char *path, struct stat *info) {
  char *folder = folder_of(path);
  bool done = folder && stat(folder, info) == 0;
  free(folder);
  return done;
}

static bool is_same(const struct stat *x, const struct stat *y) {
  return x->st_dev == y->st_dev && x->st_ino == y->st_ino;
}

/* What is printed would end up in the file that comes out of the pipe. */
static void clear_stdout(const struct stat *output) {
  struct stat info;
  if (S_ISFIFO(output->st_mode) && fstat(STDOUT_FILENO, &info) == 0 && is_same(output, &info))
    dup2(STDERR_FILENO, STDOUT_FILENO);
}

bool cli_is_same_file(const char *path, const char *other) {
  struct stat x, y;
  if (stat(path, &x) == 0 && stat(other, &y) == 0) return is_same(&x, &y);
  return strcmp(last_name(path), last_name(other)) == 0 && stat_folder(path, &x) &&
         stat_folder(other, &y) && is_same(&x, &y);
}

char *cli_resolve(const char *path) {
  enum { MOST_LINKS = 40 /* as the kernel follows */ };
  char *at = realpath(path, NULL);
  if (at) return at;
  at = strdup(path);
  for (int i = 0; at && i < MOST_LINKS; i++) {
    char link[PATH_MAX];
    ssize_t n = readlink(at, link, sizeof link - 1);
    if (n < 0) return at;
    link[n] = '\0';
    char *folder = *link == '/' ? strdup("") : folder_of(at);
    size_t size = folder ? strlen(folder) + (size_t)n + 2 : 0;
    char *next = folder ? malloc(size) : NULL;
    if (next) snprintf(next, size, "%s%s%s", folder, *link == '/' ? "" : "/", link);
    free(folder);
    free(at);
    at = next;
  }
  errno = at ? ELOOP : ENOMEM;
  free(at);
  return NULL;
}

tinytl_status cli_output_open(cli_output *output, const char *path, const char *input,
                              tinytl_error *error) {
  *output = (cli_output){.path = path};
  struct stat old;
  bool exists = stat(path, &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: is a directory; -o wants a file", path);
  }
  if (exists && input && cli_is_same_file(path, input)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: is the file that is read; -o wants another",
                    path);
  }
  if (exists && S_ISREG(old.st_mode) && is_picture(path)) {
    return cli_fail(error, TINYTL_ERROR_USAGE, "%s: is a picture, which would be lost", path);
  }
  /* The file behind a symbolic link is replaced or made, not the link. */
  output->target = !exists || S_ISREG(old.st_mode) ? cli_resolve(path) : strdup(path);
  if (output->target) {
    catch_signals();
    output->file = exists && !S_ISREG(old.st_mode)
                       ? open_directly(path)
                       : open_temporary(output, wanted_mode(exists ? &old : NULL));
  }
  if (output->file) {
    if (!output->temporary) clear_stdout(&old);
    return TINYTL_OK;
  }
  const bool is_unread = exists && errno == ENXIO && S_ISFIFO(old.st_mode);
  tinytl_status status =
      is_unread ? cli_fail(error, TINYTL_ERROR_INTERNAL, "%s: is a pipe that nobody reads", path)
                : write_failed(output, errno, error);
  cli_output_discard(output);
  return status;
}

void cli_output_is_locked(cli_output *output) {
  static const char suffix[] = ".new"; /* shorter than what open_temporary has room for */
  if (output->is_nameless) memcpy(strrchr(output->temporary, '.'), suffix, sizeof suffix);
}

bool cli_output_write(void *context, const void *bytes, size_t nbytes) {
  cli_output *output = context;
  if (fwrite(bytes, 1, nbytes, output->file) == nbytes) return true;
  if (output->write_errno == 0) output->write_errno = errno;
  return false;
}

/* A rename is durable once its directory is. 0, or why that failed; a directory that may not be
 * read, or that the file system does not sync, is no failure: the file is there. */
static int sync_directory(const cli_output *output) {
  char *directory = cli_output_directory(output);
  int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int reason = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
  if (fd >= 0) close(fd);
  free(directory);
  return reason == EACCES || reason == EINVAL || reason == ENOTSUP || reason == EROFS ? 0 : reason;
}

/* 0, or why the file could not be completed. */
static int commit(cli_output *output) {
  bool flushed =
      fflush(output->file) == 0 && (!output->temporary || fsync(fileno(output->file)) == 0);
  int reason = flushed ? 0 : errno;
  if (reason == 0 && output->temporary && output->is_nameless) {
    if (link_nameless(output))
      output->is_nameless = false;
    else
      reason = errno;
  }
  if (fclose(output->file) != 0 && reason == 0) reason = errno;
  output->file = NULL;
  if (reason != 0 || !output->temporary) return reason;
  if (rename(output->temporary, output->target) != 0) return errno;
  free(output->temporary);
  output->temporary = NULL;
  return sync_directory(output);
}

tinytl_status cli_output_finish(cli_output *output, tinytl_status written, tinytl_error *error) {
  tinytl_status status = written;
  if (output->write_errno == 0 && stop && (status == TINYTL_OK || status == TINYTL_INTERRUPTED)) {
    status = cli_fail(error, TINYTL_INTERRUPTED, "interrupted; %s was not written", output->path);
  }
  return cli_output_commit(output, status, error);
}

tinytl_status cli_output_commit(cli_output *output, tinytl_status written, tinytl_error *error) {
  tinytl_status status = written;
  if (output->write_errno != 0) {
    status = write_failed(output, output->write_errno, error);
  } else if (status == TINYTL_OK) {
    int reason = commit(output);
    if (reason != 0) status = write_failed(output, reason, error);
  }
  cli_output_discard(output);
  return status;
}

void cli_output_discard(cli_output *output) {
  if (output->file) fclose(output->file);
  if (output->temporary && !output->is_nameless) unlink(output->temporary);
  free(output->temporary);
  free(output->target);
  *output = (cli_output){0};
}
