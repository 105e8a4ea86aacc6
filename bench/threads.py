#!/usr/bin/env python3
"""How speed grows with threads: training steps and inference with 1, 2, 4 ... threads.

MobileNetV2-1.0 at 224 pixels. All counts run in turn, round by round, so that a busy host slows
down each of them alike; the table, for docs/performance.md, has medians.
"""
import argparse
import os
import tempfile
from statistics import median

from common import WEIGHTS, add_paths, import_backbone, machine, run_json
from report import machine_lines, table

MAX_THREADS = 64  # of the program
CASES = [('`lite+bias` step, batch 8', ['--batch', 8]),
         ('`lite+bias` step, batch 32', ['--batch', 32]),
         ('`bias` step, batch 32', ['--method', 'bias', '--batch', 32]),
         ('`last` step, batch 32', ['--method', 'last', '--batch', 32]),
         ('`lite+bias` step, batch 1', ['--batch', 1]),
         ('inference', ['--task', 'predict'])]


def measure(args, backbone):
    """(title, number of threads) -> runs."""
    runs = {}
    for _ in range(args.rounds):
        for title, options in CASES:
            for threads in args.threads:
                runs.setdefault((title, threads), []).append(run_json(
                    [args.tinytl, 'bench', '-m', backbone, '--json', *options, '--threads', threads,
                     '--seconds', args.seconds])[-1])
    return runs


def cell(runs, first):
    """Pictures a second, in brackets as a multiple of the first column's."""
    def speed(some):
        return median(run['images_per_second'] for run in some)
    return f'{speed(runs):.0f} ({speed(runs) / speed(first):.1f})'


def main():
    parser = argparse.ArgumentParser(description=' '.join(__doc__.split('\n\n', 1)[0].split()))
    add_paths(parser)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument('--threads', type=int, nargs='+', help='default: powers of two up to the cores',
                        default=[2**i for i in range(min(cores, MAX_THREADS).bit_length())])
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=2, help='to measure for, a run')
    args = parser.parse_args()

    info = machine(args.tinytl)
    with tempfile.TemporaryDirectory() as folder:
        backbone = import_backbone(args.tinytl, args.data / 'weights' / WEIGHTS['MobileNetV2-1.0'],
                                   folder)
        runs = measure(args, backbone)
    first = args.threads[0]
    print(machine_lines(info) + f'- Load average before: {info["load"]}\n')
    print(table(['pictures/s (ratio), threads', *(f'{n}:' for n in args.threads)],
                [[title, *(cell(runs[title, n], runs[title, first]) for n in args.threads)]
                 for title, _ in CASES]), end='')


if __name__ == '__main__':
    main()
