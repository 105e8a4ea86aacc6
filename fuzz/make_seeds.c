/* make_seeds FOLDER: fills FOLDER/KIND with the inputs that fuzzing begins from, all of them made
 * here: tiny models, runs and pictures. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/arch_json.h"
#include "format/safetensors.h"
#include "supernet_run.h"
#include "support/pictures.h"
#include "support/saved_run.h"
#include "support/tflite_maker.h"
#include "support/tiny_net.h"
#include "support/torch_maker.h"

/* ---- Files -------------------------------------------------------------------------------- */

static const char *folder;

static pictures_dir kind_dir(const char *kind) {
  pictures_dir dir;
  snprintf(dir.path, sizeof dir.path, "%.150s/%s", folder, kind);
  mkdir(dir.path, 0777);
  return dir;
}

static void put(const char *kind, const char *name, const void *bytes, size_t nbytes) {
  const pictures_dir dir = kind_dir(kind);
  pictures_write(&dir, name, bytes, nbytes);
}

static void put_text(const char *kind, const char *name, const char *text) {
  put(kind, name, text, strlen(text));
}

/* Takes the file's bytes. */
static void put_sink(const char *kind, const char *name, sink *file) {
  FUZZ_EXPECT(file->bytes);
  put(kind, name, file->bytes, file->nbytes);
  free(file->bytes);
  *file = (sink){0};
}

/* ---- Models ------------------------------------------------------------------------------- */

static void make_backbones(void) {
  static const struct {
    const char *name;
    tinytl_weights weights;
    tinytl_pad pad;
    bool with_lite;
  } kinds[] = {{"int8", TINYTL_WEIGHTS_INT8, TINYTL_PAD_SAME, false},
               {"f32", TINYTL_WEIGHTS_F32, TINYTL_PAD_SYMMETRIC, false},
               {"lite", TINYTL_WEIGHTS_INT8, TINYTL_PAD_SYMMETRIC, true}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    tinytl_backbone *backbone = tiny_backbone(kinds[i].weights, kinds[i].pad, kinds[i].with_lite);
    sink file = {0};
    tinytl_backbone_write(backbone, sink_write, &file, NULL);
    put("import", kinds[i].name, file.bytes, file.nbytes);
    put_sink("backbone", kinds[i].name, &file);
    char *arch = tinytl_arch_print(&backbone->arch);
    char *input = tinytl_input_print(&backbone->input, true);
    put_text("json", kinds[i].name, arch);
    put_text("json", "input", input);
    free(arch);
    free(input);
    tinytl_backbone_free(backbone);
  }
  put_text("json", "names", "[\"ants\",\"caf\\u00e9\",\"\\udcff\",\"\\ud83d\\udc1d\",\"\"]");
  put_text("json", "bytes", "ants\n\"bees\"\\ \xff\xc3\xa9\xed\xb2\x80");
}

/* What others write: an architecture in the metadata, float weights. */
static void make_chain(void) {
  static const float zeros[64];
  static const char architecture[] =
      "{\"input\":[3,8,8],\"padding\":\"tf_same\",\"pool\":\"global_average\",\"layers\":["
      "{\"name\":\"a\",\"in\":3,\"out\":4,\"kernel\":1,\"stride\":2,\"groups\":1,"
      "\"act\":\"relu6\",\"add\":null},"
      "{\"name\":\"b\",\"in\":4,\"out\":4,\"kernel\":3,\"stride\":1,\"groups\":4,"
      "\"act\":\"none\",\"add\":\"a\"}],\"classifier\":{\"name\":\"c\",\"in\":4,\"out\":2}}";
  static const char *const meta[] = {"architecture",
                                     architecture,
                                     "preprocess",
                                     "{\"resize_short\":9,\"mean\":[0,0,0],\"std\":[1,1,1]}",
                                     "source",
                                     "made",
                                     NULL};
  const tinytl_tensor tensors[] = {
      {.name = "a.weight", .n_dims = 4, .dims = {4, 3, 1, 1}, .data = zeros, .nbytes = 48},
      {.name = "a.bias", .n_dims = 1, .dims = {4}, .data = zeros, .nbytes = 16},
      {.name = "b.weight", .n_dims = 4, .dims = {4, 1, 3, 3}, .data = zeros, .nbytes = 144},
      {.name = "b.bias", .n_dims = 1, .dims = {4}, .data = zeros, .nbytes = 16},
      {.name = "c.weight", .n_dims = 2, .dims = {2, 4}, .data = zeros, .nbytes = 32},
      {.name = "c.bias", .n_dims = 1, .dims = {2}, .data = zeros, .nbytes = 8}};
  sink file = {0};
  tinytl_safetensors_write(meta, tensors, 6, sink_write, &file, NULL);
  put_sink("import", "chain", &file);
}

/* ---- TFLite ------------------------------------------------------------------------------- */

enum { ADD = 0, CONV = 3, DEPTHWISE = 4, FULLY = 9, SOFTMAX = 25, PAD = 34, MEAN = 40 };
enum { SIDE = 8, WIDTH = 4 };

