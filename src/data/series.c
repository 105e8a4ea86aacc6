#include "data/series.h"

#include <string.h>

#include "data/fnv.h"

/* Length of a file's name without its extension. */
static size_t bare_length(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot ? (size_t)(dot - name) : strlen(name);
}

/* The same without the number that it ends in. */
static size_t stem_length(const char *name) {
  size_t n = bare_length(name);
  while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') n--;
  return n;
}

/* 0 is of no name. */
uint64_t tinytl_series_of(const char *name) {
  const uint64_t hash = tinytl_fnv_add(TINYTL_FNV_START, name, stem_length(name));
  return hash ? hash : 1;
}

bool tinytl_series_run_goes_on(tinytl_series_run *run, const char *name) {
  const size_t stem = stem_length(name), bare = bare_length(name);
  const uint64_t series = tinytl_series_of(name);
  uint64_t number = 0; /* of 20 digits or more: what is left of it, which is near by chance alone */
  for (size_t i = stem; i < bare; i++) number = 10 * number + (uint64_t)(name[i] - '0');
  const bool has_number = bare > stem;
  if (has_number && series == run->series && number - run->first < TINYTL_SERIES_RUN) return true;
  *run = (tinytl_series_run){series, number};
  return false;
}
