/* Makes files as torch.save writes them: pickles, zip archives, checkpoints. */
#ifndef TINYTL_TEST_TORCH_MAKER_H
#define TINYTL_TEST_TORCH_MAKER_H

#include "support/sink.h"

/* ---- Pickles: append to a sink ------------------------------------------------------------ */

void pickle_op(sink *pickle, const char *text); /* opcodes, and names that end in \n */
void pickle_int(sink *pickle, int32_t value);
void pickle_text(sink *pickle, const char *text);

typedef struct torch_tensor {
  const char *name;
  const char *storage; /* "FloatStorage", ...; NULL: FloatStorage */
  int n_dims, dims[4];
  const int *strides; /* NULL: row-major */
  int offset;
  int numel;        /* that the pickle says of the storage; 0: product of dims */
  const void *data; /* of the storage */
  size_t nbytes;
} torch_tensor;

/* Name and tensor, an item of a dict; its storage is data/KEY. */
void pickle_tensor(sink *pickle, const torch_tensor *tensor, int key);
/* A state_dict(), with attributes. */
void pickle_state(sink *pickle, const torch_tensor *tensors, int n);

/* ---- Archives ----------------------------------------------------------------------------- */

typedef struct zip_maker {
  sink file, directory;
  int n;
  bool zip64;      /* sizes and offsets stand in ZIP64 fields */
  bool descriptor; /* the sizes of an entry stand after it */
  int method;      /* 0: stored */
} zip_maker;

void zip_add(zip_maker *zip, const char *name, const void *bytes, size_t nbytes);
/* `zip` is empty afterwards. */
sink zip_finish(zip_maker *zip);

/* An archive of this pickle (which is freed) and the storages of n tensors. */
sink torch_file_of(sink *pickle, const torch_tensor *tensors, int n);
/* A state_dict() alone, in a file. */
sink torch_file(const torch_tensor *tensors, int n);

#endif
