/* Pre-training and searching over a few drawn pictures: what targets go on with, and their seeds
 * are of. */
#ifndef TINYTL_FUZZ_SUPERNET_RUN_H
#define TINYTL_FUZZ_SUPERNET_RUN_H

#include "support/memory_images.h"
#include "support/sink.h"

enum { SUPERNET_SAVES = 64 };

typedef struct supernet_run {
  memory_images train, val;
  tinytl_pretrain_options pretrain;
  tinytl_search_options search;
  tinytl_error error;
  int candidates_left; /* of a search: measured, before it is stopped; it is as soon as it goes on
                          with adapting, or with evolution; below 0: never */
  volatile int stop;
  sink saves[SUPERNET_SAVES]; /* the latest ones, in turn */
  int n_saves;
} supernet_run;

/* A state is saved where a run is stopped, and at the end of pre-training. */
supernet_run *supernet_run_make(void);
void supernet_run_free(supernet_run *run);

/* Of a backbone's or a super-net's architecture; from a state where there is one. What it comes to
 * can be opened again. */
tinytl_status supernet_run_pretrain(supernet_run *run, const char *architecture, const sink *from,
                                    sink *made);
/* The same, of a super-net. */
tinytl_status supernet_run_search(supernet_run *run, const tinytl_supernet *supernet,
                                  const sink *from, sink *made);

enum { SUPERNET_STATES = 3 };
/* Of the states that the last run saved the first, the middle and the last one: i below
 * SUPERNET_STATES. All must be there still. */
const sink *supernet_run_state(const supernet_run *run, int i);

/* The super-net that pre-training makes; the caller frees it. */
tinytl_supernet *supernet_run_net(supernet_run *run, bool with_lite, sink *file);

#endif
