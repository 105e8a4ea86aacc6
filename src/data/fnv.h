/* FNV-1a (Fowler, Noll, Vo), 64 bits: a hash of bytes that nobody chose to collide. */
#ifndef TINYTL_DATA_FNV_H
#define TINYTL_DATA_FNV_H

#include <stddef.h>
#include <stdint.h>

#define TINYTL_FNV_START UINT64_C(0xcbf29ce484222325)

/* Goes on from the hash of the bytes before. */
static inline uint64_t tinytl_fnv_add(uint64_t hash, const void *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
  return hash;
}

#endif
