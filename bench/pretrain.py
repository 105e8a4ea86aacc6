#!/usr/bin/env python3
"""How fast 'pretrain' is: the speed tables of docs/supernet.md, as Markdown.

    bench/pretrain.py [--threads 2] [--python PYTHON] [--pictures DIR]

MobileNetV2 at 64 px, batch 64, beside PyTorch where PYTHON has it, in turn, twice; then the phases
of a super-net; then two ranks beside one process, where --mpi names a build with MPI.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import SOURCE, machine, run_json

BATCH, SIZE = 64, 64
# Epochs of 20 that are wholly of a phase, but for the first, by pretrain's shares.
PHASES = {'largest sub-net': (2, 7), 'kernels, 1 sub-net': (8, 11), 'depths, 2': (13, 15),
          'expand ratios, 4': (18, 20)}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tinytl', type=Path, default=SOURCE / 'build' / 'tinytl')
    parser.add_argument('--pictures', type=Path, default=SOURCE / 'build' / 'demo' / 'pictures',
                        help='class folders (default: those that make demo draws)')
    parser.add_argument('--python', default=sys.executable, help='with PyTorch')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--mpi', type=Path, help='program built with TINYTL_MPI')
    return parser.parse_args()


def pretrain(args, architecture, epochs, options=(), launcher=(), tinytl=None):
    """Pictures per second of every epoch; the last object."""
    with tempfile.TemporaryDirectory() as name:
        command = [*launcher, tinytl or args.tinytl, 'pretrain', architecture, '-d', args.pictures,
                   '-o', Path(name) / 'net', '--image-size', SIZE, '--batch', BATCH, '--epochs',
                   epochs, '--json', '-q', *options]
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                                   text=True)
        ends, done = [], None
        for line in process.stdout:
            event = json.loads(line)
            if event['event'] == 'epoch':
                ends.append(time.monotonic())
            else:
                done = event
    if process.wait() != 0:
        raise SystemExit(f'{architecture}: exit code {process.returncode}')
    fed = done['train_images'] // BATCH * BATCH
    return [None] + [fed / (end - start) for start, end in zip(ends, ends[1:])], done


def in_megabytes(nbytes):
    return f'{nbytes / 1e6:,.0f} MB'


def beside_torch(args):
    print('| width | tinytl, pictures a second | PyTorch | ratio | peak of the process, tinytl | '
          'PyTorch |\n|---|---|---|---|---|---|')
    for width in ('0.35', '1.0'):
        ours, theirs, peaks = [], [], []
        for _ in range(2):
            rates, done = pretrain(args, f'mobilenet-v2-{width}', 6,
                                   ['--val-split', 0, '--threads', args.threads])
            ours += rates[1:]
            variants = run_json([args.python, Path(__file__).parent / 'peers' / 'torch_pretrain.py',
                                 '--width', width, '--threads', args.threads, '--classes',
                                 done['classes']])
            best = max(variants, key=lambda one: one['images_per_second'])
            theirs.append(best['images_per_second'])
            peaks.append(best['peak_rss_bytes'])
        our, their = statistics.median(ours), statistics.median(theirs)
        print(f'| {width} | {our:.0f} | {their:.0f} ({best["variant"]}) | {our / their:.2f} | '
              f'{in_megabytes(done["peak_rss_bytes"])} | {in_megabytes(min(peaks))} |', flush=True)
    print(f'\nPyTorch {best["torch"]}, the better of two memory layouts; {args.threads} threads.\n')


def phases(args):
    print('| lite modules | ' + ' | '.join(PHASES) + ' | peak of the process |')
    print('|---' * (len(PHASES) + 2) + '|')
    for lite in ('no', 'yes'):
        rates, done = pretrain(args, 'supernet-0.35', 20, ['--threads', args.threads] +
                               (['--lite'] if lite == 'yes' else []))
        cells = [f'{statistics.median(rates[first - 1:last]):.0f}'
                 for first, last in PHASES.values()]
        print(f'| {lite} | ' + ' | '.join(cells) + f' | {in_megabytes(done["peak_rss_bytes"])} |',
              flush=True)
    print()


def ranks(args):
    mpirun = ['mpirun', '--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '-n', 2]
    rows = [('one process, one thread', [], 1), ('one process, two threads', [], 2),
            ('two ranks of one thread', mpirun, 1)]
    print('| MobileNetV2-0.35 | pictures a second |\n|---|---|')
    for what, launcher, threads in rows:
        rates, _ = pretrain(args, 'mobilenet-v2-0.35', 6,
                            ['--val-split', 0, '--threads', threads], launcher, args.mpi)
        print(f'| {what} | {statistics.median(rates[1:]):.0f} |', flush=True)


def main():
    args = parse()
    print(f'{machine(args.tinytl)}\n')
    beside_torch(args)
    phases(args)
    if args.mpi:
        ranks(args)


if __name__ == '__main__':
    main()
