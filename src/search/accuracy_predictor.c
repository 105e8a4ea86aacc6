#include "search/accuracy_predictor.h"

#include <math.h>
#include <string.h>

#include "core/cursor.h"
#include "data/order.h"

enum {
  HIDDEN = 400,
  N_UPDATES = 300, /* whatever the number of sub-nets: on 200, half as many did nearly as well */
  WARMUP_SHARE = 20
};
/* Of He's deviation. A network that begins small finds what is simple first; with 1, and a last
 * layer of random values, a few hundred sub-nets are too few: tau on unseen sub-nets of a known sum
 * of genes was 0.59, and is 0.87. */
#define INIT_SHARE 0.2f
#define LR 1e-3f

static const int widths[TINYTL_PREDICTOR_LAYERS + 1] = {TINYTL_GENES_INPUTS, HIDDEN, HIDDEN, HIDDEN,
                                                        1};

/* ---- Memory ------------------------------------------------------------------------------- */

/* Makes batches of n sub-nets the shape of all layers. */
static void set_batch(tinytl_accuracy_predictor *p, int n) {
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++)
    p->layers[l].conv =
        tinytl_conv_make(n, 1, widths[l], widths[l + 1], 1, 1, 1, TINYTL_PAD_SYMMETRIC);
}

static size_t scratch_nbytes(const tinytl_accuracy_predictor *p, const tinytl_kernels *kernels) {
  size_t nbytes = 0;
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++) {
    const tinytl_conv *conv = &p->layers[l].conv;
    nbytes = tinytl_size_max(nbytes, tinytl_conv_forward_scratch(conv, kernels));
    nbytes = tinytl_size_max(nbytes, tinytl_conv_backward_input_scratch(conv, kernels));
    nbytes = tinytl_size_max(nbytes, tinytl_conv_backward_weight_scratch(conv, kernels));
    nbytes = tinytl_size_max(nbytes, tinytl_epilogue_backward_scratch(conv->out_h, conv->out_c));
  }
  return nbytes;
}

static size_t n_values_of(int layer) {
  return ((size_t)widths[layer] + 1) * (size_t)widths[layer + 1];
}

/* With base NULL it only counts. */
static size_t lay_out(tinytl_accuracy_predictor *p, const tinytl_kernels *kernels, int n_most,
                      unsigned char *base) {
  const size_t batch = TINYTL_PREDICTOR_BATCH;
  tinytl_cursor c = {.base = base};
  p->n_values = 0;
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++) p->n_values += n_values_of(l);
  p->values = tinytl_take(&c, p->n_values, sizeof(float));
  p->gradient = tinytl_take(&c, p->n_values, sizeof(float));
  p->moments = tinytl_take(&c, 2 * p->n_values, sizeof(float));
  p->params = tinytl_take(&c, 1, sizeof *p->params);
  p->inputs = tinytl_take(&c, batch * TINYTL_GENES_INPUTS, sizeof(float));
  p->order = tinytl_take(&c, (size_t)n_most, sizeof(int));
  set_batch(p, TINYTL_PREDICTOR_BATCH);
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++) {
    const size_t out = (size_t)widths[l + 1];
    const bool is_last = l == TINYTL_PREDICTOR_LAYERS - 1;
    p->layers[l].y = tinytl_take(&c, batch * out, sizeof(float));
    p->layers[l].dy = tinytl_take(&c, batch * out, sizeof(float));
    p->layers[l].mask = is_last ? NULL : tinytl_take(&c, batch * ((out + 7) / 8), 1);
  }
  p->run.scratch = tinytl_take(&c, scratch_nbytes(p, kernels), 1);
  return c.used;
}

size_t tinytl_accuracy_predictor_nbytes(int n_most, const tinytl_kernels *kernels) {
  tinytl_accuracy_predictor p;
  return lay_out(&p, kernels, n_most, NULL);
}

void tinytl_accuracy_predictor_place(tinytl_accuracy_predictor *p, const tinytl_run *run,
                                     int n_most, void *memory) {
  size_t first = 0;
  p->run = *run;
  lay_out(p, run->kernels, n_most, memory);
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++) {
    const size_t n_weights = (size_t)widths[l] * (size_t)widths[l + 1];
    tinytl_predictor_layer *layer = &p->layers[l];
    layer->w = p->values + first;
    layer->dw = p->gradient + first;
    layer->bias = layer->w + n_weights;
    layer->dbias = layer->dw + n_weights;
    first += n_values_of(l);
  }
}

/* ---- Forward and backward ----------------------------------------------------------------- */

static const float *forward(tinytl_accuracy_predictor *p, const tinytl_subnet *const *subnets,
                            int n) {
  const float *x = p->inputs;
  set_batch(p, n);
  for (int i = 0; i < n; i++)
    tinytl_genes_encode(subnets[i], p->inputs + (size_t)i * TINYTL_GENES_INPUTS);
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS; l++) {
    const tinytl_predictor_layer *layer = &p->layers[l];
    const tinytl_weight w = {.f32 = layer->w};
    const tinytl_epilogue epilogue = {.bias = layer->bias,
                                      .act = layer->mask ? TINYTL_ACT_RELU : TINYTL_ACT_NONE,
                                      .mask = layer->mask};
    tinytl_conv_forward(&p->run, &layer->conv, &w, &epilogue, x, layer->y);
    x = layer->y;
  }
  return x;
}

