/* Two sets of pictures of the same classes as one. */
#ifndef TINYTL_DATA_JOINED_H
#define TINYTL_DATA_JOINED_H

#include "tinytl/pictures.h"

typedef struct tinytl_joined {
  const tinytl_images *parts[2];
  int *labels;
  tinytl_images images; /* those of the first part, then those of the second; points into this */
} tinytl_joined;

/* Both sets stay borrowed. Error: INTERNAL (out of memory). */
tinytl_status tinytl_joined_make(tinytl_joined *joined, const tinytl_images *first,
                                 const tinytl_images *second, tinytl_error *error);
void tinytl_joined_clear(tinytl_joined *joined); /* one that is zeros is allowed */

#endif
