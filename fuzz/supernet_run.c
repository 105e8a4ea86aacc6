#include "supernet_run.h"

#include <string.h>

#include "fuzz.h"
#include "support/saved_run.h"

enum { TRAIN = 4, VAL = 2, BATCH = 2, EPOCHS = 2, SIZE = 32, CANDIDATES = 16 };

static sink *next_save(supernet_run *run) {
  sink *save = &run->saves[run->n_saves++ % SUPERNET_SAVES];
  free(save->bytes);
  *save = (sink){0};
  return save;
}

static void save_pretraining(void *context, const tinytl_pretrain_state *state) {
  FUZZ_EXPECT(tinytl_pretrain_state_write(state, sink_write, next_save(context), NULL) ==
              TINYTL_OK);
}

static void save_search(void *context, const tinytl_search_state *state) {
  FUZZ_EXPECT(tinytl_search_state_write(state, sink_write, next_save(context), NULL) == TINYTL_OK);
}

static void note_resumed(void *context, int epoch, int n_measured) {
  supernet_run *run = context;
  (void)epoch;
  if (run->candidates_left < 0) return;
  if (n_measured == 0 || n_measured >= CANDIDATES) run->stop = 1;
}

static void note_measured(void *context, int n, int n_candidates, const tinytl_candidate *one) {
  supernet_run *run = context;
  (void)n, (void)n_candidates, (void)one;
  if (run->candidates_left >= 0 && run->candidates_left-- == 0) run->stop = 1;
}

supernet_run *supernet_run_make(void) {
  supernet_run *run = calloc(1, sizeof *run);
  memory_images_init(&run->train, TRAIN, 1);
  memory_images_init(&run->val, VAL, 2);
  tinytl_pretrain_options_init(&run->pretrain);
  run->pretrain.epochs = EPOCHS;
  run->pretrain.batch = BATCH;
  run->pretrain.image_size = SIZE;
  run->pretrain.n_threads = 1;
  run->pretrain.lite = true;
  run->pretrain.save = save_pretraining;
  run->pretrain.context = run;
  tinytl_search_options_init(&run->search);
  run->search.candidates = CANDIDATES;
  run->search.save = save_search;
  run->search.resumed = note_resumed;
  run->search.progress = note_measured;
  run->search.train.stop = &run->stop;
  run->candidates_left = -1;
  run->search.image_sizes[run->search.n_image_sizes++] = SIZE;
  run->search.train.batch = BATCH;
  run->search.train.epochs = 1;
  run->search.train.n_threads = 1;
  run->search.train.context = run;
  return run;
}

void supernet_run_free(supernet_run *run) {
  for (int i = 0; i < SUPERNET_SAVES; i++) free(run->saves[i].bytes);
  free(run);
}

static void write_and_free_supernet(tinytl_supernet *net, tinytl_weights weights, sink *file) {
  tinytl_supernet *again = NULL;
  FUZZ_EXPECT(tinytl_supernet_write(net, weights, sink_write, file, NULL) == TINYTL_OK);
  FUZZ_EXPECT(tinytl_supernet_open(file->bytes, file->nbytes, "again", &again, NULL) == TINYTL_OK);
  tinytl_supernet_free(again);
  tinytl_supernet_free(net);
}

static void write_and_free_backbone(tinytl_backbone *backbone, sink *file) {
  tinytl_backbone *again = NULL;
  FUZZ_EXPECT(tinytl_backbone_write(backbone, sink_write, file, NULL) == TINYTL_OK);
  FUZZ_EXPECT(tinytl_backbone_open(file->bytes, file->nbytes, "again", &again, NULL) == TINYTL_OK);
  tinytl_backbone_free(again);
  tinytl_backbone_free(backbone);
}

tinytl_status supernet_run_pretrain(supernet_run *run, const char *architecture, const sink *from,
                                    sink *made) {
  const tinytl_images *train = &run->train.images, *val = &run->val.images;
  const tinytl_source source = from ? sink_source(from) : (tinytl_source){0};
  tinytl_supernet *net = NULL;
  tinytl_backbone *backbone = NULL;
  run->pretrain.resume = from ? &source : NULL;
  const tinytl_status status =
      strncmp(architecture, "supernet", 8) == 0
          ? tinytl_pretrain_supernet(architecture, train, val, &run->pretrain, &net, NULL,
                                     &run->error)
          : tinytl_pretrain(architecture, train, val, &run->pretrain, &backbone, NULL, &run->error);
  *made = (sink){0};
  if (net) write_and_free_supernet(net, run->pretrain.weights, made);
  if (backbone) write_and_free_backbone(backbone, made);
  return status;
}

tinytl_status supernet_run_search(supernet_run *run, const tinytl_supernet *supernet,
                                  const sink *from, sink *made) {
  const tinytl_source source = from ? sink_source(from) : (tinytl_source){0};
  tinytl_backbone *backbone = NULL;
  run->search.resume = from ? &source : NULL;
  run->stop = 0;
  const tinytl_status status = tinytl_search(supernet, &run->train.images, &run->val.images,
                                             &run->search, &backbone, NULL, &run->error);
  *made = (sink){0};
  if (backbone) write_and_free_backbone(backbone, made);
  return status;
}

const sink *supernet_run_state(const supernet_run *run, int i) {
  FUZZ_EXPECT(run->n_saves >= SUPERNET_STATES && run->n_saves <= SUPERNET_SAVES);
  return &run->saves[i * (run->n_saves - 1) / (SUPERNET_STATES - 1)];
}

tinytl_supernet *supernet_run_net(supernet_run *run, bool with_lite, sink *file) {
  tinytl_supernet *net = NULL;
  run->pretrain.lite = with_lite;
  FUZZ_EXPECT(supernet_run_pretrain(run, "supernet-0.1", NULL, file) == TINYTL_OK);
  run->pretrain.lite = true;
  FUZZ_EXPECT(tinytl_supernet_open(file->bytes, file->nbytes, "made", &net, NULL) == TINYTL_OK);
  return net;
}
