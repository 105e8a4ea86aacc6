/* tinytl: adapt a pre-trained image classifier to new pictures inside a small memory.
 *
 * Conventions
 *  - Every function that can fail returns a tinytl_status and takes a `tinytl_error *error`
 *    (may be NULL) which is filled on failure and untouched on success.
 *  - On failure an output pointer is left as it was; nothing has to be freed.
 *  - The library never prints, never exits and keeps no global state. Objects may be used from
 *    any thread, one thread at a time; a tinytl_backbone and a tinytl_adapter are read-only after
 *    they were made and may be shared by several threads. Several runs may train at once, each
 *    from a thread of its own; but a memory limit is one of the process, and a run knows of the
 *    others only what they hold when it is planned.
 *  - Pictures are 8-bit RGB, [height][width][3]; activations float32, [height][width][channel].
 */
#ifndef TINYTL_H
#define TINYTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TINYTL_VERSION "0.1.0"

/* ---- Status ------------------------------------------------------------------------------- */

/* The values are the exit codes of the command line. */
typedef enum tinytl_status {
  TINYTL_OK = 0,
  TINYTL_ERROR_INTERNAL = 1, /* out of memory, no thread, a write failed, or a bug */
  TINYTL_ERROR_USAGE = 2,    /* an option or argument is out of its range */
  TINYTL_ERROR_DATA = 3,  /* pictures or folders that cannot be used; a loss that is not finite */
  TINYTL_ERROR_MODEL = 4, /* a model file that is damaged or not supported */
  TINYTL_ERROR_MEMORY_LIMIT = 5, /* the work does not fit into the memory limit */
  TINYTL_INTERRUPTED = 6         /* stopped on request */
} tinytl_status;

/* Why a call failed: what was expected, what was found, and where. */
typedef struct tinytl_error {
  tinytl_status status;
  char message[512];
} tinytl_error;

/* Receives the bytes of a file that is being written, in order. Returns false to stop. */
typedef bool (*tinytl_write_fn)(void *context, const void *bytes, size_t nbytes);

/* A file that is read piece by piece. */
typedef struct tinytl_source {
  const char *name; /* in messages */
  uint64_t nbytes;
  void *context;
  /* Fills bytes [nbytes] from `offset` on, all inside the file. Returns false where it cannot. */
  bool (*read)(void *context, uint64_t offset, void *bytes, size_t nbytes);
} tinytl_source;

/* ---- Backbone ----------------------------------------------------------------------------- */

/* A frozen feature extractor, with a classifier of its own and lite residual modules where the
 * file carries them. */
typedef struct tinytl_backbone tinytl_backbone;

typedef enum tinytl_weights {
  TINYTL_WEIGHTS_INT8, /* symmetric, one scale per output channel (default) */
  TINYTL_WEIGHTS_F32
} tinytl_weights;

/* Opens a backbone file of this project. `bytes` [nbytes] is borrowed and must stay valid and
 * unchanged until the backbone is freed. `name` is used in messages. On success the caller owns
 * *backbone. Errors: TINYTL_ERROR_MODEL, TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_backbone_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_backbone **backbone, tinytl_error *error);

/* Reads a model of another format: TFLite (int8 or float32); a safetensors file that carries an
 * `architecture`; a safetensors file or a PyTorch checkpoint (zip) with the tensors of a
 * MobileNetV2, ProxylessNAS or once-for-all ProxylessNAS super-net (its largest sub-net) under
 * their public names, batch norms included. The format is told by content, and nothing of a
 * checkpoint is executed. Nothing of `bytes` is kept. Errors: TINYTL_ERROR_MODEL,
 * TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_backbone_import(const void *bytes, size_t nbytes, const char *name,
                                     tinytl_weights weights, tinytl_backbone **backbone,
                                     tinytl_error *error);

/* Makes a randomly initialised backbone (He fan-out normal) of a named architecture:
 * "mobilenet-v2-W" (W: width multiplier, 0.1 to 2.0, e.g. "mobilenet-v2-0.35"),
 * "proxyless-mobile", "mcunet-5fps". n_classes: 1 to 100,000. */
tinytl_status tinytl_backbone_init(const char *architecture, int n_classes, tinytl_weights weights,
                                   uint64_t seed, tinytl_backbone **backbone, tinytl_error *error);

/* Writes the backbone file. */
tinytl_status tinytl_backbone_write(const tinytl_backbone *backbone, tinytl_write_fn write,
                                    void *context, tinytl_error *error);

void tinytl_backbone_free(tinytl_backbone *backbone); /* NULL is allowed */

/* What a backbone holds. Strings belong to the backbone. */
typedef struct tinytl_backbone_info {
  const char *architecture;
  const char *source, *licence; /* "" where the file does not say */
  tinytl_weights weights;
  int image_size;       /* side of the square input, pixels */
  int n_layers;         /* convolutions */
  int n_blocks;         /* inverted residuals */
  int n_features;       /* length of the pooled feature vector */
  int n_classes;        /* of its own classifier; 0: has none */
  int n_lite;           /* pre-trained lite residual modules; 0: has none */
  size_t n_parameters;  /* weights and biases, classifier and lite modules included */
  size_t weight_nbytes; /* bytes they take at rest */
  uint64_t macs;        /* multiply-accumulates of one image at image_size */
  char sha256[65];      /* of its file, or of the file that tinytl_backbone_write makes;
                           lower-case hexadecimal */
} tinytl_backbone_info;

