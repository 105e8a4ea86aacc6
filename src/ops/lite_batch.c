/* A lite residual module over a batch of images that follow each other. With x the block's input:
 *
 *   pooled -> conv -> norm1, ReLU -> pointwise -> norm2 -> upsampled, added to the block's output
 *
 * The convolutions are done for all images at once, the rest by images, which the threads share.
 * Kept for backward are the pooled input and the normalised maps; what is made of them is made
 * again. The norms' gradients are summed by parts of the batch in scratch, and added up in order.
 */
#include "ops/conv.h"

enum { MAX_PARTS = 16, MOST_GROUPS = 4 /* that a part of the module may have */ };

tinytl_lite_conv tinytl_lite_conv_make(const tinytl_lite *lite, int in_h, int in_w) {
  const tinytl_conv conv =
      tinytl_conv_make(tinytl_avg_pool2_out(in_h), tinytl_avg_pool2_out(in_w), lite->in_c,
                       lite->mid_c, lite->kernel, lite->stride, lite->groups, TINYTL_PAD_SYMMETRIC);
  const tinytl_conv pointwise = tinytl_conv_make(conv.out_h, conv.out_w, lite->mid_c, lite->out_c,
                                                 1, 1, 1, TINYTL_PAD_SYMMETRIC);
  return (tinytl_lite_conv){conv, pointwise};
}

