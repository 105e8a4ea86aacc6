/* A training run that saves its checkpoints in memory, and may be stopped. */
#ifndef TINYTL_TEST_SAVED_RUN_H
#define TINYTL_TEST_SAVED_RUN_H

#include "support/memory_images.h"
#include "support/sink.h"

enum {
  SAVED_TRAIN = 21,
  SAVED_VAL = 9,
  SAVED_PROOF = 40, /* validation pictures that prove that a method gains nothing */
  SAVED_BATCH = 4,
  SAVED_EPOCHS = 3, /* of 6 updates */
  SAVED_MAX = 128
};

typedef struct saved_run {
  tinytl_backbone *backbone;
  memory_images train, val;
  tinytl_train_options options;
  tinytl_train_report report;
  tinytl_error error;
  bool with_val;
  sink saves[SAVED_MAX]; /* the latest SAVED_MAX ones, in turn */
  int n_saves;
  volatile int stop;
  int loads_left; /* before it stops; below 0: never */
  float loss;     /* of the latest epoch that was told */
  int n_kept;     /* methods of auto; counted by who wants to know */
  int n_told;     /* pictures of the second training; noted by who wants to know */
  tinytl_resumed resumed;
  int n_resumed;
} saved_run;

/* With the small backbone, saving after every update. The caller frees it. */
saved_run *saved_run_make(tinytl_method method);
/* All but the backbone. */
void saved_run_init(saved_run *f, tinytl_method method);
void saved_run_free(saved_run *f);

/* Trains, from a checkpoint where there is one; the adapter's bytes go into *adapter. */
tinytl_status saved_run_train(saved_run *f, const sink *from, sink *adapter);
/* The same under about the smallest limit that does. What the process holds grows a little between
 * plan and run, under the address sanitizer by a lot. */
tinytl_status saved_run_train_low(saved_run *f, const sink *from, sink *adapter);
/* The first for a run that must not fail. */
void saved_run_finish(saved_run *f, const sink *from, sink *adapter);
sink *saved_run_latest(saved_run *f); /* checkpoint */

tinytl_source sink_source(const sink *file); /* borrows the sink */
sink sink_copy(const sink *file);
void sink_seal(sink *file); /* makes a sealed file's checksum right again */
void sink_assert_same(const sink *x, const sink *y);

#endif
