/* By what a checkpoint knows the pictures of its run again. */
#ifndef TINYTL_TRAIN_IDENTITY_H
#define TINYTL_TRAIN_IDENTITY_H

#include "tinytl/pictures.h"

/* As JSON: their numbers, and a hash of their names and labels. val may be NULL. The caller frees
 * it; NULL: out of memory. */
char *tinytl_images_identity(const tinytl_images *train, const tinytl_images *val);

#endif
