/* How far a run is, and what is left of it. What is done is counted in whatever unit. */
#ifndef TINYTL_CORE_PROGRESS_H
#define TINYTL_CORE_PROGRESS_H

#include <stdbool.h>

typedef struct tinytl_progress {
  double start, last; /* when the run began, and when it was told of (core/clock.h) */
  double done_before; /* where it goes on from a checkpoint: done by then */
} tinytl_progress;

tinytl_progress tinytl_progress_begin(void);
double tinytl_progress_seconds(const tinytl_progress *progress); /* since it began */
/* Whether it is to be told of now: always where something has finished, else ten times a second. */
bool tinytl_progress_due(tinytl_progress *progress, bool finished);
/* n since it began, a second. */
double tinytl_progress_rate(const tinytl_progress *progress, double n);
/* Seconds that the rest takes at the pace so far; NAN: nothing is done yet. */
double tinytl_progress_left(const tinytl_progress *progress, double done, double total);

#endif
