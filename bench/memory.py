#!/usr/bin/env python3
"""Measures the peak memory of whole training runs beside their plans and limits, and writes the
figures of docs/memory.md.

Needs Pillow, to make the pictures. Every finished run is a line of the cache file, under a key of
the program's SHA-256 and the run's arguments.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import memory_report
from common import add_paths, machine

METHODS = ('last', 'bias', 'lite', 'lite+bias', 'norm', 'full')
SIZES, THREADS, BATCHES = (128, 224, 320), (1, 2, 4), (1, 8)
BACKBONE = 'proxyless-mobile'
MANY, FEW, LARGE = 'many', 'few', 'large'  # picture sets
MANY_CLASSES = 102  # one picture each to train on
POLL_SECONDS = 0.005
STEPS = (1, 1.05, 1.15, 1.3, 1.5, 1.8, 2.2)  # limits, in smallest ones
REFUSED = re.compile(r'the smallest limit that would do is ([0-9.]+)M')


# ---- Pictures ----

def picture(width, height, seed):
    """A soft pattern in colours: a JPEG of some 30 KB at 500 x 375."""
    from PIL import Image
    bands = [Image.effect_noise((width // 16 + seed % 3, height // 16), 90 + 10 * band)
             for band in range(3)]
    return Image.merge('RGB', bands).resize((width, height), Image.BICUBIC)


def make_set(folder, n_classes, n_each):
    for label in range(n_classes):
        (folder / f'class{label:03}').mkdir(parents=True)
        for index in range(n_each):
            picture(500, 375, index).save(folder / f'class{label:03}' / f'{index}.jpg', quality=85)


def make_large(folder):
    """What photographs come as, among small pictures."""
    make_set(folder, 8, 3)
    photograph = picture(4000, 3000, 0)
    photograph.save(folder / 'class000' / 'photograph.jpg', quality=85)
    photograph.save(folder / 'class001' / 'progressive.jpg', quality=85, progressive=True)
    photograph.save(folder / 'class002' / 'photograph.png', compress_level=1)
    picture(12000, 9000, 0).save(folder / 'class003' / 'huge.jpg', quality=85)


# ---- Runs ----

class Cache:
    """Results by run, each kept on disk as soon as it is there."""

    def __init__(self, path, binary):
        self.path, self.binary, self.results = path, binary, {}
        if path.exists():
            for line in path.read_text(encoding='utf-8').splitlines():
                record = json.loads(line)
                if record['binary'] == binary:
                    self.results[record['run']] = record['result']

    def get(self, run, make):
        if run not in self.results:
            result = self.results[run] = make()
            with open(self.path, 'a', encoding='utf-8') as file:
                file.write(json.dumps({'binary': self.binary, 'run': run, 'result': result}) + '\n')
            print(run, json.dumps(result), file=sys.stderr)
        return self.results[run]


def resident(pid):
    """Bytes in memory now, counted page by page by the kernel; 0 once the process has ended."""
    try:
        text = Path(f'/proc/{pid}/smaps_rollup').read_text(encoding='utf-8')
    except OSError:
        return 0
    found = re.search(r'^Rss:\s*(\d+) kB', text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


class Bench:
    """Runs the program on sets of pictures that are made when they are asked for."""

    def __init__(self, tinytl, cache, folder):
        self.tinytl, self.cache, self.folder = tinytl, cache, Path(folder)
        self.backbone = self.folder / 'backbone.safetensors'
        subprocess.run([tinytl, 'init', BACKBONE, '-o', self.backbone], check=True,
                       stdout=subprocess.DEVNULL)

    def pictures(self, name):
        folder = self.folder / name
        if not folder.exists():
            if name == MANY:
                make_set(folder / 'train', MANY_CLASSES, 1)
                make_set(folder / 'val', 8, 1)
            elif name == LARGE:
                make_large(folder)
            else:
                make_set(folder, 8, 3)
        return folder

    def start(self, command):
        """Exit code, JSON objects, messages, and the most bytes seen in memory from outside."""
        messages = self.folder / 'messages'
        with open(messages, 'w', encoding='utf-8') as stderr, \
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as child:
            seen = 0
            while child.poll() is None:  # what it prints fits into the pipe
                seen = max(seen, resident(child.pid))
                time.sleep(POLL_SECONDS)
            lines = [json.loads(line) for line in child.stdout]
        return child.returncode, lines, messages.read_text(encoding='utf-8'), seen

    def train(self, pictures, options, limit=None):
        """Two epochs: in the second everything is there. {'refused': smallest limit} where the limit
        is too small."""
        options = [*map(str, options), *(['--memory-limit', str(limit)] if limit else [])]
        return self.cache.get(f'train {pictures} {" ".join(options)}',
                              lambda: self.make_run(pictures, options, limit))

    def make_run(self, pictures, options, limit):
        command = [self.tinytl, 'train', '-m', self.backbone, '-d', self.pictures(pictures),
                   '-o', self.folder / 'adapter.safetensors', '--epochs', 2, '--json', '-q', *options]
        code, lines, messages, seen = self.start(list(map(str, command)))
        refused = REFUSED.search(messages)
        if code == 5 and refused:
            return {'refused': round(float(refused.group(1)) * 1e6)}
        if code != 0:
            raise SystemExit(f'{" ".join(map(str, command))}: exit code {code}\n{messages}')
        keys = ('method', 'optimizer', 'defers_gradients', 'recomputes', 'spills', 'skipped',
                'planned_bytes', 'base_rss_bytes', 'peak_rss_bytes', 'seconds')
        return {**{key: lines[-1][key] for key in keys}, 'limit': limit, 'seen_rss_bytes': seen}

    def smallest(self, pictures, options):
        """A run under the smallest limit that works: the one that refusing 1 KB names, or the next
        that is named."""
        limit = 1000
        for _ in range(4):
            run = self.train(pictures, options, limit)
            if 'refused' not in run:
                return run
            limit = run['refused']
        raise SystemExit(f'{options}: the limits that are named do not work, last {limit}')

    def paper(self, method, size, batch):
        """By the paper's own model, as in its tables."""
        def make():
            done = subprocess.run(
                [str(self.tinytl), 'plan', '-m', str(self.backbone), '--classes', str(MANY_CLASSES),
                 '--paper', '--json', '--image-size', str(size), '--batch', str(batch)],
                check=True, stdout=subprocess.PIPE, text=True)
            return {line['method']: line['paper_table_bytes']
                    for line in map(json.loads, done.stdout.splitlines())}
        return self.cache.get(f'plan --paper --image-size {size} --batch {batch}', make)[method]


