/* Trains, evaluates and predicts again and again in one process, at a memory limit of 24 MB:
 *
 *     bench_soak BACKBONE DIR SECONDS
 *
 * A line of CSV a round: seconds since the start, method, resident bytes after it, the most there
 * ever were, top-1 of its adapter. Ends with exit code 1 when anything fails, when a round ends
 * with another adapter than the first one of its method, or when the limit was not kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/pages.h"
#include "tinytl.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { LIMIT = 24000000, SIZE = 96, N_METHODS = TINYTL_METHOD_AUTO, MAX_ADAPTER = 8 << 20 };

/* An adapter's bytes, [MAX_ADAPTER]; pages that were not written to take no memory. */
typedef struct file {
  size_t nbytes;
  unsigned char *bytes;
} file;

static bool keep(void *context, const void *bytes, size_t nbytes) {
  file *to = context;
  if (nbytes > MAX_ADAPTER - to->nbytes) return false;
  memcpy(to->bytes + to->nbytes, bytes, nbytes);
  to->nbytes += nbytes;
  return true;
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash(const file *file) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < file->nbytes; i++)
    hash = (hash ^ file->bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static bool pass(void *context, const void *bytes, size_t nbytes) {
  (void)bytes;
  *(size_t *)context += nbytes;
  return true;
}

static void save(void *context, const tinytl_checkpoint *checkpoint) {
  (void)context;
  size_t nbytes = 0;
  (void)tinytl_checkpoint_write(checkpoint, pass, &nbytes, NULL);
}

static size_t peak_nbytes(void) {
  size_t kib = 0;
  char line[128];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && kib == 0 && fgets(line, sizeof line, status))
    if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoul(line + 6, NULL, 10);
  if (status) fclose(status);
  return kib * 1024;
}

static tinytl_status evaluate(const tinytl_backbone *backbone, const tinytl_adapter *adapter,
                              const tinytl_images *images, float *top1, tinytl_error *error) {
  static unsigned char rgb[SIZE * SIZE * 3];
  tinytl_predictor *predictor = NULL;
  tinytl_status status = tinytl_predictor_create(backbone, adapter, 0, 0, &predictor, error);
  int n_right = 0;
  for (int i = 0; status == TINYTL_OK && i < images->n_images; i++) {
    const tinytl_view view = tinytl_predictor_view(predictor);
    float probabilities[64];
    status = images->load(images->context, i, &view, rgb, error);
    if (status == TINYTL_OK) status = tinytl_predictor_run(predictor, rgb, probabilities, error);
    int best = 0;
    for (int c = 1; status == TINYTL_OK && c < images->n_classes; c++)
      if (probabilities[c] > probabilities[best]) best = c;
    n_right += best == images->labels[i];
  }
  tinytl_predictor_free(predictor);
  *top1 = (float)n_right / (float)images->n_images;
  return status;
}

/* What the adapter is known by goes into *trained. */
static tinytl_status run_round(const tinytl_backbone *backbone, const char *dir,
                               tinytl_method method, uint64_t *trained, float *top1,
                               tinytl_error *error) {
  tinytl_folder *train = NULL, *val = NULL;
  tinytl_adapter *adapter = NULL;
  tinytl_train_options options;
  tinytl_train_options_init(&options);
  options.method = method;
  options.image_size = SIZE;
  options.epochs = 2;
  options.memory_limit = LIMIT;
  options.save = save;
  options.save_seconds = 0;
  file file = {.bytes = malloc(MAX_ADAPTER)};
  if (!file.bytes) abort();
  tinytl_status status = tinytl_folder_open(dir, TINYTL_PART_TRAIN, NULL, NULL, &train, error);
  if (status == TINYTL_OK) status = tinytl_folder_split(train, 0.2f, 0, &val, error);
  if (status == TINYTL_OK)
    status = tinytl_train(backbone, tinytl_folder_images(train), tinytl_folder_images(val),
                          &options, &adapter, NULL, error);
  if (status == TINYTL_OK) status = tinytl_adapter_write(adapter, keep, &file, error);
  tinytl_adapter_free(adapter);
  adapter = NULL;
  if (status == TINYTL_OK)
    status = tinytl_adapter_open(file.bytes, file.nbytes, "trained", backbone, &adapter, error);
  if (status == TINYTL_OK)
    status = evaluate(backbone, adapter, tinytl_folder_images(val), top1, error);
  tinytl_adapter_free(adapter);
  tinytl_folder_free(val);
  tinytl_folder_free(train);
  *trained = hash(&file);
  free(file.bytes);
  return status;
}

static int soak(const tinytl_backbone *backbone, const char *dir, double seconds) {
  uint64_t first[N_METHODS] = {0}, trained = 0;
  const double start = tinytl_now();
  printf("seconds,method,resident_bytes,peak_bytes,top1\n");
  for (int round = 0; tinytl_now() - start < seconds; round++) {
    const tinytl_method method = (tinytl_method)(round % N_METHODS);
    tinytl_error error;
    float top1 = NAN;
    if (run_round(backbone, dir, method, &trained, &top1, &error) != TINYTL_OK) {
      fprintf(stderr, "round %d: %s\n", round, error.message);
      return 1;
    }
    const size_t peak = peak_nbytes();
    printf("%.1f,%s,%zu,%zu,%.4f\n", tinytl_now() - start, tinytl_method_name(method),
           tinytl_resident_nbytes(), peak, (double)top1);
    fflush(stdout);
    if (round < N_METHODS) first[method] = trained;
    if (trained != first[method]) {
      fprintf(stderr, "round %d: another adapter than that of the first round\n", round);
      return 1;
    }
    if (peak > LIMIT) {
      fprintf(stderr, "round %d: %zu bytes at the peak, the limit is %d\n", round, peak, LIMIT);
      return 1;
    }
  }
  return 0;
}

static tinytl_backbone *open_backbone(const char *path) {
  static unsigned char bytes[8 << 20];
  FILE *from = fopen(path, "rb");
  const size_t nbytes = from ? fread(bytes, 1, sizeof bytes, from) : 0;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  if (from) fclose(from);
  if (tinytl_backbone_open(bytes, nbytes, path, &backbone, &error) != TINYTL_OK)
    fprintf(stderr, "%s\n", error.message);
  return backbone;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: bench_soak BACKBONE DIR SECONDS\n");
    return 2;
  }
#ifdef __GLIBC__
  /* As the program does: what is freed goes back to the system. */
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 1 << 16);
  mallopt(M_TRIM_THRESHOLD, 1 << 16);
  mallopt(M_TOP_PAD, 0);
#endif
  tinytl_backbone *backbone = open_backbone(argv[1]);
  const int exit_code = backbone ? soak(backbone, argv[2], strtod(argv[3], NULL)) : 1;
  tinytl_backbone_free(backbone);
  return exit_code;
}
