"""docs/results.svg: accuracy against memory, a panel a set (the paper's figure 1)."""
import math
from statistics import mean

import svg
from report import METHODS, SETS, SIZES

WIDTH, HEIGHT = 300, 230  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 30, 40
COLOURS = dict(zip(METHODS, ('#888', '#1f6fb4', '#3a9d6b', '#c2571a', '#8a5bb0', '#222',
                             '#d4a017')))
MARKS = dict(zip(SIZES, ('circle', 'square', 'diamond', 'triangle')))


def mark(kind, x, y, colour):
    shapes = {'square': 'M-4 -4h8v8h-8z', 'diamond': 'M0 -5l5 5l-5 5l-5 -5z',
              'triangle': 'M0 -5l5 9h-10z'}
    if kind == 'circle':
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return f'<path d="{shapes[kind]}" transform="translate({x:.1f} {y:.1f})" fill="{colour}"/>'


def panel(image_set, cells, left):
    """Points at (measured MB, top-1): memory doubles along the axis."""
    x0, x1, y0, y1 = left + LEFT, left + WIDTH - RIGHT, HEIGHT - BOTTOM, TOP
    top1 = [mean(one.top1) for one in cells]
    step = svg.nice(max(max(top1) - min(top1), 1) / 4)
    low, high = step * math.floor(min(top1) / step), step * math.ceil(max(top1) / step)
    first = math.floor(math.log2(min(one.peak for one in cells)))
    last = max(math.ceil(math.log2(max(one.peak for one in cells))), first + 1)
    high = max(high, low + step)

    def at(megabytes, accuracy):
        return (x0 + (math.log2(megabytes) - first) / (last - first) * (x1 - x0),
                y0 - (accuracy - low) / (high - low) * (y0 - y1))
    yield svg.text(x0 - 34, 18, f'{image_set}, top-1, %', 'start', 12)
    for i in range(round((high - low) / step) + 1):
        _, y = at(2 ** first, low + i * step)
        yield f'<path d="M{x0} {y:.1f}H{x1}" stroke="#ddd"/>'
        yield svg.text(x0 - 5, y + 4, f'{low + i * step:g}', 'end', 10)
    for power in range(first, last + 1):
        yield svg.text(at(2 ** power, low)[0], y0 + 14, f'{2 ** power:g}', size=10)
    yield svg.text((x0 + x1) / 2, y0 + 31, 'peak memory of the process, MB')
    for one in cells:
        yield mark(MARKS[one.cell.network], *at(one.peak, mean(one.top1)), COLOURS[one.cell.method])


def legend(methods, networks, top):
    x = LEFT
    for name, shape in [(one, mark('circle', 0, 0, COLOURS[one])) for one in methods] + \
            [(one, mark(MARKS[one], 0, 0, '#888')) for one in networks]:
        yield f'<g transform="translate({x} {top})">{shape}</g>'
        yield svg.text(x + 9, top + 4, name, 'start')
        x += 30 + 7 * len(name)


def write(path, found):
    """found: report.averages; what stands on few pictures is left out."""
    whole = [one for cell, one in found.items() if not cell.shots]
    panels = {image_set: cells for image_set in SETS
              if (cells := [one for one in whole if one.cell.image_set == image_set])}
    elements = [element for i, (image_set, cells) in enumerate(panels.items())
                for element in panel(image_set, cells, i * WIDTH)]
    used = {one.cell for one in whole}
    elements += legend([one for one in METHODS if any(cell.method == one for cell in used)],
                       [one for one in SIZES if any(cell.network == one for cell in used)],
                       HEIGHT + 8)
    svg.write(path, max(len(panels), 2) * WIDTH, HEIGHT + 24, elements)
