#include "search/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/pages.h"

enum {
  LARGEST_BATCH = 64,
  SMALLEST_BATCH = 4,
  STATISTICS_IMAGES = 256,
  MEAN_IMAGES = 512, /* most training pictures behind the class means */
  VAL_IMAGES = 512,  /* most held-out pictures */
  STACK_NBYTES = 32 * 1024,
  HEAP_NBYTES = 256 * 1024,
  LIMIT_MARGIN = 256 * 1024
};

struct tinytl_measure {
  tinytl_measure_options options;
  tinytl_shared_values shared;
  tinytl_part_values part;
  tinytl_batch_net net; /* of the part */
  tinytl_batch_run run;
  tinytl_input input;
  tinytl_pool *pool;
  tinytl_loader *loader;
  int batch, n_held;
  unsigned char *block;
  size_t block_nbytes;
  float *values;                   /* of the part */
  tinytl_batch_statistics running; /* the mean over batches */
  float *means;                    /* [n_classes][n_features], of unit length in the end */
  int *counts;                     /* [n_classes] */
  int *order;
  uint8_t *pixels;
  const uint8_t **rgb;
  int *labels;
  bool has_told; /* of pictures that cannot be read */
};

/* ---- Memory ------------------------------------------------------------------------------- */

static void *take(unsigned char *base, size_t *used, size_t n, size_t element_nbytes) {
  void *piece = base ? base + *used : NULL;
  *used += tinytl_round_up(n * element_nbytes, TINYTL_ARENA_ALIGN);
  return piece;
}

static void note_skipped(void *context, const char *path, const char *reason) {
  const tinytl_measure *m = context;
  if (m->options.skip && !m->has_told) m->options.skip(m->options.context, path, reason);
}

static size_t picture_nbytes(const tinytl_measure *m) {
  return 3 * (size_t)m->input.size * (size_t)m->input.size;
}

static tinytl_loader_options loader_options(tinytl_measure *m) {
  return (tinytl_loader_options){.capacity = m->batch,
                                 .n_workers = 1,
                                 .max_size = m->input.size,
                                 .skip = note_skipped,
                                 .skip_context = m};
}

/* With base NULL it only counts; m->net is of the largest sub-net. */
static size_t lay_out(tinytl_measure *m, unsigned char *base, void **loader_memory) {
  const int n_train = m->options.train->n_images, n_val = m->options.val->n_images;
  const size_t n_channels = m->shared.params.n_channels, batch = (size_t)m->batch;
  const size_t n_classes = (size_t)m->options.train->n_classes;
  const tinytl_loader_options loader = loader_options(m);
  size_t used = 0;
  m->values = take(base, &used, m->shared.params.n, sizeof(float));
  m->running.mean = take(base, &used, n_channels, sizeof(float));
  m->running.var = take(base, &used, n_channels, sizeof(float));
  m->means = take(base, &used, n_classes * (size_t)m->shared.arch.n_features, sizeof(float));
  m->counts = take(base, &used, n_classes, sizeof(int));
  m->order = take(base, &used, (size_t)(n_train > n_val ? n_train : n_val), sizeof(int));
  m->pixels = take(base, &used, batch, picture_nbytes(m));
  m->rgb = take(base, &used, batch, sizeof *m->rgb);
  m->labels = take(base, &used, batch, sizeof *m->labels);
  *loader_memory = take(base, &used, tinytl_loader_nbytes(&loader), 1);
  m->run.block = take(base, &used, m->net.nbytes, 1);
  return used;
}

static tinytl_view view_of(const tinytl_measure *m) {
  return (tinytl_view){
      .size = m->input.size, .resize = m->input.resize, .max_nbytes = 64 * 1000 * 1000};
}

/* The largest batch that the limit allows. */
static tinytl_status choose_batch(tinytl_measure *m, tinytl_error *error) {
  const tinytl_measure_options *options = &m->options;
  const tinytl_view view = view_of(m);
  const tinytl_images *train = options->train;
  const size_t load = train->load_nbytes ? train->load_nbytes(train->context, &view) : 0;
  const int n_threads = options->n_threads ? options->n_threads : tinytl_n_cores();
  const size_t other = options->base_nbytes + load + (size_t)(n_threads + 1) * STACK_NBYTES +
                       HEAP_NBYTES + LIMIT_MARGIN;
  void *loader_memory;
  for (m->batch = LARGEST_BATCH; m->batch >= SMALLEST_BATCH; m->batch /= 2) {
    TINYTL_TRY(
        tinytl_batch_net_init(&m->net, &m->shared.arch, m->input.size, m->batch, false, error));
    m->block_nbytes = lay_out(m, NULL, &loader_memory);
    if (options->memory_limit == 0 || other + m->block_nbytes <= options->memory_limit)
      return TINYTL_OK;
  }
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "the search itself does not fit in the memory limit of %.1f MB: it needs %.1f "
                     "MB, of which %.1f MB are taken before",
                     (double)options->memory_limit / 1e6, (double)(other + m->block_nbytes) / 1e6,
                     (double)options->base_nbytes / 1e6);
}

