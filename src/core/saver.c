#include "core/saver.h"

#include <math.h>

#include "core/clock.h"

#define SAVE_SHARE 0.01 /* of the time, at most */

tinytl_status tinytl_saver_check(float interval, tinytl_error *error) {
  if (interval >= 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_USAGE,
                     "seconds between checkpoints must be 0 or more, not %g", (double)interval);
}

void tinytl_saver_begin(tinytl_saver *saver, bool is_saved) {
  *saver = (tinytl_saver){.is_saved = is_saved, .last = tinytl_now()};
}

bool tinytl_saver_change(tinytl_saver *saver, float interval) {
  saver->is_saved = false;
  return interval == 0 ||
         tinytl_now() - saver->last >= fmax((double)interval, saver->seconds / SAVE_SHARE);
}

void tinytl_saver_start(tinytl_saver *saver) {
  saver->start = tinytl_now();
}

void tinytl_saver_end(tinytl_saver *saver) {
  saver->is_saved = true;
  saver->last = tinytl_now();
  saver->seconds = saver->last - saver->start;
}
