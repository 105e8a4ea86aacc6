/* tinytl_search: adapts the super-net, measures sub-nets that meet the limits, and chooses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limit.h"
#include "core/pages.h"
#include "core/progress.h"
#include "core/saver.h"
#include "data/images.h"
#include "search/searcher.h"
#include "train/trainer.h"

enum {
  CANDIDATES = 100,      /* rank others as well as 300 do: docs/supernet.md, "Why likelihood" */
  LEAST_CANDIDATES = 16, /* a fifth of fewer says little of a predictor */
  DRAWS = 64 /* tries to find a sub-net that was not measured yet, or whose program has room */
};

void tinytl_search_options_init(tinytl_search_options *options) {
  *options = (tinytl_search_options){0};
  tinytl_train_options_init(&options->train);
  options->train.method = TINYTL_METHOD_LITE_BIAS;
}

typedef struct search {
  tinytl_search_options options; /* with defaults filled in */
  tinytl_error *error;
  tinytl_supernet supernet; /* the one given, with the sizes of pictures to choose from */
  tinytl_searcher *searcher;
  tinytl_search_position at; /* that is gone on from */
  tinytl_sealed_file file;   /* of it */
  tinytl_pricer pricer;
  tinytl_search_state state;
  tinytl_measured *measured; /* [candidates + TINYTL_FINALISTS] */
  float tau;
  tinytl_progress progress; /* of adapting, in steps */
  tinytl_saver saver;
} search;

/* ---- Checkpoints -------------------------------------------------------------------------- */

static void save(search *s) {
  if (!s->options.save || s->saver.is_saved || !s->state.searcher) return;
  tinytl_saver_start(&s->saver);
  s->options.save(s->options.train.context, &s->state);
  tinytl_saver_end(&s->saver);
}

/* From here the search could go on. Saves it where that is due. */
static void settle(search *s) {
  if (tinytl_saver_change(&s->saver, s->options.train.save_seconds)) save(s);
}

/* ---- Adaptation --------------------------------------------------------------------------- */

static void report_epoch(search *s, bool finished) {
  const tinytl_search_position *at = &s->searcher->at;
  const tinytl_adaptation *a = &s->searcher->adaptation;
  if (!s->options.adapting || !tinytl_progress_due(&s->progress, finished)) return;
  const double step = (double)a->optimizer.step, n_now = step - s->progress.done_before;
  const tinytl_epoch event = {
      .epoch = at->epoch,
      .n_epochs = a->n_epochs,
      .image = at->n_fed,
      .n_images = s->searcher->train->n_images,
      .finished = finished,
      .loss = at->n_fed > 0 ? (float)(at->loss_sum / at->n_fed) : NAN,
      .val_top1 = NAN,
      .images_per_second = tinytl_progress_rate(&s->progress, n_now * a->batch),
      .seconds_left = tinytl_progress_left(&s->progress, step, (double)a->n_steps)};
  s->options.adapting(s->options.train.context, &event);
}

static uint64_t update_key(const search *s) {
  return TINYTL_KEY_ADAPTATION + s->searcher->adaptation.optimizer.step;
}

/* Of those that could be chosen, at the size of the pictures held: what is trained is for them. The
 * smallest one always fits. */
static tinytl_status draw_and_add_gradient(search *s, uint8_t size, double *loss) {
  const tinytl_space *space = &s->supernet.space;
  const uint64_t seed = s->options.train.seed, key = update_key(s);
  const bool is_limited = s->options.train.memory_limit || s->options.max_macs;
  tinytl_subnet smallest = tinytl_subnet_smallest(space);
  bool fits = false;
  smallest.size = size;
  for (uint64_t draw = 0; draw < DRAWS && !fits; draw++) {
    tinytl_subnet subnet = draw < DRAWS - 1 ? tinytl_genes_draw(space, seed, key, draw) : smallest;
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SEARCH, key, draw);
    subnet.size = size;
    if (is_limited)
      TINYTL_TRY(tinytl_price_shrink(&s->pricer, &smallest, &rng, &subnet, NULL, s->error));
    TINYTL_TRY(tinytl_adaptation_add_gradient(s->searcher, &subnet, &fits, loss, s->error));
  }
  return TINYTL_OK;
}

/* Pictures that do not fill a batch at the end are left out, but for those of a whole epoch: in
 * another one it will be others. */
