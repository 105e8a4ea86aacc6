#include "support/torch_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(sink *file, uint64_t value, int nbytes) {
  for (int i = 0; i < nbytes; i++) {
    const uint8_t byte = i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
    sink_write(file, &byte, 1);
  }
}

/* ---- Pickles ------------------------------------------------------------------------------ */

void pickle_op(sink *pickle, const char *text) {
  sink_write(pickle, text, strlen(text));
}

void pickle_int(sink *pickle, int32_t value) {
  pickle_op(pickle, "J");
  put(pickle, (uint32_t)value, 4);
}

void pickle_text(sink *pickle, const char *text) {
  pickle_op(pickle, "X");
  put(pickle, strlen(text), 4);
  pickle_op(pickle, text);
}

static int count(const torch_tensor *tensor) {
  int n = 1;
  for (int d = 0; d < tensor->n_dims; d++) n *= tensor->dims[d];
  return n;
}

static void pickle_strides(sink *pickle, const torch_tensor *tensor) {
  pickle_op(pickle, "(");
  for (int d = 0; d < tensor->n_dims; d++) {
    int stride = 1;
    for (int inner = d + 1; inner < tensor->n_dims; inner++) stride *= tensor->dims[inner];
    pickle_int(pickle, tensor->strides ? tensor->strides[d] : stride);
  }
  pickle_op(pickle, "t");
}

void pickle_tensor(sink *pickle, const torch_tensor *tensor, int key) {
  char storage[64], number[16];
  snprintf(storage, sizeof storage, "ctorch\n%s\n",
           tensor->storage ? tensor->storage : "FloatStorage");
  snprintf(number, sizeof number, "%d", key);
  pickle_text(pickle, tensor->name);
  pickle_op(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
  pickle_text(pickle, "storage");
  pickle_op(pickle, storage);
  pickle_text(pickle, number);
  pickle_text(pickle, "cpu");
  pickle_int(pickle, tensor->numel ? tensor->numel : count(tensor));
  pickle_op(pickle, "tQ");
  pickle_int(pickle, tensor->offset);
  pickle_op(pickle, "(");
  for (int d = 0; d < tensor->n_dims; d++) pickle_int(pickle, tensor->dims[d]);
  pickle_op(pickle, "t");
  pickle_strides(pickle, tensor);
  pickle_op(pickle, "\x89"
                    "ccollections\nOrderedDict\n)RtR");
}

void pickle_state(sink *pickle, const torch_tensor *tensors, int n) {
  pickle_op(pickle, "ccollections\nOrderedDict\n)R(");
  for (int i = 0; i < n; i++) pickle_tensor(pickle, &tensors[i], i);
  pickle_op(pickle, "u}");
  pickle_text(pickle, "_metadata");
  pickle_op(pickle, "}sb");
}

/* ---- Archives ----------------------------------------------------------------------------- */

/* The part that local and central headers share, from the version on. */
static void put_header(const zip_maker *zip, sink *to, uint64_t nbytes, size_t name_length,
                       int extra_nbytes) {
  put(to, zip->zip64 ? 45 : 20, 2);
  put(to, zip->descriptor ? 8 : 0, 2);
  put(to, (uint64_t)zip->method, 2);
  put(to, 0, 8); /* time, date, checksum */
  put(to, nbytes, 4);
  put(to, nbytes, 4);
  put(to, name_length, 2);
  put(to, (uint64_t)extra_nbytes, 2);
}

void zip_add(zip_maker *zip, const char *name, const void *bytes, size_t nbytes) {
  const uint64_t offset = zip->file.nbytes, saturated = 0xFFFFFFFF;
  const int padding = 5 + zip->n % 3; /* torch aligns data so: an extra field of its own */
  sink_write(&zip->file, "PK\3\4", 4);
  put_header(zip, &zip->file, zip->descriptor ? 0 : nbytes, strlen(name), padding);
  sink_write(&zip->file, name, strlen(name));
  put(&zip->file, 0x4246, 2);
  put(&zip->file, (uint64_t)padding - 4, 2);
  put(&zip->file, 0, padding - 4);
  sink_write(&zip->file, bytes, nbytes);
  if (zip->descriptor) {
    sink_write(&zip->file, "PK\7\10", 4);
    put(&zip->file, 0, 4);
    put(&zip->file, nbytes, 4);
    put(&zip->file, nbytes, 4);
  }
  sink *directory = &zip->directory;
  sink_write(directory, "PK\1\2", 4);
  put(directory, 20, 2);
  put_header(zip, directory, zip->zip64 ? saturated : nbytes, strlen(name), zip->zip64 ? 28 : 0);
  put(directory, 0, 10); /* comment, disk, attributes */
  put(directory, zip->zip64 ? saturated : offset, 4);
  sink_write(directory, name, strlen(name));
  if (zip->zip64) {
    put(directory, 1, 2);
    put(directory, 24, 2);
    put(directory, nbytes, 8);
    put(directory, nbytes, 8);
    put(directory, offset, 8);
  }
  zip->n++;
}

static void put_end64(sink *file, uint64_t n, uint64_t offset, uint64_t nbytes) {
  const uint64_t at = file->nbytes;
  sink_write(file, "PK\6\6", 4);
  put(file, 44, 8);
  put(file, 0, 12); /* versions, disks */
  put(file, n, 8);
  put(file, n, 8);
  put(file, nbytes, 8);
  put(file, offset, 8);
  sink_write(file, "PK\6\7", 4);
  put(file, 0, 4);
  put(file, at, 8);
  put(file, 1, 4);
}

sink zip_finish(zip_maker *zip) {
  sink file = zip->file;
  const uint64_t offset = file.nbytes, nbytes = zip->directory.nbytes, n = (uint64_t)zip->n;
  sink_write(&file, zip->directory.bytes, zip->directory.nbytes);
  if (zip->zip64) put_end64(&file, n, offset, nbytes);
  sink_write(&file, "PK\5\6", 4);
  put(&file, 0, 4);
  put(&file, zip->zip64 ? 0xFFFF : n, 2);
  put(&file, zip->zip64 ? 0xFFFF : n, 2);
  put(&file, zip->zip64 ? 0xFFFFFFFF : nbytes, 4);
  put(&file, zip->zip64 ? 0xFFFFFFFF : offset, 4);
  put(&file, 0, 2);
  free(zip->directory.bytes);
  *zip = (zip_maker){0};
  return file;
}

sink torch_file_of(sink *pickle, const torch_tensor *tensors, int n) {
  zip_maker zip = {0};
  zip_add(&zip, "made/data.pkl", pickle->bytes, pickle->nbytes);
  zip_add(&zip, "made/byteorder", "little", 6);
  for (int i = 0; i < n; i++) {
    char name[32];
    snprintf(name, sizeof name, "made/data/%d", i);
    zip_add(&zip, name, tensors[i].data, tensors[i].nbytes);
  }
  zip_add(&zip, "made/version", "3\n", 2);
  free(pickle->bytes);
  *pickle = (sink){0};
  return zip_finish(&zip);
}

sink torch_file(const torch_tensor *tensors, int n) {
  sink pickle = {0};
  pickle_op(&pickle, "\x80\x02");
  pickle_state(&pickle, tensors, n);
  pickle_op(&pickle, ".");
  return torch_file_of(&pickle, tensors, n);
}
