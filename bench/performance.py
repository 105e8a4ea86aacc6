#!/usr/bin/env python3
"""Measures speed: steps beside PyTorch, kernels beside oneDNN, where the time goes, and how cost
grows. Writes the figures of docs/performance.md, and docs/performance.svg beside it.

Needs PyTorch and Pillow. Every finished measurement is a line of the cache file, under a key of the
program's SHA-256 and what was measured.
"""
import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import performance_plot
import performance_report
from common import WEIGHTS, add_paths, import_backbone, machine, run_json
from memory import Cache, insert, make_set
from peers import run as peers

NETWORK = 'MobileNetV2-1.0'
LAYERS = Path(peers.__file__).with_name('torch_layers.py')
SIZES = (96, 128, 160, 192, 224, 256, 320)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CLASSES = (2, 10, 100, 1000)
PICTURES = (40, 400, 4000, 20000, 100000)
KERNEL_SETS = ('portable', 'avx2', 'avx512', 'neon')
METHODS = ('lite+bias', 'bias', 'last')
STARTED = re.compile(r'tinytl: .*: ([0-9.]+) MB planned')
TOTAL = re.compile(r'^(pointwise|depthwise|lite) +(forward|backward input|backward weight) +total +'
                   r'([0-9.]+) MMAC.*? ([0-9.]+) ms.*? ([0-9.]+) ms', re.MULTILINE)
OVERHEAD = re.compile(r'^packing (forward|backward): ([0-9.]+) ms, ([0-9.]+) ms', re.MULTILINE)
FORK = re.compile(r'^fork and join: ([-0-9.]+) us', re.MULTILINE)


