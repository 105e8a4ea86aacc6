/* Reading FlatBuffers with every offset checked. The format: a table begins with the distance back
 * to its vtable, a list of u16: bytes of the vtable, bytes of the table, then where each field
 * stands in the table (0: absent). Tables, vectors and strings inside are offsets relative to
 * where they stand.
 *
 * Access never fails: what lies outside the buffer reads as absent and sets `damaged`, which the
 * caller looks at before it believes what it read. */
#ifndef TINYTL_FORMAT_FLATBUFFER_H
#define TINYTL_FORMAT_FLATBUFFER_H

#include "core/status.h"

typedef struct tinytl_flatbuffer {
  const uint8_t *bytes;
  size_t nbytes;
  bool damaged;
} tinytl_flatbuffer;

/* Whether a file says that it is of this kind: four letters, at byte 4. */
bool tinytl_fb_is(const void *bytes, size_t nbytes, const char kind[4]);

/* Position of a table; 0: absent (the root's offset stands there, so no table can). */
typedef size_t tinytl_fb_table;

typedef struct tinytl_fb_vector {
  size_t at; /* position of the first element */
  size_t n;  /* elements; all lie inside the buffer */
} tinytl_fb_vector;

tinytl_fb_table tinytl_fb_root(tinytl_flatbuffer *buffer);
/* Fields of a table (which may be absent: so are its fields then). Scalars are little-endian and
 * signed, 1, 2, 4 or 8 bytes. */
int64_t tinytl_fb_scalar(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field, int nbytes,
                         int64_t absent);
tinytl_fb_table tinytl_fb_field(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field);
tinytl_fb_vector tinytl_fb_vector_field(tinytl_flatbuffer *buffer, tinytl_fb_table table, int field,
                                        size_t element_nbytes);
/* Elements of a vector, index < n. */
int64_t tinytl_fb_scalar_at(const tinytl_flatbuffer *buffer, tinytl_fb_vector vector, size_t index,
                            int nbytes);
float tinytl_fb_float_at(const tinytl_flatbuffer *buffer, tinytl_fb_vector vector, size_t index);
tinytl_fb_table tinytl_fb_table_at(tinytl_flatbuffer *buffer, tinytl_fb_vector vector,
                                   size_t index);

#endif
