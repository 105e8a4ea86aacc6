/* What a file is, before it is opened; and what a checkpoint says of its run. */
#ifndef TINYTL_FILE_H
#define TINYTL_FILE_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tinytl_file_kind {
  TINYTL_FILE_OTHER, /* none of these, or too damaged to tell */
  TINYTL_FILE_BACKBONE,
  TINYTL_FILE_ADAPTER,
  TINYTL_FILE_SUPERNET,
  TINYTL_FILE_CHECKPOINT
} tinytl_file_kind;

/* Of what its metadata says; opening it may fail still. */
tinytl_file_kind tinytl_file_kind_of(const void *bytes, size_t nbytes);

/* Which run made a checkpoint. */
typedef enum tinytl_run_kind {
  TINYTL_RUN_TRAIN,
  TINYTL_RUN_PRETRAIN,
  TINYTL_RUN_SEARCH
} tinytl_run_kind;

typedef struct tinytl_checkpoint_info {
  tinytl_run_kind run;
  char subject[64]; /* the method that is trained, or will be after a search; the architecture */
  int epoch;        /* that is going on, from 1; one more than there are: all are done. Of a
                       search: of adapting */
  int n_epochs;     /* 0: not told, of a search with the default */
  int image;        /* training pictures of this epoch that are done */
  int n_measured;   /* sub-nets, of a search */
  int n_classes, n_train_images, n_val_images;
  bool is_refit;  /* a training once more, on all pictures, none of which are for validation then */
  float val_top1; /* 0 to 1, of the epoch that is kept, or before a refit; NAN: none yet, or not of
                     a training */
  char version[32], kernels[16]; /* of the library that saved it; "": not told */
  char backbone_sha256[65];      /* of a training; else "" */
} tinytl_checkpoint_info;

/* Checks the whole file, called `name` in messages, against its hash. Errors: MODEL (damaged, of
 * another kind or format), INTERNAL. */
tinytl_status tinytl_checkpoint_describe(const void *bytes, size_t nbytes, const char *name,
                                         tinytl_checkpoint_info *info, tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
