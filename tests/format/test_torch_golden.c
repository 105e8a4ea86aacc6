/* Checkpoints under the public tensor names against PyTorch: tools/torch_golden.py makes both.
 * Needs PyTorch in python3, or in the program that TINYTL_PYTHON names. */
#include "support/cmocka.h"
#include "support/data.h"
#include "support/runner.h"

#include "format/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOLERANCE 1e-3

enum { PATH_SIZE = 512 };

/* Largest difference of the logits; *apart: that of PyTorch's logits of the first two pictures. */
static double distance(const tinytl_backbone *backbone, const tinytl_safetensors *golden,
                       double *apart) {
  const tinytl_tensor *pixels = tinytl_safetensors_find(golden, "pixels");
  const tinytl_tensor *logits = tinytl_safetensors_find(golden, "logits");
  assert_non_null(pixels);
  assert_non_null(logits);
  const size_t n_pictures = logits->dims[0], n_classes = logits->dims[1];
  const size_t size = pixels->dims[1], n_pixels = size * size * 3;
  const float *expected = logits->data, *x = pixels->data;
  assert_int_equal(n_classes, backbone->arch.n_classes);
  uint8_t *rgb = malloc(n_pixels);
  double largest = 0;
  runner r;
  runner_start(&r, backbone, (int)size, TINYTL_GOAL_LOGITS, tinytl_kernels_get());
  for (size_t i = 0; i < n_pictures; i++) {
    for (size_t p = 0; p < n_pixels; p++) rgb[p] = (uint8_t)x[i * n_pixels + p];
    tinytl_machine_run(&r.machine, rgb, NULL);
    const float *found = tinytl_machine_logits(&r.machine);
    for (size_t c = 0; c < n_classes; c++) {
      const double value = (double)expected[i * n_classes + c];
      const double error = fabs((double)found[c] - value);
      largest = error <= largest ? largest : error; /* NaN stays */
      *apart = fmax(*apart, fabs(value - (double)expected[c]));
    }
  }
  runner_finish(&r);
  free(rgb);
  return largest;
}

static tinytl_backbone *import(const char *path, tinytl_weights weights) {
  size_t nbytes = 0;
  tinytl_backbone *backbone = NULL;
  tinytl_error error;
  void *bytes = data_read(path, &nbytes);
  assert_non_null(bytes);
  if (tinytl_backbone_import(bytes, nbytes, path, weights, &backbone, &error) != TINYTL_OK)
    fail_msg("%s", error.message);
  free(bytes);
  return backbone;
}

static void check_file(const char *path) {
  char golden_path[PATH_SIZE + 8];
  size_t nbytes = 0;
  double apart = 0, f32 = 0, int8 = 0;
  tinytl_safetensors *golden = NULL;
  snprintf(golden_path, sizeof golden_path, "%s.golden", path);
  void *bytes = data_read(golden_path, &nbytes);
  assert_non_null(bytes);
  assert_int_equal(tinytl_safetensors_open(bytes, nbytes, golden_path, &golden, NULL), TINYTL_OK);
  for (int weights = TINYTL_WEIGHTS_INT8; weights <= TINYTL_WEIGHTS_F32; weights++) {
    tinytl_backbone *backbone = import(path, (tinytl_weights)weights);
    *(weights == TINYTL_WEIGHTS_INT8 ? &int8 : &f32) = distance(backbone, golden, &apart);
    tinytl_backbone_free(backbone);
  }
  tinytl_safetensors_free(golden);
  free(bytes);
  printf("%-40s off by %.1e (int8 %.3f), pictures apart by %.2f\n", strrchr(path, '/') + 1, f32,
         int8, apart);
  assert_true(apart > 0.2); /* they depend on the picture */
  if (!(f32 <= TOLERANCE)) fail_msg("%s: off by %g", path, f32);
}

/* The tool prints the name of each file that it has made. */
static void test_checkpoints(void **state) {
  char dir[] = "/tmp/tinytl-torch-XXXXXX", command[2 * PATH_SIZE], name[128], path[PATH_SIZE];
  const char *chosen = getenv("TINYTL_PYTHON"), *python = chosen ? chosen : "python3";
  int n = 0;
  (void)state;
  snprintf(command, sizeof command, "%s -c 'import torch, safetensors.torch' 2>/dev/null", python);
  if (system(command) != 0) {
    printf("SKIP: no PyTorch and safetensors in %s (set TINYTL_PYTHON)\n", python);
    skip();
  }
  assert_non_null(mkdtemp(dir));
  /* Sides of 75, 38, 19, 10, 5, 3: strides meet odd and even ones. */
  snprintf(command, sizeof command, "%s " TINYTL_SOURCE_DIR "/tools/torch_golden.py %s 75", python,
           dir);
  FILE *made = popen(command, "r");
  assert_non_null(made);
  while (fgets(name, sizeof name, made)) {
    name[strcspn(name, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/%s", dir, name);
    check_file(path);
    unlink(path);
    strcat(path, ".golden");
    unlink(path);
    n++;
  }
  assert_int_equal(pclose(made), 0);
  assert_true(n > 0);
  rmdir(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_checkpoints)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
