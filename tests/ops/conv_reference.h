/* Convolution by the obvious loops, in double, for the tests of the operators. */
#ifndef TINYTL_TEST_CONV_REFERENCE_H
#define TINYTL_TEST_CONV_REFERENCE_H

#include "ops/ops.h"

static inline bool conv_is_depthwise(const tinytl_conv *conv) {
  return conv->groups > 1 && conv->groups == conv->in_c && conv->groups == conv->out_c;
}

static inline size_t conv_n_in(const tinytl_conv *conv) {
  return (size_t)conv->in_h * conv->in_w * conv->in_c;
}

static inline size_t conv_n_out(const tinytl_conv *conv) {
  return (size_t)conv->out_h * conv->out_w * conv->out_c;
}

static inline size_t conv_n_weights(const tinytl_conv *conv) {
  return (size_t)conv->out_c * conv->kernel * conv->kernel * (conv->in_c / conv->groups);
}

/* Calls visit(context, x, w, y) with the indices of every term y[y] += x[x] * w[w]. */
typedef void (*conv_visit)(void *context, size_t x, size_t w, size_t y);

static inline void conv_terms(const tinytl_conv *c, conv_visit visit, void *context) {
  const int in = c->in_c / c->groups, out = c->out_c / c->groups, k = c->kernel;
  for (int oy = 0; oy < c->out_h; oy++)
    for (int ox = 0; ox < c->out_w; ox++)
      for (int o = 0; o < c->out_c; o++)
        for (int ky = 0; ky < k; ky++)
          for (int kx = 0; kx < k; kx++) {
            const int iy = oy * c->stride - c->pad_top + ky, ix = ox * c->stride - c->pad_left + kx;
            if (iy < 0 || iy >= c->in_h || ix < 0 || ix >= c->in_w) continue;
            for (int i = 0; i < in; i++) {
              const size_t tap = (size_t)ky * k + kx;
              visit(context, ((size_t)iy * c->in_w + ix) * c->in_c + o / out * in + i,
                    conv_is_depthwise(c) ? tap * c->out_c + o : ((size_t)o * k * k + tap) * in + i,
                    ((size_t)oy * c->out_w + ox) * c->out_c + o);
            }
          }
}

typedef struct conv_arrays {
  const double *x, *w, *dy;
  double *y, *dx, *dw; /* each may be NULL; added to */
} conv_arrays;

static inline void conv_visit_arrays(void *context, size_t x, size_t w, size_t y) {
  const conv_arrays *a = context;
  if (a->y) a->y[y] += a->x[x] * a->w[w];
  if (a->dx) a->dx[x] += a->dy[y] * a->w[w];
  if (a->dw) a->dw[w] += a->dy[y] * a->x[x];
}

static inline void conv_reference(const tinytl_conv *conv, conv_arrays arrays) {
  conv_terms(conv, conv_visit_arrays, &arrays);
}

#endif
