/* A file of others, of any format that is imported: what is made of it can be used and written. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  const tinytl_weights weights = nbytes % 2 ? TINYTL_WEIGHTS_F32 : TINYTL_WEIGHTS_INT8;
  const tinytl_status status =
      tinytl_backbone_import(data, nbytes, "dir/fuzz.tflite", weights, &backbone, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status != TINYTL_OK) return 0;
  fuzz_use(backbone, NULL);
  fuzz_write_again(backbone);
  tinytl_backbone_free(backbone);
  return 0;
}
