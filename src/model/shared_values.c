#include "model/shared_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void tinytl_shared_values_layout(tinytl_shared_values *shared, const tinytl_space *space) {
  const tinytl_subnet largest = tinytl_subnet_largest(space);
  tinytl_subnet_arch(space, &largest, &shared->arch, NULL);
  tinytl_batch_params_layout(&shared->params, &shared->arch);
  shared->n = shared->params.n;
  for (int i = 0; i < shared->arch.n_layers; i++) {
    const tinytl_layer *layer = &shared->arch.layers[i];
    const bool is_elastic = layer->groups > 1 && layer->kernel > 3;
    shared->matrices[i] = is_elastic ? shared->n : 0;
    if (is_elastic) shared->n += TINYTL_KERNEL_MATRICES;
  }
}

void tinytl_shared_values_init_matrices(const tinytl_shared_values *shared, float *values) {
  for (int i = 0; i < shared->arch.n_layers; i++) {
    if (!shared->matrices[i]) continue;
    float *matrix = values + shared->matrices[i];
    memset(matrix, 0, TINYTL_KERNEL_MATRICES * sizeof *matrix);
    for (int t = 0; t < TINYTL_KERNEL_MEDIUM_TAPS; t++)
      matrix[t * TINYTL_KERNEL_MEDIUM_TAPS + t] = 1;
    matrix += TINYTL_KERNEL_MEDIUM_MATRIX;
    for (int t = 0; t < TINYTL_KERNEL_SMALL_TAPS; t++) matrix[t * TINYTL_KERNEL_SMALL_TAPS + t] = 1;
  }
}

void tinytl_part_values_layout(tinytl_part_values *part, const tinytl_space *space,
                               const tinytl_subnet *subnet) {
  tinytl_subnet_arch(space, subnet, &part->arch, part->layers);
  tinytl_batch_params_layout(&part->params, &part->arch);
}

/* ---- Parts -------------------------------------------------------------------------------- */

static bool is_shrunk(const tinytl_layer *large, const tinytl_layer *small) {
  return large->groups > 1 && (large->kernel != small->kernel || large->out_c != small->out_c) &&
         large->kernel > 3;
}

static void copy_weight(const tinytl_shared_values *shared, const float *all, int large_index,
                        const tinytl_layer *small, float *w) {
  const tinytl_layer *large = &shared->arch.layers[large_index];
  const float *from = all + shared->params.weight[large_index];
  if (is_shrunk(large, small)) {
    tinytl_kernel_shrink(small->kernel, large->out_c, small->out_c, from,
                         all + shared->matrices[large_index], w);
    return;
  }
  if (large->groups > 1) {
    memcpy(w, from, tinytl_layer_n_weights(small) * sizeof *w);
    return;
  }
  const size_t row = tinytl_layer_n_weights(small) / (size_t)small->out_c;
  const size_t large_row = tinytl_layer_n_weights(large) / (size_t)large->out_c;
  for (int o = 0; o < small->out_c; o++)
    memcpy(w + (size_t)o * row, from + (size_t)o * large_row, row * sizeof *w);
}

static void add(const float *from, size_t n, float *to) {
  for (size_t i = 0; i < n; i++) to[i] += from[i];
}

static void add_weight(const tinytl_shared_values *shared, const float *all, int large_index,
                       const tinytl_layer *small, const float *dw, float *all_gradient) {
  const tinytl_layer *large = &shared->arch.layers[large_index];
  const size_t first = shared->params.weight[large_index];
  const size_t matrices = shared->matrices[large_index];
  float *to = all_gradient + first;
  if (is_shrunk(large, small)) {
    tinytl_kernel_shrink_backward(small->kernel, large->out_c, small->out_c, all + first,
                                  all + matrices, dw, to, all_gradient + matrices);
    return;
  }
  if (large->groups > 1) {
    add(dw, tinytl_layer_n_weights(small), to);
    return;
  }
  const size_t row = tinytl_layer_n_weights(small) / (size_t)small->out_c;
  const size_t large_row = tinytl_layer_n_weights(large) / (size_t)large->out_c;
  for (int o = 0; o < small->out_c; o++) add(dw + (size_t)o * row, row, to + (size_t)o * large_row);
}

