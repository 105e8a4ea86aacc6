#include "search/searcher.h"
#include "format/arch_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cursor.h"
#include "core/limit.h"
#include "core/pages.h"
#include "data/images.h"
#include "data/order.h"
#include "search/accuracy_predictor.h"
#include "train/calibration.h"
#include "train/rules.h"

enum {
  SMALLEST_BATCH = 4,       /* of fewer pictures norms' statistics say little */
  STATISTICS_IMAGES = 256,  /* for each sub-net anew: an eighth of what pre-training ends with */
  VAL_IMAGES = 512,         /* most held-out pictures: as docs/supernet.md, "Why likelihood", has */
  HEAP_NBYTES = 256 * 1024, /* an allowance as pre-training's, as is the margin */
  LIMIT_MARGIN = 256 * 1024
};

/* ---- Memory ------------------------------------------------------------------------------- */

static size_t picture_nbytes(const tinytl_searcher *s) {
  return 3 * (size_t)s->max_size * (size_t)s->max_size;
}

static size_t limit_of(const tinytl_searcher *s) {
  return s->options->search_limit ? s->options->search_limit : s->options->train.memory_limit;
}

/* Under a limit one: each has its own picture, which may take an eighth of that. */
static int n_decoders(const tinytl_searcher *s) {
  return limit_of(s) ? 1 : tinytl_n_decoders(tinytl_n_threads(s->options->train.n_threads));
}

static tinytl_loader_options loader_options(const tinytl_searcher *s) {
  return (tinytl_loader_options){.capacity = s->batch,
                                 .n_workers = n_decoders(s),
                                 .max_size = s->max_size,
                                 .skip = s->options->train.skip,
                                 .skip_context = s->options->train.context};
}

/* Maps, a program's arena and the predictor take turns. */
static size_t count_work(const tinytl_searcher *s) {
  const size_t predictor = tinytl_accuracy_predictor_nbytes();
  return tinytl_size_max(s->net.nbytes, tinytl_size_max(predictor, s->adaptation.program_nbytes));
}

static void lay_out_adaptation(tinytl_searcher *s, tinytl_cursor *c) {
  tinytl_adaptation *a = &s->adaptation;
  a->values = tinytl_take(c, a->params->n_trained, sizeof(float));
  a->gradient = tinytl_take(c, a->params->n_trained, sizeof(float));
  a->part_gradient = tinytl_take(c, tinytl_adaptation_n_part(s), sizeof(float));
  void *moments = tinytl_take(c, tinytl_optimizer_nbytes(TINYTL_OPTIMIZER_ADAM, a->params), 1);
  a->class_weights = tinytl_take(c, (size_t)s->train->n_classes, sizeof(float));
  if (c->base) tinytl_optimizer_init(&a->optimizer, TINYTL_OPTIMIZER_ADAM, a->params, moments);
}

/* With base NULL it only counts; s->net is of the largest sub-net. */
static tinytl_cursor lay_out(tinytl_searcher *s, unsigned char *base, void **loader_memory) {
  const size_t n_train = (size_t)s->train->n_images, n_val = (size_t)s->val->n_images;
  const size_t n_channels = s->shared.params.n_channels, batch = (size_t)s->batch;
  const size_t n_classes = (size_t)s->train->n_classes;
  const tinytl_loader_options loader = loader_options(s);
  tinytl_cursor c = {.base = base};
  s->values = tinytl_take(&c, s->shared.params.n, sizeof(float));
  s->running.mean = tinytl_take(&c, n_channels, sizeof(float));
  s->running.var = tinytl_take(&c, n_channels, sizeof(float));
  s->logits = tinytl_take(&c, n_classes, sizeof(float));
  lay_out_adaptation(s, &c);
  s->train_unreadable = tinytl_take(&c, n_train, sizeof(bool));
  s->val_unreadable = tinytl_take(&c, n_val, sizeof(bool));
  s->order = tinytl_take(&c, tinytl_size_max(n_train, n_val), sizeof(int));
  s->pixels = tinytl_take(&c, batch, picture_nbytes(s));
  s->rgb = tinytl_take(&c, batch, sizeof *s->rgb);
  s->labels = tinytl_take(&c, batch, sizeof *s->labels);
  s->indices = tinytl_take(&c, batch, sizeof *s->indices);
  *loader_memory = tinytl_take(&c, tinytl_loader_nbytes(&loader), 1);
  s->work_nbytes = count_work(s);
  s->run.block = s->work = tinytl_take(&c, s->work_nbytes, 1);
  return c;
}

