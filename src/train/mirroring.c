#include "train/mirroring.h"

#include <string.h>

#include "data/series.h"
#include "image/image.h"
#include "train/pass.h"
#include "train/prepare.h"

/* Every class's pictures by number, or as many of them as the test looks at, evenly spread. */
static int order_by_class(tinytl_trainer *t) {
  const tinytl_images *images = t->train;
  const int most = tinytl_mirror_most_of_class(images->n_classes);
  int n = 0;
  for (int c = 0; c < images->n_classes; c++) {
    int64_t n_all = 0, seen = 0;
    for (int i = 0; i < images->n_images; i++) n_all += images->labels[i] == c;
    for (int i = 0; i < images->n_images; i++) {
      if (images->labels[i] != c) continue;
      seen++;
      if (n_all <= most || seen * most / n_all > (seen - 1) * most / n_all) t->order[n++] = i;
    }
  }
  return n;
}

/* The picture that came before. */
typedef struct latest {
  int label;
  tinytl_series_run run;
} latest;

static tinytl_kin kin_of(latest *p, const tinytl_images *images, const tinytl_sample *sample) {
  const bool same_class = sample->label == p->label;
  if (!same_class) *p = (latest){.label = sample->label};
  const bool copy = images->name && tinytl_series_run_goes_on(
                                        &p->run, images->name(images->context, sample->index));
  return copy ? TINYTL_KIN_COPY : same_class ? TINYTL_KIN_CLASS : TINYTL_KIN_NONE;
}

static void test_group(tinytl_trainer *t, const tinytl_pass_group *g, latest *p,
                       tinytl_mirror_test *test) {
  const tinytl_upright mirrored = {.flip_x = true};
  const size_t n_features = (size_t)t->network->n_features;
  float *kept = t->mirror_memory + tinytl_mirror_test_nbytes((int)n_features) / sizeof(float);
  tinytl_trainer_test(t, g->samples, g->n);
  for (int i = 0; i < g->n; i++) {
    memcpy(kept + (size_t)i * n_features, tinytl_machine_features(&t->test_machines[i]),
           n_features * sizeof *kept);
    tinytl_upright_turn(mirrored, t->network->image_size, g->samples[i].rgb);
  }
  tinytl_trainer_test(t, g->samples, g->n);
  for (int i = 0; i < g->n; i++)
    tinytl_mirror_test_add(test, kin_of(p, t->train, &g->samples[i]), kept + (size_t)i * n_features,
                           tinytl_machine_features(&t->test_machines[i]));
}

tinytl_status tinytl_mirroring_test(tinytl_trainer *t, tinytl_mirroring_told told, void *context,
                                    tinytl_mirror_answer *answer, tinytl_error *error) {
  const tinytl_view view = tinytl_trainer_view(t, false, 0);
  tinytl_mirror_test test = tinytl_mirror_test_place(t->network->n_features, t->mirror_memory);
  latest latest = {.label = -1};
  tinytl_pass p = tinytl_pass_train(t, false);
  p.n = order_by_class(t);
  TINYTL_TRY(tinytl_pass_begin(&p, 0, &view, error));
  while (p.n_given < p.n) {
    tinytl_pass_group g;
    TINYTL_TRY(tinytl_pass_next(&p, &g, error));
    test_group(t, &g, &latest, &test);
    tinytl_pass_release(&p, &g);
    told(context, p.n_given, p.n);
  }
  *answer = tinytl_mirror_test_end(&test);
  return TINYTL_OK;
}