void tinytl_backbone_describe(const tinytl_backbone *backbone, tinytl_backbone_info *info);

/* Name of class `index` of the backbone's own classifier; NULL when out of range or unnamed. */
const char *tinytl_backbone_label(const tinytl_backbone *backbone, int index);

/* ---- Super-net ---------------------------------------------------------------------------- */

/* The weights of many sub-nets at once, and a classifier. A sub-net of it is a backbone. */
typedef struct tinytl_supernet tinytl_supernet;

/* Opens a super-net file; its content is copied. On success the caller owns *supernet. Errors:
 * TINYTL_ERROR_MODEL, TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_supernet_open(const void *bytes, size_t nbytes, const char *name,
                                   tinytl_supernet **supernet, tinytl_error *error);
/* In memory its values are float32. In a file with INT8 those of convolutions and classifier, not
 * of lite modules, are rounded as a backbone's are: a quarter of the size. */
tinytl_status tinytl_supernet_write(const tinytl_supernet *supernet, tinytl_weights weights,
                                    tinytl_write_fn write, void *context, tinytl_error *error);
void tinytl_supernet_free(tinytl_supernet *supernet); /* NULL is allowed */

typedef struct tinytl_supernet_info {
  const char *name;                     /* "supernet-W"; belongs to the super-net */
  int image_size;                       /* that it was trained at */
  int n_classes;                        /* of its classifier */
  size_t n_parameters;                  /* of all sub-nets together */
  double n_subnets;                     /* that there are to choose from */
  uint64_t largest_macs, smallest_macs; /* multiply-accumulates of one image at image_size */
  bool has_lite;                        /* lite residual modules, which the sub-nets share */
  int total_stride;                     /* 16 or 32: of the picture's side to the last map's */
} tinytl_supernet_info;

void tinytl_supernet_describe(const tinytl_supernet *supernet, tinytl_supernet_info *info);
const char *tinytl_supernet_label(const tinytl_supernet *supernet, int index); /* NULL: none */

/* ---- Adapter ------------------------------------------------------------------------------ */

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
const char *tinytl_method_name(tinytl_method method);
bool tinytl_method_parse(const char *name, tinytl_method *method);

/* What training made, for one backbone: classifier, biases, lite modules, gains, weights, class
 * names. */
typedef struct tinytl_adapter tinytl_adapter;

/* Opens an adapter file; its content is copied. Refuses (TINYTL_ERROR_MODEL) an adapter that
 * belongs to another backbone. backbone may be NULL: then it can only be described. The backbone
 * must outlive the adapter. */
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

/* ---- Pictures ----------------------------------------------------------------------------- */

/* How a picture becomes the network's input. */
typedef struct tinytl_view {
  int size;             /* output is [size][size][3], 1 to 4096 */
  int resize;           /* without augmentation: short side before the centre crop, >= size */
  bool augment;         /* random resized crop, and: */
  float min_scale;      /* smallest share of the area that a crop covers, (0, 1]; default 0.25 */
  bool mirror;          /* half of the samples mirrored */
  float colour_jitter;  /* strength of brightness, contrast, saturation jitter, 0 (off) to 1 */
  uint64_t seed, epoch; /* with the picture's index, all that the random choices depend on */
  size_t max_nbytes;    /* most heap memory that decoding one picture may take; a picture that needs
                           more is refused (TINYTL_ERROR_DATA). 0: 256 MB */
} tinytl_view;

/* A set of labelled pictures. `load` is called from loader threads, which have 256 KB of stack, for
 * several pictures at once. */
typedef struct tinytl_images {
  int n_images;
  int n_classes;
  const char *const *class_names; /* [n_classes] */
  const int *labels;              /* [n_images], 0 to n_classes - 1 */
  void *context;
  /* Fills rgb [size][size][3] with picture `index`. A picture that fails is left out by the
   * caller when the status is TINYTL_ERROR_DATA; other errors stop the run. */
  tinytl_status (*load)(void *context, int index, const tinytl_view *view, uint8_t *rgb,
                        tinytl_error *error);
  /* What picture `index` is called in messages, e.g. its path. NULL: its number is told. */
  const char *(*name)(void *context, int index);
  /* The most heap memory that one call of `load` takes for this view, whatever the picture, random
   * choices and view->max_nbytes (pictures that need more are refused) included. NULL: none. */
  size_t (*load_nbytes)(void *context, const tinytl_view *view);
} tinytl_images;

/* Pictures in class folders: DIR/class/FILE or DIR/{train,val,test}/class/FILE, with FILE ending
 * in .jpg, .jpeg or .png (any case). Classes are sorted by name (bytes), and so are the pictures of
 * a class. Other files, hidden ones and what lies deeper are passed over. */
