#include "support/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct map {
  int h, w, c;
  double *at; /* [h][w][c] */
} map;

static map map_make(int h, int w, int c) {
  return (map){h, w, c, calloc((size_t)h * w * c, sizeof(double))};
}

/* ---- The model ----------------------------------------------------------------------------- */

static double weight_value(const tinytl_weight *weight, size_t i, int out_channel) {
  return weight->i8 ? (double)weight->i8[i] * weight->scale[out_channel] : weight->f32[i];
}

/* Appends a segment of n values of `source` (which may be int8): value i is of output channel i /
 * run % channels. */
static void append(reference_net *net, reference_kind kind, int index, tinytl_weight source,
                   size_t n, size_t run, size_t channels) {
  net->values = realloc(net->values, (net->n_values + n) * sizeof(double));
  for (size_t i = 0; i < n; i++) {
    net->values[net->n_values + i] = weight_value(&source, i, (int)(i / run % channels));
  }
  net->segments[net->n_segments++] = (reference_segment){kind, index, net->n_values, n};
  net->n_values += n;
}

static void append_floats(reference_net *net, reference_kind kind, int index, const float *source,
                          size_t n) {
  append(net, kind, index, (tinytl_weight){.f32 = source}, n, 1, n);
}

static void append_weight(reference_net *net, int index, const tinytl_layer *layer,
                          tinytl_weight weight) {
  size_t n = tinytl_layer_n_weights(layer), channels = layer->out_c;
  bool depthwise = layer->groups > 1; /* stored [kernel][kernel][channel] */
  append(net, REFERENCE_WEIGHT, index, weight, n, depthwise ? 1 : n / channels, channels);
  float *ones = calloc(channels, sizeof(float));
  for (size_t c = 0; c < channels; c++) ones[c] = 1;
  append_floats(net, REFERENCE_GAIN, index, weight.gain ? weight.gain : ones, channels);
  free(ones);
}

static void append_lite(reference_net *net, int index, const tinytl_lite *lite,
                        const tinytl_lite_values *values) {
  size_t mid = lite->mid_c, out = lite->out_c;
  size_t n_conv = mid * lite->kernel * lite->kernel * (lite->in_c / lite->groups);
  append_floats(net, REFERENCE_LITE_CONV, index, values->conv, n_conv);
  append_floats(net, REFERENCE_LITE_SCALE1, index, values->scale1, mid);
  append_floats(net, REFERENCE_LITE_SHIFT1, index, values->shift1, mid);
  append_floats(net, REFERENCE_LITE_POINTWISE, index, values->pointwise, out * mid);
  append_floats(net, REFERENCE_LITE_SCALE2, index, values->scale2, out);
  append_floats(net, REFERENCE_LITE_SHIFT2, index, values->shift2, out);
}

reference_net *reference_net_make(const tinytl_backbone *model) {
  reference_net *net = calloc(1, sizeof *net);
  const tinytl_arch *arch = &model->arch;
  net->arch = *arch;
  net->input = model->input;
  for (int i = 0; i < arch->n_layers; i++) {
    append_weight(net, i, &arch->layers[i], model->weight[i]);
    append_floats(net, REFERENCE_BIAS, i, model->bias[i], arch->layers[i].out_c);
  }
  for (int i = 0; i < arch->n_lite; i++) append_lite(net, i, &arch->lite[i], &model->lite[i]);
  size_t n_features = arch->n_features;
  append(net, REFERENCE_CLASSIFIER, 0, model->classifier, arch->n_classes * n_features, n_features,
         arch->n_classes);
  append_floats(net, REFERENCE_CLASSIFIER_BIAS, 0, model->classifier_bias, arch->n_classes);
  return net;
}

void reference_net_free(reference_net *net) {
  if (!net) return;
  free(net->values);
  free(net);
}

const reference_segment *reference_find(const reference_net *net, reference_kind kind, int index) {
  for (int i = 0; i < net->n_segments; i++) {
    const reference_segment *segment = &net->segments[i];
    if (segment->kind == kind && segment->index == index) return segment;
  }
  return NULL;
}

static const double *values_of(const reference_net *net, reference_kind kind, int index) {
  return net->values + reference_find(net, kind, index)->first;
}

