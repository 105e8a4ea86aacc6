#include "support/sink.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool sink_write(void *context, const void *bytes, size_t nbytes) {
  sink *file = context;
  uint8_t *grown = realloc(file->bytes, file->nbytes + nbytes + 1);
  if (!grown) return false;
  memcpy(grown + file->nbytes, bytes, nbytes);
  file->bytes = grown;
  file->nbytes += nbytes;
  return true;
}

bool sink_full(void *context, const void *bytes, size_t nbytes) {
  size_t *left = context;
  (void)bytes;
  if (nbytes > *left) return false;
  *left -= nbytes;
  return true;
}

bool sink_replace(sink *file, const char *from, const char *to) {
  const size_t length = strlen(from);
  for (size_t i = 0; i + length <= file->nbytes; i++)
    if (memcmp(file->bytes + i, from, length) == 0) {
      memcpy(file->bytes + i, to, length);
      return true;
    }
  return false;
}

static int read_copy(const uint8_t *bytes, size_t nbytes, size_t flip, sink_read_fn read) {
  uint8_t *copy = malloc(nbytes ? nbytes : 1);
  memcpy(copy, bytes, nbytes);
  if (flip < nbytes) copy[flip] ^= (uint8_t)(1 + flip % 255);
  const int status = read(copy, nbytes);
  free(copy);
  return status;
}

void sink_damage(const sink *file, size_t n_flip, int cut_status, sink_read_fn read) {
  const size_t step = file->nbytes / 400 + 1;
  for (size_t nbytes = 0; nbytes < file->nbytes; nbytes += step)
    assert_int_equal(read_copy(file->bytes, nbytes, SIZE_MAX, read), cut_status);
  assert_int_equal(read_copy(file->bytes, file->nbytes - 1, SIZE_MAX, read), cut_status);
  for (size_t i = 0; i < n_flip && i < file->nbytes; i++)
    read_copy(file->bytes, file->nbytes, i, read);
}

bool sink_check_in_python(const sink *file, const char *statements) {
  static const char *const pythons[] = {"python3", "/opt/venv/bin/python"};
  const char *python = NULL;
  char command[4096], path[] = "/tmp/tinytl-test-XXXXXX";
  for (int i = 0; i < 2 && !python; i++) {
    snprintf(command, sizeof command, "%s -c 'import numpy, safetensors' 2>/dev/null", pythons[i]);
    if (system(command) == 0) python = pythons[i];
  }
  if (!python) {
    printf("SKIP: no python3 with safetensors and numpy\n");
    return false;
  }
  const int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  assert_int_equal(write(descriptor, file->bytes, file->nbytes), file->nbytes);
  close(descriptor);
  snprintf(command, sizeof command,
           "%s -c 'import json, numpy, safetensors\n"
           "f = safetensors.safe_open(\"%s\", \"np\")\n%s'",
           python, path, statements);
  const int status = system(command);
  unlink(path);
  assert_int_equal(status, 0);
  return true;
}