class Bench:
    """Measures, or takes what was measured before from the cache."""

    def __init__(self, args, cache, folder):
        self.args, self.cache, self.folder = args, cache, Path(folder)
        self.weights = args.data / 'weights' / WEIGHTS[NETWORK]
        self.backbone = import_backbone(args.tinytl, self.weights, folder)

    def steps(self, *options, seconds=None, kernels=None, threads=2, folder=None, program=None):
        """One run of `tinytl bench`, or of another program's."""
        words = [*map(str, options), '--threads', str(threads),
                 '--seconds', str(seconds or self.args.seconds)]
        key = ' '.join(['bench', *words, *([f'kernels {kernels}'] if kernels else []),
                        *([f'pictures {folder}'] if folder else []),
                        *([f'program {checksum(program)}'] if program else [])])

        def make():
            command = [program or self.args.tinytl, 'bench', '-m', self.backbone, '--json', *words]
            if folder:
                command += ['--data', self.pictures(folder)]
            with environment(TINYTL_KERNELS=kernels):
                return run_json(command)[-1]
        return self.cache.get(key, make)

    def program(self, name, kernels=None):
        """What a program of bench/ prints."""
        path = self.args.tinytl.with_name('bench') / name

        def make():
            with environment(TINYTL_KERNELS=kernels):
                return subprocess.run([str(path)], check=True, stdout=subprocess.PIPE,
                                      text=True).stdout
        if not path.exists():
            raise SystemExit(f'{path}: not found; build with -DTINYTL_TESTS=ON')
        return self.cache.get(f'{name} {kernels or ""}', make)

    def peers(self, case):
        words = f'{self.args.rounds} x {self.args.seconds} s'
        words += ', torch.compile' if self.args.compile else ''
        return self.cache.get(f'peers {case} {words}',
                              lambda: peers.compare(self.args, case, self.backbone))

    def torch_layers(self):
        seconds = 0.003 if self.args.quick else 0.02
        return self.cache.get(f'torch layers {seconds}', lambda: run_json(
            [self.args.python, LAYERS, '--weights', self.weights, '--seconds', seconds]))

    def pictures(self, n):
        """A folder of n pictures of 500 x 375 in 8 classes; most are other names of a few files."""
        folder = self.folder / f'pictures{n}'
        if not folder.exists():
            make_set(folder, 8, min(n // 8, 4))
            for label in folder.iterdir():
                files = sorted(label.iterdir())
                for i in range(len(files), n // 8):
                    os.link(files[i % len(files)], label / f'{i}.jpg')
        return folder

    def start(self, n, method):
        """Time from the start of `train` until the run is planned, and what is planned."""
        return self.cache.get(f'start {n} {method}', lambda: self.make_start(n, method))

    def make_start(self, n, method):
        command = [self.args.tinytl, 'train', '-m', self.backbone, '-d', self.pictures(n), '-o',
                   self.folder / 'adapter.safetensors', '--method', method, '--memory-limit',
                   '64G']  # which makes it tell the plan
        begin = time.perf_counter()
        with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, text=True) as child:
            line = child.stderr.readline()
            seconds = time.perf_counter() - begin
            child.send_signal(signal.SIGINT)
            child.stderr.read()
        found = STARTED.match(line)
        if not found:
            raise SystemExit(f'{" ".join(map(str, command))}: expected a plan, found: {line}')
        return {'seconds': seconds, 'planned_bytes': round(float(found.group(1)) * 1e6)}


class environment:
    """Sets variables for a while; None: left as they are."""

    def __init__(self, **values):
        self.values = {key: value for key, value in values.items() if value is not None}
        self.before = {key: os.environ.get(key) for key in self.values}

    def __enter__(self):
        os.environ.update(self.values)

    def __exit__(self, *_):
        for key, value in self.before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


# ---- What is measured ----

def measure_kernels(bench):
    """(who, kind, direction, threads) -> milliseconds of one picture; (kind, direction) -> millions of
    multiply-accumulates."""
    times, macs = {}, {}
    for kernels in (None, 'portable'):
        text = bench.program('bench_kernels', kernels)
        who = 'portable' if kernels else 'tinytl'
        for kind, direction, work, one, two in TOTAL.findall(text):
            macs[kind, direction] = float(work)
            times[who, kind, direction, 1] = float(one)
            times[who, kind, direction, 2] = float(two)
    for line in bench.torch_layers():
        direction = 'forward' if line['direction'] == 'forward' else 'backward input'
        times['oneDNN', line['kind'], direction, line['threads']] = line['ms']
    return times, macs


def measure_overheads(bench):
    text = bench.program('bench_overheads')
    result = {f'packing {direction}': (float(one), float(two))
              for direction, one, two in OVERHEAD.findall(text)}
    return {**result, 'fork': float(FORK.search(text).group(1))}


def measure_profiles(bench):
    """Title -> a profiled run."""
    profiles = {f'`{method}`': bench.steps('--method', method, '--batch', 8, '--profile')
                for method in METHODS}
    profiles['`lite+bias`, 1 thread'] = bench.steps('--batch', 8, '--profile', threads=1)
    for method in ('lite+bias', 'last'):
        profiles[f'`{method}`, JPEG'] = bench.steps(
            '--method', method, '--batch', 8, '--profile', folder=400)
    if bench.args.before:
        for method in METHODS:
            profiles[f'`{method}`, before'] = bench.steps(
                '--method', method, '--batch', 8, '--profile', program=bench.args.before)
    return profiles


def measure_growth(bench):
    """Title -> value -> run. Short runs: they show how cost grows."""
    seconds = bench.args.seconds / 2

    def steps(*options, **more):
        return bench.steps(*options, seconds=seconds, **more)
    growth = {
        'size': {size: steps('--batch', 8, '--image-size', size) for size in SIZES},
        'batch': {batch: steps('--batch', batch) for batch in BATCHES},
        'classes': {n: steps('--batch', 8, '--classes', n) for n in CLASSES},
        'pictures': {n: {method: bench.start(n, method) for method in ('lite+bias', 'last')}
                     for n in PICTURES}}
    growth['threads'] = {method: {n: bench.steps('--method', method, '--batch', 8, threads=n)
                                  for n in (1, 2)} for method in METHODS}
    growth['predict'] = {n: bench.steps('--task', 'predict', threads=n) for n in (1, 2)}
    growth['kernels'] = {}
    for kernels in KERNEL_SETS:
        run = steps('--batch', 8, kernels=kernels)
        if run['kernels'] == kernels:  # else the processor lacks it
            growth['kernels'][kernels] = {
                'train': run, 'predict': steps('--task', 'predict', kernels=kernels)}
    return growth


def measure_peak(bench, threads):
    """The largest of several, since other work on the machine can only lower it."""
    return max(bench.steps('--task', 'predict', seconds=0.2 + i / 100, threads=threads)['peak_flops']
               for i in range(3))


def checksum(program):
    return hashlib.sha256(program.read_bytes()).hexdigest()


def caches():
    """First-level data, second and third level, as Linux tells."""
    sizes = []
    for index in sorted(Path('/sys/devices/system/cpu/cpu0/cache').glob('index*')):
        level, kind, size = ((index / name).read_text(encoding='ascii').strip()
                             for name in ('level', 'type', 'size'))
        if kind != 'Instruction':
            sizes.append(f'L{level} {size}')
    return ', '.join(sizes) or 'not known'


def main():
    parser = argparse.ArgumentParser(description=' '.join(__doc__.split('\n\n', 1)[0].split()))
    add_paths(parser)
    peers.add_options(parser)
    parser.set_defaults(rounds=3, seconds=3)
    parser.add_argument('--before', type=Path, metavar='TINYTL',
                        help='an earlier program, whose profile is put beside this one\'s')
    parser.add_argument('--cache', type=Path, metavar='JSONL',
                        help='results so far (default: performance.jsonl beside the program)')
    parser.add_argument('--quick', action='store_true',
                        help='to try the script: all of it, in figures that mean nothing')
    parser.add_argument('--out', type=Path,
                        help='document with markers to write between (default: standard output)')
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.3

    args.tinytl = args.tinytl.resolve()
    args.before = args.before.resolve() if args.before else None
    binary = checksum(args.tinytl)
    cache = Cache(args.cache or args.tinytl.with_name('performance.jsonl'), binary)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, cache, folder)
        info = {**machine(args.tinytl), 'sha256': binary, 'caches': caches(),
                'quick': args.quick, 'seconds': args.seconds}
        info['peak'] = {n: measure_peak(bench, n) for n in (1, 2)}
        cases = [bench.peers(case) for case in peers.CASES]
        growth = measure_growth(bench)
        text = performance_report.page(
            info, cases, *measure_kernels(bench), measure_overheads(bench),
            measure_profiles(bench), growth)
    if args.out:
        performance_plot.write(args.out.with_suffix('.svg'), growth)
        insert(args.out, text)
    else:
        print(text, end='')


if __name__ == '__main__':
    main()
