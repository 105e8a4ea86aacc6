/* An adapter file, with its backbone and without one. */
#include "fuzz.h"
#include "support/sink.h"
#include "support/tiny_net.h"

static void open(const uint8_t *data, size_t nbytes, const tinytl_backbone *backbone) {
  tinytl_adapter *adapter = NULL, *again = NULL;
  tinytl_adapter_info info;
  tinytl_error error;
  sink file = {0};
  const tinytl_status status =
      tinytl_adapter_open(data, nbytes, "fuzz", backbone, &adapter, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status != TINYTL_OK) return;
  tinytl_adapter_describe(adapter, &info);
  for (int c = 0; c < info.n_classes; c++) FUZZ_EXPECT(tinytl_adapter_class(adapter, c));
  FUZZ_EXPECT(tinytl_adapter_write(adapter, sink_write, &file, NULL) == TINYTL_OK);
  FUZZ_EXPECT(tinytl_adapter_open(file.bytes, file.nbytes, "again", backbone, &again, NULL) ==
              TINYTL_OK);
  if (backbone) fuzz_use(backbone, adapter);
  tinytl_adapter_free(again);
  tinytl_adapter_free(adapter);
  free(file.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static tinytl_backbone *backbone;
  if (!backbone) backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  open(data, nbytes, NULL);
  open(data, nbytes, backbone);
  return 0;
}