typedef struct tinytl_folder tinytl_folder;

typedef enum tinytl_part { TINYTL_PART_TRAIN, TINYTL_PART_VAL, TINYTL_PART_TEST } tinytl_part;

/* Called for each picture that is left out, with the reason. May be NULL. */
typedef void (*tinytl_skip_fn)(void *context, const char *path, const char *reason);

/* Opens the pictures of one part. In a folder without train, val and test sub-folders every part
 * is the folder itself; else each is its own sub-folder, and TINYTL_PART_TEST is val where test is
 * missing. Every picture's header is read; what cannot be a picture is reported to `skip` and left
 * out. Errors (TINYTL_ERROR_DATA): no such folder or part, fewer than two classes (one is enough
 * for TINYTL_PART_TEST), a class left without pictures. `*folder` is the caller's. */
tinytl_status tinytl_folder_open(const char *dir, tinytl_part part, tinytl_skip_fn skip,
                                 void *skip_context, tinytl_folder **folder, tinytl_error *error);
/* True where DIR has a sub-folder for this part: one that holds folders, so that a class may be
 * called "train". */
bool tinytl_folder_has_part(const char *dir, tinytl_part part);
/* View of the folder; valid until it is freed. */
const tinytl_images *tinytl_folder_images(const tinytl_folder *folder);
/* Of picture `index`, NULL out of range; valid until the folder is asked for another one. */
const char *tinytl_folder_path(const tinytl_folder *folder, int index);
int tinytl_folder_n_skipped(const tinytl_folder *folder);
/* Bytes of heap memory that the listing takes until the folder is freed. */
size_t tinytl_folder_nbytes(const tinytl_folder *folder);
/* Called for two pictures, by index, of different classes whose files hold the same bytes. */
typedef void (*tinytl_twins_fn)(void *context, int first, int second);
/* Looks for the same picture in two classes: which one is it? Of a file its size and its last 4 KB
 * are read, the whole of it where these agree with another one's; files that cannot be read are
 * passed over. A picture that is there more than twice is told of with the first of them. Takes 16
 * bytes a picture while it runs. Error: INTERNAL (out of memory). */
tinytl_status tinytl_folder_find_twins(const tinytl_folder *folder, tinytl_twins_fn told,
                                       void *context, tinytl_error *error);
/* Moves about a share (0 to 0.9) of every class's pictures, chosen by seed, into a new folder *val.
 * Pictures whose names differ in their last number alone are a series (film_0007.jpg,
 * film_0008.jpg) and stay together; of a series that is more than a third of its class, a run of
 * neighbours moves. With a share above 0 a class has at least one picture on either side where it
 * has two; the only picture of a class stays. */
tinytl_status tinytl_folder_split(tinytl_folder *folder, float share, uint64_t seed,
                                  tinytl_folder **val, tinytl_error *error);
void tinytl_folder_free(tinytl_folder *folder); /* NULL is allowed */

/* Decodes one picture file (JPEG or PNG, told by content) into rgb [size][size][3]. `index` stands
 * in for the picture's number in the random choices of `view`. */
tinytl_status tinytl_picture_load(const char *path, int index, const tinytl_view *view,
                                  uint8_t *rgb, tinytl_error *error);

/* ---- Training ----------------------------------------------------------------------------- */

typedef enum tinytl_optimizer {
  TINYTL_OPTIMIZER_ADAM,  /* 8 bytes of state a trained value */
  TINYTL_OPTIMIZER_SGD,   /* with momentum 0.9: 4 bytes */
  TINYTL_OPTIMIZER_ADAM8, /* Adam with its moments in 8 bits: 2 bytes */
  TINYTL_OPTIMIZER_AUTO   /* of a training run: Adam, with 8 bits where the memory limit asks */
} tinytl_optimizer;

typedef struct tinytl_epoch {
  tinytl_method method;     /* that is being trained */
  int epoch, n_epochs;      /* epoch counts from 1; 0: features are being computed, once for all */
  int image, n_images;      /* images of this epoch done, and in all */
  bool finished;            /* false: progress inside an epoch (at most ten a second) */
  float loss;               /* mean over the epoch so far */
  float val_top1;           /* 0 to 1; NAN: no validation or epoch not finished */
  double images_per_second; /* training pictures through the network, over this method so far */
  double seconds_left;      /* estimate for this method */
} tinytl_epoch;

/* Called from the training thread. */
typedef void (*tinytl_progress_fn)(void *context, const tinytl_epoch *epoch);

/* What a run takes, in bytes, beyond what the process held before it: all of it is known before
 * anything runs (docs/memory.md). */
