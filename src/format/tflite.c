/* Import of TFLite files: opening the graph, walking over its operators, closing the model. */
#include "format/tflite.h"

#include "format/import.h"
#include "format/imported.h"

#include <stdlib.h>

/* Fields of the schema's tables. */
enum { MODEL_VERSION, MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS };
enum { CODE_DEPRECATED = 0, CODE_BUILTIN = 3 };
enum { SUBGRAPH_TENSORS, SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS };
enum { OPERATOR_CODE = 0, OPERATOR_INPUTS = 1, OPERATOR_OUTPUTS = 2, OPERATOR_OPTIONS = 4 };

static tinytl_status fail_damaged(const tinytl_tflite *graph, tinytl_error *error) {
  return tinytl_tflite_fail(graph, error,
                            "an offset points outside the file: it is truncated or "
                            "damaged");
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* The picture: [1][size][size][3]. */
static tinytl_status open_input(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_tflite_tensor tensor;
  const int index = tinytl_tflite_input(graph, 0);
  if (graph->inputs.n != 1 || index < 0)
    return tinytl_tflite_fail(graph, error, "expected one input, found %zu", graph->inputs.n);
  TINYTL_TRY(tinytl_tflite_read_tensor(graph, index, &tensor, error));
  if (tensor.n_dims != 4 || tensor.dims[0] != 1 || tensor.dims[1] != tensor.dims[2] ||
      tensor.dims[1] > TINYTL_MAX_IMAGE_SIZE || tensor.dims[3] != 3)
    return tinytl_tflite_fail(graph, error,
                              "expected an input of shape [1, size, size, 3] with size up to %d",
                              TINYTL_MAX_IMAGE_SIZE);
  tinytl_input *input = &graph->model.input;
  input->size = graph->side = tensor.dims[1];
  input->resize = tinytl_input_default_resize(input->size);
  /* Where nothing says otherwise: pixel / 255. */
  for (int c = 0; c < 3; c++) input->std[c] = 1;
  tinytl_tflite_set_input(graph, &tensor);
  graph->values[index] = (tinytl_tflite_value){.kind = TINYTL_TFLITE_MAP, .layer = -1};
  return TINYTL_OK;
}

static tinytl_status open_graph(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_flatbuffer *file = &graph->file;
  const tinytl_fb_table model = tinytl_fb_root(file);
  const tinytl_fb_vector subgraphs = tinytl_fb_vector_field(file, model, MODEL_SUBGRAPHS, 4);
  graph->codes = tinytl_fb_vector_field(file, model, MODEL_OPERATOR_CODES, 4);
  graph->buffers = tinytl_fb_vector_field(file, model, MODEL_BUFFERS, 4);
  if (file->damaged) return fail_damaged(graph, error);
  if (subgraphs.n != 1)
    return tinytl_tflite_fail(graph, error, "expected one subgraph, found %zu", subgraphs.n);
  const tinytl_fb_table subgraph = tinytl_fb_table_at(file, subgraphs, 0);
  graph->tensors = tinytl_fb_vector_field(file, subgraph, SUBGRAPH_TENSORS, 4);
  graph->operators = tinytl_fb_vector_field(file, subgraph, SUBGRAPH_OPERATORS, 4);
  graph->inputs = tinytl_fb_vector_field(file, subgraph, SUBGRAPH_INPUTS, 4);
  graph->outputs = tinytl_fb_vector_field(file, subgraph, SUBGRAPH_OUTPUTS, 4);
  if (file->damaged) return fail_damaged(graph, error);
  if (graph->tensors.n > TINYTL_TFLITE_MAX_TENSORS)
    return tinytl_tflite_fail(graph, error, "%zu tensors, at most %d are supported",
                              graph->tensors.n, TINYTL_TFLITE_MAX_TENSORS);
  graph->values = calloc(graph->tensors.n + 1, sizeof *graph->values);
  if (!graph->values) return tinytl_fail_memory(error, graph->tensors.n * sizeof *graph->values);
  return open_input(graph, error);
}

/* ---- Walking ------------------------------------------------------------------------------ */

/* The code stood in one byte first and moved when 127 were used up; the larger one counts. */
static int read_code(tinytl_tflite *graph, int64_t index) {
  if (index < 0 || (size_t)index >= graph->codes.n) return -1;
  const tinytl_fb_table code = tinytl_fb_table_at(&graph->file, graph->codes, (size_t)index);
  const int64_t before = tinytl_fb_scalar(&graph->file, code, CODE_DEPRECATED, 1, 0);
  const int64_t now = tinytl_fb_scalar(&graph->file, code, CODE_BUILTIN, 4, 0);
  return (int)(now > before ? now : before);
}

static tinytl_status walk(tinytl_tflite *graph, tinytl_error *error) {
  tinytl_flatbuffer *file = &graph->file;
  for (size_t i = 0; i < graph->operators.n; i++) {
    const tinytl_fb_table op = tinytl_fb_table_at(file, graph->operators, i);
    graph->op = (int)i;
    graph->op_code = read_code(graph, tinytl_fb_scalar(file, op, OPERATOR_CODE, 4, 0));
    graph->inputs = tinytl_fb_vector_field(file, op, OPERATOR_INPUTS, 4);
    graph->outputs = tinytl_fb_vector_field(file, op, OPERATOR_OUTPUTS, 4);
    graph->options = tinytl_fb_field(file, op, OPERATOR_OPTIONS);
    if (file->damaged) return fail_damaged(graph, error);
    TINYTL_TRY(tinytl_tflite_operator(graph, error));
    if (file->damaged) return fail_damaged(graph, error);
  }
  graph->op = -1;
  return TINYTL_OK;
}

static tinytl_status read_graph(tinytl_tflite *graph, tinytl_error *error) {
  TINYTL_TRY(open_graph(graph, error));
  const int output = tinytl_tflite_output(graph, 0);
  TINYTL_TRY(walk(graph, error));
  const tinytl_tflite_kind kind = output < 0 ? TINYTL_TFLITE_UNKNOWN : graph->values[output].kind;
  if (kind != TINYTL_TFLITE_LOGITS && kind != TINYTL_TFLITE_POOLED)
    return tinytl_tflite_fail(graph, error,
                              "the output is neither a classifier's nor a pooled feature vector");
  tinytl_import_name(graph->name, graph->model.arch.name);
  return tinytl_arch_finish(&graph->model.arch, graph->name, error);
}

/* ---- Import ------------------------------------------------------------------------------- */

tinytl_status tinytl_import_tflite(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_weights weights, tinytl_backbone **backbone,
                                   tinytl_error *error) {
  tinytl_tflite *graph = calloc(1, sizeof *graph);
  if (!graph) return tinytl_fail_memory(error, sizeof *graph);
  graph->file = (tinytl_flatbuffer){.bytes = bytes, .nbytes = nbytes};
  graph->name = name;
  graph->op = -1;
  tinytl_status status = read_graph(graph, error);
  if (status == TINYTL_OK)
    status = tinytl_import_build(&graph->model, name, weights, backbone, error);
  for (int i = 0; i < graph->n_blocks; i++) free(graph->blocks[i]);
  free(graph->values);
  free(graph);
  return status;
}
