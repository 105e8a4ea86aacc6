/* Changes a safetensors file so that its first 8 bytes go on saying how long the header is, which
 * changes of single bytes seldom get right. */
#include "fuzz.h"

#include <string.h>

static size_t header_nbytes(const uint8_t *data) {
  uint64_t length = 0;
  memcpy(&length, data, sizeof length);
  return length < SIZE_MAX ? (size_t)length : SIZE_MAX;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t nbytes, size_t max_nbytes, unsigned seed) {
  enum { FIRST = 8 };
  const bool is_file = nbytes >= FIRST && header_nbytes(data) <= nbytes - FIRST;
  if (!is_file || seed % 16 == 0) return LLVMFuzzerMutate(data, nbytes, max_nbytes);
  const size_t header = header_nbytes(data), rest = nbytes - FIRST - header;
  uint8_t *at = data + FIRST + header;
  if (seed % 4 == 0 && rest > 0) return FIRST + header + LLVMFuzzerMutate(at, rest, rest);
  uint8_t *kept = malloc(rest + 1);
  memcpy(kept, at, rest);
  const uint64_t made = LLVMFuzzerMutate(data + FIRST, header, max_nbytes - FIRST - rest);
  memcpy(data, &made, sizeof made);
  memcpy(data + FIRST + made, kept, rest);
  free(kept);
  return FIRST + (size_t)made + rest;
}
