/* What training makes of a backbone. */
#ifndef TINYTL_ADAPTER_H
#define TINYTL_ADAPTER_H

#include "backbone.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tinytl_method {
  TINYTL_METHOD_LAST,      /* the classifier */
  TINYTL_METHOD_BIAS,      /* and every convolution's bias */
  TINYTL_METHOD_LITE,      /* classifier and lite residual modules */
  TINYTL_METHOD_LITE_BIAS, /* all three */
  TINYTL_METHOD_NORM, /* classifier, and a gain and a bias for every channel of every convolution */
  TINYTL_METHOD_FULL, /* everything: classifier, all convolutions' weights and biases */
  TINYTL_METHOD_AUTO  /* of a training run, not of an adapter: last, then bias, then lite+bias while
                         that pays; see tinytl_train */
} tinytl_method;

/* "last", "bias", "lite", "lite+bias", "norm", "full", "auto"; the reverse returns false for an
 * unknown name. */
const char *tinytl_method_name(tinytl_method method); /* NULL: no method */
bool tinytl_method_parse(const char *name, tinytl_method *method);

/* What training made, for one backbone: classifier, biases, lite modules, gains, weights, class
 * names. */
typedef struct tinytl_adapter tinytl_adapter;

/* Opens an adapter file, called `name` in messages; its content is copied. Refuses
 * (TINYTL_ERROR_MODEL) an adapter that belongs to another backbone. backbone may be NULL: then it
 * can only be described. The backbone must outlive the adapter. */
tinytl_status tinytl_adapter_open(const void *bytes, size_t nbytes, const char *name,
                                  const tinytl_backbone *backbone, tinytl_adapter **adapter,
                                  tinytl_error *error);
tinytl_status tinytl_adapter_write(const tinytl_adapter *adapter, tinytl_write_fn write,
                                   void *context, tinytl_error *error);
void tinytl_adapter_free(tinytl_adapter *adapter); /* NULL is allowed */

typedef struct tinytl_adapter_info {
  tinytl_method method;
  int image_size;
  int n_classes;
  int n_lite;
  size_t n_parameters;
  float val_top1; /* on the validation split, of the epoch that was kept, 0 to 1; NAN: none */
  /* Fitted on the validation split, docs/training.md: */
  float temperature;  /* that logits are divided by before the softmax, > 0; 1: none was fitted */
  float reject_below; /* an answer with a lower score (tinytl_predictor_score) may be called
                         unknown: 95 % of the right answers scored no lower; NAN: none */
  char backbone_sha256[65]; /* of the backbone it belongs to */
} tinytl_adapter_info;

void tinytl_adapter_describe(const tinytl_adapter *adapter, tinytl_adapter_info *info);
const char *tinytl_adapter_class(const tinytl_adapter *adapter, int index); /* NULL: out of range */

#ifdef __cplusplus
}
#endif

#endif
