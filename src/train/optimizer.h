/* Adam and SGD over what a method trains (train/params.h), and the learning rate's schedule.
 *
 * One update is tinytl_optimizer_begin, then tinytl_optimizer_update over every trained value, in
 * any order and any cut. The moments of a trained vector of n values lie in one block:
 *
 *   adam    m float[n] | v float[n]
 *   adam8   scales of m float[b] | of v float[b] | codes of m uint8[n] | of v uint8[n]
 *   sgd     m float[n]
 *
 * adam8 is Adam whose moments rest in 8 bits (after Dettmers et al., 8-bit Optimizers via
 * Block-wise Quantization, 2022). Codes share a scale by blocks of TINYTL_MOMENT_BLOCK values of
 * one segment, so that the largest of a block has the largest code; b is at most n /
 * TINYTL_MOMENT_BLOCK + the number of segments.
 *
 *   m = sign scale1 S(c), c 0 to 127      sqrt(v) = scale2 S(c), c 1 to 255
 *   S(c) = the float of bits 4 bits(c) - 3 bits(1.0f): c^4 at powers of two, linear between floats
 *          of one exponent; needs no table, and a shift undoes it
 *
 * Codes are rounded to the nearest, sqrt(v) never to 0, as m over it would explode. An update uses
 * the new moments before they are rounded. Measured on the gradients of a real run (lite+bias, 250
 * updates), root mean square of how far steps are from Adam's: 3.7 % with c^4, 3.4 % with the
 * paper's table, 2.7 % with c^2. But c^2 forgets gradients a millionth of a block's largest, which
 * c^4 does not. Blocks of 128 are a tenth better, of 2048 a quarter worse. */
#ifndef TINYTL_TRAIN_OPTIMIZER_H
#define TINYTL_TRAIN_OPTIMIZER_H

#include "core/parallel.h"
#include "kernels/kernels.h"
#include "tinytl/plan.h"
#include "train/params.h"

typedef struct tinytl_optimizer_state {
  tinytl_optimizer kind;
  uint64_t step; /* updates begun */
  float *moment1, *moment2;
  uint8_t *code1, *code2;
  float *scale1, *scale2;
  /* Of the update begun: */
  float rate[TINYTL_N_GROUPS]; /* with Adam over 1 - 0.9^step */
  float gradient_scale;
  float root_correction; /* 1 / sqrt(1 - 0.999^step) */
} tinytl_optimizer_state;

/* Bytes of the moments of what is trained; SIZE_MAX where that overflows. */
size_t tinytl_optimizer_nbytes(tinytl_optimizer kind, const tinytl_params *params);

/* memory: tinytl_optimizer_nbytes bytes aligned to 64, the caller's. Moments start at 0. */
void tinytl_optimizer_init(tinytl_optimizer_state *state, tinytl_optimizer kind,
                           const tinytl_params *params, void *memory);

/* One vector of the moments, by the name that it has in a checkpoint. */
typedef struct tinytl_moments {
  const char *name;
  void *data;
  size_t n;      /* 0: none */
  bool is_codes; /* uint8, not float */
} tinytl_moments;
enum { TINYTL_N_MOMENTS = 4 };
/* All of the state but the step; floats first. */
void tinytl_optimizer_moments(const tinytl_optimizer_state *state, const tinytl_params *params,
                              tinytl_moments moments[TINYTL_N_MOMENTS]);

/* Begins update state->step + 1 with one learning rate a group; gradients count times
 * gradient_scale.
 *   Adam (Kingma and Ba, 2015; beta 0.9, 0.999, eps 1e-8), at update t:
 *     m += 0.1 (g - m), v += 0.001 (g^2 - v),
 *     p -= lr m / (1 - 0.9^t) / (sqrt(v / (1 - 0.999^t)) + eps)
 *   SGD with momentum 0.9:
 *     m = 0.9 m + g, p -= lr m */
void tinytl_optimizer_begin(tinytl_optimizer_state *state, const float lr[TINYTL_N_GROUPS],
                            float gradient_scale);

/* Values first to first + n - 1 of trained segment s, once an update: gradient [n] and values [n]
 * are those of the range, the gradient becomes 0. first is a multiple of TINYTL_MOMENT_BLOCK, and n
 * too unless the range ends the segment. Short ranges stay on the calling thread. */
void tinytl_optimizer_update(const tinytl_optimizer_state *state, const tinytl_params *params,
                             int s, size_t first, size_t n, const tinytl_kernels *kernels,
                             tinytl_pool *pool, float *gradient, float *values);

/* Refuses values [n] that are not finite: the last update comes after the last loss that was looked
 * at. Error: DATA. */
tinytl_status tinytl_check_trained(const float *values, size_t n, tinytl_error *error);

/* Share of the full learning rate at step (0 to n_steps - 1): linear warm-up over n_warmup steps,
 * then half a cosine down to 0 (Loshchilov and Hutter, 2017). */
float tinytl_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps);
/* That of the weights of convolutions: half a cosine over all steps, times the square of the share
 * of n_warmup steps that is done. The first updates of a classifier that begins at 0 pull all
 * weights of a channel one way (docs/training.md). */
float tinytl_weight_schedule(uint64_t step, uint64_t n_warmup, uint64_t n_steps);

#endif
