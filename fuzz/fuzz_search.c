/* The state of a search that is gone on from where it is accepted: for a sub-net that is measured,
 * or to where adapting or evolution begins; then it is stopped and saved. */
#include "fuzz.h"
#include "supernet_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static supernet_run *run;
  static tinytl_supernet *net;
  sink file = {0}, made;
  if (!net) {
    run = supernet_run_make();
    net = supernet_run_net(run, true, &made);
    free(made.bytes);
  }
  FUZZ_EXPECT(sink_write(&file, data, nbytes));
  fuzz_seal(&file);
  fuzz_describe(&file);
  run->n_saves = 0;
  run->candidates_left = 0;
  const tinytl_status status = supernet_run_search(run, net, &file, &made);
  if (status == TINYTL_INTERRUPTED)
    FUZZ_EXPECT(run->n_saves <= 1);
  else
    fuzz_expect_resumed(status, &run->error);
  free(made.bytes);
  free(file.bytes);
  return 0;
}