tinytl_batch_lite tinytl_batch_lite_make(const tinytl_lite *lite, const tinytl_conv *first,
                                         const tinytl_conv *last) {
  const tinytl_lite_conv shape = tinytl_lite_conv_make(lite, first->in_h, first->in_w);
  return (tinytl_batch_lite){.in_h = first->in_h,
                             .in_w = first->in_w,
                             .out_h = last->out_h,
                             .out_w = last->out_w,
                             .conv = shape.conv,
                             .pointwise = shape.pointwise};
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Floats of one image's maps. */
typedef struct sizes {
  size_t in, pooled, mid, out, whole; /* whole: the block's output */
  size_t groups1, groups2;            /* of the norms */
  int n_pixels;                       /* of mid and out */
} sizes;

static size_t map_floats(int h, int w, int channels) {
  return (size_t)h * (size_t)w * (size_t)channels;
}

static sizes sizes_of(const tinytl_batch_lite *lite) {
  const tinytl_conv *conv = &lite->conv;
  const int out_c = lite->pointwise.out_c;
  return (sizes){.in = map_floats(lite->in_h, lite->in_w, conv->in_c),
                 .pooled = map_floats(conv->in_h, conv->in_w, conv->in_c),
                 .mid = map_floats(conv->out_h, conv->out_w, conv->out_c),
                 .out = map_floats(conv->out_h, conv->out_w, out_c),
                 .whole = map_floats(lite->out_h, lite->out_w, out_c),
                 .groups1 = (size_t)tinytl_group_norm_n_groups(conv->out_c),
                 .groups2 = (size_t)tinytl_group_norm_n_groups(out_c),
                 .n_pixels = conv->out_h * conv->out_w};
}

size_t tinytl_batch_lite_kept_floats(const tinytl_batch_lite *lite) {
  const sizes s = sizes_of(lite);
  return s.pooled + s.mid + s.out + s.groups1 + s.groups2;
}

size_t tinytl_batch_lite_room_floats(const tinytl_batch_lite *lite) {
  const sizes s = sizes_of(lite);
  return s.pooled + 2 * s.mid + s.out;
}

size_t tinytl_batch_lite_scratch(const tinytl_batch_lite *lite, int n_images,
                                 const tinytl_kernels *kernels) {
  const size_t channels = (size_t)lite->conv.out_c + (size_t)lite->pointwise.out_c;
  size_t nbytes = tinytl_size_max(MAX_PARTS * 2 * channels * sizeof(float),
                                  tinytl_batch_conv_scratch(&lite->pointwise, n_images, kernels));
  nbytes = tinytl_size_max(nbytes, tinytl_batch_conv_scratch(&lite->conv, n_images, kernels));
  for (int kernel = lite->conv.kernel; kernel > 0; kernel -= 2)
    for (int groups = lite->conv.groups;
         groups <= MOST_GROUPS && lite->conv.in_c % groups == 0 && lite->conv.out_c % groups == 0;
         groups *= 2) {
      const tinytl_conv part =
          tinytl_conv_make(lite->conv.in_h, lite->conv.in_w, lite->conv.in_c, lite->conv.out_c,
                           kernel, lite->conv.stride, groups, TINYTL_PAD_SYMMETRIC);
      nbytes = tinytl_size_max(nbytes, tinytl_batch_conv_scratch(&part, n_images, kernels));
    }
  return nbytes;
}

typedef struct module {
  const tinytl_run *run;
  const tinytl_batch_lite *lite;
  const tinytl_lite_values *values;
  sizes size;
  int n_images, part_images;
  float *pooled, *x_hat1, *x_hat2, *rstd1, *rstd2; /* kept */
  float *d_pooled, *mid, *d_mid, *out;             /* room; out: its gradient in backward */
  const float *x, *dy;
  float *y, *dx;
} module;

static module module_of(const tinytl_run *run, const tinytl_batch_lite *lite, int n_images,
                        const tinytl_lite_values *values, const tinytl_batch_lite_maps *maps) {
  const size_t n = (size_t)n_images;
  module m = {.run = run,
              .lite = lite,
              .values = values,
              .size = sizes_of(lite),
              .n_images = n_images,
              .part_images = tinytl_ceil_div(n_images, MAX_PARTS)};
  m.pooled = maps->kept;
  m.x_hat1 = m.pooled + n * m.size.pooled;
  m.x_hat2 = m.x_hat1 + n * m.size.mid;
  m.rstd1 = m.x_hat2 + n * m.size.out;
  m.rstd2 = m.rstd1 + n * m.size.groups1;
  m.d_pooled = maps->room;
  m.mid = m.d_pooled + n * m.size.pooled;
  m.d_mid = m.mid + n * m.size.mid;
  m.out = m.d_mid + n * m.size.mid;
  return m;
}

static tinytl_run alone(const module *m) {
  return (tinytl_run){.kernels = m->run->kernels};
}

/* ---- Forward ------------------------------------------------------------------------------ */

static void pool_task(void *context, int image) {
  const module *m = context;
  const tinytl_run run = alone(m);
  tinytl_avg_pool2_forward(&run, m->lite->in_h, m->lite->in_w, m->lite->conv.in_c,
                           m->x + (size_t)image * m->size.in,
                           m->pooled + (size_t)image * m->size.pooled);
}

static void relu_of(const module *m, const tinytl_run *run, size_t image) {
  tinytl_scale_shift_forward(run, m->size.n_pixels, m->lite->conv.out_c,
                             m->x_hat1 + image * m->size.mid, m->values->scale1, m->values->shift1,
                             TINYTL_ACT_RELU, m->mid + image * m->size.mid);
}

static void norm1_task(void *context, int image) {
  const module *m = context;
  const tinytl_run run = alone(m);
  tinytl_group_norm_forward(&run, m->size.n_pixels, m->lite->conv.out_c,
                            m->x_hat1 + (size_t)image * m->size.mid,
                            m->rstd1 + (size_t)image * m->size.groups1);
  relu_of(m, &run, (size_t)image);
}

static void norm2_task(void *context, int task) {
  const module *m = context;
  const tinytl_run run = alone(m);
  const size_t image = (size_t)task;
  const tinytl_conv *conv = &m->lite->pointwise;
  float *x_hat = m->x_hat2 + image * m->size.out, *out = m->out + image * m->size.out;
  tinytl_group_norm_forward(&run, m->size.n_pixels, conv->out_c, x_hat,
                            m->rstd2 + image * m->size.groups2);
  tinytl_scale_shift_forward(&run, m->size.n_pixels, conv->out_c, x_hat, m->values->scale2,
                             m->values->shift2, TINYTL_ACT_NONE, out);
  tinytl_upsample_forward(&run, conv->out_h, conv->out_w, m->lite->out_h, m->lite->out_w,
                          conv->out_c, out, m->y + image * m->size.whole);
}

void tinytl_batch_lite_forward(const tinytl_run *run, const tinytl_batch_lite *lite, int n_images,
                               const tinytl_lite_values *values, const tinytl_batch_lite_maps *maps,
                               const float *x, float *y) {
  module m = module_of(run, lite, n_images, values, maps);
  m.x = x;
  m.y = y;
  tinytl_parallel_for(run->pool, n_images, pool_task, &m);
  tinytl_batch_conv_forward(run, &lite->conv, n_images, values->conv, m.pooled, m.x_hat1);
  tinytl_parallel_for(run->pool, n_images, norm1_task, &m);
  tinytl_batch_conv_forward(run, &lite->pointwise, n_images, values->pointwise, m.mid, m.x_hat2);
  tinytl_parallel_for(run->pool, n_images, norm2_task, &m);
}

/* ---- Backward ----------------------------------------------------------------------------- */

/* Where a part sums dscale, and dshift behind it. */
static float *part_sums(const module *m, int part, int channels) {
  return (float *)m->run->scratch + (size_t)part * 2 * (size_t)channels;
}

static void norm2_backward_task(void *context, int part) {
  const module *m = context;
  const tinytl_run run = alone(m);
  const tinytl_conv *conv = &m->lite->pointwise;
  float *dscale = part_sums(m, part, conv->out_c), *dshift = dscale + conv->out_c;
  const int end = tinytl_min((part + 1) * m->part_images, m->n_images);
  memset(dscale, 0, 2 * (size_t)conv->out_c * sizeof *dscale);
  for (size_t image = (size_t)part * (size_t)m->part_images; image < (size_t)end; image++) {
    float *d_out = m->out + image * m->size.out;
    tinytl_upsample_backward(&run, conv->out_h, conv->out_w, m->lite->out_h, m->lite->out_w,
                             conv->out_c, m->dy + image * m->size.whole, d_out);
    tinytl_group_norm_backward(&run, m->size.n_pixels, conv->out_c, m->x_hat2 + image * m->size.out,
                               m->rstd2 + image * m->size.groups2, m->values->scale2,
                               m->values->shift2, TINYTL_ACT_NONE, d_out, dscale, dshift);
    relu_of(m, &run, image);
  }
}

static void norm1_backward_task(void *context, int part) {
  const module *m = context;
  const tinytl_run run = alone(m);
  const int channels = m->lite->conv.out_c;
  float *dscale = part_sums(m, part, channels), *dshift = dscale + channels;
  const int end = tinytl_min((part + 1) * m->part_images, m->n_images);
  memset(dscale, 0, 2 * (size_t)channels * sizeof *dscale);
  for (size_t image = (size_t)part * (size_t)m->part_images; image < (size_t)end; image++)
    tinytl_group_norm_backward(&run, m->size.n_pixels, channels, m->x_hat1 + image * m->size.mid,
                               m->rstd1 + image * m->size.groups1, m->values->scale1,
                               m->values->shift1, TINYTL_ACT_RELU, m->d_mid + image * m->size.mid,
                               dscale, dshift);
}

static void norm_backward(module *m, tinytl_task_fn task, int channels, float *dscale,
                          float *dshift) {
  const int n_parts = tinytl_ceil_div(m->n_images, m->part_images);
  tinytl_parallel_for(m->run->pool, n_parts, task, m);
  for (int part = 0; part < n_parts; part++) {
    const float *sums = part_sums(m, part, channels);
    m->run->kernels->add(dscale, sums, (size_t)channels);
    m->run->kernels->add(dshift, sums + channels, (size_t)channels);
  }
}

static void pool_backward_task(void *context, int image) {
  const module *m = context;
  const tinytl_run run = alone(m);
  tinytl_avg_pool2_backward(&run, m->lite->in_h, m->lite->in_w, m->lite->conv.in_c,
                            m->d_pooled + (size_t)image * m->size.pooled,
                            m->dx + (size_t)image * m->size.in);
}

void tinytl_batch_lite_backward(const tinytl_run *run, const tinytl_batch_lite *lite, int n_images,
                                const tinytl_lite_values *values,
                                const tinytl_batch_lite_maps *maps, const float *dy, float *dx,
                                float *const gradient[TINYTL_LITE_TENSORS]) {
  const tinytl_conv *conv = &lite->conv, *pointwise = &lite->pointwise;
  module m = module_of(run, lite, n_images, values, maps);
  m.dy = dy;
  m.dx = dx;
  norm_backward(&m, norm2_backward_task, pointwise->out_c, gradient[TINYTL_LITE_SCALE2],
                gradient[TINYTL_LITE_SHIFT2]);
  tinytl_batch_conv_backward_weight(run, pointwise, n_images, m.mid, m.out,
                                    gradient[TINYTL_LITE_POINTWISE]);
  tinytl_batch_conv_backward_input(run, pointwise, n_images, values->pointwise, m.out, m.d_mid,
                                   false);
  norm_backward(&m, norm1_backward_task, conv->out_c, gradient[TINYTL_LITE_SCALE1],
                gradient[TINYTL_LITE_SHIFT1]);
  tinytl_batch_conv_backward_weight(run, conv, n_images, m.pooled, m.d_mid,
                                    gradient[TINYTL_LITE_CONV]);
  tinytl_batch_conv_backward_input(run, conv, n_images, values->conv, m.d_mid, m.d_pooled, false);
  tinytl_parallel_for(run->pool, n_images, pool_backward_task, &m);
}
