/* The shape of a convolution: which inputs and outputs its taps bring together. */
#include "ops/conv.h"

tinytl_conv tinytl_conv_make(int in_h, int in_w, int in_c, int out_c, int kernel, int stride,
                             int groups, tinytl_pad pad) {
  const tinytl_span vertical = tinytl_conv_span(in_h, kernel, stride, pad);
  const tinytl_span horizontal = tinytl_conv_span(in_w, kernel, stride, pad);
  return (tinytl_conv){.in_h = in_h,
                       .in_w = in_w,
                       .in_c = in_c,
                       .out_h = vertical.out,
                       .out_w = horizontal.out,
                       .out_c = out_c,
                       .kernel = kernel,
                       .stride = stride,
                       .groups = groups,
                       .pad_top = vertical.pad,
                       .pad_left = horizontal.pad};
}

uint64_t tinytl_conv_macs(const tinytl_conv *conv) {
  return (uint64_t)conv->out_h * (uint64_t)conv->out_w * (uint64_t)conv->out_c *
         (uint64_t)(conv->in_c / conv->groups) * (uint64_t)conv->kernel * (uint64_t)conv->kernel;
}

bool tinytl_conv_is_depthwise(const tinytl_conv *conv) {
  return conv->groups > 1 && conv->groups == conv->in_c && conv->groups == conv->out_c;
}

bool tinytl_conv_is_pointwise(const tinytl_conv *conv) {
  return conv->kernel == 1 && conv->stride == 1 && conv->groups == 1 && conv->pad_top == 0 &&
         conv->pad_left == 0;
}

tinytl_conv_tap tinytl_conv_tap_span(int in, int out, int stride, int pad, int k) {
  /* 0 <= output * stride - pad + k < in */
  const int before = pad - k, after = in - 1 + pad - k;
  const int first = before > 0 ? tinytl_ceil_div(before, stride) : 0;
  const int end = after < 0 ? 0 : tinytl_min(after / stride + 1, out);
  return (tinytl_conv_tap){first, end > first ? end - first : 0, first * stride - before};
}

int tinytl_conv_source_row(const tinytl_conv *conv, bool transposed, int target_row, int ky) {
  const int reach =
      transposed ? target_row + conv->pad_top - ky : target_row * conv->stride - conv->pad_top + ky;
  const int step = transposed ? conv->stride : 1;
  const int source_h = transposed ? conv->out_h : conv->in_h;
  return reach < 0 || reach % step || reach / step >= source_h ? -1 : reach / step;
}

int tinytl_conv_phase_taps(const tinytl_conv *conv, int phase) {
  return phase < conv->kernel ? (conv->kernel - 1 - phase) / conv->stride + 1 : 0;
}
