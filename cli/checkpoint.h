/* The checkpoint file of a training run: whose it is, saving into it, going on from it. */
#ifndef CLI_CHECKPOINT_H
#define CLI_CHECKPOINT_H

#include "tinytl.h"

typedef struct cli_checkpoint {
  /* As the options have them; borrowed. The rest is zero before it is opened. */
  const char *path; /* NULL: no checkpoints */
  bool resume;
  float every;     /* seconds; below 0: as the library has it */
  char *target;    /* owned: behind symbolic links */
  char *lock_path; /* owned: TARGET.lock, which is there and locked while the run is going on */
  int lock_fd;
  int fd; /* what is gone on from; -1: from the beginning */
  tinytl_source source;
  bool is_saved;   /* the file holds the latest state that was to be saved */
  bool has_failed; /* and was told */
} cli_checkpoint;

/* No options are given. */
#define CLI_CHECKPOINT_NONE \
  { .every = -1 }

/* Sets *save_seconds where the options do. Errors: USAGE where another run has the file, where it
 * is there but `resume` is not set, where it is no file, or is `output`, or where there is none for
 * the other options; INTERNAL, MODEL where it cannot be locked or read. */
tinytl_status cli_checkpoint_open(cli_checkpoint *checkpoint, const char *output,
                                  float *save_seconds, tinytl_error *error);
/* What training goes on from; NULL: nothing, it begins. */
const tinytl_source *cli_checkpoint_source(const cli_checkpoint *checkpoint);
/* Has the file replaced by what write_state writes. Where that fails the old one stays, which is
 * told once. */
typedef tinytl_status (*cli_write_state_fn)(const void *state, tinytl_write_fn write, void *context,
                                            tinytl_error *error);
void cli_checkpoint_save(cli_checkpoint *checkpoint, cli_write_state_fn write_state,
                         const void *state);
/* The run is over: removes the file. */
void cli_checkpoint_remove(const cli_checkpoint *checkpoint);
/* After a run that ended with `status`: says whether it can go on. */
void cli_checkpoint_note_end(const cli_checkpoint *checkpoint, tinytl_status status);
void cli_checkpoint_close(cli_checkpoint *checkpoint);

#endif
