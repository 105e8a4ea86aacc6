/* Numbers in files. */
#ifndef TINYTL_FORMAT_BYTES_H
#define TINYTL_FORMAT_BYTES_H

#include <stdint.h>

/* Little-endian, of up to 8 bytes. */
static inline uint64_t tinytl_read_number(const uint8_t *bytes, int nbytes) {
  uint64_t value = 0;
  for (int i = 0; i < nbytes; i++) value |= (uint64_t)bytes[i] << (8 * i);
  return value;
}

#endif
