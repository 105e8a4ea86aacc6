/* The same picture twice. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/cmocka.h"
#include "support/pictures.h"
#include "tinytl.h"

typedef struct found {
  const tinytl_folder *folder;
  int n;
  char text[1000]; /* "class/file = class/file\n" of each */
} found;

static const char *tail(const char *path) {
  const char *slash = strrchr(path, '/');
  while (slash[-1] != '/') slash--;
  return slash;
}

static void on_twins(void *context, int first, int second) {
  found *self = context;
  const size_t used = strlen(self->text);
  char one[100];
  snprintf(one, sizeof one, "%s", tail(tinytl_folder_path(self->folder, first)));
  snprintf(self->text + used, sizeof self->text - used, "%s = %s\n", one,
           tail(tinytl_folder_path(self->folder, second)));
  self->n++;
}

static found find(const pictures_dir *dir) {
  tinytl_folder *folder = NULL;
  tinytl_error error = {0};
  if (tinytl_folder_open(dir->path, TINYTL_PART_TRAIN, NULL, NULL, &folder, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  found twins = {.folder = folder};
  assert_int_equal(tinytl_folder_find_twins(folder, NULL, on_twins, &twins, &error), TINYTL_OK);
  tinytl_folder_free(folder);
  return twins;
}

static void append(const pictures_dir *dir, const char *name, const void *bytes, size_t nbytes) {
  FILE *file = fopen(pictures_path(dir, name), "ab");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
  assert_int_equal(fclose(file), 0);
}

/* Files of 1 KB and of 20 KB; a/1 and b/1 are the same, a/2, b/2 and b/3, and b/4 and b/5. */
static void test_twins(void **state) {
  (void)state;
  static const char *const big[] = {"a/2.png", "b/2.png", "b/3.png"};
  static char zeros[20000];
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  pictures_write_png(&dir, "a/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  pictures_write_png(&dir, "b/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  for (int i = 0; i < 3; i++) {
    pictures_write_png(&dir, big[i], PICTURES_PNG_RGB, 8, 8, 2);
    append(&dir, big[i], zeros, sizeof zeros);
  }
  pictures_write_png(&dir, "b/4.png", PICTURES_PNG_RGB, 8, 8, 3);
  pictures_write_png(&dir, "b/5.png", PICTURES_PNG_RGB, 8, 8, 3);
  pictures_write_png(&dir, "b/6.png", PICTURES_PNG_RGB, 8, 8, 4);
  found twins = find(&dir);
  assert_non_null(strstr(twins.text, "a/1.png = b/1.png\n"));
  assert_non_null(strstr(twins.text, "a/2.png = b/2.png\n"));
  assert_non_null(strstr(twins.text, "a/2.png = b/3.png\n"));
  assert_non_null(strstr(twins.text, "b/4.png = b/5.png\n"));
  assert_int_equal(twins.n, 4);
  pictures_dir_remove(&dir);
}

/* The same size and the same end, but another beginning. */
static void test_no_twins(void **state) {
  (void)state;
  static char zeros[20000];
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  pictures_write_png(&dir, "a/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  pictures_write_png(&dir, "b/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  append(&dir, "a/1.png", "1", 1);
  append(&dir, "b/1.png", "2", 1);
  append(&dir, "a/1.png", zeros, sizeof zeros);
  append(&dir, "b/1.png", zeros, sizeof zeros);
  assert_int_equal(find(&dir).n, 0);
  pictures_dir_remove(&dir);
}

/* a/0 has the size and the end of the twins, but another beginning. */
static void test_twins_behind_another(void **state) {
  (void)state;
  static char zeros[20000];
  static const char *const names[] = {"a/0.png", "a/1.png", "b/2.png"};
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  for (int i = 0; i < 3; i++) {
    pictures_write_png(&dir, names[i], PICTURES_PNG_RGB, 8, 8, 1);
    append(&dir, names[i], i ? "1" : "0", 1);
    append(&dir, names[i], zeros, sizeof zeros);
  }
  found twins = find(&dir);
  assert_string_equal(twins.text, "a/1.png = b/2.png\n");
  pictures_dir_remove(&dir);
}

static void count(void *context, int first, int second) {
  int *n = context;
  assert_int_equal(first, 1);
  assert_int_equal(second, 0);
  ++*n;
}

/* What is twice in either of two folders is not told of, what is in both is. */
static void test_two_folders(void **state) {
  (void)state;
  static const struct {
    const char *name;
    int seed;
  } files[] = {{"train/a/1.png", 1}, {"train/a/2.png", 2}, {"train/b/1.png", 3},
               {"train/b/2.png", 3}, {"val/a/1.png", 2},   {"val/b/1.png", 4},
               {"val/b/2.png", 4}};
  pictures_dir dir = pictures_dir_make();
  static const char *const folders[] = {"train", "train/a", "train/b", "val", "val/a", "val/b"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) pictures_mkdir(&dir, folders[i]);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    pictures_write_png(&dir, files[i].name, PICTURES_PNG_RGB, 8, 8, files[i].seed);
  tinytl_folder *train = NULL, *val = NULL;
  int n = 0;
  assert_int_equal(tinytl_folder_open(dir.path, TINYTL_PART_TRAIN, NULL, NULL, &train, NULL),
                   TINYTL_OK);
  assert_int_equal(tinytl_folder_open(dir.path, TINYTL_PART_VAL, NULL, NULL, &val, NULL),
                   TINYTL_OK);
  assert_int_equal(tinytl_folder_find_twins(train, val, count, &n, NULL), TINYTL_OK);
  assert_int_equal(n, 1);
  tinytl_folder_free(val);
  tinytl_folder_free(train);
  pictures_dir_remove(&dir);
}

/* Files that went after the folder was opened. */
static void test_gone(void **state) {
  (void)state;
  pictures_dir dir = pictures_dir_make();
  pictures_mkdir(&dir, "a");
  pictures_mkdir(&dir, "b");
  pictures_write_png(&dir, "a/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  pictures_write_png(&dir, "b/1.png", PICTURES_PNG_RGB, 8, 8, 1);
  tinytl_folder *folder = NULL;
  assert_int_equal(tinytl_folder_open(dir.path, TINYTL_PART_TRAIN, NULL, NULL, &folder, NULL),
                   TINYTL_OK);
  assert_int_equal(unlink(pictures_path(&dir, "a/1.png")), 0);
  assert_int_equal(unlink(pictures_path(&dir, "b/1.png")), 0);
  found twins = {.folder = folder};
  assert_int_equal(tinytl_folder_find_twins(folder, NULL, on_twins, &twins, NULL), TINYTL_OK);
  assert_int_equal(twins.n, 0);
  tinytl_folder_free(folder);
  pictures_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_twins), cmocka_unit_test(test_no_twins),
                                     cmocka_unit_test(test_twins_behind_another),
                                     cmocka_unit_test(test_two_folders),
                                     cmocka_unit_test(test_gone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
