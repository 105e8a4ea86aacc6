/* The super-net: one set of weights for many sub-nets (Cai et al., "Once-for-All", 2020), and
 * copying the weights of one out. A sub-net is a plain architecture: no operator knows more.
 *
 * Stages of inverted residuals. Of a stage a sub-net has the first `depth` blocks; of a block the
 * first input channels x `expand` of its widened channels, and a depthwise kernel that is the
 * centre of the largest one, times a matrix: 7 -> 5, and from that 5 -> 3. A matrix belongs to a
 * layer and is the same for all of its channels. Where the space has lite residual modules, of a
 * block's module a sub-net has the convolution's centre, and of that with twice as many groups the
 * blocks on the diagonal. Values lie as tinytl_batch_params has them for the largest sub-net, with
 * the matrices, layer by layer, [25][25] and [9][9], behind. */
#ifndef TINYTL_MODEL_SUPERNET_H
#define TINYTL_MODEL_SUPERNET_H

#include "model/backbone.h"
#include "tinytl/supernet.h"

enum {
  /* Room for; the first stage is fixed, the last has one block. */
  TINYTL_SUPERNET_BLOCKS = TINYTL_SUPERNET_STAGES * TINYTL_SUPERNET_DEPTH,
  /* Widened channels of a block: the last one's, 192 channels at a width of 2.0, times 6. */
  TINYTL_SUPERNET_MAX_WIDE = 192 * 2 * 6,
  TINYTL_SUPERNET_CHOICES = 3, /* of a kernel, an expand ratio, a depth: 2, 3, 4 */
  TINYTL_LITE_CHOICES = 2      /* of a lite module's kernel, its groups */
};

/* Pictures from this side on have a total stride of 32, smaller ones 16, so that of 64 pixels 4 x 4
 * are left in the end. */
enum { TINYTL_SUPERNET_LARGE_IMAGE = 128 };

/* What there is to choose from. */
typedef struct tinytl_space {
  char name[64]; /* "supernet-W" */
  int n_classes, image_size;
  bool has_lite;
  int total_stride; /* 32; or 16: the last stride is 1 */
  int stem, head, out_c[TINYTL_SUPERNET_STAGES];
  int image_sizes[TINYTL_MAX_IMAGE_SIZES]; /* to choose from, ascending */
  int n_image_sizes;                       /* 0: all have the super-net's own */
} tinytl_space;

/* One choice; what belongs to block j of stage s stands at [s][j], what is beyond the depth does
 * not count. Without lite modules theirs is 0. Bytes alone, so that nothing lies between them. */
typedef struct tinytl_subnet {
  uint8_t size; /* index into the space's image_sizes; 0 where it has none */
  uint8_t depth[TINYTL_SUPERNET_STAGES];
  uint8_t kernel[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  uint8_t expand[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  uint8_t lite_kernel[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
  uint8_t lite_groups[TINYTL_SUPERNET_STAGES][TINYTL_SUPERNET_DEPTH];
} tinytl_subnet;

/* A super-net in memory. Its values lie as tinytl_shared_values, model/shared_values.h, has them.
 */
struct tinytl_supernet {
  tinytl_space space;
  tinytl_input input;
  char **labels; /* [n_labels], of all classes; owned */
  int n_labels;
  float *values; /* [n_values]; owned */
  size_t n_values;
};

/* What a block, and the lite module beside it, has one each of; what takes the most work first. */
extern const struct tinytl_block_choices {
  uint8_t kernel[TINYTL_SUPERNET_CHOICES], expand[TINYTL_SUPERNET_CHOICES];
  uint8_t lite_kernel[TINYTL_LITE_CHOICES], lite_groups[TINYTL_LITE_CHOICES];
} tinytl_block_choices;

/* How much of the space is open: choices 0 to n - 1, largest first. */
typedef struct tinytl_opening {
  int n_kernels, n_depths, n_expands; /* 1 to TINYTL_SUPERNET_CHOICES */
  int n_lites;                        /* of lite modules, 1 to TINYTL_LITE_CHOICES */
} tinytl_opening;

/* True where the name is that of a super-net. */
bool tinytl_space_is_named(const char *name);
/* "supernet-W", W: width multiplier, 0.1 to 2.0; without lite modules, with a total stride of 32.
 * Error: USAGE. */
tinytl_status tinytl_space_named(const char *name, int n_classes, tinytl_space *space,
                                 tinytl_error *error);
/* Of one stage: most blocks, fewest. */
int tinytl_space_max_depth(int stage);
int tinytl_space_min_depth(int stage);
/* Number of sub-nets, each at every size of the picture. */
double tinytl_space_n_subnets(const tinytl_space *space);

tinytl_subnet tinytl_subnet_largest(const tinytl_space *space);
tinytl_subnet tinytl_subnet_smallest(const tinytl_space *space);
/* One of those that are open; the same key gives the same. */
tinytl_subnet tinytl_subnet_draw(const tinytl_space *space, const tinytl_opening *opening,
                                 uint64_t seed, uint64_t first, uint64_t second);
/* Sets what lies beyond the depth to 0. */
void tinytl_subnet_normalise(tinytl_subnet *subnet);

/* The plain architecture, and for each of its layers that of the largest sub-net which it is a part
 * of (layers may be NULL). */
void tinytl_subnet_arch(const tinytl_space *space, const tinytl_subnet *subnet, tinytl_arch *arch,
                        int *layers);

#endif
