#include "core/progress.h"

#include <math.h>

#include "core/clock.h"

#define INTERVAL 0.1 /* seconds */

tinytl_progress tinytl_progress_begin(void) {
  return (tinytl_progress){.start = tinytl_now()};
}

double tinytl_progress_seconds(const tinytl_progress *p) {
  return tinytl_now() - p->start;
}

bool tinytl_progress_due(tinytl_progress *p, bool finished) {
  const double now = tinytl_now();
  if (!finished && now - p->last < INTERVAL) return false;
  p->last = now;
  return true;
}

double tinytl_progress_rate(const tinytl_progress *p, double n) {
  const double seconds = tinytl_progress_seconds(p);
  return n / (seconds > 0 ? seconds : 1);
}

double tinytl_progress_left(const tinytl_progress *p, double done, double total) {
  const double done_now = done - p->done_before;
  return done_now > 0 ? tinytl_progress_seconds(p) * (total - done) / done_now : (double)NAN;
}
