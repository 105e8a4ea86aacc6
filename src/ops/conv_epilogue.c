/* What follows a convolution: bias, shortcut, activation and its mask, and their gradients. */
#include "ops/conv.h"
#include "ops/split.h"

void tinytl_conv_epilogue(const tinytl_kernels *kernels, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int n, int channel, int channels, float *y) {
  const ptrdiff_t mask_pixel = (out_c + 7) / 8;
  const float *residual =
      epilogue->residual ? epilogue->residual + (ptrdiff_t)pixel * out_c + channel : NULL;
  if (!epilogue->bias && !epilogue->mask && !residual) return;
  kernels->bias_act(&(tinytl_bias_act){
      .n = n,
      .channels = channels,
      .y = y,
      .pixel = out_c,
      .bias = epilogue->bias ? epilogue->bias + channel : NULL,
      .act = epilogue->act,
      .residual = residual,
      .mask = epilogue->mask ? epilogue->mask + pixel * mask_pixel + channel / 8 : NULL,
      .mask_pixel = mask_pixel});
}

void tinytl_conv_tile_epilogue(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                               int pixel, int channel) {
  if (epilogue->bias) tile->bias = epilogue->bias + channel;
  tinytl_conv_tile_end(tile, epilogue, out_c, pixel, channel);
}

void tinytl_conv_tile_end(tinytl_gemm_tile *tile, const tinytl_epilogue *epilogue, int out_c,
                          int pixel, int channel) {
  tile->mask_row = (out_c + 7) / 8;
  tile->act = epilogue->act;
  if (epilogue->residual) tile->residual = epilogue->residual + (ptrdiff_t)pixel * out_c + channel;
  if (epilogue->mask) tile->mask = epilogue->mask + pixel * tile->mask_row + channel / 8;
}

typedef struct epilogue_grad {
  const tinytl_run *run;
  int n_pixels, channels, chunk;
  const uint8_t *mask;
  float *dy;
  float *partial; /* [chunks][channels]; NULL: bias is frozen */
} epilogue_grad;

/* Pixels are cut into chunks by the shape alone; each sums its own bias gradient. */
static int chunk_pixels(int n_pixels) {
  enum { MIN_PIXELS = 8, MAX_CHUNKS = 32 };
  const int pixels = tinytl_ceil_div(n_pixels, MAX_CHUNKS);
  return pixels < MIN_PIXELS ? MIN_PIXELS : pixels;
}

static void epilogue_grad_task(void *context, int task) {
  const epilogue_grad *g = context;
  const int first = task * g->chunk;
  const size_t mask_pixel = (size_t)(g->channels + 7) / 8;
  float *partial = g->partial ? g->partial + (size_t)task * g->channels : NULL;
  for (int c = 0; partial && c < g->channels; c++) partial[c] = 0;
  g->run->kernels->mask_grad(g->dy + (size_t)first * g->channels,
                             tinytl_min(g->chunk, g->n_pixels - first), g->channels,
                             g->mask ? g->mask + first * mask_pixel : NULL, partial);
}

size_t tinytl_epilogue_backward_scratch(int n_pixels, int channels) {
  return (size_t)tinytl_ceil_div(n_pixels, chunk_pixels(n_pixels)) * channels * sizeof(float);
}

void tinytl_epilogue_backward(const tinytl_run *run, int n_pixels, int channels,
                              const uint8_t *mask, float *dy, float *dbias) {
  if (!mask && !dbias) return;
  epilogue_grad g = {.run = run,
                     .n_pixels = n_pixels,
                     .channels = channels,
                     .chunk = chunk_pixels(n_pixels),
                     .mask = mask,
                     .dy = dy,
                     .partial = dbias ? run->scratch : NULL};
  const int n_chunks = tinytl_ceil_div(n_pixels, g.chunk);
  const bool alone = (size_t)n_pixels * channels < TINYTL_SPLIT_ALONE;
  tinytl_parallel_for(alone ? NULL : run->pool, n_chunks, epilogue_grad_task, &g);
  if (!dbias) return;
  tinytl_await_turn(run);
  for (int chunk = 0; chunk < n_chunks; chunk++)
    run->kernels->add(dbias, g.partial + (size_t)chunk * channels, (size_t)channels);
}