typedef struct tinytl_plan {
  tinytl_method method; /* not TINYTL_METHOD_AUTO */
  tinytl_optimizer optimizer;
  int batch, image_size;
  /* What a limit asked for. None of the three changes what is learned; adam8 does, a little. */
  bool
      defers_gradients; /* those of large weights are made at the update, from a batch of factors */
  bool recomputes;      /* lite modules run forward twice instead of keeping their maps */
  bool spills;          /* feature cache and best values are in a file */

  size_t total_bytes;     /* the sum of those that follow */
  size_t frozen_bytes;    /* weights that are not trained */
  size_t trained_bytes;   /* values that are, and those that belong to them */
  size_t gradient_bytes;  /* and factors of deferred ones */
  size_t optimizer_bytes; /* moments */
  size_t kept_bytes;      /* best values, feature cache, order of the pictures */
  size_t picture_bytes;   /* decoding, and pictures decoded ahead */
  size_t saved_bytes;     /* at the peak step: kept from forward to backward */
  size_t map_bytes;       /* at the peak step: activations and their gradients */
  size_t scratch_bytes;   /* at the peak step: packed weights, strips, and gaps of the layout */
  size_t other_bytes;     /* stacks, tables, heap */
  char peak_step[64]; /* at which most of the three is alive, e.g. "layer 7 in block 2, forward" */

  size_t base_bytes;     /* what the process held at the call; not part of the total */
  size_t smallest_bytes; /* smallest memory_limit that would do for this method */
  uint64_t paper_bytes;  /* by the paper's own model (TinyTL, section 4.1); 0 where it has none */
  uint64_t macs;         /* multiply-accumulates of one image, forward */
  uint64_t step_macs;    /* of one image's training step: forward, and what backward asks for */
} tinytl_plan;

typedef enum tinytl_switch {
  TINYTL_SWITCH_AUTO,
  TINYTL_SWITCH_OFF,
  TINYTL_SWITCH_ON
} tinytl_switch;

/* What became of one method of TINYTL_METHOD_AUTO. */
typedef struct tinytl_auto_step {
  tinytl_method method;
  bool tried;        /* false: it does not fit in the memory limit, or the backbone has no place for
                        lite modules */
  bool kept;         /* it is the best so far; what is kept last is the adapter */
  float val_top1;    /* 0 to 1; NAN: not tried */
  float gain, noise; /* over the best before: mean probability of the right class, picture by
                        picture, -1 to 1, and its standard error; NAN: there was none before */
  const char *reason; /* why it was kept, left or not tried */
} tinytl_auto_step;

/* Under TINYTL_METHOD_AUTO: whether methods from now on train on mirrored pictures. */
typedef struct tinytl_mirroring {
  bool mirrors;
  float gain,
      noise; /* of mirrored validation pictures over unmirrored ones, as in tinytl_auto_step */
} tinytl_mirroring;

/* A run's state between two updates. A run that goes on from it ends with the same bytes of adapter
 * as one that was never ended. */
typedef struct tinytl_checkpoint tinytl_checkpoint;

/* Writes the checkpoint file, from where the run has its values: no memory is taken for a copy.
 * Error: TINYTL_ERROR_INTERNAL. */
tinytl_status tinytl_checkpoint_write(const tinytl_checkpoint *checkpoint, tinytl_write_fn write,
                                      void *context, tinytl_error *error);

/* Where a run goes on. */
typedef struct tinytl_resumed {
  tinytl_method method;
  int epoch, n_epochs; /* epoch n_epochs + 1: all is done but the adapter */
  int image, n_images; /* images of this epoch done, and in all */
  const char *version; /* of the library that saved it, and */
  const char *kernels; /* its kernel set: with others the last bits may differ */
} tinytl_resumed;

typedef struct tinytl_train_options {
  tinytl_method method;       /* default TINYTL_METHOD_AUTO */
  tinytl_optimizer optimizer; /* default TINYTL_OPTIMIZER_AUTO */
  int epochs;                 /* 1 to 10,000; 0: by the rule of docs/training.md (default) */
  int batch;                  /* 1 to 4096; default 8 */
  int image_size;             /* 32 to 1024; 0: the backbone's (default) */
  int n_threads;              /* 1 to 64; 0: one a core (default) */
  float lr;                   /* > 0; 0: by rule (default) */
  float label_smoothing;      /* 0 to < 1; negative: 0 for TINYTL_METHOD_LAST, else 0.1 (default) */
  float dropout;              /* 0 to < 1; default 0.2 */
  int patience;               /* epochs without a better validation accuracy before stopping;
                                 0: never; default 0 */
  tinytl_switch augment;      /* random resized crops and mirroring; default AUTO: on, but off
                                 for TINYTL_METHOD_LAST, which then computes every picture's
                                 features once */
  tinytl_switch mirror;       /* part of augment; default AUTO: on, but under TINYTL_METHOD_AUTO off
                                 for BIAS, after which validation decides for what follows */
  float colour_jitter;        /* 0 to 1; default 0 */
  uint64_t seed;              /* default 0 */
  size_t memory_limit;        /* bytes that the process may hold at its peak (resident set): what it
                                 holds at the call, the plan's total, and 0.2 MB that stay free;
                                 0: none (default) */
  const char *spill_dir;      /* folder where a limit may put the feature cache and the best
                                 values, into a file without a name; NULL: nowhere (default) */
  const volatile int *stop;   /* training ends with TINYTL_INTERRUPTED once *stop is not 0;
                                 NULL: never */
  tinytl_progress_fn progress; /* NULL: none */
  tinytl_skip_fn skip;         /* told of pictures that could not be read; NULL: nobody */
  void (*planned)(void *context, const tinytl_plan *plan); /* told before the run, under AUTO before
                                                              each method; NULL: nobody */
  void (*stepped)(void *context, const tinytl_auto_step *step);       /* under AUTO; NULL: nobody */
  void (*mirrored)(void *context, const tinytl_mirroring *mirroring); /* NULL: nobody */
  /* Called from the training thread to have the checkpoint written: every save_seconds, or more
   * seldom where that takes more than a hundredth of the time; when the run is stopped; and before
   * the adapter is made. A save that fails is for the callee to tell. NULL: nothing is saved. */
  void (*save)(void *context, const tinytl_checkpoint *checkpoint);
  float save_seconds;          /* 0: after every update; default 30 */
  const tinytl_source *resume; /* checkpoint to go on from; NULL: from the beginning (default). Its
                                  method and optimizer stand in for AUTO. Threads, memory limit and
                                  what it asks for may differ; all else must be the same */
  void (*resumed)(void *context, const tinytl_resumed *resumed); /* told before; NULL: nobody */
  void *context;                                                 /* of all the functions above */
  bool profile; /* fill the report's profile, which takes well under 1 % of the time; default
                   false */
} tinytl_train_options;

