"""docs/performance.svg: how speed and memory grow with picture size, batch, classes and pictures."""
import math
from typing import NamedTuple

import svg
from svg import nice, text

WIDTH, HEIGHT = 250, 190  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 40
SPEED, MEMORY = '#1f6fb4', '#c2571a'
TICKS = 4


class Panel(NamedTuple):
    """One curve."""
    title: str
    x_title: str
    colour: str
    points: list  # (x, y)
    log: bool     # the x axis


def panels(growth):
    axes = (('size', 'side of the picture, pixels', False), ('batch', 'batch', True),
            ('classes', 'classes', True))
    for title, colour, value in (
            ('pictures/s', SPEED, lambda run: run['images_per_second']),
            ('planned, MB', MEMORY, lambda run: run['planned_bytes'] / 1e6)):
        for key, x_title, log in axes:
            yield Panel(title, x_title, colour,
                        [(x, value(run)) for x, run in growth[key].items()], log)
        start = 'seconds' if colour == SPEED else 'planned_bytes'
        scale = 1 if colour == SPEED else 1e-6
        yield Panel('start, s' if colour == SPEED else title, 'pictures', colour,
                    [(x, runs['lite+bias'][start] * scale)
                     for x, runs in growth['pictures'].items()], True)


def draw(panel, left, top):
    """The elements of a panel whose corner is at (left, top)."""
    def place(x):
        return math.log(x) if panel.log else x
    low, high = place(panel.points[0][0]), place(panel.points[-1][0])
    step = nice(max(y for _, y in panel.points) / TICKS)
    highest = step * math.ceil(max(y for _, y in panel.points) / step)
    x0, x1 = left + LEFT, left + WIDTH - RIGHT
    y0, y1 = top + HEIGHT - BOTTOM, top + TOP

    def at(x, y):
        return x0 + (place(x) - low) / (high - low) * (x1 - x0), y0 - y / highest * (y0 - y1)
    yield text(x0 - 34, top + 18, panel.title, 'start', 12)
    for i in range(round(highest / step) + 1):
        _, y = at(panel.points[0][0], i * step)
        yield f'<path d="M{x0} {y:.1f}H{x1}" stroke="#ddd"/>'
        yield text(x0 - 5, y + 4, f'{i * step:g}', 'end', 10)
    for x, _ in panel.points:
        name = f'{x // 1000}k' if x >= 10000 else str(x)
        yield text(at(x, 0)[0], y0 + 14, name, size=9 if len(panel.points) > 5 else 10)
    yield text((x0 + x1) / 2, y0 + 31, panel.x_title)
    spots = [at(x, y) for x, y in panel.points]
    line = ' '.join(f'{x:.1f},{y:.1f}' for x, y in spots)
    yield f'<polyline points="{line}" fill="none" stroke="{panel.colour}" stroke-width="2"/>'
    for x, y in spots:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{panel.colour}"/>'


def write(path, growth):
    """Writes the file: speed above, memory below."""
    drawn = list(panels(growth))
    columns = len(drawn) // 2
    svg.write(path, columns * WIDTH, 2 * HEIGHT,
              [element for i, panel in enumerate(drawn)
               for element in draw(panel, i % columns * WIDTH, i // columns * HEIGHT)])
