/* What method auto decides, from validation pictures that are compared one by one. A pure function
 * of what was measured. */
#ifndef TINYTL_TRAIN_AUTO_H
#define TINYTL_TRAIN_AUTO_H

#include <stdbool.h>

#include "tinytl/train.h"

/* The methods that auto tries, in this order. */
enum { TINYTL_N_STEPS = 3 };
extern const tinytl_method tinytl_auto_methods[TINYTL_N_STEPS];

/* Of the same pictures twice: how much more probability the second time gives to their right
 * classes. The mean of that is the gain in expected accuracy. Right and wrong answers alone, as in
 * McNemar's test, would leave more to chance (docs/training.md). */
typedef struct tinytl_comparison {
  int n;
  double sum, sum_of_squares; /* of the differences */
} tinytl_comparison;

/* Probabilities of the right class of one picture; NAN: it could not be read, and does not count.
 */
void tinytl_comparison_add(tinytl_comparison *comparison, float before, float after);
/* Mean difference, -1 to 1; 0 where nothing was compared. */
float tinytl_comparison_gain(const tinytl_comparison *comparison);
/* Its standard error; INFINITY with fewer than two pictures. */
float tinytl_comparison_noise(const tinytl_comparison *comparison);

/* Whether what came second is to be preferred, though it takes more time and memory. */
bool tinytl_auto_pays(const tinytl_comparison *comparison);

#endif
