/* Draws a small set of pictures to fine-tune on: things found on a walk, seen from above.
 *
 *     draw_pictures DIR [N_TRAIN_PER_CLASS [N_TEST_PER_CLASS [SEED]]]
 *
 * writes DIR/train/<class>/<nnn>.png and DIR/test/<class>/<nnn>.png, the same pictures for the same
 * numbers. What a thing is (a flower, a beetle, a leaf, a shell) is plain to any network; which
 * kind it is hangs on a detail: whether the petals are pointed, which way the wing cases are
 * striped, whether the leaf's edge has teeth. Colours, size, angle, place, background and noise say
 * nothing about it. No class changes in a mirror. */
#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SIDE = 128, N_CLUTTER = 24, SUBPIXELS = 3, MAX_PER_CLASS = 9999 };
static const double PI = 3.14159265358979323846;

/* ---- random numbers ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static double uniform(uint64_t *state, double low, double high) {
  return low + (high - low) * ((double)(next_random(state) >> 11) / 9007199254740992.0);
}

/* ---- colours ---- */

typedef struct colour {
  double r, g, b; /* 0 to 255 */
} colour;

static colour mix(colour from, colour to, double share) {
  return (colour){from.r + (to.r - from.r) * share, from.g + (to.g - from.g) * share,
                  from.b + (to.b - from.b) * share};
}

/* hue in turns, saturation and value 0 to 1 */
static colour from_hsv(double hue, double saturation, double value) {
  double channel[3];
  for (int i = 0; i < 3; i++) {
    double turn = fmod(hue + (3 - i) / 3.0, 1.0) * 6;
    double ramp = fmin(1, fmax(0, fabs(turn - 3) - 1));
    channel[i] = 255 * value * (1 - saturation * (1 - ramp));
  }
  return (colour){channel[0], channel[1], channel[2]};
}

static colour random_colour(uint64_t *rng, double least_value, double most_value) {
  double hue = uniform(rng, 0, 1), saturation = uniform(rng, 0.2, 0.9);
  return from_hsv(hue, saturation, uniform(rng, least_value, most_value));
}

/* ---- things ----
 * Each is painted in its own coordinates: centre 0, 0, about 1 in radius, its axis along v. A
 * painter returns 1 and sets *ink where the thing covers (u, v); it returns 0 elsewhere. */

typedef struct thing {
  double x, y, radius, angle; /* in the picture, pixels and radians */
  double width, phase, pitch; /* looks that say nothing about the class */
  colour body, mark, extra;
} thing;

typedef int (*painter)(const thing *it, int kind, double u, double v, colour *ink);

/* kind: 0 round petals, 1 pointed petals, 2 round petals with a band across each */
static int paint_flower(const thing *it, int kind, double u, double v, colour *ink) {
  int n_petals = 4 + (int)(2.99 * it->width);
  double r = hypot(u, v), turn = atan2(u, v) * n_petals / (2 * PI) + 2 * n_petals;
  double aside = 2 * fabs(turn - floor(turn) - 0.5); /* 0 along a petal, 1 between two */
  double edge = kind == 1 ? 1 - 0.78 * aside : 0.35 + 0.65 * sqrt(1 - aside * aside);
  if (r > edge) return 0;
  *ink = kind == 2 && fabs(r / edge - 0.65) < 0.17 ? it->mark : it->body;
  if (r < 0.22 + 0.1 * it->pitch) *ink = it->extra;
  return 1;
}

