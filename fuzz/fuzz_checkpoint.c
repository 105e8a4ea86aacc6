/* A checkpoint that a run goes on from, to its end where it is accepted. */
#include "fuzz.h"
#include "support/saved_run.h"

static void save(void *context, const tinytl_checkpoint *checkpoint) {
  (void)context;
  size_t room = SIZE_MAX;
  FUZZ_EXPECT(tinytl_checkpoint_write(checkpoint, sink_full, &room, NULL) == TINYTL_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static saved_run *run;
  if (!run) {
    run = fuzz_run();
    run->options.save = save;
  }
  sink file = {0}, adapter = {0};
  FUZZ_EXPECT(sink_write(&file, data, nbytes));
  fuzz_seal(&file);
  fuzz_describe(&file);
  const tinytl_status status = saved_run_train(run, &file, &adapter);
  fuzz_expect_resumed(status, &run->error);
  free(adapter.bytes);
  free(file.bytes);
  return 0;
}
