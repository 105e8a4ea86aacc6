/* The state of a search that is gone on from where it is accepted: for a sub-net that is measured,
 * or to where adapting or evolution begins; then it is stopped and saved. */
#include "fuzz.h"
#include "supernet_run.h"

/* States of a search of this super-net. */
static void make_like(supernet_run *run, const tinytl_supernet *net, sink like[SUPERNET_STATES]) {
  const double save_seconds = run->search.train.save_seconds;
  sink made;
  run->search.train.save_seconds = 0;
  run->candidates_left = -1;
  FUZZ_EXPECT(supernet_run_search(run, net, NULL, &made) == TINYTL_OK);
  run->search.train.save_seconds = save_seconds;
  free(made.bytes);
  for (int i = 0; i < SUPERNET_STATES; i++) {
    const sink *state = supernet_run_state(run, i);
    FUZZ_EXPECT(sink_write(&like[i], state->bytes, state->nbytes));
  }
}

static size_t n_alike(const uint8_t *data, size_t nbytes, const sink *file) {
  size_t n = 0;
  while (n < nbytes && n < file->nbytes && data[n] == (uint8_t)file->bytes[n]) n++;
  return n;
}

/* Numbers are laid out as in the state whose header is most alike. */
static const sink *choose(const uint8_t *data, size_t nbytes, const sink like[SUPERNET_STATES]) {
  const sink *best = &like[0];
  for (int i = 1; i < SUPERNET_STATES; i++)
    if (n_alike(data, nbytes, &like[i]) > n_alike(data, nbytes, best)) best = &like[i];
  return best;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static supernet_run *run;
  static tinytl_supernet *net;
  static sink like[SUPERNET_STATES];
  sink file = {0}, made;
  if (!net) {
    run = supernet_run_make();
    net = supernet_run_net(run, true, &made);
    free(made.bytes);
    make_like(run, net, like);
  }
  fuzz_unfold(data, nbytes, choose(data, nbytes, like), &file);
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
