/* The orientation tag of EXIF 2.3: a TIFF file inside an APP1 segment. Only its first directory
 * is looked at; anything out of bounds means that there is no orientation. */
#include "image/image.h"

#include <string.h>

typedef struct tiff {
  const uint8_t *bytes;
  size_t nbytes;
  bool big_endian;
} tiff;

static bool read_u16(const tiff *file, size_t offset, uint32_t *value) {
  if (file->nbytes < 2 || offset > file->nbytes - 2) return false;
  const uint8_t *at = file->bytes + offset;
  *value = file->big_endian ? (uint32_t)at[0] << 8 | at[1] : (uint32_t)at[1] << 8 | at[0];
  return true;
}

static bool read_u32(const tiff *file, size_t offset, uint32_t *value) {
  uint32_t first, second;
  if (!read_u16(file, offset, &first) || !read_u16(file, offset + 2, &second)) return false;
  *value = file->big_endian ? first << 16 | second : second << 16 | first;
  return true;
}

int tinytl_exif_orientation(const uint8_t *bytes, size_t nbytes) {
  enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_NBYTES = 12 };
  static const uint8_t signature[6] = "Exif\0";
  if (nbytes < 14 || memcmp(bytes, signature, 6) != 0) return 0;
  tiff file = {bytes + 6, nbytes - 6, bytes[6] == 'M'};
  if (memcmp(file.bytes, file.big_endian ? "MM" : "II", 2) != 0) return 0;

  uint32_t magic, directory, n_entries;
  if (!read_u16(&file, 2, &magic) || magic != 42) return 0;
  if (!read_u32(&file, 4, &directory) || !read_u16(&file, directory, &n_entries)) return 0;
  for (uint32_t i = 0; i < n_entries; i++) {
    size_t entry = (size_t)directory + 2 + (size_t)i * ENTRY_NBYTES;
    uint32_t tag, type, value;
    if (!read_u16(&file, entry, &tag) || !read_u16(&file, entry + 2, &type)) return 0;
    if (tag != TAG_ORIENTATION) continue;
    if (type != TYPE_SHORT && type != TYPE_LONG) return 0; /* LONG: not EXIF, but written */
    if (!(type == TYPE_LONG ? read_u32 : read_u16)(&file, entry + 8, &value)) return 0;
    return value >= 1 && value <= 8 ? (int)value : 0;
  }
  return 0;
}
