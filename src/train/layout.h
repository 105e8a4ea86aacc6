/* A run's memory: where everything lies in the trainer's block, and how much of each there is. */
#ifndef TINYTL_TRAIN_LAYOUT_H
#define TINYTL_TRAIN_LAYOUT_H

#include "train/trainer.h"

/* Fills trainer->plan for what was prepared; false where it overflows. */
bool tinytl_trainer_count(tinytl_trainer *trainer);
/* Fills in what its activations are at their peak, and where that is. */
void tinytl_trainer_find_peak(tinytl_trainer *trainer);
/* Of a lane, for what was prepared: a multiple of TINYTL_ARENA_ALIGN. */
size_t tinytl_trainer_lane_nbytes(const tinytl_trainer *trainer);
/* Takes the block of what was counted and points into it. *loader_memory is for the loader. */
tinytl_status tinytl_trainer_take_block(tinytl_trainer *trainer, void **loader_memory,
                                        tinytl_error *error);
tinytl_loader_options tinytl_trainer_loader_options(const tinytl_trainer *trainer);

/* Heap for decoding: of one picture of either set, with what trainer->max_load_nbytes leaves in;
 * and of those that are decoded at once, which take trainer->load_nbytes each. */
size_t tinytl_trainer_load_nbytes(const tinytl_trainer *trainer);
int tinytl_trainer_n_decoders(const tinytl_trainer *trainer);
size_t tinytl_trainer_decoding_nbytes(const tinytl_trainer *trainer);

#endif
