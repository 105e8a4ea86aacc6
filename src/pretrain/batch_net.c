#include "pretrain/batch_net.h"

#include <limits.h>
#include <string.h>

#include "core/arena.h"

/* ---- Layout of the block ------------------------------------------------------------------ */

/* Counts bytes; SIZE_MAX / 4 and above: too many. */
static size_t reserve(size_t *used, size_t n, size_t n_images) {
  const size_t first = *used;
  size_t nbytes;
  if (!tinytl_size_mul(n, n_images * sizeof(float), &nbytes) || nbytes > SIZE_MAX / 4 ||
      *used > SIZE_MAX / 4)
    *used = SIZE_MAX / 2;
  else
    *used += tinytl_round_up(nbytes, TINYTL_ARENA_ALIGN);
  return first;
}

/* SIZE_MAX: more than can be counted. */
static size_t map_floats(const tinytl_conv *conv) {
  size_t n;
  return tinytl_size_mul((size_t)tinytl_conv_n_pixels(conv), (size_t)conv->out_c, &n) ? n
                                                                                      : SIZE_MAX;
}

static size_t scratch_nbytes(const tinytl_batch_net *net) {
  const tinytl_kernels *kernels = tinytl_kernels_get();
  const int n_images = net->max_images;
  size_t (*const conv_scratch)(const tinytl_conv *, int, const tinytl_kernels *) =
      net->has_backward ? tinytl_batch_conv_scratch : tinytl_batch_conv_forward_scratch;
  size_t nbytes = conv_scratch(&net->classifier, n_images, kernels);
  for (int i = 0; i < net->arch->n_layers; i++) {
    const tinytl_conv *conv = &net->conv[i];
    nbytes = tinytl_size_max(nbytes, conv_scratch(conv, n_images, kernels));
    nbytes = tinytl_size_max(nbytes, tinytl_batch_norm_scratch(conv->out_c));
  }
  for (int m = 0; m < net->arch->n_lite; m++)
    nbytes = tinytl_size_max(nbytes, tinytl_batch_lite_scratch(&net->lite[m], n_images, kernels));
  return nbytes;
}

/* Lays out what layers first to last - 1 of a block have inside, from `used` on; returns the end.
 */
static size_t lay_out_inside(tinytl_batch_net *net, int first, int last, size_t used) {
  const size_t n_images = (size_t)net->max_images;
  size_t largest = 0;
  for (int i = last - 1; i >= first; i--) {
    const size_t n = map_floats(&net->conv[i]);
    net->maps[i].dy = reserve(&used, n, n_images);
    largest = tinytl_size_max(largest, n);
  }
  const size_t y = reserve(&used, largest, n_images);
  for (int i = first; i < last; i++) net->maps[i].y = y;
  return used;
}

static size_t lay_out_kept(tinytl_batch_net *net, size_t used) {
  const size_t n_images = (size_t)net->max_images;
  size_t end = 0;
  int first_inner = 0;
  for (int i = 0; i < net->arch->n_layers; i++) {
    const size_t n = map_floats(&net->conv[i]);
    net->maps[i].z = reserve(&used, n, n_images);
    if (net->is_inner[i]) continue;
    net->maps[i].y = reserve(&used, n, n_images);
    net->maps[i].dy = reserve(&used, n, n_images);
    const int m = net->lite_after[i];
    if (m >= 0)
      net->lite_kept[m] = reserve(&used, tinytl_batch_lite_kept_floats(&net->lite[m]), n_images);
    end = tinytl_size_max(end, lay_out_inside(net, first_inner, i, used));
    first_inner = i + 1;
  }
  return end;
}

