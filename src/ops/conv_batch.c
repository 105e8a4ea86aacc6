/* Convolution over a batch of images that follow each other. Where pixels are independent the batch
 * is one tall image, and its convolution one product. Depthwise and from RGB the threads share the
 * images, each of which is done by one thread. Gradients of weights are summed by parts of the
 * batch in scratch, and added up in order:
 *
 *   part: dw | scratch of the operator on one image */
#include "ops/conv.h"
#include "ops/split.h"

enum { MAX_PARTS = 16 };

static tinytl_conv tall(const tinytl_conv *conv, int n_images) {
  tinytl_conv all = *conv;
  all.in_h *= n_images;
  all.out_h *= n_images;
  return all;
}

/* Images that share a slot of scratch. */
typedef struct parts {
  int n_images, part_images, n_parts;
  size_t slot; /* bytes */
} parts;

static parts cut_images(int n_images, size_t slot_nbytes) {
  parts p = {.n_images = n_images, .part_images = tinytl_ceil_div(n_images, MAX_PARTS)};
  p.n_parts = tinytl_ceil_div(n_images, p.part_images);
  p.slot = tinytl_round_up(slot_nbytes, 64);
  return p;
}

/* Of up to n_images: 17 make 9 parts, 16 make 16. */
static size_t most_slots_nbytes(int n_images, size_t slot_nbytes) {
  return tinytl_round_up(slot_nbytes, 64) * (size_t)tinytl_min(n_images, MAX_PARTS);
}

static size_t n_weights(const tinytl_conv *conv) {
  return (size_t)conv->kernel * conv->kernel * (conv->in_c / conv->groups) * conv->out_c;
}

static size_t weight_slot(const tinytl_conv *conv, const tinytl_kernels *kernels) {
  size_t scratch = tinytl_conv_backward_weight_scratch(conv, kernels);
  if (conv->in_c == 3)
    scratch = tinytl_size_max(scratch, tinytl_conv_backward_weight_rgb_scratch(conv));
  return tinytl_round_up(n_weights(conv) * sizeof(float), 64) + scratch;
}

/* Of what is neither depthwise nor pointwise; one whose groups are narrow has no way of its own
 * here. */
static size_t dense_scratch(const tinytl_conv *conv, const tinytl_kernels *kernels,
                            bool transposed) {
  const tinytl_conv_panels panels = tinytl_conv_panels_make(kernels, conv, transposed);
  return tinytl_conv_panels_nbytes(&panels);
}

size_t tinytl_batch_conv_forward_scratch(const tinytl_conv *conv, int n_images,
                                         const tinytl_kernels *kernels) {
  if (tinytl_conv_is_depthwise(conv)) return tinytl_depthwise_scratch(conv);
  if (tinytl_conv_is_pointwise(conv)) {
    const tinytl_conv all = tall(conv, n_images);
    return tinytl_size_max(TINYTL_CONV_PANELS_NBYTES, tinytl_conv_forward_scratch(&all, kernels));
  }
  const size_t one = dense_scratch(conv, kernels, false);
  return conv->in_c == 3 ? most_slots_nbytes(n_images, one) : one;
}

/* Of fewer images it may be more: their rows are packed all at once. */
static size_t pointwise_weight_scratch(const tinytl_conv *conv, int n_images,
                                       const tinytl_kernels *kernels) {
  size_t most = 0;
  for (int n = 1; n <= n_images; n++) {
    const tinytl_conv all = tall(conv, n);
    most = tinytl_size_max(most, tinytl_conv_backward_weight_scratch(&all, kernels));
  }
  return most;
}