/* ---- Operators ----------------------------------------------------------------------------- */

typedef struct window {
  int out_c, kernel, stride, groups;
  tinytl_pad pad;
} window;

static int out_side(int in, const window *win, int *before) {
  if (win->pad == TINYTL_PAD_SYMMETRIC) {
    *before = (win->kernel - 1) / 2;
    return (in + 2 * *before - win->kernel) / win->stride + 1;
  }
  int out = (in + win->stride - 1) / win->stride;
  int total = (out - 1) * win->stride + win->kernel - in;
  *before = total > 0 ? total / 2 : 0;
  return out;
}

static map convolve(map x, const window *win, const double *weight) {
  int top, left, k = win->kernel;
  int out_h = out_side(x.h, win, &top), out_w = out_side(x.w, win, &left);
  int depth = x.c / win->groups, filters = win->out_c / win->groups;
  map y = map_make(out_h, out_w, win->out_c);
  for (int oy = 0; oy < out_h; oy++) {
    for (int ox = 0; ox < out_w; ox++) {
      for (int o = 0; o < win->out_c; o++) {
        double sum = 0;
        for (int ky = 0; ky < k; ky++) {
          for (int kx = 0; kx < k; kx++) {
            int iy = oy * win->stride + ky - top, ix = ox * win->stride + kx - left;
            if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
            const double *in = x.at + ((size_t)iy * x.w + ix) * x.c + o / filters * depth;
            const double *w = weight + (((size_t)o * k + ky) * k + kx) * depth;
            for (int i = 0; i < depth; i++) sum += in[i] * w[i];
          }
        }
        y.at[((size_t)oy * out_w + ox) * win->out_c + o] = sum;
      }
    }
  }
  return y;
}

/* FNV-1a over the sides of the kinks: 0 below, 1 between, 2 above. */
static void note_side(uint64_t *pattern, int side) {
  *pattern = (*pattern ^ (uint64_t)side) * UINT64_C(0x100000001b3);
}

static void activate(map x, tinytl_act act, uint64_t *pattern) {
  if (act == TINYTL_ACT_NONE) return;
  double high = act == TINYTL_ACT_RELU6 ? 6 : INFINITY;
  for (size_t i = 0; i < (size_t)x.h * x.w * x.c; i++) {
    note_side(pattern, x.at[i] <= 0 ? 0 : x.at[i] < high ? 1 : 2);
    x.at[i] = fmin(fmax(x.at[i], 0), high);
  }
}

static void add_bias(map x, const double *bias) {
  for (size_t i = 0; i < (size_t)x.h * x.w * x.c; i++) x.at[i] += bias[i % x.c];
}

static void add_map(map y, map x) {
  for (size_t i = 0; i < (size_t)y.h * y.w * y.c; i++) y.at[i] += x.at[i];
}

static map average_pool(map x) {
  int kh = x.h == 1 ? 1 : 2, kw = x.w == 1 ? 1 : 2;
  map y = map_make(x.h / kh, x.w / kw, x.c);
  for (int oy = 0; oy < y.h; oy++) {
    for (int ox = 0; ox < y.w; ox++) {
      for (int cell = 0; cell < kh * kw; cell++) {
        int iy = oy * kh + cell / kw, ix = ox * kw + cell % kw;
        for (int c = 0; c < x.c; c++) {
          y.at[((size_t)oy * y.w + ox) * x.c + c] +=
              x.at[((size_t)iy * x.w + ix) * x.c + c] / (kh * kw);
        }
      }
    }
  }
  return y;
}

static void group_norm(map x, const double *scale, const double *shift) {
  int n_pixels = x.h * x.w, size = TINYTL_GROUP_NORM_CHANNELS;
  for (int first = 0; first < x.c; first += size) {
    int end = first + size < x.c ? first + size : x.c;
    double n = (double)n_pixels * (end - first), mean = 0, variance = 0;
    for (int i = 0; i < n_pixels; i++) {
      for (int c = first; c < end; c++) mean += x.at[(size_t)i * x.c + c] / n;
    }
    for (int i = 0; i < n_pixels; i++) {
      for (int c = first; c < end; c++) variance += pow(x.at[(size_t)i * x.c + c] - mean, 2) / n;
    }
    for (int i = 0; i < n_pixels; i++) {
      for (int c = first; c < end; c++) {
        double *value = &x.at[(size_t)i * x.c + c];
        *value = (*value - mean) / sqrt(variance + 1e-3) * scale[c] + shift[c];
      }
    }
  }
}

