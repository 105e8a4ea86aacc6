/* tinytl_search: evolution among the sub-nets that meet the limits (after Real et al., "Regularized
 * Evolution", 2019, and Cai et al., "Once-for-All", 2020). Every candidate is priced by the planner
 * that training has, and measured: search/measure.h. */
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/pages.h"
#include "core/rng.h"
#include "search/measure.h"
#include "train/trainer.h"

enum {
  MOST_CANDIDATES = 1000,
  FIRST_CANDIDATES = 16, /* drawn, the largest and smallest that meet the limits among them */
  PARENT_SHARE = 4,      /* the best quarter of those measured */
  DRAWS = 64             /* tries to find one that was not measured yet */
};
#define MUTATION 0.1f /* chance of a gene */

void tinytl_search_options_init(tinytl_search_options *options) {
  *options = (tinytl_search_options){.candidates = 64};
  tinytl_train_options_init(&options->train);
  options->train.method = TINYTL_METHOD_LITE_BIAS;
}

typedef struct candidate {
  tinytl_subnet subnet;
  tinytl_candidate info;
} candidate;

typedef struct search {
  const tinytl_supernet *supernet;
  const tinytl_images *train, *val;
  const tinytl_search_options *options;
  tinytl_error *error;
  tinytl_measure *measure;
  tinytl_backbone *shape; /* for the planner: an architecture, and where weights would be */
  size_t base_nbytes;     /* what a process that trains holds before */
  candidate *candidates;
  int n;
  double start;
} search;

/* ---- Price -------------------------------------------------------------------------------- */

/* Points everything at one value: the planner reads none. */
static void set_shape(tinytl_backbone *shape, const tinytl_supernet *supernet,
                      const tinytl_subnet *subnet) {
  static const int8_t no_weight;
  static const float no_value;
  const tinytl_weight weight = {.i8 = &no_weight, .scale = &no_value};
  tinytl_subnet_arch(&supernet->space, subnet, &shape->arch, NULL);
  shape->input = supernet->input;
  shape->classifier = weight;
  shape->classifier_bias = &no_value;
  for (int i = 0; i < shape->arch.n_layers; i++) {
    shape->weight[i] = weight;
    shape->bias[i] = &no_value;
  }
}

/* *meets: both limits. */
static tinytl_status price(search *s, const tinytl_subnet *subnet, tinytl_plan *plan, bool *meets) {
  const tinytl_search_options *options = s->options;
  tinytl_train_options train = options->train;
  if (train.image_size == 0) train.image_size = s->supernet->input.size;
  set_shape(s->shape, s->supernet, subnet);
  const tinytl_status status =
      tinytl_plan_upon(s->shape, s->train->n_classes, s->train->n_images, s->val->n_images, &train,
                       s->base_nbytes, plan, s->error);
  *meets = status == TINYTL_OK && (options->max_macs == 0 || plan->macs <= options->max_macs);
  return status == TINYTL_ERROR_MEMORY_LIMIT ? TINYTL_OK : status;
}

/* The smallest sub-net must meet the limits, or none does. */
static tinytl_status check_limits(search *s) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&s->supernet->space);
  tinytl_plan plan;
  bool meets;
  TINYTL_TRY(price(s, &smallest, &plan, &meets));
  if (meets) return TINYTL_OK;
  return tinytl_fail(s->error, TINYTL_ERROR_MEMORY_LIMIT,
                     "no sub-net meets the limits: the smallest one, of %d blocks, takes %.1f "
                     "million multiply-accumulates, and a memory limit of %.1fM for method %s",
                     s->shape->arch.n_blocks, (double)plan.macs / 1e6,
                     (double)plan.smallest_bytes / 1e6, tinytl_method_name(plan.method));
}

/* ---- Candidates --------------------------------------------------------------------------- */

static tinytl_rng rng_of(const search *s, uint64_t draw) {
  return tinytl_rng_make(s->options->train.seed, TINYTL_RNG_SEARCH, (uint64_t)s->n, draw);
}

static bool is_known(const search *s, const tinytl_subnet *subnet) {
  for (int i = 0; i < s->n; i++)
    if (memcmp(&s->candidates[i].subnet, subnet, sizeof *subnet) == 0) return true;
  return false;
}

static void take_gene(uint8_t *to, uint8_t from, bool taken) {
  if (from && (taken || !*to)) *to = from;
}

