/* Building the list of steps and planning their buffers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/builder.h"
#include "train/guard.h"

/* ---- Building ----------------------------------------------------------------------------- */

static tinytl_status place_buffers(tinytl_program *program, tinytl_error *error) {
  for (int i = 0; i < program->n_buffers; i++) program->buffers[i].nbytes += TINYTL_GUARD_GAP;
  TINYTL_TRY(tinytl_arena_plan(program->buffers, program->n_buffers, &program->nbytes, error));
  for (int i = 0; i < program->n_buffers; i++) program->buffers[i].nbytes -= TINYTL_GUARD_GAP;
  return TINYTL_OK;
}

/* A layer has at most a convolution forward and, backward, the same again, a shortcut, an epilogue,
 * and gradients of weights and input; with three maps, two masks and scratch for five of them. A
 * module has three steps, ten buffers forward and as many backward; pool and head three. */
static size_t most_steps(int n_layers, int n_lite) {
  return (size_t)n_layers * 6 + (size_t)n_lite * 3 + 3;
}

static size_t most_buffers(int n_layers, int n_lite) {
  return (size_t)n_layers * 10 + (size_t)n_lite * 20 + 8;
}

size_t tinytl_program_heap_nbytes(int n_layers, int n_lite) {
  return sizeof(tinytl_program) + sizeof(tinytl_builder) +
         most_steps(n_layers, n_lite) * sizeof(tinytl_step) +
         most_buffers(n_layers, n_lite) * (sizeof(tinytl_buffer) + sizeof(tinytl_purpose)) +
         tinytl_arena_heap_nbytes((int)most_buffers(n_layers, n_lite));
}

static void set_trained(tinytl_builder *b, tinytl_method method) {
  b->trains_bias = tinytl_method_trains_bias(method);
  b->trains_lite = tinytl_method_lite_tensors(method) & 1u << TINYTL_LITE_CONV;
  b->trains_gain = method == TINYTL_METHOD_NORM;
  b->trains_conv = b->trains_gain || method == TINYTL_METHOD_FULL;
}

static tinytl_status build(tinytl_builder *b, const tinytl_params *params,
                           const tinytl_program_options *options, tinytl_error *error) {
  const tinytl_goal goal = options->goal;
  tinytl_program *program = b->program;
  memset(b->gradient, -1, sizeof b->gradient);
  if (goal == TINYTL_GOAL_TRAIN) set_trained(b, params->method);
  program->trains = goal == TINYTL_GOAL_TRAIN;
  program->trains_lite = b->trains_lite;
  program->recompute = options->recompute;
  program->n_threads = options->n_threads;
  tinytl_build_forward(b, options);
  if (goal == TINYTL_GOAL_FEATURES) program->head = program->n_steps;
  if (goal == TINYTL_GOAL_TRAIN) tinytl_build_backward(b);
  /* What the caller reads after a run lives to the end. */
  tinytl_builder_use(b, goal == TINYTL_GOAL_FEATURES ? program->features : program->logits);
  if (b->overflow)
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT, "the maps overflow the address space");
  return place_buffers(program, error);
}

tinytl_status tinytl_program_create(const tinytl_network *network, const tinytl_params *params,
                                    const tinytl_program_options *options,
                                    const tinytl_kernels *kernels, tinytl_program **program,
                                    tinytl_error *error) {
  const int n_layers = network->backbone->arch.n_layers;
  const size_t max_steps = most_steps(n_layers, network->n_lite);
  const size_t max_buffers = most_buffers(n_layers, network->n_lite);
  tinytl_program *made = calloc(1, sizeof *made);
  tinytl_builder *b = calloc(1, sizeof *b);
  if (made) {
    made->steps = calloc(max_steps, sizeof *made->steps);
    made->buffers = calloc(max_buffers, sizeof *made->buffers);
    made->purposes = calloc(max_buffers, sizeof *made->purposes);
  }
  tinytl_status status;
  if (!b || !made || !made->steps || !made->buffers || !made->purposes) {
    status = tinytl_fail_memory(error, max_buffers * sizeof *made->buffers);
  } else {
    b->network = network;
    b->kernels = kernels;
    b->program = made;
    status = build(b, params, options, error);
  }
  free(b);
  if (status != TINYTL_OK)
    tinytl_program_free(made);
  else
    *program = made;
  return status;
}

void tinytl_program_free(tinytl_program *program) {
  if (!program) return;
  free(program->steps);
  free(program->buffers);
  free(program->purposes);
  free(program);
}

/* ---- The peak ----------------------------------------------------------------------------- */

static bool is_alive(const tinytl_buffer *buffer, int step) {
  return buffer->first_use <= step && step <= buffer->last_use;
}

tinytl_program_peak tinytl_program_find_peak(const tinytl_program *program) {
  tinytl_program_peak peak = {0};
  size_t highest = 0;
  for (int step = 0; step < program->n_steps; step++) {
    size_t total = 0;
    for (int i = 0; i < program->n_buffers; i++)
      total += is_alive(&program->buffers[i], step) ? program->buffers[i].nbytes : 0;
    if (total <= highest) continue;
    highest = total;
    peak.step = step;
  }
  for (int i = 0; i < program->n_buffers; i++)
    if (is_alive(&program->buffers[i], peak.step))
      peak.nbytes[program->purposes[i]] += program->buffers[i].nbytes;
  return peak;
}

/* The block that layer i lies in; -1: none. */
static int block_with(const tinytl_arch *arch, int i) {
  for (int k = 0; k < arch->n_blocks; k++)
    if (arch->blocks[k].first <= i && i <= arch->blocks[k].last) return k;
  return -1;
}

void tinytl_program_name_step(const tinytl_program *program, const tinytl_network *network,
                              int step, char *name, size_t size) {
  const tinytl_step *s = &program->steps[step];
  const char *direction = step > program->head ? "backward" : "forward";
  const bool lite = s->kind == TINYTL_STEP_LITE || s->kind == TINYTL_STEP_LITE_BACKWARD ||
                    s->kind == TINYTL_STEP_LITE_POOL_BACKWARD;
  const bool fused = s->kind == TINYTL_STEP_BLOCK || s->kind == TINYTL_STEP_BLOCK_BACKWARD;
  if (s->kind == TINYTL_STEP_CONV_AGAIN) direction = "computed again";
  if (s->kind == TINYTL_STEP_WEIGHT_BACKWARD) direction = "gradient of its weights";
  const int block =
      lite ? network->lite[s->index].block : block_with(&network->backbone->arch, s->index);
  if (s->kind == TINYTL_STEP_HEAD)
    snprintf(name, size, "classifier");
  else if (s->kind == TINYTL_STEP_POOL || s->kind == TINYTL_STEP_POOL_BACKWARD)
    snprintf(name, size, "global pool, %s", direction);
  else if (lite)
    snprintf(name, size, "lite module of block %d, %s", block, direction);
  else if (fused)
    snprintf(name, size, "block %d, row by row, %s", block, direction);
  else if (block >= 0)
    snprintf(name, size, "layer %d in block %d, %s", s->index, block, direction);
  else
    snprintf(name, size, "layer %d, %s", s->index, direction);
}
