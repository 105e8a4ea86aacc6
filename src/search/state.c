/* What a search's state is: docs/format.md. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/parallel.h"
#include "format/arch_json.h"
#include "format/json_text.h"
#include "search/searcher.h"
#include "train/identity.h"

static char *print_supernet(const tinytl_supernet *supernet) {
  char sha256[2 * SHA256_DIGEST_LENGTH + 1];
  tinytl_json_text json = {0};
  SHA256Data((const uint8_t *)supernet->values, supernet->n_values * sizeof *supernet->values,
             sha256);
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_string(&json, "values", sha256);
  tinytl_json_put_int(&json, "stride", supernet->space.total_stride);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

static char *print_run(const tinytl_search_options *options) {
  const tinytl_train_options *train = &options->train;
  const bool is_limited = train->memory_limit || options->search_limit;
  const int n_threads = tinytl_n_threads(train->n_threads);
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_whole(&json, "seed", train->seed);
  tinytl_json_put_whole(&json, "memory_limit", train->memory_limit);
  tinytl_json_put_whole(&json, "search_limit", options->search_limit); /* of pictures, too */
  tinytl_json_put_whole(&json, "max_macs", options->max_macs);
  tinytl_json_put_int(&json, "threads", is_limited ? n_threads : 0); /* their stacks are priced */
  tinytl_json_put_int(&json, "spills", train->spill_dir != NULL);
  tinytl_json_put_int(&json, "candidates", options->candidates);
  tinytl_json_put_string(&json, "method", tinytl_method_name(train->method));
  tinytl_json_put_int(&json, "optimizer", (int)train->optimizer);
  tinytl_json_put_int(&json, "batch", train->batch);
  tinytl_json_put_list(&json, "image_sizes", options->image_sizes, options->n_image_sizes);
  tinytl_json_put_int(&json, "epochs", train->epochs);
  tinytl_json_put_int(&json, "augment", (int)train->augment);
  tinytl_json_put_int(&json, "mirror", (int)train->mirror);
  tinytl_json_put_float(&json, "colour_jitter", train->colour_jitter);
  tinytl_json_put_float(&json, "label_smoothing", train->label_smoothing);
  tinytl_json_put_float(&json, "dropout", train->dropout);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_search_state_init(tinytl_search_state *state, const tinytl_supernet *supernet,
                                       const tinytl_images *train, const tinytl_images *val,
                                       const tinytl_search_options *options, tinytl_error *error) {
  *state = (tinytl_search_state){.supernet = print_supernet(supernet),
                                 .input = tinytl_input_print(&supernet->input, true),
                                 .run = print_run(options),
                                 .data = tinytl_images_identity(train, val)};
  if (state->supernet && state->input && state->run && state->data) return TINYTL_OK;
  tinytl_search_state_clear(state);
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
}

void tinytl_search_state_clear(tinytl_search_state *state) {
  free(state->supernet);
  free(state->input);
  free(state->run);
  free(state->data);
  *state = (tinytl_search_state){0};
}

/* ---- Vectors ------------------------------------------------------------------------------ */

enum { ACCURACIES = 2 /* top1, and score behind it */ };

