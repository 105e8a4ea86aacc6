/* A PyTorch checkpoint: its tensors, every one of them read where it is small, and the network that
 * their names stand for. */
#include "format/state_dict.h"
#include "fuzz.h"

enum { MAX_VALUES = 1 << 16 };

static void read_tensors(const tinytl_state_dict *state) {
  static float values[MAX_VALUES];
  for (int i = 0; i < state->n; i++) {
    const tinytl_state_tensor *tensor = &state->tensors[i];
    size_t n = 1;
    int dims[4];
    bool is_small = tensor->n_dims >= 1 && tensor->n_dims <= 4;
    for (int d = 0; is_small && d < tensor->n_dims; d++) {
      is_small = tensor->dims[d] <= MAX_VALUES && (n *= tensor->dims[d]) <= MAX_VALUES;
      dims[d] = (int)tensor->dims[d];
    }
    if (is_small) (void)tinytl_state_read(state, tensor->name, tensor->n_dims, dims, values, NULL);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  tinytl_state_dict state;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  tinytl_status status = tinytl_state_from_torch(data, nbytes, "fuzz", &state, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status == TINYTL_OK) {
    read_tensors(&state);
    tinytl_state_free(&state);
  }
  status = tinytl_backbone_import(data, nbytes, "fuzz", TINYTL_WEIGHTS_INT8, &backbone, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  tinytl_backbone_free(backbone);
  return 0;
}