void tinytl_train_options_init(tinytl_train_options *options);

/* Plans a run over so many pictures without running it; n_val_images 0: no validation. Under AUTO
 * the plan is that of the largest method that may be tried. Errors:
 * USAGE, MODEL; MEMORY_LIMIT where options->memory_limit cannot be met: then *plan is that of the
 * smallest choice, and the message names the smallest limit. */
tinytl_status tinytl_plan_make(const tinytl_backbone *backbone, int n_classes, int n_train_images,
                               int n_val_images, const tinytl_train_options *options,
                               tinytl_plan *plan, tinytl_error *error);

/* Rows of the paper's tables: the methods, with the same values. */
typedef enum tinytl_paper_method {
  TINYTL_PAPER_LAST,
  TINYTL_PAPER_BIAS,
  TINYTL_PAPER_LITE,
  TINYTL_PAPER_LITE_BIAS,
  TINYTL_PAPER_NORM, /* classifier, scale and shift of every norm */
  TINYTL_PAPER_FULL  /* everything */
} tinytl_paper_method;

/* *nbytes: the memory of training by the paper's own model (TinyTL, section 4.1), which counts
 * parameters and, for a whole batch, activations; neither gradients nor optimizer state nor the
 * process. image_size 0: the backbone's. as_in_tables: with lite modules under every method, as in
 * the paper's tables; else under those that train them, and where the backbone has its own.
 * Errors: USAGE, MODEL. */
tinytl_status tinytl_paper_bytes(const tinytl_backbone *backbone, tinytl_paper_method method,
                                 int n_classes, int image_size, int batch, bool as_in_tables,
                                 uint64_t *nbytes, tinytl_error *error);

/* What the training thread does. A convolution's time includes unpacking its weights and, forward,
 * its bias and activation. */
typedef enum tinytl_work {
  TINYTL_WORK_WAIT,        /* for pictures that are not decoded yet */
  TINYTL_WORK_DENSE,       /* the network's first convolution */
  TINYTL_WORK_POINTWISE,   /* 1x1 convolutions */
  TINYTL_WORK_DEPTHWISE,   /* depthwise convolutions */
  TINYTL_WORK_WEIGHT,      /* gradients of these weights, or of their gains */
  TINYTL_WORK_BLOCK,       /* inverted residuals that run row by row, all three layers */
  TINYTL_WORK_LITE_CONV,   /* lite modules: convolutions */
  TINYTL_WORK_LITE_WEIGHT, /* gradients of their weights */
  TINYTL_WORK_LITE_NORM,   /* group norms, scale and shift, ReLU */
  TINYTL_WORK_LITE_RESIZE, /* pooling, upsampling */
  TINYTL_WORK_EPILOGUE,    /* backward: masks, sums of bias gradients, shortcuts */
  TINYTL_WORK_HEAD,        /* global pool, classifier, loss */
  TINYTL_WORK_UPDATE,      /* optimizer, and gradients deferred to it */
  TINYTL_WORK_OTHER,
  TINYTL_N_WORKS
} tinytl_work;
const char *tinytl_work_name(tinytl_work work); /* for people; NULL: out of range */

typedef enum tinytl_direction {
  TINYTL_FORWARD,
  TINYTL_BACKWARD,
  TINYTL_N_DIRECTIONS
} tinytl_direction;

/* Where the time of a run went, on the clock of the training thread, from the first picture on;
 * validation counts as forward work. What has no direction stands under TINYTL_FORWARD. */
