#include "core/limit.h"

enum {
  BASE_SPREAD = 64 * 1024, /* what a process holds at first differs so much from start to start */
  STEP = 100 * 1000,       /* one decimal of a MB */
  PICTURES_SHARE = 8
};

size_t tinytl_limit_to_name(size_t nbytes) {
  return tinytl_round_up(nbytes + BASE_SPREAD, STEP);
}

size_t tinytl_limit_for_pictures(size_t limit) {
  return limit ? tinytl_size_max(TINYTL_LEAST_FOR_PICTURES, limit / PICTURES_SHARE) : 0;
}
