/* The reference that gradients are checked against is itself checked against PyTorch, see
 * tools/golden_reference.py, which makes the same network. */
#include "support/cmocka.h"

#include <math.h>
#include <stdlib.h>

#include "support/reference.h"

enum { SIZE = 19, N_CLASSES = 5, LABEL = 2, N_LAYERS = 8, N_LITE = 2, POOL_SIZE = 16384 };

/* A model whose numbers are sin(0.7 i + t), one t a tensor. */
typedef struct model {
  tinytl_backbone backbone;
  float values[POOL_SIZE];
  size_t used;
  uint8_t rgb[SIZE * SIZE * 3];
} model;

static const float *tensor(model *m, int t, float gain, size_t n) {
  float *values = m->values + m->used;
  m->used += n;
  assert_true(m->used <= POOL_SIZE);
  for (size_t i = 0; i < n; i++) values[i] = gain * (float)sin(0.7 * (double)i + t);
  return values;
}

static model *model_make(tinytl_pad pad) {
  const tinytl_layer layers[N_LAYERS] = {
      {3, 8, 3, 2, 1, TINYTL_ACT_RELU6, pad, -1},    {8, 24, 1, 1, 1, TINYTL_ACT_RELU6, pad, -1},
      {24, 24, 5, 2, 24, TINYTL_ACT_RELU6, pad, -1}, {24, 12, 1, 1, 1, TINYTL_ACT_NONE, pad, -1},
      {12, 32, 1, 1, 1, TINYTL_ACT_RELU, pad, -1},   {32, 32, 3, 1, 32, TINYTL_ACT_RELU, pad, -1},
      {32, 12, 1, 1, 1, TINYTL_ACT_NONE, pad, 3},    {12, 20, 1, 1, 1, TINYTL_ACT_RELU6, pad, -1}};
  const tinytl_lite lite[N_LITE] = {{0, 8, 8, 12, 3, 2, 2}, {1, 12, 16, 12, 1, 4, 1}};
  model *m = calloc(1, sizeof *m);
  tinytl_arch *arch = &m->backbone.arch;
  arch->n_layers = N_LAYERS;
  arch->n_blocks = arch->n_lite = N_LITE;
  arch->blocks[0] = (tinytl_block){1, 3, 8, 12, 2};
  arch->blocks[1] = (tinytl_block){4, 6, 12, 12, 1};
  arch->n_features = 20;
  arch->n_classes = N_CLASSES;
  for (int i = 0; i < N_LAYERS; i++) {
    const tinytl_layer *l = &layers[i];
    arch->layers[i] = *l;
    m->backbone.weight[i].f32 =
        tensor(m, 2 * i, 0.5f, (size_t)l->out_c * l->kernel * l->kernel * (l->in_c / l->groups));
    m->backbone.bias[i] = tensor(m, 2 * i + 1, 0.5f, l->out_c);
  }
  for (int j = 0; j < N_LITE; j++) {
    const tinytl_lite *l = &lite[j];
    int t = 100 + 10 * j;
    arch->lite[j] = *l;
    m->backbone.lite[j] = (tinytl_lite_values){
        .conv = tensor(m, t, 0.5f, l->mid_c * l->kernel * l->kernel * (l->in_c / l->groups)),
        .scale1 = tensor(m, t + 1, 1, l->mid_c),
        .shift1 = tensor(m, t + 2, 0.5f, l->mid_c),
        .pointwise = tensor(m, t + 3, 0.5f, l->out_c * l->mid_c),
        .scale2 = tensor(m, t + 4, 1, l->out_c),
        .shift2 = tensor(m, t + 5, 0.5f, l->out_c),
    };
  }
  m->backbone.classifier.f32 = tensor(m, 200, 0.5f, N_CLASSES * arch->n_features);
  m->backbone.classifier_bias = tensor(m, 201, 0.5f, N_CLASSES);
  m->backbone.input = (tinytl_input){SIZE, SIZE, {0.5f, 0.5f, 0.5f}, {0.25f, 0.5f, 1}};
  for (int i = 0; i < SIZE * SIZE * 3; i++) m->rgb[i] = (uint8_t)((i * 37 + i / 7) % 256);
  return m;
}