int tinytl_shared_values_module(const tinytl_shared_values *shared, const tinytl_part_values *part,
                                int m) {
  const int layer = part->layers[part->arch.blocks[part->arch.lite[m].block].first];
  int whole = 0;
  while (shared->arch.blocks[shared->arch.lite[whole].block].first != layer) whole++;
  return whole;
}

/* Where weight [o][ky][kx] [0] of a module's convolution lies among those of the whole module. */
static size_t lite_tap(const tinytl_lite *whole, const tinytl_lite *part, int o, int ky, int kx) {
  const int border = (whole->kernel - part->kernel) / 2;
  const int in = whole->in_c / whole->groups;
  const int first = o / (part->mid_c / part->groups) * (part->in_c / part->groups); /* channel */
  const int tap = (o * whole->kernel + ky + border) * whole->kernel + kx + border;
  return (size_t)tap * (size_t)in + (size_t)(first % in);
}

void tinytl_lite_conv_move(const tinytl_lite *whole, const tinytl_lite *part, const float *from,
                           float *to, bool gradient) {
  const size_t in = (size_t)(part->in_c / part->groups);
  size_t n = 0;
  for (int o = 0; o < part->mid_c; o++)
    for (int ky = 0; ky < part->kernel; ky++)
      for (int kx = 0; kx < part->kernel; kx++, n += in) {
        const size_t tap = lite_tap(whole, part, o, ky, kx);
        if (gradient)
          add(from + n, in, to + tap);
        else
          memcpy(to + n, from + tap, in * sizeof *to);
      }
}

static void copy_lite(const tinytl_shared_values *shared, const float *all,
                      const tinytl_part_values *part, int m, float *values) {
  const int whole = tinytl_shared_values_module(shared, part, m);
  const size_t *from = shared->params.lite[whole], *to = part->params.lite[m];
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(&part->arch.lite[m], tensors);
  for (int t = TINYTL_LITE_CONV + 1; t < TINYTL_LITE_TENSORS; t++)
    memcpy(values + to[t], all + from[t], tensors[t].n * sizeof *values);
  tinytl_lite_conv_move(&shared->arch.lite[whole], &part->arch.lite[m],
                        all + from[TINYTL_LITE_CONV], values + to[TINYTL_LITE_CONV], false);
}

static void add_lite(const tinytl_shared_values *shared, const tinytl_part_values *part, int m,
                     const float *gradient, float *all_gradient) {
  const int whole = tinytl_shared_values_module(shared, part, m);
  const size_t *to = shared->params.lite[whole], *from = part->params.lite[m];
  tinytl_lite_tensor tensors[TINYTL_LITE_TENSORS];
  tinytl_lite_tensors(&part->arch.lite[m], tensors);
  for (int t = TINYTL_LITE_CONV + 1; t < TINYTL_LITE_TENSORS; t++)
    add(gradient + from[t], tensors[t].n, all_gradient + to[t]);
  tinytl_lite_conv_move(&shared->arch.lite[whole], &part->arch.lite[m],
                        gradient + from[TINYTL_LITE_CONV], all_gradient + to[TINYTL_LITE_CONV],
                        true);
}

static size_t n_classifier(const tinytl_arch *arch) {
  return (size_t)arch->n_classes * (size_t)arch->n_features;
}

void tinytl_shared_values_copy_out(const tinytl_shared_values *shared, const float *all,
                                   const tinytl_part_values *part, float *values) {
  const tinytl_batch_params *from = &shared->params, *to = &part->params;
  for (int i = 0; i < part->arch.n_layers; i++) {
    const tinytl_layer *layer = &part->arch.layers[i];
    const int large = part->layers[i];
    const size_t nbytes = (size_t)layer->out_c * sizeof *values;
    copy_weight(shared, all, large, layer, values + to->weight[i]);
    memcpy(values + to->scale[i], all + from->scale[large], nbytes);
    memcpy(values + to->shift[i], all + from->shift[large], nbytes);
  }
  for (int m = 0; m < part->arch.n_lite; m++) copy_lite(shared, all, part, m, values);
  memcpy(values + to->classifier, all + from->classifier,
         n_classifier(&part->arch) * sizeof *values);
  memcpy(values + to->bias, all + from->bias, (size_t)part->arch.n_classes * sizeof *values);
}