typedef struct tinytl_profile {
  double seconds[TINYTL_N_WORKS][TINYTL_N_DIRECTIONS];
  uint64_t macs[TINYTL_N_WORKS][TINYTL_N_DIRECTIONS]; /* multiply-accumulates done in them */
  uint64_t n_forks;    /* times that work was shared with the other threads */
  double join_seconds; /* of all seconds: done, and waiting for the other threads */
} tinytl_profile;

typedef struct tinytl_train_report {
  int epochs;                   /* done */
  int best_epoch;               /* whose parameters the adapter holds; counts from 1 */
  int train_images, val_images; /* that could be read */
  int skipped_images;           /* of either that could not */
  float val_top1;               /* of the kept epoch, 0 to 1; NAN: no validation */
  tinytl_method method;         /* of the adapter; under AUTO all of the above are of this method */
  bool mirrors;                 /* whether it trained on mirrored pictures */
  tinytl_plan plan;             /* what was chosen, and what it takes; under AUTO of the largest
                                   method that was tried */
  double seconds;
  double setup_seconds;     /* of these, before the first picture: planning, memory, threads */
  double images_per_second; /* training pictures through the network, over the whole run */
  tinytl_profile profile;   /* with options->profile; else zeros */
} tinytl_train_report;

/* Adapts the backbone to `train`. `val` chooses the epoch: the latest one that is not worse than
 * the best by more than one standard error of its accuracy; and it sets the adapter's temperature
 * and reject_below. NULL: the last epoch is kept, with temperature 1. Rare classes weigh as much as
 * common ones (docs/training.md).
 *
 * TINYTL_METHOD_AUTO trains TINYTL_METHOD_LAST, then BIAS, then LITE_BIAS from the biases of BIAS,
 * and goes on while a method gives more probability to the right classes of `val` than the best
 * before it, by more than the standard error of that, picture by picture. A method that does not
 * fit in the memory limit beside what is kept of the best, or that the backbone has no place for,
 * is not tried. The options hold for every method. Without `val` the largest method that fits is
 * trained.
 *
 * On success the caller owns *adapter; report may be NULL. Same seed, same bytes of adapter,
 * whatever the number of threads.
 * Errors: USAGE (options), DATA (a class without a readable picture, loss not finite), MODEL (lite
 * methods on a backbone without inverted residuals; a checkpoint that is damaged, or of another
 * backbone or other pictures: one of other options is USAGE), MEMORY_LIMIT, INTERRUPTED. */
tinytl_status tinytl_train(const tinytl_backbone *backbone, const tinytl_images *train,
                           const tinytl_images *val, const tinytl_train_options *options,
                           tinytl_adapter **adapter, tinytl_train_report *report,
                           tinytl_error *error);

/* ---- Pre-training ------------------------------------------------------------------------- */

/* A pre-training run's state between two updates; as tinytl_checkpoint. */
typedef struct tinytl_pretrain_state tinytl_pretrain_state;
tinytl_status tinytl_pretrain_state_write(const tinytl_pretrain_state *state, tinytl_write_fn write,
                                          void *context, tinytl_error *error);

/* Ranks that pre-train together: processes on one machine or several, or threads, of which each
 * calls tinytl_pretrain with the same options and pictures. The functions are called from the
 * training thread, by all ranks in the same order, and return when all have called; false: a rank
 * is gone, and the run ends with INTERNAL. Sums must have the same bits on all ranks. */
typedef struct tinytl_rank_group {
  int rank, n_ranks;                                          /* 0 to n_ranks - 1; 1 or more */
  void *context;                                              /* of the functions */
  bool (*sum_floats)(void *context, float *values, size_t n); /* become their sums over ranks */
  bool (*sum_doubles)(void *context, double *values, size_t n);
  bool (*broadcast)(void *context, int from, void *bytes, size_t nbytes); /* become rank from's */
} tinytl_rank_group;

/* Every rank calls it with the status of something that may have failed on it alone, and the error
 * where it did. All return the same: OK where nobody failed, else the status and error of the first
 * rank that did. group NULL: status, and nothing happens. */
tinytl_status tinytl_rank_group_agree(const tinytl_rank_group *group, tinytl_status status,
                                      tinytl_error *error);

