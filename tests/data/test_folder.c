/* Class folders: what is found, what is passed over, what is refused. */
#include "image/image.h"
#include "support/cmocka.h"
#include "support/pictures.h"
#include "tinytl.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void write_picture(const pictures_dir *dir, const char *name) {
  pictures_write_png(dir, name, PICTURES_PNG_RGB, 4, 4, 1);
}

/* Classes "a" and "b" with n pictures each, under `prefix`. */
static void write_classes(const pictures_dir *dir, const char *prefix, int n) {
  for (int c = 0; c < 2; c++) {
    char name[100];
    snprintf(name, sizeof name, "%s%c", prefix, 'a' + c);
    pictures_mkdir(dir, name);
    for (int i = 0; i < n; i++) {
      snprintf(name, sizeof name, "%s%c/%02d.png", prefix, 'a' + c, i);
      write_picture(dir, name);
    }
  }
}

typedef struct skips {
  int n;
  char text[1000]; /* "file: reason\n" of each */
} skips;

static void on_skip(void *context, const char *path, const char *reason) {
  skips *self = context;
  self->n++;
  size_t used = strlen(self->text);
  snprintf(self->text + used, sizeof self->text - used, "%s: %s\n", strrchr(path, '/') + 1, reason);
}

static tinytl_folder *open_part(const char *path, tinytl_part part, skips *skipped) {
  tinytl_folder *folder = NULL;
  tinytl_error error = {0};
  if (tinytl_folder_open(path, part, on_skip, skipped, &folder, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  return folder;
}

static void assert_refused(const char *path, tinytl_part part, const char *reason) {
  tinytl_folder *folder = NULL;
  tinytl_error error = {0};
  assert_int_equal(tinytl_folder_open(path, part, NULL, NULL, &folder, &error), TINYTL_ERROR_DATA);
  assert_null(folder);
  if (!strstr(error.message, reason)) fail_msg("'%s' does not say '%s'", error.message, reason);
}

/* ---- What is found ------------------------------------------------------------------------ */

static void names_are_bytes_in_order(void **state) {
  (void)state;
  static const char *const classes[] = {"Zebra", "it's \"quoted\" $x", "two words", "\xc3\xa4hre",
                                        "\xff\xfe not utf-8"};
  pictures_dir dir = pictures_dir_make();
  for (int c = 4; c >= 0; c--) {
    char name[200];
    pictures_mkdir(&dir, classes[c]);
    snprintf(name, sizeof name, "%s/b 'x' \"y\" \xe9.JPG", classes[c]);
    write_picture(&dir, name);
    snprintf(name, sizeof name, "%s/a.Jpeg", classes[c]);
    write_picture(&dir, name);
  }
  skips skipped = {0};
  tinytl_folder *folder = open_part(pictures_path(&dir, "/"), TINYTL_PART_TRAIN, &skipped);
  const tinytl_images *images = tinytl_folder_images(folder);
  assert_int_equal(images->n_classes, 5);
  assert_int_equal(images->n_images, 10);
  for (int c = 0; c < 5; c++) assert_string_equal(images->class_names[c], classes[c]);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(images->labels[i], i / 2);
    const char *path = tinytl_folder_path(folder, i);
    assert_string_equal(strrchr(path, '/') + 1, i % 2 ? "b 'x' \"y\" \xe9.JPG" : "a.Jpeg");
    assert_ptr_equal(images->name(images->context, i), path);
    uint8_t rgb[4 * 4 * 3];
    const tinytl_view view = {.size = 4, .resize = 4};
    assert_int_equal(images->load(images->context, i, &view, rgb, NULL), TINYTL_OK);
    assert_int_equal(rgb[0], pictures_pixel(1, 0, 0, 0));
  }
  assert_null(tinytl_folder_path(folder, 10));
  assert_null(tinytl_folder_path(folder, -1));
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

static void other_files_are_passed_over(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  pictures_write(&dir, "notes.txt", "x", 1);
  write_picture(&dir, "stray.png");
  pictures_mkdir(&dir, ".thumbnails");
  pictures_write(&dir, "a/.hidden.jpg", "x", 1);
  pictures_write(&dir, "a/Thumbs.db", "x", 1);
  pictures_write(&dir, "a/jpg", "x", 1);
  pictures_mkdir(&dir, "a/deeper");
  write_picture(&dir, "a/deeper/c.png");
  pictures_mkdir(&dir, "a/folder.png");
  assert_int_equal(symlink(pictures_path(&dir, "stray.png"), pictures_path(&dir, "a/link.png")), 0);
  skips skipped = {0};
  tinytl_folder *folder = open_part(dir.path, TINYTL_PART_TRAIN, &skipped);
  assert_int_equal(tinytl_folder_images(folder)->n_classes, 2);
  assert_int_equal(tinytl_folder_images(folder)->n_images, 3); /* with the link */
  assert_int_equal(skipped.n, 2); /* each kind told of once, the hidden ones not */
  assert_non_null(strstr(skipped.text, ": 1 picture beside the class folders, in none of them"));
  assert_non_null(strstr(skipped.text, "first in 'a': 2 files that are no .jpg, .jpeg or .png, and "
                                       "2 folders"));
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

static void make_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_true(fd >= 0 && strlen(path) < sizeof address.sun_path);
  strcpy(address.sun_path, path);
  assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
  close(fd);
}

static void unreadable_files_are_told(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  pictures_write(&dir, "a/1.jpg", "a text file", 11);
  pictures_write(&dir, "a/2.jpg", "", 0);
  assert_int_equal(symlink("nowhere", pictures_path(&dir, "a/3.jpg")), 0);
  assert_int_equal(mkfifo(pictures_path(&dir, "a/4.jpg"), 0600), 0);
  pictures_write_jpeg(&dir, "a/5.jpg", PICTURES_JPEG_RGB, 20, 20, 1);
  pictures_cut(&dir, "a/5.jpg", 100);
  make_socket(pictures_path(&dir, "a/6.jpg"));
  skips skipped = {0};
  tinytl_folder *folder = open_part(dir.path, TINYTL_PART_TRAIN, &skipped);
  assert_string_equal(skipped.text, "1.jpg: neither a JPEG nor a PNG file\n"
                                    "2.jpg: empty file\n"
                                    "3.jpg: No such file or directory\n"
                                    "4.jpg: not a regular file\n"
                                    "5.jpg: Premature end of JPEG file\n"
                                    "6.jpg: not a regular file\n");
  assert_int_equal(tinytl_folder_n_skipped(folder), 6);
  assert_int_equal(tinytl_folder_images(folder)->n_images, 2);
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

/* ---- Parts -------------------------------------------------------------------------------- */

static void assert_part(const char *path, tinytl_part part, int n_images, const char *where) {
  skips skipped = {0};
  tinytl_folder *folder = open_part(path, part, &skipped);
  assert_int_equal(tinytl_folder_images(folder)->n_images, n_images);
  assert_non_null(strstr(tinytl_folder_path(folder, 0), where));
  tinytl_folder_free(folder);
}

static void parts_are_sub_folders(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "train");
  write_classes(&dir, "train/", 3);
  assert_refused(dir.path, TINYTL_PART_VAL, "no val sub-folder");
  assert_refused(dir.path, TINYTL_PART_TEST, "no test sub-folder");
  pictures_mkdir(&dir, "val");
  write_picture(&dir, "val/1.png");
  skips skipped = {0};
  write_picture(&dir, "loose.png");
  tinytl_folder_free(open_part(dir.path, TINYTL_PART_TRAIN, &skipped));
  assert_non_null(strstr(skipped.text, ": 1 picture beside the class folders, in none of them\n"));
  assert_non_null(strstr(skipped.text, "val: has no class folders\n"));
  assert_int_equal(skipped.n, 2);
  write_classes(&dir, "val/", 2);
  assert_part(dir.path, TINYTL_PART_TRAIN, 6, "/train/a/00.png");
  assert_part(dir.path, TINYTL_PART_VAL, 4, "/val/a/00.png");
  assert_part(dir.path, TINYTL_PART_TEST, 4, "/val/a/00.png");
  pictures_mkdir(&dir, "test");
  skipped = (skips){0};
  tinytl_folder_free(open_part(dir.path, TINYTL_PART_TEST, &skipped));
  assert_non_null(strstr(skipped.text, "test: has no class folders\n"));
  assert_false(tinytl_folder_has_part(dir.path, TINYTL_PART_TEST));
  write_classes(&dir, "test/", 1);
  assert_part(dir.path, TINYTL_PART_TEST, 2, "/test/a/00.png");
  assert_true(tinytl_folder_has_part(dir.path, TINYTL_PART_TEST));
  pictures_dir_remove(&dir);
}

/* A part that there is not was looked up beyond the names of those that there are. */
static void no_part_is_refused(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  tinytl_folder *folder = NULL;
  tinytl_error error = {0};
  pictures_mkdir(&dir, "train");
  write_classes(&dir, "train/", 2);
  assert_int_equal(tinytl_folder_open(dir.path, (tinytl_part)3, NULL, NULL, &folder, &error),
                   TINYTL_ERROR_USAGE);
  assert_null(folder);
  assert_string_equal(error.message, "part must be 0 to 2, not 3");
  assert_false(tinytl_folder_has_part(dir.path, (tinytl_part)3));
  pictures_dir_remove(&dir);
}

static void without_parts_every_part_is_the_folder(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 2);
  for (int part = 0; part < 3; part++) {
    assert_part(dir.path, (tinytl_part)part, 4, "/a/00.png");
    assert_false(tinytl_folder_has_part(dir.path, (tinytl_part)part));
  }
  pictures_dir_remove(&dir);
}

static void a_class_may_be_called_train(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  pictures_mkdir(&dir, "train");
  write_picture(&dir, "train/locomotive.png");
  assert_part(dir.path, TINYTL_PART_TRAIN, 3, "/a/00.png");
  pictures_dir_remove(&dir);
}

/* ---- What is refused ---------------------------------------------------------------------- */

static void folders_without_classes_are_refused(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  assert_refused(pictures_path(&dir, "missing"), TINYTL_PART_TRAIN, "No such file");
  write_picture(&dir, "file.png");
  assert_refused(pictures_path(&dir, "file.png"), TINYTL_PART_TRAIN, "not a folder");
  assert_refused(dir.path, TINYTL_PART_TRAIN, "at least two class sub-folders");
  assert_refused(dir.path, TINYTL_PART_TEST, "found none");
  pictures_mkdir(&dir, "only");
  write_picture(&dir, "only/1.png");
  assert_refused(dir.path, TINYTL_PART_TRAIN, "only 'only'");
  assert_part(dir.path, TINYTL_PART_TEST, 1, "only/1.png");
  pictures_dir_remove(&dir);
}

static void empty_classes_are_refused(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  pictures_mkdir(&dir, "c");
  assert_refused(dir.path, TINYTL_PART_TRAIN, "/c: class without pictures: expected");
  pictures_write(&dir, "c/1.jpg", "text", 4);
  pictures_write(&dir, "c/2.jpg", "text", 4);
  assert_refused(dir.path, TINYTL_PART_TRAIN, "/c: class without pictures: none of its 2 files");
  pictures_dir_remove(&dir);
}

/* It counted as missing, and with memory short so did one that is there. */
static void parts_that_cannot_be_opened_are_refused(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  assert_int_equal(symlink("train", pictures_path(&dir, "train")), 0);
  assert_refused(dir.path, TINYTL_PART_TRAIN, "/train: Too many levels of symbolic links");
  assert_false(tinytl_folder_has_part(dir.path, TINYTL_PART_TRAIN));
  pictures_dir_remove(&dir);
}

static void closed_folders_are_refused(void **state) {
  (void)state;
  if (geteuid() == 0) {
    print_message("skipped: root may read everything\n");
    skip();
  }
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 1);
  assert_int_equal(chmod(pictures_path(&dir, "b"), 0), 0);
  assert_refused(dir.path, TINYTL_PART_TRAIN, "/b: Permission denied");
  pictures_dir_remove(&dir);
}

