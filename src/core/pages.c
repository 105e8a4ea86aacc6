#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "core/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *tinytl_pages_take(size_t nbytes) {
  void *bytes = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (bytes == MAP_FAILED) return NULL;
#ifdef MADV_NOHUGEPAGE
  madvise(bytes, nbytes, MADV_NOHUGEPAGE); /* touching one byte must not cost 2 MB */
#endif
  return bytes;
}

void tinytl_pages_drop(void *bytes, size_t nbytes) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = tinytl_round_up((uintptr_t)bytes, page);
  const uintptr_t end = ((uintptr_t)bytes + nbytes) / page * page;
  if (end > first) madvise((char *)bytes + (first - (uintptr_t)bytes), end - first, MADV_DONTNEED);
}

void tinytl_pages_free(void *bytes, size_t nbytes) {
  if (bytes) munmap(bytes, nbytes);
}

size_t tinytl_resident_nbytes(void) {
  /* smaps_rollup counts pages; VmRSS of /proc/self/status lags behind by some dozens. */
  size_t kib = 0;
  char line[128];
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  while (file && kib == 0 && fgets(line, sizeof line, file))
    if (strncmp(line, "Rss:", 4) == 0) kib = strtoul(line + 4, NULL, 10);
  if (file) fclose(file);
  return kib * 1024;
}
