#include "data/joined.h"

#include <stdlib.h>
#include <string.h>

#include "data/images.h"

/* The part that picture *index is of; *index becomes its number there. */
static const tinytl_images *part_of(const tinytl_joined *joined, int *index) {
  const int n_first = joined->parts[0]->n_images;
  if (*index < n_first) return joined->parts[0];
  *index -= n_first;
  return joined->parts[1];
}

static tinytl_status load(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                          tinytl_error *error) {
  const tinytl_images *part = part_of(context, &index);
  return part->load(part->context, index, view, rgb, error);
}

static const char *name(void *context, int index) {
  const tinytl_images *part = part_of(context, &index);
  return part->name(part->context, index);
}

static size_t load_nbytes(void *context, const tinytl_view *view) {
  const tinytl_joined *joined = context;
  return tinytl_size_max(tinytl_images_load_nbytes(joined->parts[0], view),
                         tinytl_images_load_nbytes(joined->parts[1], view));
}

tinytl_status tinytl_joined_make(tinytl_joined *joined, const tinytl_images *first,
                                 const tinytl_images *second, tinytl_error *error) {
  const size_t n_first = (size_t)first->n_images, n_second = (size_t)second->n_images;
  int *labels = malloc((n_first + n_second) * sizeof *labels);
  if (!labels) return tinytl_fail_memory(error, (n_first + n_second) * sizeof *labels);
  memcpy(labels, first->labels, n_first * sizeof *labels);
  memcpy(labels + n_first, second->labels, n_second * sizeof *labels);
  *joined = (tinytl_joined){.parts = {first, second},
                            .labels = labels,
                            .images = {.n_images = first->n_images + second->n_images,
                                       .n_classes = first->n_classes,
                                       .class_names = first->class_names,
                                       .labels = labels,
                                       .context = joined,
                                       .load = load,
                                       .name = first->name && second->name ? name : NULL,
                                       .load_nbytes = load_nbytes}};
  return TINYTL_OK;
}

void tinytl_joined_clear(tinytl_joined *joined) {
  free(joined->labels);
  *joined = (tinytl_joined){0};
}