static tinytl_status set_up(tinytl_measure *m, tinytl_error *error) {
  const tinytl_supernet *supernet = m->options.supernet;
  void *loader_memory;
  m->input = supernet->input;
  if (m->options.image_size) {
    m->input.size = m->options.image_size;
    m->input.resize = tinytl_input_default_resize(m->input.size);
  }
  tinytl_shared_values_layout(&m->shared, &supernet->space);
  TINYTL_TRY(choose_batch(m, error));
  m->block = tinytl_pages_take(m->block_nbytes);
  if (!m->block) return tinytl_fail_memory(error, m->block_nbytes);
  lay_out(m, m->block, &loader_memory);
  for (int i = 0; i < m->batch; i++) m->rgb[i] = m->pixels + (size_t)i * picture_nbytes(m);
  TINYTL_TRY(tinytl_pool_create(m->options.n_threads, &m->pool, error));
  const tinytl_loader_options loader = loader_options(m);
  TINYTL_TRY(tinytl_loader_create(&loader, loader_memory, &m->loader, error));
  m->run.net = &m->net;
  m->run.run = (tinytl_run){.kernels = tinytl_kernels_get(), .pool = m->pool};
  m->run.values = m->values;
  m->run.rgb = m->rgb;
  for (int c = 0; c < 3; c++) {
    m->run.input_scale[c] = 1.0f / (255.0f * m->input.std[c]);
    m->run.input_shift[c] = -m->input.mean[c] / m->input.std[c];
  }
  return TINYTL_OK;
}

tinytl_status tinytl_measure_create(const tinytl_measure_options *options, tinytl_measure **measure,
                                    tinytl_error *error) {
  tinytl_measure *made = calloc(1, sizeof *made);
  if (!made) return tinytl_fail_memory(error, sizeof *made);
  made->options = *options;
  const tinytl_status status = set_up(made, error);
  if (status != TINYTL_OK)
    tinytl_measure_free(made);
  else
    *measure = made;
  return status;
}

void tinytl_measure_free(tinytl_measure *m) {
  if (!m) return;
  tinytl_loader_free(m->loader);
  tinytl_pool_free(m->pool);
  tinytl_pages_free(m->block, m->block_nbytes);
  free(m);
}

/* ---- Passes ------------------------------------------------------------------------------- */

/* Fills the batch with what of the pass is left and can be read; empty at its end. */
static tinytl_status next_batch(tinytl_measure *m, int *n_left, tinytl_error *error) {
  const volatile int *stop = m->options.stop;
  if (stop && *stop) return tinytl_fail(error, TINYTL_INTERRUPTED, "stopped on request");
  for (m->n_held = 0; m->n_held<m->batch && * n_left> 0; --*n_left) {
    tinytl_sample sample;
    TINYTL_TRY(tinytl_loader_next(m->loader, &sample, error));
    if (!sample.skipped) {
      memcpy(m->pixels + (size_t)m->n_held * picture_nbytes(m), sample.rgb, picture_nbytes(m));
      m->labels[m->n_held++] = sample.label;
    }
    tinytl_loader_release(m->loader, &sample);
  }
  m->run.n_images = m->n_held;
  return TINYTL_OK;
}

/* Up to `most` pictures, the same ones every time. */
static tinytl_status begin_pass(tinytl_measure *m, const tinytl_images *images, int most,
                                int *n_left, tinytl_error *error) {
  const tinytl_view view = view_of(m);
  tinytl_order(m->options.seed, 0, images->n_images, m->order);
  *n_left = images->n_images < most ? images->n_images : most;
  return tinytl_loader_start(m->loader, images, m->order, *n_left, &view, error);
}

/* A batch that is not full would count too much, unless there is no other. */
static tinytl_status estimate_statistics(tinytl_measure *m, tinytl_error *error) {
  const tinytl_batch_statistics own = tinytl_batch_own_statistics(&m->run);
  int n_left;
  TINYTL_TRY(begin_pass(m, m->options.train, STATISTICS_IMAGES, &n_left, error));
  for (int n = 1;; n++) {
    TINYTL_TRY(next_batch(m, &n_left, error));
    if (m->n_held == 0 || (m->n_held < m->batch && n > 1)) return TINYTL_OK;
    tinytl_batch_forward(&m->run, NULL);
    for (size_t c = 0; c < m->net.params.n_channels; c++) {
      if (n == 1) m->running.mean[c] = m->running.var[c] = 0;
      m->running.mean[c] += (own.mean[c] - m->running.mean[c]) / (float)n;
      m->running.var[c] += (own.var[c] - m->running.var[c]) / (float)n;
    }
  }
}

