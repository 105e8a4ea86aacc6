#include "support/tflite_maker.h"

#include <string.h>

/* ---- A FlatBuffer, written parents first --------------------------------------------------- */

/* A field of a table: a number, or (nbytes 0) an offset that is filled in later. */
typedef struct field {
  int id, nbytes;
  int64_t value;
  size_t at; /* out */
} field;

static void put(sink *file, int64_t value, int nbytes) {
  for (int i = 0; i < nbytes; i++) {
    const uint8_t byte = (uint8_t)((uint64_t)value >> (8 * i));
    sink_write(file, &byte, 1);
  }
}

/* The offset at `at` now points to the end of the file. */
static void point(sink *file, size_t at) {
  const uint32_t distance = (uint32_t)(file->nbytes - at);
  for (int i = 0; i < 4; i++) file->bytes[at + (size_t)i] = (uint8_t)(distance >> (8 * i));
}

static void put_table(sink *file, size_t from, field *fields, int n) {
  uint16_t entries[16] = {0};
  int n_entries = 0, offset = 4;
  for (int i = 0; i < n; i++) {
    entries[fields[i].id] = (uint16_t)offset;
    offset += fields[i].nbytes ? fields[i].nbytes : 4;
    if (fields[i].id >= n_entries) n_entries = fields[i].id + 1;
  }
  const size_t vtable = file->nbytes;
  put(file, 4 + 2 * n_entries, 2);
  put(file, offset, 2);
  for (int i = 0; i < n_entries; i++) put(file, entries[i], 2);
  point(file, from);
  put(file, (int64_t)(file->nbytes - vtable), 4);
  for (int i = 0; i < n; i++) {
    fields[i].at = file->nbytes;
    put(file, fields[i].value, fields[i].nbytes ? fields[i].nbytes : 4);
  }
}

static void put_ints(sink *file, size_t from, const int *values, int n) {
  point(file, from);
  put(file, n, 4);
  for (int i = 0; i < n; i++) put(file, values[i], 4);
}

/* A vector of n tables, whose offsets are filled in later; returns where the first one stands. */
static size_t put_tables(sink *file, size_t from, int n) {
  point(file, from);
  put(file, n, 4);
  const size_t first = file->nbytes;
  for (int i = 0; i < n; i++) put(file, 0, 4);
  return first;
}

/* ---- The parts of a model ----------------------------------------------------------------- */

static void put_tensor(sink *file, size_t from, const maker_tensor *tensor, int buffer) {
  field fields[] = {{.id = 0},
                    {.id = 1, .nbytes = 1, .value = tensor->type},
                    {.id = 2, .nbytes = 4, .value = buffer},
                    {.id = 4}};
  put_table(file, from, fields, tensor->n_scales ? 4 : 3);
  put_ints(file, fields[0].at, tensor->dims, tensor->n_dims);
  if (!tensor->n_scales) return;
  field quantization[] = {{.id = 2}, {.id = 3}, {.id = 6, .nbytes = 4, .value = tensor->scale_dim}};
  put_table(file, fields[3].at, quantization, 3);
  point(file, quantization[0].at);
  put(file, tensor->n_scales, 4);
  sink_write(file, tensor->scales, (size_t)tensor->n_scales * sizeof(float));
  point(file, quantization[1].at);
  const int n = tensor->zero_points ? tensor->n_scales : 1;
  put(file, n, 4);
  for (int i = 0; i < n; i++)
    put(file, tensor->zero_points ? tensor->zero_points[i] : tensor->zero_point, 8);
}

static void put_op(sink *file, size_t from, const maker_op *op, int code_index) {
  field fields[] = {{.id = 0, .nbytes = 4, .value = code_index}, {.id = 1}, {.id = 2}, {.id = 4}};
  put_table(file, from, fields, 4);
  put_ints(file, fields[1].at, op->inputs, op->n_inputs);
  put_ints(file, fields[2].at, &op->output, 1);
  field options[8];
  for (int i = 0; i < op->n_options; i++)
    options[i] = (field){
        .id = op->options[i].field, .nbytes = op->options[i].nbytes, .value = op->options[i].value};
  put_table(file, fields[3].at, options, op->n_options);
}

