/* What a pre-training run's state is: docs/format.md. */
#include <stdlib.h>
#include <string.h>

#include "format/json_text.h"
#include "pretrain/pretrainer.h"
#include "train/identity.h"

static char *print_run(const tinytl_pretrainer *p, const char *architecture) {
  const tinytl_pretrain_options *options = &p->options;
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_string(&json, "architecture", architecture);
  tinytl_json_put_whole(&json, "seed", options->seed);
  tinytl_json_put_int(&json, "image_size", p->input.size);
  tinytl_json_put_list(&json, "image_sizes", options->image_sizes, options->n_image_sizes);
  tinytl_json_put_int(&json, "batch", p->batch);
  tinytl_json_put_int(&json, "epochs", options->epochs);
  tinytl_json_put_float(&json, "lr", options->lr);
  tinytl_json_put_float(&json, "label_smoothing", options->label_smoothing);
  tinytl_json_put_int(&json, "mirror", options->mirror);
  tinytl_json_put_int(&json, "lite", options->lite);
  tinytl_json_put_string(&json, "teacher", options->teacher ? options->teacher->sha256 : "");
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_pretrain_state_init(tinytl_pretrain_state *state, const tinytl_pretrainer *p,
                                         const char *architecture, tinytl_error *error) {
  *state = (tinytl_pretrain_state){.pretrainer = p,
                                   .run = print_run(p, architecture),
                                   .data = tinytl_images_identity(p->train, p->val),
                                   .at = {.epoch = 1}};
  if (state->run && state->data) return TINYTL_OK;
  tinytl_pretrain_state_clear(state);
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
}

void tinytl_pretrain_state_clear(tinytl_pretrain_state *state) {
  free(state->run);
  free(state->data);
  state->run = state->data = NULL;
}

/* ---- Vectors ------------------------------------------------------------------------------ */

/* In the order of the file: floats, then bytes. */
static int list_vectors(const tinytl_pretrainer *p,
                        tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS]) {
  const size_t n = p->n_values, n_channels = p->net->params.n_channels;
  int count = 0;
  vectors[count++] = tinytl_sealed_floats("values", p->values, n);
  vectors[count++] = tinytl_sealed_floats("moment", p->moment, n);
  vectors[count++] = tinytl_sealed_floats("running.mean", p->running.mean, n_channels);
  vectors[count++] = tinytl_sealed_floats("running.var", p->running.var, n_channels);
  if (p->shrinking && !p->teacher)
    vectors[count++] = tinytl_sealed_floats("teacher", p->shrinking->teacher, n);
  vectors[count++] =
      tinytl_sealed_flags("unreadable.train", p->train_unreadable, (size_t)p->train->n_images);
  if (p->val)
    vectors[count++] =
        tinytl_sealed_flags("unreadable.val", p->val_unreadable, (size_t)p->val->n_images);
  return count;
}

/* ---- Ranks -------------------------------------------------------------------------------- */

/* Whether rank 0's text is this one. */
static bool is_of_all(tinytl_ranks *ranks, const char *text) {
  char own[2 * TINYTL_CHECKSUM_NBYTES + 1], first[sizeof own];
  SHA256Data((const uint8_t *)text, strlen(text), own);
  memcpy(first, own, sizeof own);
  tinytl_ranks_broadcast(ranks, first, sizeof first);
  return memcmp(own, first, sizeof own) == 0;
}

tinytl_status tinytl_pretrain_state_share(tinytl_pretrain_state *state, tinytl_ranks *ranks,
                                          tinytl_error *error) {
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  const int n = list_vectors(state->pretrainer, vectors);
  const bool same_run = is_of_all(ranks, state->run), same_data = is_of_all(ranks, state->data);
  tinytl_status status = TINYTL_OK;
  if (!same_run)
    status = tinytl_fail(error, TINYTL_ERROR_USAGE, "expected the options of rank 0, found %s",
                         state->run);
  else if (!same_data)
    status = tinytl_fail(error, TINYTL_ERROR_DATA, "expected the pictures of rank 0, found %s",
                         state->data);
  TINYTL_TRY(tinytl_rank_group_agree(ranks->group, status, error));
  tinytl_ranks_broadcast(ranks, &state->at, sizeof state->at);
  for (int i = 0; i < n; i++)
    tinytl_ranks_broadcast(ranks, vectors[i].data, tinytl_sealed_vector_nbytes(&vectors[i]));
  return tinytl_ranks_check(ranks, error);
}

