/* The validation side of a folder: how much of it, and what stays together. */
#include "support/cmocka.h"
#include "support/pictures.h"
#include "tinytl.h"

#include <stdio.h>
#include <string.h>

/* Every one is another picture. */
static void write_picture(const pictures_dir *dir, const char *name) {
  static int n;
  pictures_write_png(dir, name, PICTURES_PNG_RGB, 4, 4, n++);
}

/* Classes "a" and "b" with n pictures each. */
static void write_classes(const pictures_dir *dir, int n) {
  for (int c = 0; c < 2; c++) {
    char name[100];
    snprintf(name, sizeof name, "%c", 'a' + c);
    pictures_mkdir(dir, name);
    for (int i = 0; i < n; i++) {
      snprintf(name, sizeof name, "%c/%02d.png", 'a' + c, i);
      write_picture(dir, name);
    }
  }
}

typedef struct sides {
  tinytl_folder *train, *val;
} sides;

static sides split(const pictures_dir *dir, float share, uint64_t seed) {
  sides s = {0};
  tinytl_error error = {0};
  if (tinytl_folder_open(dir->path, TINYTL_PART_TRAIN, NULL, NULL, &s.train, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  assert_int_equal(tinytl_folder_split(s.train, share, seed, &s.val, NULL), TINYTL_OK);
  return s;
}

static void sides_free(const sides *s) {
  tinytl_folder_free(s->train);
  tinytl_folder_free(s->val);
}

static int count_label(const tinytl_images *images, int label) {
  int n = 0;
  for (int i = 0; i < images->n_images; i++) n += images->labels[i] == label;
  return n;
}

/* Every path once, in order, with its class. */
static void check_sides(const sides *split, int n) {
  const tinytl_folder *const sides[2] = {split->train, split->val}, *val = split->val;
  for (int s = 0; s < 2; s++) {
    const tinytl_images *images = tinytl_folder_images(sides[s]);
    char path[600], previous[600] = "";
    for (int i = 0; i < images->n_images; i++) {
      snprintf(path, sizeof path, "%s", tinytl_folder_path(sides[s], i));
      const char *class_name = images->class_names[images->labels[i]];
      assert_memory_equal(strrchr(path, '/') - strlen(class_name), class_name, strlen(class_name));
      assert_true(strcmp(previous, path) < 0);
      memcpy(previous, path, sizeof previous);
      for (int j = 0; s == 0 && j < tinytl_folder_images(val)->n_images; j++)
        assert_string_not_equal(path, tinytl_folder_path(val, j));
    }
  }
  assert_int_equal(
      tinytl_folder_images(split->train)->n_images + tinytl_folder_images(val)->n_images, n);
}

static void takes_a_share_of_every_class(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, 20);
  pictures_mkdir(&dir, "pair");
  write_picture(&dir, "pair/1.png");
  write_picture(&dir, "pair/2.png");
  pictures_mkdir(&dir, "single");
  write_picture(&dir, "single/1.png");
  static const struct {
    float share;
    int of_20, of_2;
  } cases[] = {{0.25f, 5, 1}, {0.9f, 18, 1}, {0.01f, 1, 1}, {0, 0, 0}};
  for (int c = 0; c < 4; c++) {
    const sides s = split(&dir, cases[c].share, 1);
    const tinytl_images *images = tinytl_folder_images(s.val);
    assert_int_equal(images->n_classes, 4);
    assert_int_equal(count_label(images, 0), cases[c].of_20);
    assert_int_equal(count_label(images, 1), cases[c].of_20);
    assert_int_equal(count_label(images, 2), cases[c].of_2);
    assert_int_equal(count_label(images, 3), 0);
    check_sides(&s, 43);
    tinytl_folder_free(s.train); /* val does not need it */
    if (images->n_images > 0) {
      uint8_t rgb[4 * 4 * 3];
      const tinytl_view view = {.size = 4, .resize = 4};
      assert_int_equal(images->load(images->context, 0, &view, rgb, NULL), TINYTL_OK);
    }
    tinytl_folder_free(s.val);
  }
  pictures_dir_remove(&dir);
}

/* Films of four frames; two series, each half of the class; pictures that belong to none. */
static void write_series(pictures_dir *dir) {
  char name[100];
  pictures_mkdir(dir, "films");
  pictures_mkdir(dir, "large");
  pictures_mkdir(dir, "loose");
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "films/%02d_%d.png", i / 4, i % 4 + 8);
    write_picture(dir, name);
    snprintf(name, sizeof name, "large/%c%d.png", 'a' + i / 10, i % 10);
    write_picture(dir, name);
    snprintf(name, sizeof name, "loose/%c.png", 'a' + i);
    write_picture(dir, name);
  }
}

