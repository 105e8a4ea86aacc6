/* The defaults that depend on the data: docs/training.md says how they were measured. */
#ifndef TINYTL_TRAIN_RULES_H
#define TINYTL_TRAIN_RULES_H

#include "tinytl/pictures.h"
#include "tinytl/plan.h"
#include "train/params.h"

/* Smallest share of a picture's area that a training crop covers. Crops of half the area and more
 * show things about as large as the centre crop of a test does, which is three quarters of a square
 * picture. */
#define TINYTL_MIN_CROP_SCALE 0.5f

/* With options->refit: pictures a class, in the mean, below which the validation pictures are worth
 * a second training. */
#define TINYTL_REFIT_BELOW 100

/* The share of the validation pictures: the least is that of TINYTL_REFIT_BELOW pictures a class.
 */
#define TINYTL_LEAST_VALIDATION_SHARE 0.1f
#define TINYTL_MOST_VALIDATION_SHARE 0.4f
#define TINYTL_LEAST_FOR_VALIDATION 3 /* pictures a class */

typedef struct tinytl_rules {
  int epochs;
  float lr[TINYTL_N_GROUPS]; /* for the optimizer and batch that were asked for */
  float warmup;              /* share of all steps */
  float weight_warmup;       /* the same of tinytl_weight_schedule */
} tinytl_rules;

/* n_images: of training. fresh_lite: the lite modules start as identities. reach: tinytl_reach's,
 * of methods that have one; else 1. */
tinytl_rules tinytl_rules_make(tinytl_method method, tinytl_optimizer optimizer, int n_images,
                               int batch, bool fresh_lite, float reach);

/* Label smoothing where none was asked for. */
float tinytl_rules_label_smoothing(tinytl_method method);

/* Fills weights [n_classes] of the classes' gradients, whose mean over all pictures is 1: rare
 * classes count for more, or all for 1 where none is much rarer than another. */
void tinytl_rules_weigh_classes(const tinytl_images *images, float *weights);

#endif
