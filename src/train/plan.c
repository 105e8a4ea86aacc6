/* The memory of a run: what there is, how much of each, and what a limit makes of it. */
#include <stdio.h>
#include <stdlib.h>

#include "core/cursor.h"
#include "core/limit.h"
#include "core/pages.h"
#include "train/paper.h"
#include "train/trainer.h"

enum {
  /* Heap that is not planned: messages, stdio, folders being read, and what malloc loses. */
  HEAP_NBYTES = 128 * 1024,
  /* Kept free under a limit: the kernel counts resident pages by batches. */
  LIMIT_MARGIN = 192 * 1024
};

/* ---- Layout ------------------------------------------------------------------------------- */

/* Threads that decode: for small networks decoding takes half as long as training. */
static int n_decoders(const tinytl_trainer *t) {
  return (t->choices.n_lanes + 1) / 2;
}

static size_t decoding_nbytes(const tinytl_trainer *t) {
  return (size_t)n_decoders(t) * t->load_nbytes;
}

tinytl_loader_options tinytl_trainer_loader_options(const tinytl_trainer *t) {
  /* Those in use, as many for the next turn, and one more. */
  return (tinytl_loader_options){.capacity = 2 * t->choices.n_lanes + 1,
                                 .n_workers = n_decoders(t),
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
  t->order = tinytl_take(c, n_train > n_val ? n_train : n_val, sizeof(int));
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

static void count_activations(tinytl_trainer *t) {
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

static int n_threads(const tinytl_trainer *t) {
  return tinytl_n_threads(t->options.n_threads);
}

static size_t other_nbytes(const tinytl_trainer *t) {
  const size_t n_stacks = (size_t)n_threads(t) + (size_t)n_decoders(t);
  const size_t nbytes = n_stacks * TINYTL_STACK_NBYTES + HEAP_NBYTES + sizeof *t +
                        sizeof *t->network +
                        (size_t)t->params->n_segments * sizeof *t->params->segments +
                        sizeof *t->gradients + program_nbytes(t->train_program) +
                        program_nbytes(t->test_program) + (t->carry ? t->carry->nbytes : 0);
  /* At the end the adapter, a copy of the values, takes the place of all but the values. */
  const size_t adapter = t->params->n * sizeof(float);
  const size_t given_back = t->block_nbytes - t->kept_nbytes;
  return nbytes + (adapter > given_back ? adapter - given_back : 0);
}

static tinytl_paper_method paper_method(tinytl_method method) {
  static const tinytl_paper_method same[] = {
      [TINYTL_METHOD_LAST] = TINYTL_PAPER_LAST, [TINYTL_METHOD_BIAS] = TINYTL_PAPER_BIAS,
      [TINYTL_METHOD_LITE] = TINYTL_PAPER_LITE, [TINYTL_METHOD_LITE_BIAS] = TINYTL_PAPER_LITE_BIAS,
      [TINYTL_METHOD_NORM] = TINYTL_PAPER_NORM, [TINYTL_METHOD_FULL] = TINYTL_PAPER_FULL};
  return same[method];
}

/* Depends on the method and t->max_load_nbytes alone, and looks at every kind of picture. */
static size_t load_nbytes(const tinytl_trainer *t) {
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
  plan->frozen_bytes = tinytl_network_frozen_nbytes(t->network);
  plan->picture_bytes += decoding_nbytes(t);
  count_activations(t);
  plan->other_bytes = other_nbytes(t);
  plan->total_bytes = plan->frozen_bytes + c.used + decoding_nbytes(t) + plan->other_bytes;
  plan->paper_bytes = tinytl_paper_count(t->network, paper_method(plan->method), plan->batch).total;
  plan->macs = tinytl_network_macs(t->network);
  plan->step_macs = step_macs(t);
  return !c.overflow;
}

/* ---- The choice --------------------------------------------------------------------------- */

/* What saves memory, what costs least first: bits of a set. All sets are tried in the order of
 * their numbers, so that a dear saving is taken only where the cheaper ones together do not do. */
enum {
  SAVE_LANES = 1,     /* the threads share one picture's work, and meet after every operator */
  SAVE_SPILL = 2,     /* a write an epoch, or a read a picture */
  SAVE_RECOMPUTE = 4, /* the lite modules' forward pass a second time */
  SAVE_ADAM8 = 8,     /* changes what is learned, a little */
  N_SAVINGS = 16
};

/* As many as there are threads to run them and pictures in a batch. */
static int most_lanes(const tinytl_trainer *t) {
  return tinytl_min(tinytl_min(n_threads(t), t->options.batch), TINYTL_MAX_LANES);
}

static int lane_threads(const tinytl_trainer *t, int n_lanes) {
  return n_lanes > 1 ? 1 : n_threads(t);
}

/* False where a saving of the set does not apply. */
static bool make_choices(const tinytl_trainer *t, tinytl_method method, unsigned savings,
                         tinytl_choices *choices) {
  const tinytl_train_options *options = &t->options;
  const bool lite = tinytl_method_trains_lite(method);
  const int n_lanes = savings & SAVE_LANES ? 1 : most_lanes(t);
  *choices = (tinytl_choices){.method = method,
                              .n_lanes = n_lanes,
                              .lane_threads = lane_threads(t, n_lanes),
                              .optimizer = options->optimizer,
                              .spill = savings & SAVE_SPILL,
                              .recompute = savings & SAVE_RECOMPUTE};
  if (options->optimizer == TINYTL_OPTIMIZER_AUTO)
    choices->optimizer = savings & SAVE_ADAM8 ? TINYTL_OPTIMIZER_ADAM8 : TINYTL_OPTIMIZER_ADAM;
  else if (savings & SAVE_ADAM8)
    return false;
  if (choices->recompute && !lite) return false;
  if (savings & SAVE_LANES && most_lanes(t) == 1) return false;
  return !choices->spill || options->spill_dir;
}

/* The choices for a method that were looked at. */
typedef struct search {
  bool fits;
  unsigned savings;             /* of `chosen` */
  tinytl_choices chosen, least; /* the cheapest that fits; the smallest */
  size_t max_load_nbytes;       /* with `chosen` */
  size_t smallest_nbytes;
} search;

/* The sets in another order: programs are built anew where SAVE_RECOMPUTE or SAVE_LANES changes. */
static unsigned nth_savings(unsigned n) {
  return (n & 1 ? SAVE_SPILL : 0) | (n & 2 ? SAVE_ADAM8 : 0) | (n & 4 ? SAVE_RECOMPUTE : 0) |
         (n & 8 ? SAVE_LANES : 0);
}

static bool fits_limit(const tinytl_trainer *t) {
  const size_t limit = t->options.memory_limit;
  return limit == 0 || t->plan.base_bytes + t->plan.total_bytes + LIMIT_MARGIN <= limit;
}

/* Counts with as many lanes as the choice has, or as fit, if that is half of them: with fewer,
 * threads that share one picture's work do as well. False where it overflows. */
static bool count_fitting(tinytl_trainer *t) {
  const int most = t->choices.n_lanes;
  if (!tinytl_trainer_count(t)) return false;
  for (int n = most - 1; n > 1 && 2 * n >= most && !fits_limit(t); n--) {
    t->choices.n_lanes = n;
    tinytl_trainer_count(t);
  }
  return true;
}

/* Looks at every set of savings, with pictures taking max_load_nbytes at most (0: any). */
static tinytl_status try_savings(tinytl_trainer *t, const tinytl_backbone *backbone,
                                 tinytl_method method, size_t max_load_nbytes, search *found,
                                 tinytl_error *error) {
  t->max_load_nbytes = max_load_nbytes;
  for (unsigned n = 0; n < N_SAVINGS; n++) {
    const unsigned savings = nth_savings(n);
    tinytl_choices choices;
    if (!make_choices(t, method, savings, &choices)) continue;
    TINYTL_TRY(tinytl_trainer_prepare(t, backbone, &choices, error));
    if (n == 0) t->load_nbytes = load_nbytes(t);
    if (!count_fitting(t)) continue;
    const size_t total = t->plan.total_bytes;
    if (fits_limit(t) && (!found->fits || savings < found->savings)) {
      found->fits = true;
      found->savings = savings;
      found->chosen = t->choices;
      found->max_load_nbytes = max_load_nbytes;
    }
    const size_t pictures =
        t->load_nbytes < TINYTL_LEAST_FOR_PICTURES ? t->load_nbytes : TINYTL_LEAST_FOR_PICTURES;
    const size_t nbytes = total - decoding_nbytes(t) + (size_t)n_decoders(t) * pictures;
    if (nbytes >= found->smallest_nbytes) continue;
    found->smallest_nbytes = nbytes;
    found->least = t->choices;
  }
  return TINYTL_OK;
}

/* What the total would be in one lane, beside the plan of what was prepared. */
static tinytl_status count_one_lane(tinytl_trainer *t, const tinytl_backbone *backbone,
                                    const tinytl_choices *choices, tinytl_error *error) {
  tinytl_choices one = *choices;
  one.n_lanes = 1;
  one.lane_threads = lane_threads(t, one.n_lanes);
  TINYTL_TRY(tinytl_trainer_prepare(t, backbone, &one, error));
  tinytl_trainer_count(t);
  const size_t nbytes = t->plan.total_bytes;
  TINYTL_TRY(tinytl_trainer_prepare(t, backbone, choices, error));
  tinytl_trainer_count(t);
  t->plan.one_lane_bytes = nbytes;
  return TINYTL_OK;
}

/* Prepares the choice for a method that fits and costs least, or the smallest one. */
static tinytl_status try_method(tinytl_trainer *t, const tinytl_backbone *backbone,
                                tinytl_method method, bool *fits, tinytl_error *error) {
  const size_t limit = t->options.memory_limit;
  search found = {.smallest_nbytes = SIZE_MAX};
  TINYTL_TRY(try_savings(t, backbone, method, tinytl_limit_for_pictures(limit), &found, error));
  if (!found.fits)
    TINYTL_TRY(try_savings(t, backbone, method, TINYTL_LEAST_FOR_PICTURES, &found, error));
  if (found.smallest_nbytes == SIZE_MAX)
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                       "method %s at image size %d: the plan overflows the address space",
                       tinytl_method_name(method), t->network->image_size);
  *fits = found.fits;
  t->max_load_nbytes = found.fits ? found.max_load_nbytes : TINYTL_LEAST_FOR_PICTURES;
  const tinytl_choices choices = found.fits ? found.chosen : found.least;
  TINYTL_TRY(tinytl_trainer_prepare(t, backbone, &choices, error));
  tinytl_trainer_count(t);
  if (found.fits && limit) { /* what is left is for large pictures */
    const size_t without = t->plan.base_bytes + t->plan.total_bytes - decoding_nbytes(t);
    t->max_load_nbytes = (limit - LIMIT_MARGIN - without) / (size_t)n_decoders(t);
    t->load_nbytes = load_nbytes(t);
  }
  TINYTL_TRY(count_one_lane(t, backbone, &choices, error));
  t->plan.smallest_bytes =
      tinytl_limit_to_name(t->plan.base_bytes + found.smallest_nbytes + LIMIT_MARGIN);
  return TINYTL_OK;
}

tinytl_status tinytl_trainer_choose(tinytl_trainer *t, const tinytl_backbone *backbone,
                                    size_t base_nbytes, tinytl_error *error) {
  bool fits = false;
  t->plan.base_bytes = base_nbytes;
  TINYTL_TRY(try_method(t, backbone, t->options.method, &fits, error));
  if (fits) return TINYTL_OK;
  return tinytl_fail(
      error, TINYTL_ERROR_MEMORY_LIMIT,
      "method %s at image size %d does not fit in the memory limit of %.1f MB: it needs %.1f MB, "
      "and %.1f MB are taken before it starts; the smallest limit that would do is %.1fM",
      tinytl_method_name(t->plan.method), t->plan.image_size, (double)t->options.memory_limit / 1e6,
      (double)t->plan.total_bytes / 1e6, (double)t->plan.base_bytes / 1e6,
      (double)t->plan.smallest_bytes / 1e6);
}

/* For pictures that are not there yet: JPEGs of 12 megapixels from a camera, streamed, whatever the
 * crop. */
static size_t typical_load_nbytes(void *context, const tinytl_view *view) {
  (void)context, (void)view;
  return 150 * 1000;
}

tinytl_status tinytl_method_plan(const tinytl_task *task, const tinytl_train_options *options,
                                 tinytl_plan *plan, tinytl_error *error) {
  tinytl_trainer *t = calloc(1, sizeof *t);
  if (!t) return tinytl_fail_memory(error, sizeof *t);
  t->options = *options;
  t->train = task->train;
  t->val = task->val;
  t->carry = task->carry;
  const tinytl_status status = tinytl_trainer_choose(t, task->backbone, task->base_nbytes, error);
  *plan = t->plan;
  tinytl_trainer_free(t);
  return status;
}

/* Lite modules stand beside every inverted residual but the first. */
static bool can_do(const tinytl_backbone *backbone, tinytl_method method) {
  return !tinytl_method_trains_lite(method) || backbone->arch.n_lite > 0 ||
         backbone->arch.n_blocks > 1;
}

static tinytl_status plan_step(const tinytl_task *task, const tinytl_train_options *options,
                               tinytl_plan *plan, tinytl_error *error) {
  if (can_do(task->backbone, options->method))
    return tinytl_method_plan(task, options, plan, error);
  return tinytl_fail(error, TINYTL_ERROR_MODEL,
                     "method %s: the backbone has no place for lite modules",
                     tinytl_method_name(options->method));
}

/* Where several methods do not fit, the error is that of the one which wants most. */
tinytl_status tinytl_auto_plan_make(const tinytl_task *task, const tinytl_train_options *options,
                                    const tinytl_carry *resumed, tinytl_auto_plan *plan,
                                    tinytl_error *error) {
  tinytl_train_options own = *options;
  const size_t n_val = task->val ? (size_t)task->val->n_images : 0;
  const size_t compared = 2 * n_val * sizeof(float); /* by the best method so far, and the next */
  tinytl_carry carry = {.nbytes = compared};
  tinytl_task step = *task;
  tinytl_error reason;
  size_t most = 0; /* that one which does not fit would do with; 0: all fit */
  step.carry = &carry;
  *plan = (tinytl_auto_plan){.why_not = TINYTL_OK};
  const int n_methods = resumed ? resumed->n_steps : TINYTL_N_STEPS;
  for (int i = 0; i < n_methods; i++) {
    const tinytl_plan *planned = &plan->steps[i];
    own.method = tinytl_auto_methods[i];
    if (resumed) own.optimizer = resumed->optimizers[i];
    carry.asks_mirror = i == 0 && options->mirror == TINYTL_SWITCH_AUTO;
    plan->carried[i] = carry.nbytes;
    const tinytl_status status = plan_step(&step, &own, &plan->steps[i], &reason);
    if (i > 0 && !resumed &&
        (status == TINYTL_ERROR_MEMORY_LIMIT || status == TINYTL_ERROR_MODEL)) {
      plan->why_not = status;
      break;
    }
    const bool is_limited = status == TINYTL_ERROR_MEMORY_LIMIT;
    const bool is_largest = is_limited && planned->smallest_bytes > most;
    if (is_largest) most = planned->smallest_bytes;
    /* The methods to come may want a larger limit still. */
    const bool goes_on =
        status == TINYTL_OK || (resumed && is_limited && planned->smallest_bytes > 0);
    if ((is_largest || !goes_on) && error) *error = reason;
    if (!goes_on) return status;
    plan->n_steps++;
    carry.nbytes = compared + sizeof *carry.adapter + planned->trained_bytes;
  }
  return most > 0 ? TINYTL_ERROR_MEMORY_LIMIT : TINYTL_OK;
}

tinytl_status tinytl_plan_upon(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               size_t base_nbytes, tinytl_plan *plan, tinytl_error *error) {
  TINYTL_TRY(tinytl_trainer_check_options(options, error));
  if (n_classes < 2 || n_classes > TINYTL_MAX_CLASSES || n_train_images < 1 || n_val_images < 0)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "a plan needs 2 to %d classes, at least one training picture and 0 or more "
                       "of validation, not %d, %d and %d",
                       TINYTL_MAX_CLASSES, n_classes, n_train_images, n_val_images);
  const tinytl_images train = {
      .n_images = n_train_images, .n_classes = n_classes, .load_nbytes = typical_load_nbytes};
  const tinytl_images val = {.n_images = n_val_images, .n_classes = n_classes};
  const tinytl_task task = {.backbone = backbone,
                            .train = &train,
                            .val = n_val_images > 0 ? &val : NULL,
                            .base_nbytes = base_nbytes};
  if (options->method != TINYTL_METHOD_AUTO) return tinytl_method_plan(&task, options, plan, error);
  tinytl_auto_plan steps;
  const tinytl_status status = tinytl_auto_plan_make(&task, options, NULL, &steps, error);
  *plan = steps.steps[steps.n_steps > 0 ? steps.n_steps - 1 : 0];
  return status;
}

tinytl_status tinytl_plan_make(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               tinytl_plan *plan, tinytl_error *error) {
  return tinytl_plan_upon(backbone, n_classes, n_train_images, n_val_images, options,
                          tinytl_resident_nbytes(), plan, error);
}