/* Takes each gene with this chance, and those that blocks beyond the own depth do not have. */
static void take_genes(tinytl_subnet *to, const tinytl_subnet *from, float chance, bool has_lite,
                       tinytl_rng *rng) {
  for (int s = 1; s < TINYTL_SUPERNET_STAGES; s++) {
    const bool depth = tinytl_rng_uniform(rng) < chance;
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      take_gene(&to->kernel[s][j], from->kernel[s][j], tinytl_rng_uniform(rng) < chance);
      take_gene(&to->expand[s][j], from->expand[s][j], tinytl_rng_uniform(rng) < chance);
      if (!has_lite) continue;
      take_gene(&to->lite_kernel[s][j], from->lite_kernel[s][j], tinytl_rng_uniform(rng) < chance);
      take_gene(&to->lite_groups[s][j], from->lite_groups[s][j], tinytl_rng_uniform(rng) < chance);
    }
    if (depth) to->depth[s] = from->depth[s];
  }
  tinytl_subnet_normalise(to);
}

static int by_rank(const void *left, const void *right) {
  const candidate *x = *(const candidate *const *)left, *y = *(const candidate *const *)right;
  if (x->info.top1 != y->info.top1) return x->info.top1 < y->info.top1 ? 1 : -1;
  if (x->info.macs != y->info.macs) return x->info.macs > y->info.macs ? 1 : -1;
  return x < y ? -1 : x > y;
}

/* Best first; of equal accuracy the one of less work. */
static void rank(const search *s, const candidate **ranked) {
  for (int i = 0; i < s->n; i++) ranked[i] = &s->candidates[i];
  qsort(ranked, (size_t)s->n, sizeof *ranked, by_rank);
}

static tinytl_subnet breed(const search *s, tinytl_rng *rng, uint64_t draw) {
  const tinytl_opening all = {TINYTL_SUPERNET_CHOICES, TINYTL_SUPERNET_CHOICES,
                              TINYTL_SUPERNET_CHOICES, TINYTL_LITE_CHOICES};
  const candidate *ranked[MOST_CANDIDATES];
  const uint32_t n_parents = (uint32_t)(s->n / PARENT_SHARE);
  rank(s, ranked);
  tinytl_subnet child = ranked[tinytl_rng_below(rng, n_parents)]->subnet;
  if (tinytl_rng_uniform(rng) < 0.5f) {
    take_genes(&child, &ranked[tinytl_rng_below(rng, n_parents)]->subnet, 0.5f,
               s->supernet->space.has_lite, rng);
  } else {
    const tinytl_subnet other = tinytl_subnet_draw(
        &s->supernet->space, &all, s->options->train.seed, (uint64_t)s->n, DRAWS + draw);
    take_genes(&child, &other, MUTATION, s->supernet->space.has_lite, rng);
  }
  return child;
}

static tinytl_subnet propose(const search *s, tinytl_rng *rng, uint64_t draw) {
  const tinytl_opening all = {TINYTL_SUPERNET_CHOICES, TINYTL_SUPERNET_CHOICES,
                              TINYTL_SUPERNET_CHOICES, TINYTL_LITE_CHOICES};
  if (s->n == 0 && draw == 0) return tinytl_subnet_largest(&s->supernet->space);
  if (s->n == 1 && draw == 0) return tinytl_subnet_smallest(&s->supernet->space);
  if (s->n >= FIRST_CANDIDATES) return breed(s, rng, draw);
  return tinytl_subnet_draw(&s->supernet->space, &all, s->options->train.seed, (uint64_t)s->n,
                            draw);
}

/* Makes ever more genes those of the smallest sub-net, until it meets the limits. */
static tinytl_status shrink_to_limits(search *s, tinytl_rng *rng, candidate *c) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&s->supernet->space);
  tinytl_plan plan;
  bool meets;
  for (int tenths = 1;; tenths++) {
    TINYTL_TRY(price(s, &c->subnet, &plan, &meets));
    if (meets) break;
    take_genes(&c->subnet, &smallest, (float)tenths / 10, s->supernet->space.has_lite, rng);
  }
  c->info.macs = plan.macs;
  c->info.planned_bytes = plan.total_bytes;
  c->info.base_bytes = plan.base_bytes;
  return TINYTL_OK;
}

/* *found false: all that were drawn were measured before. */
static tinytl_status find_new(search *s, candidate *c, bool *found) {
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    tinytl_rng rng = rng_of(s, draw);
    c->subnet = propose(s, &rng, draw);
    TINYTL_TRY(shrink_to_limits(s, &rng, c));
    *found = !is_known(s, &c->subnet);
    if (*found) return TINYTL_OK;
  }
  return TINYTL_OK;
}

static tinytl_status measure_candidates(search *s) {
  const tinytl_search_options *options = s->options;
  while (s->n < options->candidates) {
    candidate *c = &s->candidates[s->n];
    bool found;
    TINYTL_TRY(find_new(s, c, &found));
    if (!found) break;
    TINYTL_TRY(tinytl_measure_run(s->measure, &c->subnet, &c->info.top1, s->error));
    s->n++;
    if (options->progress)
      options->progress(options->train.context, s->n, options->candidates, &c->info);
  }
  return TINYTL_OK;
}

