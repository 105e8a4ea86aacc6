/* Where the time of a run goes: a stopwatch whose laps are charged to kinds of work, and the
 * arithmetic that the kinds do. */
#ifndef TINYTL_TRAIN_PROFILE_H
#define TINYTL_TRAIN_PROFILE_H

#include "tinytl/profile.h"
#include "train/program.h"

struct tinytl_stopwatch {
  tinytl_profile *profile;
  double last; /* end of the last lap */
};

/* Begins, with an empty profile. */
void tinytl_stopwatch_start(tinytl_stopwatch *watch, tinytl_profile *profile);
/* Charges the time since the last lap. watch NULL: nothing is measured. */
void tinytl_lap(tinytl_stopwatch *watch, tinytl_work work, tinytl_direction direction);

/* What a step's last lap is charged to. */
tinytl_work tinytl_step_work(const tinytl_network *network, const tinytl_step *step);
tinytl_direction tinytl_step_direction(const tinytl_step *step);

/* Adds the multiply-accumulates of one run of the program: those that its method asks for, so not
 * what is recomputed to save memory. */
typedef uint64_t tinytl_macs[TINYTL_N_WORKS][TINYTL_N_DIRECTIONS];
void tinytl_program_add_macs(const tinytl_program *program, const tinytl_network *network,
                             tinytl_macs macs);
/* Their sum. */
uint64_t tinytl_program_macs(const tinytl_program *program, const tinytl_network *network);

#endif
