/* Five real networks against an independent implementation: probes of three layers, features and
 * logits, on every kernel set. Needs the test data. */
#include "support/cmocka.h"
#include "support/data.h"
#include "support/runner.h"

#include "format/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-3

static const char *const networks[] = {"mobilenet_v2_1.0_224", "mbv2-w0.35", "proxyless-w0.3",
                                       "mcunet-5fps", "vww_mobilenet_v1_0.25_96"};
enum { N_NETWORKS = sizeof networks / sizeof *networks, N_PICTURES = 4 };

typedef struct golden {
  tinytl_backbone *backbone;
  void *bytes;
  tinytl_safetensors *file;
  int size;
  uint8_t *rgb; /* [N_PICTURES][size][size][3] */
} golden;

static const float *golden_values(const golden *g, const char *name, size_t n) {
  const tinytl_tensor *tensor = tinytl_safetensors_find(g->file, name);
  assert_non_null(tensor);
  assert_int_equal(tensor->nbytes, n * sizeof(float));
  return tensor->data;
}

/* The exact input came from 8-bit pixels; find them again. */
static void recover_pixels(golden *g) {
  const tinytl_input *input = &g->backbone->input;
  const size_t n = (size_t)g->size * (size_t)g->size;
  const float *x = golden_values(g, "input", N_PICTURES * 3 * n);
  g->rgb = malloc(N_PICTURES * 3 * n);
  for (size_t picture = 0; picture < N_PICTURES; picture++)
    for (size_t c = 0; c < 3; c++)
      for (size_t i = 0; i < n; i++) {
        const float value = (x[(picture * 3 + c) * n + i] * input->std[c] + input->mean[c]) * 255;
        assert_true(fabsf(value - roundf(value)) < 1e-2f);
        g->rgb[(picture * n + i) * 3 + c] = (uint8_t)lroundf(value);
      }
}

static bool load(golden *g, const char *network) {
  char name[128], path[DATA_PATH_SIZE];
  size_t nbytes;
  tinytl_error error = {0};
  snprintf(name, sizeof name, "weights/%s.safetensors", network);
  if (!data_find(name, path)) return false;
  void *model = data_read(path, &nbytes);
  assert_non_null(model);
  if (tinytl_backbone_import(model, nbytes, name, TINYTL_WEIGHTS_F32, &g->backbone, &error) !=
      TINYTL_OK)
    fail_msg("%s", error.message);
  free(model);
  snprintf(name, sizeof name, "reference/%s.safetensors", network);
  if (!data_find(name, path)) fail_msg("weights without golden values: %s", name);
  g->bytes = data_read(path, &nbytes);
  assert_int_equal(tinytl_safetensors_open(g->bytes, nbytes, name, &g->file, &error), TINYTL_OK);
  g->size = g->backbone->input.size;
  recover_pixels(g);
  return true;
}

static void unload(golden *g) {
  free(g->rgb);
  tinytl_safetensors_free(g->file);
  free(g->bytes);
  tinytl_backbone_free(g->backbone);
}

static void check(const char *network, const char *what, const float *got, const float *want,
                  size_t n) {
  double worst = 0;
  for (size_t i = 0; i < n; i++) {
    const double error = fabs((double)got[i] - (double)want[i]);
    worst = error <= worst ? worst : error; /* NaN stays */
  }
  if (!(worst <= TOLERANCE)) fail_msg("%s, %s: off by %g", network, what, worst);
}

static void check_outputs(const golden *g, const char *network, const tinytl_kernels *kernels) {
  const size_t n_features = (size_t)g->backbone->arch.n_features;
  const size_t n_classes = (size_t)g->backbone->arch.n_classes;
  const size_t picture_nbytes = (size_t)g->size * (size_t)g->size * 3;
  const float *features = golden_values(g, "features", N_PICTURES * n_features);
  const float *logits = golden_values(g, "logits", N_PICTURES * n_classes);
  runner r;
  for (size_t i = 0; i < N_PICTURES; i++) {
    runner_start(&r, g->backbone, 0, TINYTL_GOAL_FEATURES, kernels);
    tinytl_machine_run(&r.machine, g->rgb + i * picture_nbytes, NULL);
    check(network, "features", tinytl_machine_features(&r.machine), features + i * n_features,
          n_features);
    runner_finish(&r);
    runner_start(&r, g->backbone, 0, TINYTL_GOAL_LOGITS, kernels);
    tinytl_machine_run(&r.machine, g->rgb + i * picture_nbytes, NULL);
    check(network, "logits", tinytl_machine_logits(&r.machine), logits + i * n_classes, n_classes);
    runner_finish(&r);
  }
}

/* Output of layer `layer` for the first picture; golden maps are [channel][y][x]. */
static void check_probe(const golden *g, const char *network, int layer,
                        const tinytl_kernels *kernels) {
  char name[64];
  snprintf(name, sizeof name, "probe.features.%d", layer);
  tinytl_backbone *cut = malloc(sizeof *cut);
  *cut = *g->backbone;
  cut->arch.n_layers = layer + 1;
  cut->arch.n_features = cut->arch.layers[layer].out_c;
  runner r;
  runner_start(&r, cut, 0, TINYTL_GOAL_FEATURES, kernels);
  tinytl_machine_run(&r.machine, g->rgb, NULL);
  const tinytl_conv *conv = &r.network->conv[layer];
  const size_t n_pixels = (size_t)conv->out_h * (size_t)conv->out_w, n_c = (size_t)conv->out_c;
  const float *want = golden_values(g, name, n_pixels * n_c);
  /* The pooling step is the last, and its input is still there. */
  const tinytl_step *pool = &r.program->steps[r.program->n_steps - 1];
  const float *map =
      (const float *)(const void *)(r.machine.arena + r.program->buffers[pool->x].offset);
  float *turned = malloc(n_pixels * n_c * sizeof *turned);
  for (size_t i = 0; i < n_pixels; i++)
    for (size_t c = 0; c < n_c; c++) turned[c * n_pixels + i] = map[i * n_c + c];
  check(network, name, turned, want, n_pixels * n_c);
  free(turned);
  runner_finish(&r);
  free(cut);
}

static void test_networks(void **state) {
  (void)state;
  const tinytl_kernels *kernels[TINYTL_MAX_KERNEL_SETS];
  const int n_kernels = tinytl_kernels_all(kernels);
  for (int i = 0; i < N_NETWORKS; i++) {
    golden g = {0};
    if (!load(&g, networks[i])) skip();
    for (int k = 0; k < n_kernels; k++) {
      check_probe(&g, networks[i], 0, kernels[k]);
      check_probe(&g, networks[i], 2, kernels[k]);
      check_probe(&g, networks[i], g.backbone->arch.n_layers - 1, kernels[k]);
      check_outputs(&g, networks[i], kernels[k]);
    }
    unload(&g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_networks)};
  return cmocka_run_group_tests_name("golden networks", tests, NULL, NULL);
}
