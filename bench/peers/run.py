#!/usr/bin/env python3
"""Runs tinytl and PyTorch in turn on the same tasks: medians, and the ratio pair by pair.

Other work on the machine, its clock and its temperature change the speed of both, so only what was
measured one after the other is compared.
"""
import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import report  # noqa: E402
from common import WEIGHTS, add_paths, import_backbone, machine, run_json  # noqa: E402

TORCH_STEP = Path(__file__).resolve().parent / 'torch_step.py'
# task, method, batch
CASES = [('train', 'lite+bias', 8), ('train', 'bias', 8), ('train', 'last', 8),
         ('train', 'lite+bias', 1), ('predict', None, 1)]
LAYOUTS = ['NCHW', 'channels last']


def variants(task, method, with_compile):
    """Ways to run PyTorch: the fastest of them is what tinytl is compared with."""
    ways = list(LAYOUTS)
    if task == 'predict' or method == 'last':
        ways += [f'{layout}, frozen graph' for layout in LAYOUTS]
    if with_compile:
        ways.append('channels last, compiled')
    # Where layers are small, two threads can be slower than one.
    ways += [f'{way}, 1 thread' for way in ways if 'compiled' not in way]
    return ways


def task_options(args, task, method, batch):
    method_options = ['--method', method] if method else []
    return ['--task', task, *method_options, '--batch', batch, '--threads', args.threads]


def run_torch(args, case, ways, seconds):
    """A line a way, all in one process."""
    weights = args.data / 'weights' / WEIGHTS['MobileNetV2-1.0']
    return run_json([args.python, TORCH_STEP, '--weights', weights, *task_options(args, *case),
                     '--seconds', seconds, *(word for way in ways for word in ('--variant', way))])


def run_tinytl(args, case, backbone):
    return run_json([args.tinytl, 'bench', '-m', backbone, '--json', *task_options(args, *case),
                     '--seconds', args.seconds])[-1]


def compare(args, case, backbone):
    """One case: the best way to run PyTorch, then pairs."""
    task, method, batch = case
    tried = run_torch(args, case, variants(task, method, args.compile), args.seconds / 3)
    speeds = {line['variant']: line['images_per_second'] for line in tried}
    best = max(speeds, key=speeds.get)
    pairs = [(run_tinytl(args, case, backbone), run_torch(args, case, [best], args.seconds)[-1])
             for _ in range(args.rounds)]
    return {'task': task, 'method': method, 'batch': batch, 'variant': best, 'variants': speeds,
            'tinytl': [ours for ours, _ in pairs], 'pytorch': [theirs for _, theirs in pairs],
            'ratios': [ours['images_per_second'] / theirs['images_per_second']
                       for ours, theirs in pairs]}


def add_options(parser):
    parser.add_argument('--python', default=sys.executable,
                        help='interpreter that has PyTorch (default: this one)')
    parser.add_argument('--rounds', type=int, default=5, help='pairs of runs a case')
    parser.add_argument('--seconds', type=float, default=5, help='to measure for, a run')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--compile', action='store_true',
                        help='try torch.compile too: minutes of compiling')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    add_paths(parser)
    add_options(parser)
    parser.add_argument('--only', default='', metavar='REGEX',
                        help='cases whose name it matches, such as "train lite.bias 8"')
    parser.add_argument('--out', type=Path, help='JSON file')
    args = parser.parse_args()

    cases = [case for case in CASES if re.search(args.only, ' '.join(map(str, case)))]
    if not cases:
        parser.error(f'no case matches {args.only!r}')
    before = machine(args.tinytl)
    with tempfile.TemporaryDirectory() as folder:
        backbone = import_backbone(args.tinytl, args.data / 'weights' / WEIGHTS['MobileNetV2-1.0'],
                                   folder)
        compared = [compare(args, case, backbone) for case in cases]
    result = {'machine': before, 'torch': compared[0]['pytorch'][0]['torch'],
              'threads': args.threads, 'rounds': args.rounds, 'seconds': args.seconds,
              'cases': compared}
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(report.speed(result), end='')


if __name__ == '__main__':
    main()