/* Frames of films went to both sides, and validation saw near copies of what was trained on. */
static void keeps_series_together(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_series(&dir);
  bool moved_apart = false;
  for (uint64_t seed = 0; seed < 20; seed++) {
    const sides s = split(&dir, 0.15f, seed);
    const tinytl_images *images = tinytl_folder_images(s.val);
    assert_int_equal(count_label(images, 0), 4); /* a whole film, not 3 pictures */
    assert_int_equal(count_label(images, 1), 3); /* part of a series that is half of the class */
    assert_int_equal(count_label(images, 2), 3);
    check_sides(&s, 60);
    char first[600], last[600];
    snprintf(first, sizeof first, "%s", tinytl_folder_path(s.val, 0));
    snprintf(last, sizeof last, "%s", tinytl_folder_path(s.val, 3));
    assert_memory_equal(strrchr(first, '/'), strrchr(last, '/'), 4);
    snprintf(first, sizeof first, "%s", tinytl_folder_path(s.val, 4));
    snprintf(last, sizeof last, "%s", tinytl_folder_path(s.val, 6));
    const int from = strrchr(first, '/')[2] + 10 * (strrchr(first, '/')[1] == 'b');
    const int to = strrchr(last, '/')[2] + 10 * (strrchr(last, '/')[1] == 'b');
    assert_int_equal(to - from, 2); /* neighbours */
    snprintf(first, sizeof first, "%s", tinytl_folder_path(s.val, 7));
    snprintf(last, sizeof last, "%s", tinytl_folder_path(s.val, 9));
    moved_apart = moved_apart || strrchr(last, '/')[1] - strrchr(first, '/')[1] > 2;
    sides_free(&s);
  }
  assert_true(moved_apart); /* pictures that belong to no series are drawn one by one */
  pictures_dir_remove(&dir);
}

/* A film and one picture that is none of its frames: that one alone was all that validation had. */
static void is_not_one_stray_picture(void **state) {
  (void)state;
  const pictures_dir dir = pictures_dir_make();
  char name[40];
  pictures_mkdir(&dir, "film");
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "film/IMG_%04d.png", 100 + i);
    pictures_write_png(&dir, name, PICTURES_PNG_RGB, 8, 8, i);
  }
  pictures_write_png(&dir, "film/cover.png", PICTURES_PNG_RGB, 8, 8, 99);
  pictures_mkdir(&dir, "other");
  pictures_write_png(&dir, "other/one.png", PICTURES_PNG_RGB, 8, 8, 98);
  const sides s = split(&dir, 0.2f, 1);
  assert_int_equal(count_label(tinytl_folder_images(s.val), 0), 4);
  sides_free(&s);
  pictures_dir_remove(&dir);
}

/* Pictures whose names lie between those of a series cut it into pieces. */
static void finds_series_among_others(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  char name[100];
  pictures_mkdir(&dir, "films");
  pictures_mkdir(&dir, "other");
  for (int i = 0; i < 16; i++) {
    snprintf(name, sizeof name, "films/%c_%02d%s.png", 'a' + i / 4, i / 2 % 2,
             i % 2 ? "_crop" : "");
    write_picture(&dir, name);
    snprintf(name, sizeof name, "other/%d.png", i);
    write_picture(&dir, name);
  }
  for (uint64_t seed = 0; seed < 20; seed++) {
    int n_of_film[4] = {0};
    const sides s = split(&dir, 0.25f, seed);
    for (int i = 0; i < count_label(tinytl_folder_images(s.val), 0); i++) {
      const char *file = strrchr(tinytl_folder_path(s.val, i), '/') + 1;
      if (!strstr(file, "_crop")) n_of_film[file[0] - 'a']++;
    }
    for (int film = 0; film < 4; film++) assert_int_not_equal(n_of_film[film], 1); /* of two */
    sides_free(&s);
  }
  pictures_dir_remove(&dir);
}

static bool holds(const tinytl_folder *folder, const char *path) {
  for (int i = 0; i < tinytl_folder_images(folder)->n_images; i++)
    if (strcmp(tinytl_folder_path(folder, i), path) == 0) return true;
  return false;
}

/* What a search holds out holds what `train` holds back. */
static void of_more_holds_that_of_less(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  static const float shares[] = {0.1f, 0.13f, 0.2f, 0.35f, 0.5f, 0.9f};
  write_series(&dir);
  for (uint64_t seed = 0; seed < 20; seed++) {
    tinytl_folder *smaller = NULL;
    for (int i = 0; i < 6; i++) {
      const sides s = split(&dir, shares[i], seed);
      for (int k = 0; smaller && k < tinytl_folder_images(smaller)->n_images; k++)
        assert_true(holds(s.val, tinytl_folder_path(smaller, k)));
      tinytl_folder_free(s.train);
      tinytl_folder_free(smaller);
      smaller = s.val;
    }
    tinytl_folder_free(smaller);
  }
  pictures_dir_remove(&dir);
}

