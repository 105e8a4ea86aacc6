/* The mirror test on a run's training pictures. */
#ifndef TINYTL_TRAIN_MIRRORING_H
#define TINYTL_TRAIN_MIRRORING_H

#include "train/trainer.h"

/* Needs trainer->mirror_memory; changes the trainer's order. told: of the pictures that were looked
 * at so far, and how many it will be. Errors: those of a pass. */
typedef void (*tinytl_mirroring_told)(void *context, int n_done, int n);
tinytl_status tinytl_mirroring_test(tinytl_trainer *trainer, tinytl_mirroring_told told,
                                    void *context, tinytl_mirror_answer *answer,
                                    tinytl_error *error);

#endif
