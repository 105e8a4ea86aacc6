/* Names, eps and layouts were looked up in the code that made the published files: torchvision
 * 0.29 (models/mobilenetv2.py), timm 1.0 (models/efficientnet.py), mit-han-lab/proxylessnas and
 * mit-han-lab/once-for-all (ofa_proxyless.py); newer versions of the latter say "conv" for
 * "mobile_inverted_conv". */
#include "format/families.h"

#include <stddef.h>

#define MIT_HAN_LAB                                             \
  .eps = 1e-3, .blocks = {1, 4, 4, 4, 4, 4, 1}, .sparse = true, \
  .stem = {"first_conv.conv", "first_conv.bn"},                 \
  .head = {"feature_mix_layer.conv", "feature_mix_layer.bn"}, .classifier = "classifier.linear"
#define PLAIN_BLOCK                                                \
  .wide = {{"inverted_bottleneck.conv", "inverted_bottleneck.bn"}, \
           {"depth_conv.conv", "depth_conv.bn"},                   \
           {"point_linear.conv", "point_linear.bn"}},              \
  .narrow = {{"depth_conv.conv", "depth_conv.bn"}, {"point_linear.conv", "point_linear.bn"}}
/* The whole tensors are those of the largest choice; matrices make smaller kernels of them. */
#define ELASTIC_BLOCK                                                                         \
  .wide = {{"inverted_bottleneck.conv.conv", "inverted_bottleneck.bn.bn"},                    \
           {"depth_conv.conv.conv", "depth_conv.bn.bn"},                                      \
           {"point_linear.conv.conv", "point_linear.bn.bn"}},                                 \
  .narrow = {{"depth_conv.conv", "depth_conv.bn"}, {"point_linear.conv", "point_linear.bn"}}, \
  .unused = "_matrix"

static const char proxyless[] = "ProxylessNAS, tensors named as by mit-han-lab";
static const char largest[] = "largest sub-net of a once-for-all ProxylessNAS super-net";

static const tinytl_family families[] = {
    {.description = "MobileNetV2, tensors named as by torchvision",
     .mark = "features.1.conv.0.0.weight",
     .eps = 1e-5,
     .kernel = 3,
     .expand = 6,
     .first_number = 1,
     .blocks = {1, 2, 3, 4, 3, 3, 1},
     .stem = {"features.0.0", "features.0.1"},
     .head = {"features.18.0", "features.18.1"},
     .before = "features.",
     .after = ".conv.",
     .wide = {{"0.0", "0.1"}, {"1.0", "1.1"}, {"2", "3"}},
     .narrow = {{"0.0", "0.1"}, {"1", "2"}},
     .classifier = "classifier.1"},
    {.description = "MobileNetV2, tensors named as by timm",
     .mark = "blocks.0.0.conv_dw.weight",
     .eps = 1e-5,
     .kernel = 3,
     .expand = 6,
     .stem = {"conv_stem", "bn1"},
     .head = {"conv_head", "bn2"},
     .before = "blocks.",
     .after = ".",
     .wide = {{"conv_pw", "bn1"}, {"conv_dw", "bn2"}, {"conv_pwl", "bn3"}},
     .narrow = {{"conv_dw", "bn1"}, {"conv_pw", "bn2"}},
     .classifier = "classifier"},
    {.description = proxyless,
     .mark = "blocks.1.mobile_inverted_conv.depth_conv.conv.weight",
     .before = "blocks.",
     .after = ".mobile_inverted_conv.",
     MIT_HAN_LAB,
     PLAIN_BLOCK},
    {.description = proxyless,
     .mark = "blocks.1.conv.depth_conv.conv.weight",
     .before = "blocks.",
     .after = ".conv.",
     MIT_HAN_LAB,
     PLAIN_BLOCK},
    {.description = largest,
     .mark = "blocks.1.mobile_inverted_conv.depth_conv.conv.conv.weight",
     .before = "blocks.",
     .after = ".mobile_inverted_conv.",
     MIT_HAN_LAB,
     ELASTIC_BLOCK},
    {.description = largest,
     .mark = "blocks.1.conv.depth_conv.conv.conv.weight",
     .before = "blocks.",
     .after = ".conv.",
     MIT_HAN_LAB,
     ELASTIC_BLOCK},
};

const tinytl_family *tinytl_family_of(const tinytl_state_dict *state) {
  for (size_t i = 0; i < sizeof families / sizeof *families; i++)
    if (tinytl_state_find(state, families[i].mark)) return &families[i];
  return NULL;
}