/* However many are wanted, something of every class is left to train on. */
static void leaves_one_of_the_series(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  char name[100];
  for (int c = 0; c < 2; c++) {
    snprintf(name, sizeof name, "%d", c);
    pictures_mkdir(&dir, name);
    for (int i = 0; i < 9; i++) {
      snprintf(name, sizeof name, "%d/%c%d.png", c, 'a' + i / 3, i % 3);
      write_picture(&dir, name);
    }
  }
  const sides s = split(&dir, 0.9f, 1);
  for (int c = 0; c < 2; c++) assert_int_equal(count_label(tinytl_folder_images(s.train), c), 3);
  sides_free(&s);
  pictures_dir_remove(&dir);
}

static void depends_on_the_seed(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, 20);
  const uint64_t seeds[3] = {1, 1, 2};
  char chosen[3][2000] = {{0}};
  for (int k = 0; k < 3; k++) {
    tinytl_folder *none;
    const sides s = split(&dir, 0.25f, seeds[k]);
    for (int i = 0; i < 10; i++) strcat(chosen[k], tinytl_folder_path(s.val, i));
    assert_int_equal(tinytl_folder_split(s.train, 0.95f, 1, &none, NULL), TINYTL_ERROR_USAGE);
    sides_free(&s);
  }
  assert_string_equal(chosen[0], chosen[1]);
  assert_string_not_equal(chosen[0], chosen[2]);
  pictures_dir_remove(&dir);
}

/* ---- Copies ------------------------------------------------------------------------------- */

static void write_seeded(const pictures_dir *dir, const char *name, int seed) {
  pictures_write_png(dir, name, PICTURES_PNG_RGB, 8, 8, seed);
}

/* A picture and its copy were on both sides: on noise accuracy was 100 %. b/0.png is of a/00.png.
 */
static void keeps_copies_together(void **state) {
  (void)state;
  const pictures_dir dir = pictures_dir_make();
  char name[40];
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "a/%c.png", 'a' + i);
    write_seeded(&dir, name, i);
    snprintf(name, sizeof name, "a/%c copy.png", 'a' + 19 - i);
    write_seeded(&dir, name, 19 - i);
    snprintf(name, sizeof name, "b/film_%d.png", i); /* no series may be taken whole */
    write_seeded(&dir, name, i % 10);
  }
  for (uint64_t seed = 0; seed < 20; seed++) {
    const sides s = split(&dir, 0.2f, seed);
    const tinytl_images *val = tinytl_folder_images(s.val);
    int n_of[26] = {0}, n_of_film[10] = {0};
    for (int i = 0; i < val->n_images; i++) {
      const char *file = strrchr(tinytl_folder_path(s.val, i), '/') + 1;
      int frame;
      if (sscanf(file, "film_%d", &frame) == 1)
        n_of_film[frame % 10]++;
      else
        n_of[file[0] - 'a']++;
    }
    for (int i = 0; i < 26; i++) assert_int_not_equal(n_of[i], 1); /* of two */
    for (int i = 0; i < 10; i++) assert_int_not_equal(n_of_film[i], 1);
    assert_int_equal(count_label(val, 0), 8);
    assert_int_equal(count_label(val, 1), 4);
    check_sides(&s, 60);
    sides_free(&s);
  }
  pictures_dir_remove(&dir);
}

/* A class of copies of one picture has none for validation. */
static void leaves_one_of_the_copies(void **state) {
  (void)state;
  const pictures_dir dir = pictures_dir_make();
  char name[40];
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  for (int i = 0; i < 6; i++) {
    snprintf(name, sizeof name, "a/%c.png", 'a' + i);
    write_seeded(&dir, name, 1);
    snprintf(name, sizeof name, "b/%c.png", 'a' + i);
    write_seeded(&dir, name, i < 5 ? 1 : 2); /* all but one */
  }
  for (uint64_t seed = 0; seed < 10; seed++) {
    const sides s = split(&dir, 0.5f, seed);
    assert_int_equal(count_label(tinytl_folder_images(s.train), 0), 6);
    assert_in_range(count_label(tinytl_folder_images(s.train), 1), 1, 5);
    check_sides(&s, 12);
    sides_free(&s);
  }
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_a_share_of_every_class), cmocka_unit_test(keeps_series_together),
      cmocka_unit_test(is_not_one_stray_picture),     cmocka_unit_test(finds_series_among_others),
      cmocka_unit_test(of_more_holds_that_of_less),   cmocka_unit_test(leaves_one_of_the_series),
      cmocka_unit_test(depends_on_the_seed),          cmocka_unit_test(keeps_copies_together),
      cmocka_unit_test(leaves_one_of_the_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
