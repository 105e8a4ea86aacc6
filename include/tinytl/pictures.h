/* Pictures as the network sees them, and class folders of them. */
#ifndef TINYTL_PICTURES_H
#define TINYTL_PICTURES_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a picture becomes the network's input. */
typedef struct tinytl_view {
  int size;             /* output is [size][size][3], 1 to 4096 */
  int resize;           /* without augmentation: short side before the centre crop, >= size */
  bool augment;         /* random resized crop, and: */
  float min_scale;      /* smallest share of the area that a crop covers, (0, 1]; default 0.5 */
  bool mirror;          /* half of the samples mirrored */
  float colour_jitter;  /* strength of brightness, contrast, saturation jitter, 0 (off) to 1 */
  uint64_t seed, epoch; /* with the picture's index, all that the random choices depend on */
  size_t max_nbytes;    /* most heap memory that decoding one picture may take; a picture that needs
                           more is refused (TINYTL_ERROR_DATA). 0: 256 MB */
} tinytl_view;

/* A set of labelled pictures. `load` is called from loader threads, which have 256 KB of stack, for
 * several pictures at once. */
typedef struct tinytl_images {
  int n_images;
  int n_classes;
  const char *const *class_names; /* [n_classes] */
  const int *labels;              /* [n_images], 0 to n_classes - 1; NULL will do for
                                     tinytl_predictor_run_all */
  void *context;
  /* Fills rgb [size][size][3] with picture `index`. A picture that fails is left out by the
   * caller when the status is TINYTL_ERROR_DATA; other errors stop the run. */
  tinytl_status (*load)(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                        tinytl_error *error);
  /* What picture `index` is called in messages, e.g. its path. NULL: its number is told. Pictures
   * of a class that follow each other and whose names differ in the last number alone, by less than
   * 30, may be near copies: TINYTL_METHOD_AUTO counts them as one where it asks about mirroring. */
  const char *(*name)(void *context, int index);
  /* The most heap memory that one call of `load` takes for this view, whatever the picture and the
   * random choices: at most view->max_nbytes where that is not 0, as pictures that need more are
   * refused. NULL: none. */
  size_t (*load_nbytes)(void *context, const tinytl_view *view);
} tinytl_images;

/* Whether a file of this name, or path, is taken for a picture: .jpg, .jpeg or .png in any case. */
bool tinytl_is_picture_name(const char *name);
/* Whether an entry of this name is passed over: one that begins with a dot, and what network drives
 * and archives put beside pictures. */
bool tinytl_is_hidden_name(const char *name);

/* Pictures in class folders: DIR/class/FILE or DIR/{train,val,test}/class/FILE, with FILE of a
 * picture's name. Classes are sorted by name (bytes), and so are the pictures of a class. Other
 * files and what lies deeper are passed over, which is told once, and so are hidden ones, which is
 * not. */
typedef struct tinytl_folder tinytl_folder;

typedef enum tinytl_part { TINYTL_PART_TRAIN, TINYTL_PART_VAL, TINYTL_PART_TEST } tinytl_part;

/* Called for each picture that is left out, with the reason, once for folders beside train, val and
 * test, and once for files and folders in classes that are no pictures. May be NULL. */
typedef void (*tinytl_skip_fn)(void *context, const char *path, const char *reason);

/* Opens the pictures of one part. In a folder without train, val and test sub-folders every part
 * is the folder itself; else each is its own sub-folder, and TINYTL_PART_TEST is val where test is
 * missing. Every picture's header is read; what cannot be a picture is reported to `skip` and left
 * out. Errors: DATA (no such folder or part in it, fewer than two classes, of which one is enough
 * for TINYTL_PART_TEST, a class left without pictures), USAGE (part). `*folder` is the caller's. */
tinytl_status tinytl_folder_open(const char *dir, tinytl_part part, tinytl_skip_fn skip,
                                 void *skip_context, tinytl_folder **folder, tinytl_error *error);
/* True where DIR has a sub-folder for this part: one that holds folders, so that a class may be
 * called "train". */
bool tinytl_folder_has_part(const char *dir, tinytl_part part);
/* View of the folder; valid until it is freed. */
const tinytl_images *tinytl_folder_images(const tinytl_folder *folder);
/* Of picture `index`, NULL out of range; valid until the folder is asked for another one. */
const char *tinytl_folder_path(const tinytl_folder *folder, int index);
int tinytl_folder_n_skipped(const tinytl_folder *folder);
/* Bytes of heap memory that the listing takes until the folder is freed. */
size_t tinytl_folder_nbytes(const tinytl_folder *folder);
/* Called for two pictures, by index, whose files hold the same bytes. */
typedef void (*tinytl_twins_fn)(void *context, int first, int second);
/* Looks for the same picture twice in a folder or, where `other` is not NULL, for what is in both:
 * `second` is an index of that one then. Told in the order of the second; of a picture that is
 * there more than twice each with the first of them. Of a file its size and its last 4 KB are read,
 * the whole of it where these agree with another one's; files that cannot be read are passed over.
 * Takes up to 28 bytes a picture while it runs. Error: INTERNAL (out of memory). */
tinytl_status tinytl_folder_find_twins(const tinytl_folder *folder, const tinytl_folder *other,
                                       tinytl_twins_fn told, void *context, tinytl_error *error);
/* Moves about a share (0 to 0.9) of every class's pictures, chosen by seed, into a new folder *val.
 * Pictures whose names differ in their last number alone are a series (film_0007.jpg,
 * film_0008.jpg) and stay together; one that is more than a third of its class does not move, or
 * where the class has nothing else a run of neighbours. Copies of a picture in its class (see
 * tinytl_folder_find_twins) stay together too. With the same seed a larger share moves what a
 * smaller one does and more. With a share above 0 a class has at least one picture on either side
 * where it has two that differ; the only one of a class stays. */
tinytl_status tinytl_folder_split(tinytl_folder *folder, float share, uint64_t seed,
                                  tinytl_folder **val, tinytl_error *error);
void tinytl_folder_free(tinytl_folder *folder); /* NULL is allowed */

/* Decodes one picture file (JPEG or PNG, told by content) into rgb [size][size][3]; a JPEG is
 * turned upright by its EXIF orientation, a PNG's is not looked at. `index` stands in for the
 * picture's number in the random choices of `view`. */
tinytl_status tinytl_picture_load(const char *path, int index, const tinytl_view *view,
                                  uint8_t *rgb, tinytl_error *error);

#ifdef __cplusplus
}
#endif

#endif