# ---- What is measured ----

def options_of(method, size=224, batch=8, threads=None, optimizer=None):
    options = ['--method', method, '--image-size', size, '--batch', batch]
    options += ['--threads', threads] if threads else []
    return options + (['--optimizer', optimizer] if optimizer else [])


def measure_rows(bench):
    """memory_report.ROWS: without a limit, and under the smallest."""
    for row in memory_report.ROWS:
        options = options_of(row.method, row.size, row.batch, optimizer=row.optimizer)
        yield {'paper': bench.paper(row.method, row.size, row.batch),
               'free': bench.train(MANY, options), 'least': bench.smallest(MANY, options)}


def measure_matrix(bench):
    return {key: bench.train(FEW, options_of(method, size, batch, threads))
            for key in product(METHODS, SIZES, THREADS, BATCHES)
            for method, size, threads, batch in [key]}


def sweep(bench, pictures, steps, options):
    least = bench.smallest(pictures, options)
    yield least
    for step in steps[1:]:
        yield bench.train(pictures, options, round(least['limit'] * step))


def measure_limits(bench):
    """Title -> runs under limits."""
    groups = {f'`{method}`, 224 px': [*sweep(bench, FEW, STEPS, options_of(method))]
              for method in (*METHODS, 'auto')}
    groups['all methods, 128 and 320 px, 1 and 4 threads, the smallest limit'] = [
        bench.smallest(FEW, options_of(method, size, threads=threads))
        for method, size, threads in product(METHODS, (128, 320), (1, 4))]
    groups['`last`, `lite+bias`, 224 px, large pictures among small ones'] = [
        run for method in ('last', 'lite+bias')
        for run in sweep(bench, LARGE, STEPS[::2], options_of(method))]
    return groups


def insert(path, text):
    """Puts the text between the markers of a document."""
    document = path.read_text(encoding='utf-8')
    before, begin, rest = document.partition(memory_report.BEGIN)
    _, end, after = rest.partition(memory_report.END)
    if not begin or not end:
        raise SystemExit(f'{path}: expected {memory_report.BEGIN} and {memory_report.END}')
    part = path.with_name(path.name + '.part')
    part.write_text(f'{before}{begin}\n{text}{end}{after}', encoding='utf-8')
    os.replace(part, path)


def main():
    parser = argparse.ArgumentParser(description=' '.join(__doc__.split('\n\n', 1)[0].split()))
    add_paths(parser)
    parser.add_argument('--cache', type=Path, metavar='JSONL',
                        help='results so far (default: memory.jsonl beside the program)')
    parser.add_argument('--out', type=Path,
                        help='document with markers to write between (default: standard output)')
    args = parser.parse_args()

    tinytl = args.tinytl.resolve()
    binary = hashlib.sha256(tinytl.read_bytes()).hexdigest()
    cache = Cache(args.cache or tinytl.with_name('memory.jsonl'), binary)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(tinytl, cache, folder)
        text = memory_report.page({**machine(tinytl), 'sha256': binary}, [*measure_rows(bench)],
                                  measure_matrix(bench), measure_limits(bench))
    if args.out:
        insert(args.out, text)
    else:
        print(text, end='')


if __name__ == '__main__':
    main()