/* One z, one y inside blocks, one lite module's maps; of those between blocks the newest two. */
static size_t lay_out_in_turn(tinytl_batch_net *net, size_t used) {
  const size_t n_images = (size_t)net->max_images;
  size_t largest = 0, largest_outside = 0, largest_lite = 0;
  for (int m = 0; m < net->arch->n_lite; m++)
    largest_lite = tinytl_size_max(largest_lite, tinytl_batch_lite_kept_floats(&net->lite[m]));
  for (int i = 0; i < net->arch->n_layers; i++) {
    const size_t n = map_floats(&net->conv[i]);
    largest = tinytl_size_max(largest, n);
    if (!net->is_inner[i]) largest_outside = tinytl_size_max(largest_outside, n);
  }
  const size_t z = reserve(&used, largest, n_images), inside = reserve(&used, largest, n_images);
  const size_t outside[2] = {reserve(&used, largest_outside, n_images),
                             reserve(&used, largest_outside, n_images)};
  const size_t kept = reserve(&used, largest_lite, n_images);
  for (int m = 0; m < net->arch->n_lite; m++) net->lite_kept[m] = kept;
  for (int i = 0, n = 0; i < net->arch->n_layers; i++) {
    net->maps[i].z = z;
    net->maps[i].y = net->is_inner[i] ? inside : outside[n++ % 2];
  }
  return used;
}

/* Does a shortcut come from farther away than from the output before its block? */
static bool reaches_back(const tinytl_batch_net *net) {
  for (int i = 0, before = -1, newest = -1; i < net->arch->n_layers; i++) {
    const int add = net->arch->layers[i].add;
    if (!net->is_inner[i]) before = newest, newest = i;
    if (add >= 0 && add != (net->is_inner[i] ? newest : before)) return true;
  }
  return false;
}

static void lay_out(tinytl_batch_net *net) {
  const tinytl_arch *arch = net->arch;
  const size_t n_images = (size_t)net->max_images, n_channels = net->params.n_channels;
  size_t used = 0;
  net->mean = reserve(&used, n_channels, 1);
  net->var = reserve(&used, n_channels, 1);
  net->slope = reserve(&used, n_channels, 1);
  net->offset = reserve(&used, n_channels, 1);
  net->features = reserve(&used, (size_t)arch->n_features, n_images);
  net->dfeatures = reserve(&used, (size_t)arch->n_features, n_images);
  net->logits = reserve(&used, (size_t)arch->n_classes, n_images);
  net->scratch = used;
  const size_t scratch = scratch_nbytes(net);
  reserve(&used, scratch / sizeof(float) + 1, 1);
  size_t room = 0;
  for (int m = 0; m < arch->n_lite; m++)
    room = tinytl_size_max(room, tinytl_batch_lite_room_floats(&net->lite[m]));
  net->lite_room = reserve(&used, room, n_images);
  net->nbytes =
      net->has_backward || reaches_back(net) ? lay_out_kept(net, used) : lay_out_in_turn(net, used);
}

static void set_shapes(tinytl_batch_net *net) {
  const tinytl_arch *arch = net->arch;
  int side = net->image_size;
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    net->conv[i] = tinytl_conv_make(side, side, layer->in_c, layer->out_c, layer->kernel,
                                    layer->stride, layer->groups, layer->pad);
    side = net->conv[i].out_h;
    net->lite_after[i] = -1;
  }
  for (int m = 0; m < arch->n_lite; m++) {
    const tinytl_block *block = &arch->blocks[arch->lite[m].block];
    net->lite[m] =
        tinytl_batch_lite_make(&arch->lite[m], &net->conv[block->first], &net->conv[block->last]);
    net->lite_after[block->last] = m;
  }
  net->classifier =
      tinytl_conv_make(1, 1, arch->n_features, arch->n_classes, 1, 1, 1, TINYTL_PAD_SYMMETRIC);
}

tinytl_status tinytl_batch_net_init(tinytl_batch_net *net, const tinytl_arch *arch, int image_size,
                                    int max_images, bool has_backward, tinytl_error *error) {
  net->arch = arch;
  net->image_size = image_size;
  net->max_images = max_images;
  net->has_backward = has_backward;
  memset(net->is_inner, 0, sizeof net->is_inner);
  for (int b = 0; b < arch->n_blocks; b++)
    for (int i = arch->blocks[b].first; i < arch->blocks[b].last; i++) net->is_inner[i] = true;
  tinytl_batch_params_layout(&net->params, arch);
  set_shapes(net);
  /* Operators count pixels of a whole batch as int. */
  if ((int64_t)max_images * image_size * image_size <= INT_MAX) {
    lay_out(net);
    if (net->nbytes < SIZE_MAX / 4) return TINYTL_OK;
  }
  return tinytl_fail(
      error, TINYTL_ERROR_MEMORY_LIMIT,
      "batches of %d pictures at image size %d: the plan overflows the address space", max_images,
      image_size);
}

