/* Pictures that are removed, cut or replaced while a run is going on over their folder: what can
 * still be read is used, what cannot is told of once, and nothing waits. */
#include "support/cmocka.h"
#include "support/pictures.h"
#include "support/tiny_net.h"
#include "tinytl.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_PICTURES = 5, N_BROKEN = 4 };

typedef struct fixture {
  pictures_dir dir;
  int n_epochs, n_told;
  char told[N_BROKEN][8]; /* class/number */
} fixture;

static void on_skip(void *context, const char *path, const char *reason) {
  fixture *f = context;
  assert_true(f->n_told < N_BROKEN && strlen(reason) > 0);
  const char *at = path + strlen(f->dir.path) + 1;
  snprintf(f->told[f->n_told++], sizeof f->told[0], "%.3s", at);
}

static void change(const pictures_dir *dir) {
  assert_int_equal(unlink(pictures_path(dir, "a/0.png")), 0);
  pictures_cut(dir, "a/1.png", 0);
  pictures_cut(dir, "b/0.png", 100);
  assert_int_equal(unlink(pictures_path(dir, "b/1.png")), 0);
  assert_int_equal(mkfifo(pictures_path(dir, "b/1.png"), 0600), 0);
  pictures_write_jpeg(dir, "b/2.png", PICTURES_JPEG_PROGRESSIVE, 300, 500, 9);
}

static void on_progress(void *context, const tinytl_epoch *epoch) {
  fixture *f = context;
  if (epoch->finished && ++f->n_epochs == 1) change(&f->dir);
}

static bool was_told(const fixture *f, const char *name) {
  for (int i = 0; i < f->n_told; i++)
    if (strcmp(f->told[i], name) == 0) return true;
  return false;
}

static void test_changed_pictures(void **state) {
  (void)state;
  fixture f = {.dir = pictures_dir_make()};
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false);
  tinytl_folder *folder = NULL;
  tinytl_adapter *adapter = NULL;
  tinytl_train_report report;
  tinytl_error error;
  for (int i = 0; i < 2 * N_PICTURES; i++) {
    char name[16];
    if (i < 2) pictures_mkdir(&f.dir, i ? "b" : "a");
    snprintf(name, sizeof name, "%c/%d.png", i % 2 ? 'b' : 'a', i / 2);
    pictures_write_png(&f.dir, name, PICTURES_PNG_RGB, 30, 25, i);
  }
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = TINYTL_METHOD_BIAS;
  options.epochs = 3;
  options.n_threads = 1;
  options.skip = on_skip;
  options.progress = on_progress;
  options.context = &f;
  assert_int_equal(tinytl_folder_open(f.dir.path, TINYTL_PART_TRAIN, NULL, NULL, &folder, NULL),
                   TINYTL_OK);
  if (tinytl_train(backbone, tinytl_folder_images(folder), NULL, &options, &adapter, &report,
                   &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  assert_int_equal(f.n_epochs, 3);
  assert_int_equal(f.n_told, N_BROKEN);
  assert_true(was_told(&f, "a/0") && was_told(&f, "a/1"));
  assert_true(was_told(&f, "b/0") && was_told(&f, "b/1"));
  assert_int_equal(report.train_images, 2 * N_PICTURES - N_BROKEN);
  assert_int_equal(report.skipped_images, N_BROKEN);
  tinytl_adapter_free(adapter);
  tinytl_folder_free(folder);
  tinytl_backbone_free(backbone);
  pictures_dir_remove(&f.dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_changed_pictures)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
