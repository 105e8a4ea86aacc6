/* main of a target that is not linked with libFuzzer: replay PATH...: every file, and every file of
 * a folder, is one input. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "support/data.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t nbytes, size_t max_nbytes) {
  (void)data, (void)max_nbytes;
  return nbytes;
}

/* Whole, and cut at some places. In blocks of their own, so that a sanitizer sees every read beyond
 * them. */
static void replay(const uint8_t *bytes, size_t nbytes) {
  enum { CUTS = 8 };
  for (size_t i = 1; i <= CUTS; i++) {
    const size_t n = nbytes * i / CUTS;
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
  }
}

static int replay_file(const char *path) {
  size_t nbytes = 0;
  uint8_t *bytes = data_read(path, &nbytes);
  if (!bytes) {
    fprintf(stderr, "%s: cannot be read\n", path);
    return 1;
  }
  replay(bytes, nbytes);
  free(bytes);
  return 0;
}

static int replay_path(const char *path) {
  DIR *dir = opendir(path);
  int n_failed = 0, n_files = 0;
  if (!dir) return replay_file(path);
  for (const struct dirent *entry; (entry = readdir(dir));) {
    char file[1024];
    if (entry->d_name[0] == '.') continue;
    snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
    n_failed += replay_file(file);
    n_files++;
  }
  closedir(dir);
  if (n_files == 0) fprintf(stderr, "%s: no file\n", path);
  return n_failed + (n_files == 0);
}

int main(int argc, char **argv) {
  int n_failed = argc < 2;
  for (int i = 1; i < argc; i++) n_failed += replay_path(argv[i]);
  return n_failed > 0;
}
