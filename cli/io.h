/* Whole files in, and out so that a file is either complete or as it was before. */
#ifndef CLI_IO_H
#define CLI_IO_H

#include <stdio.h>

#include "tinytl.h"

typedef struct cli_file {
  void *bytes;
  size_t nbytes;
  bool is_mapped;
} cli_file;

/* Maps a file (reads it where it is a pipe: stream_nbytes at most, 0: 256 MB). Errors:
 * TINYTL_ERROR_MODEL, the files that are read whole being models; INTERNAL, where memory or
 * descriptors are short. */
tinytl_status cli_file_open(const char *path, size_t stream_nbytes, cli_file *file,
                            tinytl_error *error);
/* Lets the memory of a mapped file go; what is read again comes back. */
void cli_file_forget(const cli_file *file);
void cli_file_close(cli_file *file);

/* The file that a path leads to, through links, whether or not it is there yet; the caller frees
 * it. NULL: there are too many links, or no memory (errno). */
char *cli_resolve(const char *path);

/* A file that is being written, under a temporary name in its directory until it is complete.
 * A device or a pipe that somebody reads is written directly; where that pipe is stdout, what is
 * printed from then on goes to stderr. While an output is open SIGINT, SIGTERM and SIGHUP are noted
 * instead of obeyed, so that the temporary file is always removed. */
typedef struct cli_output {
  const char *path;         /* as it was given; borrowed */
  char *target, *temporary; /* owned; temporary NULL: target is written directly */
  bool is_nameless;         /* the file has its temporary name only once it is complete */
  FILE *file;
  int write_errno; /* of the first write that failed */
} cli_output;

/* Whether writing to either path would replace the same file, or a hard link of it. */
bool cli_is_same_file(const char *path, const char *other);

/* `input` (may be NULL) names a file that must not be overwritten; nor is a picture. Errors:
 * TINYTL_ERROR_USAGE, TINYTL_ERROR_INTERNAL. */
tinytl_status cli_output_open(cli_output *output, const char *path, const char *input,
                              tinytl_error *error);
/* The folder that the file is written in: the caller's to free; NULL: no memory. */
char *cli_output_directory(const cli_output *output);
/* Of a file that is open and that no other process writes meanwhile: from now on its temporary name
 * is .NAME.new in every process, so that the next one replaces what a killed one has left. */
void cli_output_is_locked(cli_output *output);
/* A tinytl_write_fn; context is the cli_output. */
bool cli_output_write(void *output, const void *bytes, size_t nbytes);
/* Makes the bytes durable and gives the file its name. `written`: what the writing function
 * returned; on failure, or when a signal came, nothing is left. Closes the output. */
tinytl_status cli_output_finish(cli_output *output, tinytl_status written, tinytl_error *error);
/* The same whether a signal came or not. */
tinytl_status cli_output_commit(cli_output *output, tinytl_status written, tinytl_error *error);
/* Closes the output and leaves nothing. */
void cli_output_discard(cli_output *output);

/* Not 0 once a signal asked to stop. */
const volatile int *cli_stop_flag(void);

#endif
