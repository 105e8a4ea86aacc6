#include "support/batch_reference.h"

#include <math.h>
#include <stdlib.h>

#include "support/reference.h"

static int index_of(const tinytl_layer *layer, int o, int ky, int kx, int i) {
  const int k = layer->kernel;
  if (layer->groups > 1) return (ky * k + kx) * layer->out_c + o;
  return ((o * k + ky) * k + kx) * layer->in_c + i;
}

static void convolve(const tinytl_conv *conv, const tinytl_layer *layer, const double *w,
                     const double *x, double *z) {
  for (int oy = 0; oy < conv->out_h; oy++)
    for (int ox = 0; ox < conv->out_w; ox++)
      for (int o = 0; o < conv->out_c; o++) {
        double sum = 0;
        for (int ky = 0; ky < conv->kernel; ky++)
          for (int kx = 0; kx < conv->kernel; kx++) {
            const int y = oy * conv->stride - conv->pad_top + ky;
            const int column = ox * conv->stride - conv->pad_left + kx;
            if (y < 0 || y >= conv->in_h || column < 0 || column >= conv->in_w) continue;
            const double *pixel = x + (y * conv->in_w + column) * conv->in_c;
            if (layer->groups > 1)
              sum += pixel[o] * w[index_of(layer, o, ky, kx, 0)];
            else
              for (int i = 0; i < conv->in_c; i++)
                sum += pixel[i] * w[index_of(layer, o, ky, kx, i)];
          }
        z[(oy * conv->out_w + ox) * conv->out_c + o] = sum;
      }
}

static void normalise(int n_pixels, int channels, const double *scale, const double *shift,
                      tinytl_act act, double *z) {
  for (int c = 0; c < channels; c++) {
    double mean = 0, var = 0;
    for (int i = 0; i < n_pixels; i++) mean += z[i * channels + c] / n_pixels;
    for (int i = 0; i < n_pixels; i++) var += pow(z[i * channels + c] - mean, 2) / n_pixels;
    for (int i = 0; i < n_pixels; i++) {
      double *y = &z[i * channels + c];
      *y = (*y - mean) / sqrt(var + 1e-3) * scale[c] + shift[c];
      if (act != TINYTL_ACT_NONE) *y = fmax(*y, 0);
      if (act == TINYTL_ACT_RELU6) *y = fmin(*y, 6);
    }
  }
}

static double *input_of(const tinytl_batch_net *net, const uint8_t *const *rgb, int n_images,
                        const float scale[3], const float shift[3]) {
  const int n = net->image_size * net->image_size * 3;
  double *x = malloc(sizeof *x * n * n_images);
  for (int image = 0; image < n_images; image++)
    for (int i = 0; i < n; i++)
      x[image * n + i] = rgb[image][i] * (double)scale[i % 3] + shift[i % 3];
  return x;
}

/* Adds what the lite module has that is beside a block which ends with layer i. */
static void add_lite(const tinytl_batch_net *net, const double *values, int i, int n_images,
                     double *const *y, double *z) {
  for (int m = 0; m < net->arch->n_lite; m++) {
    const tinytl_block *block = &net->arch->blocks[net->arch->lite[m].block];
    const tinytl_conv *first = &net->conv[block->first], *last = &net->conv[i];
    const double *tensors[TINYTL_LITE_TENSORS];
    if (block->last != i) continue;
    for (int t = 0; t < TINYTL_LITE_TENSORS; t++) tensors[t] = values + net->params.lite[m][t];
    for (int image = 0; image < n_images; image++)
      reference_lite(&net->arch->lite[m], tensors,
                     y[block->first - 1] + image * first->in_h * first->in_w * first->in_c,
                     first->in_h, first->in_w, z + image * last->out_h * last->out_w * last->out_c,
                     last->out_h, last->out_w);
  }
}

static double *run_layer(const tinytl_batch_net *net, const double *values, int i, int n_images,
                         double *const *y, const double *input) {
  const tinytl_layer *layer = &net->arch->layers[i];
  const tinytl_conv *conv = &net->conv[i];
  const int n_in = conv->in_h * conv->in_w * conv->in_c;
  const int n_out = conv->out_h * conv->out_w * conv->out_c;
  double *z = malloc(sizeof *z * n_out * n_images);
  for (int image = 0; image < n_images; image++)
    convolve(conv, layer, values + net->params.weight[i], (i ? y[i - 1] : input) + image * n_in,
             z + image * n_out);
  normalise(n_images * conv->out_h * conv->out_w, conv->out_c, values + net->params.scale[i],
            values + net->params.shift[i], layer->act, z);
  for (int k = 0; layer->add >= 0 && k < n_out * n_images; k++) z[k] += y[layer->add][k];
  add_lite(net, values, i, n_images, y, z);
  return z;
}

void batch_reference_forward(const tinytl_batch_net *net, const double *values,
                             const uint8_t *const *rgb, int n_images, const float input_scale[3],
                             const float input_shift[3], double *logits) {
  const tinytl_arch *arch = net->arch;
  double *y[TINYTL_MAX_LAYERS], *input = input_of(net, rgb, n_images, input_scale, input_shift);
  for (int i = 0; i < arch->n_layers; i++) y[i] = run_layer(net, values, i, n_images, y, input);
  const tinytl_conv *last = &net->conv[arch->n_layers - 1];
  const int n_pixels = last->out_h * last->out_w, n_features = arch->n_features;
  for (int image = 0; image < n_images; image++)
    for (int k = 0; k < arch->n_classes; k++) {
      double sum = values[net->params.bias + k];
      for (int p = 0; p < n_pixels; p++)
        for (int f = 0; f < n_features; f++)
          sum += y[arch->n_layers - 1][(image * n_pixels + p) * n_features + f] / n_pixels *
                 values[net->params.classifier + (size_t)k * n_features + f];
      logits[image * arch->n_classes + k] = sum;
    }
  for (int i = 0; i < arch->n_layers; i++) free(y[i]);
  free(input);
}
