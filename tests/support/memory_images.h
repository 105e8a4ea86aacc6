/* Pictures made in memory, for what takes tinytl_images: every class has a colour of its own under
 * a lot of noise. */
#ifndef TINYTL_TEST_MEMORY_IMAGES_H
#define TINYTL_TEST_MEMORY_IMAGES_H

#include "tinytl.h"

enum { MEMORY_MAX = 300, MEMORY_CLASSES = 3 };

typedef struct memory_images {
  tinytl_images images; /* points into this struct: do not copy it */
  int labels[MEMORY_MAX];
  uint64_t seed;                    /* sets of different seeds share no picture */
  tinytl_status answer[MEMORY_MAX]; /* what loading a picture gives; at first TINYTL_OK */
  bool sided; /* classes 0 and 1 are each other's mirror image; at first false */
} memory_images;

/* n pictures, the classes in turn. */
void memory_images_init(memory_images *set, int n, uint64_t seed);

#endif