/* kind: 0 striped across, 1 striped along, 2 spotted */
static int paint_beetle(const thing *it, int kind, double u, double v, colour *ink) {
  double across = u / (0.55 + 0.12 * it->width), along = (v - 0.12) / 0.82;
  if (across * across + along * along <= 1) {
    double pitch = 7.5 + 2 * it->pitch;
    double bands = cos(pitch * v + it->phase), lines = cos(pitch * 1.35 * u);
    double pattern = kind == 0 ? bands : kind == 1 ? lines : bands * lines * 2.2 - 0.4;
    *ink = pattern > 0 ? it->mark : it->body;
    if (v < -0.42) *ink = it->extra; /* the neck shield */
    return 1;
  }
  *ink = it->extra;
  if (hypot(u, v + 0.75) < 0.24) return 1; /* the head */
  for (int leg = -1; leg <= 1; leg++) {
    double rise = v - 0.4 * leg - 0.35 * leg * (fabs(u) - 0.4);
    if (fabs(u) < 0.95 && fabs(rise) < 0.045) return 1;
  }
  return 0;
}

/* kind: number of teeth along each side, 0 for a smooth edge */
static int paint_leaf(const thing *it, int kind, double u, double v, colour *ink) {
  double along = (v + 1) / 2; /* 0 at the tip, 1 at the stalk */
  *ink = it->mark;
  if (fabs(u) < 0.04 && v > -0.9 && v < 1.25) return 1; /* the midrib and stalk */
  if (along <= 0 || along >= 1) return 0;
  double half_width = (0.6 + 0.15 * it->width) * pow(sin(PI * along), 0.8);
  if (kind > 0) half_width *= 0.6 + 0.6 * fmod(along * kind + it->phase, 1.0);
  if (fabs(u) > half_width) return 0;
  double vein = fmod(along * (6 + 3 * it->pitch) + 1.2 * fabs(u) + 1, 1.0);
  *ink = vein < 0.16 ? mix(it->body, it->mark, 0.5) : it->body;
  return 1;
}

/* kind: 0 growth rings around the hinge, 1 ribs that fan out from it */
static int paint_shell(const thing *it, int kind, double u, double v, colour *ink) {
  double r = hypot(u, v - 0.75), turn = atan2(u, 0.75 - v);
  double edge = 1.6 - (0.5 + 0.2 * it->width) * turn * turn;
  *ink = it->extra;
  if (r > edge || fabs(turn) > 1.25) return r < 0.18; /* the hinge */
  double rings = cos((9 + 3 * it->pitch) * r + it->phase), ribs = cos((11 + 4 * it->pitch) * turn);
  *ink = mix(it->body, it->mark, 0.5 + 0.5 * (kind == 0 ? rings : ribs));
  return 1;
}

typedef struct class {
  const char *name;
  painter paint;
  int kind;
} class;

static const class CLASSES[] = {
    {"banded_beetle", paint_beetle, 0},
    {"striped_beetle", paint_beetle, 1},
    {"spotted_beetle", paint_beetle, 2},
    {"primrose", paint_flower, 0},
    {"clematis", paint_flower, 1},
    {"gazania", paint_flower, 2},
    {"beech_leaf", paint_leaf, 0},
    {"birch_leaf", paint_leaf, 5},
    {"clam", paint_shell, 0},
    {"cockle", paint_shell, 1},
};
enum { N_CLASSES = sizeof CLASSES / sizeof *CLASSES };

/* ---- the ground ---- */

typedef struct pebble {
  double x, y, cosine, sine, half_length, half_width;
  colour paint;
} pebble;

typedef struct ground {
  colour low, high;
  double wave[4][3]; /* of the mottling: two frequencies and a phase */
  int n_pebbles;
  pebble pebbles[N_CLUTTER];
} ground;

static ground random_ground(uint64_t *rng, int width, int height) {
  ground it = {.low = random_colour(rng, 0.15, 0.7), .n_pebbles = 8};
  it.high = mix(it.low, random_colour(rng, 0.3, 0.9), uniform(rng, 0.3, 0.8));
  for (int i = 0; i < 4; i++) {
    it.wave[i][0] = uniform(rng, -0.35, 0.35);
    it.wave[i][1] = uniform(rng, -0.35, 0.35);
    it.wave[i][2] = uniform(rng, 0, 2 * PI);
  }
  it.n_pebbles += (int)uniform(rng, 0, N_CLUTTER - 8);
  double slimness = uniform(rng, 0.15, 1); /* blades of grass to round pebbles */
  for (int i = 0; i < it.n_pebbles; i++) {
    double angle = uniform(rng, 0, PI), length = uniform(rng, 4, 14);
    it.pebbles[i] = (pebble){.x = uniform(rng, 0, width),
                             .y = uniform(rng, 0, height),
                             .cosine = cos(angle),
                             .sine = sin(angle),
                             .half_length = length,
                             .half_width = fmax(1, 0.6 * length * slimness)};
    it.pebbles[i].paint = mix(it.low, random_colour(rng, 0.2, 0.9), uniform(rng, 0.3, 0.9));
  }
  return it;
}

