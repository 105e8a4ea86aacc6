/* Reading zip archives as torch.save writes them: entries are stored, not compressed; ZIP64 where
 * they are large. Only the central directory is believed (APPNOTE.TXT 6.3, sections 4.3.7 to
 * 4.3.16); checksums are not looked at, as PyTorch can be told to write none. */
#ifndef TINYTL_FORMAT_ZIP_H
#define TINYTL_FORMAT_ZIP_H

#include "core/status.h"

enum { TINYTL_ZIP_MAX_ENTRIES = 1 << 16 };

typedef struct tinytl_zip_entry {
  const char *name; /* not terminated */
  size_t name_length;
  const uint8_t *data;
  size_t nbytes;
} tinytl_zip_entry;

typedef struct tinytl_zip {
  int n;
  tinytl_zip_entry *entries; /* [n], in order of names; they point into the bytes */
} tinytl_zip;

bool tinytl_is_zip(const void *bytes, size_t nbytes);
/* Borrows bytes until closed. Every entry lies inside them, and no name stands twice. Errors:
 * TINYTL_ERROR_MODEL. */
tinytl_status tinytl_zip_open(const void *bytes, size_t nbytes, const char *name, tinytl_zip *zip,
                              tinytl_error *error);
void tinytl_zip_close(tinytl_zip *zip);
/* NULL: there is none of this name. */
const tinytl_zip_entry *tinytl_zip_find(const tinytl_zip *zip, const char *name, size_t length);

#endif