static int add_conv(maker *m, int code, int x, int kernel, int stride) {
  static float values[256];
  const int side = m->tensors[x].dims[1] / stride, in = m->tensors[x].dims[3];
  const bool dense = code == CONV;
  for (int i = 0; i < 256; i++) values[i] = (float)(i * 37 % 101 - 50) / 50;
  const int w = maker_float(
      m, 4, (const int[]){dense ? WIDTH : 1, kernel, kernel, dense ? in : WIDTH}, values);
  const int b = maker_float(m, 1, (const int[]){WIDTH}, values);
  maker_op op = {.code = code,
                 .n_inputs = 3,
                 .inputs = {x, w, b},
                 .n_options = 4,
                 .options = {{0, 1, 0}, {1, 4, stride}, {2, 4, stride}, {3, 1, 3}}};
  if (!dense) op.options[3] = (maker_option){3, 4, 1};
  return maker_add(m, op, (const int[]){1, side, side, WIDTH});
}

static void make_tflite(const char *name, bool shortcut, bool padded) {
  static const int axes[] = {1, 2}, pads[] = {0, 0, 0, 1, 0, 1, 0, 0};
  static float values[WIDTH * 2];
  maker m = {0};
  int x = maker_float(&m, 4, (const int[]){1, SIDE, SIDE, 3}, NULL);
  const int stem = x = add_conv(&m, CONV, x, 3, 2);
  if (padded) {
    const int p = maker_int32(&m, 2, (const int[]){4, 2}, pads);
    x = maker_add(&m, (maker_op){.code = PAD, .n_inputs = 2, .inputs = {x, p}},
                  (const int[]){1, SIDE / 2 + 1, SIDE / 2 + 1, WIDTH});
  }
  x = add_conv(&m, DEPTHWISE, x, 3, 1);
  x = add_conv(&m, CONV, x, 1, 1);
  if (shortcut)
    x = maker_add(&m, (maker_op){.code = ADD, .n_inputs = 2, .inputs = {stem, x}},
                  (const int[]){1, SIDE / 2, SIDE / 2, WIDTH});
  const int a = maker_int32(&m, 1, (const int[]){2}, axes);
  x = maker_add(&m, (maker_op){.code = MEAN, .n_inputs = 2, .inputs = {x, a}},
                (const int[]){1, 1, 1, WIDTH});
  const int w = maker_float(&m, 2, (const int[]){2, WIDTH}, values);
  const int b = maker_float(&m, 1, (const int[]){2}, values);
  x = maker_add(&m, (maker_op){.code = FULLY, .n_inputs = 3, .inputs = {x, w, b}},
                (const int[]){1, 1, 1, 2});
  maker_add(&m, (maker_op){.code = SOFTMAX, .n_inputs = 1, .inputs = {x}},
            (const int[]){1, 1, 1, 2});
  sink file = maker_finish(&m);
  put_sink("tflite", name, &file);
}

/* ---- PyTorch ------------------------------------------------------------------------------ */

/* The first layers of a network that is known by its names, stored in several ways. */
static void make_torch(void) {
  static const float values[16 * 27];
  static const uint16_t halves[16];
  const torch_tensor tensors[] = {{.name = "features.0.0.weight",
                                   .n_dims = 4,
                                   .dims = {16, 3, 3, 3},
                                   .data = values,
                                   .nbytes = sizeof values},
                                  {.name = "module.features.0.1.weight",
                                   .storage = "HalfStorage",
                                   .n_dims = 1,
                                   .dims = {16},
                                   .data = halves,
                                   .nbytes = sizeof halves},
                                  {.name = "features.0.1.bias",
                                   .n_dims = 1,
                                   .dims = {16},
                                   .offset = 3,
                                   .numel = 32,
                                   .data = values,
                                   .nbytes = 128},
                                  {.name = "classifier.1.weight",
                                   .n_dims = 2,
                                   .dims = {2, 8},
                                   .strides = (const int[]){1, 2},
                                   .data = values,
                                   .nbytes = 64},
                                  {.name = "features.0.1.num_batches_tracked",
                                   .storage = "LongStorage",
                                   .data = halves,
                                   .nbytes = 8}};
  sink file = torch_file(tensors, 5);
  put_sink("torch", "dict", &file);
  for (int zip64 = 0; zip64 < 2; zip64++) {
    sink pickle = {0};
    zip_maker zip = {.zip64 = zip64, .descriptor = !zip64};
    pickle_state(&pickle, tensors, 1);
    zip_add(&zip, "made/data.pkl", pickle.bytes, pickle.nbytes);
    zip_add(&zip, "made/data/0", values, sizeof values);
    file = zip_finish(&zip);
    put_sink("torch", zip64 ? "zip64" : "descriptor", &file);
    free(pickle.bytes);
  }
}

/* ---- Runs --------------------------------------------------------------------------------- */

