/* The architectures that are known by name. */
#include "model/arch.h"

#include <stdio.h>
#include <string.h>

/* ProxylessNAS-Mobile (Cai, Zhu, Han, 2019). Its two identity blocks are left out; the block that
 * goes from 80 to 96 channels has no shortcut as it changes width. */
static const tinytl_block_spec proxyless_mobile[] = {
    {3, 1, 16, 1},  {5, 3, 32, 2},  {3, 3, 32, 1},  {7, 3, 40, 2},  {3, 3, 40, 1},
    {5, 3, 40, 1},  {5, 3, 40, 1},  {7, 6, 80, 2},  {5, 3, 80, 1},  {5, 3, 80, 1},
    {5, 3, 80, 1},  {5, 6, 96, 1},  {5, 3, 96, 1},  {5, 3, 96, 1},  {5, 3, 96, 1},
    {7, 6, 192, 2}, {7, 6, 192, 1}, {7, 3, 192, 1}, {7, 3, 192, 1}, {7, 6, 320, 1},
};

/* MCUNet for 5 frames a second on a microcontroller (Lin et al., 2020). */
static const tinytl_block_spec mcunet_5fps[] = {
    {3, 1, 8, 1},  {3, 4, 16, 2}, {3, 3, 16, 1}, {7, 3, 24, 2},  {3, 5, 24, 1},
    {3, 5, 40, 2}, {7, 4, 40, 1}, {5, 4, 48, 1}, {3, 3, 48, 1},  {3, 4, 48, 1},
    {7, 5, 96, 2}, {5, 4, 96, 1}, {5, 4, 96, 1}, {3, 6, 160, 1},
};

/* MobileNetV2 (Sandler et al., 2018), table 2: expand, channels, repeats, first stride. */
static const struct {
  int expand, out_c, repeats, stride;
} mobilenet_v2[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                    {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static void push_layer(tinytl_arch *arch, int out_c, int kernel, int stride, bool depthwise,
                       tinytl_act act) {
  const int in_c = arch->n_layers ? arch->layers[arch->n_layers - 1].out_c : 3;
  arch->layers[arch->n_layers++] = (tinytl_layer){.in_c = in_c,
                                                  .out_c = out_c,
                                                  .kernel = kernel,
                                                  .stride = stride,
                                                  .groups = depthwise ? in_c : 1,
                                                  .act = act,
                                                  .pad = TINYTL_PAD_SYMMETRIC,
                                                  .add = -1};
}

static void push_block(tinytl_arch *arch, const tinytl_block_spec *block) {
  const int input = arch->n_layers - 1, in_c = arch->layers[input].out_c;
  const int wide = in_c * block->expand;
  if (block->expand > 1) push_layer(arch, wide, 1, 1, false, TINYTL_ACT_RELU6);
  push_layer(arch, wide, block->kernel, block->stride, true, TINYTL_ACT_RELU6);
  push_layer(arch, block->out_c, 1, 1, false, TINYTL_ACT_NONE);
  if (block->stride == 1 && in_c == block->out_c) arch->layers[arch->n_layers - 1].add = input;
}

void tinytl_arch_from_blocks(tinytl_arch *arch, int stem, const tinytl_block_spec *blocks,
                             int n_blocks, int head) {
  push_layer(arch, stem, 3, 2, false, TINYTL_ACT_RELU6);
  for (int b = 0; b < n_blocks; b++) push_block(arch, &blocks[b]);
  if (head) push_layer(arch, head, 1, 1, false, TINYTL_ACT_RELU6);
}

int tinytl_scale_channels(int channels, int thousandths) {
  const int exact = channels * thousandths; /* in thousandths of a channel */
  int rounded = (exact + 4000) / 8000 * 8;
  if (rounded < 8) rounded = 8;
  if ((int64_t)rounded * 10000 < (int64_t)exact * 9) rounded += 8;
  return rounded;
}

static void make_mobilenet_v2(tinytl_arch *arch, int thousandths) {
  push_layer(arch, tinytl_scale_channels(32, thousandths), 3, 2, false, TINYTL_ACT_RELU6);
  for (int stage = 0; stage < COUNT(mobilenet_v2); stage++)
    for (int i = 0; i < mobilenet_v2[stage].repeats; i++)
      push_block(arch, &(tinytl_block_spec){
                           .kernel = 3,
                           .expand = mobilenet_v2[stage].expand,
                           .out_c = tinytl_scale_channels(mobilenet_v2[stage].out_c, thousandths),
                           .stride = i == 0 ? mobilenet_v2[stage].stride : 1});
  const int head = tinytl_scale_channels(1280, thousandths > 1000 ? thousandths : 1000);
  push_layer(arch, head, 1, 1, false, TINYTL_ACT_RELU6);
}

/* strtod would depend on the locale. */
int tinytl_parse_thousandths(const char *text) {
  int value = 0, decimals = -1;
  for (; *text; text++) {
    if (*text == '.' && decimals < 0) {
      decimals = 0;
      continue;
    }
    if (*text < '0' || *text > '9' || decimals == 3 || value > 1000) return 0;
    value = value * 10 + (*text - '0');
    if (decimals >= 0) decimals++;
  }
  for (int i = decimals < 0 ? 0 : decimals; i < 3; i++) value *= 10;
  return value;
}

tinytl_status tinytl_arch_named(const char *architecture, int n_classes, tinytl_arch *arch,
                                int *image_size, tinytl_error *error) {
  static const char v2[] = "mobilenet-v2-";
  if (n_classes < 1 || n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "expected 1 to %d classes, found %d",
                       TINYTL_MAX_CLASSES, n_classes);
  memset(arch, 0, sizeof *arch);
  if (strcmp(architecture, "proxyless-mobile") == 0) {
    tinytl_arch_from_blocks(arch, 32, proxyless_mobile, COUNT(proxyless_mobile), 1280);
    *image_size = 224;
  } else if (strcmp(architecture, "mcunet-5fps") == 0) {
    tinytl_arch_from_blocks(arch, 16, mcunet_5fps, COUNT(mcunet_5fps), 0);
    *image_size = 128;
  } else if (strncmp(architecture, v2, sizeof v2 - 1) == 0) {
    const int thousandths = tinytl_parse_thousandths(architecture + sizeof v2 - 1);
    if (thousandths < 100 || thousandths > 2000)
      return tinytl_fail(error, TINYTL_ERROR_USAGE,
                         "mobilenet-v2-W: expected a width W of 0.1 to 2.0 with at most three "
                         "decimals, found \"%s\"",
                         architecture + sizeof v2 - 1);
    make_mobilenet_v2(arch, thousandths);
    *image_size = 224;
  } else {
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "expected the architecture mobilenet-v2-W (W: width, 0.1 to 2.0), "
                       "proxyless-mobile or mcunet-5fps, found \"%s\"",
                       architecture);
  }
  arch->n_classes = n_classes;
  snprintf(arch->name, sizeof arch->name, "%s", architecture);
  return tinytl_arch_finish(arch, architecture, error);
}
