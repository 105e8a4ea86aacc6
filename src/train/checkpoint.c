/* What a run's state is, and writing it. */
#include "train/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_text.h"
#include "tinytl.h"
#include "train/identity.h"
#include "train/prepare.h"

/* ---- Identity ----------------------------------------------------------------------------- */

static char *print_run(const tinytl_trainer *t) {
  const tinytl_train_options *options = &t->options;
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_whole(&json, "seed", options->seed);
  tinytl_json_put_string(&json, "method", tinytl_method_name(t->choices.method));
  tinytl_json_put_string(&json, "optimizer", tinytl_optimizer_name(t->choices.optimizer));
  tinytl_json_open(&json, "auto", '[');
  for (int i = 0; t->carry && i < t->carry->n_methods; i++)
    tinytl_json_put_string(&json, NULL, tinytl_optimizer_name(t->carry->optimizers[i]));
  tinytl_json_close(&json, ']');
  tinytl_json_put_int(&json, "auto_mirror", t->carry ? (int)t->carry->asked_mirror : 0);
  tinytl_json_put_int(&json, "image_size", t->network->image_size);
  tinytl_json_put_int(&json, "batch", options->batch);
  tinytl_json_put_int(&json, "patience", options->patience);
  tinytl_json_put_int(&json, "refit", options->refit);
  tinytl_json_put_float(&json, "label_smoothing", options->label_smoothing);
  tinytl_json_put_float(&json, "dropout", options->dropout);
  tinytl_json_put_int(&json, "augment", tinytl_trainer_view(t, true, 0).augment);
  tinytl_json_put_int(&json, "mirror", options->mirror != TINYTL_SWITCH_OFF);
  tinytl_json_put_float(&json, "colour_jitter", options->colour_jitter);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

static char *print_schedule(const tinytl_trainer *t) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "epochs", t->rules.epochs);
  tinytl_json_open(&json, "lr", '[');
  for (int g = 0; g < TINYTL_N_GROUPS; g++) tinytl_json_put_float(&json, NULL, t->lr[g]);
  tinytl_json_close(&json, ']');
  tinytl_json_put_float(&json, "reach", t->reach);
  tinytl_json_put_int(&json, "updates", (long long)t->n_steps);
  tinytl_json_put_int(&json, "warmup_updates", (long long)t->n_warmup);
  tinytl_json_put_int(&json, "weight_warmup_updates", (long long)t->n_weight_warmup);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

tinytl_status tinytl_checkpoint_init(tinytl_checkpoint *checkpoint, tinytl_trainer *t,
                                     tinytl_error *error) {
  *checkpoint =
      (tinytl_checkpoint){.trainer = t, .at = {.epoch = 1, .val_top1 = NAN, .best = {-1, 0}}};
  if (!t->options.save && !t->options.resume) return TINYTL_OK;
  tinytl_identity *identity = &checkpoint->identity;
  *identity =
      (tinytl_identity){print_run(t), tinytl_images_identity(t->train, t->val), print_schedule(t)};
  if (identity->run && identity->data && identity->schedule) return TINYTL_OK;
  tinytl_checkpoint_clear(checkpoint);
  return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
}

void tinytl_checkpoint_clear(tinytl_checkpoint *checkpoint) {
  free(checkpoint->identity.run);
  free(checkpoint->identity.data);
  free(checkpoint->identity.schedule);
  checkpoint->identity = (tinytl_identity){0};
}

/* ---- State -------------------------------------------------------------------------------- */

static bool has_best(const tinytl_checkpoint *c) {
  return c->trainer->val && c->at.best_epoch > 0;
}

static bool count_bytes(void *context, const void *bytes, size_t nbytes) {
  (void)bytes;
  *(size_t *)context += nbytes;
  return true;
}

static size_t file_nbytes(const tinytl_adapter *adapter) {
  size_t nbytes = 0; /* 0 where memory for the header is missing: then writing fails too */
  tinytl_adapter_write(adapter, count_bytes, &nbytes, NULL);
  return nbytes;
}

