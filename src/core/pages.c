#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, madvise */
#include "core/pages.h"

#include <stdio.h>
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

/* A mapping's line: first-last permissions offset device inode [path]. */
static bool is_code(const char *line) {
  const char *permissions = strchr(line, ' ');
  return permissions && strncmp(permissions, " r-x", 4) == 0 && strchr(line, '/');
}

static FILE *open_file(const char *process, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", process, name);
  return fopen(path, "r");
}

/* smaps counts pages; VmRSS of /proc/self/status lags behind by some dozens. */
static size_t count_smaps(const char *process) {
  size_t total = 0, size = 0;
  bool code = false;
  char line[512];
  FILE *file = open_file(process, "smaps");
  while (file && fgets(line, sizeof line, file)) {
    size_t kib;
    if (sscanf(line, "Size: %zu kB", &kib) == 1)
      size = kib;
    else if (sscanf(line, "Rss: %zu kB", &kib) == 1)
      total += code ? (size + kib) / 2 : kib;
    else if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
      code = is_code(line);
  }
  if (file) fclose(file);
  return total * 1024;
}

/* Of the code it tells how much there is, not how much was touched: half of all is added. */
static size_t count_statm(const char *process) {
  size_t size, resident, shared, code;
  FILE *file = open_file(process, "statm");
  const bool known = file && fscanf(file, "%zu %zu %zu %zu", &size, &resident, &shared, &code) == 4;
  if (file) fclose(file);
  return known ? (resident + code / 2) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

size_t tinytl_resident_nbytes_of(const char *process) {
  const size_t nbytes = count_smaps(process);
  return nbytes ? nbytes : count_statm(process); /* kernels may be built without smaps */
}

size_t tinytl_resident_nbytes(void) {
  return tinytl_resident_nbytes_of("/proc/self");
}
