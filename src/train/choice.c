#include "train/choice.h"

#include "core/limit.h"
#include "train/layout.h"
#include "train/prepare.h"

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
  return tinytl_min(tinytl_min(tinytl_n_threads(t->options.n_threads), t->options.batch),
                    TINYTL_MAX_LANES);
}

static int lane_threads(const tinytl_trainer *t, int n_lanes) {
  return n_lanes > 1 ? 1 : tinytl_n_threads(t->options.n_threads);
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
  size_t chosen_nbytes;         /* without what decoding takes */
  size_t smallest_nbytes;
} search;

/* The sets in another order: programs are built anew where SAVE_RECOMPUTE or SAVE_LANES changes. */
static unsigned nth_savings(unsigned n) {
  return (n & 1 ? SAVE_SPILL : 0) | (n & 2 ? SAVE_ADAM8 : 0) | (n & 4 ? SAVE_RECOMPUTE : 0) |
         (n & 8 ? SAVE_LANES : 0);
}

static bool fits_limit(const tinytl_trainer *t) {
  const size_t limit = t->options.memory_limit;
  return limit == 0 || t->plan.base_bytes + t->plan.total_bytes + TINYTL_LIMIT_MARGIN <= limit;
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
    if (n == 0) t->load_nbytes = tinytl_trainer_load_nbytes(t);
    if (!count_fitting(t)) continue;
    const size_t without = t->plan.total_bytes - tinytl_trainer_decoding_nbytes(t);
    if (fits_limit(t) && (!found->fits || savings < found->savings)) {
      found->fits = true;
      found->savings = savings;
      found->chosen = t->choices;
      found->max_load_nbytes = max_load_nbytes;
      found->chosen_nbytes = without;
    }
    const size_t pictures =
        t->load_nbytes < TINYTL_LEAST_FOR_PICTURES ? t->load_nbytes : TINYTL_LEAST_FOR_PICTURES;
    const size_t nbytes = without + (size_t)tinytl_trainer_n_decoders(t) * pictures;
    if (nbytes >= found->smallest_nbytes) continue;
    found->smallest_nbytes = nbytes;
    found->least = t->choices;
  }
  return TINYTL_OK;
}

/* Prepares the choices, and counts what the total would be in one lane, too. */
static tinytl_status prepare_chosen(tinytl_trainer *t, const tinytl_backbone *backbone,
                                    const tinytl_choices *choices, tinytl_error *error) {
  tinytl_choices one = *choices;
  one.n_lanes = 1;
  one.lane_threads = lane_threads(t, one.n_lanes);
  TINYTL_TRY(tinytl_trainer_prepare(t, backbone, &one, error));
  tinytl_trainer_count(t);
  const size_t nbytes = t->plan.total_bytes;
  TINYTL_TRY(tinytl_trainer_prepare(t, backbone, choices, error));
  tinytl_trainer_count(t);
  tinytl_trainer_find_peak(t);
  t->plan.one_lane_bytes = nbytes;
  return TINYTL_OK;
}

/* Prepares the choice for a method that fits and costs least, or the smallest one. */
static tinytl_status try_method(tinytl_trainer *t, const tinytl_backbone *backbone,
                                tinytl_method method, bool *fits, tinytl_error *error) {
  const size_t limit = t->options.memory_limit;
  search found = {.smallest_nbytes = SIZE_MAX};
  TINYTL_TRY(try_savings(t, backbone, method, tinytl_limit_for_pictures(limit), &found, error));
  /* Pictures that take no more than this already would be planned for as before. */
  if (!found.fits && t->load_nbytes > TINYTL_LEAST_FOR_PICTURES)
    TINYTL_TRY(try_savings(t, backbone, method, TINYTL_LEAST_FOR_PICTURES, &found, error));
  if (found.smallest_nbytes == SIZE_MAX)
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                       "method %s at image size %d: the plan overflows the address space",
                       tinytl_method_name(method), t->network->image_size);
  *fits = found.fits;
  t->max_load_nbytes = found.fits ? found.max_load_nbytes : TINYTL_LEAST_FOR_PICTURES;
  const tinytl_choices choices = found.fits ? found.chosen : found.least;
  if (found.fits && limit) { /* what is left is for large pictures */
    const size_t left = limit - TINYTL_LIMIT_MARGIN - t->plan.base_bytes - found.chosen_nbytes;
    t->max_load_nbytes = left / (size_t)tinytl_n_decoders(choices.n_lanes);
    t->load_nbytes = tinytl_trainer_load_nbytes(t);
  }
  TINYTL_TRY(prepare_chosen(t, backbone, &choices, error));
  t->plan.smallest_bytes =
      tinytl_limit_to_name(t->plan.base_bytes + found.smallest_nbytes + TINYTL_LIMIT_MARGIN);
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
