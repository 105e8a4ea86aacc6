/* Picture folders as the commands use them. */
#ifndef CLI_PICTURES_H
#define CLI_PICTURES_H

#include "tinytl.h"

/* Tells people about a picture that is left out: a tinytl_skip_fn, whose context is not used. */
void cli_note_skipped(void *context, const char *path, const char *reason);

/* What --image-sizes says: sides of pictures, as "48,64,80"; NULL: none. Error: USAGE. */
tinytl_status cli_image_sizes(const char *list, int sizes[TINYTL_MAX_IMAGE_SIZES], int *n,
                              tinytl_error *error);

/* The pictures to train on and those that choose the best epoch. */
typedef struct cli_train_set {
  tinytl_folder *train, *val; /* val NULL: no validation */
  tinytl_images val_images;   /* labelled as the training classes are */
  int *val_labels;
  bool held_back; /* val was taken from the training pictures */
  int n_skipped;
} cli_train_set;

/* The share of every class that is held back where there is no DIR/val. */
typedef enum cli_val_rule {
  CLI_VAL_OF_PRETRAIN, /* a tenth; as below, nothing of fewer than three pictures a class */
  CLI_VAL_OF_TRAIN,    /* tinytl_validation_share */
  CLI_VAL_OF_SEARCH    /* the same, and a fifth at least: `train` with the same seed must not hold
                          back what the search has trained on */
} cli_val_rule;

/* Warns of pictures to measure on that are pictures to train on too. Error: INTERNAL. */
tinytl_status cli_warn_of_seen(const tinytl_folder *train, const tinytl_folder *measured,
                               tinytl_error *error);

/* val_share: NAN: DIR/val, or by the rule; else this share, whatever there is in DIR/val. tells: of
 * pictures that are left out, and of those that are there twice. */
tinytl_status cli_train_set_open(cli_train_set *set, const char *dir, cli_val_rule rule,
                                 float val_share, uint64_t seed, bool tells, tinytl_error *error);
void cli_train_set_close(cli_train_set *set);
/* The validation pictures; NULL: none. */
const tinytl_images *cli_train_set_val(const cli_train_set *set);

#endif