/* ---- Writing ------------------------------------------------------------------------------ */

static char *print_position(const tinytl_pretrain_position *at) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "epoch", at->epoch);
  tinytl_json_put_int(&json, "images", at->n_fed);
  tinytl_json_put_double(&json, "loss_sum", at->loss_sum);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_pretrain_state_write(const tinytl_pretrain_state *state, tinytl_write_fn write,
                                          void *context, tinytl_error *error) {
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  tinytl_sealer sealer;
  const int n = list_vectors(state->pretrainer, vectors);
  char *position = print_position(&state->at);
  if (!position)
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
  const char *const meta[] = {
      "tinytl.format", TINYTL_PRETRAIN_FORMAT, "tinytl.run", state->run, "tinytl.data",
      state->data,     "tinytl.state",         position,     NULL};
  tinytl_status status = tinytl_sealer_begin(&sealer, meta, vectors, n, write, context, error);
  free(position);
  for (int i = 0; i < n && status == TINYTL_OK; i++)
    status = tinytl_sealer_write(&sealer, vectors[i].data, tinytl_sealed_vector_nbytes(&vectors[i]),
                                 error);
  return status == TINYTL_OK ? tinytl_sealer_finish(&sealer, error) : status;
}

/* ---- Reading ------------------------------------------------------------------------------ */

static tinytl_status parse_position(const json_t *json, const char *where,
                                    const tinytl_pretrainer *p, tinytl_pretrain_position *at,
                                    tinytl_error *error) {
  const json_t *loss = json_object_get(json, "loss_sum");
  const int n_epochs = p->options.epochs;
  TINYTL_TRY(tinytl_json_int(json, "epoch", 1, n_epochs + 1, where, &at->epoch, error));
  const int max_fed = at->epoch <= n_epochs ? p->train->n_images : 0;
  TINYTL_TRY(tinytl_json_int(json, "images", 0, max_fed, where, &at->n_fed, error));
  if (!json_is_number(loss))
    return tinytl_fail(error, TINYTL_ERROR_MODEL, "%s: expected a number \"loss_sum\"", where);
  at->loss_sum = json_number_value(loss);
  return TINYTL_OK;
}

static tinytl_status restore(tinytl_pretrain_state *state, const tinytl_sealed_file *file,
                             tinytl_error *error) {
  const tinytl_pretrainer *p = state->pretrainer;
  char where[TINYTL_ST_WHERE];
  json_t *json = NULL;
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.run", state->run, TINYTL_ERROR_USAGE,
                                   "a run with other options", error));
  TINYTL_TRY(tinytl_sealed_compare(file, "tinytl.data", state->data, TINYTL_ERROR_MODEL,
                                   "a run on other pictures", error));
  TINYTL_TRY(tinytl_sealed_object(file, "tinytl.state", where, &json, error));
  const tinytl_status status = parse_position(json, where, p, &state->at, error);
  json_decref(json);
  TINYTL_TRY(status);
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  const int n = list_vectors(p, vectors);
  for (int i = 0; i < n; i++) TINYTL_TRY(tinytl_sealed_read_vector(file, &vectors[i], error));
  return TINYTL_OK;
}

tinytl_status tinytl_pretrain_state_restore(tinytl_pretrain_state *state,
                                            const tinytl_source *source, tinytl_error *error) {
  tinytl_sealed_file file;
  tinytl_status status = tinytl_sealed_open(&file, source, TINYTL_PRETRAIN_FORMAT, error);
  if (status == TINYTL_OK) status = restore(state, &file, error);
  tinytl_sealed_close(&file);
  return status;
}
