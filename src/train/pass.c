#include "train/pass.h"

#include "data/order.h"

tinytl_pass tinytl_pass_train(tinytl_trainer *t, bool cached) {
  return (tinytl_pass){.t = t,
                       .images = t->train,
                       .unreadable = t->train_unreadable,
                       .cached = cached,
                       .n = t->train->n_images};
}

tinytl_pass tinytl_pass_val(tinytl_trainer *t, bool cached) {
  return (tinytl_pass){.t = t,
                       .images = t->val,
                       .unreadable = t->val_unreadable,
                       .cached = cached,
                       .first_cached = t->train->n_images,
                       .n = t->val->n_images};
}

tinytl_status tinytl_pass_begin(tinytl_pass *p, int n_done, const tinytl_view *view,
                                tinytl_error *error) {
  int *order = p->t->order;
  p->n_given = n_done;
  TINYTL_TRY(tinytl_order_readable(p->unreadable, n_done, order, &p->n, error));
  if (p->cached) return TINYTL_OK;
  return tinytl_loader_start(p->t->threads.loader, p->images, order + n_done, p->n - n_done, view,
                             error);
}

/* A class of which no training picture can be read would never be learned. */
static tinytl_status check_class(const tinytl_pass *p, int label, tinytl_error *error) {
  if (p->images != p->t->train) return TINYTL_OK;
  for (int i = 0; i < p->images->n_images; i++)
    if (p->images->labels[i] == label && !p->unreadable[i]) return TINYTL_OK;
  return tinytl_fail(error, TINYTL_ERROR_DATA,
                     "class '%s': none of its training pictures can be read",
                     p->images->class_names[label]);
}

static tinytl_status next_sample(tinytl_pass *p, tinytl_stopwatch *watch, tinytl_sample *sample,
                                 tinytl_error *error) {
  tinytl_trainer *t = p->t;
  TINYTL_TRY(tinytl_check_stop(t->options.stop, error));
  const int index = t->order[p->n_given++];
  *sample = (tinytl_sample){.index = index, .label = p->images->labels[index]};
  if (p->cached) return tinytl_trainer_fetch_features(t, p->first_cached + index, error);
  tinytl_lap(watch, TINYTL_WORK_OTHER, TINYTL_FORWARD);
  TINYTL_TRY(tinytl_loader_next(t->threads.loader, sample, error));
  tinytl_lap(watch, TINYTL_WORK_WAIT, TINYTL_FORWARD);
  p->unreadable[index] = sample->skipped;
  return sample->skipped ? check_class(p, sample->label, error) : TINYTL_OK;
}

tinytl_status tinytl_pass_next(tinytl_pass *p, tinytl_pass_group *g, tinytl_error *error) {
  const int most = p->cached ? 1 : p->t->choices.n_lanes;
  for (g->n = 0; g->n < most && p->n_given < p->n;) {
    tinytl_sample *sample = &g->samples[g->n];
    TINYTL_TRY(next_sample(p, p->t->watch, sample, error));
    g->n += !sample->skipped;
  }
  return TINYTL_OK;
}

static void release(const tinytl_pass *p, const tinytl_sample *sample) {
  if (!p->cached) tinytl_loader_release(p->t->threads.loader, sample);
}

void tinytl_pass_release(const tinytl_pass *p, const tinytl_pass_group *g) {
  for (int i = 0; i < g->n; i++) release(p, &g->samples[i]);
}

typedef struct feeding {
  tinytl_pass *pass;
  tinytl_status status; /* the first that was not OK */
  tinytl_error *error;
} feeding;

static bool next_readable(void *context, tinytl_stopwatch *watch, tinytl_sample *sample) {
  feeding *f = context;
  tinytl_pass *p = f->pass;
  do {
    if (f->status != TINYTL_OK || p->n_given == p->n) return false;
    f->status = next_sample(p, watch, sample, f->error);
  } while (f->status != TINYTL_OK || sample->skipped);
  return true;
}

static void release_fed(void *context, const tinytl_sample *sample) {
  const feeding *f = context;
  release(f->pass, sample);
}

tinytl_status tinytl_pass_feed(tinytl_pass *p, uint64_t epoch, tinytl_fed *fed,
                               tinytl_error *error) {
  feeding f = {.pass = p, .error = error};
  const tinytl_supply supply = {.next = next_readable, .release = release_fed, .context = &f};
  *fed = tinytl_trainer_feed(p->t, &supply, epoch);
  return f.status;
}