void tinytl_shared_values_add_back(const tinytl_shared_values *shared, const float *all,
                                   const tinytl_part_values *part, const float *gradient,
                                   float *all_gradient) {
  const tinytl_batch_params *to = &shared->params, *from = &part->params;
  for (int i = 0; i < part->arch.n_layers; i++) {
    const tinytl_layer *layer = &part->arch.layers[i];
    const int large = part->layers[i];
    const size_t out_c = (size_t)layer->out_c;
    add_weight(shared, all, large, layer, gradient + from->weight[i], all_gradient);
    add(gradient + from->scale[i], out_c, all_gradient + to->scale[large]);
    add(gradient + from->shift[i], out_c, all_gradient + to->shift[large]);
  }
  for (int m = 0; m < part->arch.n_lite; m++) add_lite(shared, part, m, gradient, all_gradient);
  add(gradient + from->classifier, n_classifier(&part->arch), all_gradient + to->classifier);
  add(gradient + from->bias, (size_t)part->arch.n_classes, all_gradient + to->bias);
}

/* ---- Importance --------------------------------------------------------------------------- */

typedef struct ranked {
  double importance;
  int channel;
} ranked;

static int by_importance(const void *left, const void *right) {
  const ranked *x = left, *y = right;
  if (x->importance != y->importance) return x->importance < y->importance ? 1 : -1;
  return x->channel - y->channel;
}

/* In every group of n elements of `size` floats, element i becomes what element order[i] was. */
static void permute(const ranked *order, int n, size_t size, int n_groups, float *values,
                    float *room) {
  for (int g = 0; g < n_groups; g++) {
    float *group = values + (size_t)g * (size_t)n * size;
    memcpy(room, group, (size_t)n * size * sizeof *room);
    for (int i = 0; i < n; i++)
      memcpy(group + (size_t)i * size, room + (size_t)order[i].channel * size, size * sizeof *room);
  }
}

static void sort_block(const tinytl_shared_values *shared, const tinytl_block *block, float *values,
                       float *room) {
  const tinytl_batch_params *params = &shared->params;
  const tinytl_layer *depthwise = &shared->arch.layers[block->first + 1];
  const int wide = depthwise->out_c, out_c = block->out_c;
  const float *project = values + params->weight[block->last];
  ranked order[TINYTL_SUPERNET_MAX_WIDE]; /* 36 KiB: core/limit.h */
  for (int c = 0; c < wide; c++) {
    order[c] = (ranked){.channel = c};
    for (int o = 0; o < out_c; o++)
      order[c].importance += (double)fabsf(project[(size_t)o * (size_t)wide + (size_t)c]);
  }
  qsort(order, (size_t)wide, sizeof *order, by_importance);
  permute(order, wide, (size_t)block->in_c, 1, values + params->weight[block->first], room);
  permute(order, wide, 1, depthwise->kernel * depthwise->kernel,
          values + params->weight[block->first + 1], room);
  permute(order, wide, 1, out_c, values + params->weight[block->last], room);
  for (int i = block->first; i < block->last; i++) {
    permute(order, wide, 1, 1, values + params->scale[i], room);
    permute(order, wide, 1, 1, values + params->shift[i], room);
  }
}

void tinytl_shared_values_sort(const tinytl_shared_values *shared, float *values, float *room) {
  for (int b = 0; b < shared->arch.n_blocks; b++)
    if (shared->arch.blocks[b].last - shared->arch.blocks[b].first == 2)
      sort_block(shared, &shared->arch.blocks[b], values, room);
}
