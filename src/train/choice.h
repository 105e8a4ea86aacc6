/* What a run does to meet its memory limit. */
#ifndef TINYTL_TRAIN_CHOICE_H
#define TINYTL_TRAIN_CHOICE_H

#include "train/trainer.h"

/* Kept free under a limit: the kernel counts resident pages by batches. The least that runs left
 * of their limits stands in docs/memory.md. */
#define TINYTL_LIMIT_MARGIN ((size_t)192 * 1024)

/* Prepares the choice for options.method that meets the limit and costs least; fills trainer->plan.
 * base_nbytes: what the process holds. */
tinytl_status tinytl_trainer_choose(tinytl_trainer *trainer, const tinytl_backbone *backbone,
                                    size_t base_nbytes, tinytl_error *error);

#endif
