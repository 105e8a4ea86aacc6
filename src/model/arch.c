#include "model/arch.h"

static bool is_depthwise(const tinytl_layer *layer) {
  return layer->groups > 1;
}

static bool is_pointwise(const tinytl_layer *layer) {
  return layer->groups == 1 && layer->kernel == 1 && layer->stride == 1;
}

tinytl_span tinytl_conv_span(int in, int kernel, int stride, tinytl_pad pad) {
  if (pad == TINYTL_PAD_SYMMETRIC) {
    int half = (kernel - 1) / 2;
    return (tinytl_span){.out = (in + 2 * half - kernel) / stride + 1, .pad = half};
  }
  int out = tinytl_ceil_div(in, stride);
  int total = (out - 1) * stride + kernel - in;
  return (tinytl_span){.out = out, .pad = total > 0 ? total / 2 : 0};
}

/* ---- Checks ------------------------------------------------------------------------------- */

static tinytl_status check_range(const char *name, int layer, const char *field, int value, int min,
                                 int max, tinytl_error *error) {
  if (value >= min && value <= max) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: layer %d: %s must be %d to %d, found %d", name,
                     layer, field, min, max, value);
}

/* The shortcut joins two outputs of the same shape: as many channels, and no stride between. */
static tinytl_status check_add(const tinytl_arch *arch, int i, const char *name,
                               tinytl_error *error) {
  const tinytl_layer *layer = &arch->layers[i];
  if (layer->add == -1) return TINYTL_OK;
  TINYTL_TRY(check_range(name, i, "add", layer->add, -1, i - 1, error));
  if (arch->layers[layer->add].out_c != layer->out_c)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: layer %d: adds layer %d of %d channels to %d channels", name, i,
                       layer->add, arch->layers[layer->add].out_c, layer->out_c);
  for (int between = layer->add + 1; between <= i; between++)
    if (arch->layers[between].stride != 1)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: layer %d: adds layer %d across the stride of layer %d", name, i,
                         layer->add, between);
  return TINYTL_OK;
}

static tinytl_status check_layer(const tinytl_arch *arch, int i, const char *name,
                                 tinytl_error *error) {
  const tinytl_layer *layer = &arch->layers[i];
  const int expected_in = i == 0 ? 3 : arch->layers[i - 1].out_c;
  TINYTL_TRY(check_range(name, i, "in", layer->in_c, expected_in, expected_in, error));
  TINYTL_TRY(check_range(name, i, "out", layer->out_c, 1, TINYTL_MAX_CHANNELS, error));
  TINYTL_TRY(check_range(name, i, "kernel", layer->kernel, 1, TINYTL_MAX_KERNEL, error));
  TINYTL_TRY(check_range(name, i, "stride", layer->stride, 1, TINYTL_MAX_KERNEL, error));
  if (layer->groups != 1 && (layer->groups != layer->in_c || layer->groups != layer->out_c))
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: layer %d: groups must be 1 or equal to in and out (%d, %d), found %d",
                       name, i, layer->in_c, layer->out_c, layer->groups);
  if (i == 0 && layer->groups != 1) /* the kernels that read 8-bit pictures are dense */
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: layer 0: groups must be 1, found %d: it reads the picture", name,
                       layer->groups);
  const uint64_t kernel = (uint64_t)layer->kernel * (uint64_t)layer->kernel;
  const uint64_t n_weights =
      kernel * (uint64_t)(layer->in_c / layer->groups) * (uint64_t)layer->out_c;
  if (n_weights > SIZE_MAX / 64) /* sums of a few such, in bytes, can be counted */
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: layer %d: %llu weights are too many", name,
                       i, (unsigned long long)n_weights);
  /* An even kernel with symmetric padding would lose a pixel a layer. */
  if (layer->pad == TINYTL_PAD_SYMMETRIC && layer->kernel % 2 == 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: layer %d: symmetric padding needs an odd kernel, found %d", name, i,
                       layer->kernel);
  return check_add(arch, i, name, error);
}

/* ---- Blocks ------------------------------------------------------------------------------- */

static bool is_added_later(const tinytl_arch *arch, int layer) {
  for (int i = layer + 1; i < arch->n_layers; i++)
    if (arch->layers[i].add == layer) return true;
  return false;
}

/* Is [first, last] an inverted residual? What lies inside is used by nothing outside, so that it
 * need never exist whole. */
static bool is_block(const tinytl_arch *arch, int first, int last) {
  const tinytl_layer *layers = arch->layers;
  const int depthwise = last - 1;
  if (first < 1 || last >= arch->n_layers) return false;
  if (!is_depthwise(&layers[depthwise])) return false;
  if (!is_pointwise(&layers[last]) || layers[last].act != TINYTL_ACT_NONE) return false;
  if (first < depthwise && (!is_pointwise(&layers[first]) || layers[first].act == TINYTL_ACT_NONE))
    return false;
  for (int i = first; i < last; i++)
    if (layers[i].add != -1 || is_added_later(arch, i)) return false;
  return layers[last].add == -1 || layers[last].add == first - 1;
}

static void find_blocks(tinytl_arch *arch) {
  arch->n_blocks = 0;
  int i = 1;
  while (i < arch->n_layers) {
    int last = is_block(arch, i, i + 2) ? i + 2 : is_block(arch, i, i + 1) ? i + 1 : -1;
    if (last < 0) {
      i++;
      continue;
    }
    arch->blocks[arch->n_blocks++] = (tinytl_block){.first = i,
                                                    .last = last,
                                                    .in_c = arch->layers[i].in_c,
                                                    .out_c = arch->layers[last].out_c,
                                                    .stride = arch->layers[last - 1].stride};
    i = last + 1;
  }
}

