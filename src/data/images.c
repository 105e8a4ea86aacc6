#include "data/images.h"

#include <string.h>

#include "model/arch.h"

static tinytl_status check_labels(const tinytl_images *images, const char *what,
                                  tinytl_error *error) {
  if (images->n_images < 1)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "expected %s pictures, found none", what);
  for (int i = 0; i < images->n_images; i++)
    if (images->labels[i] < 0 || images->labels[i] >= images->n_classes)
      return tinytl_fail(error, TINYTL_ERROR_DATA, "%s picture %d has label %d of %d classes", what,
                         i, images->labels[i], images->n_classes);
  return TINYTL_OK;
}

static tinytl_status check_same_classes(const tinytl_images *train, const tinytl_images *val,
                                        tinytl_error *error) {
  if (val->n_classes != train->n_classes)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "validation pictures: expected %d classes, as of training, found %d",
                       train->n_classes, val->n_classes);
  for (int c = 0; val->class_names && c < train->n_classes; c++)
    if (strcmp(train->class_names[c], val->class_names[c]) != 0)
      return tinytl_fail(error, TINYTL_ERROR_DATA,
                         "validation pictures: expected class %d to be '%.80s', as of training, "
                         "found '%.80s'",
                         c, train->class_names[c], val->class_names[c]);
  return TINYTL_OK;
}

tinytl_status tinytl_images_check(const tinytl_images *train, const tinytl_images *val,
                                  tinytl_error *error) {
  if (train->n_classes < 2 || train->n_classes > TINYTL_MAX_CLASSES)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "expected 2 to %d classes, found %d",
                       TINYTL_MAX_CLASSES, train->n_classes);
  TINYTL_TRY(check_labels(train, "training", error));
  if (!val) return TINYTL_OK;
  TINYTL_TRY(check_same_classes(train, val, error));
  return check_labels(val, "validation", error);
}

size_t tinytl_images_load_nbytes(const tinytl_images *images, const tinytl_view *view) {
  return images && images->load_nbytes ? images->load_nbytes(images->context, view) : 0;
}

size_t tinytl_images_run_load_nbytes(const tinytl_images *train, const tinytl_images *val,
                                     const tinytl_view *augmented, const tinytl_view *as_is) {
  const size_t nbytes = tinytl_size_max(tinytl_images_load_nbytes(train, as_is),
                                        tinytl_images_load_nbytes(val, as_is));
  return tinytl_size_max(nbytes, tinytl_images_load_nbytes(train, augmented));
}

size_t tinytl_class_names_nbytes(const tinytl_images *images) {
  size_t nbytes = 0;
  for (int c = 0; images->class_names && c < images->n_classes; c++)
    nbytes += sizeof *images->class_names + strlen(images->class_names[c]) + 1;
  return nbytes;
}
