#define _GNU_SOURCE /* strndup, mmap's flags */
#include "support/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
  faults_kind kind;
  int reason;
  bool cut_short;
} wanted;
static atomic_long left = -1; /* calls until one fails; below 0: none will */
static atomic_bool happened;
static atomic_long n_pieces, mapped_nbytes;

void faults_begin(faults_kind kind, long at, int reason, bool cut_short) {
  wanted.kind = kind;
  wanted.reason = reason;
  wanted.cut_short = cut_short;
  atomic_store(&happened, false);
  atomic_store(&left, at);
}

bool faults_end(void) {
  atomic_store(&left, -1);
  return atomic_load(&happened);
}

long faults_n_pieces(void) {
  return atomic_load(&n_pieces);
}

long faults_mapped_nbytes(void) {
  return atomic_load(&mapped_nbytes);
}

/* Whether this call is the one. */
static bool fails(faults_kind kind) {
  if (atomic_load(&left) < 0 || wanted.kind != kind) return false;
  if (atomic_fetch_sub(&left, 1) != 0) return false;
  atomic_store(&happened, true);
  errno = wanted.reason;
  return true;
}

/* ---- Memory ------------------------------------------------------------------------------- */

void *__real_malloc(size_t nbytes);
void *__real_calloc(size_t n, size_t nbytes);
void *__real_realloc(void *piece, size_t nbytes);
void *__real_aligned_alloc(size_t alignment, size_t nbytes);
char *__real_strdup(const char *text);
void __real_free(void *piece);
void *__real_mmap64(void *at, size_t nbytes, int access, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t nbytes);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

static void *count(void *piece) {
  if (piece) atomic_fetch_add(&n_pieces, 1);
  return piece;
}

void *__wrap_malloc(size_t nbytes) {
  return fails(FAULTS_MEMORY) ? NULL : count(__real_malloc(nbytes));
}

void *__wrap_calloc(size_t n, size_t nbytes) {
  return fails(FAULTS_MEMORY) ? NULL : count(__real_calloc(n, nbytes));
}

void *__wrap_realloc(void *piece, size_t nbytes) {
  if (fails(FAULTS_MEMORY)) return NULL;
  return piece ? __real_realloc(piece, nbytes) : count(__real_realloc(piece, nbytes));
}

void *__wrap_aligned_alloc(size_t alignment, size_t nbytes) {
  return fails(FAULTS_MEMORY) ? NULL : count(__real_aligned_alloc(alignment, nbytes));
}

char *__wrap_strdup(const char *text) {
  return fails(FAULTS_MEMORY) ? NULL : count(__real_strdup(text));
}

void __wrap_free(void *piece) {
  if (piece) atomic_fetch_sub(&n_pieces, 1);
  __real_free(piece);
}

void *__wrap_mmap64(void *at, size_t nbytes, int access, int flags, int fd, off_t offset) {
  if (fails(FAULTS_MEMORY)) return MAP_FAILED;
  void *made = __real_mmap64(at, nbytes, access, flags, fd, offset);
  if (made != MAP_FAILED) atomic_fetch_add(&mapped_nbytes, (long)nbytes);
  return made;
}

int __wrap_munmap(void *at, size_t nbytes) {
  atomic_fetch_sub(&mapped_nbytes, (long)nbytes);
  return __real_munmap(at, nbytes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument) {
  return fails(FAULTS_MEMORY) ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

/* ---- Writes ------------------------------------------------------------------------------- */

ssize_t __real_pwrite64(int fd, const void *bytes, size_t nbytes, off_t offset);
size_t __real_fwrite(const void *bytes, size_t size, size_t n, FILE *file);
int __real_fflush(FILE *file);
int __real_fclose(FILE *file);
int __real_fsync(int fd);
int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __real_rename(const char *from, const char *to);

/* Of a build whose offsets have 64 bits, as all are. */
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t nbytes, off_t offset) {
  if (!fails(FAULTS_WRITE)) return __real_pwrite64(fd, bytes, nbytes, offset);
  return wanted.cut_short ? __real_pwrite64(fd, bytes, (nbytes + 1) / 2, offset) : -1;
}

/* What stdio says of a disk that is full: fewer bytes, and errno. */
size_t __wrap_fwrite(const void *bytes, size_t size, size_t n, FILE *file) {
  /* Nothing, as padding of no bytes, cannot be cut short. */
  if (n == 0 || !fails(FAULTS_WRITE)) return __real_fwrite(bytes, size, n, file);
  const size_t taken = wanted.cut_short ? __real_fwrite(bytes, size, n / 2, file) : 0;
  errno = wanted.reason;
  return taken;
}

int __wrap_fflush(FILE *file) {
  return fails(FAULTS_WRITE) ? EOF : __real_fflush(file);
}

int __wrap_fclose(FILE *file) {
  const bool failed = fails(FAULTS_WRITE);
  const int result = __real_fclose(file);
  if (!failed) return result;
  errno = wanted.reason;
  return EOF;
}

int __wrap_fsync(int fd) {
  return fails(FAULTS_WRITE) ? -1 : __real_fsync(fd);
}

int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
  return fails(FAULTS_WRITE) ? -1 : __real_linkat(from_dir, from, to_dir, to, flags);
}

int __wrap_rename(const char *from, const char *to) {
  return fails(FAULTS_WRITE) ? -1 : __real_rename(from, to);
}