typedef struct tinytl_pretrain_options {
  int epochs;     /* 1 to 10,000; default 60 */
  int batch;      /* 2 to 4096; default 64; memory grows with it */
  int image_size; /* 32 to 1024; 0: the architecture's (default) */
  /* Sizes of which one is drawn for the pictures of every update, image_size among them; one that
   * is named twice comes twice as often. n 0: image_size alone (default) */
  int image_sizes[8], n_image_sizes;
  int n_threads;                  /* 1 to 64; 0: one a core (default) */
  float lr;                       /* up to 10; 0: 0.1 at batch 64, in proportion to it (default) */
  float label_smoothing;          /* 0 to < 1; default 0.1 */
  bool mirror;                    /* half of the samples mirrored; default true */
  bool lite;                      /* lite residual modules, trained with all else; default false */
  const tinytl_backbone *teacher; /* whose probabilities count as much as the labels: its classifier
                                     has the pictures' classes, by name or, without names, in their
                                     order; it sees pictures as large as the pupil does. NULL: none
                                     (default) */
  tinytl_weights weights;         /* of the backbone; default TINYTL_WEIGHTS_INT8 */
  uint64_t seed;                  /* default 0 */
  size_t memory_limit;            /* as of tinytl_train_options; 0: none (default) */
  const volatile int *stop;       /* as there; NULL: never */
  tinytl_progress_fn progress;    /* NULL: none */
  tinytl_skip_fn skip;            /* told of pictures that could not be read; NULL: nobody */
  /* Told before the run what it takes, and what the process held at the call. NULL: nobody */
  void (*planned)(void *context, size_t total_bytes, size_t base_bytes);
  /* Called from the training thread to have the state written, as save of tinytl_train_options. */
  void (*save)(void *context, const tinytl_pretrain_state *state);
  float save_seconds;          /* 0: after every update; default 30 */
  const tinytl_source *resume; /* state to go on from; NULL: from the beginning (default). Threads,
                                  weights and memory limit may differ; all else must be the same */
  void (*resumed)(void *context, const tinytl_epoch *at); /* told where; NULL: nobody */
  void *context;                                          /* of the six callbacks */
  /* NULL: this process alone (default). Else each batch is split over the ranks, at most as many as
   * it has pictures; the result is one rank's up to rounding. resume counts on rank 0 alone, which
   * may have had any number of ranks. A stop or failure on one rank ends all at the same update,
   * with the same error. skip is told of a picture on the rank that loaded it. */
  const tinytl_rank_group *group;
} tinytl_pretrain_options;

void tinytl_pretrain_options_init(tinytl_pretrain_options *options);

typedef struct tinytl_pretrain_report {
  int train_images, val_images; /* that could be read */
  int skipped_images;           /* of either that could not */
  float val_top1;      /* 0 to 1; NAN: no validation. Of a super-net's largest sub-net, and */
  float smallest_top1; /* of its smallest; else NAN */
  size_t planned_bytes, base_bytes; /* what the run takes; what the process held before */
  double seconds;
  double images_per_second; /* training pictures through the network, over the whole run */
} tinytl_pretrain_report;

/* Trains a backbone of a named architecture (tinytl_backbone_init) from random weights, with a
 * classifier of the pictures' classes: every weight, by batches, with batch norms that are folded
 * into the backbone at the end. `val` (NULL: none) is for the report alone. On success the caller
 * owns *backbone; report may be NULL. Of a group rank 0 alone gets it, the others NULL. Same seed,
 * same bytes of backbone, whatever the number of threads. Errors: USAGE (options), DATA (too few
 * pictures, loss not finite), MODEL (a teacher of other classes; a state that is damaged or of
 * other pictures: one of other options is USAGE), MEMORY_LIMIT, INTERRUPTED. */
tinytl_status tinytl_pretrain(const char *architecture, const tinytl_images *train,
                              const tinytl_images *val, const tinytl_pretrain_options *options,
                              tinytl_backbone **backbone, tinytl_pretrain_report *report,
                              tinytl_error *error);

/* The same for a super-net, "supernet-W" (W: width multiplier, 0.1 to 2.0): the largest sub-net
 * first, then with it as a teacher ever smaller ones, docs/supernet.md; options->weights does not
 * count: tinytl_supernet_write has its own. */
tinytl_status tinytl_pretrain_supernet(const char *name, const tinytl_images *train,
                                       const tinytl_images *val,
                                       const tinytl_pretrain_options *options,
                                       tinytl_supernet **supernet, tinytl_pretrain_report *report,
                                       tinytl_error *error);

/* ---- Search ------------------------------------------------------------------------------- */

/* A sub-net that was measured. Stages and blocks are those of docs/supernet.md; blocks beyond the
 * depth are 0. */
typedef struct tinytl_candidate {
  int depth[7], kernel[7][4], expand[7][4];
  int lite_kernel[7][4], lite_groups[7][4]; /* 0: no lite module */
  uint64_t macs;                            /* multiply-accumulates of one image, forward */
  size_t planned_bytes, base_bytes;         /* of training it, as tinytl_plan's total and base */
  float top1;                               /* on held-out pictures, 0 to 1 */
  float predicted; /* what the predictor says of it, FULL; NAN: nothing, or not yet */
  bool on_front;   /* no other one beats it in accuracy with as little memory */
} tinytl_candidate;

typedef enum tinytl_search_mode {
  TINYTL_SEARCH_QUICK, /* nothing is trained: class means of features */
  TINYTL_SEARCH_FULL   /* the super-net is adapted to the pictures first; a predictor of accuracy */
} tinytl_search_mode;

/* Where a search is, to be written while the callback that gets it runs. */
typedef struct tinytl_search_state tinytl_search_state;
tinytl_status tinytl_search_state_write(const tinytl_search_state *state, tinytl_write_fn write,
                                        void *context, tinytl_error *error);

