#include "format/flatbuffer.h"

#include <string.h>

#include "format/bytes.h"

bool tinytl_fb_is(const void *bytes, size_t nbytes, const char kind[4]) {
  return nbytes >= 8 && memcmp((const char *)bytes + 4, kind, 4) == 0;
}

static bool inside(tinytl_flatbuffer *buffer, size_t at, size_t nbytes) {
  if (at <= buffer->nbytes && nbytes <= buffer->nbytes - at) return true;
  buffer->damaged = true;
  return false;
}

/* Little-endian, sign extended. */
static int64_t read_signed(const uint8_t *bytes, int nbytes) {
  const uint64_t value = tinytl_read_number(bytes, nbytes);
  const int unused = 64 - 8 * nbytes;
  return (int64_t)(value << unused) >> unused;
}

static uint32_t read_u32(const uint8_t *bytes) {
  return (uint32_t)read_signed(bytes, 4);
}

static size_t read_u16(const uint8_t *bytes) {
  return (uint16_t)read_signed(bytes, 2);
}

/* What the offset at `at` points to; 0: outside. */
static size_t follow(tinytl_flatbuffer *buffer, size_t at) {
  if (!inside(buffer, at, 4)) return 0;
  const size_t distance = read_u32(buffer->bytes + at);
  if (!inside(buffer, at, distance) || !inside(buffer, at + distance, 4)) return 0;
  return at + distance;
}

/* Position of a field of `nbytes` bytes; 0: absent or damaged. */
static size_t find_field(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field,
                         size_t nbytes) {
  if (table == 0 || !inside(buffer, table, 4)) return 0;
  const int64_t vtable = (int64_t)table - read_signed(buffer->bytes + table, 4);
  if (vtable < 0 || !inside(buffer, (size_t)vtable, 4)) {
    buffer->damaged = true;
    return 0;
  }
  const uint8_t *entries = buffer->bytes + vtable;
  const size_t vtable_nbytes = read_u16(entries), table_nbytes = read_u16(entries + 2);
  const size_t entry = 4 + 2 * (size_t)field;
  if (!inside(buffer, (size_t)vtable, vtable_nbytes)) return 0;
  if (entry + 2 > vtable_nbytes) return 0;
  const size_t offset = read_u16(entries + entry);
  if (offset == 0) return 0;
  if (offset + nbytes > table_nbytes || !inside(buffer, table + offset, nbytes)) {
    buffer->damaged = true;
    return 0;
  }
  return table + offset;
}

tinytl_fb_table tinytl_fb_root(tinytl_flatbuffer *buffer) {
  return follow(buffer, 0);
}

int64_t tinytl_fb_scalar(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field, int nbytes,
                         int64_t absent) {
  const size_t at = find_field(buffer, table, field, (size_t)nbytes);
  return at ? read_signed(buffer->bytes + at, nbytes) : absent;
}

tinytl_fb_table tinytl_fb_field(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field) {
  const size_t at = find_field(buffer, table, field, 4);
  return at ? follow(buffer, at) : 0;
}

tinytl_fb_vector tinytl_fb_vector_field(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field,
                                        size_t element_nbytes) {
  const size_t at = tinytl_fb_field(buffer, table, field);
  if (!at) return (tinytl_fb_vector){0};
  const size_t n = read_u32(buffer->bytes + at);
  size_t nbytes;
  if (!tinytl_size_mul(n, element_nbytes, &nbytes) || !inside(buffer, at + 4, nbytes)) {
    buffer->damaged = true;
    return (tinytl_fb_vector){0};
  }
  return (tinytl_fb_vector){.at = at + 4, .n = n};
}

int64_t tinytl_fb_scalar_at(const tinytl_flatbuffer *buffer, tinytl_fb_vector vector, size_t index,
                            int nbytes) {
  return read_signed(buffer->bytes + vector.at + index * (size_t)nbytes, nbytes);
}

float tinytl_fb_float_at(const tinytl_flatbuffer *buffer, tinytl_fb_vector vector, size_t index) {
  float value;
  memcpy(&value, buffer->bytes + vector.at + index * sizeof value, sizeof value);
  return value;
}

tinytl_fb_table tinytl_fb_table_at(tinytl_flatbuffer *buffer, tinytl_fb_vector vector,
                                   size_t index) {
  return follow(buffer, vector.at + 4 * index);
}