/* ---- The end ------------------------------------------------------------------------------ */

static void describe(const candidate *c, tinytl_candidate *info) {
  *info = c->info;
  for (int stage = 0; stage < TINYTL_SUPERNET_STAGES; stage++) {
    info->depth[stage] = c->subnet.depth[stage];
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      info->kernel[stage][j] = c->subnet.kernel[stage][j];
      info->expand[stage][j] = c->subnet.expand[stage][j];
      info->lite_kernel[stage][j] = c->subnet.lite_kernel[stage][j];
      info->lite_groups[stage][j] = c->subnet.lite_groups[stage][j];
    }
  }
}

/* What no other one beats in accuracy with as little memory, best first. */
static void tell_front(const search *s) {
  const candidate *ranked[MOST_CANDIDATES];
  size_t least = SIZE_MAX;
  rank(s, ranked);
  for (int i = 0; i < s->n && s->options->front; i++) {
    tinytl_candidate info;
    if (ranked[i]->info.planned_bytes >= least) continue;
    least = ranked[i]->info.planned_bytes;
    describe(ranked[i], &info);
    s->options->front(s->options->train.context, &info);
  }
}

static tinytl_status run(search *s, tinytl_backbone **backbone, tinytl_search_report *report) {
  const tinytl_search_options *options = s->options;
  const candidate *ranked[MOST_CANDIDATES];
  const tinytl_measure_options measure = {.supernet = s->supernet,
                                          .train = s->train,
                                          .val = s->val,
                                          .image_size = options->train.image_size,
                                          .n_threads = options->train.n_threads,
                                          .seed = options->train.seed,
                                          .memory_limit = options->train.memory_limit,
                                          .base_nbytes = tinytl_resident_nbytes(),
                                          .stop = options->train.stop,
                                          .skip = options->train.skip,
                                          .context = options->train.context};
  s->candidates = calloc((size_t)options->candidates, sizeof *s->candidates);
  s->shape = calloc(1, sizeof *s->shape);
  if (!s->candidates || !s->shape) return tinytl_fail_memory(s->error, sizeof *s->shape);
  TINYTL_TRY(check_limits(s));
  TINYTL_TRY(tinytl_measure_create(&measure, &s->measure, s->error));
  TINYTL_TRY(measure_candidates(s));
  tell_front(s);
  rank(s, ranked);
  TINYTL_TRY(tinytl_measure_make_backbone(s->measure, &ranked[0]->subnet, TINYTL_WEIGHTS_INT8,
                                          backbone, s->error));
  if (report) {
    describe(ranked[0], &report->chosen);
    report->candidates = s->n;
    report->seconds = tinytl_now() - s->start;
  }
  return TINYTL_OK;
}

static tinytl_status check(const tinytl_images *train, const tinytl_images *val,
                           const tinytl_search_options *options, tinytl_error *error) {
  if (options->candidates < FIRST_CANDIDATES || options->candidates > MOST_CANDIDATES)
    return tinytl_fail(error, TINYTL_ERROR_USAGE, "candidates must be %d to %d, not %d",
                       FIRST_CANDIDATES, MOST_CANDIDATES, options->candidates);
  if (options->train.method == TINYTL_METHOD_AUTO)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "a search wants the method that will be trained, "
                       "not auto");
  if (train->n_classes < 2 || train->n_images < 2 || !val || val->n_images < 1 ||
      val->n_classes != train->n_classes)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "expected 2 or more classes and pictures, and some held out, found %d "
                       "classes, %d pictures and %d held out",
                       train->n_classes, train->n_images, val ? val->n_images : 0);
  return TINYTL_OK;
}

tinytl_status tinytl_search(const tinytl_supernet *supernet, const tinytl_images *train,
                            const tinytl_images *val, const tinytl_search_options *options,
                            tinytl_backbone **backbone, tinytl_search_report *report,
                            tinytl_error *error) {
  search s = {.supernet = supernet,
              .train = train,
              .val = val,
              .options = options,
              .error = error,
              .start = tinytl_now()};
  /* Training holds a backbone, which its plan counts, in the place of the super-net. */
  const size_t resident = tinytl_resident_nbytes();
  const size_t values = supernet->n_values * sizeof *supernet->values;
  s.base_nbytes = resident > values ? resident - values : 0;
  TINYTL_TRY(check(train, val, options, error));
  const tinytl_status status = run(&s, backbone, report);
  tinytl_measure_free(s.measure);
  free(s.shape);
  free(s.candidates);
  return status;
}
