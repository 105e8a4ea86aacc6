/* A plot of accuracy against memory, as SVG: all points, and those on the front joined. */
#ifndef CLI_PLOT_H
#define CLI_PLOT_H

#include "tinytl.h"

enum { CLI_PLOT_MOST = 1024 };

typedef struct cli_plot_point {
  double x, y; /* MB, % */
  bool on_front;
} cli_plot_point;

typedef struct cli_plot {
  cli_plot_point points[CLI_PLOT_MOST]; /* best first */
  int n;
} cli_plot;

/* Points beyond CLI_PLOT_MOST are left out. */
void cli_plot_add(cli_plot *plot, double x, double y, bool on_front);
/* At least one point. False where `write` failed. */
bool cli_plot_write(const cli_plot *plot, tinytl_write_fn write, void *context);

#endif
