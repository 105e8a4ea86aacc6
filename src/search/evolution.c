/* Evolution by a predictor (after Real et al., "Regularized Evolution", 2019, and Cai et al.,
 * "Once-for-All", 2020). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/accuracy_predictor.h"
#include "search/searcher.h"

/* As in the paper. */
enum { POPULATION = 100, PARENTS = POPULATION / 4, ITERATIONS = 500 };

enum {
  PATIENCE = 20, /* iterations without a new parent, after which none is to be hoped for */
  FOLDS = 5,     /* of cross-validation, for tau */
  TRIES = 64     /* to breed a child that is new */
};

typedef struct individual {
  tinytl_subnet subnet;
  float predicted;
  bool meets; /* the limits */
} individual;

typedef struct evolution {
  tinytl_searcher *s;
  tinytl_pricer *pricer;
  tinytl_error *error;
  tinytl_accuracy_predictor predictor;
  individual all[PARENTS + POPULATION]; /* parents, best first, then children */
  int n_parents, n;
} evolution;

/* ---- The predictor ------------------------------------------------------------------------ */

/* Of sub-nets and scores every FOLDS-th, from `fold` on, or all but these. */
static int take(const tinytl_measured *measured, int n, int fold, bool in_fold,
                const tinytl_subnet **subnets, float *scores) {
  int count = 0;
  for (int i = 0; i < n; i++) {
    if ((i % FOLDS == fold) != in_fold) continue;
    subnets[count] = &measured[i].subnet;
    scores[count++] = measured[i].score;
  }
  return count;
}

/* Kendall's tau of a fold by a predictor that has seen the others, the mean over the folds. NAN:
 * none of them has two sub-nets to rank. */
static float cross_validate(evolution *e, const tinytl_measured *measured, int n,
                            const tinytl_subnet **subnets, float *scores, float *predicted) {
  const int n_folds = tinytl_min(FOLDS, n - FOLDS); /* that have two or more */
  float sum = 0;
  if (n_folds <= 0) return NAN;
  for (int fold = 0; fold < n_folds; fold++) {
    const int n_seen = take(measured, n, fold, false, subnets, scores);
    tinytl_accuracy_predictor_fit(&e->predictor, subnets, scores, n_seen);
    const int n_unseen = take(measured, n, fold, true, subnets, scores);
    for (int i = 0; i < n_unseen; i++)
      predicted[i] = tinytl_accuracy_predictor_run(&e->predictor, subnets[i]);
    sum += tinytl_kendall_tau(scores, predicted, n_unseen);
  }
  return sum / (float)n_folds;
}

static tinytl_status fit_predictor(evolution *e, tinytl_measured *measured, int n, float *tau) {
  const tinytl_subnet **subnets = malloc((size_t)n * sizeof *subnets);
  float *scores = malloc(2 * (size_t)n * sizeof *scores);
  const bool has_room = subnets && scores;
  if (has_room) {
    *tau = cross_validate(e, measured, n, subnets, scores, scores + n);
    take(measured, n, FOLDS, false, subnets, scores); /* all: there is no such fold */
    tinytl_accuracy_predictor_fit(&e->predictor, subnets, scores, n);
    for (int i = 0; i < n; i++)
      measured[i].predicted = tinytl_accuracy_predictor_run(&e->predictor, subnets[i]);
  }
  free(subnets);
  free(scores);
  return has_room ? TINYTL_OK : tinytl_fail_memory(e->error, 2 * (size_t)n * sizeof *scores);
}

/* ---- Breeding ----------------------------------------------------------------------------- */

static int by_prediction(const void *left, const void *right) {
  const individual *x = left, *y = right;
  if (x->predicted != y->predicted) return x->predicted < y->predicted ? 1 : -1;
  return memcmp(&x->subnet, &y->subnet, sizeof x->subnet);
}

static bool is_known(const evolution *e, const tinytl_subnet *subnet) {
  for (int i = 0; i < e->n; i++)
    if (tinytl_genes_are_equal(&e->all[i].subnet, subnet)) return true;
  return false;
}