/* Value of the map at a point between its pixels, the edge standing in for what is outside. */
static double bilinear(map x, double row, double column, int c) {
  row = fmin(fmax(row, 0), x.h - 1);
  column = fmin(fmax(column, 0), x.w - 1);
  double sum = 0;
  for (int iy = (int)row; iy < x.h && iy < row + 1; iy++) {
    for (int ix = (int)column; ix < x.w && ix < column + 1; ix++) {
      double near = fmax(0, 1 - fabs(row - iy)) * fmax(0, 1 - fabs(column - ix));
      sum += near * x.at[((size_t)iy * x.w + ix) * x.c + c];
    }
  }
  return sum;
}

static map upsample(map x, int h, int w) {
  map y = map_make(h, w, x.c);
  for (int i = 0; i < h * w; i++) {
    double row = (i / w + 0.5) * x.h / h - 0.5, column = (i % w + 0.5) * x.w / w - 0.5;
    for (int c = 0; c < x.c; c++) y.at[(size_t)i * x.c + c] = bilinear(x, row, column, c);
  }
  return y;
}

/* ---- The network --------------------------------------------------------------------------- */

static map lite_module(const tinytl_lite *lite, const double *const values[TINYTL_LITE_TENSORS],
                       map x, int out_h, int out_w, uint64_t *pattern) {
  window grouped = {lite->mid_c, lite->kernel, lite->stride, lite->groups, TINYTL_PAD_SYMMETRIC};
  window pointwise = {lite->out_c, 1, 1, 1, TINYTL_PAD_SYMMETRIC};
  map pooled = average_pool(x);
  map mid = convolve(pooled, &grouped, values[TINYTL_LITE_CONV]);
  group_norm(mid, values[TINYTL_LITE_SCALE1], values[TINYTL_LITE_SHIFT1]);
  activate(mid, TINYTL_ACT_RELU, pattern);
  map out = convolve(mid, &pointwise, values[TINYTL_LITE_POINTWISE]);
  group_norm(out, values[TINYTL_LITE_SCALE2], values[TINYTL_LITE_SHIFT2]);
  map y = upsample(out, out_h, out_w);
  free(pooled.at);
  free(mid.at);
  free(out.at);
  return y;
}

void reference_lite(const tinytl_lite *lite, const double *const values[TINYTL_LITE_TENSORS],
                    const double *x, int in_h, int in_w, double *y, int out_h, int out_w) {
  uint64_t pattern = 0;
  map in = {.h = in_h, .w = in_w, .c = lite->in_c, .at = (double *)x};
  map out = lite_module(lite, values, in, out_h, out_w, &pattern);
  add_map((map){.h = out_h, .w = out_w, .c = lite->out_c, .at = y}, out);
  free(out.at);
}

static map lite_forward(const reference_net *net, int index, map x, int out_h, int out_w,
                        uint64_t *pattern) {
  const double *values[TINYTL_LITE_TENSORS];
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++)
    values[t] = values_of(net, (reference_kind)(REFERENCE_LITE_CONV + t), index);
  return lite_module(&net->arch.lite[index], values, x, out_h, out_w, pattern);
}

static map input_map(const tinytl_input *input, const uint8_t *rgb, int size) {
  map x = map_make(size, size, 3);
  for (size_t i = 0; i < (size_t)size * size * 3; i++) {
    x.at[i] = (rgb[i] / 255.0 - input->mean[i % 3]) / input->std[i % 3];
  }
  return x;
}