static void names_of_pictures(void **state) {
  (void)state;
  static const char *const taken[] = {"a.jpg", "a.JPEG", ".Png", "a.gif.png", "folder.d/a.jpg"};
  static const char *const others[] = {"jpg", "a.jpg.part", "a.jp", "a.png/", "a.jpg/b", ""};
  for (int i = 0; i < 5; i++) assert_true(tinytl_is_picture_name(taken[i]));
  for (int i = 0; i < 6; i++) assert_false(tinytl_is_picture_name(others[i]));
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* The bound is that of the most costly picture that the view's limit lets through. */
static void memory_of_the_pictures_is_told(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  write_classes(&dir, "", 3);
  skips skipped = {0};
  tinytl_view view = {.size = 32, .resize = 32};
  tinytl_folder *folder = open_part(dir.path, TINYTL_PART_TRAIN, &skipped);
  const tinytl_images *images = tinytl_folder_images(folder);
  size_t small = images->load_nbytes(images->context, &view);
  size_t listing = tinytl_folder_nbytes(folder);
  assert_in_range(small, TINYTL_PICTURE_HEADER_NBYTES, 200000);
  tinytl_folder_free(folder);

  pictures_write_jpeg(&dir, "a/large.jpg", PICTURES_JPEG_PROGRESSIVE, 400, 300, 1);
  folder = open_part(dir.path, TINYTL_PART_TRAIN, &skipped);
  images = tinytl_folder_images(folder);
  tinytl_picture_info info;
  assert_int_equal(tinytl_picture_check(pictures_path(&dir, "a/large.jpg"), &info, NULL),
                   TINYTL_OK);
  size_t large = images->load_nbytes(images->context, &view);
  assert_int_equal(large, tinytl_picture_need(&info, &view));
  assert_true(large > small);
  assert_in_range(tinytl_folder_nbytes(folder), listing + 1, listing + 100);
  view.max_nbytes = large - 1; /* the large one is refused */
  assert_int_equal(images->load_nbytes(images->context, &view), small);
  view.max_nbytes = small - 1;
  assert_int_equal(images->load_nbytes(images->context, &view), TINYTL_PICTURE_HEADER_NBYTES);
  view.max_nbytes = 0;

  tinytl_folder *val = NULL;
  assert_int_equal(tinytl_folder_split(folder, 0.5f, 1, &val, NULL), TINYTL_OK);
  assert_int_equal(images->load_nbytes(images->context, &view), large);
  images = tinytl_folder_images(val);
  assert_int_equal(images->load_nbytes(images->context, &view), large);
  tinytl_folder_free(val);
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

/* As many kinds of pictures as there are pictures, and some twice. */
static void every_kind_is_kept(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  for (int i = 0; i < 80; i++) {
    char name[32];
    snprintf(name, sizeof name, "%c/%d.png", i % 2 ? 'a' : 'b', i);
    pictures_write_png(&dir, name, PICTURES_PNG_RGB, 900 - i / 2 * 20, 2, 1);
  }
  skips skipped = {0};
  tinytl_folder *folder = open_part(dir.path, TINYTL_PART_TRAIN, &skipped);
  const tinytl_images *images = tinytl_folder_images(folder);
  const tinytl_view view = {.size = 2, .resize = 2};
  tinytl_picture_info widest;
  assert_int_equal(tinytl_picture_check(pictures_path(&dir, "a/1.png"), &widest, NULL), TINYTL_OK);
  assert_int_equal(images->load_nbytes(images->context, &view),
                   tinytl_picture_need(&widest, &view));
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_bytes_in_order),
      cmocka_unit_test(other_files_are_passed_over),
      cmocka_unit_test(unreadable_files_are_told),
      cmocka_unit_test(parts_are_sub_folders),
      cmocka_unit_test(no_part_is_refused),
      cmocka_unit_test(without_parts_every_part_is_the_folder),
      cmocka_unit_test(a_class_may_be_called_train),
      cmocka_unit_test(folders_without_classes_are_refused),
      cmocka_unit_test(empty_classes_are_refused),
      cmocka_unit_test(parts_that_cannot_be_opened_are_refused),
      cmocka_unit_test(closed_folders_are_refused),
      cmocka_unit_test(names_of_pictures),
      cmocka_unit_test(memory_of_the_pictures_is_told),
      cmocka_unit_test(every_kind_is_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
