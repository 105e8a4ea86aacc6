/* What people read: messages and progress on stderr, text that is safe on a terminal. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdio.h>

#include "tinytl.h"

#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* Writes text with control characters and bytes that are not UTF-8 as \n, \t or \xNN, so that
 * names of files cannot command the terminal or break a line in two. */
void cli_put_text(FILE *file, const char *text);

/* Flushes stdout; 0, or errno of the first time that something could not be written there. */
int cli_stdout_error(void);

/* "tinytl: " and the message on a line of stderr; a progress line is cleared first. */
void cli_error(const char *format, ...) CLI_PRINTF(1, 2);
void cli_note(const char *format, ...) CLI_PRINTF(1, 2);

/* Prints the error; returns its status, which is the exit code. */
int cli_report(const tinytl_error *error);

/* Fills *error and returns status, as the library's own functions do. */
tinytl_status cli_fail(tinytl_error *error, tinytl_status status, const char *format, ...)
    CLI_PRINTF(3, 4);

/* Progress of a training run, of `what` (NULL: of the run): lines of the first and of the last
 * planned epoch and, every 2 seconds, another one; on a terminal one is drawn over in between. */
void cli_progress(const char *what, const tinytl_epoch *epoch);
/* Progress of `done` out of `n` pictures; drawn on a terminal only. */
void cli_progress_count(const char *what, int done, int n);
/* Clears the line that is drawn over. */
void cli_progress_end(void);

/* The analyser looks at one file at a time: here it sees that what fails does not return OK. */
#ifdef __clang_analyzer__
#define cli_fail(error, status, ...) (cli_fail(error, status, __VA_ARGS__), (status))
#endif

#endif