static tinytl_status adapt_epoch(search *s) {
  tinytl_searcher *searcher = s->searcher;
  tinytl_search_position *at = &searcher->at;
  const int batch = searcher->adaptation.batch;
  for (;;) {
    const uint8_t size =
        tinytl_genes_draw(&s->supernet.space, s->options.train.seed, update_key(s), 0).size;
    double loss = 0;
    TINYTL_TRY(tinytl_searcher_hold_update(searcher, at->epoch, at->n_fed, size, batch, s->error));
    if (searcher->run.n_images == 0 || (searcher->run.n_images < batch && at->n_fed > 0)) break;
    TINYTL_TRY(draw_and_add_gradient(s, size, &loss));
    if (!isfinite(loss))
      return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                         "the loss is not finite in epoch %d of adapting: expected a number, found "
                         "%g",
                         at->epoch, loss);
    tinytl_adaptation_update(searcher);
    at->loss_sum += loss;
    at->n_fed += searcher->run.n_images;
    settle(s);
    report_epoch(s, false);
  }
  if (at->n_fed > 0) return TINYTL_OK;
  return tinytl_fail(s->error, TINYTL_ERROR_DATA,
                     "expected a training picture that can be read, found none");
}

static tinytl_status adapt(search *s) {
  tinytl_search_position *at = &s->searcher->at;
  while (at->epoch <= s->searcher->adaptation.n_epochs) {
    TINYTL_TRY(adapt_epoch(s));
    report_epoch(s, true);
    at->epoch++;
    at->n_fed = 0;
    at->loss_sum = 0;
    settle(s);
  }
  return TINYTL_OK;
}

/* ---- Candidates --------------------------------------------------------------------------- */

static bool is_known(const search *s, const tinytl_subnet *subnet) {
  for (int i = 0; i < s->searcher->at.n_measured; i++)
    if (tinytl_genes_are_equal(&s->measured[i].subnet, subnet)) return true;
  return false;
}

static int by_rank(const void *left, const void *right) {
  const tinytl_measured *x = *(const tinytl_measured *const *)left;
  const tinytl_measured *y = *(const tinytl_measured *const *)right;
  if (x->score != y->score) return x->score < y->score ? 1 : -1;
  if (x->macs != y->macs) return x->macs > y->macs ? 1 : -1;
  return x < y ? -1 : x > y;
}

/* Best first; of equal score the one of less work. */
static void rank(const search *s, const tinytl_measured **ranked) {
  const int n = s->searcher->at.n_measured;
  for (int i = 0; i < n; i++) ranked[i] = &s->measured[i];
  qsort(ranked, (size_t)n, sizeof *ranked, by_rank);
}

static tinytl_subnet propose(const search *s, uint64_t draw) {
  const int n = s->searcher->at.n_measured;
  if (n == 0 && draw == 0) return tinytl_subnet_largest(&s->supernet.space);
  if (n == 1 && draw == 0) return tinytl_subnet_smallest(&s->supernet.space);
  return tinytl_genes_draw(&s->supernet.space, s->options.train.seed, (uint64_t)n, draw);
}

static void set_price(tinytl_measured *one, const tinytl_plan *plan) {
  one->macs = plan->macs;
  one->planned_bytes = plan->one_lane_bytes;
}

/* *found false: all that were drawn were measured before. */
static tinytl_status find_new(search *s, tinytl_measured *one, bool *found) {
  const tinytl_subnet smallest = tinytl_subnet_smallest(&s->supernet.space);
  for (uint64_t draw = 0; draw < DRAWS; draw++) {
    tinytl_rng rng = tinytl_rng_make(s->options.train.seed, TINYTL_RNG_SEARCH,
                                     (uint64_t)s->searcher->at.n_measured, draw);
    tinytl_plan plan;
    *one = (tinytl_measured){.subnet = propose(s, draw), .predicted = NAN};
    TINYTL_TRY(tinytl_price_shrink(&s->pricer, &smallest, &rng, &one->subnet, &plan, s->error));
    set_price(one, &plan);
    *found = !is_known(s, &one->subnet);
    if (*found) return TINYTL_OK;
  }
  return TINYTL_OK;
}

static void describe(const search *s, const tinytl_measured *one, tinytl_candidate *info) {
  *info = (tinytl_candidate){.macs = one->macs,
                             .planned_bytes = one->planned_bytes,
                             .base_bytes = s->pricer.base_nbytes,
                             .top1 = one->top1,
                             .score = one->score,
                             .predicted = one->predicted,
                             .image_size = tinytl_subnet_input(&s->supernet, &one->subnet).size};
  for (int stage = 0; stage < TINYTL_SUPERNET_STAGES; stage++) {
    info->depth[stage] = one->subnet.depth[stage];
    for (int j = 0; j < TINYTL_SUPERNET_DEPTH; j++) {
      info->kernel[stage][j] = one->subnet.kernel[stage][j];
      info->expand[stage][j] = one->subnet.expand[stage][j];
      info->lite_kernel[stage][j] = one->subnet.lite_kernel[stage][j];
      info->lite_groups[stage][j] = one->subnet.lite_groups[stage][j];
    }
  }
}

