/* The mirror test on a run's training pictures. */
#ifndef TINYTL_TRAIN_MIRRORING_H
#define TINYTL_TRAIN_MIRRORING_H

#include "train/trainer.h"

/* Needs trainer->mirror_memory; changes the trainer's order. Errors: those of a pass. */
tinytl_status tinytl_mirroring_test(tinytl_trainer *trainer, tinytl_mirror_answer *answer,
                                    tinytl_error *error);

#endif