static void check_golden(tinytl_pad pad, const double want[N_CLASSES], double want_loss) {
  model *m = model_make(pad);
  reference_net *net = reference_net_make(&m->backbone);
  double logits[N_CLASSES];
  reference_forward(net, m->rgb, SIZE, NULL, logits, NULL);
  for (int k = 0; k < N_CLASSES; k++) assert_true(fabs(logits[k] - want[k]) < 1e-8);
  double loss = reference_loss(net, m->rgb, SIZE, LABEL, 0.3, NULL);
  assert_true(fabs(loss - want_loss) < 1e-8);
  reference_net_free(net);
  free(m);
}

static void test_symmetric(void **state) {
  (void)state;
  const double want[N_CLASSES] = {-3.059658920, 0.773026088, 3.645190341, 0.835012342,
                                  -2.856063927};
  check_golden(TINYTL_PAD_SYMMETRIC, want, 1.246186347);
}

static void test_same(void **state) {
  (void)state;
  const double want[N_CLASSES] = {-3.109647692, 0.707197279, 3.677176616, 0.909588580,
                                  -2.867655509};
  check_golden(TINYTL_PAD_SAME, want, 1.254516800);
}

/* d loss / d classifier bias = p - t is known without a step. */
static void test_derivative(void **state) {
  (void)state;
  model *m = model_make(TINYTL_PAD_SAME);
  reference_net *net = reference_net_make(&m->backbone);
  double logits[N_CLASSES], sum = 0, slope;
  reference_forward(net, m->rgb, SIZE, NULL, logits, NULL);
  for (int k = 0; k < N_CLASSES; k++) sum += exp(logits[k]);
  double *direction = calloc(net->n_values, sizeof(double));
  const reference_segment *bias = reference_find(net, REFERENCE_CLASSIFIER_BIAS, 0);
  assert_int_equal(bias->n, N_CLASSES);
  direction[bias->first + LABEL] = 1;
  assert_true(reference_derivative(net, direction, 1e-6, m->rgb, SIZE, LABEL, 0, &slope));
  assert_true(fabs(slope - (exp(logits[LABEL]) / sum - 1)) < 1e-8);

  /* A large step along a bias crosses kinks and says so. */
  direction[bias->first + LABEL] = 0;
  direction[reference_find(net, REFERENCE_BIAS, 1)->first] = 1;
  assert_false(reference_derivative(net, direction, 1, m->rgb, SIZE, LABEL, 0, &slope));
  assert_null(reference_find(net, REFERENCE_LITE_CONV, N_LITE));
  free(direction);
  reference_net_free(net);
  free(m);
}

/* value = i8 * scale[out channel], in every layout of weights. */
static void test_int8(void **state) {
  (void)state;
  enum { N_DEPTHWISE = 5 * 5 * 24, N_DENSE = 24 * 8, N_CLASSIFIER = N_CLASSES * 20 };
  int8_t bytes[N_DEPTHWISE];
  float scale[24], depthwise[N_DEPTHWISE], dense[N_DENSE], classifier[N_CLASSIFIER];
  for (int i = 0; i < N_DEPTHWISE; i++) bytes[i] = (int8_t)(i * 71 % 255 - 127);
  for (int i = 0; i < 24; i++) scale[i] = 0.001f * (float)(i + 1);
  for (int i = 0; i < N_DEPTHWISE; i++) depthwise[i] = bytes[i] * scale[i % 24];
  for (int i = 0; i < N_DENSE; i++) dense[i] = bytes[i] * scale[i / 8];
  for (int i = 0; i < N_CLASSIFIER; i++) classifier[i] = bytes[i] * scale[i / 20];

  model *m = model_make(TINYTL_PAD_SAME);
  m->backbone.weight[1] = (tinytl_weight){.f32 = dense};
  m->backbone.weight[2] = (tinytl_weight){.f32 = depthwise};
  m->backbone.classifier = (tinytl_weight){.f32 = classifier};
  reference_net *wide = reference_net_make(&m->backbone);
  m->backbone.weight[1] = (tinytl_weight){.i8 = bytes, .scale = scale};
  m->backbone.weight[2] = m->backbone.classifier = m->backbone.weight[1];
  reference_net *narrow = reference_net_make(&m->backbone);
  double want[N_CLASSES], logits[N_CLASSES];
  reference_forward(wide, m->rgb, SIZE, NULL, want, NULL);
  reference_forward(narrow, m->rgb, SIZE, NULL, logits, NULL);
  for (int k = 0; k < N_CLASSES; k++) assert_true(fabs(logits[k] - want[k]) < 1e-5);
  reference_net_free(wide);
  reference_net_free(narrow);
  free(m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_symmetric),
      cmocka_unit_test(test_same),
      cmocka_unit_test(test_derivative),
      cmocka_unit_test(test_int8),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
