/* What the parts of a folder share. */
#ifndef TINYTL_DATA_FOLDER_H
#define TINYTL_DATA_FOLDER_H

#include "data/names.h"
#include "image/image.h"

/* Every kind of picture once. */
typedef struct tinytl_kinds {
  tinytl_picture_info *items; /* [room], of which n are used */
  int n, room;
} tinytl_kinds;

tinytl_status tinytl_kinds_add(tinytl_kinds *kinds, const tinytl_picture_info *info,
                               tinytl_error *error);
tinytl_status tinytl_kinds_copy(const tinytl_kinds *from, tinytl_kinds *to, tinytl_error *error);
/* Gives spare room back. */
void tinytl_kinds_fit(tinytl_kinds *kinds);
/* The most that a picture of these takes to decode; what the view's limit refuses is left out. */
size_t tinytl_kinds_need(const tinytl_kinds *kinds, const tinytl_view *view);

/* Kept small, for there may be many pictures: a path is put together when it is asked for. */
struct tinytl_folder {
  tinytl_images images; /* what the caller sees of the below */
  char *dir;            /* holds the class folders */
  tinytl_names classes;
  const char **class_names; /* [images.n_classes], of classes */
  tinytl_names files;       /* [images.n_images], class by class */
  int *labels;              /* [images.n_images] */
  int room;                 /* of labels */
  tinytl_kinds kinds;       /* after a split: what either side may hold */
  char *path;               /* [MAX_PATH_NBYTES], the latest that was asked for */
  int n_skipped;
};

/* Without classes and pictures. dir: the folder that holds the classes. */
tinytl_status tinytl_folder_make(const char *dir, tinytl_folder **folder, tinytl_error *error);
/* The classes are complete: shows them. */
tinytl_status tinytl_folder_show_classes(tinytl_folder *folder, tinytl_error *error);
/* The pictures are complete: gives spare room back. */
void tinytl_folder_fit(tinytl_folder *folder);

#endif
