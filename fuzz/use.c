#include "fuzz.h"

#include <string.h>

#include "format/sealed_file.h"
#include "support/saved_run.h"

#define MAX_MACS 4000000

static void predict(const tinytl_backbone *backbone, const tinytl_adapter *adapter) {
  tinytl_predictor *predictor = NULL;
  tinytl_error error;
  const tinytl_status status = tinytl_predictor_create(backbone, adapter, 0, 1, &predictor, &error);
  if (status != TINYTL_OK) return;
  const size_t size = (size_t)tinytl_predictor_view(predictor).size;
  const int n_classes = tinytl_predictor_n_classes(predictor);
  if (tinytl_predictor_macs(predictor) <= MAX_MACS && size <= 128 && n_classes <= 1000) {
    uint8_t *rgb = malloc(size * size * 3);
    float *probabilities = malloc(sizeof *probabilities * (size_t)n_classes);
    memset(rgb, 100, size * size * 3);
    const tinytl_status ran = tinytl_predictor_run(predictor, rgb, probabilities, &error);
    for (int i = 0; ran == TINYTL_OK && i < n_classes; i++)
      FUZZ_EXPECT(probabilities[i] >= 0 && probabilities[i] <= 1);
    free(probabilities);
    free(rgb);
  }
  tinytl_predictor_free(predictor);
}

void fuzz_use(const tinytl_backbone *backbone, const tinytl_adapter *adapter) {
  tinytl_backbone_info info;
  tinytl_train_options options;
  tinytl_plan plan;
  tinytl_backbone_describe(backbone, &info);
  FUZZ_EXPECT(strlen(info.sha256) == 64);
  tinytl_train_options_init(&options);
  options.n_threads = 1;
  options.memory_limit = 24000000;
  if (!adapter) (void)tinytl_plan_make(backbone, 3, 20, 10, &options, &plan, NULL);
  predict(backbone, adapter);
}

void fuzz_write_again(const tinytl_backbone *backbone) {
  sink file = {0};
  tinytl_backbone *again = NULL;
  FUZZ_EXPECT(tinytl_backbone_write(backbone, sink_write, &file, NULL) == TINYTL_OK);
  FUZZ_EXPECT(tinytl_backbone_open(file.bytes, file.nbytes, "again", &again, NULL) == TINYTL_OK);
  tinytl_backbone_free(again);
  free(file.bytes);
}

saved_run *fuzz_run(void) {
  saved_run *run = saved_run_make(TINYTL_METHOD_AUTO);
  memory_images_init(&run->train, 6, 1);
  memory_images_init(&run->val, 3, 2);
  run->options.epochs = 2;
  run->options.refit = true;
  run->options.resumed = NULL;
  return run;
}

/* ---- Files -------------------------------------------------------------------------------- */

/* Every 16th length is left as it is. */
void fuzz_seal(sink *file) {
  SHA2_CTX sha256;
  if (file->nbytes < TINYTL_CHECKSUM_NBYTES || file->nbytes % 16 == 0) return;
  const size_t nbytes = file->nbytes - TINYTL_CHECKSUM_NBYTES;
  SHA256Init(&sha256);
  SHA256Update(&sha256, file->bytes, nbytes);
  SHA256Final(file->bytes + nbytes, &sha256);
}

enum { CHANGES = 8, MAX_FOLDED = 1 << 23 };

/* The four bytes at `offset` of what follows the header, modulo its length. */
typedef struct change {
  uint32_t offset, flipped;
} change;

/* Header included; all where the length makes no sense. */
static size_t header_nbytes(const uint8_t *data, size_t nbytes) {
  const size_t header = nbytes < 8 ? nbytes : tinytl_safetensors_header_nbytes(data);
  return header < nbytes ? header : nbytes;
}

void fuzz_fold(const sink *file, sink *folded) {
  const size_t header = header_nbytes(file->bytes, file->nbytes);
  const uint32_t rest = (uint32_t)(file->nbytes - header);
  static const change none[CHANGES];
  FUZZ_EXPECT(sink_write(folded, file->bytes, header) && sink_write(folded, &rest, sizeof rest) &&
              sink_write(folded, none, sizeof none));
}

void fuzz_unfold(const uint8_t *data, size_t nbytes, const sink *like, sink *file) {
  const size_t header = header_nbytes(data, nbytes);
  const size_t like_header = header_nbytes(like->bytes, like->nbytes);
  uint32_t rest = 0;
  size_t done = header;
  if (nbytes - done >= sizeof rest) {
    memcpy(&rest, data + done, sizeof rest);
    done += sizeof rest;
  }
  rest %= MAX_FOLDED;
  FUZZ_EXPECT(sink_write(file, data, header));
  for (size_t n = 0; n < rest;) {
    const size_t left = rest - n, all = like->nbytes - like_header;
    FUZZ_EXPECT(sink_write(file, like->bytes + like_header, left < all ? left : all));
    n += left < all ? left : all;
  }
  for (; rest >= sizeof rest && nbytes - done >= sizeof(change); done += sizeof(change)) {
    change made;
    uint32_t value;
    memcpy(&made, data + done, sizeof made);
    uint8_t *at = file->bytes + header + made.offset % (rest - sizeof value + 1);
    memcpy(&value, at, sizeof value);
    value ^= made.flipped;
    memcpy(at, &value, sizeof value);
  }
}

void fuzz_describe(const sink *file) {
  tinytl_checkpoint_info info;
  tinytl_error error;
  const tinytl_status status =
      tinytl_checkpoint_describe(file->bytes, file->nbytes, "file", &info, &error);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status == TINYTL_OK)
    FUZZ_EXPECT(tinytl_file_kind_of(file->bytes, file->nbytes) == TINYTL_FILE_CHECKPOINT);
}