/* Measures the next one, which is in its place. */
static tinytl_status measure_next(search *s, int n_all) {
  tinytl_measured *one = &s->measured[s->searcher->at.n_measured];
  tinytl_candidate info;
  TINYTL_TRY(tinytl_searcher_measure(s->searcher, one, s->error));
  s->searcher->at.n_measured++;
  settle(s);
  describe(s, one, &info);
  if (s->options.progress)
    s->options.progress(s->options.train.context, s->searcher->at.n_measured, n_all, &info);
  return TINYTL_OK;
}

static tinytl_status measure_candidates(search *s, int n_all) {
  tinytl_search_position *at = &s->searcher->at;
  while (at->n_drawn == 0 && at->n_measured < s->options.candidates) {
    bool found;
    TINYTL_TRY(find_new(s, &s->measured[at->n_measured], &found));
    if (!found) break;
    TINYTL_TRY(measure_next(s, n_all));
  }
  if (at->n_drawn == 0) at->n_drawn = at->n_measured;
  return TINYTL_OK;
}

/* Those that the predictor thinks best are measured too. Of a search that goes on, some are
 * already. */
static tinytl_status measure_finalists(search *s) {
  tinytl_measured finalists[TINYTL_FINALISTS];
  const int n_before = s->searcher->at.n_measured, n = s->searcher->at.n_drawn;
  int n_finalists;
  TINYTL_TRY(tinytl_searcher_evolve(s->searcher, &s->pricer, s->measured, n, finalists,
                                    &n_finalists, &s->tau, s->error));
  for (int i = 0; i < n_finalists; i++) {
    tinytl_plan plan;
    bool meets;
    for (int k = n; k < n_before; k++)
      if (tinytl_genes_are_equal(&s->measured[k].subnet, &finalists[i].subnet))
        s->measured[k].predicted = finalists[i].predicted;
    if (is_known(s, &finalists[i].subnet)) continue;
    /* A search that goes on with other kernels may find other finalists. */
    if (s->searcher->at.n_measured == n + TINYTL_FINALISTS) break;
    TINYTL_TRY(tinytl_price(&s->pricer, &finalists[i].subnet, &plan, &meets, s->error));
    set_price(&finalists[i], &plan);
    s->measured[s->searcher->at.n_measured] = finalists[i];
    TINYTL_TRY(measure_next(s, n + n_finalists));
  }
  return TINYTL_OK;
}

/* ---- Beginning and end -------------------------------------------------------------------- */

/* Prices of what was measured before are found anew. */
static tinytl_status go_on(search *s) {
  s->searcher->at = s->at;
  TINYTL_TRY(tinytl_search_state_restore(&s->state, &s->file, s->error));
  for (int i = 0; i < s->at.n_measured; i++) {
    tinytl_plan plan;
    bool meets;
    TINYTL_TRY(tinytl_price(&s->pricer, &s->measured[i].subnet, &plan, &meets, s->error));
    set_price(&s->measured[i], &plan);
    s->measured[i].predicted = NAN;
  }
  s->progress.done_before = (double)s->searcher->adaptation.optimizer.step;
  if (s->options.resumed)
    s->options.resumed(s->options.train.context, s->at.epoch, s->at.n_measured);
  return TINYTL_OK;
}

static tinytl_status check_position(const search *s) {
  const bool is_drawn = s->at.n_drawn > 0;
  const int most = is_drawn ? s->at.n_drawn + TINYTL_FINALISTS : s->options.candidates;
  const int last_epoch = s->searcher->adaptation.n_epochs + 1;
  const uint64_t n_steps = s->searcher->adaptation.n_steps;
  if (s->at.step > n_steps)
    return tinytl_fail(s->error, TINYTL_ERROR_MODEL,
                       "%s: expected at most %llu updates, found %llu", s->options.resume->name,
                       (unsigned long long)n_steps, (unsigned long long)s->at.step);
  if (s->at.n_measured <= most && s->at.n_drawn <= s->options.candidates &&
      s->at.epoch <= last_epoch)
    return TINYTL_OK;
  return tinytl_fail(s->error, TINYTL_ERROR_MODEL,
                     "%s: expected at most %d sub-nets and epoch %d, found %d and %d",
                     s->options.resume->name, most, last_epoch, s->at.n_measured, s->at.epoch);
}

