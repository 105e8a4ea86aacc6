/* The paper's network is walked operator by operator in the order of forward: convolution, norm,
 * activation. At each one
 *
 *   peak = max(peak, tmp + saved + residual), then saved += what backward needs of it
 *
 *                 tmp                      saved
 *   convolution   4 |x| + 4 |y| / groups   4 |x| if its weight is trained
 *   linear        4 |x| + 4 |y|            4 |x| if its weight is trained
 *   norm          4 |x|                    4 |x| if its scale is trained
 *   ReLU, ReLU6   4 |x|                    |x| / 8 unless the classifier alone is trained
 *
 * with residual = 4 |input of the block| inside a block with a shortcut. A depthwise convolution
 * has its output divided by the groups as it can work channel by channel. Pooling, dropout,
 * upsampling and additions count nothing. A block's lite module follows its main branch, inside the
 * shortcut. Convolutions have no bias but a norm after them, which this library has folded. */
#include "train/paper.h"

#include <stdlib.h>

#include "train/params.h"

/* What is trained of one convolution and its norm. */
typedef struct trained {
  bool weight, scale, shift;
} trained;

typedef struct walk {
  bool keeps_masks;
  uint64_t peak, saved, residual;
  uint64_t n_trained, n_frozen;
} walk;

static uint64_t map_size(int height, int width, int channels) {
  return (uint64_t)height * (uint64_t)width * (uint64_t)channels;
}

static void count_operator(walk *walk, uint64_t tmp, uint64_t saved) {
  const uint64_t now = tmp + walk->saved + walk->residual;
  if (now > walk->peak) walk->peak = now;
  walk->saved += saved;
}

static void count_parameters(walk *walk, uint64_t n, bool is_trained) {
  *(is_trained ? &walk->n_trained : &walk->n_frozen) += n;
}

/* Convolution, norm and, where `activation`, ReLU or ReLU6. */
static void count_conv(walk *walk, const tinytl_conv *conv, trained trained, bool activation) {
  const uint64_t x = map_size(conv->in_h, conv->in_w, conv->in_c);
  const uint64_t y = map_size(conv->out_h, conv->out_w, conv->out_c);
  const uint64_t n_weights =
      map_size(conv->kernel, conv->kernel, conv->in_c / conv->groups) * (uint64_t)conv->out_c;
  count_operator(walk, 4 * x + 4 * y / (uint64_t)conv->groups, trained.weight ? 4 * x : 0);
  count_operator(walk, 4 * y, trained.scale ? 4 * y : 0);
  if (activation) count_operator(walk, 4 * y, walk->keeps_masks ? (y + 7) / 8 : 0);
  count_parameters(walk, n_weights, trained.weight);
  count_parameters(walk, (uint64_t)conv->out_c, trained.scale);
  count_parameters(walk, (uint64_t)conv->out_c, trained.shift);
}

static void count_lite(walk *walk, const tinytl_lite_conv *lite, tinytl_method method) {
  const bool weight = tinytl_method_trains_lite(method) || method == TINYTL_METHOD_FULL;
  const bool norm = weight || method == TINYTL_METHOD_NORM;
  /* The last shift is added where the main branch's last shift is: one of the two is enough. */
  const bool last_shift = norm && method != TINYTL_METHOD_LITE_BIAS;
  count_conv(walk, &lite->conv, (trained){weight, norm, norm}, true);
  count_conv(walk, &lite->pointwise, (trained){weight, norm, last_shift}, false);
}

static void count_classifier(walk *walk, const tinytl_network *network) {
  const uint64_t x = (uint64_t)network->n_features, y = (uint64_t)network->n_classes;
  count_operator(walk, 4 * (x + y), 4 * x);
  count_parameters(walk, (x + 1) * y, true);
}

/* Bytes of layer i's output where a later layer adds it, once for each such layer. */
static uint64_t opened_residual(const tinytl_network *network, int i) {
  const tinytl_arch *arch = &network->backbone->arch;
  const tinytl_conv *conv = &network->conv[i];
  uint64_t nbytes = 0;
  for (int later = i + 1; later < arch->n_layers; later++)
    if (arch->layers[later].add == i) nbytes += 4 * map_size(conv->out_h, conv->out_w, conv->out_c);
  return nbytes;
}

tinytl_paper_memory tinytl_paper_count(const tinytl_network *network, tinytl_method method,
                                       int batch) {
  const tinytl_arch *arch = &network->backbone->arch;
  const bool weight = method == TINYTL_METHOD_FULL;
  const bool scale = weight || method == TINYTL_METHOD_NORM;
  const bool shift = scale || method == TINYTL_METHOD_BIAS || method == TINYTL_METHOD_LITE_BIAS;
  walk walk = {.keeps_masks = method != TINYTL_METHOD_LAST};
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_conv *conv = &network->conv[i];
    const tinytl_layer *layer = &arch->layers[i];
    const int lite = network->lite_after[i];
    count_conv(&walk, conv, (trained){weight, scale, shift}, layer->act != TINYTL_ACT_NONE);
    if (lite >= 0) count_lite(&walk, &network->lite_conv[lite], method);
    if (layer->add >= 0) walk.residual -= 4 * map_size(conv->out_h, conv->out_w, conv->out_c);
    walk.residual += opened_residual(network, i);
  }
  count_classifier(&walk, network);
  return (tinytl_paper_memory){.total =
                                   (uint64_t)batch * walk.peak + 4 * walk.n_trained + walk.n_frozen,
                               .peak_activation = walk.peak,
                               .saved = walk.saved,
                               .trained = walk.n_trained,
                               .frozen = walk.n_frozen};
}

tinytl_status tinytl_paper_bytes(const tinytl_backbone *backbone, tinytl_method method,
                                 int n_classes, int image_size, int batch, bool as_in_tables,
                                 uint64_t *nbytes, tinytl_error *error) {
  if (n_classes < 1 || n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "expected 1 to %d classes, found %d",
                       TINYTL_MAX_CLASSES, n_classes);
  TINYTL_TRY(tinytl_check_int("method", (int)method, 0, TINYTL_METHOD_FULL, error));
  TINYTL_TRY(tinytl_check_int("batch", batch, 1, TINYTL_MAX_BATCH, error));
  tinytl_network *network = malloc(sizeof *network);
  tinytl_backbone *shape = malloc(sizeof *shape); /* with the paper's modules, where asked for */
  tinytl_status status = TINYTL_OK;
  if (network && shape) {
    *shape = *backbone;
    tinytl_arch *arch = &shape->arch;
    if (as_in_tables && arch->n_lite == 0)
      tinytl_arch_add_lite(arch, TINYTL_LITE_PAPER, arch->lite, &arch->n_lite);
    status = tinytl_network_init(network, shape, image_size, n_classes,
                                 tinytl_method_trains_lite(method), error);
  } else {
    status = tinytl_fail_memory(error, sizeof *network + sizeof *shape);
  }
  if (status == TINYTL_OK) *nbytes = tinytl_paper_count(network, method, batch).total;
  free(shape);
  free(network);
  return status;
}
