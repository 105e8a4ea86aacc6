#include "train/network.h"

#include <string.h>

static void find_lite_layers(tinytl_network *network) {
  const tinytl_arch *arch = &network->backbone->arch;
  for (int i = 0; i < arch->n_layers; i++) network->lite_before[i] = network->lite_after[i] = -1;
  for (int m = 0; m < network->n_lite; m++) {
    const tinytl_block *block = &arch->blocks[network->lite[m].block];
    network->lite_before[block->first] = m;
    network->lite_after[block->last] = m;
  }
}

static void set_lite_shapes(tinytl_network *network) {
  for (int m = 0; m < network->n_lite; m++) {
    const tinytl_lite *lite = &network->lite[m];
    const tinytl_conv *first = &network->conv[network->backbone->arch.blocks[lite->block].first];
    network->lite_conv[m] = tinytl_lite_conv_make(lite, first->in_h, first->in_w);
  }
}

/* Every layer has an output, and shortcuts join maps of one size: tinytl_arch_finish saw to it. */
static void set_layer_shapes(tinytl_network *network) {
  const tinytl_arch *arch = &network->backbone->arch;
  int side = network->image_size;
  for (int i = 0; i < arch->n_layers; i++) {
    const tinytl_layer *layer = &arch->layers[i];
    network->conv[i] = tinytl_conv_make(side, side, layer->in_c, layer->out_c, layer->kernel,
                                        layer->stride, layer->groups, layer->pad);
    network->weight[i] = network->backbone->weight[i];
    network->bias[i] = network->backbone->bias[i];
    side = network->conv[i].out_h;
  }
}

tinytl_status tinytl_network_init(tinytl_network *network, const tinytl_backbone *backbone,
                                  int image_size, int n_classes, bool add_lite,
                                  tinytl_error *error) {
  const tinytl_arch *arch = &backbone->arch;
  memset(network, 0, sizeof *network);
  network->backbone = backbone;
  network->image_size = image_size ? image_size : backbone->input.size;
  if (network->image_size < 1 || network->image_size > TINYTL_MAX_IMAGE_SIZE)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "image size must be 1 to %d, not %d",
                       TINYTL_MAX_IMAGE_SIZE, network->image_size);
  if (n_classes == 0 && arch->n_classes == 0)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "the backbone has no classifier of its own: an adapter is needed");
  network->n_classes = n_classes ? n_classes : arch->n_classes;
  network->n_features = arch->n_features;
  if (n_classes == 0) {
    network->classifier = backbone->classifier;
    network->classifier_bias = backbone->classifier_bias;
  }

  network->n_lite = arch->n_lite;
  memcpy(network->lite, arch->lite, (size_t)arch->n_lite * sizeof *network->lite);
  memcpy(network->lite_values, backbone->lite, (size_t)arch->n_lite * sizeof *backbone->lite);
  if (add_lite && arch->n_lite == 0)
    tinytl_arch_add_lite(arch, TINYTL_LITE_DEFAULT, network->lite, &network->n_lite);

  tinytl_input_affine(&backbone->input, network->input_scale, network->input_shift);
  set_layer_shapes(network);
  find_lite_layers(network);
  set_lite_shapes(network);
  return TINYTL_OK;
}

tinytl_status tinytl_network_adapt(tinytl_network *network, const tinytl_adapter *adapter,
                                   tinytl_error *error) {
  const tinytl_arch *arch = &network->backbone->arch;
  if (adapter->is_unchecked)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "the adapter was opened without its backbone, so it can only be described");
  if (strcmp(adapter->backbone_sha256, network->backbone->sha256) != 0 ||
      adapter->n_layers != arch->n_layers || adapter->n_features != arch->n_features)
    return tinytl_fail(
        error, TINYTL_ERROR_MODEL,
        "the adapter was not opened for this backbone: it has %d layers, %d features "
        "and belongs to sha256 %s; the backbone has %d, %d and %s",
        adapter->n_layers, adapter->n_features, adapter->backbone_sha256, arch->n_layers,
        arch->n_features, network->backbone->sha256);
  for (int i = 0; i < arch->n_layers; i++) {
    if (adapter->bias[i]) network->bias[i] = adapter->bias[i];
    if (adapter->weight[i]) network->weight[i] = (tinytl_weight){.f32 = adapter->weight[i]};
    network->weight[i].gain = adapter->gain[i];
  }
  if (adapter->n_lite > 0) {
    network->n_lite = adapter->n_lite;
    memcpy(network->lite, adapter->lite_shape, (size_t)adapter->n_lite * sizeof *network->lite);
    memcpy(network->lite_values, adapter->lite, (size_t)adapter->n_lite * sizeof *adapter->lite);
    find_lite_layers(network);
    set_lite_shapes(network);
  }
  network->n_classes = adapter->n_classes;
  network->classifier = (tinytl_weight){.f32 = adapter->classifier};
  network->classifier_bias = adapter->classifier_bias;
  return TINYTL_OK;
}

uint64_t tinytl_network_macs(const tinytl_network *network) {
  uint64_t macs = (uint64_t)network->n_features * (uint64_t)network->n_classes;
  for (int i = 0; i < network->backbone->arch.n_layers; i++)
    macs += tinytl_conv_macs(&network->conv[i]);
  for (int m = 0; m < network->n_lite; m++)
    macs += tinytl_conv_macs(&network->lite_conv[m].conv) +
            tinytl_conv_macs(&network->lite_conv[m].pointwise);
  return macs;
}