/* In the order of the file: floats, then bytes. */
static int list_vectors(const tinytl_searcher *s,
                        tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS]) {
  const size_t n_measured = (size_t)s->at.n_measured;
  const tinytl_adaptation *a = &s->adaptation;
  tinytl_moments moments[TINYTL_N_MOMENTS];
  int count = 0;
  if (n_measured > 0)
    vectors[count++] = tinytl_sealed_floats("accuracies", NULL, ACCURACIES * n_measured);
  vectors[count++] = tinytl_sealed_floats("values", a->values, a->params->n_trained);
  tinytl_optimizer_moments(&a->optimizer, a->params, moments);
  for (int i = 0; i < TINYTL_N_MOMENTS && moments[i].n > 0; i++)
    vectors[count++] = tinytl_sealed_floats(moments[i].name, moments[i].data, moments[i].n);
  if (n_measured > 0)
    vectors[count++] = tinytl_sealed_bytes("subnets", NULL, n_measured * sizeof(tinytl_subnet));
  vectors[count++] =
      tinytl_sealed_flags("unreadable.train", s->train_unreadable, (size_t)s->train->n_images);
  vectors[count++] =
      tinytl_sealed_flags("unreadable.val", s->val_unreadable, (size_t)s->val->n_images);
  return count;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static char *print_position(const tinytl_searcher *s) {
  const tinytl_search_position *at = &s->at;
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "epoch", at->epoch);
  tinytl_json_put_int(&json, "images", at->n_fed);
  tinytl_json_put_double(&json, "loss_sum", at->loss_sum);
  tinytl_json_put_int(&json, "measured", at->n_measured);
  tinytl_json_put_int(&json, "drawn", at->n_drawn);
  tinytl_json_put_int(&json, "batch", at->batch);
  tinytl_json_put_int(&json, "sizes", at->n_sizes);
  tinytl_json_put_int(&json, "base_bytes", (long long)at->base_nbytes);
  tinytl_json_put_int(&json, "lite", at->adapts_lite);
  tinytl_json_put_int(&json, "step", (long long)s->adaptation.optimizer.step);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

/* The array of what was measured has more between them. */
static tinytl_status write_measured(const tinytl_search_state *state, size_t first, size_t nbytes,
                                    tinytl_sealer *sealer, tinytl_error *error) {
  for (int i = 0; i < state->searcher->at.n_measured; i++)
    TINYTL_TRY(
        tinytl_sealer_write(sealer, (const char *)&state->measured[i] + first, nbytes, error));
  return TINYTL_OK;
}

static tinytl_status write_vector(const tinytl_search_state *state, const tinytl_sealed_vector *v,
                                  tinytl_sealer *sealer, tinytl_error *error) {
  if (v->data) return tinytl_sealer_write(sealer, v->data, tinytl_sealed_vector_nbytes(v), error);
  return v->dtype == TINYTL_DTYPE_F32 ? write_measured(state, offsetof(tinytl_measured, top1),
                                                       ACCURACIES * sizeof(float), sealer, error)
                                      : write_measured(state, offsetof(tinytl_measured, subnet),
                                                       sizeof(tinytl_subnet), sealer, error);
}

tinytl_status tinytl_search_state_write(const tinytl_search_state *state, tinytl_write_fn write,
                                        void *context, tinytl_error *error) {
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  tinytl_sealer sealer;
  const int n = list_vectors(state->searcher, vectors);
  char *position = print_position(state->searcher);
  if (!position)
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
  const char *const meta[] = {"tinytl.format",
                              TINYTL_SEARCH_FORMAT,
                              "tinytl.supernet",
                              state->supernet,
                              "tinytl.input",
                              state->input,
                              "tinytl.run",
                              state->run,
                              "tinytl.data",
                              state->data,
                              "tinytl.state",
                              position,
                              NULL};
  tinytl_status status = tinytl_sealer_begin(&sealer, meta, vectors, n, write, context, error);
  free(position);
  for (int i = 0; i < n && status == TINYTL_OK; i++)
    status = write_vector(state, &vectors[i], &sealer, error);
  return status == TINYTL_OK ? tinytl_sealer_finish(&sealer, error) : status;
}

/* ---- Reading ------------------------------------------------------------------------------ */

enum { MOST_MEASURED = TINYTL_MOST_CANDIDATES + TINYTL_FINALISTS };

static tinytl_status parse_whole(const json_t *json, const char *key, const char *where,
                                 size_t *value, tinytl_error *error) {
  if (tinytl_json_size(json_object_get(json, key), value)) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a whole number \"%s\"", where, key);
}

static tinytl_status parse_loss(const json_t *json, const char *where, double *loss,
                                tinytl_error *error) {
  const json_t *found = json_object_get(json, "loss_sum");
  *loss = json_is_number(found) ? json_number_value(found) : -1;
  if (*loss >= 0) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a number \"loss_sum\", 0 or more",
                     where);
}

