/* The pictures of a batch: how large they are, how decoding sees them, and holding them. */
#include "pretrain/pretrainer.h"

#include <string.h>

#include "core/rng.h"

#define MIN_CROP_SCALE 0.35f /* share of a picture's area: docs/supernet.md, "Accuracy" */

int tinytl_pretrainer_draw_size(const tinytl_pretrainer *p, int epoch, int update) {
  const int n = p->options.n_image_sizes;
  if (n == 0 || epoch == 0) return p->input.size;
  tinytl_rng rng =
      tinytl_rng_make(p->options.seed, TINYTL_RNG_SIZE, (uint64_t)epoch, (uint64_t)update);
  return p->options.image_sizes[tinytl_rng_below(&rng, (uint32_t)n)];
}

void tinytl_pretrainer_set_size(tinytl_pretrainer *p, int size) {
  if (p->net->image_size == size) return;
  /* Cannot fail: every size was planned before. */
  tinytl_batch_net_init(p->net, p->arch, size, p->share, true, NULL);
  if (p->teacher) tinytl_teacher_set_size(p->teacher, size, NULL);
}

tinytl_view tinytl_pretrainer_view(const tinytl_pretrainer *p, int size, int epoch) {
  return (tinytl_view){.size = size,
                       .resize = tinytl_input_default_resize(size),
                       .augment = epoch > 0,
                       .min_scale = MIN_CROP_SCALE,
                       .mirror = p->options.mirror,
                       .seed = p->options.seed,
                       .epoch = (uint64_t)epoch,
                       .max_nbytes = p->max_load_nbytes};
}

void tinytl_pretrainer_hold(tinytl_pretrainer *p, const tinytl_sample *sample) {
  const size_t side = (size_t)p->net->image_size;
  memcpy(p->pixels + (size_t)p->batch_run.n_images * tinytl_pretrainer_picture_nbytes(p),
         sample->rgb, 3 * side * side);
  p->labels[p->batch_run.n_images++] = sample->label;
}
