/* What a choice makes of a run. */
#ifndef TINYTL_TRAIN_PREPARE_H
#define TINYTL_TRAIN_PREPARE_H

#include "train/trainer.h"

/* Makes network, parameters and programs ready for a choice, in place of those of another. */
tinytl_status tinytl_trainer_prepare(tinytl_trainer *trainer, const tinytl_backbone *backbone,
                                     const tinytl_choices *choices, tinytl_error *error);
/* How decoding sees a picture in training (with what is left to `epoch`), and in validation. */
tinytl_view tinytl_trainer_view(const tinytl_trainer *trainer, bool training, int epoch);

#endif
