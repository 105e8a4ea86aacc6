#include "format/import.h"

#include <string.h>

bool tinytl_is_tflite(const void *bytes, size_t nbytes) {
  return nbytes >= 8 && memcmp((const char *)bytes + 4, "TFL3", 4) == 0;
}

tinytl_status tinytl_import_tflite(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_weights weights, tinytl_backbone **backbone,
                                   tinytl_error *error) {
  (void)bytes, (void)nbytes, (void)weights, (void)backbone;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: TFLite files are not supported yet", name);
}
