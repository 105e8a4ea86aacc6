/* Every write, and every call that makes a file complete, fails once in turn or takes half of what
 * it was given: the file is the old one or the new one, whole, and nothing else is left beside it.
 */
#include "support/cmocka.h"
#include "support/faults.h"
#include "support/pictures.h"
#include "support/saved_run.h"
#include "support/tiny_net.h"

#include "core/spill.h"
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is written, and the file that this makes. */
static tinytl_backbone *backbone;
static tinytl_adapter *adapter;
static const tinytl_checkpoint *checkpoint;
static sink whole;
static pictures_dir dir;

typedef tinytl_status (*write_fn)(tinytl_write_fn write, void *context, tinytl_error *error);

static tinytl_status write_backbone(tinytl_write_fn write, void *context, tinytl_error *error) {
  return tinytl_backbone_write(backbone, write, context, error);
}

static tinytl_status write_adapter(tinytl_write_fn write, void *context, tinytl_error *error) {
  return tinytl_adapter_write(adapter, write, context, error);
}

static tinytl_status write_checkpoint(tinytl_write_fn write, void *context, tinytl_error *error) {
  return tinytl_checkpoint_write(checkpoint, write, context, error);
}

static tinytl_status write_file(write_fn write, tinytl_error *error) {
  cli_output output;
  tinytl_status status = cli_output_open(&output, pictures_path(&dir, "file"), NULL, error);
  if (status != TINYTL_OK) return status;
  status = write(cli_output_write, &output, error);
  return cli_output_commit(&output, status, error);
}

/* The only file in the folder. */
static sink read_only_file(void) {
  DIR *opened = opendir(dir.path);
  int n = 0;
  assert_non_null(opened);
  for (const struct dirent *entry; (entry = readdir(opened));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    assert_string_equal(entry->d_name, "file");
    n++;
  }
  closedir(opened);
  assert_int_equal(n, 1);
  sink file = {.nbytes = pictures_nbytes(&dir, "file")};
  file.bytes = malloc(file.nbytes + 1);
  FILE *from = fopen(pictures_path(&dir, "file"), "rb");
  assert_int_equal(fread(file.bytes, 1, file.nbytes, from), file.nbytes);
  fclose(from);
  return file;
}

static bool is_same(const sink *file, const void *bytes, size_t nbytes) {
  return file->nbytes == nbytes && memcmp(file->bytes, bytes, nbytes) == 0;
}

/* Returns how many faults there were. */
static long check_faults(write_fn write, int reason, bool cut_short) {
  static const char old[] = "the old file";
  long at = 0;
  for (bool happened = true; happened; at++) {
    tinytl_error error = {0};
    pictures_write(&dir, "file", old, sizeof old);
    faults_begin(FAULTS_WRITE, at, reason, cut_short);
    const tinytl_status status = write_file(write, &error);
    happened = faults_end();
    sink file = read_only_file();
    const bool is_old = is_same(&file, old, sizeof old);
    const bool is_new = is_same(&file, whole.bytes, whole.nbytes);
    if (!is_old && !is_new) fail_msg("fault %ld: neither the old file nor the new one", at);
    if (status == TINYTL_OK) {
      assert_true(is_new && !happened);
    } else {
      assert_int_equal(status, TINYTL_ERROR_INTERNAL);
      assert_non_null(strstr(error.message, pictures_path(&dir, "file")));
      assert_non_null(strstr(error.message, strerror(reason)));
    }
    free(file.bytes);
  }
  return at - 1;
}

static void check(const char *name, write_fn write) {
  tinytl_error error;
  whole = (sink){0};
  assert_int_equal(write(sink_write, &whole, NULL), TINYTL_OK);
  if (write_file(write, &error) != TINYTL_OK) fail_msg("%s", error.message);
  long n = 0;
  static const int reasons[] = {ENOSPC, EIO, EDQUOT};
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    for (int cut_short = 0; cut_short < 2; cut_short++)
      n += check_faults(write, reasons[i], cut_short);
  printf("%s: %ld faults\n", name, n);
  assert_true(n > 30);
  free(whole.bytes);
}

static void test_backbone(void **state) {
  (void)state;
  check("backbone", write_backbone);
}

static void test_adapter(void **state) {
  (void)state;
  check("adapter", write_adapter);
}

/* From inside a run, where its values are: at the first save. */
static void check_checkpoint(void *context, const tinytl_checkpoint *now) {
  saved_run *f = context;
  if (f->n_saves++ > 0) return;
  checkpoint = now;
  check("checkpoint", write_checkpoint);
}

static void test_checkpoint(void **state) {
  (void)state;
  saved_run *f = saved_run_make(TINYTL_METHOD_LITE_BIAS);
  sink trained;
  f->options.save = check_checkpoint;
  saved_run_finish(f, NULL, &trained);
  assert_true(f->n_saves > 1);
  f->n_saves = 0; /* none is in memory */
  free(trained.bytes);
  saved_run_free(f);
}

/* A write that is cut short is gone on with. */
static void test_spill(void **state) {
  (void)state;
  static unsigned char bytes[9000], got[9000];
  tinytl_spill *spill = NULL;
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i % 251);
  assert_int_equal(tinytl_spill_create(dir.path, &spill, NULL), TINYTL_OK);
  static const int reasons[] = {ENOSPC, EIO};
  for (int i = 0; i < 2; i++) {
    tinytl_error error = {0};
    faults_begin(FAULTS_WRITE, 0, reasons[i], false);
    assert_int_equal(tinytl_spill_write(spill, 100, bytes, sizeof bytes, &error),
                     TINYTL_ERROR_INTERNAL);
    assert_true(faults_end());
    assert_non_null(strstr(error.message, dir.path));
    assert_non_null(strstr(error.message, strerror(reasons[i])));
  }
  faults_begin(FAULTS_WRITE, 0, EINTR, false);
  assert_int_equal(tinytl_spill_write(spill, 0, bytes, 1, NULL), TINYTL_OK);
  assert_true(faults_end());
  faults_begin(FAULTS_WRITE, 0, 0, true);
  assert_int_equal(tinytl_spill_write(spill, 100, bytes, sizeof bytes, NULL), TINYTL_OK);
  assert_true(faults_end());
  assert_int_equal(tinytl_spill_read(spill, 100, got, sizeof got, NULL), TINYTL_OK);
  assert_memory_equal(got, bytes, sizeof got);
  tinytl_spill_free(spill);
}

static int set_up(void **state) {
  (void)state;
  dir = pictures_dir_make();
  saved_run *f = saved_run_make(TINYTL_METHOD_LITE_BIAS);
  sink trained;
  saved_run_finish(f, NULL, &trained);
  assert_int_equal(
      tinytl_adapter_open(trained.bytes, trained.nbytes, "trained", NULL, &adapter, NULL),
      TINYTL_OK);
  free(trained.bytes);
  saved_run_free(f);
  backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SAME, true);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tinytl_adapter_free(adapter);
  tinytl_backbone_free(backbone);
  pictures_dir_remove(&dir);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_backbone),
      cmocka_unit_test(test_adapter),
      cmocka_unit_test(test_checkpoint),
      cmocka_unit_test(test_spill),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
