#!/usr/bin/env python3
"""Trains and evaluates every cell of the accuracy table, and writes docs/results.md.

Every finished run is a line of the cache file, under a key of the program's SHA-256 and the run's
arguments: a measurement that was interrupted goes on where it stopped.
"""
import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import report
from common import WEIGHTS, add_paths, import_backbone, machine, run_json

# Left and right differ in traffic signs; everything else runs with the defaults.
SET_OPTIONS = {'gtsrb43': ['--no-mirror']}
TFLITE = 'tf2_mobilenet_v2_1.0_224_ptq.tflite'
TFLITE_CLASS_OFFSET = 1  # class 0 of the file is "background"
PREDICT_BATCH = 250      # pictures a call


class Cache:
    """Results by key, each kept on disk as soon as it is there."""

    def __init__(self, path, binary):
        self.path, self.binary, self.lock, self.results = path, binary, threading.Lock(), {}
        if path.exists():
            for line in path.read_text(encoding='utf-8').splitlines():
                record = json.loads(line)
                self.results[record['key']] = record['result']

    def key(self, run):
        return f'{self.binary} {run}'

    def get(self, run):
        return self.results.get(self.key(run))

    def put(self, run, result):
        with self.lock, open(self.path, 'a', encoding='utf-8') as file:
            self.results[self.key(run)] = result
            file.write(json.dumps({'key': self.key(run), 'result': result}) + '\n')


class Bench:
    """Runs the program; the backbones lie in a temporary folder."""

    def __init__(self, args, folder):
        self.args, self.folder = args, Path(folder)
        self.backbones = {name: import_backbone(args.tinytl, args.data / 'weights' / file, folder)
                          for name, file in WEIGHTS.items()}

    def transfer(self, name, method, image_set, seed):
        """The last objects of train and eval."""
        adapter = self.folder / f'{name}.{method}.{image_set}.{seed}.safetensors'
        model = ['-m', self.backbones[name], '--threads', self.args.threads, '--json', '-q',
                 '-d', self.args.data / 'images' / image_set]
        train = run_json([self.args.tinytl, 'train', *model, '-o', adapter, '--method', method,
                          '--seed', seed, *SET_OPTIONS.get(image_set, [])])[-1]
        test = run_json([self.args.tinytl, 'eval', *model, '-a', adapter])[-1]
        adapter.unlink()
        del train['adapter']
        return {'train': train, 'eval': {key: test[key] for key in ('images', 'top1', 'skipped')}}

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
        return {'images': len(paths), 'top1': n_top1 / len(paths), 'top5': n_top5 / len(paths)}


def wanted_runs(args):
    """Name of each run -> what makes it; one seed of everything before the next."""
    runs = {f'imagenet-1k-sample {weights} --threads {args.threads}':
            ('imagenet', (weights,)) for weights in report.IMAGENET_WEIGHTS}
    for seed in args.seeds:
        for cell in report.CELLS:
            name = ' '.join([cell.network, cell.method, cell.image_set,
                             *SET_OPTIONS.get(cell.image_set, []),
                             f'--seed {seed} --threads {args.threads}'])
            runs[name] = ('transfer', (cell.network, cell.method, cell.image_set, seed))
    return {name: run for name, run in runs.items() if re.search(args.only, name)}


def measure(args, runs, cache):
    """Makes the runs that the cache does not have."""
    missing = {name: run for name, run in runs.items() if cache.get(name) is None}
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        bench = Bench(args, folder)

        def make(name, kind, arguments):
            result = getattr(bench, kind)(*arguments)
            cache.put(name, result)
            top1 = (result['eval'] if kind == 'transfer' else result)['top1']
            print(f'{100 * top1:5.1f} %  {name}', file=sys.stderr)

        jobs = [pool.submit(make, name, *run) for name, run in missing.items()]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    add_paths(parser)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    parser.add_argument('--threads', type=int, default=1, help='threads a run')
    parser.add_argument('--only', default='', metavar='REGEX', help='runs whose name it matches')
    parser.add_argument('--cache', type=Path, metavar='JSONL',
                        help='results so far (default: accuracy.jsonl beside the program)')
    parser.add_argument('--out', type=Path, help='Markdown file (default: standard output)')
    args = parser.parse_args()

    binary = hashlib.sha256(args.tinytl.read_bytes()).hexdigest()
    cache = Cache(args.cache or args.tinytl.with_name('accuracy.jsonl'), binary)
    runs = wanted_runs(args)
    measure(args, runs, cache)

    seeds = ' '.join(map(str, args.seeds))
    results = {run[1]: cache.get(name) for name, run in runs.items()}
    text = report.accuracy(
        results, args.seeds,
        {**machine(args.tinytl), 'sha256': binary,
         'command': f'bench/accuracy.py --seeds {seeds} --jobs {args.jobs} '
                    f'--threads {args.threads}' + (f" --only '{args.only}'" if args.only else '')})
    if not args.out:
        print(text, end='')
        return
    part = args.out.with_name(args.out.name + '.part')
    part.write_text(text, encoding='utf-8')
    os.replace(part, args.out)


if __name__ == '__main__':
    main()