static colour ground_colour(const ground *it, double x, double y) {
  double mottle = 0;
  for (int i = 0; i < 4; i++)
    mottle += sin(it->wave[i][0] * x + it->wave[i][1] * y + it->wave[i][2]);
  colour ink = mix(it->low, it->high, 0.5 + mottle / 8);
  for (int i = 0; i < it->n_pebbles; i++) {
    const pebble *stone = &it->pebbles[i];
    double dx = x - stone->x, dy = y - stone->y;
    double along = (dx * stone->cosine + dy * stone->sine) / stone->half_length;
    double across = (dy * stone->cosine - dx * stone->sine) / stone->half_width;
    double inside = 1 - along * along - across * across;
    if (inside > 0) ink = mix(ink, stone->paint, fmin(1, 3 * inside));
  }
  return ink;
}

/* ---- a picture ---- */

static thing random_thing(uint64_t *rng, int width, int height, colour ground) {
  double side = fmin(width, height), radius = side * uniform(rng, 0.36, 0.47);
  double slack = side / 2 - radius; /* a centre crop does not cut it */
  thing it = {.radius = radius, .angle = uniform(rng, -PI / 4, PI / 4)};
  it.x = width / 2.0 + uniform(rng, -slack, slack);
  it.y = height / 2.0 + uniform(rng, -slack, slack);
  it.width = uniform(rng, 0, 1);
  it.phase = uniform(rng, 0, 2 * PI);
  it.pitch = uniform(rng, 0, 1);
  int dark_mark = ground.r + ground.g + ground.b < 330; /* the body stands out */
  it.body = dark_mark ? random_colour(rng, 0.7, 1) : random_colour(rng, 0.15, 0.5);
  it.mark = dark_mark ? random_colour(rng, 0.1, 0.45) : random_colour(rng, 0.7, 1);
  it.extra = random_colour(rng, 0.1, 0.9);
  return it;
}

static uint8_t to_byte(double value) {
  return (uint8_t)fmin(255, fmax(0, value + 0.5));
}

static void draw(const class *what, uint64_t seed, int width, int height, uint8_t *rgb) {
  uint64_t rng = seed;
  ground back = random_ground(&rng, width, height);
  thing it = random_thing(&rng, width, height, mix(back.low, back.high, 0.5));
  double cosine = cos(it.angle), sine = sin(it.angle), noise = uniform(&rng, 2, 10);
  double light = uniform(&rng, 0.75, 1.15), shade_x = uniform(&rng, -0.3, 0.3);
  double shade_y = uniform(&rng, -0.3, 0.3);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++, rgb += 3) {
      colour ink = ground_colour(&back, x, y), spot, sum = {0, 0, 0};
      for (int i = 0; i < SUBPIXELS * SUBPIXELS; i++) {
        double dx = (x + (i % SUBPIXELS + 0.5) / SUBPIXELS - it.x) / it.radius;
        double dy = (y + (i / SUBPIXELS + 0.5) / SUBPIXELS - it.y) / it.radius;
        double u = dx * cosine + dy * sine, v = dy * cosine - dx * sine;
        if (!what->paint(&it, what->kind, u, v, &spot)) spot = ink;
        sum = (colour){sum.r + spot.r, sum.g + spot.g, sum.b + spot.b};
      }
      double gain = light * (1 + shade_x * (x - width / 2.0) / width) *
                    (1 + shade_y * (y - height / 2.0) / height) / (SUBPIXELS * SUBPIXELS);
      rgb[0] = to_byte(sum.r * gain + uniform(&rng, -noise, noise));
      rgb[1] = to_byte(sum.g * gain + uniform(&rng, -noise, noise));
      rgb[2] = to_byte(sum.b * gain + uniform(&rng, -noise, noise));
    }
}