static tinytl_view view_of(const tinytl_searcher *s, const tinytl_input *input, int epoch) {
  const tinytl_train_options *train = &s->options->train;
  return (tinytl_view){.size = input->size,
                       .resize = input->resize,
                       .augment = epoch > 0 && train->augment != TINYTL_SWITCH_OFF,
                       .min_scale = TINYTL_MIN_CROP_SCALE,
                       .mirror = train->mirror != TINYTL_SWITCH_OFF,
                       .colour_jitter = train->colour_jitter,
                       .seed = train->seed,
                       .epoch = (uint64_t)epoch,
                       .max_nbytes = tinytl_limit_for_pictures(limit_of(s))};
}

/* At one size of pictures: a smaller one may have room for what is left out at a larger one. */
static size_t load_nbytes_at(const tinytl_searcher *s, const tinytl_input *input) {
  const tinytl_view as_is = view_of(s, input, 0), augmented = view_of(s, input, 1);
  return tinytl_images_run_load_nbytes(s->train, s->val, &augmented, &as_is);
}

static size_t load_nbytes(const tinytl_searcher *s) {
  size_t nbytes = load_nbytes_at(s, &s->input);
  for (int i = 0; i < s->supernet->space.n_image_sizes; i++) {
    const tinytl_subnet any = {.size = (uint8_t)i};
    const tinytl_input input = tinytl_subnet_input(s->supernet, &any);
    nbytes = tinytl_size_max(nbytes, load_nbytes_at(s, &input));
  }
  return nbytes;
}

/* Of the largest sub-net, in 8 bits. */
static size_t backbone_nbytes(const tinytl_searcher *s) {
  tinytl_arch arch = s->shared.arch;
  arch.n_classes = s->train->n_classes;
  return tinytl_arch_count_values(&arch, TINYTL_WEIGHTS_INT8).nbytes;
}

/* What lies outside of the block. At the end the backbone takes the place of the work. */
static size_t other_nbytes(const tinytl_searcher *s) {
  const size_t n_loads = (size_t)n_decoders(s);
  const size_t n_threads = (size_t)tinytl_n_threads(s->options->train.n_threads) + n_loads;
  const size_t backbone = backbone_nbytes(s) + tinytl_class_names_nbytes(s->train) +
                          tinytl_strings_print_nbytes(s->train->class_names, s->train->n_classes);
  return sizeof *s + n_loads * load_nbytes(s) + n_threads * TINYTL_STACK_NBYTES + HEAP_NBYTES +
         (size_t)s->options->candidates * sizeof(tinytl_measured) +
         tinytl_adaptation_heap_nbytes(s) +
         (backbone > s->work_nbytes ? backbone - s->work_nbytes : 0);
}

