/* Convolution: y[oy][ox][o] = sum over ky, kx, i of x[oy * stride - pad + ky][...][i] *
 * w[o][ky][kx][i], within groups of channels. The choice among the kinds: conv_pointwise.c,
 * conv_dense.c, conv_narrow.c, depthwise.c. */
#include "ops/conv.h"

size_t tinytl_conv_forward_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_scratch(conv);
  if (tinytl_conv_is_narrow(conv, kernels)) return tinytl_conv_narrow_scratch(conv, kernels);
  const tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, false);
  const size_t whole = tinytl_conv_panels_nbytes(&panels);
  if (!tinytl_conv_is_pointwise(conv)) return whole;
  const size_t parts = tinytl_conv_pointwise_scratch(conv, kernels, false);
  return conv->in_c == 3 ? tinytl_size_max(parts, whole) : parts; /* from pixels: whole panels */
}

typedef struct row_epilogue {
  const tinytl_run *run;
  const tinytl_conv *conv;
  const tinytl_epilogue *epilogue;
  float *y;
} row_epilogue;

static void row_epilogue_task(void *context, int row) {
  const row_epilogue *e = context;
  const tinytl_conv *conv = e->conv;
  const int pixel = row * conv->out_w;
  tinytl_conv_epilogue(e->run->kernels, e->epilogue, conv->out_c, pixel, conv->out_w, 0,
                       conv->out_c, e->y + (ptrdiff_t)pixel * conv->out_c);
}

void tinytl_conv_forward(const tinytl_run *run, const tinytl_conv *conv, const tinytl_weight *w,
                         const tinytl_epilogue *epilogue, const float *x, float *y) {
  if (tinytl_conv_is_depthwise(conv)) {
    tinytl_depthwise(run, conv, w, false, epilogue, x, y, false);
  } else if (tinytl_conv_is_pointwise(conv)) {
    tinytl_conv_pointwise(run, conv, w, false, epilogue, x, y, false);
  } else {
    if (tinytl_conv_is_narrow(conv, run->kernels))
      tinytl_conv_narrow(run, conv, w, false, x, y, false);
    else
      tinytl_conv_dense(run, conv, 1, w, false, x, y, false);
    row_epilogue e = {run, conv, epilogue, y};
    if (epilogue->bias || epilogue->residual)
      tinytl_parallel_for(run->pool, conv->out_h, row_epilogue_task, &e);
  }
}

size_t tinytl_conv_backward_input_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_scratch(conv);
  if (tinytl_conv_is_pointwise(conv)) return tinytl_conv_pointwise_scratch(conv, kernels, true);
  if (tinytl_conv_is_narrow(conv, kernels)) return tinytl_conv_narrow_scratch(conv, kernels);
  const tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, true);
  return tinytl_conv_panels_nbytes(&panels);
}

void tinytl_conv_backward_input(const tinytl_run *run, const tinytl_conv *conv,
                                const tinytl_weight *w, const float *dy, float *dx,
                                bool accumulate) {
  const tinytl_epilogue none = {0};
  if (tinytl_conv_is_depthwise(conv))
    tinytl_depthwise(run, conv, w, true, &none, dy, dx, accumulate);
  else if (tinytl_conv_is_pointwise(conv))
    tinytl_conv_pointwise(run, conv, w, true, &none, dy, dx, accumulate);
  else if (tinytl_conv_is_narrow(conv, run->kernels))
    tinytl_conv_narrow(run, conv, w, true, dy, dx, accumulate);
  else
    tinytl_conv_dense(run, conv, 1, w, true, dy, dx, accumulate);
}