static tinytl_subnet breed(const evolution *e, uint64_t key, int child, int draw) {
  const uint64_t seed = e->s->options->train.seed;
  const uint64_t second = (uint64_t)child * TRIES + (uint64_t)draw;
  const uint32_t n_parents = (uint32_t)e->n_parents;
  tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SEARCH, key, second);
  const tinytl_subnet *mother = &e->all[tinytl_rng_below(&rng, n_parents)].subnet;
  if (child % 2)
    return tinytl_genes_cross(mother, &e->all[tinytl_rng_below(&rng, n_parents)].subnet, &rng);
  const tinytl_subnet other = tinytl_genes_draw(&e->s->supernet->space, seed, key, second);
  return tinytl_genes_mutate(mother, &other, &rng);
}

static void add_children(evolution *e, uint64_t key) {
  const int first = e->n_parents;
  e->n = first;
  for (int child = 0; child < POPULATION; child++)
    for (int draw = 0; draw < TRIES; draw++) {
      const tinytl_subnet subnet = breed(e, key, child, draw);
      if (is_known(e, &subnet)) continue;
      e->all[e->n++] = (individual){
          .subnet = subnet, .predicted = tinytl_accuracy_predictor_run(&e->predictor, &subnet)};
      break;
    }
}

/* The best that meet the limits become the parents. Only those that would be are priced, which is
 * what takes time. */
static tinytl_status select_parents(evolution *e, bool *changed) {
  int n_parents = 0;
  *changed = false;
  qsort(e->all, (size_t)e->n, sizeof *e->all, by_prediction);
  for (int i = 0; i < e->n && n_parents < PARENTS; i++) {
    individual *one = &e->all[i];
    if (!one->meets) {
      TINYTL_TRY(tinytl_price_meets(e->pricer, &one->subnet, &one->meets, e->error));
      *changed = *changed || one->meets;
    }
    if (one->meets) e->all[n_parents++] = *one;
  }
  e->n_parents = e->n = n_parents;
  return TINYTL_OK;
}

static tinytl_status take_first_parents(evolution *e, const tinytl_measured *measured, int n) {
  individual *all = malloc((size_t)n * sizeof *all);
  if (!all) return tinytl_fail_memory(e->error, (size_t)n * sizeof *all);
  for (int i = 0; i < n; i++)
    all[i] = (individual){measured[i].subnet, measured[i].predicted, true};
  qsort(all, (size_t)n, sizeof *all, by_prediction);
  e->n_parents = tinytl_min(n, PARENTS);
  memcpy(e->all, all, (size_t)e->n_parents * sizeof *all);
  free(all);
  return TINYTL_OK;
}

static tinytl_status breed_all(evolution *e) {
  for (int i = 0, unchanged = 0; i < ITERATIONS && unchanged < PATIENCE; i++, unchanged++) {
    bool changed;
    TINYTL_TRY(tinytl_check_stop(e->s->options->train.stop, e->error));
    add_children(e, TINYTL_KEY_EVOLUTION + (uint64_t)i);
    TINYTL_TRY(select_parents(e, &changed));
    if (changed) unchanged = -1;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_searcher_evolve(tinytl_searcher *s, tinytl_pricer *pricer,
                                     tinytl_measured *measured, int n, tinytl_measured *finalists,
                                     int *n_finalists, float *tau, tinytl_error *error) {
  evolution *e = calloc(1, sizeof *e);
  if (!e) return tinytl_fail_memory(error, sizeof *e);
  e->s = s;
  e->pricer = pricer;
  e->error = error;
  e->predictor = tinytl_accuracy_predictor_place(s->work);
  tinytl_status status = fit_predictor(e, measured, n, tau);
  if (status == TINYTL_OK) status = take_first_parents(e, measured, n);
  if (status == TINYTL_OK) status = breed_all(e);
  *n_finalists = tinytl_min(e->n_parents, TINYTL_FINALISTS);
  for (int i = 0; i < *n_finalists; i++)
    finalists[i] = (tinytl_measured){.subnet = e->all[i].subnet, .predicted = e->all[i].predicted};
  free(e);
  return status;
}
