/* Whether classes tell left from right, asked of the features before anything is trained. Where the
 * mirror images of a class's pictures are as likely as the pictures, what mirroring changes,
 *
 *   d = f(picture) / |f(picture)| - f(mirrored) / |f(mirrored)|,
 *
 * is 0 in the mean of the class, whatever the network: classes explain nothing of the variance of
 * d. Where they explain some, mirrored pictures are unlike those of their class. The share that
 * they explain is estimated without bias, as in one-way analysis of variance with vectors:
 *
 *   S = sum over classes c, pairs i != j of c: <d_i - m, d_j - m> / (n_c - 1), plus its bias
 *   share = S / n / V, m the mean of all n d, V the variance of single pictures
 *
 * and where classes explain nothing, S varies with 2 sum n_c / (n_c - 1) tr(C^2), C the covariance
 * of d. Near copies of a picture would be taken for its class: the mean of theirs is one d. */
#ifndef TINYTL_TRAIN_MIRROR_TEST_H
#define TINYTL_TRAIN_MIRROR_TEST_H

#include <stdbool.h>
#include <stddef.h>

/* Pictures of a class that are asked at most: of all classes about 4096, which are enough for the
 * shares that count. */
int tinytl_mirror_most_of_class(int n_classes);

typedef struct tinytl_mirror_test {
  int n_features;
  int n_copies;   /* pictures of the copies that are being added */
  int n_of_class; /* d of the class so far, and */
  int n_pictures_of_class;
  bool has_pair, has_difference;
  float *d;                      /* sum over the copies, [n_features] as the others */
  float *class_sum;              /* of d */
  float *total;                  /* of d, of the classes that are done */
  float *pair;                   /* d whose partner of the class is to come */
  float *difference;             /* of the pair before */
  double class_squares, squares; /* |d|^2 of the class; of the classes that are done */
  double class_picture_squares, picture_squares; /* the same of single pictures */
  double products;    /* sum over classes of the products <d_i, d_j> / (n_c - 1) */
  double weights;     /* sum of n_c / (n_c - 1) */
  double differences; /* sum of squared products of pairs' differences */
  int n, n_pictures, n_differences;
} tinytl_mirror_test;

size_t tinytl_mirror_test_nbytes(int n_features);
/* memory: as many bytes, aligned to 4; borrowed. Begins without pictures. */
tinytl_mirror_test tinytl_mirror_test_place(int n_features, void *memory);

/* What a picture has in common with the one before it. */
typedef enum tinytl_kin { TINYTL_KIN_NONE, TINYTL_KIN_CLASS, TINYTL_KIN_COPY } tinytl_kin;
/* One more picture: its features and those of its mirror image, [n_features]. Classes come one
 * after the other, and near copies likewise. */
void tinytl_mirror_test_add(tinytl_mirror_test *test, tinytl_kin kin, const float *features,
                            const float *mirrored);

typedef struct tinytl_mirror_answer {
  float share; /* that classes explain, 1 at most; below 0 by chance; 0: nothing to tell by */
  float noise; /* its standard error where they explain nothing; INFINITY: too few pictures */
} tinytl_mirror_answer;
/* Nothing may be added after it. */
tinytl_mirror_answer tinytl_mirror_test_end(tinytl_mirror_test *test);
/* Whether training should leave mirrored pictures out. Where natural classes prefer a side a
 * little, it should not (docs/training.md). */
bool tinytl_mirror_hurts(tinytl_mirror_answer answer);

#endif
