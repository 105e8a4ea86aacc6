/* How large what functions take may be; what is beyond is refused. */
#ifndef TINYTL_RANGES_H
#define TINYTL_RANGES_H

enum {
  TINYTL_MAX_CLASSES = 100000,
  TINYTL_MAX_IMAGE_SIZE = 4096, /* side of a network's input, in pixels */
  TINYTL_MIN_TRAIN_SIZE = 32,   /* the same of training, pre-training and a search */
  TINYTL_MAX_TRAIN_SIZE = 1024,
  TINYTL_MAX_BATCH = 4096, /* pictures a step */
  TINYTL_MAX_EPOCHS = 10000
};

#endif
