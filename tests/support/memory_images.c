#include "support/memory_images.h"

#include "core/rng.h"
#include "core/status.h"

#include <string.h>

static const char *const names[MEMORY_CLASSES] = {"red", "green", "blue"};

/* With augmentation the noise is new in every epoch, as a crop would be. */
static tinytl_status load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                          tinytl_error *error) {
  const memory_images *set = context;
  if (set->answer[index] != TINYTL_OK)
    return tinytl_fail(error, set->answer[index], "broken on purpose");
  tinytl_rng rng = tinytl_rng_make(set->seed, TINYTL_RNG_AUGMENT, (uint64_t)index,
                                   view->augment ? view->seed * 1000 + view->epoch : 0);
  for (int i = 0; i < view->size * view->size * 3; i++) {
    const bool right = i / 3 % view->size >= view->size / 2;
    const int tint = (set->sided ? (int)right : i % 3) == set->labels[index] ? 96 : 0;
    rgb[i] = (uint8_t)((int)tinytl_rng_below(&rng, 160) + tint);
  }
  return TINYTL_OK;
}

void memory_images_init(memory_images *set, int n, uint64_t seed) {
  memset(set, 0, sizeof *set);
  set->seed = seed;
  for (int i = 0; i < n; i++) set->labels[i] = i % MEMORY_CLASSES;
  set->images = (tinytl_images){.n_images = n,
                                .n_classes = MEMORY_CLASSES,
                                .class_names = names,
                                .labels = set->labels,
                                .context = set,
                                .load = load};
}
