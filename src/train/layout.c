#include "train/layout.h"

#include <stdio.h>

#include "core/cursor.h"
#include "core/limit.h"
#include "core/pages.h"
#include "data/images.h"
#include "train/paper.h"
#include "train/prepare.h"

/* An allowance for heap that is not planned: messages, stdio, folders being read, and what malloc
 * loses. docs/memory.md compares plans with peaks. */
enum { HEAP_NBYTES = 128 * 1024 };

int tinytl_trainer_n_decoders(const tinytl_trainer *t) {
  return tinytl_n_decoders(t->choices.n_lanes);
}

size_t tinytl_trainer_decoding_nbytes(const tinytl_trainer *t) {
  return (size_t)tinytl_trainer_n_decoders(t) * t->load_nbytes;
}

tinytl_loader_options tinytl_trainer_loader_options(const tinytl_trainer *t) {
  /* Those in use, as many for the next turn, and one more. */
  return (tinytl_loader_options){.capacity = 2 * t->choices.n_lanes + 1,
                                 .n_workers = tinytl_trainer_n_decoders(t),
                                 .max_size = t->network->image_size,
                                 .skip = t->options.skip,
                                 .skip_context = t->options.context};
}

/* The programs and the making of deferred gradients take turns in a lane. */
size_t tinytl_trainer_lane_nbytes(const tinytl_trainer *t) {
  size_t nbytes = t->gradients->update_nbytes;
  if (t->train_program) nbytes = tinytl_size_max(nbytes, t->train_program->nbytes);
  if (t->test_program) nbytes = tinytl_size_max(nbytes, t->test_program->nbytes);
  return tinytl_round_up(nbytes, TINYTL_ARENA_ALIGN);
}

static size_t used_since(const tinytl_cursor *c, size_t *mark) {
  const size_t nbytes = c->used - *mark;
  *mark = c->used;
  return nbytes;
}

/* Lays the block out, and counts it into the plan. */
static void lay_out(tinytl_trainer *t, tinytl_cursor *c, void **loader_memory) {
  const size_t n_features = (size_t)t->network->n_features;
  const size_t n_train = (size_t)t->train->n_images;
  const size_t n_val = t->val ? (size_t)t->val->n_images : 0;
  tinytl_plan *plan = &t->plan;
  size_t mark = 0;
  t->values = tinytl_take(c, t->params->n, sizeof(float));
  plan->trained_bytes = used_since(c, &mark);
  if (t->val && !t->choices.spill) t->best = tinytl_take(c, t->params->n, sizeof(float));
  t->kept_nbytes = c->used;
  plan->kept_bytes = used_since(c, &mark);
  float *gradient = tinytl_take(c, t->gradients->n, sizeof(float));
  plan->gradient_bytes = used_since(c, &mark);
  void *moments = tinytl_take(c, tinytl_optimizer_nbytes(t->choices.optimizer, t->params), 1);
  plan->optimizer_bytes = used_since(c, &mark);
  t->train_unreadable = tinytl_take(c, n_train, sizeof(bool));
  t->val_unreadable = tinytl_take(c, n_val, sizeof(bool));
  if (t->head_only) {
    if (!t->choices.spill) t->cache = tinytl_take(c, n_train + n_val, n_features * sizeof(float));
    t->features = tinytl_take(c, n_features, sizeof(float));
    t->logits = tinytl_take(c, (size_t)t->network->n_classes, sizeof(float));
  }
  if (t->carry && t->carry->asks_mirror)
    t->mirror_memory = tinytl_take(c,
                                   tinytl_mirror_test_nbytes(t->network->n_features) +
                                       (size_t)t->choices.n_lanes * n_features * sizeof(float),
                                   1);
  t->class_weights = tinytl_take(c, (size_t)t->network->n_classes, sizeof(float));
  t->order = tinytl_take(c, tinytl_size_max(n_train, n_val), sizeof(int));
  plan->kept_bytes += used_since(c, &mark);
  const tinytl_loader_options loader = tinytl_trainer_loader_options(t);
  *loader_memory = tinytl_take(c, tinytl_loader_nbytes(&loader), 1);
  plan->picture_bytes = used_since(c, &mark);
  unsigned char *lanes = tinytl_take(c, (size_t)t->choices.n_lanes, tinytl_trainer_lane_nbytes(t));
  if (!c->base) return;
  for (int i = 0; i < t->choices.n_lanes; i++)
    t->train_machines[i].arena = t->test_machines[i].arena =
        lanes + (size_t)i * tinytl_trainer_lane_nbytes(t);
  tinytl_gradients_place(t->gradients, t->params, gradient);
  tinytl_optimizer_init(&t->optimizer, t->choices.optimizer, t->params, moments);
}

tinytl_status tinytl_trainer_take_block(tinytl_trainer *t, void **loader_memory,
                                        tinytl_error *error) {
  t->block = tinytl_pages_take(t->block_nbytes);
  if (!t->block) return tinytl_fail_memory(error, t->block_nbytes);
  tinytl_cursor place = {.base = t->block};
  lay_out(t, &place, loader_memory);
  return TINYTL_OK;
}

