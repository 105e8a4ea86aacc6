#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool data_find(const char *name, char path[DATA_PATH_SIZE]) {
  const char *dir = getenv("TINYTL_DATA");
  if (!dir) dir = TINYTL_SOURCE_DIR "/../shared/data";
  struct stat info;
  int length = snprintf(path, DATA_PATH_SIZE, "%s/%s", dir, name);
  if (length < DATA_PATH_SIZE && stat(path, &info) == 0) return true;
  printf("SKIP: no test data %s in %s (set TINYTL_DATA)\n", name, dir);
  return false;
}

void *data_read(const char *path, size_t *nbytes) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  char *bytes = NULL;
  long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  if (size >= 0 && fseek(file, 0, SEEK_SET) == 0) bytes = malloc((size_t)size + 1);
  if (bytes && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
    free(bytes);
    bytes = NULL;
  }
  if (bytes) *nbytes = (size_t)size;
  fclose(file);
  return bytes;
}
