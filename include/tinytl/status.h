/* How a call ends, and the callbacks that bytes go through. */
#ifndef TINYTL_STATUS_H
#define TINYTL_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The values are the exit codes of the command line. */
typedef enum tinytl_status {
  TINYTL_OK = 0,
  TINYTL_ERROR_INTERNAL = 1, /* out of memory, no thread, a write failed, or a bug */
  TINYTL_ERROR_USAGE = 2,    /* an option or argument is out of its range */
  TINYTL_ERROR_DATA = 3,  /* pictures or folders that cannot be used; a loss that is not finite */
  TINYTL_ERROR_MODEL = 4, /* a model file that is damaged or not supported */
  TINYTL_ERROR_MEMORY_LIMIT = 5, /* the work does not fit into the memory limit */
  TINYTL_INTERRUPTED = 6         /* stopped on request */
} tinytl_status;

/* Why a call failed: what was expected, what was found, and where. */
typedef struct tinytl_error {
  tinytl_status status;
  char message[512];
} tinytl_error;

/* Fills *error (may be NULL) as vsnprintf does and returns status, for callbacks that fail; of a
 * message that does not fit the middle is left out. Any thread. */
tinytl_status tinytl_error_set(tinytl_error *error, tinytl_status status, const char *format,
                               va_list arguments);

/* Receives the bytes of a file that is being written, in order. Returns false to stop. */
typedef bool (*tinytl_write_fn)(void *context, const void *bytes, size_t nbytes);

/* A file that is read piece by piece. */
typedef struct tinytl_source {
  const char *name; /* in messages */
  uint64_t nbytes;
  void *context;
  /* Fills bytes [nbytes] from `offset` on, all inside the file. Returns false where it cannot. */
  bool (*read)(void *context, uint64_t offset, void *bytes, size_t nbytes);
} tinytl_source;

#ifdef __cplusplus
}
#endif

#endif