/* As many as the search that is gone on with had. */
static tinytl_status take_sizes(search *s) {
  int *n_sizes = &s->supernet.space.n_image_sizes;
  if (s->at.n_sizes > *n_sizes)
    return tinytl_fail(s->error, TINYTL_ERROR_MODEL,
                       "%s: expected at most %d sizes of the picture, found %d",
                       s->options.resume->name, *n_sizes, s->at.n_sizes);
  *n_sizes = s->at.n_sizes;
  return TINYTL_OK;
}

/* Drops the first size at which not even the smallest sub-net meets the limits, and all larger
 * ones: a plan may be smaller at a larger size, but not by much. At the smallest size one does. */
static tinytl_status drop_large_sizes(search *s) {
  tinytl_space *space = &s->supernet.space;
  tinytl_subnet smallest = tinytl_subnet_smallest(space);
  for (int i = 1; i < space->n_image_sizes; i++) {
    bool meets;
    smallest.size = (uint8_t)i;
    TINYTL_TRY(tinytl_price_meets(&s->pricer, &smallest, &meets, s->error));
    if (!meets) space->n_image_sizes = i;
  }
  return TINYTL_OK;
}

/* Lite modules are adapted where training will train them. */
static bool wants_lite(const search *s) {
  return s->supernet.space.has_lite && tinytl_method_lite_tensors(s->options.train.method);
}

/* With the largest pictures for which the search itself fits, and lite modules if they fit beside
 * these. */
static tinytl_status create_searcher(search *s) {
  const tinytl_search_position *resumed = s->options.resume ? &s->at : NULL;
  int *n_sizes = &s->supernet.space.n_image_sizes;
  bool lite = resumed ? s->at.adapts_lite : wants_lite(s);
  tinytl_error reason;
  for (;;) {
    const tinytl_status status = tinytl_searcher_create(
        &s->supernet, s->pricer.train, s->pricer.val, &s->options,
        lite ? TINYTL_METHOD_LITE_BIAS : TINYTL_METHOD_BIAS, resumed, &s->searcher, &reason);
    const bool is_too_large = status == TINYTL_ERROR_MEMORY_LIMIT && !resumed;
    if (is_too_large && lite) {
      lite = false;
    } else if (is_too_large && *n_sizes > 1) {
      --*n_sizes;
      lite = wants_lite(s);
    } else {
      if (status != TINYTL_OK && s->error) *s->error = reason;
      return status;
    }
  }
}

static tinytl_status begin(search *s) {
  const tinytl_pricer *pricer = &s->pricer;
  const tinytl_search_options *options = &s->options;
  const bool resumes = options->resume;
  TINYTL_TRY(tinytl_search_state_init(&s->state, &s->supernet, pricer->train, pricer->val, options,
                                      s->error));
  if (resumes) {
    TINYTL_TRY(tinytl_search_state_open(&s->state, options->resume, &s->file, &s->at, s->error));
    s->pricer.base_nbytes = s->at.base_nbytes;
    TINYTL_TRY(take_sizes(s));
  }
  TINYTL_TRY(tinytl_pricer_init(&s->pricer, s->error));
  TINYTL_TRY(tinytl_price_check_limits(&s->pricer, s->error));
  if (!resumes) TINYTL_TRY(drop_large_sizes(s));
  s->measured = calloc((size_t)options->candidates + TINYTL_FINALISTS, sizeof *s->measured);
  if (!s->measured)
    return tinytl_fail_memory(s->error, (size_t)options->candidates * sizeof *s->measured);
  TINYTL_TRY(create_searcher(s));
  s->searcher->at = (tinytl_search_position){.epoch = 1,
                                             .batch = s->searcher->batch,
                                             .n_sizes = s->supernet.space.n_image_sizes,
                                             .adapts_lite = s->searcher->adaptation.method ==
                                                            TINYTL_METHOD_LITE_BIAS,
                                             .base_nbytes = pricer->base_nbytes};
  s->state.searcher = s->searcher;
  s->state.measured = s->measured;
  tinytl_saver_begin(&s->saver, resumes);
  if (!resumes) return TINYTL_OK;
  TINYTL_TRY(check_position(s));
  return go_on(s);
}

/* Best first. The front: what no other one beats in score with as little memory. */
static void tell(const search *s, const tinytl_measured *const *ranked) {
  size_t least = SIZE_MAX;
  for (int i = 0; i < s->searcher->at.n_measured && s->options.measured; i++) {
    tinytl_candidate info;
    describe(s, ranked[i], &info);
    info.on_front = info.planned_bytes < least;
    if (info.on_front) least = info.planned_bytes;
    s->options.measured(s->options.train.context, &info);
  }
}

