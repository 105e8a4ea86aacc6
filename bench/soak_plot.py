#!/usr/bin/env python3
"""docs/robustness.svg from what bench_soak printed, and the figures in words on standard output."""
import argparse
import csv
from pathlib import Path

import svg

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 30, 40
LIMIT = 24.0
SERIES = (('resident_bytes', 'after a round', '#1f6fb4'),
          ('peak_bytes', 'the most there ever was', '#c2571a'))


def points(rounds, key, minutes):
    x1 = WIDTH - RIGHT - LEFT
    y1 = HEIGHT - BOTTOM - TOP
    for one in rounds:
        yield (LEFT + one['seconds'] / 60 / minutes * x1,
               HEIGHT - BOTTOM - one[key] / 1e6 / LIMIT * y1)


def elements(rounds):
    minutes = rounds[-1]['seconds'] / 60
    yield svg.text(LEFT - 34, 18, 'resident memory of the process, MB', 'start', 12)
    for megabytes in range(0, round(LIMIT) + 1, 6):
        y = HEIGHT - BOTTOM - megabytes / LIMIT * (HEIGHT - BOTTOM - TOP)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield svg.text(LEFT - 5, y + 4, f'{megabytes}', 'end', 10)
    step = svg.nice(minutes / 6)
    for i in range(int(minutes / step) + 1):
        x = LEFT + i * step / minutes * (WIDTH - RIGHT - LEFT)
        yield svg.text(x, HEIGHT - BOTTOM + 14, f'{i * step:g}', size=10)
    yield svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 31, 'minutes; the limit is 24 MB')
    for i, (key, words, colour) in enumerate(SERIES):
        path = 'L'.join(f'{x:.1f} {y:.1f}' for x, y in points(rounds, key, minutes))
        yield f'<path d="M{path}" fill="none" stroke="{colour}"/>'
        yield svg.text(LEFT + 230 + 120 * i, 18, words, 'start', 11, colour)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('csv', type=Path, help="bench_soak's standard output")
    parser.add_argument('--out', type=Path, required=True, help='SVG file')
    args = parser.parse_args()
    with open(args.csv, encoding='utf-8') as file:
        rounds = [{key: value if key == 'method' else float(value) for key, value in row.items()}
                  for row in csv.DictReader(file)]
    svg.write(args.out, WIDTH, HEIGHT, list(elements(rounds)))
    methods = {one['method'] for one in rounds}
    later = [one['resident_bytes'] / 1e6 for one in rounds[len(methods):]]
    print(f'{rounds[-1]["seconds"] / 60:.0f} minutes, {len(rounds)} rounds; resident after each '
          f'from round {len(methods) + 1} on: {min(later):.2f} to {max(later):.2f} MB; '
          f'peak {rounds[-1]["peak_bytes"] / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
