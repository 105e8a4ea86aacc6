#include "core/limit.h"

enum {
  BASE_SPREAD = 96 * 1024, /* what a process holds at first differs so much from start to start */
  STEP = 100 * 1000,       /* one decimal of a MB */
  PICTURES_SHARE = 8
};

size_t tinytl_limit_to_name(size_t nbytes) {
  return tinytl_round_up(nbytes + BASE_SPREAD, STEP);
}

tinytl_status tinytl_limit_check_base(size_t limit, size_t base_nbytes, tinytl_error *error) {
  if (limit == 0 || base_nbytes > 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "the memory limit of %.1f MB cannot be kept: neither /proc/self/smaps nor "
                     "/proc/self/statm says what the process holds",
                     (double)limit / 1e6);
}

size_t tinytl_limit_for_pictures(size_t limit) {
  return limit ? tinytl_size_max(TINYTL_LEAST_FOR_PICTURES, limit / PICTURES_SHARE) : 0;
}
