/* tinytl: adapt a pre-trained image classifier to new pictures inside a small memory.
 *
 * Conventions
 *  - Every function that can fail returns a tinytl_status and takes a `tinytl_error *error`
 *    (may be NULL) which is filled on failure and untouched on success.
 *  - On failure an output pointer is left as it was; nothing has to be freed.
 *  - The library never prints, never exits and keeps no global state. Objects may be used from
 *    any thread, one thread at a time; a tinytl_backbone and a tinytl_adapter are read-only after
 *    they were made and may be shared by several threads. Several runs may train at once, each
 *    from a thread of its own; but a memory limit is one of the process, and a run knows of the
 *    others only what they hold when it is planned.
 *  - Pictures are 8-bit RGB, [height][width][3]; activations float32, [height][width][channel].
 */
#ifndef TINYTL_H
#define TINYTL_H

#define TINYTL_VERSION "0.1.0"

/* Adapting a pre-trained network, and using it. */
#include "tinytl/adapter.h"  /* what training makes; the methods */
#include "tinytl/backbone.h" /* the pre-trained network: opened, imported, initialised */
#include "tinytl/file.h"     /* what a file is; what a checkpoint says of its run */
#include "tinytl/machine.h"  /* kernel sets, and the most that they can do */
#include "tinytl/pictures.h" /* class folders, decoding, pictures of one's own */
#include "tinytl/plan.h"     /* memory of a run, before it */
#include "tinytl/predict.h"  /* probabilities of a picture */
#include "tinytl/profile.h"  /* where a run's time went */
#include "tinytl/ranges.h"   /* the most classes, pixels, pictures a step, epochs */
#include "tinytl/status.h"   /* errors, and the callbacks that bytes go through */
#include "tinytl/train.h"    /* options, progress, checkpoints */

/* Making a network of one's own. */
#include "tinytl/pretrain.h" /* from nothing: one network, or a super-net */
#include "tinytl/ranks.h"    /* several processes at it */
#include "tinytl/search.h"   /* the sub-net for these pictures and this machine */
#include "tinytl/supernet.h" /* many networks in one */

#endif