int tinytl_checkpoint_vectors(const tinytl_checkpoint *c,
                              tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS]) {
  const tinytl_trainer *t = c->trainer;
  const tinytl_carry *carry = t->carry && t->carry->adapter ? t->carry : NULL;
  const tinytl_found *found = t->found && t->found->adapter ? t->found : NULL;
  const size_t n_train = (size_t)t->train->n_images, n_val = t->val ? (size_t)t->val->n_images : 0;
  tinytl_moments moments[TINYTL_N_MOMENTS];
  int n = 0;
  vectors[n++] = tinytl_sealed_floats("values", t->values, t->params->n);
  if (has_best(c)) vectors[n++] = tinytl_sealed_floats("best", t->best, t->params->n);
  if (carry && t->val) vectors[n++] = tinytl_sealed_floats("auto.right", carry->right, n_val);
  tinytl_optimizer_moments(&t->optimizer, t->params, moments);
  for (int m = 0; m < TINYTL_N_MOMENTS; m++)
    if (moments[m].n > 0)
      vectors[n++] = (moments[m].is_codes ? tinytl_sealed_bytes : tinytl_sealed_floats)(
          moments[m].name, moments[m].data, moments[m].n);
  vectors[n++] = tinytl_sealed_flags("unreadable.train", t->train_unreadable, n_train);
  if (t->val) vectors[n++] = tinytl_sealed_flags("unreadable.val", t->val_unreadable, n_val);
  if (carry)
    vectors[n++] = tinytl_sealed_bytes(TINYTL_CARRIED_ADAPTER, NULL, file_nbytes(carry->adapter));
  if (found)
    vectors[n++] = tinytl_sealed_bytes(TINYTL_FOUND_ADAPTER, NULL, file_nbytes(found->adapter));
  return n;
}

static char *print_state(const tinytl_checkpoint *c) {
  const tinytl_position *at = &c->at;
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "epoch", at->epoch);
  tinytl_json_put_int(&json, "images", at->n_fed);
  tinytl_json_put_double(&json, "loss_sum", at->loss_sum);
  tinytl_json_put_float(&json, "loss", at->loss);
  tinytl_json_put_int(&json, "updates", (long long)c->trainer->optimizer.step);
  tinytl_json_put_int(&json, "train_images", at->n_train);
  tinytl_json_put_int(&json, "best_epoch", at->best_epoch);
  tinytl_json_put_int(&json, "epochs_without_gain", at->n_without_gain);
  if (has_best(c)) {
    const float scores[] = {at->val_top1, at->best.top1, at->best.noise};
    tinytl_json_open(&json, "scores", '[');
    for (int i = 0; i < 3; i++) tinytl_json_put_float(&json, NULL, scores[i]);
    tinytl_json_close(&json, ']');
  }
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

/* ---- Writing ------------------------------------------------------------------------------ */

static void put_report(tinytl_json_text *json, const tinytl_train_report *report) {
  tinytl_json_put_int(json, "epochs", report->epochs);
  tinytl_json_put_int(json, "best_epoch", report->best_epoch);
  tinytl_json_put_int(json, "train_images", report->train_images);
  tinytl_json_put_int(json, "val_images", report->val_images);
  tinytl_json_put_int(json, "skipped_images", report->skipped_images);
  tinytl_json_put_int(json, "mirrors", report->mirrors);
  tinytl_json_put_float(json, "loss", report->loss);
}

/* What auto knows of the best method so far beside its adapter; mirror is what it had decided
 * before this method. */
static char *print_auto(const tinytl_carry *carry) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "step", carry->method_at);
  tinytl_json_put_int(&json, "mirror", carry->mirror);
  put_report(&json, &carry->report);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