static tinytl_status parse_position(const json_t *json, const char *where,
                                    tinytl_search_position *at, tinytl_error *error) {
  int lite;
  size_t step;
  TINYTL_TRY(tinytl_json_int(json, "epoch", 1, TINYTL_MAX_EPOCHS + 1, where, &at->epoch, error));
  TINYTL_TRY(tinytl_json_int(json, "images", 0, 1 << 30, where, &at->n_fed, error));
  TINYTL_TRY(tinytl_json_int(json, "measured", 0, MOST_MEASURED, where, &at->n_measured, error));
  TINYTL_TRY(tinytl_json_int(json, "drawn", 0, at->n_measured, where, &at->n_drawn, error));
  TINYTL_TRY(tinytl_json_int(json, "batch", 1, TINYTL_SEARCH_BATCH, where, &at->batch, error));
  TINYTL_TRY(tinytl_json_int(json, "sizes", 1, TINYTL_MAX_IMAGE_SIZES, where, &at->n_sizes, error));
  TINYTL_TRY(tinytl_json_int(json, "lite", 0, 1, where, &lite, error));
  TINYTL_TRY(parse_loss(json, where, &at->loss_sum, error));
  TINYTL_TRY(parse_whole(json, "base_bytes", where, &at->base_nbytes, error));
  TINYTL_TRY(parse_whole(json, "step", where, &step, error));
  at->adapts_lite = lite;
  at->step = step;
  return TINYTL_OK;
}

tinytl_status tinytl_search_state_open(const tinytl_search_state *state,
                                       const tinytl_source *source, tinytl_sealed_file *file,
                                       tinytl_search_position *at, tinytl_error *error) {
  char where[TINYTL_ST_WHERE];
  json_t *json = NULL;
  TINYTL_TRY(tinytl_sealed_open(file, source, TINYTL_SEARCH_FORMAT, error));
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.supernet", state->supernet, TINYTL_ERROR_MODEL,
                                   "a search of another super-net", error));
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.input", state->input, TINYTL_ERROR_MODEL,
                                   "a search of another super-net", error));
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.run", state->run, TINYTL_ERROR_USAGE,
                                   "a search with other options", error));
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.data", state->data, TINYTL_ERROR_MODEL,
                                   "a search on other pictures", error));
  TINYTL_TRY(tinytl_sealed_object(file, "tinytl.state", where, &json, error));
  const tinytl_status status = parse_position(json, where, at, error);
  json_decref(json);
  return status;
}

static tinytl_status restore_measured(const tinytl_search_state *state,
                                      const tinytl_sealed_file *file, tinytl_error *error) {
  const size_t n = (size_t)state->searcher->at.n_measured;
  uint64_t accuracies, subnets;
  if (n == 0) return TINYTL_OK;
  TINYTL_TRY(
      tinytl_sealed_find(file, "accuracies", TINYTL_DTYPE_F32, ACCURACIES * n, &accuracies, error));
  TINYTL_TRY(tinytl_sealed_find(file, "subnets", TINYTL_DTYPE_I8, n * sizeof(tinytl_subnet),
                                &subnets, error));
  for (size_t i = 0; i < n; i++) {
    tinytl_measured *one = &state->measured[i];
    TINYTL_TRY(tinytl_sealed_read(file, accuracies + i * ACCURACIES * sizeof one->top1, &one->top1,
                                  ACCURACIES * sizeof one->top1, error));
    TINYTL_TRY(tinytl_sealed_read(file, subnets + i * sizeof one->subnet, &one->subnet,
                                  sizeof one->subnet, error));
    if (!(one->top1 >= 0 && one->top1 <= 1 && one->score >= 0 && one->score <= 1) ||
        !tinytl_genes_are_valid(&state->searcher->supernet->space, &one->subnet))
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: sub-net %zu is none of the space, or its accuracy no share",
                         file->source->name, i);
  }
  return TINYTL_OK;
}

tinytl_status tinytl_search_state_restore(const tinytl_search_state *state,
                                          const tinytl_sealed_file *file, tinytl_error *error) {
  tinytl_searcher *s = state->searcher;
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  const int n = list_vectors(s, vectors);
  s->adaptation.optimizer.step = s->at.step;
  for (int i = 0; i < n; i++)
    if (vectors[i].data) TINYTL_TRY(tinytl_sealed_read_vector(file, &vectors[i], error));
  return restore_measured(state, file, error);
}
