/* A super-net file: opened, told of, sub-nets copied out of it, one made a backbone, written
 * again. */
#include <string.h>

#include "fuzz.h"
#include "search/searcher.h"
#include "supernet_run.h"

static void copy_out(const tinytl_supernet *net, const tinytl_subnet *subnet) {
  tinytl_shared_values *shared = calloc(1, sizeof *shared);
  tinytl_part_values *part = calloc(1, sizeof *part);
  tinytl_shared_values_layout(shared, &net->space);
  tinytl_part_values_layout(part, &net->space, subnet);
  FUZZ_EXPECT(shared->n == net->n_values && part->params.n <= shared->n);
  float *values = malloc(part->params.n * sizeof *values);
  tinytl_shared_values_copy_out(shared, net->values, part, values);
  free(values);
  free(part);
  free(shared);
}

static void use(const tinytl_supernet *net) {
  const tinytl_opening all = {TINYTL_SUPERNET_CHOICES, TINYTL_SUPERNET_CHOICES,
                              TINYTL_SUPERNET_CHOICES, TINYTL_LITE_CHOICES};
  const tinytl_subnet subnets[] = {tinytl_subnet_largest(&net->space),
                                   tinytl_subnet_smallest(&net->space),
                                   tinytl_subnet_draw(&net->space, &all, 0, 0, 0)};
  tinytl_supernet_info info;
  tinytl_supernet_describe(net, &info);
  FUZZ_EXPECT(info.smallest_macs > 0 && info.smallest_macs < info.largest_macs);
  for (int c = 0; c < info.n_classes; c++) FUZZ_EXPECT(tinytl_supernet_label(net, c));
  for (size_t i = 0; i < sizeof subnets / sizeof *subnets; i++) copy_out(net, &subnets[i]);
}

/* The smallest sub-net as a backbone, as a search would choose it. */
static void make_backbone(supernet_run *run, const tinytl_supernet *net) {
  tinytl_measured smallest = {.subnet = tinytl_subnet_smallest(&net->space)};
  tinytl_searcher *searcher = NULL;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  tinytl_status status =
      tinytl_searcher_create(net, &run->train.images, &run->val.images, &run->search,
                             TINYTL_METHOD_LITE_BIAS, NULL, &searcher, &error);
  if (status == TINYTL_OK) status = tinytl_searcher_measure(searcher, &smallest, &error);
  if (status == TINYTL_OK)
    status = tinytl_searcher_finish(searcher, &smallest.subnet, &backbone, &error);
  /* Features may be finite where the folded weights are not. */
  fuzz_expect_reason(status, &error,
                     status == TINYTL_ERROR_MODEL ? TINYTL_ERROR_MODEL : TINYTL_ERROR_DATA);
  if (status == TINYTL_OK) fuzz_write_again(backbone);
  tinytl_backbone_free(backbone);
  tinytl_searcher_free(searcher);
}

/* As floats nothing changes; as int8 all stays finite. */
static void write_again(const tinytl_supernet *net, tinytl_weights weights) {
  sink made = {0};
  tinytl_supernet *again = NULL;
  FUZZ_EXPECT(tinytl_supernet_write(net, weights, sink_write, &made, NULL) == TINYTL_OK);
  FUZZ_EXPECT(tinytl_supernet_open(made.bytes, made.nbytes, "again", &again, NULL) == TINYTL_OK);
  FUZZ_EXPECT(again->n_values == net->n_values);
  FUZZ_EXPECT(weights == TINYTL_WEIGHTS_INT8 ||
              memcmp(again->values, net->values, net->n_values * sizeof *net->values) == 0);
  tinytl_supernet_free(again);
  free(made.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static supernet_run *run;
  static sink like;
  if (!run) {
    run = supernet_run_make();
    tinytl_supernet_free(supernet_run_net(run, true, &like));
  }
  sink file = {0};
  tinytl_supernet *net = NULL;
  tinytl_error error;
  fuzz_unfold(data, nbytes, &like, &file);
  const tinytl_status status = tinytl_supernet_open(file.bytes, file.nbytes, "fuzz", &net, &error);
  free(file.bytes);
  fuzz_expect_reason(status, &error, TINYTL_ERROR_MODEL);
  if (status != TINYTL_OK) return 0;
  use(net);
  make_backbone(run, net);
  write_again(net, TINYTL_WEIGHTS_INT8);
  write_again(net, TINYTL_WEIGHTS_F32);
  tinytl_supernet_free(net);
  return 0;
}
