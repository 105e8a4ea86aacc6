#include "pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "terminal.h"

enum { MOST_TWINS = 10 /* told of one by one */ };

void cli_note_skipped(void *context, const char *path, const char *reason) {
  (void)context;
  cli_note("left out: %s: %s", path, reason);
}

/* Pictures that are there twice in a folder. */
typedef struct twins {
  const tinytl_folder *folder;
  int n_between; /* classes */
  int n_copies;  /* in one class, of which the first is of */
  int first_copy, original;
} twins;

/* format: of two paths. */
static void warn_of_pair(const tinytl_folder *folder, const char *format, int first, int second) {
  char *path = strdup(tinytl_folder_path(folder, first));
  char *other = strdup(tinytl_folder_path(folder, second));
  if (path && other) cli_note(format, path, other);
  free(path);
  free(other);
}

static void on_twins(void *context, int first, int second) {
  twins *self = context;
  const int *labels = tinytl_folder_images(self->folder)->labels;
  if (labels[first] != labels[second]) {
    if (++self->n_between <= MOST_TWINS)
      warn_of_pair(self->folder, "warning: the same picture in two classes: %s and %s", first,
                   second);
  } else if (self->n_copies++ == 0) {
    self->original = first;
    self->first_copy = second;
  }
}

/* They stay: which of the two classes is right is not for the program to say. */
static tinytl_status warn_of_twins(const tinytl_folder *folder, tinytl_error *error) {
  twins found = {.folder = folder};
  tinytl_status status = tinytl_folder_find_twins(folder, NULL, on_twins, &found, error);
  if (found.n_between > MOST_TWINS)
    cli_note("warning: %d more like these", found.n_between - MOST_TWINS);
  if (found.n_copies > 0)
    warn_of_pair(folder, "warning: the same picture in one class: %s and %s", found.original,
                 found.first_copy);
  if (found.n_copies > 1) cli_note("warning: %d more like this", found.n_copies - 1);
  return status;
}

/* Pictures of a folder that are in another one too. */
typedef struct shared {
  int n, first; /* how many; the first one's number */
} shared;

static void on_shared(void *context, int first, int second) {
  shared *self = context;
  (void)first;
  if (self->n++ == 0) self->first = second;
}

tinytl_status cli_warn_of_seen(const tinytl_folder *train, const tinytl_folder *measured,
                               tinytl_error *error) {
  shared found = {0};
  tinytl_status status = tinytl_folder_find_twins(train, measured, on_shared, &found, error);
  if (found.n > 0)
    cli_note("warning: %d of %d pictures that accuracy is measured on are among those to train "
             "on, as %s: it is too good",
             found.n, tinytl_folder_images(measured)->n_images,
             tinytl_folder_path(measured, found.first));
  return status;
}

/* The folder `val` has classes of its own, in which one of the training classes may be missing:
 * its labels become those of the training classes. */
static tinytl_status label_as_trained(cli_train_set *set, tinytl_error *error) {
  const tinytl_images *train = tinytl_folder_images(set->train);
  const tinytl_images *val = tinytl_folder_images(set->val);
  int *to = malloc(sizeof *to * (size_t)val->n_classes);
  set->val_labels = malloc(sizeof *set->val_labels * ((size_t)val->n_images + 1));
  tinytl_status status = TINYTL_OK;
  if (to && set->val_labels) {
    cli_match_names(val->class_names, val->n_classes, train->class_names, train->n_classes, to);
  } else {
    status = cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d pictures", val->n_images);
  }
  for (int i = 0; status == TINYTL_OK && i < val->n_classes; i++) {
    if (to[i] >= 0) continue;
    status = cli_fail(error, TINYTL_ERROR_DATA,
                      "class '%s' has validation pictures but no training pictures",
                      val->class_names[i]);
  }
  for (int i = 0; status == TINYTL_OK && i < val->n_images; i++) {
    set->val_labels[i] = to[val->labels[i]];
  }
  free(to);
  set->val_images = *val;
  set->val_images.n_classes = train->n_classes;
  set->val_images.class_names = train->class_names;
  set->val_images.labels = set->val_labels;
  return status;
}

