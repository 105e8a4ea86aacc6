/* Teachers: a given backbone, or a super-net's own largest sub-net as its phase left it. */
#include <stdlib.h>
#include <string.h>

#include "model/quantise.h"
#include "pretrain/pretrainer.h"

/* ---- A given backbone --------------------------------------------------------------------- */

static int find_label(const tinytl_backbone *backbone, const char *name) {
  for (int k = 0; k < backbone->n_labels; k++)
    if (strcmp(backbone->labels[k], name) == 0) return k;
  return -1;
}

/* By name where the teacher has names, else in order. */
static tinytl_status match_classes(tinytl_teacher *t, const char *name, const tinytl_images *images,
                                   tinytl_error *error) {
  const tinytl_backbone *backbone = t->backbone;
  if (backbone->arch.n_classes != images->n_classes)
    return tinytl_fail(error, TINYTL_ERROR_MODEL,
                       "%s: expected a classifier of the %d classes of the pictures, found %d",
                       name, images->n_classes, backbone->arch.n_classes);
  for (int i = 0; i < images->n_classes; i++) {
    t->classes[i] = backbone->n_labels ? find_label(backbone, images->class_names[i]) : i;
    if (t->classes[i] < 0)
      return tinytl_fail(error, TINYTL_ERROR_MODEL,
                         "%s: expected a classifier of the classes of the pictures, found no "
                         "\"%.80s\" (its first is \"%.80s\")",
                         name, images->class_names[i], backbone->labels[0]);
  }
  return TINYTL_OK;
}

tinytl_status tinytl_teacher_create(const tinytl_backbone *backbone, const char *name,
                                    const tinytl_images *images, int image_size, int max_images,
                                    tinytl_teacher **teacher, tinytl_error *error) {
  const size_t n_classes = (size_t)images->n_classes;
  tinytl_teacher *t = calloc(1, sizeof *t + n_classes * sizeof *t->classes);
  if (!t) return tinytl_fail_memory(error, sizeof *t);
  t->backbone = backbone;
  tinytl_status status = match_classes(t, name ? name : "teacher", images, error);
  if (status == TINYTL_OK)
    status = tinytl_batch_net_init(&t->net, &backbone->arch, image_size, max_images, false, error);
  if (status == TINYTL_OK)
    *teacher = t;
  else
    free(t);
  return status;
}

tinytl_status tinytl_teacher_set_size(tinytl_teacher *t, int image_size, tinytl_error *error) {
  return tinytl_batch_net_init(&t->net, &t->backbone->arch, image_size, t->net.max_images, false,
                               error);
}

size_t tinytl_teacher_nbytes(const tinytl_teacher *t) {
  tinytl_backbone_info info;
  tinytl_backbone_describe(t->backbone, &info);
  return sizeof *t + (size_t)info.n_classes * sizeof *t->classes + info.weight_nbytes;
}

/* A bias is the shift of a norm that changes nothing else. */
void tinytl_teacher_set_values(tinytl_teacher *t, float *values,
                               const tinytl_batch_statistics *statistics) {
  const tinytl_arch *arch = &t->backbone->arch;
  const tinytl_batch_params *params = &t->net.params;
  const tinytl_layer classifier = tinytl_classifier_layer(arch);
  t->values = values;
  t->statistics = *statistics;
  for (int i = 0; i < arch->n_layers; i++) {
    const size_t out_c = (size_t)arch->layers[i].out_c;
    tinytl_weight_copy(tinytl_weight_shape_of(&arch->layers[i]), &t->backbone->weight[i],
                       values + params->weight[i]);
    memcpy(values + params->shift[i], t->backbone->bias[i], out_c * sizeof *values);
    for (size_t c = 0; c < out_c; c++) values[params->scale[i] + c] = 1;
  }
  for (size_t c = 0; c < params->n_channels; c++) {
    statistics->mean[c] = 0;
    statistics->var[c] = 1 - TINYTL_BATCH_NORM_EPS;
  }
  for (int m = 0; m < arch->n_lite; m++)
    tinytl_batch_params_set_lite(params, arch, m, &t->backbone->lite[m], values);
  tinytl_weight_copy(tinytl_weight_shape_of(&classifier), &t->backbone->classifier,
                     values + params->classifier);
  memcpy(values + params->bias, t->backbone->classifier_bias,
         (size_t)arch->n_classes * sizeof *values);
}

void tinytl_teacher_answer(const tinytl_teacher *t, const tinytl_batch_run *pupil, float *answers) {
  const int n_classes = t->backbone->arch.n_classes;
  const tinytl_input *input = &t->backbone->input;
  tinytl_batch_run b = *pupil;
  b.net = &t->net;
  b.values = t->values;
  tinytl_input_affine(input, b.input_scale, b.input_shift);
  const float *logits = tinytl_batch_forward(&b, &t->statistics);
  for (int i = 0; i < b.n_images; i++, logits += n_classes, answers += n_classes) {
    for (int k = 0; k < n_classes; k++) answers[k] = logits[t->classes[k]];
    tinytl_softmax(n_classes, answers);
  }
}

/* ---- The pretrainer's --------------------------------------------------------------------- */

void tinytl_pretrainer_ask(tinytl_pretrainer *p) {
  const int n_classes = p->arch->n_classes;
  if (p->teacher) {
    tinytl_teacher_answer(p->teacher, &p->batch_run, p->answers);
    return;
  }
  p->batch_run.net = p->net;
  p->batch_run.values = p->shrinking->teacher;
  const float *logits = tinytl_batch_forward(&p->batch_run, NULL);
  memcpy(p->answers, logits, (size_t)p->batch_run.n_images * (size_t)n_classes * sizeof *logits);
  for (int i = 0; i < p->batch_run.n_images; i++)
    tinytl_softmax(n_classes, p->answers + (size_t)i * (size_t)n_classes);
}

/* Logits become the gradient of weight * (cross entropy to the label + cross entropy to the
 * teacher's probabilities); returns the first. After the first, the gradient is weight * (p -
 * target): p - answer is that over weight, + target - answer. */
static float taught_cross_entropy(int n, int label, float smoothing, float weight,
                                  const float *answer, float *logits) {
  const float loss = tinytl_cross_entropy(n, label, smoothing, weight, logits);
  for (int k = 0; k < n; k++) {
    const float target = (k == label ? 1 - smoothing : 0) + smoothing / (float)n;
    logits[k] = 2 * logits[k] + weight * (target - answer[k]);
  }
  return loss;
}

double tinytl_pretrainer_losses(tinytl_pretrainer *p, bool is_taught, float weight, float *logits) {
  const int n_classes = p->arch->n_classes;
  const float smoothing = p->options.label_smoothing;
  double loss = 0;
  for (int i = 0; i < p->batch_run.n_images; i++) {
    const size_t row = (size_t)i * (size_t)n_classes;
    loss += (double)(is_taught ? taught_cross_entropy(n_classes, p->labels[i], smoothing, weight,
                                                      p->answers + row, logits + row)
                               : tinytl_cross_entropy(n_classes, p->labels[i], smoothing, weight,
                                                      logits + row));
  }
  return loss;
}