typedef struct tinytl_search_options {
  tinytl_search_mode mode; /* default QUICK */
  /* What candidates are priced for; memory_limit, image_size (0: the super-net's), n_threads, seed,
   * stop, skip, save_seconds and context are the search's own too, and in mode FULL epochs (0: as
   * many as training by method bias has), augment, mirror, colour_jitter, label_smoothing and
   * dropout, for adapting. Its method is lite+bias at first, and must not be auto. */
  tinytl_train_options train;
  uint64_t max_macs;   /* of one image, forward; 0: any (default) */
  size_t search_limit; /* of the search itself, where it runs on another machine than training will;
                          0: train.memory_limit (default) */
  int candidates;      /* to be measured, 16 to 1000; 0: 64, FULL 300 (default) */
  /* Told of each one as it was measured (on_front is not set), and at the end of all, best first.
   * NULL: nobody */
  void (*progress)(void *context, int n, int n_candidates, const tinytl_candidate *candidate);
  void (*measured)(void *context, const tinytl_candidate *candidate);
  /* FULL: adapting goes on. NULL: nobody */
  void (*adapting)(void *context, const tinytl_epoch *epoch);
  /* Handed the state every train.save_seconds, and where the search is interrupted. NULL: nobody */
  void (*save)(void *context, const tinytl_search_state *state);
  const tinytl_source *resume; /* state to go on from; NULL: from the beginning (default). All that
                                  changes the result must be the same: threads too under a limit */
  /* Told where; epoch: of adapting, n_epochs + 1 where that is done. NULL: nobody */
  void (*resumed)(void *context, int epoch, int n_measured);
} tinytl_search_options;

void tinytl_search_options_init(tinytl_search_options *options);

typedef struct tinytl_search_report {
  tinytl_candidate chosen;
  int candidates; /* measured; fewer than asked for where there are no more */
  float tau;      /* FULL: Kendall's, of predicted and measured accuracies of a fifth of them that a
                     predictor had not seen; else NAN */
  size_t planned_bytes, search_base_bytes; /* what the search takes; what the process held before */
  double seconds;
} tinytl_search_report;

/* Chooses the sub-net for these pictures that has the best accuracy on `val`, held-out ones of the
 * same classes, within options->train.memory_limit and max_macs; how, stands in docs/supernet.md.
 * *backbone, which is the caller's, has int8 weights; its classifier is the super-net's or, in mode
 * FULL, one of the pictures' classes, and its biases are adapted to them. Same seed, same bytes,
 * whatever the number of threads; under a memory limit their stacks count, so it must be the same.
 * Errors: USAGE (options; a state of others), DATA, MODEL (a state
 * that is damaged, or of another super-net or other pictures), MEMORY_LIMIT (no sub-net meets the
 * limits: the message says what the smallest takes; or the search does not), INTERRUPTED. */
tinytl_status tinytl_search(const tinytl_supernet *supernet, const tinytl_images *train,
                            const tinytl_images *val, const tinytl_search_options *options,
                            tinytl_backbone **backbone, tinytl_search_report *report,
                            tinytl_error *error);

/* ---- Inference ---------------------------------------------------------------------------- */

typedef struct tinytl_predictor tinytl_predictor;

/* adapter NULL: the backbone's own classifier. image_size 0: the adapter's or backbone's. The
 * backbone and the adapter must outlive the predictor. n_threads 0: one a core. */
tinytl_status tinytl_predictor_create(const tinytl_backbone *backbone,
                                      const tinytl_adapter *adapter, int image_size, int n_threads,
                                      tinytl_predictor **predictor, tinytl_error *error);
int tinytl_predictor_n_classes(const tinytl_predictor *predictor);
/* Geometry of the pictures it wants (no augmentation). */
tinytl_view tinytl_predictor_view(const tinytl_predictor *predictor);
/* rgb [size][size][3] -> probabilities [n_classes], which sum to 1: the softmax of the logits
 * divided by the adapter's temperature. */
tinytl_status tinytl_predictor_run(tinytl_predictor *predictor, const uint8_t *rgb,
                                   float *probabilities, tinytl_error *error);
/* Of the picture that was run last without an error: its largest logit. Pictures of the classes
 * tend to score higher than those of other things, which may still have a probability near 1. */
float tinytl_predictor_score(const tinytl_predictor *predictor);
size_t tinytl_predictor_nbytes(const tinytl_predictor *predictor); /* arena */
uint64_t tinytl_predictor_macs(const tinytl_predictor *predictor); /* of one picture */
void tinytl_predictor_free(tinytl_predictor *predictor);           /* NULL is allowed */

/* ---- Machine ------------------------------------------------------------------------------ */

/* The kernel set that this machine runs: "portable", "avx2", "avx512" or "neon". The environment
 * variable TINYTL_KERNELS chooses a lesser one. */
const char *tinytl_kernels_name(void);

/* Measures, for some 30 ms, the most floating-point operations a second that n_threads (1 to 64; 0:
 * one a core) threads do with this kernel set's vectors: multiply-adds on registers alone, two
 * operations each. Other work on the machine lowers it. 0: the threads could not be started. */
double tinytl_peak_flops(int n_threads);

#ifdef __cplusplus
}
#endif

#endif