/* ---- Forward ------------------------------------------------------------------------------ */

static float *at(const tinytl_batch_run *b, size_t offset) {
  return (float *)(b->block + offset);
}

static tinytl_run run_of(const tinytl_batch_run *b) {
  tinytl_run run = b->run;
  run.scratch = b->block + b->net->scratch;
  return run;
}

tinytl_batch_statistics tinytl_batch_own_statistics(const tinytl_batch_run *b) {
  return (tinytl_batch_statistics){at(b, b->net->mean), at(b, b->net->var)};
}

void tinytl_batch_blend_statistics(const tinytl_batch_run *b, int n_images, float share,
                                   const tinytl_batch_statistics *running) {
  const tinytl_batch_net *net = b->net;
  const tinytl_batch_statistics own = tinytl_batch_own_statistics(b);
  for (int i = 0; i < net->arch->n_layers; i++) {
    const tinytl_conv *conv = &net->conv[i];
    const float n = (float)n_images * (float)conv->out_h * (float)conv->out_w;
    const float unbiased = n > 1 ? n / (n - 1) : 1;
    const size_t first = net->params.channel[i];
    for (size_t c = first; c < first + (size_t)conv->out_c; c++) {
      running->mean[c] += share * (own.mean[c] - running->mean[c]);
      running->var[c] += share * (own.var[c] * unbiased - running->var[c]);
    }
  }
}

float *tinytl_batch_features(const tinytl_batch_run *b) {
  return at(b, b->net->features);
}

static tinytl_batch_norm norm_of(const tinytl_batch_run *b, int i) {
  const tinytl_batch_net *net = b->net;
  const size_t channel = net->params.channel[i];
  return (tinytl_batch_norm){.mean = at(b, net->mean) + channel,
                             .var = at(b, net->var) + channel,
                             .slope = at(b, net->slope) + channel,
                             .offset = at(b, net->offset) + channel,
                             .act = net->arch->layers[i].act};
}

/* y of layer i from its z. */
static void apply_norm(const tinytl_batch_run *b, int i) {
  const tinytl_batch_net *net = b->net;
  const tinytl_run run = run_of(b);
  const tinytl_batch_norm norm = norm_of(b, i);
  const int add = net->arch->layers[i].add;
  tinytl_batch_norm_forward(&run, b->n_images * tinytl_conv_n_pixels(&net->conv[i]),
                            net->conv[i].out_c, &norm, at(b, net->maps[i].z),
                            add < 0 ? NULL : at(b, net->maps[add].y), at(b, net->maps[i].y));
}

static tinytl_batch_lite_maps lite_maps(const tinytl_batch_run *b, int m) {
  return (tinytl_batch_lite_maps){at(b, b->net->lite_kept[m]), at(b, b->net->lite_room)};
}

/* The layer whose output is the input of lite module m. */
static int lite_source(const tinytl_batch_net *net, int m) {
  return net->arch->blocks[net->arch->lite[m].block].first - 1;
}

static void add_lite(const tinytl_batch_run *b, int i) {
  const tinytl_batch_net *net = b->net;
  const tinytl_run run = run_of(b);
  const int m = net->lite_after[i];
  if (m < 0) return;
  const tinytl_lite_values values = tinytl_batch_params_lite(&net->params, m, b->values);
  const tinytl_batch_lite_maps maps = lite_maps(b, m);
  tinytl_batch_lite_forward(&run, &net->lite[m], b->n_images, &values, &maps,
                            at(b, net->maps[lite_source(net, m)].y), at(b, net->maps[i].y));
}

