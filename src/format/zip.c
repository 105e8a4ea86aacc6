#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"

/* Bytes that the fixed part of each record takes. */
enum { LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR = 20, END64 = 56, MAX_COMMENT = 65535 };
enum { FLAG_ENCRYPTED = 1, METHOD_STORED = 0, EXTRA_ZIP64 = 1 };
enum { IN_ZIP64_16 = 0xFFFF };
static const uint64_t IN_ZIP64 = 0xFFFFFFFF; /* the value stands in the ZIP64 record */

typedef struct archive {
  const uint8_t *bytes;
  size_t nbytes;
  const char *name;
  uint64_t n_entries, directory, directory_nbytes;
} archive;

static bool is_signed(const uint8_t *record, const char *signature) {
  return memcmp(record, signature, 4) == 0;
}

static tinytl_status fail_damaged(const archive *a, const char *what, tinytl_error *error) {
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: zip archive: %s: it is truncated or damaged",
                     a->name, what);
}

/* ---- The end of the archive --------------------------------------------------------------- */

/* The record that ends the archive, before a comment; NULL: none. */
static const uint8_t *find_end(const archive *a) {
  for (size_t comment = 0; comment <= MAX_COMMENT && END + comment <= a->nbytes; comment++) {
    const uint8_t *end = a->bytes + a->nbytes - END - comment;
    if (is_signed(end, "PK\5\6") && tinytl_read_number(end + 20, 2) == comment) return end;
  }
  return NULL;
}

static tinytl_status read_end64(archive *a, const uint8_t *end, tinytl_error *error) {
  const size_t at = (size_t)(end - a->bytes);
  if (at < LOCATOR || !is_signed(end - LOCATOR, "PK\6\7"))
    return fail_damaged(a, "no ZIP64 locator", error);
  const uint64_t offset = tinytl_read_number(end - LOCATOR + 8, 8);
  if (a->nbytes < END64 || offset > a->nbytes - END64 || !is_signed(a->bytes + offset, "PK\6\6"))
    return fail_damaged(a, "no ZIP64 end of central directory", error);
  const uint8_t *end64 = a->bytes + offset;
  a->n_entries = tinytl_read_number(end64 + 32, 8);
  a->directory_nbytes = tinytl_read_number(end64 + 40, 8);
  a->directory = tinytl_read_number(end64 + 48, 8);
  return TINYTL_OK;
}

static tinytl_status read_end(archive *a, tinytl_error *error) {
  const uint8_t *end = find_end(a);
  if (!end) return fail_damaged(a, "no end of central directory", error);
  a->n_entries = tinytl_read_number(end + 10, 2);
  a->directory_nbytes = tinytl_read_number(end + 12, 4);
  a->directory = tinytl_read_number(end + 16, 4);
  if (a->n_entries == IN_ZIP64_16 || a->directory_nbytes == IN_ZIP64 || a->directory == IN_ZIP64)
    TINYTL_TRY(read_end64(a, end, error));
  if (a->directory > a->nbytes || a->directory_nbytes > a->nbytes - a->directory)
    return fail_damaged(a, "the central directory lies outside of the file", error);
  if (a->n_entries > TINYTL_ZIP_MAX_ENTRIES)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: zip archive: %llu entries, at most %d are supported", a->name,
                       (unsigned long long)a->n_entries, TINYTL_ZIP_MAX_ENTRIES);
  return TINYTL_OK;
}

/* ---- One entry ---------------------------------------------------------------------------- */

/* Replaces those of the values that stand in the ZIP64 field of `extra`. */
static bool read_extra64(const uint8_t *extra, size_t nbytes, uint64_t *const values[3]) {
  while (nbytes >= 4) {
    const size_t length = (size_t)tinytl_read_number(extra + 2, 2);
    if (length > nbytes - 4) return false;
    if (tinytl_read_number(extra, 2) == EXTRA_ZIP64) {
      const uint8_t *next = extra + 4, *end = next + length;
      for (int i = 0; i < 3; i++) {
        if (*values[i] != IN_ZIP64) continue;
        if (end - next < 8) return false;
        *values[i] = tinytl_read_number(next, 8);
        next += 8;
      }
      return true;
    }
    extra += 4 + length;
    nbytes -= 4 + length;
  }
  return *values[0] != IN_ZIP64 && *values[1] != IN_ZIP64 && *values[2] != IN_ZIP64;
}

