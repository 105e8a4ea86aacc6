#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "pretrain/pretrainer.h"
#include "support/tiny_net.h"
#include "tinytl.h"

enum { IMAGES = 3 };

static const tinytl_images *images_with(const char *const *names, int n_classes) {
  static tinytl_images images;
  images = (tinytl_images){.n_classes = n_classes, .class_names = names};
  return &images;
}

/* Memory that a batch takes; the pictures are the caller's. */
static void ask(const tinytl_backbone *backbone, const tinytl_images *images,
                const uint8_t *const *rgb, float *answers) {
  tinytl_teacher *teacher = NULL;
  tinytl_error error;
  if (tinytl_teacher_create(backbone, NULL, images, TINY_SIZE, IMAGES, &teacher, &error) !=
      TINYTL_OK)
    fail_msg("%s", error.message);
  const tinytl_batch_net *net = &teacher->net;
  float *values = malloc((net->params.n + 2 * net->params.n_channels) * sizeof *values);
  const tinytl_batch_statistics statistics = {values + net->params.n,
                                              values + net->params.n + net->params.n_channels};
  tinytl_teacher_set_values(teacher, values, &statistics);
  const tinytl_batch_run pupil = {.run = {.kernels = tinytl_kernels_get()},
                                  .block = aligned_alloc(64, net->nbytes),
                                  .rgb = rgb,
                                  .n_images = IMAGES};
  memset(pupil.block, 0xff, net->nbytes);
  tinytl_teacher_answer(teacher, &pupil, answers);
  free(pupil.block);
  free(values);
  free(teacher);
}

/* Of every kind of backbone, one whose shortcuts reach far back too, what the predictor answers. */
static void test_answers_are_predictions(void **state) {
  (void)state;
  uint8_t pixels[IMAGES][TINY_SIZE * TINY_SIZE * 3];
  const uint8_t *rgb[IMAGES];
  for (int i = 0; i < IMAGES; i++) {
    tiny_picture(i, pixels[i]);
    rgb[i] = pixels[i];
  }
  for (int kind = 0; kind < 8; kind++) {
    tinytl_backbone *backbone =
        tiny_backbone(kind & 1 ? TINYTL_WEIGHTS_INT8 : TINYTL_WEIGHTS_F32,
                      kind & 2 ? TINYTL_PAD_SAME : TINYTL_PAD_SYMMETRIC, kind & 4);
    if (kind & 1) {
      backbone->arch.layers[13].add = 5;
      assert_int_equal(tinytl_arch_finish(&backbone->arch, "tiny", NULL), TINYTL_OK);
    }
    tinytl_predictor *predictor = NULL;
    float answers[IMAGES * TINY_CLASSES], expected[TINY_CLASSES];
    ask(backbone, images_with(NULL, TINY_CLASSES), rgb, answers);
    assert_int_equal(tinytl_predictor_create(backbone, NULL, TINY_SIZE, 1, &predictor, NULL),
                     TINYTL_OK);
    for (int i = 0; i < IMAGES; i++) {
      assert_int_equal(tinytl_predictor_run(predictor, rgb[i], expected, NULL), TINYTL_OK);
      for (int k = 0; k < TINY_CLASSES; k++)
        assert_float_equal(answers[i * TINY_CLASSES + k], expected[k], 1e-4);
    }
    tinytl_predictor_free(predictor);
    tinytl_backbone_free(backbone);
  }
}

/* Names say which class is which, whatever their order. */
static void test_classes(void **state) {
  (void)state;
  uint8_t pixels[TINY_SIZE * TINY_SIZE * 3];
  const uint8_t *rgb[IMAGES] = {pixels, pixels, pixels};
  char labels[TINY_CLASSES][8], *of_backbone[TINY_CLASSES];
  const char *names[TINY_CLASSES];
  float in_order[IMAGES * TINY_CLASSES], turned[IMAGES * TINY_CLASSES];
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SYMMETRIC, true);
  tinytl_teacher *teacher = NULL;
  tinytl_error error;
  tiny_picture(1, pixels);
  for (int k = 0; k < TINY_CLASSES; k++) {
    memcpy(labels[k], "class a", 8);
    labels[k][6] = (char)('a' + k);
    of_backbone[k] = labels[k];
    names[k] = labels[TINY_CLASSES - 1 - k];
  }
  ask(backbone, images_with(names, TINY_CLASSES), rgb, in_order); /* it has no names yet */
  char **no_labels = backbone->labels;
  backbone->labels = of_backbone;
  backbone->n_labels = TINY_CLASSES;
  ask(backbone, images_with(names, TINY_CLASSES), rgb, turned);
  for (int k = 0; k < TINY_CLASSES; k++)
    assert_float_equal(turned[k], in_order[TINY_CLASSES - 1 - k], 1e-6);

  names[1] = "other";
  assert_int_equal(tinytl_teacher_create(backbone, NULL, images_with(names, TINY_CLASSES),
                                         TINY_SIZE, IMAGES, &teacher, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "found no \"other\" (its first is \"class a\")"));
  assert_int_equal(tinytl_teacher_create(backbone, NULL, images_with(names, TINY_CLASSES - 1),
                                         TINY_SIZE, IMAGES, &teacher, &error),
                   TINYTL_ERROR_MODEL);
  assert_non_null(strstr(error.message, "classes of the pictures, found"));
  assert_null(teacher);
  backbone->labels = no_labels;
  backbone->n_labels = 0;
  tinytl_backbone_free(backbone);
}

/* A mapped file's weights are in memory once they were read: the plan must have them. */
static void test_weights_count(void **state) {
  (void)state;
  const char *names[TINY_CLASSES] = {"a"};
  tinytl_backbone *backbone = tiny_backbone(TINYTL_WEIGHTS_F32, TINYTL_PAD_SYMMETRIC, true);
  tinytl_backbone_info info;
  tinytl_teacher *teacher = NULL;
  tinytl_backbone_describe(backbone, &info);
  assert_int_equal(tinytl_teacher_create(backbone, NULL, images_with(names, TINY_CLASSES),
                                         TINY_SIZE, IMAGES, &teacher, NULL),
                   TINYTL_OK);
  assert_true(info.weight_nbytes > 0);
  assert_true(tinytl_teacher_nbytes(teacher) >= sizeof *teacher + info.weight_nbytes);
  free(teacher);
  tinytl_backbone_free(backbone);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_answers_are_predictions),
      cmocka_unit_test(test_classes),
      cmocka_unit_test(test_weights_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