/* ---- files ---- */

static int make_folder(const char *path) {
  if (mkdir(path, 0777) == 0 || errno == EEXIST) return 0;
  fprintf(stderr, "draw_pictures: cannot make the folder %s: %s\n", path, strerror(errno));
  return -1;
}

static int write_png(const char *path, int width, int height, const uint8_t *rgb) {
  png_image image = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
  if (png_image_write_to_file(&image, path, 0, rgb, 0, NULL)) return 0;
  fprintf(stderr, "draw_pictures: cannot write %s: %s\n", path, image.message);
  return -1;
}

static int draw_split(const char *folder, const char *split, int n_per_class, uint64_t seed) {
  static uint8_t rgb[MAX_SIDE * MAX_SIDE * 3];
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, split);
  if (make_folder(path)) return -1;
  for (int c = 0; c < N_CLASSES; c++) {
    snprintf(path, sizeof path, "%s/%s/%s", folder, split, CLASSES[c].name);
    if (make_folder(path)) return -1;
    for (int i = 0; i < n_per_class; i++) {
      uint64_t rng = seed + (uint64_t)c * 1000003u + (uint64_t)i * 7919u;
      int long_side = (int)uniform(&rng, 96, MAX_SIDE + 1);
      int short_side = (int)uniform(&rng, 80, long_side + 1), upright = next_random(&rng) & 1;
      int width = upright ? short_side : long_side, height = upright ? long_side : short_side;
      draw(&CLASSES[c], next_random(&rng), width, height, rgb);
      snprintf(path, sizeof path, "%s/%s/%s/%03d.png", folder, split, CLASSES[c].name, i);
      if (write_png(path, width, height, rgb)) return -1;
    }
  }
  return 0;
}

static int parse_number(const char *text, const char *what, long most, long *value) {
  char *end;
  errno = 0;
  *value = strtol(text, &end, 10);
  if (errno == 0 && end != text && *end == '\0' && *value >= 0 && *value <= most) return 0;
  fprintf(stderr, "draw_pictures: %s: expected a number from 0 to %ld, found '%s'\n", what, most,
          text);
  return -1;
}

int main(int argc, char **argv) {
  long n_train = 60, n_test = 30, seed = 1;
  if (argc < 2 || argc > 5 || argv[1][0] == '-') {
    fprintf(stderr, "usage: draw_pictures DIR [N_TRAIN_PER_CLASS [N_TEST_PER_CLASS [SEED]]]\n");
    return 1;
  }
  if (strlen(argv[1]) > 3900) {
    fprintf(stderr, "draw_pictures: the folder's name is too long\n");
    return 1;
  }
  if (argc > 2 && parse_number(argv[2], "N_TRAIN_PER_CLASS", MAX_PER_CLASS, &n_train)) return 1;
  if (argc > 3 && parse_number(argv[3], "N_TEST_PER_CLASS", MAX_PER_CLASS, &n_test)) return 1;
  if (argc > 4 && parse_number(argv[4], "SEED", INT32_MAX, &seed)) return 1;
  /* Test pictures are drawn from seeds of their own. */
  uint64_t train_seed = (uint64_t)seed << 32, test_seed = train_seed | 0x80000000u;
  if (make_folder(argv[1]) || draw_split(argv[1], "train", (int)n_train, train_seed) ||
      draw_split(argv[1], "test", (int)n_test, test_seed))
    return 1;
  printf("%d classes, %ld training and %ld test pictures each, in %s\n", (int)N_CLASSES, n_train,
         n_test, argv[1]);
  return 0;
}
