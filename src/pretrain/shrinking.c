/* Progressive shrinking: after the largest sub-net, ever smaller ones, taught by it or by a given
 * teacher. */
#include <math.h>
#include <string.h>

#include "pretrain/pretrainer.h"

#define SHRINKING_LR_SHARE 0.3f

/* Shares of the epochs are in the proportions of the paper (180 for the largest sub-net, 120, 25 +
 * 120, 25 + 120), but for the largest a little less. */
static const struct {
  float share;
  int n_subnets;
  tinytl_opening opening;
} phases[] = {{0.35f, 0, {1, 1, 1, 1}},  {0.2f, 1, {3, 1, 1, 2}},  {0.05f, 2, {3, 2, 1, 2}},
              {0.175f, 2, {3, 3, 1, 2}}, {0.05f, 4, {3, 3, 2, 2}}, {0.175f, 4, {3, 3, 3, 2}}};
enum { N_PHASES = sizeof phases / sizeof *phases };

/* First epoch of a phase; that of the phase behind the last one ends the run. */
static int first_epoch(int n_epochs, int phase) {
  float before = 0;
  if (phase == N_PHASES) return n_epochs + 1;
  for (int k = 0; k < phase; k++) before += phases[k].share;
  const int n = (int)lroundf(before * (float)n_epochs);
  return phase > 0 && n < 1 ? 2 : n + 1; /* the largest sub-net has one epoch at least */
}

tinytl_phase tinytl_pretrainer_phase(const tinytl_pretrainer *p, int epoch) {
  const int n_epochs = p->options.epochs;
  if (!p->shrinking) return (tinytl_phase){.first_epoch = 1, .n_epochs = n_epochs, .lr_share = 1};
  int k = N_PHASES - 1;
  while (k > 0 && first_epoch(n_epochs, k) > epoch) k--;
  const int first = first_epoch(n_epochs, k);
  return (tinytl_phase){.first_epoch = first,
                        .n_epochs = first_epoch(n_epochs, k + 1) - first,
                        .n_subnets = phases[k].n_subnets,
                        .opening = phases[k].opening,
                        .lr_share = k == 0 ? 1 : SHRINKING_LR_SHARE};
}

void tinytl_pretrainer_begin_epoch(tinytl_pretrainer *p, int epoch) {
  const tinytl_phase phase = tinytl_pretrainer_phase(p, epoch);
  tinytl_shrinking *s = p->shrinking;
  if (!s || epoch == 1 || epoch != phase.first_epoch) return;
  const tinytl_phase last = tinytl_pretrainer_phase(p, epoch - 1);
  if (last.n_subnets == 0 && !p->teacher)
    memcpy(s->teacher, p->values, p->n_values * sizeof *s->teacher);
  if (last.opening.n_expands == 1 && phase.opening.n_expands > 1)
    tinytl_shared_values_sort(&s->shared, p->values, s->gradient);
  memset(p->moment, 0, p->n_values * sizeof *p->moment);
}

void tinytl_pretrainer_choose(tinytl_pretrainer *p, const tinytl_subnet *subnet) {
  tinytl_shrinking *s = p->shrinking;
  tinytl_part_values_layout(&s->part, &s->space, subnet);
  tinytl_shared_values_copy_out(&s->shared, p->values, &s->part, s->values);
  /* Cannot fail: it takes no more than the largest one. */
  tinytl_batch_net_init(&s->net, &s->part.arch, p->net->image_size, p->share, true, NULL);
  p->batch_run.net = &s->net;
  p->batch_run.values = s->values;
}

static double add_subnet(tinytl_pretrainer *p, float weight) {
  tinytl_shrinking *s = p->shrinking;
  const double loss =
      tinytl_pretrainer_losses(p, true, weight, tinytl_batch_forward(&p->batch_run, NULL));
  memset(s->gradient, 0, s->part.params.n * sizeof *s->gradient);
  tinytl_batch_backward(&p->batch_run, s->gradient);
  tinytl_shared_values_add_back(&s->shared, p->values, &s->part, s->gradient, p->gradient);
  return loss;
}

double tinytl_pretrainer_shrink(tinytl_pretrainer *p, const tinytl_phase *phase, uint64_t step) {
  const float weight = 1.0f / (float)(p->n_batch * phase->n_subnets);
  double loss = 0;
  tinytl_pretrainer_ask(p);
  for (int n = 0; n < phase->n_subnets; n++) {
    const tinytl_subnet subnet = tinytl_subnet_draw(&p->shrinking->space, &phase->opening,
                                                    p->options.seed, step, (uint64_t)n);
    tinytl_pretrainer_choose(p, &subnet);
    loss += add_subnet(p, weight) / phase->n_subnets;
  }
  return loss;
}
