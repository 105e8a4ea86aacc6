/* The state of a pre-training run, of a super-net or a backbone, that is gone on from to its end
 * where it is accepted. */
#define _GNU_SOURCE /* memmem */
#include <string.h>

#include "fuzz.h"
#include "supernet_run.h"

static const char *const architectures[] = {"supernet-0.1", "mobilenet-v2-0.1"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static supernet_run *run;
  static sink like[2];
  sink file = {0}, made;
  if (!run) run = supernet_run_make();
  const int which = !memmem(data, nbytes, "supernet", strlen("supernet"));
  if (!like[which].bytes) {
    FUZZ_EXPECT(supernet_run_pretrain(run, architectures[which], NULL, &made) == TINYTL_OK);
    FUZZ_EXPECT(sink_write(&like[which], run->saves[0].bytes, run->saves[0].nbytes));
    free(made.bytes);
  }
  run->n_saves = 0;
  fuzz_unfold(data, nbytes, &like[which], &file);
  fuzz_seal(&file);
  fuzz_describe(&file);
  const tinytl_status status = supernet_run_pretrain(run, architectures[which], &file, &made);
  fuzz_expect_resumed(status, &run->error);
  free(made.bytes);
  free(file.bytes);
  return 0;
}