double tinytl_accuracy_predictor_add_gradient(tinytl_accuracy_predictor *p,
                                              const tinytl_subnet *const *subnets,
                                              const float *accuracies, int n) {
  const float *y = forward(p, subnets, n);
  double loss = 0;
  float *dy = p->layers[TINYTL_PREDICTOR_LAYERS - 1].dy;
  for (int i = 0; i < n; i++) {
    const float difference = y[i] - (accuracies[i] - p->mean) / p->deviation;
    loss += 0.5 * (double)(difference * difference) / n;
    dy[i] = difference / (float)n;
  }
  for (int l = TINYTL_PREDICTOR_LAYERS - 1; l >= 0; l--) {
    tinytl_predictor_layer *layer = &p->layers[l];
    const tinytl_weight w = {.f32 = layer->w};
    tinytl_epilogue_backward(&p->run, n, layer->conv.out_c, layer->mask, layer->dy, layer->dbias);
    tinytl_conv_backward_weight(&p->run, &layer->conv, l > 0 ? p->layers[l - 1].y : p->inputs,
                                layer->dy, layer->dw);
    if (l > 0)
      tinytl_conv_backward_input(&p->run, &layer->conv, &w, layer->dy, p->layers[l - 1].dy, false);
  }
  return loss;
}

void tinytl_accuracy_predictor_run(tinytl_accuracy_predictor *p,
                                   const tinytl_subnet *const *subnets, int n, float *predicted) {
  for (int first = 0; first < n; first += TINYTL_PREDICTOR_BATCH) {
    const int left = n - first,
              batch = left < TINYTL_PREDICTOR_BATCH ? left : TINYTL_PREDICTOR_BATCH;
    const float *y = forward(p, subnets + first, batch);
    for (int i = 0; i < batch; i++) predicted[first + i] = p->mean + p->deviation * y[i];
  }
}

/* ---- Training ----------------------------------------------------------------------------- */

static void find_moments(tinytl_accuracy_predictor *p, const float *accuracies, int n) {
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++) sum += (double)accuracies[i];
  p->mean = (float)(sum / n);
  for (int i = 0; i < n; i++) squares += pow((double)(accuracies[i] - p->mean), 2);
  p->deviation = squares > 0 ? (float)sqrt(squares / n) : 1;
}

/* Normal, the last layer and all biases 0. */
static void set_values(tinytl_accuracy_predictor *p, uint64_t seed) {
  memset(p->values, 0, p->n_values * sizeof *p->values);
  memset(p->gradient, 0, p->n_values * sizeof *p->gradient);
  /* One segment, of the first group. */
  p->params->n = p->params->n_trained = p->params->segments[0].n = p->n_values;
  p->params->n_segments = p->params->n_trained_segments = 1;
  p->params->segments[0].offset = 0;
  p->params->segments[0].group = (tinytl_group)0;
  tinytl_optimizer_init(&p->adam, TINYTL_OPTIMIZER_ADAM, p->params, p->moments);
  for (int l = 0; l < TINYTL_PREDICTOR_LAYERS - 1; l++) {
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_INIT, (uint64_t)l, 0);
    const float deviation = INIT_SHARE * sqrtf(2.0f / (float)widths[l]);
    const size_t n = (size_t)widths[l] * (size_t)widths[l + 1];
    for (size_t i = 0; i < n; i++) p->layers[l].w[i] = deviation * tinytl_rng_normal(&rng);
  }
}

tinytl_status tinytl_accuracy_predictor_fit(tinytl_accuracy_predictor *p, uint64_t seed,
                                            const tinytl_subnet *const *subnets,
                                            const float *accuracies, int n,
                                            const volatile int *stop, tinytl_error *error) {
  const int batch = n < TINYTL_PREDICTOR_BATCH ? n : TINYTL_PREDICTOR_BATCH;
  const int epoch_steps = n / batch;
  find_moments(p, accuracies, n);
  set_values(p, seed);
  for (int step = 0; step < N_UPDATES; step++) {
    const tinytl_subnet *held[TINYTL_PREDICTOR_BATCH];
    float wanted[TINYTL_PREDICTOR_BATCH], lr[TINYTL_N_GROUPS] = {0};
    TINYTL_TRY(tinytl_check_stop(stop, error));
    if (step % epoch_steps == 0) {
      tinytl_order(seed, (uint64_t)(step / epoch_steps), n, p->order);
    }
    for (int i = 0; i < batch; i++) {
      const int from = p->order[step % epoch_steps * batch + i];
      held[i] = subnets[from];
      wanted[i] = accuracies[from];
    }
    tinytl_accuracy_predictor_add_gradient(p, held, wanted, batch);
    lr[0] = LR * tinytl_schedule((uint64_t)step, N_UPDATES / WARMUP_SHARE, N_UPDATES);
    tinytl_optimizer_begin(&p->adam, lr, 1);
    tinytl_optimizer_update(&p->adam, p->params, 0, 0, p->n_values, p->run.kernels, p->run.pool,
                            p->gradient, p->values);
  }
  return TINYTL_OK;
}

/* ---- Kendall's tau ------------------------------------------------------------------------ */

static int sign(float x) {
  return (x > 0) - (x < 0);
}

float tinytl_kendall_tau(const float *x, const float *y, int n) {
  double sum = 0, n_x = 0, n_y = 0; /* pairs that differ in x, in y */
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++) {
      const int in_x = sign(x[i] - x[j]), in_y = sign(y[i] - y[j]);
      sum += in_x * in_y;
      n_x += in_x != 0;
      n_y += in_y != 0;
    }
  return n_x > 0 && n_y > 0 ? (float)(sum / sqrt(n_x * n_y)) : 0;
}