/* Of a class without them accuracy says nothing. */
static tinytl_status note_unmeasured(const cli_train_set *set, tinytl_error *error) {
  const tinytl_images *val = &set->val_images;
  int n_without = 0, first = 0;
  bool *has = calloc((size_t)val->n_classes, sizeof *has);
  if (!has)
    return cli_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for %d classes", val->n_classes);
  for (int i = 0; i < val->n_images; i++) has[val->labels[i]] = true;
  for (int c = val->n_classes - 1; c >= 0; c--)
    if (!has[c]) {
      n_without++;
      first = c;
    }
  free(has);
  if (n_without > 0 && val->n_images > 0)
    cli_note("%d class%s %s, as '%s': accuracy leaves %s out", n_without,
             n_without > 1 ? "es have" : " has",
             set->held_back ? "too few pictures to hold one back" : "no picture in 'val'",
             val->class_names[first], n_without > 1 ? "them" : "it");
  return TINYTL_OK;
}

static float share_by(cli_val_rule rule, const tinytl_images *train) {
  const float share = tinytl_validation_share(train->n_images, train->n_classes);
  switch (rule) {
  case CLI_VAL_OF_PRETRAIN:
    return fminf(share, 0.1f);
  case CLI_VAL_OF_SEARCH:
    return fmaxf(share, 0.2f);
  default:
    return share;
  }
}

static tinytl_status open_val(cli_train_set *set, const char *dir, cli_val_rule rule,
                              float val_share, uint64_t seed, tinytl_skip_fn skip,
                              tinytl_error *error) {
  const bool is_given = !isnan(val_share);
  if (!is_given && tinytl_folder_has_part(dir, TINYTL_PART_VAL)) {
    return tinytl_folder_open(dir, TINYTL_PART_VAL, skip, NULL, &set->val, error);
  }
  const float share = is_given ? val_share : share_by(rule, tinytl_folder_images(set->train));
  if (share == 0) return TINYTL_OK;
  set->held_back = true;
  return tinytl_folder_split(set->train, share, seed, &set->val, error);
}

tinytl_status cli_train_set_open(cli_train_set *set, const char *dir, cli_val_rule rule,
                                 float val_share, uint64_t seed, bool tells, tinytl_error *error) {
  tinytl_skip_fn skip = tells ? cli_note_skipped : NULL;
  *set = (cli_train_set){0};
  tinytl_status status = tinytl_folder_open(dir, TINYTL_PART_TRAIN, skip, NULL, &set->train, error);
  if (status == TINYTL_OK) {
    set->n_skipped = tinytl_folder_n_skipped(set->train);
    if (tells) status = warn_of_twins(set->train, error);
  }
  if (status == TINYTL_OK) {
    status = open_val(set, dir, rule, val_share, seed, skip, error);
  }
  if (status == TINYTL_OK && tells && set->val && !set->held_back)
    status = cli_warn_of_seen(set->train, set->val, error);
  if (status == TINYTL_OK && set->val) {
    set->n_skipped += tinytl_folder_n_skipped(set->val);
    status = label_as_trained(set, error);
    if (status == TINYTL_OK && tells) status = note_unmeasured(set, error);
  }
  if (status != TINYTL_OK) cli_train_set_close(set);
  return status;
}

void cli_train_set_close(cli_train_set *set) {
  tinytl_folder_free(set->train);
  tinytl_folder_free(set->val);
  free(set->val_labels);
  *set = (cli_train_set){0};
}

const tinytl_images *cli_train_set_val(const cli_train_set *set) {
  return set->val && set->val_images.n_images > 0 ? &set->val_images : NULL;
}

tinytl_status cli_image_sizes(const char *list, int sizes[TINYTL_MAX_IMAGE_SIZES], int *n,
                              tinytl_error *error) {
  *n = 0;
  for (const char *rest = list; rest;) {
    char *end;
    const long size = *rest >= '0' && *rest <= '9' ? strtol(rest, &end, 10) : 0;
    if (size < TINYTL_MIN_TRAIN_SIZE || size > TINYTL_MAX_TRAIN_SIZE || (*end && *end != ',') ||
        *n == TINYTL_MAX_IMAGE_SIZES) {
      return cli_fail(error, TINYTL_ERROR_USAGE,
                      "--image-sizes wants up to %d sizes of %d to %d, as 48,64,80; not \"%.80s\"",
                      TINYTL_MAX_IMAGE_SIZES, TINYTL_MIN_TRAIN_SIZE, TINYTL_MAX_TRAIN_SIZE, list);
    }
    sizes[(*n)++] = (int)size;
    rest = *end ? end + 1 : NULL;
  }
  return TINYTL_OK;
}
