/* Writes sub-nets of a super-net as backbones, with statistics of DIR's training pictures, to
 * compare a search's choice with:
 *
 *   bench_subnets SUPERNET DIR PREFIX LIMIT_BYTES N SEED [SIZE]
 *
 * LIMIT 0: the largest one, for pictures of SIZE or else the super-net's own, and a line of what
 * training it is planned for and what is held before; else N random ones, at random sizes, that
 * meet the limit and no limit a tenth lower, a line each: the file. */
#include <stdio.h>
#include <stdlib.h>

#include "core/pages.h"
#include "search/searcher.h"

enum { MOST_DRAWS = 2000 };

static void check(tinytl_status status, const tinytl_error *error) {
  if (status == TINYTL_OK) return;
  fprintf(stderr, "bench_subnets: %s\n", error->message);
  exit(1);
}

static void *read_file(const char *path, size_t *nbytes) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0) exit(1);
  *nbytes = (size_t)ftell(file);
  void *bytes = malloc(*nbytes);
  rewind(file);
  if (!bytes || fread(bytes, 1, *nbytes, file) != *nbytes) exit(1);
  fclose(file);
  return bytes;
}

static bool write_file(void *context, const void *bytes, size_t nbytes) {
  return fwrite(bytes, 1, nbytes, context) == nbytes;
}

static void write_subnet(const tinytl_pricer *pricer, const tinytl_subnet *subnet,
                         const char *path) {
  tinytl_searcher *searcher;
  tinytl_backbone *backbone;
  tinytl_error error;
  check(tinytl_searcher_create(pricer->supernet, pricer->train, pricer->val, pricer->options,
                               TINYTL_METHOD_BIAS, NULL, &searcher, &error),
        &error);
  check(tinytl_searcher_finish(searcher, subnet, &backbone, &error), &error);
  FILE *file = fopen(path, "wb");
  if (!file) exit(1);
  check(tinytl_backbone_write(backbone, write_file, file, &error), &error);
  if (fclose(file) != 0) exit(1);
  tinytl_backbone_free(backbone);
  tinytl_searcher_free(searcher);
}

int main(int argc, char **argv) {
  if (argc != 7 && argc != 8) return 2;
  const size_t limit = (size_t)strtoull(argv[4], NULL, 10);
  const int n = atoi(argv[5]);
  int n_made = 0;
  const uint64_t seed = strtoull(argv[6], NULL, 10);
  size_t nbytes;
  tinytl_error error;
  tinytl_supernet *supernet;
  tinytl_folder *train, *val;
  tinytl_plan plan;
  tinytl_search_options options;
  char path[4096];
  void *bytes = read_file(argv[1], &nbytes);
  check(tinytl_supernet_open(bytes, nbytes, argv[1], &supernet, &error), &error);
  free(bytes);
  check(tinytl_folder_open(argv[2], TINYTL_PART_TRAIN, NULL, NULL, &train, &error), &error);
  check(tinytl_folder_split(train, 0.2f, 0, &val, &error), &error);
  tinytl_search_options_init(&options);
  options.candidates = 16;
  const size_t resident = tinytl_resident_nbytes(), values = supernet->n_values * sizeof(float);
  tinytl_pricer pricer = {.supernet = supernet,
                          .train = tinytl_folder_images(train),
                          .val = tinytl_folder_images(val),
                          .options = &options,
                          .base_nbytes = resident > values ? resident - values : 0};
  check(tinytl_pricer_init(&pricer, &error), &error);
  if (limit == 0) {
    const int size = argc == 8 ? atoi(argv[7]) : supernet->input.size;
    tinytl_genes_set_sizes(&supernet->space, supernet->input.size, &size, 1);
    const tinytl_subnet largest = tinytl_subnet_largest(&supernet->space);
    bool meets;
    check(tinytl_price(&pricer, &largest, &plan, &meets, &error), &error);
    write_subnet(&pricer, &largest, argv[3]);
    printf("%zu %zu\n", plan.one_lane_bytes, plan.base_bytes);
  }
  tinytl_genes_set_sizes(&supernet->space, supernet->input.size, NULL, 0);
  const tinytl_subnet smallest = tinytl_subnet_smallest(&supernet->space);
  for (uint64_t draw = 0; limit > 0 && n_made < n && draw < MOST_DRAWS; draw++) {
    tinytl_subnet subnet = tinytl_genes_draw(&supernet->space, seed, draw, 0);
    tinytl_rng rng = tinytl_rng_make(seed, TINYTL_RNG_SEARCH, draw, 0);
    options.train.memory_limit = limit;
    check(tinytl_price_shrink(&pricer, &smallest, &rng, &subnet, &plan, &error), &error);
    if (plan.smallest_bytes < limit / 10 * 9) continue;
    snprintf(path, sizeof path, "%s-%d.safetensors", argv[3], n_made++);
    options.train.memory_limit = 0; /* it is for training */
    write_subnet(&pricer, &subnet, path);
    puts(path);
  }
  tinytl_pricer_clear(&pricer);
  tinytl_folder_free(val);
  tinytl_folder_free(train);
  tinytl_supernet_free(supernet);
  return 0;
}
