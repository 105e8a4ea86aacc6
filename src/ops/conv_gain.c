/* Gradient of a gain a channel, y = gain (w * x): dgain = sum over pixels of dy (w * x). That is
 * the product of w and of what dy and x make of it as a gradient, dgain = sum over the channel's
 * weights of w dw, which asks for no map but x. */
#include "ops/conv.h"
#include "ops/split.h"

enum { LANES = 16 }; /* partial sums, which are added up in order */

typedef struct gain_grad {
  const tinytl_weight *w;
  const float *dw;
  float *dgain;
  int filter, channels; /* weights of a channel, channels */
  tinytl_split split;
} gain_grad;

static float weight_at(const tinytl_weight *w, size_t i) {
  return w->i8 ? w->i8[i] : w->f32[i];
}

/* Weights of a channel stand in a row. */
static float row_product(const tinytl_weight *w, const float *dw, size_t first, int n) {
  float sums[LANES] = {0}, sum = 0;
  int i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int lane = 0; lane < LANES; lane++)
      sums[lane] += weight_at(w, first + i + lane) * dw[first + i + lane];
  for (; i < n; i++) sums[0] += weight_at(w, first + i) * dw[first + i];
  for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
  return sum;
}

static void dense_task(void *context, int task) {
  const gain_grad *g = context;
  for (int o = tinytl_split_first(&g->split, task); o < tinytl_split_end(&g->split, task); o++) {
    const float sum = row_product(g->w, g->dw, (size_t)o * g->filter, g->filter);
    g->dgain[o] += g->w->i8 ? sum * g->w->scale[o] : sum;
  }
}

/* Channels lie next to each other, taps a map of them apart. */
static void depthwise_gain(const gain_grad *g) {
  for (int c = 0; c < g->channels; c++) {
    float sum = 0;
    for (int tap = 0; tap < g->filter; tap++) {
      const size_t i = (size_t)tap * g->channels + c;
      sum += weight_at(g->w, i) * g->dw[i];
    }
    g->dgain[c] += g->w->i8 ? sum * g->w->scale[c] : sum;
  }
}

void tinytl_conv_backward_gain(const tinytl_run *run, const tinytl_conv *conv,
                               const tinytl_weight *w, const float *dw, float *dgain) {
  const int filter = conv->kernel * conv->kernel * (conv->in_c / conv->groups);
  gain_grad g = {.w = w,
                 .dw = dw,
                 .dgain = dgain,
                 .filter = filter,
                 .channels = conv->out_c,
                 .split = tinytl_split_rows(conv->out_c, (size_t)filter)};
  tinytl_await_turn(run);
  if (tinytl_conv_is_depthwise(conv))
    depthwise_gain(&g);
  else
    tinytl_split_run(run, &g.split, dense_task, &g);
}
