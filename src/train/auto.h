/* What method auto decides, from validation pictures that are compared one by one. A pure function
 * of what was measured. */
#ifndef TINYTL_TRAIN_AUTO_H
#define TINYTL_TRAIN_AUTO_H

#include <stdbool.h>

#include "tinytl/train.h"

/* The methods that auto tries, in this order. */
enum { TINYTL_N_AUTO_METHODS = 3 };
extern const tinytl_method tinytl_auto_methods[TINYTL_N_AUTO_METHODS];

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
/* Its standard error, where few pictures are no proof of a small one; INFINITY where nothing was
 * compared (docs/training.md). */
float tinytl_comparison_noise(const tinytl_comparison *comparison);

/* The gain to expect of a method over the one before it, -1 to 1: what was compared, and what it
 * gained on other sets, both for as much as they say (docs/training.md). method: of
 * tinytl_auto_methods, not the first. */
float tinytl_auto_expected_gain(const tinytl_comparison *comparison, tinytl_method method);

/* From this expected gain on a method is worth its time and memory. */
#define TINYTL_AUTO_LEAST_GAIN 0.005f

#endif
