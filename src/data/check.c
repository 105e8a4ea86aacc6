#include "data/data.h"

static tinytl_status check(const tinytl_images *images, int n_classes, int least, const char *what,
                           tinytl_error *error) {
  if (images->n_images < least || images->n_classes != n_classes || n_classes < 2)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "%s pictures: expected %d or more, of 2 or more classes, found %d of %d "
                       "classes",
                       what, least, images->n_images, images->n_classes);
  for (int i = 0; i < images->n_images; i++)
    if (images->labels[i] < 0 || images->labels[i] >= n_classes)
      return tinytl_fail(error, TINYTL_ERROR_DATA, "%s picture %d has label %d of %d classes", what,
                         i, images->labels[i], n_classes);
  return TINYTL_OK;
}

tinytl_status tinytl_images_check(const tinytl_images *train, const tinytl_images *val,
                                  tinytl_error *error) {
  TINYTL_TRY(check(train, train->n_classes, 2, "training", error));
  return val ? check(val, train->n_classes, 1, "validation", error) : TINYTL_OK;
}
