/* What the fuzz targets share. A target is one file with fuzz_one; the same file is linked with
 * libFuzzer (preset `fuzz`) or with replay.c, which reads files. */
#ifndef TINYTL_FUZZ_H
#define TINYTL_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tinytl.h"

/* libFuzzer's names. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);
size_t LLVMFuzzerMutate(uint8_t *data, size_t nbytes, size_t max_nbytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t nbytes, size_t max_nbytes, unsigned seed);

/* A property that must hold for every input. */
#define FUZZ_EXPECT(condition) \
  do {                         \
    if (!(condition)) abort(); \
  } while (0)

/* A reader that refuses says why, with a status that the reader may give. */
static inline void fuzz_expect_reason(tinytl_status status, const tinytl_error *error,
                                      tinytl_status allowed) {
  FUZZ_EXPECT(status == TINYTL_OK ||
              (status == allowed && error->status == status && error->message[0] != '\0'));
}

/* The same of a run that goes on from a state: it may also be another's, or on other pictures. */
static inline void fuzz_expect_resumed(tinytl_status status, const tinytl_error *error) {
  FUZZ_EXPECT(status == TINYTL_OK ||
              ((status == TINYTL_ERROR_MODEL || status == TINYTL_ERROR_USAGE ||
                status == TINYTL_ERROR_DATA) &&
               error->message[0] != '\0'));
}

/* Plans training with the backbone and, where the network is small, has it predict a picture.
 * adapter NULL: the backbone's own classifier. */
void fuzz_use(const tinytl_backbone *backbone, const tinytl_adapter *adapter);

/* Writes the backbone and opens what was written: that must work. */
void fuzz_write_again(const tinytl_backbone *backbone);

/* The run that the checkpoints among the seeds are of: small, method and optimizer left open. */
struct saved_run *fuzz_run(void);

struct sink;
/* Makes the checksum right that a state ends in: else nothing behind it would ever be reached. */
void fuzz_seal(struct sink *file);

/* What the library says of such a file, before a run goes on from it. */
void fuzz_describe(const struct sink *file);

/* A file that is mostly numbers as a short input: its header, the bytes behind it counted, and
 * changes to them. Unfolded, they are those of a file like it, again and again. */
void fuzz_fold(const struct sink *file, struct sink *folded);
void fuzz_unfold(const uint8_t *data, size_t nbytes, const struct sink *like, struct sink *file);

#endif
