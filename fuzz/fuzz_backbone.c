/* A backbone file: opened, planned with, run, written again. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  const tinytl_status status = tinytl_backbone_open(data, nbytes, "fuzz", &backbone, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status != TINYTL_OK) return 0;
  fuzz_use(backbone, NULL);
  fuzz_write_again(backbone);
  tinytl_backbone_free(backbone);
  return 0;
}