static void forward_layer(const tinytl_batch_run *b, int i, const tinytl_batch_statistics *given) {
  const tinytl_batch_net *net = b->net;
  const tinytl_batch_params *params = &net->params;
  const tinytl_conv *conv = &net->conv[i];
  const tinytl_run run = run_of(b);
  const float *w = b->values + params->weight[i];
  float *z = at(b, net->maps[i].z);
  if (i == 0)
    tinytl_batch_conv_forward_rgb(&run, conv, b->n_images, w, b->rgb, b->input_scale,
                                  b->input_shift, z);
  else
    tinytl_batch_conv_forward(&run, conv, b->n_images, w, at(b, net->maps[i - 1].y), z);
  const size_t channel = params->channel[i];
  float *mean = at(b, net->mean) + channel, *var = at(b, net->var) + channel;
  if (given) {
    memcpy(mean, given->mean + channel, (size_t)conv->out_c * sizeof *mean);
    memcpy(var, given->var + channel, (size_t)conv->out_c * sizeof *var);
  } else {
    tinytl_batch_norm_statistics(&run, b->n_images * tinytl_conv_n_pixels(conv), conv->out_c, z,
                                 mean, var);
  }
  tinytl_batch_norm_fold(conv->out_c, mean, var, b->values + params->scale[i],
                         b->values + params->shift[i], at(b, net->slope) + channel,
                         at(b, net->offset) + channel);
  apply_norm(b, i);
  add_lite(b, i);
}

static void pool_task(void *context, int image) {
  const tinytl_batch_run *b = context;
  const tinytl_batch_net *net = b->net;
  const int last = net->arch->n_layers - 1;
  const tinytl_conv *conv = &net->conv[last];
  const tinytl_run run = {.kernels = b->run.kernels};
  tinytl_global_pool_forward(&run, tinytl_conv_n_pixels(conv), conv->out_c,
                             at(b, net->maps[last].y) + (size_t)image * map_floats(conv),
                             at(b, net->features) + (size_t)image * (size_t)conv->out_c);
}

float *tinytl_batch_forward(const tinytl_batch_run *b, const tinytl_batch_statistics *given) {
  const tinytl_batch_net *net = b->net;
  const tinytl_run run = run_of(b);
  const int n_classes = net->arch->n_classes;
  const float *bias = b->values + net->params.bias;
  float *logits = at(b, net->logits);
  for (int i = 0; i < net->arch->n_layers; i++) forward_layer(b, i, given);
  tinytl_parallel_for(run.pool, b->n_images, pool_task, (void *)b);
  tinytl_batch_conv_forward(&run, &net->classifier, b->n_images, b->values + net->params.classifier,
                            at(b, net->features), logits);
  for (int image = 0; image < b->n_images; image++)
    run.kernels->add(logits + (size_t)image * (size_t)n_classes, bias, (size_t)n_classes);
  return logits;
}

/* ---- Backward ----------------------------------------------------------------------------- */

static void pool_backward_task(void *context, int image) {
  const tinytl_batch_run *b = context;
  const tinytl_batch_net *net = b->net;
  const int last = net->arch->n_layers - 1;
  const tinytl_conv *conv = &net->conv[last];
  const tinytl_run run = {.kernels = b->run.kernels};
  tinytl_global_pool_backward(&run, tinytl_conv_n_pixels(conv), conv->out_c,
                              at(b, net->dfeatures) + (size_t)image * (size_t)conv->out_c,
                              at(b, net->maps[last].dy) + (size_t)image * map_floats(conv));
}

static void backward_head(const tinytl_batch_run *b, float *gradient) {
  const tinytl_batch_net *net = b->net;
  const tinytl_batch_params *params = &net->params;
  const tinytl_run run = run_of(b);
  const size_t n_classes = (size_t)net->arch->n_classes;
  const float *dlogits = at(b, net->logits);
  for (int image = 0; image < b->n_images; image++)
    run.kernels->add(gradient + params->bias, dlogits + (size_t)image * n_classes, n_classes);
  tinytl_batch_conv_backward_weight(&run, &net->classifier, b->n_images, at(b, net->features),
                                    dlogits, gradient + params->classifier);
  tinytl_batch_conv_backward_input(&run, &net->classifier, b->n_images,
                                   b->values + params->classifier, dlogits, at(b, net->dfeatures),
                                   false);
  tinytl_parallel_for(run.pool, b->n_images, pool_backward_task, (void *)b);
}

/* Hands dy of layer i to the source of its shortcut. */
static void backward_shortcut(const tinytl_batch_run *b, int i, bool *opened) {
  const tinytl_batch_net *net = b->net;
  const int add = net->arch->layers[i].add;
  const size_t n = (size_t)b->n_images * map_floats(&net->conv[i]);
  if (add < 0) return;
  float *to = at(b, net->maps[add].dy);
  if (opened[add])
    b->run.kernels->add(to, at(b, net->maps[i].dy), n);
  else
    memcpy(to, at(b, net->maps[i].dy), n * sizeof *to);
  opened[add] = true;
}