size_t tinytl_batch_conv_scratch(const tinytl_conv *conv, int n_images,
                                 const tinytl_kernels *kernels) {
  const size_t forward = tinytl_batch_conv_forward_scratch(conv, n_images, kernels);
  const tinytl_conv all = tinytl_conv_is_pointwise(conv) ? tall(conv, n_images) : *conv;
  const bool is_dense = !tinytl_conv_is_depthwise(conv) && !tinytl_conv_is_pointwise(conv);
  const size_t input = is_dense ? dense_scratch(conv, kernels, true)
                                : tinytl_conv_backward_input_scratch(&all, kernels);
  const size_t weight = tinytl_conv_is_pointwise(conv)
                            ? pointwise_weight_scratch(conv, n_images, kernels)
                            : most_slots_nbytes(n_images, weight_slot(conv, kernels));
  return tinytl_size_max(forward, tinytl_size_max(input, weight));
}

/* ---- Depthwise ---------------------------------------------------------------------------- */

typedef struct depthwise {
  tinytl_depthwise_rows rows; /* of image 0 */
  int target_h, target_w;
  ptrdiff_t source_image, target_image; /* floats */
  float *target;
} depthwise;

static void depthwise_task(void *context, int image) {
  const depthwise *d = context;
  tinytl_depthwise_rows rows = d->rows;
  const int channels = rows.conv->in_c;
  float *target = d->target + image * d->target_image;
  rows.source += image * d->source_image;
  for (int row = 0; row < d->target_h; row++)
    tinytl_depthwise_row_part(&rows, row, 0, channels,
                              target + (ptrdiff_t)row * d->target_w * channels);
}

static void run_depthwise(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                          const float *w, bool transposed, const float *source, float *target,
                          bool accumulate) {
  const tinytl_weight weight = {.f32 = w};
  const ptrdiff_t in = (ptrdiff_t)conv->in_h * conv->in_w * conv->in_c;
  const ptrdiff_t out = (ptrdiff_t)conv->out_h * conv->out_w * conv->out_c;
  depthwise d = {.rows = {.kernels = run->kernels,
                          .conv = conv,
                          .transposed = transposed,
                          .taps = run->scratch,
                          .source = source,
                          .n_slots = transposed ? conv->out_h : conv->in_h,
                          .accumulate = accumulate},
                 .target_h = transposed ? conv->in_h : conv->out_h,
                 .target_w = transposed ? conv->in_w : conv->out_w,
                 .source_image = transposed ? out : in,
                 .target_image = transposed ? in : out,
                 .target = target};
  tinytl_depthwise_widen(run, conv, &weight, run->scratch);
  tinytl_parallel_for(run->pool, n_images, depthwise_task, &d);
}

/* ---- By parts ----------------------------------------------------------------------------- */

typedef struct by_parts {
  const tinytl_run *run;
  const tinytl_conv *conv;
  parts parts;
  const float *w, *x, *dy;
  const uint8_t *const *rgb;
  const float *input_scale, *input_shift;
  float *y;
} by_parts;

/* One thread's run, in the part's slot behind the first `used` bytes. */
static tinytl_run part_run(const by_parts *b, int part, size_t used) {
  char *slot = (char *)b->run->scratch + (size_t)part * b->parts.slot;
  return (tinytl_run){.kernels = b->run->kernels, .scratch = slot + used};
}

static int part_end(const by_parts *b, int part) {
  return tinytl_min((part + 1) * b->parts.part_images, b->parts.n_images);
}

static void rgb_task(void *context, int part) {
  const by_parts *b = context;
  const tinytl_conv *conv = b->conv;
  const tinytl_run run = part_run(b, part, 0);
  const tinytl_weight weight = {.f32 = b->w};
  const tinytl_epilogue none = {0};
  for (int image = part * b->parts.part_images; image < part_end(b, part); image++)
    tinytl_conv_forward_rgb(&run, conv, &weight, &none, b->rgb[image], b->input_scale,
                            b->input_shift,
                            b->y + (ptrdiff_t)image * conv->out_h * conv->out_w * conv->out_c);
}

void tinytl_batch_conv_forward_rgb(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                   const float *w, const uint8_t *const *rgb,
                                   const float input_scale[3], const float input_shift[3],
                                   float *y) {
  by_parts b = {.run = run,
                .conv = conv,
                .parts = cut_images(n_images, tinytl_conv_forward_scratch(conv, run->kernels)),
                .w = w,
                .rgb = rgb,
                .input_scale = input_scale,
                .input_shift = input_shift,
                .y = y};
  tinytl_parallel_for(run->pool, b.parts.n_parts, rgb_task, &b);
}

