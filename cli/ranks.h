/* The processes that mpirun started, as ranks. */
#ifndef CLI_RANKS_H
#define CLI_RANKS_H

#include "tinytl.h"

/* *group: NULL where this process is alone. Error: USAGE where it is not, in a program that was
 * built without MPI. */
tinytl_status cli_ranks_begin(const tinytl_rank_group **group, tinytl_error *error);
/* Waits for the other ranks; after the last output. */
void cli_ranks_end(void);

#endif