static tinytl_status locate(const archive *a, uint64_t offset, uint64_t nbytes,
                            tinytl_zip_entry *entry, tinytl_error *error) {
  if (a->directory < LOCAL || offset > a->directory - LOCAL ||
      !is_signed(a->bytes + offset, "PK\3\4"))
    return fail_damaged(a, "an entry lies outside of the file", error);
  const uint8_t *local = a->bytes + offset;
  const uint64_t data =
      offset + LOCAL + tinytl_read_number(local + 26, 2) + tinytl_read_number(local + 28, 2);
  if (data > a->directory || nbytes > a->directory - data)
    return fail_damaged(a, "an entry ends outside of the file", error);
  entry->data = a->bytes + data;
  entry->nbytes = (size_t)nbytes;
  return TINYTL_OK;
}

/* Reads the record at *at [left] of the central directory and moves on. */
static tinytl_status read_entry(const archive *a, const uint8_t **at, size_t *left,
                                tinytl_zip_entry *entry, tinytl_error *error) {
  const uint8_t *record = *at;
  if (*left < CENTRAL || !is_signed(record, "PK\1\2"))
    return fail_damaged(a, "an entry of the central directory is missing", error);
  uint64_t packed_nbytes = tinytl_read_number(record + 20, 4),
           nbytes = tinytl_read_number(record + 24, 4);
  uint64_t offset = tinytl_read_number(record + 42, 4);
  const size_t extra = (size_t)tinytl_read_number(record + 30, 2);
  entry->name_length = (size_t)tinytl_read_number(record + 28, 2);
  entry->name = (const char *)record + CENTRAL;
  const size_t record_nbytes =
      CENTRAL + entry->name_length + extra + (size_t)tinytl_read_number(record + 32, 2);
  if (record_nbytes > *left)
    return fail_damaged(a, "an entry of the central directory is cut short", error);
  if (!read_extra64(record + CENTRAL + entry->name_length, extra,
                    (uint64_t *const[]){&nbytes, &packed_nbytes, &offset}))
    return fail_damaged(a, "an entry of the central directory has a damaged ZIP64 field", error);
  if (tinytl_read_number(record + 10, 2) != METHOD_STORED || packed_nbytes != nbytes ||
      tinytl_read_number(record + 8, 2) & FLAG_ENCRYPTED)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: zip archive: entry \"%.*s\" is compressed or encrypted; torch.save "
                       "stores entries as they are",
                       a->name, entry->name_length < 80 ? (int)entry->name_length : 80,
                       entry->name);
  *at += record_nbytes;
  *left -= record_nbytes;
  return locate(a, offset, nbytes, entry, error);
}

/* ---- The archive -------------------------------------------------------------------------- */

static int by_name(const void *x, const void *y) {
  const tinytl_zip_entry *left = x, *right = y;
  const size_t shorter =
      left->name_length < right->name_length ? left->name_length : right->name_length;
  const int order = memcmp(left->name, right->name, shorter);
  if (order != 0) return order;
  return (left->name_length > right->name_length) - (left->name_length < right->name_length);
}

static tinytl_status read_entries(const archive *a, tinytl_zip *zip, tinytl_error *error) {
  const uint8_t *at = a->bytes + a->directory;
  size_t left = (size_t)a->directory_nbytes;
  for (uint64_t i = 0; i < a->n_entries; i++)
    TINYTL_TRY(read_entry(a, &at, &left, &zip->entries[zip->n++], error));
  qsort(zip->entries, (size_t)zip->n, sizeof *zip->entries, by_name);
  for (int i = 1; i < zip->n; i++)
    if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
      return fail_damaged(a, "two entries have the same name", error);
  return TINYTL_OK;
}

bool tinytl_is_zip(const void *bytes, size_t nbytes) {
  return nbytes >= 4 && is_signed(bytes, "PK\3\4");
}

tinytl_status tinytl_zip_open(const void *bytes, size_t nbytes, const char *name, tinytl_zip *zip,
                              tinytl_error *error) {
  archive a = {.bytes = bytes, .nbytes = nbytes, .name = name};
  TINYTL_TRY(read_end(&a, error));
  tinytl_zip opened = {.entries = calloc((size_t)a.n_entries + 1, sizeof *opened.entries)};
  if (!opened.entries)
    return tinytl_fail_memory(error, (size_t)a.n_entries * sizeof *opened.entries);
  const tinytl_status status = read_entries(&a, &opened, error);
  if (status != TINYTL_OK)
    tinytl_zip_close(&opened);
  else
    *zip = opened;
  return status;
}

void tinytl_zip_close(tinytl_zip *zip) {
  free(zip->entries);
  *zip = (tinytl_zip){0};
}

const tinytl_zip_entry *tinytl_zip_find(const tinytl_zip *zip, const char *name, size_t length) {
  const tinytl_zip_entry key = {.name = name, .name_length = length};
  return bsearch(&key, zip->entries, (size_t)zip->n, sizeof key, by_name);
}