static void put_subgraph(sink *file, size_t from, const maker *m) {
  static const int picture = 0;
  field fields[] = {{.id = 0}, {.id = 1}, {.id = 2}, {.id = 3}};
  put_table(file, from, fields, 4);
  put_ints(file, fields[1].at, &picture, 1);
  put_ints(file, fields[2].at, &m->ops[m->n_ops - 1].output, 1);
  const size_t tensors = put_tables(file, fields[0].at, m->n_tensors);
  for (int i = 0; i < m->n_tensors; i++) /* buffer 0 is empty */
    put_tensor(file, tensors + 4 * (size_t)i, &m->tensors[i], m->tensors[i].data ? i + 1 : 0);
  const size_t ops = put_tables(file, fields[3].at, m->n_ops);
  for (int i = 0; i < m->n_ops; i++) put_op(file, ops + 4 * (size_t)i, &m->ops[i], i);
}

static void put_buffer(sink *file, size_t from, const void *data, size_t nbytes) {
  field fields[] = {{.id = 0}};
  put_table(file, from, fields, data ? 1 : 0);
  if (!data) return;
  point(file, fields[0].at);
  put(file, (int64_t)nbytes, 4);
  sink_write(file, data, nbytes);
}

sink maker_finish(const maker *m) {
  sink file = {0};
  field model[] = {{.id = 0, .nbytes = 4, .value = 3}, {.id = 1}, {.id = 2}, {.id = 4}};
  put(&file, 0, 4);
  sink_write(&file, "TFL3", 4);
  put_table(&file, 0, model, 4);
  const size_t codes = put_tables(&file, model[1].at, m->n_ops);
  for (int i = 0; i < m->n_ops; i++) {
    field code[] = {{.id = 0, .nbytes = 1, .value = m->ops[i].code > 127 ? 127 : m->ops[i].code},
                    {.id = 3, .nbytes = 4, .value = m->ops[i].code}};
    put_table(&file, codes + 4 * (size_t)i, code, 2);
  }
  const size_t subgraphs = put_tables(&file, model[2].at, 1);
  put_subgraph(&file, subgraphs, m);
  const size_t buffers = put_tables(&file, model[3].at, m->n_tensors + 1);
  put_buffer(&file, buffers, NULL, 0);
  /* What is needed comes last, so that a file cut short lacks it. */
  for (int needed = 0; needed < 2; needed++)
    for (int i = 0; i < m->n_tensors; i++)
      if ((m->tensors[i].data != NULL) == needed)
        put_buffer(&file, buffers + 4 * (size_t)(i + 1), m->tensors[i].data, m->tensors[i].nbytes);
  return file;
}

/* ---- Putting one together ----------------------------------------------------------------- */

static int append(maker *m, int type, int n_dims, const int *dims, const void *data) {
  maker_tensor *tensor = &m->tensors[m->n_tensors];
  *tensor = (maker_tensor){.type = type, .n_dims = n_dims, .data = data, .nbytes = 4};
  for (int d = 0; d < n_dims; d++) {
    tensor->dims[d] = dims[d];
    tensor->nbytes *= (size_t)dims[d];
  }
  return m->n_tensors++;
}

int maker_float(maker *m, int n_dims, const int *dims, const float *data) {
  return append(m, 0, n_dims, dims, data);
}

int maker_int32(maker *m, int n_dims, const int *dims, const int *data) {
  return append(m, 2, n_dims, dims, data);
}

int maker_add(maker *m, maker_op op, const int dims[4]) {
  op.output = append(m, 0, 4, dims, NULL);
  m->ops[m->n_ops++] = op;
  return op.output;
}
