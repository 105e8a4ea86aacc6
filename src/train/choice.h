/* What a run does to meet its memory limit. */
#ifndef TINYTL_TRAIN_CHOICE_H
#define TINYTL_TRAIN_CHOICE_H

#include "train/trainer.h"

/* Prepares the choice for options.method that meets the limit and costs least; fills trainer->plan.
 * base_nbytes: what the process holds. */
tinytl_status tinytl_trainer_choose(tinytl_trainer *trainer, const tinytl_backbone *backbone,
                                    size_t base_nbytes, tinytl_error *error);

#endif
