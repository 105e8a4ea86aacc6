/* Import of TFLite files: what its parts share. Field numbers and codes are those of TensorFlow's
 * published schema (schema.fbs, version 3). */
#ifndef TINYTL_FORMAT_TFLITE_H
#define TINYTL_FORMAT_TFLITE_H

#include "format/flatbuffer.h"
#include "model/backbone.h"

/* What is known of a tensor that the graph computes. */
typedef enum tinytl_tflite_kind {
  TINYTL_TFLITE_UNKNOWN, /* not computed yet, or a constant */
  TINYTL_TFLITE_MAP,     /* output of layer `layer`; -1: the picture */
  TINYTL_TFLITE_PADDED,  /* the same with a border of zeros */
  TINYTL_TFLITE_GONE,    /* what was a layer's output before more was folded into the layer */
  TINYTL_TFLITE_POOLED,  /* the feature vector */
  TINYTL_TFLITE_LOGITS   /* of the classifier, or their softmax */
} tinytl_tflite_kind;

typedef struct tinytl_tflite_value {
  tinytl_tflite_kind kind;
  int layer;
  int top, bottom, left, right; /* of PADDED */
} tinytl_tflite_value;

/* Types of tensors. */
enum {
  TINYTL_TFLITE_FLOAT32 = 0,
  TINYTL_TFLITE_INT32 = 2,
  TINYTL_TFLITE_UINT8 = 3,
  TINYTL_TFLITE_INT8 = 9
};

typedef struct tinytl_tflite_tensor {
  int type;
  int n_dims, dims[4];
  size_t n;            /* product of dims */
  const uint8_t *data; /* of a constant, n values, any alignment; else NULL */
  tinytl_fb_vector scale, zero_point;
  int scale_dim; /* dimension that the scales go along */
} tinytl_tflite_tensor;

enum {
  TINYTL_TFLITE_MAX_TENSORS = 16384,
  /* Of each layer and the classifier: scales, weights that are widened, biases. */
  TINYTL_TFLITE_MAX_BLOCKS = 3 * (TINYTL_MAX_LAYERS + 1)
};

typedef struct tinytl_tflite {
  tinytl_flatbuffer file;
  const char *name;
  tinytl_fb_vector codes, tensors, operators, buffers;
  tinytl_tflite_value *values; /* [tensors.n] */
  int side;                    /* of the map that the last layer makes */
  bool pooled;                 /* no layer can follow any more */
  bool input_known;            /* the file says what range of numbers the picture takes */
  tinytl_backbone model;       /* what was read so far */
  float *blocks[TINYTL_TFLITE_MAX_BLOCKS]; /* owned values behind the model's pointers */
  int n_blocks;
  size_t n_weights; /* of all layers so far */

  int op, op_code; /* the operator at hand */
  tinytl_fb_vector inputs, outputs;
  tinytl_fb_table options;
} tinytl_tflite;

/* tinytl_fail that names the file and the operator at hand. */
tinytl_status tinytl_tflite_fail(const tinytl_tflite *graph, tinytl_error *error,
                                 const char *format, ...) TINYTL_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* as in core/status.h */
#define tinytl_tflite_fail(...) (tinytl_tflite_fail(__VA_ARGS__), TINYTL_ERROR_MODEL)
#endif
/* "CONV_2D", or "code 200". */
void tinytl_tflite_op_name(int code, char name[32]);
/* Reads the operator at hand into the model. */
tinytl_status tinytl_tflite_operator(tinytl_tflite *graph, tinytl_error *error);

/* ---- Tensors (tflite_tensor.c) ------------------------------------------------------------- */

/* Index of input or output `i` of the operator at hand, checked; -1: the operator has none. */
int tinytl_tflite_input(tinytl_tflite *graph, size_t i);
int tinytl_tflite_output(tinytl_tflite *graph, size_t i);
tinytl_status tinytl_tflite_read_tensor(tinytl_tflite *graph, int index,
                                        tinytl_tflite_tensor *tensor, tinytl_error *error);
/* n floats that live as long as the graph, zeroed. */
tinytl_status tinytl_tflite_floats(tinytl_tflite *graph, size_t n, float **floats,
                                   tinytl_error *error);
/* Reads the weight (constant `weight_index`, whose output channel is dimension `channel_dim`) and
 * the bias (-1: none) of a layer whose input is tensor `input_index`. */
tinytl_status tinytl_tflite_read_weights(tinytl_tflite *graph, const tinytl_layer *layer,
                                         int input_index, int weight_index, int bias_index,
                                         int channel_dim, tinytl_weight *weight, const float **bias,
                                         tinytl_error *error);
/* Takes the range of numbers that the picture is given in from a quantised tensor. */
void tinytl_tflite_set_input(tinytl_tflite *graph, const tinytl_tflite_tensor *tensor);

#endif
