/* A file in memory, for what takes a tinytl_write_fn. */
#ifndef TINYTL_TEST_SINK_H
#define TINYTL_TEST_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sink {
  uint8_t *bytes; /* the caller frees */
  size_t nbytes;
} sink;

/* A tinytl_write_fn; `context` is a sink, at first all zero. */
bool sink_write(void *context, const void *bytes, size_t nbytes);

/* A tinytl_write_fn that fails once *context (a size_t) bytes were taken. */
bool sink_full(void *context, const void *bytes, size_t nbytes);

/* Replaces the first `from` by `to`, of the same length; false: not found. */
bool sink_replace(sink *file, const char *from, const char *to);

/* Calls `read` with the file cut at many lengths and with each of its first n_flip bytes changed.
 * It must return (never crash); every cut must give a message of `cut_status`. The bytes are in a
 * block of their own each time, so that a sanitizer sees every read beyond them. */
typedef int (*sink_read_fn)(const void *bytes, size_t nbytes);
void sink_damage(const sink *file, size_t n_flip, int cut_status, sink_read_fn read);

/* Writes the file to a temporary path and runs Python's safetensors on it, then `statements` with
 * f (safe_open). False, with a printed line, where that is not installed; fails the test where the
 * statements do. */
bool sink_check_in_python(const sink *file, const char *statements);

#endif
