#!/usr/bin/env python3
"""Trains and evaluates every method on every set with every backbone, and writes docs/results.md.

Every finished run is a line of the cache file, under a key of the program's SHA-256 and the run's
arguments: a measurement that was interrupted goes on where it stopped. What was not run is left
out of the page, which says so.
"""
import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import accuracy_plot
import report
from common import SOURCE, WEIGHTS, add_paths, import_backbone, machine, run_json

# Left and right differ in traffic signs. `auto` finds out by itself.
SET_OPTIONS = {'gtsrb43': ['--no-mirror']}
TFLITE = 'tf2_mobilenet_v2_1.0_224_ptq.tflite'
TFLITE_CLASS_OFFSET = 1  # class 0 of the file is "background"
PREDICT_BATCH = 250      # pictures a call


class Cache:
    """Results by program and run, each kept on disk as soon as it is there."""

    def __init__(self, path, binary, any_program):
        self.path, self.binary, self.any_program = path, binary, any_program
        self.lock, self.results = threading.Lock(), {}
        if path.exists():
            for line in path.read_text(encoding='utf-8').splitlines():
                record = json.loads(line)
                self.add(*record['key'].split(' ', maxsplit=1), record['result'])

    def add(self, binary, name, result):
        """What was added last comes last."""
        programs = self.results.setdefault(name, {})
        programs.pop(binary, None)
        programs[binary] = result

    def find(self, name):
        """The program that made a run, this one or, where that is asked for, the last other one,
        and its result; None: there is none."""
        programs = self.results.get(name, {})
        if self.binary in programs:
            return self.binary, programs[self.binary]
        return list(programs.items())[-1] if programs and self.any_program else None

    def put(self, name, result):
        with self.lock, open(self.path, 'a', encoding='utf-8') as file:
            self.add(self.binary, name, result)
            file.write(json.dumps({'key': f'{self.binary} {name}', 'result': result}) + '\n')


def few(source, target, shots, seed):
    """A folder of `shots` training pictures a class, drawn by seed, beside all test pictures."""
    target.mkdir()
    (target / 'test').symlink_to(source / 'test')
    for folder in sorted((source / 'train').iterdir()):
        files = sorted(folder.iterdir())
        chosen = random.Random(f'{seed} {folder.name}').sample(files, min(shots, len(files)))
        (target / 'train' / folder.name).mkdir(parents=True)
        for file in chosen:
            (target / 'train' / folder.name / file.name).symlink_to(file)


