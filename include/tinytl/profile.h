/* Where the time of a training run went. */
#ifndef TINYTL_PROFILE_H
#define TINYTL_PROFILE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the training thread does. A convolution's time includes unpacking its weights and, forward,
 * its bias and activation. */
typedef enum tinytl_work {
  TINYTL_WORK_WAIT,        /* for pictures that are not decoded yet */
  TINYTL_WORK_DENSE,       /* the network's first convolution */
  TINYTL_WORK_POINTWISE,   /* 1x1 convolutions */
  TINYTL_WORK_DEPTHWISE,   /* depthwise convolutions */
  TINYTL_WORK_WEIGHT,      /* gradients of these weights, or of their gains */
  TINYTL_WORK_BLOCK,       /* inverted residuals that run row by row, all three layers */
  TINYTL_WORK_LITE_CONV,   /* lite modules: convolutions */
  TINYTL_WORK_LITE_WEIGHT, /* gradients of their weights */
  TINYTL_WORK_LITE_NORM,   /* group norms, scale and shift, ReLU */
  TINYTL_WORK_LITE_RESIZE, /* pooling, upsampling */
  TINYTL_WORK_EPILOGUE,    /* backward: masks, sums of bias gradients, shortcuts */
  TINYTL_WORK_HEAD,        /* global pool, classifier, loss */
  TINYTL_WORK_UPDATE,      /* optimizer, and gradients deferred to it */
  TINYTL_WORK_OTHER,
  TINYTL_N_WORKS
} tinytl_work;
const char *tinytl_work_name(tinytl_work work); /* for people; NULL: out of range */

typedef enum tinytl_direction {
  TINYTL_FORWARD,
  TINYTL_BACKWARD,
  TINYTL_N_DIRECTIONS
} tinytl_direction;

/* Where the time of a run went, on the clock of the training thread, from the first picture on;
 * validation counts as forward work. What has no direction stands under TINYTL_FORWARD. */
typedef struct tinytl_profile {
  double seconds[TINYTL_N_WORKS][TINYTL_N_DIRECTIONS];
  uint64_t macs[TINYTL_N_WORKS][TINYTL_N_DIRECTIONS]; /* multiply-accumulates done in them */
  uint64_t n_forks;    /* times that work was shared with the other threads */
  double join_seconds; /* of all seconds: done, and waiting for the other threads */
} tinytl_profile;

#ifdef __cplusplus
}
#endif

#endif
