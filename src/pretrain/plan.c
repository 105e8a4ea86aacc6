/* The memory of a run: all of it is counted before it is taken. */
#include "core/cursor.h"
#include "core/limit.h"
#include "core/pages.h"
#include "data/images.h"
#include "format/arch_json.h"
#include "pretrain/pretrainer.h"

enum {
  HEAP_NBYTES = 256 * 1024, /* allowed for messages, stdio, folders being read, malloc's losses */
  LIMIT_MARGIN = 256 * 1024 /* kept free under a limit, as train/choice.c tells; a rounder number */
};

/* Under a limit one: each has its own picture, which may take an eighth of that. */
static int n_decoders(const tinytl_pretrainer *p) {
  return p->options.memory_limit ? 1 : tinytl_n_decoders(tinytl_n_threads(p->options.n_threads));
}

/* The next batch is decoded while this one is worked on. */
static tinytl_loader_options loader_options(const tinytl_pretrainer *p) {
  return (tinytl_loader_options){.capacity = p->share,
                                 .n_workers = n_decoders(p),
                                 .max_size = p->max_size,
                                 .skip = p->options.skip,
                                 .skip_context = p->options.context};
}

static void lay_out_teacher(tinytl_pretrainer *p, tinytl_cursor *c) {
  const tinytl_batch_params *params = &p->teacher->net.params;
  float *values = tinytl_take(c, params->n, sizeof(float));
  tinytl_batch_statistics statistics;
  statistics.mean = tinytl_take(c, params->n_channels, sizeof(float));
  statistics.var = tinytl_take(c, params->n_channels, sizeof(float));
  if (values) tinytl_teacher_set_values(p->teacher, values, &statistics);
}

static void lay_out(tinytl_pretrainer *p, tinytl_cursor *c, void **loader_memory) {
  const size_t n = p->n_values, n_channels = p->net->params.n_channels;
  const size_t n_train = (size_t)p->train->n_images;
  const size_t n_val = p->val ? (size_t)p->val->n_images : 0;
  const tinytl_loader_options loader = loader_options(p);
  p->values = tinytl_take(c, n, sizeof(float));
  p->gradient = tinytl_take(c, n, sizeof(float));
  p->moment = tinytl_take(c, n, sizeof(float));
  p->running.mean = tinytl_take(c, n_channels, sizeof(float));
  p->running.var = tinytl_take(c, n_channels, sizeof(float));
  p->train_unreadable = tinytl_take(c, n_train, sizeof(bool));
  p->val_unreadable = tinytl_take(c, n_val, sizeof(bool));
  p->order = tinytl_take(c, tinytl_size_max(n_train, n_val), sizeof(int));
  if (tinytl_ranks_n(&p->ranks) > 1) {
    p->own = tinytl_take(c, (size_t)p->share, sizeof(int));
    p->meeting = tinytl_take(c, 1 + (size_t)p->batch, sizeof(double));
  }
  p->pixels = tinytl_take(c, (size_t)p->share, tinytl_pretrainer_picture_nbytes(p));
  p->rgb = tinytl_take(c, (size_t)p->share, sizeof *p->rgb);
  p->labels = tinytl_take(c, (size_t)p->share, sizeof *p->labels);
  tinytl_shrinking *shrinking = p->shrinking;
  if (shrinking) {
    shrinking->values = tinytl_take(c, p->net->params.n, sizeof(float));
    shrinking->gradient = tinytl_take(c, p->net->params.n, sizeof(float));
  }
  if (shrinking && !p->teacher) shrinking->teacher = tinytl_take(c, n, sizeof(float));
  if (p->teacher) lay_out_teacher(p, c);
  if (shrinking || p->teacher)
    p->answers = tinytl_take(c, (size_t)p->share * (size_t)p->train->n_classes, sizeof(float));
  *loader_memory = tinytl_take(c, tinytl_loader_nbytes(&loader), 1);
  p->maps_first = c->used;
  p->batch_run.block = tinytl_take(c, p->maps_nbytes, 1);
}

/* At one size of pictures: a smaller one may have room for what is left out at a larger one. */
static size_t load_nbytes_at(const tinytl_pretrainer *p, int size) {
  const tinytl_view as_is = tinytl_pretrainer_view(p, size, 0);
  const tinytl_view augmented = tinytl_pretrainer_view(p, size, 1);
  return tinytl_images_run_load_nbytes(p->train, p->val, &augmented, &as_is);
}

static size_t load_nbytes(const tinytl_pretrainer *p) {
  size_t nbytes = load_nbytes_at(p, p->input.size);
  for (int i = 0; i < p->options.n_image_sizes; i++)
    nbytes = tinytl_size_max(nbytes, load_nbytes_at(p, p->options.image_sizes[i]));
  return nbytes;
}

