/* Near copies among pictures, told by the names of their files: those that differ in their last
 * number alone are a series, frames of a film or a burst, pictures of a day. */
#ifndef TINYTL_DATA_SERIES_H
#define TINYTL_DATA_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A hash of the name without its last number: the same for all of a series. */
uint64_t tinytl_series_of(const char *name);

/* A part of a series whose numbers are less than TINYTL_SERIES_RUN apart: a second of film, half a
 * minute where the number is a time. Farther ones need not be alike: a whole class may be one
 * series. */
enum { TINYTL_SERIES_RUN = 30 };
typedef struct tinytl_series_run {
  uint64_t series;
  uint64_t first; /* number */
} tinytl_series_run;

/* Whether the picture goes on with the run; else it begins one, which replaces it. A run of zeros
 * is one that no picture goes on with. */
bool tinytl_series_run_goes_on(tinytl_series_run *run, const char *name);

#endif