/* ---- The plan ----------------------------------------------------------------------------- */

void tinytl_trainer_find_peak(tinytl_trainer *t) {
  tinytl_plan *plan = &t->plan;
  const size_t lane = tinytl_trainer_lane_nbytes(t), n_lanes = (size_t)t->choices.n_lanes;
  const tinytl_program *program = t->train_program;
  if (t->test_program && (!program || t->test_program->nbytes > program->nbytes))
    program = t->test_program;
  plan->saved_bytes = plan->map_bytes = 0;
  if (program && lane == program->nbytes) {
    const tinytl_program_peak peak = tinytl_program_find_peak(program);
    plan->saved_bytes = n_lanes * peak.nbytes[TINYTL_PURPOSE_SAVED];
    plan->map_bytes = n_lanes * peak.nbytes[TINYTL_PURPOSE_MAP];
    tinytl_program_name_step(program, t->network, peak.step, plan->peak_step,
                             sizeof plan->peak_step);
  } else {
    snprintf(plan->peak_step, sizeof plan->peak_step, "update of the largest weight");
  }
  plan->scratch_bytes = n_lanes * lane - plan->saved_bytes - plan->map_bytes;
}

static size_t program_nbytes(const tinytl_program *program) {
  if (!program) return 0;
  return sizeof *program + (size_t)program->n_steps * sizeof *program->steps +
         (size_t)program->n_buffers * (sizeof *program->buffers + sizeof *program->purposes);
}

/* What the methods of auto, or short trainings, are compared with. */
static size_t compared_nbytes(const tinytl_trainer *t) {
  if (t->carry) return t->carry->nbytes;
  return t->val && tinytl_method_has_reach(t->choices.method)
             ? (size_t)t->val->n_images * sizeof(float)
             : 0;
}

/* Which of them cannot be read, is kept from method to method. */
static size_t n_images(const tinytl_trainer *t) {
  return (size_t)t->train->n_images + (t->val ? (size_t)t->val->n_images : 0);
}

static size_t other_nbytes(const tinytl_trainer *t) {
  const size_t n_stacks =
      (size_t)tinytl_n_threads(t->options.n_threads) + (size_t)tinytl_trainer_n_decoders(t);
  const size_t nbytes =
      n_stacks * TINYTL_STACK_NBYTES + HEAP_NBYTES + sizeof *t + sizeof *t->network +
      (size_t)t->params->n_segments * sizeof *t->params->segments + sizeof *t->gradients +
      program_nbytes(t->train_program) + program_nbytes(t->test_program) + compared_nbytes(t) +
      (t->found ? t->found->nbytes : 0) + n_images(t) * sizeof(bool);
  /* At the end the adapter, a copy of the values, takes the place of all but the values. */
  const size_t adapter = t->params->n * sizeof(float) + tinytl_class_names_nbytes(t->train);
  const size_t given_back = t->block_nbytes - t->kept_nbytes;
  return nbytes + (adapter > given_back ? adapter - given_back : 0);
}

/* Depends on the method and t->max_load_nbytes alone, and looks at every kind of picture. */
size_t tinytl_trainer_load_nbytes(const tinytl_trainer *t) {
  const tinytl_view train = tinytl_trainer_view(t, true, 0), val = tinytl_trainer_view(t, false, 0);
  return tinytl_size_max(tinytl_images_load_nbytes(t->train, &train),
                         tinytl_images_load_nbytes(t->val, &val));
}

/* Of one image: where features are computed once, its features and one step of the classifier. */
static uint64_t step_macs(const tinytl_trainer *t) {
  if (!t->head_only) return tinytl_program_macs(t->train_program, t->network);
  return tinytl_program_macs(t->test_program, t->network) +
         2 * (uint64_t)t->network->n_features * (uint64_t)t->network->n_classes;
}

bool tinytl_trainer_count(tinytl_trainer *t) {
  tinytl_plan *plan = &t->plan;
  const size_t base_bytes = plan->base_bytes;
  *plan = (tinytl_plan){.method = t->choices.method,
                        .optimizer = t->choices.optimizer,
                        .batch = t->options.batch,
                        .image_size = t->network->image_size,
                        .defers_gradients = t->gradients->n_deferred > 0,
                        .recomputes = t->choices.recompute,
                        .spills = t->choices.spill,
                        .n_lanes = t->choices.n_lanes,
                        .base_bytes = base_bytes};
  tinytl_cursor c = {0};
  void *loader_memory;
  lay_out(t, &c, &loader_memory);
  t->block_nbytes = c.used;
  plan->frozen_bytes = tinytl_backbone_count_values(t->network->backbone, false).nbytes;
  plan->picture_bytes += tinytl_trainer_decoding_nbytes(t);
  plan->other_bytes = other_nbytes(t);
  plan->total_bytes =
      plan->frozen_bytes + c.used + tinytl_trainer_decoding_nbytes(t) + plan->other_bytes;
  plan->paper_bytes = tinytl_paper_count(t->network, plan->method, plan->batch).total;
  plan->macs = tinytl_network_macs(t->network);
  plan->step_macs = step_macs(t);
  return !c.overflow;
}