tinytl_status tinytl_arch_finish(tinytl_arch *arch, const char *name, tinytl_error *error) {
  if (arch->n_layers < 1 || arch->n_layers > TINYTL_MAX_LAYERS)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected 1 to %d layers, found %d", name,
                       TINYTL_MAX_LAYERS, arch->n_layers);
  if (arch->n_classes < 0 || arch->n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected 0 to %d classes, found %d", name,
                       TINYTL_MAX_CLASSES, arch->n_classes);
  for (int i = 0; i < arch->n_layers; i++) TINYTL_TRY(check_layer(arch, i, name, error));
  find_blocks(arch);
  arch->n_features = arch->layers[arch->n_layers - 1].out_c;
  return TINYTL_OK;
}

/* ---- Lite residual modules ---------------------------------------------------------------- */

tinytl_status tinytl_arch_check_lite(const tinytl_arch *arch, const char *name,
                                     tinytl_error *error) {
  if (arch->n_lite < 0 || arch->n_lite > arch->n_blocks)
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: %d lite modules for %d blocks", name,
                       arch->n_lite, arch->n_blocks);
  for (int i = 0; i < arch->n_lite; i++) {
    const tinytl_lite *lite = &arch->lite[i];
    const int least = i == 0 ? 0 : arch->lite[i - 1].block + 1;
    if (lite->block < least || lite->block >= arch->n_blocks)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: block must be %d to %d, found %d", name, i, least,
                         arch->n_blocks - 1, lite->block);
    const tinytl_block *block = &arch->blocks[lite->block];
    if (lite->in_c != block->in_c || lite->out_c != block->out_c || lite->stride != block->stride)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: expected in %d, out %d, stride %d as block %d, "
                         "found %d, %d, %d",
                         name, i, block->in_c, block->out_c, block->stride, lite->block, lite->in_c,
                         lite->out_c, lite->stride);
    if (lite->kernel < 1 || lite->kernel > TINYTL_MAX_KERNEL || lite->kernel % 2 == 0)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: kernel must be odd, 1 to %d, found %d", name, i,
                         TINYTL_MAX_KERNEL, lite->kernel);
    if (lite->mid_c < 1 || lite->mid_c > TINYTL_MAX_CHANNELS)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: mid must be 1 to %d, found %d", name, i,
                         TINYTL_MAX_CHANNELS, lite->mid_c);
    if (lite->groups < 1 || lite->in_c % lite->groups || lite->mid_c % lite->groups)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: groups must divide in %d and mid %d, found %d", name,
                         i, lite->in_c, lite->mid_c, lite->groups);
    /* Its weights lie as [mid][kernel][kernel][in / groups], a depthwise convolution's do not. */
    if (lite->groups > 1 && lite->groups == lite->in_c && lite->groups == lite->mid_c)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: lite module %d: groups must be fewer than its %d channels", name, i,
                         lite->in_c);
  }
  return TINYTL_OK;
}

void tinytl_arch_add_lite(const tinytl_arch *arch, tinytl_lite_rule rule, tinytl_lite *lite,
                          int *n_lite) {
  int resolution = 128, n = 0;
  for (int b = 0; b < arch->n_blocks; b++) {
    const tinytl_block *block = &arch->blocks[b];
    int kernel = rule == TINYTL_LITE_PAPER ? 5 : 3;
    while (kernel > 1 && resolution / 2 < kernel) kernel -= 2;
    int groups = rule == TINYTL_LITE_PAPER ? 2 : 8;
    while (groups > 1 && (block->in_c % groups || block->in_c == groups)) groups /= 2;
    int mid = (int)tinytl_round_up((size_t)block->in_c, TINYTL_GROUP_NORM_CHANNELS);
    if (b > 0)
      lite[n++] = (tinytl_lite){.block = b,
                                .in_c = block->in_c,
                                .mid_c = mid,
                                .out_c = block->out_c,
                                .kernel = kernel,
                                .groups = groups,
                                .stride = block->stride};
    if (block->stride == 2) resolution /= 2;
  }
  *n_lite = n;
}

/* ---- Multiply-accumulates ----------------------------------------------------------------- */

static uint64_t square(int side) {
  return (uint64_t)side * (uint64_t)side;
}

static uint64_t lite_macs(const tinytl_lite *lite, int side) {
  const int pooled = side < 2 ? 1 : side / 2;
  const int out = tinytl_conv_span(pooled, lite->kernel, lite->stride, TINYTL_PAD_SYMMETRIC).out;
  const uint64_t conv =
      square(lite->kernel) * (uint64_t)(lite->in_c / lite->groups) * (uint64_t)lite->mid_c;
  return square(out) * (conv + (uint64_t)lite->mid_c * (uint64_t)lite->out_c);
}

uint64_t tinytl_arch_macs(const tinytl_arch *arch, int image_size) {
  uint64_t macs = (uint64_t)arch->n_features * (uint64_t)arch->n_classes;
  int side = image_size, lite = 0;
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    if (lite < arch->n_lite && arch->blocks[arch->lite[lite].block].first == i)
      macs += lite_macs(&arch->lite[lite++], side);
    side = tinytl_conv_span(side, layer->kernel, layer->stride, layer->pad).out;
    macs += square(side) * square(layer->kernel) * (uint64_t)(layer->in_c / layer->groups) *
            (uint64_t)layer->out_c;
  }
  return macs;
}