static void make_runs(void) {
  for (int method = 0; method <= TINYTL_METHOD_AUTO; method++) {
    const char *name = tinytl_method_name((tinytl_method)method);
    saved_run *run = fuzz_run();
    sink adapter = {0};
    run->options.method = (tinytl_method)method;
    run->options.optimizer = (tinytl_optimizer)(method % TINYTL_OPTIMIZER_AUTO);
    saved_run_finish(run, NULL, &adapter);
    put_sink("adapter", name, &adapter);
    for (int i = 0; i < run->n_saves; i += 2) {
      char file[64];
      snprintf(file, sizeof file, "%s.%d", name, i);
      put("checkpoint", file, run->saves[i].bytes, run->saves[i].nbytes);
    }
    saved_run_free(run);
  }
}

/* ---- Super-nets --------------------------------------------------------------------------- */

static void put_folded(const char *kind, const char *name, const sink *file) {
  sink folded = {0};
  fuzz_fold(file, &folded);
  put_sink(kind, name, &folded);
}

static void put_states(const supernet_run *run, const char *kind, const char *name) {
  for (int i = 0; i < SUPERNET_STATES; i++) {
    char file[64];
    snprintf(file, sizeof file, "%s.%d", name, i);
    put_folded(kind, file, supernet_run_state(run, i));
  }
}

static void make_supernets(void) {
  supernet_run *run = supernet_run_make();
  sink file = {0};
  tinytl_supernet *net = supernet_run_net(run, true, &file);
  put_folded("supernet", "lite", &file);
  free(file.bytes);
  run->n_saves = 0;
  run->search.train.save_seconds = 0;
  FUZZ_EXPECT(supernet_run_search(run, net, NULL, &file) == TINYTL_OK);
  put_states(run, "search", "search");
  free(file.bytes);
  tinytl_supernet_free(net);
  run->pretrain.weights = TINYTL_WEIGHTS_F32;
  tinytl_supernet_free(supernet_run_net(run, false, &file));
  put_folded("supernet", "plain", &file);
  FUZZ_EXPECT(sink_replace(&file, "super-net 2", "super-net 1"));
  put_folded("supernet", "first", &file);
  free(file.bytes);
  run->pretrain.save_seconds = 0;
  for (int i = 0; i < 2; i++) {
    run->n_saves = 0;
    FUZZ_EXPECT(supernet_run_pretrain(run, i ? "mobilenet-v2-0.1" : "supernet-0.1", NULL, &file) ==
                TINYTL_OK);
    put_states(run, "pretrain", i ? "backbone" : "supernet");
    free(file.bytes);
  }
  supernet_run_free(run);
}

/* ---- Pictures and words ------------------------------------------------------------------- */

/* An orientation tag behind the start of a JPEG file. */
static void make_turned_jpeg(const pictures_dir *dir) {
  static const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0,  0, 'I', 'I',
                                 42,   0,    8, 0,  0,   0,   1,   0,   18, 1, 3,   0,
                                 1,    0,    0, 0,  6,   0,   0,   0,   0,  0, 0,   0};
  sink file = {0};
  FILE *from = fopen(pictures_path(dir, "rgb.jpg"), "rb");
  uint8_t bytes[16384];
  const size_t nbytes = from ? fread(bytes, 1, sizeof bytes, from) : 0;
  FUZZ_EXPECT(nbytes > 2 && nbytes < sizeof bytes);
  fclose(from);
  sink_write(&file, bytes, 2);
  sink_write(&file, exif, sizeof exif);
  sink_write(&file, bytes + 2, nbytes - 2);
  put_sink("picture", "turned.jpg", &file);
}

static void make_pictures(void) {
  const pictures_dir dir = kind_dir("picture");
  pictures_write_jpeg(&dir, "rgb.jpg", PICTURES_JPEG_RGB, 40, 30, 1);
  pictures_write_jpeg(&dir, "progressive.jpg", PICTURES_JPEG_PROGRESSIVE, 33, 50, 2);
  pictures_write_jpeg(&dir, "ycck.jpg", PICTURES_JPEG_YCCK, 17, 19, 3);
  pictures_write_jpeg(&dir, "large.jpg", PICTURES_JPEG_RGB, 300, 200, 4);
  pictures_write_png(&dir, "rgb.png", PICTURES_PNG_RGB, 40, 30, 5);
  pictures_write_png(&dir, "interlaced.png", PICTURES_PNG_INTERLACED, 21, 34, 6);
  pictures_write_png(&dir, "deep.png", PICTURES_PNG_16, 12, 13, 7);
  make_turned_jpeg(&dir);
}

static void make_words(void) {
  put_text("options", "long",
           "--data\npictures\n--method=lite+bias\n--epochs\n20\n--lr=1e-3\n--share\n0.5\n"
           "--seed=18446744073709551615\n--memory-limit\n24.5M\n--no-mirror\nfile\n--\n-x");
  put_text("options", "short", "-qd\npictures\n-mmodel\n--memory-limit=1K\n-\nfile");
  put_text("options", "slip", "-d\npictures\n--epoch\n3\n--methods=last");
  put_text("options", "help", "--help");
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  folder = argv[1];
  mkdir(folder, 0777);
  make_backbones();
  make_chain();
  make_tflite("plain", false, false);
  make_tflite("shortcut", true, false);
  make_tflite("padded", false, true);
  make_torch();
  make_runs();
  make_supernets();
  make_pictures();
  make_words();
  return 0;
}