static tinytl_status run(search *s, tinytl_backbone **backbone, tinytl_search_report *report) {
  const tinytl_measured *ranked[TINYTL_MOST_CANDIDATES + TINYTL_FINALISTS];
  TINYTL_TRY(begin(s));
  TINYTL_TRY(adapt(s));
  TINYTL_TRY(measure_candidates(s, s->options.candidates + TINYTL_FINALISTS));
  TINYTL_TRY(measure_finalists(s));
  rank(s, ranked);
  save(s); /* whatever becomes of the backbone */
  TINYTL_TRY(tinytl_searcher_finish(s->searcher, &ranked[0]->subnet, backbone, s->error));
  tell(s, ranked);
  if (report) {
    describe(s, ranked[0], &report->chosen);
    report->chosen.on_front = true;
    report->candidates = s->searcher->at.n_measured;
    report->adapted = s->searcher->adaptation.method;
    report->tau = s->tau;
    report->planned_bytes = s->searcher->total_bytes;
    report->search_base_bytes = s->searcher->base_bytes;
    report->seconds = tinytl_progress_seconds(&s->progress);
  }
  return TINYTL_OK;
}

static tinytl_status check_sizes(const tinytl_search_options *options, tinytl_error *error) {
  const int *sizes = options->image_sizes;
  TINYTL_TRY(tinytl_check_int("image size of training", options->train.image_size, 0, 0, error));
  TINYTL_TRY(tinytl_check_int("number of image sizes", options->n_image_sizes, 0,
                              TINYTL_MAX_IMAGE_SIZES, error));
  for (int i = 0; i < options->n_image_sizes; i++) {
    TINYTL_TRY(tinytl_check_int("each of the image sizes", sizes[i], TINYTL_MIN_TRAIN_SIZE,
                                TINYTL_MAX_TRAIN_SIZE, error));
    if (i > 0 && sizes[i] <= sizes[i - 1])
      return tinytl_fail(error, TINYTL_ERROR_USAGE, "image sizes must ascend: %d comes after %d",
                         sizes[i], sizes[i - 1]);
  }
  return TINYTL_OK;
}

static tinytl_status check(const tinytl_images *train, const tinytl_images *val,
                           const tinytl_search_options *options, tinytl_error *error) {
  TINYTL_TRY(tinytl_check_int("candidates", options->candidates, LEAST_CANDIDATES,
                              TINYTL_MOST_CANDIDATES, error));
  TINYTL_TRY(check_sizes(options, error));
  if (options->train.method == TINYTL_METHOD_AUTO)
    return tinytl_fail(error, TINYTL_ERROR_USAGE,
                       "a search wants the method that will be trained, "
                       "not auto");
  TINYTL_TRY(tinytl_trainer_check_options(&options->train, error));
  if (!val || train->n_images < 2)
    return tinytl_fail(error, TINYTL_ERROR_DATA,
                       "a search wants two training pictures or more, and some that are held out, "
                       "found %d and %d",
                       train->n_images, val ? val->n_images : 0);
  return tinytl_images_check(train, val, error);
}

tinytl_status tinytl_search(const tinytl_supernet *supernet, const tinytl_images *train,
                            const tinytl_images *val, const tinytl_search_options *options,
                            tinytl_backbone **backbone, tinytl_search_report *report,
                            tinytl_error *error) {
  search s = {.options = *options,
              .supernet = *supernet,
              .error = error,
              .progress = tinytl_progress_begin(),
              .tau = NAN};
  if (s.options.candidates == 0) s.options.candidates = CANDIDATES;
  TINYTL_TRY(check(train, val, &s.options, error));
  tinytl_genes_set_sizes(&s.supernet.space, supernet->input.size, s.options.image_sizes,
                         s.options.n_image_sizes);
  /* Training holds a backbone, which its plan counts, in the place of the super-net. */
  const size_t resident = tinytl_resident_nbytes();
  const size_t limit = tinytl_size_max(options->train.memory_limit, options->search_limit);
  TINYTL_TRY(tinytl_limit_check_base(limit, resident, error));
  const size_t values = supernet->n_values * sizeof *supernet->values;
  s.pricer = (tinytl_pricer){.supernet = &s.supernet,
                             .train = train,
                             .val = val,
                             .options = &s.options,
                             .base_nbytes = resident > values ? resident - values : 0};
  const tinytl_status status = run(&s, backbone, report);
  if (status == TINYTL_INTERRUPTED) save(&s);
  tinytl_sealed_close(&s.file);
  tinytl_searcher_free(s.searcher);
  tinytl_pricer_clear(&s.pricer);
  tinytl_search_state_clear(&s.state);
  free(s.measured);
  return status;
}
