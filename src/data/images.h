/* What a run refuses of its pictures, and what decoding them takes. */
#ifndef TINYTL_DATA_IMAGES_H
#define TINYTL_DATA_IMAGES_H

#include "core/status.h"
#include "tinytl/pictures.h"

/* Refuses (DATA) no training or validation picture (val NULL: none are wanted), classes that are
 * fewer than two or not as many in both, and labels of none of them. */
tinytl_status tinytl_images_check(const tinytl_images *train, const tinytl_images *val,
                                  tinytl_error *error);

/* Of the class names as an adapter holds them; 0: they have none yet. */
size_t tinytl_class_names_nbytes(const tinytl_images *images);

/* Most heap that load takes for any of the pictures; 0: there are none (NULL), or no one tells. */
size_t tinytl_images_load_nbytes(const tinytl_images *images, const tinytl_view *view);
/* Of a run that sees the training pictures augmented and, for the statistics of norms, as it sees
 * those of val (may be NULL). */
size_t tinytl_images_run_load_nbytes(const tinytl_images *train, const tinytl_images *val,
                                     const tinytl_view *augmented, const tinytl_view *as_is);

#endif