/* The largest batch that the limit allows, or that of the search that is resumed. */
static tinytl_status choose_batch(tinytl_searcher *s, const tinytl_search_position *resumed,
                                  tinytl_error *error) {
  const size_t limit = limit_of(s);
  const int first = resumed ? resumed->batch : TINYTL_SEARCH_BATCH;
  const int last = resumed ? resumed->batch : SMALLEST_BATCH;
  void *loader_memory;
  tinytl_cursor counted = {0};
  for (s->batch = first; s->batch >= last; s->batch /= 2) {
    TINYTL_TRY(
        tinytl_batch_net_init(&s->net, &s->shared.arch, s->max_size, s->batch, false, error));
    counted = lay_out(s, NULL, &loader_memory);
    if (counted.overflow) continue;
    s->block_nbytes = counted.used;
    s->total_bytes = s->block_nbytes + other_nbytes(s);
    if (limit == 0 || s->base_bytes + s->total_bytes + LIMIT_MARGIN <= limit) return TINYTL_OK;
  }
  if (counted.overflow)
    return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                       "the search itself: the plan overflows the address space");
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "the search itself does not fit in the memory limit of %.1f MB: it needs %.1f "
                     "MB, and %.1f MB are taken before it starts; the smallest limit that would do "
                     "is %.1fM, which --search-limit gives to the search alone",
                     (double)limit / 1e6, (double)s->total_bytes / 1e6, (double)s->base_bytes / 1e6,
                     (double)tinytl_limit_to_name(s->base_bytes + s->total_bytes + LIMIT_MARGIN) /
                         1e6);
}

static tinytl_status set_up(tinytl_searcher *s, tinytl_method method,
                            const tinytl_search_position *resumed, tinytl_error *error) {
  const tinytl_train_options *options = &s->options->train;
  void *loader_memory;
  s->base_bytes = tinytl_resident_nbytes();
  const tinytl_subnet largest = tinytl_subnet_largest(&s->supernet->space);
  s->input = tinytl_subnet_input(s->supernet, &largest);
  s->max_size = s->input.size;
  tinytl_shared_values_layout(&s->shared, &s->supernet->space);
  TINYTL_TRY(tinytl_adaptation_init(s, method, error));
  TINYTL_TRY(choose_batch(s, resumed, error));
  s->block = tinytl_pages_take(s->block_nbytes);
  if (!s->block) return tinytl_fail_memory(error, s->block_nbytes);
  lay_out(s, s->block, &loader_memory);
  tinytl_adaptation_begin(s);
  for (int i = 0; i < s->batch; i++) s->rgb[i] = s->pixels + (size_t)i * picture_nbytes(s);
  const tinytl_loader_options loader = loader_options(s);
  TINYTL_TRY(tinytl_threads_start(&s->threads, options->n_threads, &loader, loader_memory, error));
  s->run.net = &s->net;
  s->run.run = (tinytl_run){.kernels = tinytl_kernels_get(), .pool = s->threads.pool};
  s->run.values = s->values;
  s->run.rgb = s->rgb;
  tinytl_input_affine(&s->input, s->run.input_scale, s->run.input_shift);
  return TINYTL_OK;
}

tinytl_status tinytl_searcher_create(const tinytl_supernet *supernet, const tinytl_images *train,
                                     const tinytl_images *val, const tinytl_search_options *options,
                                     tinytl_method method, const tinytl_search_position *resumed,
                                     tinytl_searcher **searcher, tinytl_error *error) {
  tinytl_searcher *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->supernet = supernet;
  made->train = train;
  made->val = val;
  made->options = options;
  const tinytl_status status = set_up(made, method, resumed, error);
  if (status != TINYTL_OK)
    tinytl_searcher_free(made);
  else
    *searcher = made;
  return status;
}

void tinytl_searcher_free(tinytl_searcher *s) {
  if (!s) return;
  tinytl_threads_stop(&s->threads);
  tinytl_pages_free(s->block, s->block_nbytes);
  tinytl_adaptation_free(&s->adaptation);
  free(s);
}

/* ---- Pictures ----------------------------------------------------------------------------- */

/* A pass over pictures in s->order, n left of them. */
typedef struct picture_pass {
  bool *unreadable;
  int n_left;
} picture_pass;

/* Takes out of the first n of the order what could not be read before, and begins behind n_done,
 * for up to `most` pictures. */
static tinytl_status start(tinytl_searcher *s, const tinytl_images *images, int n, int n_done,
                           int most, int epoch, picture_pass *pass, tinytl_error *error) {
  const tinytl_view view = view_of(s, &s->input, epoch);
  pass->unreadable = images == s->train ? s->train_unreadable : s->val_unreadable;
  TINYTL_TRY(tinytl_order_readable(pass->unreadable, n_done, s->order, &n, error));
  pass->n_left = tinytl_min(n - n_done, most);
  return tinytl_loader_start(s->threads.loader, images, s->order + n_done, pass->n_left, &view,
                             error);
}