/* Hands dy of layer i, where it ends a block, to the lite module. */
static void backward_lite(const tinytl_batch_run *b, int i, bool *opened, float *gradient) {
  const tinytl_batch_net *net = b->net;
  const tinytl_run run = run_of(b);
  const int m = net->lite_after[i];
  if (m < 0) return;
  const int source = lite_source(net, m);
  const tinytl_lite_values values = tinytl_batch_params_lite(&net->params, m, b->values);
  const tinytl_batch_lite_maps maps = lite_maps(b, m);
  float *dx = at(b, net->maps[source].dy), *gradients[TINYTL_LITE_TENSORS];
  if (!opened[source])
    memset(dx, 0, (size_t)b->n_images * map_floats(&net->conv[source]) * sizeof *dx);
  opened[source] = true;
  for (int t = 0; t < TINYTL_LITE_TENSORS; t++) gradients[t] = gradient + net->params.lite[m][t];
  tinytl_batch_lite_backward(&run, &net->lite[m], b->n_images, &values, &maps,
                             at(b, net->maps[i].dy), dx, gradients);
}

static void backward_layer(const tinytl_batch_run *b, int i, bool *opened, float *gradient) {
  const tinytl_batch_net *net = b->net;
  const tinytl_batch_params *params = &net->params;
  const tinytl_conv *conv = &net->conv[i];
  const tinytl_run run = run_of(b);
  const tinytl_batch_norm norm = norm_of(b, i);
  float *dy = at(b, net->maps[i].dy), *dw = gradient + params->weight[i];
  backward_shortcut(b, i, opened);
  backward_lite(b, i, opened, gradient);
  tinytl_batch_norm_backward(&run, b->n_images * tinytl_conv_n_pixels(conv), conv->out_c, &norm,
                             at(b, net->maps[i].z), dy, gradient + params->scale[i],
                             gradient + params->shift[i]);
  if (i == 0) {
    tinytl_batch_conv_backward_weight_rgb(&run, conv, b->n_images, b->rgb, b->input_scale,
                                          b->input_shift, dy, dw);
    return;
  }
  if (net->is_inner[i - 1]) apply_norm(b, i - 1);
  tinytl_batch_conv_backward_weight(&run, conv, b->n_images, at(b, net->maps[i - 1].y), dy, dw);
  tinytl_batch_conv_backward_input(&run, conv, b->n_images, b->values + params->weight[i], dy,
                                   at(b, net->maps[i - 1].dy), opened[i - 1]);
  opened[i - 1] = true;
}

void tinytl_batch_backward(const tinytl_batch_run *b, float *gradient) {
  bool opened[TINYTL_MAX_LAYERS] = {false}; /* something was written to the layer's dy */
  backward_head(b, gradient);
  for (int i = b->net->arch->n_layers - 1; i >= 0; i--) backward_layer(b, i, opened, gradient);
}

/* ---- Folding ------------------------------------------------------------------------------ */

void tinytl_batch_fold(const tinytl_batch_net *net, const tinytl_batch_statistics *statistics,
                       float *values, tinytl_backbone *folded) {
  const tinytl_batch_params *params = &net->params;
  for (int i = 0; i < net->arch->n_layers; i++) {
    const tinytl_layer *layer = &net->arch->layers[i];
    const size_t out_c = (size_t)layer->out_c, n = tinytl_layer_n_weights(layer);
    const size_t channel = params->channel[i];
    float *w = values + params->weight[i];
    float *scale = values + params->scale[i], *shift = values + params->shift[i];
    tinytl_batch_norm_fold(layer->out_c, statistics->mean + channel, statistics->var + channel,
                           scale, shift, scale, shift);
    for (size_t k = 0; k < n; k++) w[k] *= scale[layer->groups > 1 ? k % out_c : k / (n / out_c)];
    folded->weight[i].f32 = w;
    folded->bias[i] = shift;
  }
  for (int m = 0; m < net->arch->n_lite; m++)
    folded->lite[m] = tinytl_batch_params_lite(params, m, values);
  folded->classifier.f32 = values + params->classifier;
  folded->classifier_bias = values + params->bias;
}