static void make_unit(int n, float *vector) {
  double squares = 0;
  for (int i = 0; i < n; i++) squares += (double)vector[i] * vector[i];
  const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
  for (int i = 0; i < n; i++) vector[i] *= scale;
}

static tinytl_status find_class_means(tinytl_measure *m, tinytl_error *error) {
  const tinytl_images *train = m->options.train;
  const int n_features = m->shared.arch.n_features;
  int n_left;
  memset(m->means, 0, (size_t)train->n_classes * (size_t)n_features * sizeof *m->means);
  memset(m->counts, 0, (size_t)train->n_classes * sizeof *m->counts);
  TINYTL_TRY(begin_pass(m, train, MEAN_IMAGES, &n_left, error));
  for (;;) {
    TINYTL_TRY(next_batch(m, &n_left, error));
    if (m->n_held == 0) break;
    tinytl_batch_forward(&m->run, &m->running);
    float *features = tinytl_batch_features(&m->run);
    for (int i = 0; i < m->n_held; i++, features += n_features) {
      make_unit(n_features, features);
      m->run.run.kernels->add(m->means + (size_t)m->labels[i] * (size_t)n_features, features,
                              (size_t)n_features);
      m->counts[m->labels[i]]++;
    }
  }
  for (int c = 0; c < train->n_classes; c++)
    make_unit(n_features, m->means + (size_t)c * (size_t)n_features);
  return TINYTL_OK;
}

static int nearest_class(const tinytl_measure *m, const float *features) {
  const int n_features = m->shared.arch.n_features;
  int nearest = -1;
  double most = 0;
  for (int c = 0; c < m->options.train->n_classes; c++) {
    const float *mean = m->means + (size_t)c * (size_t)n_features;
    double product = 0;
    if (m->counts[c] == 0) continue;
    for (int i = 0; i < n_features; i++) product += (double)(mean[i] * features[i]);
    if (nearest >= 0 && product <= most) continue;
    nearest = c;
    most = product;
  }
  return nearest;
}

static tinytl_status count_right(tinytl_measure *m, float *top1, tinytl_error *error) {
  int n_left, n = 0, n_right = 0;
  TINYTL_TRY(begin_pass(m, m->options.val, VAL_IMAGES, &n_left, error));
  for (;;) {
    TINYTL_TRY(next_batch(m, &n_left, error));
    if (m->n_held == 0) break;
    tinytl_batch_forward(&m->run, &m->running);
    const float *features = tinytl_batch_features(&m->run);
    for (int i = 0; i < m->n_held; i++, features += m->shared.arch.n_features)
      n_right += nearest_class(m, features) == m->labels[i];
    n += m->n_held;
  }
  if (n == 0) return tinytl_fail(error, TINYTL_ERROR_DATA, "no held-out picture can be read");
  *top1 = (float)n_right / (float)n;
  return TINYTL_OK;
}

/* ---- Sub-nets ----------------------------------------------------------------------------- */

static tinytl_status choose(tinytl_measure *m, const tinytl_subnet *subnet, tinytl_error *error) {
  const tinytl_supernet *supernet = m->options.supernet;
  tinytl_part_values_layout(&m->part, &supernet->space, subnet);
  tinytl_shared_values_copy_out(&m->shared, supernet->values, &m->part, m->values);
  /* It takes no more than the largest one. */
  TINYTL_TRY(tinytl_batch_net_init(&m->net, &m->part.arch, m->input.size, m->batch, false, error));
  return estimate_statistics(m, error);
}

tinytl_status tinytl_measure_run(tinytl_measure *m, const tinytl_subnet *subnet, float *top1,
                                 tinytl_error *error) {
  TINYTL_TRY(choose(m, subnet, error));
  TINYTL_TRY(find_class_means(m, error));
  TINYTL_TRY(count_right(m, top1, error));
  m->has_told = true;
  return TINYTL_OK;
}

tinytl_status tinytl_measure_make_backbone(tinytl_measure *m, const tinytl_subnet *subnet,
                                           tinytl_weights weights, tinytl_backbone **backbone,
                                           tinytl_error *error) {
  TINYTL_TRY(choose(m, subnet, error));
  tinytl_backbone *folded = calloc(1, sizeof *folded);
  if (!folded) return tinytl_fail_memory(error, sizeof *folded);
  folded->arch = m->part.arch;
  folded->input = m->input;
  folded->labels = m->options.supernet->labels;
  folded->n_labels = m->options.supernet->n_labels;
  tinytl_batch_fold(&m->net, &m->running, m->values, folded);
  const tinytl_status status = tinytl_backbone_build(folded, weights, backbone, error);
  free(folded);
  return status;
}