/* Up to `most` pictures, the same ones every time. */
static tinytl_status begin_pass(tinytl_searcher *s, const tinytl_images *images, int most,
                                picture_pass *pass, tinytl_error *error) {
  const int n = tinytl_min(images->n_images, most);
  tinytl_order(s->options->train.seed, 0, images->n_images, s->order);
  return start(s, images, n, 0, n, 0, pass, error);
}

/* Holds the next ones, n at most; fewer, or none, where the pass ends. Error: INTERRUPTED. */
static tinytl_status next_batch(tinytl_searcher *s, picture_pass *pass, int n,
                                tinytl_error *error) {
  TINYTL_TRY(tinytl_check_stop(s->options->train.stop, error));
  for (s->run.n_images = 0; s->run.n_images < n && pass->n_left > 0; pass->n_left--) {
    tinytl_sample sample;
    TINYTL_TRY(tinytl_loader_next(s->threads.loader, &sample, error));
    pass->unreadable[sample.index] = sample.skipped;
    if (!sample.skipped) {
      memcpy(s->pixels + (size_t)s->run.n_images * picture_nbytes(s), sample.rgb,
             picture_nbytes(s));
      s->labels[s->run.n_images] = sample.label;
      s->indices[s->run.n_images++] = sample.index;
    }
    tinytl_loader_release(s->threads.loader, &sample);
  }
  return TINYTL_OK;
}

/* Where some cannot be read, which is known then, others take their place. */
tinytl_status tinytl_searcher_hold_update(tinytl_searcher *s, int epoch, int n_done, int size,
                                          int n, tinytl_error *error) {
  const tinytl_subnet any = {.size = (uint8_t)size};
  const int n_images = s->train->n_images;
  picture_pass pass;
  int n_wanted;
  s->input = tinytl_subnet_input(s->supernet, &any);
  do {
    tinytl_order(s->options->train.seed, (uint64_t)epoch, n_images, s->order);
    TINYTL_TRY(start(s, s->train, n_images, n_done, n, epoch, &pass, error));
    n_wanted = pass.n_left;
    TINYTL_TRY(next_batch(s, &pass, n_wanted, error));
  } while (s->run.n_images < n_wanted);
  return TINYTL_OK;
}

/* ---- Sub-nets ----------------------------------------------------------------------------- */

tinytl_status tinytl_searcher_choose(tinytl_searcher *s, const tinytl_subnet *subnet,
                                     tinytl_error *error) {
  tinytl_part_values_layout(&s->part, &s->supernet->space, subnet);
  tinytl_shared_values_copy_out(&s->shared, s->supernet->values, &s->part, s->values);
  s->input = tinytl_subnet_input(s->supernet, subnet);
  /* It takes no more than the largest one. */
  return tinytl_batch_net_init(&s->net, &s->part.arch, s->input.size, s->batch, false, error);
}

/* Statistics of the chosen sub-net's norms, as pre-training left it, on training pictures. A batch
 * that is not full would count too much, unless there is no other. */
static tinytl_status estimate_statistics(tinytl_searcher *s, tinytl_error *error) {
  const size_t nbytes = s->net.params.n_channels * sizeof(float);
  picture_pass pass;
  TINYTL_TRY(begin_pass(s, s->train, STATISTICS_IMAGES, &pass, error));
  memset(s->running.mean, 0, nbytes); /* what another sub-net left would change the last bits */
  memset(s->running.var, 0, nbytes);
  for (int n = 1;; n++) {
    TINYTL_TRY(next_batch(s, &pass, s->batch, error));
    if (s->run.n_images == 0 && n == 1)
      return tinytl_fail(error, TINYTL_ERROR_DATA, "no training picture can be read");
    if (s->run.n_images == 0 || (s->run.n_images < s->batch && n > 1)) return TINYTL_OK;
    tinytl_batch_forward(&s->run, NULL);
    tinytl_batch_blend_statistics(&s->run, s->run.n_images, 1.0f / (float)n, &s->running);
  }
}