static void weight_task(void *context, int part) {
  const by_parts *b = context;
  const tinytl_conv *conv = b->conv;
  const size_t dw_nbytes = n_weights(conv) * sizeof(float);
  const tinytl_run run = part_run(b, part, tinytl_round_up(dw_nbytes, 64));
  float *dw = part_run(b, part, 0).scratch;
  memset(dw, 0, dw_nbytes);
  for (int image = part * b->parts.part_images; image < part_end(b, part); image++) {
    const float *dy = b->dy + (ptrdiff_t)image * conv->out_h * conv->out_w * conv->out_c;
    if (b->rgb)
      tinytl_conv_backward_weight_rgb(&run, conv, b->rgb[image], b->input_scale, b->input_shift, dy,
                                      dw);
    else
      tinytl_conv_backward_weight(
          &run, conv, b->x + (ptrdiff_t)image * conv->in_h * conv->in_w * conv->in_c, dy, dw);
  }
}

static void sum_by_parts(by_parts *b, float *dw) {
  b->parts = cut_images(b->parts.n_images, weight_slot(b->conv, b->run->kernels));
  tinytl_parallel_for(b->run->pool, b->parts.n_parts, weight_task, b);
  for (int part = 0; part < b->parts.n_parts; part++)
    b->run->kernels->add(dw, part_run(b, part, 0).scratch, n_weights(b->conv));
}

void tinytl_batch_conv_backward_weight_rgb(const tinytl_run *run, const tinytl_conv *conv,
                                           int n_images, const uint8_t *const *rgb,
                                           const float input_scale[3], const float input_shift[3],
                                           const float *dy, float *dw) {
  by_parts b = {.run = run,
                .conv = conv,
                .parts = {.n_images = n_images},
                .rgb = rgb,
                .input_scale = input_scale,
                .input_shift = input_shift,
                .dy = dy};
  sum_by_parts(&b, dw);
}

/* ---- The choice --------------------------------------------------------------------------- */

void tinytl_batch_conv_forward(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                               const float *w, const float *x, float *y) {
  const tinytl_weight weight = {.f32 = w};
  const tinytl_epilogue none = {0};
  if (tinytl_conv_is_depthwise(conv)) {
    run_depthwise(run, conv, n_images, w, false, x, y, false);
  } else if (tinytl_conv_is_pointwise(conv)) {
    const tinytl_conv all = tall(conv, n_images);
    tinytl_conv_forward(run, &all, &weight, &none, x, y);
  } else {
    tinytl_conv_dense(run, conv, n_images, &weight, false, x, y, false);
  }
}

void tinytl_batch_conv_backward_input(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                      const float *w, const float *dy, float *dx, bool accumulate) {
  const tinytl_weight weight = {.f32 = w};
  if (tinytl_conv_is_depthwise(conv)) {
    run_depthwise(run, conv, n_images, w, true, dy, dx, accumulate);
  } else if (tinytl_conv_is_pointwise(conv)) {
    const tinytl_conv all = tall(conv, n_images);
    tinytl_conv_backward_input(run, &all, &weight, dy, dx, accumulate);
  } else {
    tinytl_conv_dense(run, conv, n_images, &weight, true, dy, dx, accumulate);
  }
}

void tinytl_batch_conv_backward_weight(const tinytl_run *run, const tinytl_conv *conv, int n_images,
                                       const float *x, const float *dy, float *dw) {
  if (tinytl_conv_is_pointwise(conv)) {
    const tinytl_conv all = tall(conv, n_images);
    tinytl_conv_backward_weight(run, &all, x, dy, dw);
    return;
  }
  by_parts b = {.run = run, .conv = conv, .parts = {.n_images = n_images}, .x = x, .dy = dy};
  sum_by_parts(&b, dw);
}