/* Gain times weight, [out][kernel][kernel][in / groups], depthwise too; the caller frees it. */
static double *layer_weights(const reference_net *net, int index) {
  const tinytl_layer *layer = &net->arch.layers[index];
  const double *weight = values_of(net, REFERENCE_WEIGHT, index);
  const double *gain = values_of(net, REFERENCE_GAIN, index);
  size_t taps = (size_t)layer->kernel * layer->kernel, depth = layer->in_c / layer->groups;
  double *copy = calloc(layer->out_c * taps * depth, sizeof(double));
  for (int o = 0; o < layer->out_c; o++) {
    for (size_t t = 0; t < taps; t++) {
      for (size_t i = 0; i < depth; i++) {
        size_t stored = layer->groups > 1 ? t * layer->out_c + o : (o * taps + t) * depth + i;
        copy[(o * taps + t) * depth + i] = gain[o] * weight[stored];
      }
    }
  }
  return copy;
}

/* Final outputs: maps[0] is the input, maps[i + 1] the output of layer i. */
static void layers_forward(const reference_net *net, map *maps, uint64_t *pattern) {
  const tinytl_arch *arch = &net->arch;
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    window win = {layer->out_c, layer->kernel, layer->stride, layer->groups, layer->pad};
    double *weights = layer_weights(net, i);
    map y = convolve(maps[i], &win, weights);
    free(weights);
    add_bias(y, values_of(net, REFERENCE_BIAS, i));
    activate(y, layer->act, pattern);
    if (layer->add >= 0) add_map(y, maps[layer->add + 1]);
    for (int j = 0; j < arch->n_lite; j++) {
      const tinytl_block *block = &arch->blocks[arch->lite[j].block];
      if (block->last != i) continue;
      map branch = lite_forward(net, j, maps[block->first], y.h, y.w, pattern);
      add_map(y, branch);
      free(branch.at);
    }
    maps[i + 1] = y;
  }
}

void reference_forward(const reference_net *net, const uint8_t *rgb, int size, double *features,
                       double *logits, uint64_t *pattern) {
  const tinytl_arch *arch = &net->arch;
  uint64_t sides = UINT64_C(0xcbf29ce484222325);
  map maps[TINYTL_MAX_LAYERS + 1] = {input_map(&net->input, rgb, size)};
  layers_forward(net, maps, &sides);

  map last = maps[arch->n_layers];
  int n_pixels = last.h * last.w;
  double *pooled = calloc(last.c, sizeof(double));
  for (int i = 0; i < n_pixels * last.c; i++) pooled[i % last.c] += last.at[i] / n_pixels;
  if (features) memcpy(features, pooled, last.c * sizeof(double));
  for (int k = 0; logits && k < arch->n_classes; k++) {
    const double *row = values_of(net, REFERENCE_CLASSIFIER, 0) + (size_t)k * last.c;
    logits[k] = values_of(net, REFERENCE_CLASSIFIER_BIAS, 0)[k];
    for (int c = 0; c < last.c; c++) logits[k] += row[c] * pooled[c];
  }
  if (pattern) *pattern = sides;

  free(pooled);
  for (int i = 0; i <= arch->n_layers; i++) free(maps[i].at);
}

double reference_loss(const reference_net *net, const uint8_t *rgb, int size, int label,
                      double smoothing, uint64_t *pattern) {
  int n = net->arch.n_classes;
  double *logits = calloc(n, sizeof(double));
  reference_forward(net, rgb, size, NULL, logits, pattern);
  double largest = logits[0], sum = 0, loss = 0;
  for (int k = 1; k < n; k++) largest = fmax(largest, logits[k]);
  for (int k = 0; k < n; k++) sum += exp(logits[k] - largest);
  for (int k = 0; k < n; k++) {
    double target = (k == label ? 1 - smoothing : 0) + smoothing / n;
    loss -= target * (logits[k] - largest - log(sum));
  }
  free(logits);
  return loss;
}

bool reference_derivative(reference_net *net, const double *direction, double h, const uint8_t *rgb,
                          int size, int label, double smoothing, double *derivative) {
  double *values = net->values, loss[2];
  double *moved = calloc(net->n_values, sizeof(double));
  uint64_t pattern[2];
  net->values = moved;
  for (int side = 0; side < 2; side++) {
    double step = side ? -h : h;
    for (size_t i = 0; i < net->n_values; i++) moved[i] = values[i] + step * direction[i];
    loss[side] = reference_loss(net, rgb, size, label, smoothing, &pattern[side]);
  }
  net->values = values;
  free(moved);
  *derivative = (loss[0] - loss[1]) / (2 * h);
  return pattern[0] == pattern[1];
}
