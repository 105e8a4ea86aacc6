/* When the checkpoint of a run is due: at an interval, but not where saving would take more than a
 * hundredth of the time. */
#ifndef TINYTL_CORE_SAVER_H
#define TINYTL_CORE_SAVER_H

#include <stdbool.h>

#include "core/status.h"

typedef struct tinytl_saver {
  bool is_saved;      /* the state as it is now */
  double start, last; /* when the latest save began and ended (core/clock.h) */
  double seconds;     /* that it took */
} tinytl_saver;

/* interval: seconds, 0 or more, else USAGE. */
tinytl_status tinytl_saver_check(float interval, tinytl_error *error);
/* A run begins, or goes on from a checkpoint, which is its state. */
void tinytl_saver_begin(tinytl_saver *saver, bool is_saved);
/* The state is another one; true: it is to be saved. interval: seconds; 0: after every change. */
bool tinytl_saver_change(tinytl_saver *saver, float interval);
/* Before and after saving it. */
void tinytl_saver_start(tinytl_saver *saver);
void tinytl_saver_end(tinytl_saver *saver);

#endif
