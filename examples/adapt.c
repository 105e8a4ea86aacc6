/* Adapts a backbone to a folder of pictures through the library:
 *
 *     adapt BACKBONE DIR ADAPTER
 *
 * cc adapt.c $(pkg-config --cflags --libs tinytl) -o adapt */
#include <stdio.h>
#include <stdlib.h>
#include <tinytl.h>

/* A whole file; its length in *nbytes. NULL: cannot be read. */
static void *read_file(const char *path, size_t *nbytes) {
  *nbytes = 0;
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
  rewind(file);
  void *bytes = size > 0 ? malloc((size_t)size) : NULL;
  if (bytes) *nbytes = fread(bytes, 1, (size_t)size, file);
  fclose(file);
  return bytes;
}

static bool write_bytes(void *file, const void *bytes, size_t nbytes) {
  return fwrite(bytes, 1, nbytes, file) == nbytes;
}

static tinytl_status save(const tinytl_adapter *adapter, const char *path, tinytl_error *error) {
  FILE *file = fopen(path, "wb");
  tinytl_status status = TINYTL_ERROR_INTERNAL;
  if (file) status = tinytl_adapter_write(adapter, write_bytes, file, error);
  if (file && fclose(file) != 0) status = TINYTL_ERROR_INTERNAL;
  if (status != TINYTL_OK) snprintf(error->message, sizeof error->message, "%s: not written", path);
  return status;
}

static void print_epoch(void *context, const tinytl_epoch *epoch) {
  (void)context;
  if (!epoch->finished) return;
  printf("epoch %d of %d: loss %.3f, top-1 %.3f\n", epoch->epoch, epoch->n_epochs,
         (double)epoch->loss, (double)epoch->val_top1);
}

/* A fifth of the pictures chooses the best epoch; the rest is trained on. */
static tinytl_status adapt(const tinytl_backbone *backbone, const char *dir, const char *path,
                           tinytl_error *error) {
  tinytl_folder *train = NULL, *val = NULL;
  tinytl_adapter *adapter = NULL;
  tinytl_train_options options;
  tinytl_train_report report;
  tinytl_train_options_init(&options);
  options.progress = print_epoch;
  tinytl_status status = tinytl_folder_open(dir, TINYTL_PART_TRAIN, NULL, NULL, &train, error);
  if (status == TINYTL_OK) status = tinytl_folder_split(train, 0.2f, 0, &val, error);
  if (status == TINYTL_OK) {
    status = tinytl_train(backbone, tinytl_folder_images(train), tinytl_folder_images(val),
                          &options, &adapter, &report, error);
  }
  if (status == TINYTL_OK) status = save(adapter, path, error);
  if (status == TINYTL_OK) {
    printf("top-1 %.3f on pictures not trained on\n", (double)report.val_top1);
  }
  tinytl_adapter_free(adapter);
  tinytl_folder_free(val);
  tinytl_folder_free(train);
  return status;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: adapt BACKBONE DIR ADAPTER\n");
    return TINYTL_ERROR_USAGE;
  }
  tinytl_error error = {0};
  tinytl_backbone *backbone = NULL;
  size_t nbytes;
  void *bytes = read_file(argv[1], &nbytes);
  tinytl_status status =
      tinytl_backbone_open(bytes ? bytes : "", nbytes, argv[1], &backbone, &error);
  if (status == TINYTL_OK) status = adapt(backbone, argv[2], argv[3], &error);
  if (status != TINYTL_OK) fprintf(stderr, "adapt: %s\n", error.message);
  tinytl_backbone_free(backbone);
  free(bytes);
  return status;
}