class Bench:
    """Runs the program; the backbones lie in a temporary folder."""

    def __init__(self, args, folder):
        self.args, self.folder = args, Path(folder)
        self.images = (args.data / 'images').resolve()
        self.backbones = {name: import_backbone(args.tinytl, args.data / 'weights' / file, folder)
                          for name, file in WEIGHTS.items()}

    def adapt(self, network, data, options, seed):
        """The last objects of train and eval."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            adapter = Path(folder) / 'adapter.safetensors'
            model = ['-m', self.backbones[network], '--json', '-q', '-d', data]
            train = run_json([self.args.tinytl, 'train', *model, '-o', adapter,
                              '--seed', seed, *options])[-1]
            test = run_json([self.args.tinytl, 'eval', *model, '-a', adapter])[-1]
        del train['adapter']
        kept = ('images', 'top1', 'balanced_accuracy', 'ece', 'ece_by_chance')
        return {'train': train, 'eval': {key: test[key] for key in kept}}

    def transfer(self, cell, seed):
        """One cell of the tables."""
        data = self.images / cell.image_set
        options = ['--method', cell.method, '--threads', self.args.threads]
        if cell.method != 'auto':
            options += SET_OPTIONS.get(cell.image_set, [])
        if not cell.shots:
            return self.adapt(cell.network, data, options, seed)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            few(data, Path(folder) / 'few', cell.shots, seed)
            return self.adapt(cell.network, Path(folder) / 'few', options, seed)

    def default(self, network, image_set):
        """A run as a user starts it: no option, both cores."""
        return self.adapt(network, self.images / image_set, [], 0)

    def cross(self, side, method, seed):
        """One side of the cross-check: the same training by tinytl and by PyTorch."""
        check = report.CROSS
        data = self.images / check.image_set
        if side == 'tinytl':
            return self.adapt(check.network, data, [
                '--method', method, '--threads', self.args.threads, '--val-split', 0,
                '--epochs', check.epochs, '--lr', check.lr[method][0]], seed)
        classifier, bias, weight = check.lr[method]
        command = [self.args.python, SOURCE / 'bench' / 'peers' / 'torch_train.py',
                   '--weights', self.args.data / 'weights' / WEIGHTS[check.network],
                   '--data', data, '--method', method, '--epochs', check.epochs, '--seed', seed,
                   '--lr-classifier', classifier, '--lr-bias', bias, '--lr-weight', weight,
                   '--threads', self.args.threads]
        return {'eval': run_json(command)[-1]}

    def imagenet(self, weights):
        """Top-1 and top-5 of the TFLite file, by its own classifier."""
        backbone = import_backbone(self.args.tinytl, self.args.data / 'weights' / TFLITE,
                                   self.folder, weights)
        folder = self.args.data / 'images' / 'imagenet-1k-sample'
        lines = (folder / 'labels.txt').read_text(encoding='utf-8').splitlines()
        labels = {str(folder / file): int(index) for file, index, _ in map(str.split, lines)}
        paths, n_top1, n_top5 = list(labels), 0, 0
        for start in range(0, len(paths), PREDICT_BATCH):
            for row in run_json([self.args.tinytl, 'predict', '-m', backbone, '--top', 5, '--json',
                                 '--threads', self.args.threads,
                                 *paths[start:start + PREDICT_BATCH]]):
                indices = [one['index'] - TFLITE_CLASS_OFFSET for one in row['top']]
                n_top1 += indices[0] == labels[row['image']]
                n_top5 += labels[row['image']] in indices
        return {'eval': {'images': len(paths), 'top1': n_top1 / len(paths),
                         'top5': n_top5 / len(paths)}}


def wanted_runs(args):
    """Name of each run -> what makes it; one seed of everything before the next."""
    threads = f'--threads {args.threads}'
    runs = {f'default {report.DEFAULT_NETWORK} {report.DEFAULT_SET}':
            ('default', (report.DEFAULT_NETWORK, report.DEFAULT_SET))}
    for weights in report.IMAGENET_WEIGHTS:
        runs[f'imagenet-1k-sample {weights} {threads}'] = ('imagenet', (weights,))
    for seed in args.seeds:
        for cell in report.CELLS:
            shots = f' {cell.shots}-shot' if cell.shots else ''
            runs[f'{cell.network} {cell.method} {cell.image_set}{shots} --seed {seed} {threads}'] \
                = ('transfer', (cell, seed))
        for method in report.CROSS.lr:
            sides = ('tinytl', 'PyTorch') if args.python else ('tinytl',)
            for side in sides:
                runs[f'cross-check {side} {method} --seed {seed} {threads}'] = \
                    ('cross', (side, method, seed))
    return {name: run for name, run in runs.items() if re.search(args.only, name)}


def measure(args, runs, cache):
    """Makes the runs that the cache does not have; those as a user starts them alone, first."""
    missing = {name: run for name, run in runs.items() if not cache.find(name)}
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        bench = Bench(args, folder)

        def make(name, kind, arguments):
            result = getattr(bench, kind)(*arguments)
            cache.put(name, result)
            print(f'{100 * result["eval"]["top1"]:5.1f} %  {name}', file=sys.stderr, flush=True)

        for name, run in missing.items():
            if run[0] == 'default':
                make(name, *run)
        jobs = [pool.submit(make, name, *run) for name, run in missing.items()
                if run[0] != 'default']
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise


def replace(path, text):
    part = path.with_name(path.name + '.part')
    part.write_text(text, encoding='utf-8')
    os.replace(part, path)


def torch_version(python):
    return subprocess.run([python, '-c', 'import torch; print(torch.__version__)'], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    add_paths(parser)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    parser.add_argument('--threads', type=int, default=1, help='threads a run')
    parser.add_argument('--only', default='', metavar='REGEX', help='runs whose name it matches')
    parser.add_argument('--no-runs', action='store_true', help='write the page from the cache alone')
    parser.add_argument('--python', help='interpreter with PyTorch and Pillow, for the cross-check')
    parser.add_argument('--cache', type=Path, metavar='JSONL',
                        help='results so far (default: accuracy.jsonl beside the program)')
    parser.add_argument('--any-program', action='store_true',
                        help='take runs that the cache has of other programs, and name these')
    parser.add_argument('--out', type=Path, help='Markdown file (default: standard output)')
    args = parser.parse_args()

    binary = hashlib.sha256(args.tinytl.read_bytes()).hexdigest()
    cache = Cache(args.cache or args.tinytl.with_name('accuracy.jsonl'), binary, args.any_program)
    runs = wanted_runs(args)
    if not args.no_runs:
        measure(args, runs, cache)

    found = {name: made for name in runs if (made := cache.find(name))}
    results = {runs[name]: result for name, (_, result) in found.items()}
    programs = Counter(binary for binary, _ in found.values())
    text = report.accuracy(results, args.seeds, {
        **machine(args.tinytl), 'programs': programs, 'runs': len(results), 'wanted': len(runs),
        'torch': torch_version(args.python) if args.python else '',
        'command': f'bench/accuracy.py --seeds {" ".join(map(str, args.seeds))} --jobs {args.jobs} '
                   f'--threads {args.threads}' + (f" --only '{args.only}'" if args.only else '')})
    if not args.out:
        print(text, end='')
        return
    accuracy_plot.write(args.out.with_suffix('.svg'), report.averages(results, args.seeds))
    replace(args.out, text)


if __name__ == '__main__':
    main()