void tinytl_searcher_fold(tinytl_searcher *s, const tinytl_batch_statistics *statistics) {
  s->folded.arch = s->part.arch;
  s->folded.input = s->input;
  tinytl_batch_fold(&s->net, statistics, s->values, &s->folded);
}

/* ---- Accuracy ----------------------------------------------------------------------------- */

/* [run.n_images][n_features] of the pass's next pictures, by the sub-net with its statistics; NULL:
 * it has ended. */
static tinytl_status next_features(tinytl_searcher *s, picture_pass *pass, const float **features,
                                   tinytl_error *error) {
  *features = NULL;
  TINYTL_TRY(next_batch(s, pass, s->batch, error));
  if (s->run.n_images == 0) return TINYTL_OK;
  tinytl_batch_forward(&s->run, &s->running);
  *features = tinytl_batch_features(&s->run);
  return TINYTL_OK;
}

/* The geometric mean of the probabilities of the right classes, at the temperature at which it is
 * largest: docs/supernet.md, "Why likelihood". */
static float likelihood(const tinytl_temperature_fit *fit, int n) {
  const double loss = tinytl_temperature_least_loss(fit);
  return isfinite(loss) ? (float)exp(-loss / n) : 0;
}

tinytl_status tinytl_searcher_measure(tinytl_searcher *s, tinytl_measured *one,
                                      tinytl_error *error) {
  tinytl_temperature_fit fit = {{0}};
  picture_pass pass;
  int n = 0, n_right = 0;
  TINYTL_TRY(tinytl_searcher_choose(s, &one->subnet, error));
  TINYTL_TRY(estimate_statistics(s, error));
  tinytl_adaptation_apply(s);
  TINYTL_TRY(begin_pass(s, s->val, VAL_IMAGES, &pass, error));
  for (;;) {
    const float *features;
    TINYTL_TRY(next_features(s, &pass, &features, error));
    if (!features) break;
    for (int i = 0; i < s->run.n_images; i++, features += s->shared.arch.n_features) {
      tinytl_adaptation_classify(s, features);
      n_right += tinytl_is_right(s->train->n_classes, s->logits, s->labels[i]);
      tinytl_temperature_add(&fit, s->train->n_classes, s->logits, s->labels[i]);
    }
    n += s->run.n_images;
  }
  if (n == 0) return tinytl_fail(error, TINYTL_ERROR_DATA, "no held-out picture can be read");
  one->top1 = (float)n_right / (float)n;
  one->score = likelihood(&fit, n);
  return TINYTL_OK;
}

tinytl_status tinytl_searcher_finish(tinytl_searcher *s, const tinytl_subnet *subnet,
                                     tinytl_backbone **backbone, tinytl_error *error) {
  TINYTL_TRY(tinytl_searcher_choose(s, subnet, error));
  TINYTL_TRY(estimate_statistics(s, error));
  tinytl_threads_stop(&s->threads);
  tinytl_searcher_fold(s, &s->running);
  tinytl_adaptation_apply(s);
  s->folded.labels = (char **)s->train->class_names;
  s->folded.n_labels = s->folded.arch.n_classes = s->train->n_classes;
  s->folded.classifier = tinytl_adaptation_classifier(&s->adaptation, &s->folded.classifier_bias);
  tinytl_pages_drop(s->work, s->work_nbytes);
  tinytl_error reason;
  const tinytl_status status =
      tinytl_backbone_build(&s->folded, TINYTL_WEIGHTS_INT8, backbone, &reason);
  if (status == TINYTL_OK) return TINYTL_OK;
  return tinytl_fail(error, status, "the chosen sub-net, its norms folded: %s", reason.message);
}
