#include "data/data.h"

static tinytl_status check(const tinytl_images *images, const char *what, tinytl_error *error) {
  if (images->n_images < 1)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "expected %s pictures, found none", what);
  for (int i = 0; i < images->n_images; i++)
    if (images->labels[i] < 0 || images->labels[i] >= images->n_classes)
      return tinytl_fail(error, TINYTL_ERROR_DATA, "%s picture %d has label %d of %d classes", what,
                         i, images->labels[i], images->n_classes);
  return TINYTL_OK;
}

tinytl_status tinytl_images_check(const tinytl_images *train, const tinytl_images *val,
                                  tinytl_error *error) {
  if (train->n_classes < 2)
    return tinytl_fail(error, TINYTL_ERROR_DATA, "expected 2 or more classes, found %d",
                       train->n_classes);
  if (val && val->n_classes != train->n_classes)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "validation pictures: expected %d classes, as of training, found %d",
                       train->n_classes, val->n_classes);
  TINYTL_TRY(check(train, "training", error));
  return val ? check(val, "validation", error) : TINYTL_OK;
}