static char *print_found(const tinytl_found *found) {
  tinytl_json_text json = {0};
  tinytl_json_open(&json, NULL, '{');
  tinytl_json_put_int(&json, "step", found->method_at);
  tinytl_json_put_int(&json, "mirror", found->mirror);
  tinytl_json_put_string(&json, "method", tinytl_method_name(found->report.method));
  tinytl_json_put_float(&json, "val_top1", found->report.val_top1);
  tinytl_json_put_float(&json, "temperature", found->temperature);
  if (!isnan(found->reject_below))
    tinytl_json_put_float(&json, "reject_below", found->reject_below);
  put_report(&json, &found->report);
  tinytl_json_close(&json, '}');
  return tinytl_json_finish(&json);
}

static tinytl_status write_header(const tinytl_checkpoint *c, const tinytl_sealed_vector *vectors,
                                  int n, tinytl_sealer *sealer, tinytl_write_fn write,
                                  void *context, tinytl_error *error) {
  const tinytl_carry *carry = c->trainer->carry;
  const tinytl_found *found = c->trainer->found;
  const char *before = found ? "tinytl.refit" : carry ? "tinytl.auto" : NULL;
  char *state = print_state(c);
  char *state_before = found ? print_found(found) : carry ? print_auto(carry) : NULL;
  if (!state || (before && !state_before)) {
    free(state);
    free(state_before);
    return tinytl_fail(error, TINYTL_ERROR_INTERNAL, "out of memory for a checkpoint's header");
  }
  const char *const meta[] = {"tinytl.format",
                              TINYTL_CHECKPOINT_FORMAT,
                              "tinytl.version",
                              TINYTL_VERSION,
                              "tinytl.kernels",
                              tinytl_kernels_name(),
                              "tinytl.backbone",
                              c->trainer->network->backbone->sha256,
                              "tinytl.run",
                              c->identity.run,
                              "tinytl.data",
                              c->identity.data,
                              "tinytl.schedule",
                              c->identity.schedule,
                              "tinytl.state",
                              state,
                              before,
                              state_before,
                              NULL};
  const tinytl_status status = tinytl_sealer_begin(sealer, meta, vectors, n, write, context, error);
  free(state);
  free(state_before);
  return status;
}

static bool write_sealed(void *sealer, const void *bytes, size_t nbytes) {
  return tinytl_sealer_write(sealer, bytes, nbytes, NULL) == TINYTL_OK;
}

static tinytl_status write_vector(const tinytl_checkpoint *c, const tinytl_sealed_vector *v,
                                  tinytl_sealer *sealer, tinytl_error *error) {
  const size_t nbytes = tinytl_sealed_vector_nbytes(v);
  if (v->data) return tinytl_sealer_write(sealer, v->data, nbytes, error);
  if (v->dtype == TINYTL_DTYPE_I8) {
    const bool is_carried = strcmp(v->name, TINYTL_CARRIED_ADAPTER) == 0;
    return tinytl_adapter_write(is_carried ? c->trainer->carry->adapter
                                           : c->trainer->found->adapter,
                                write_sealed, sealer, error);
  }
  char chunk[TINYTL_SEALED_CHUNK];
  for (size_t done = 0; done < nbytes;) {
    const size_t left = nbytes - done, n = left < sizeof chunk ? left : sizeof chunk;
    TINYTL_TRY(tinytl_trainer_read_best(c->trainer, done, chunk, n, error));
    TINYTL_TRY(tinytl_sealer_write(sealer, chunk, n, error));
    done += n;
  }
  return TINYTL_OK;
}

tinytl_status tinytl_checkpoint_write(const tinytl_checkpoint *c, tinytl_write_fn write,
                                      void *context, tinytl_error *error) {
  tinytl_sealer sealer;
  tinytl_sealed_vector vectors[TINYTL_SEALED_MAX_VECTORS];
  const int n = tinytl_checkpoint_vectors(c, vectors);
  TINYTL_TRY(write_header(c, vectors, n, &sealer, write, context, error));
  for (int i = 0; i < n; i++) TINYTL_TRY(write_vector(c, &vectors[i], &sealer, error));
  return tinytl_sealer_finish(&sealer, error);
}
