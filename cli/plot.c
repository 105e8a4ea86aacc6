#include "plot.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { WIDTH = 640, HEIGHT = 400, LEFT = 56, RIGHT = 16, TOP = 16, BOTTOM = 48, MOST_TICKS = 6 };

void cli_plot_add(cli_plot *plot, double x, double y, bool on_front) {
  if (plot->n < CLI_PLOT_MOST) plot->points[plot->n++] = (cli_plot_point){x, y, on_front};
}

/* ---- Axes --------------------------------------------------------------------------------- */

typedef struct axis {
  double low, high, step; /* of the ticks */
  double from, to;        /* pixels */
} axis;

/* Whole steps of 1, 2 or 5 times a power of ten around all values. */
static axis axis_of(double low, double high, double from, double to) {
  const double range = high > low ? high - low : 1;
  double step = pow(10, floor(log10(range / MOST_TICKS)));
  if (range / step > 5 * MOST_TICKS)
    step *= 10;
  else if (range / step > 2 * MOST_TICKS)
    step *= 5;
  else if (range / step > MOST_TICKS)
    step *= 2;
  return (axis){.low = floor(low / step) * step,
                .high = (floor(high / step) + 1) * step,
                .step = step,
                .from = from,
                .to = to};
}

static double place(const axis *a, double value) {
  return a->from + (a->to - a->from) * (value - a->low) / (a->high - a->low);
}

static void find_axes(const cli_plot *plot, axis *x, axis *y) {
  cli_plot_point low = plot->points[0], high = low;
  for (int i = 1; i < plot->n; i++) {
    low.x = fmin(low.x, plot->points[i].x);
    low.y = fmin(low.y, plot->points[i].y);
    high.x = fmax(high.x, plot->points[i].x);
    high.y = fmax(high.y, plot->points[i].y);
  }
  *x = axis_of(low.x, high.x, LEFT, WIDTH - RIGHT);
  *y = axis_of(low.y, high.y, HEIGHT - BOTTOM, TOP);
}

/* ---- Drawing ------------------------------------------------------------------------------ */

typedef struct pen {
  tinytl_write_fn write;
  void *context;
  bool ok; /* all that was written */
} pen;

static void put(pen *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(pen *p, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  p->ok = p->ok && p->write(p->context, text, (size_t)n);
}

static void draw_axes(pen *p, const axis *x, const axis *y) {
  for (int i = 0; x->low + i * x->step <= x->high + x->step / 2; i++) {
    const double value = x->low + i * x->step, at = place(x, value);
    put(p, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#ddd\"/>\n", at, at, TOP,
        HEIGHT - BOTTOM);
    put(p, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.10g</text>\n", at,
        HEIGHT - BOTTOM + 18, value);
  }
  for (int i = 0; y->low + i * y->step <= y->high + y->step / 2; i++) {
    const double value = y->low + i * y->step, at = place(y, value);
    put(p, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT,
        WIDTH - RIGHT, at, at);
    put(p, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.10g</text>\n", LEFT - 6, at + 4, value);
  }
  put(p, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">memory of training, MB</text>\n",
      (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
  put(p,
      "<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">score, %%"
      "</text>\n",
      (TOP + HEIGHT - BOTTOM) / 2);
}

static void draw_points(pen *p, const cli_plot *plot, const axis *x, const axis *y) {
  put(p, "<polyline fill=\"none\" stroke=\"#c33\" points=\"");
  for (int i = 0; i < plot->n; i++)
    if (plot->points[i].on_front)
      put(p, "%.1f,%.1f ", place(x, plot->points[i].x), place(y, plot->points[i].y));
  put(p, "\"/>\n");
  for (int i = plot->n - 1; i >= 0; i--) {
    const cli_plot_point *point = &plot->points[i];
    put(p, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\"/>\n", place(x, point->x),
        place(y, point->y), point->on_front ? 4 : 2, point->on_front ? "#c33" : "#888");
  }
}

bool cli_plot_write(const cli_plot *plot, tinytl_write_fn write, void *context) {
  pen p = {.write = write, .context = context, .ok = true};
  axis x, y;
  find_axes(plot, &x, &y);
  put(&p,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<title>Sub-nets: score against memory of training</title>\n"
      "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
      WIDTH, HEIGHT, WIDTH, HEIGHT);
  draw_axes(&p, &x, &y);
  draw_points(&p, plot, &x, &y);
  put(&p, "</svg>\n");
  return p.ok;
}