/* At the end this takes the place of the maps: values are folded where they are. */
static size_t result_nbytes(const tinytl_pretrainer *p) {
  const size_t values = p->shrinking ? p->n_values * sizeof(float)
                                     : tinytl_arch_count_values(p->arch, p->options.weights).nbytes;
  return values + tinytl_class_names_nbytes(p->train) +
         tinytl_strings_print_nbytes(p->train->class_names, p->train->n_classes);
}

static tinytl_status count(tinytl_pretrainer *p, tinytl_error *error) {
  const size_t limit = p->options.memory_limit;
  const size_t n_loads = (size_t)n_decoders(p);
  const size_t n_threads = (size_t)tinytl_n_threads(p->options.n_threads) + n_loads;
  tinytl_cursor c = {0};
  void *loader_memory;
  p->max_load_nbytes = tinytl_limit_for_pictures(limit);
  lay_out(p, &c, &loader_memory);
  if (c.overflow)
    return tinytl_fail(
        error, TINYTL_ERROR_MEMORY_LIMIT,
        "batches of %d pictures at image size %d: the plan overflows the address space", p->batch,
        p->max_size);
  p->block_nbytes = c.used;
  const size_t result = result_nbytes(p);
  p->total_bytes = c.used + n_loads * load_nbytes(p) + n_threads * TINYTL_STACK_NBYTES +
                   HEAP_NBYTES + 2 * sizeof(tinytl_backbone) + sizeof *p->net + sizeof *p->arch;
  if (p->shrinking) p->total_bytes += sizeof *p->shrinking;
  if (p->teacher) p->total_bytes += tinytl_teacher_nbytes(p->teacher);
  if (result > p->maps_nbytes) p->total_bytes += result - p->maps_nbytes;
  if (p->options.planned) p->options.planned(p->options.context, p->total_bytes, p->base_bytes);
  const size_t needed = p->base_bytes + p->total_bytes + LIMIT_MARGIN;
  if (limit == 0 || needed <= limit) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MEMORY_LIMIT,
                     "batches of %d pictures at image size %d do not fit in the memory limit of "
                     "%.1f MB: they need %.1f MB, and %.1f MB are taken before; the smallest limit "
                     "that would do is %.1fM, or a smaller batch",
                     p->batch, p->max_size, (double)limit / 1e6, (double)p->total_bytes / 1e6,
                     (double)p->base_bytes / 1e6, (double)tinytl_limit_to_name(needed) / 1e6);
}

/* Of networks for every size, the pictures' own last. */
static tinytl_status plan_maps(tinytl_pretrainer *p, tinytl_error *error) {
  const tinytl_pretrain_options *options = &p->options;
  if (options->teacher)
    TINYTL_TRY(tinytl_teacher_create(options->teacher, options->teacher_name, p->train,
                                     p->input.size, p->share, &p->teacher, error));
  for (int i = 0; i <= options->n_image_sizes; i++) {
    const int size = i < options->n_image_sizes ? options->image_sizes[i] : p->input.size;
    TINYTL_TRY(tinytl_batch_net_init(p->net, p->arch, size, p->share, true, error));
    if (p->teacher) TINYTL_TRY(tinytl_teacher_set_size(p->teacher, size, error));
    const size_t of_teacher = p->teacher ? p->teacher->net.nbytes : 0;
    p->maps_nbytes = tinytl_size_max(p->maps_nbytes, tinytl_size_max(p->net->nbytes, of_teacher));
    if (size > p->max_size) p->max_size = size;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_pretrainer_plan(tinytl_pretrainer *p, tinytl_error *error) {
  TINYTL_TRY(tinytl_limit_check_base(p->options.memory_limit, p->base_bytes, error));
  TINYTL_TRY(plan_maps(p, error));
  p->n_values = p->shrinking ? p->shrinking->shared.n : p->net->params.n;
  return count(p, error);
}

tinytl_status tinytl_pretrainer_take_block(tinytl_pretrainer *p, tinytl_error *error) {
  void *loader_memory = NULL;
  p->block = tinytl_pages_take(p->block_nbytes);
  if (!p->block) return tinytl_fail_memory(error, p->block_nbytes);
  tinytl_cursor c = {.base = p->block};
  lay_out(p, &c, &loader_memory);
  const tinytl_loader_options loader = loader_options(p);
  TINYTL_TRY(
      tinytl_threads_start(&p->threads, p->options.n_threads, &loader, loader_memory, error));
  tinytl_batch_run *b = &p->batch_run;
  b->net = p->net;
  b->run = (tinytl_run){.kernels = tinytl_kernels_get(), .pool = p->threads.pool};
  if (tinytl_ranks_n(&p->ranks) > 1) b->run.ranks = &p->ranks;
  b->values = p->values;
  b->rgb = p->rgb;
  for (int i = 0; i < p->share; i++)
    p->rgb[i] = p->pixels + (size_t)i * tinytl_pretrainer_picture_nbytes(p);
  tinytl_input_affine(&p->input, b->input_scale, b->input_shift);
  return TINYTL_OK;
}
