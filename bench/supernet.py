#!/usr/bin/env python3
"""What a search in a super-net gains: the figures of docs/supernet.md, as Markdown.

    bench/supernet.py SUPERNET DIR [--method lite+bias] [--share 0.5] [--random 5] [--epochs N]
                      [--candidates N] [--no-mirror] [--seed 0]

Every sub-net is adapted with 'train' under the same limit, but for the largest, which has none, and
evaluated on DIR/test, or where there is none on the pictures that 'train' holds back: the search's
choice, the largest one at the super-net's own size of pictures, random ones of the
same memory.
"""
import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

from common import SOURCE, machine, run_json


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('supernet', type=Path)
    parser.add_argument('dir', type=Path, help='class folders, or train and test with them')
    parser.add_argument('--tinytl', type=Path, default=SOURCE / 'build' / 'tinytl')
    parser.add_argument('--subnets', type=Path,
                        default=SOURCE / 'build' / 'bench' / 'bench_subnets')
    parser.add_argument('--share', type=float, default=0.5,
                        help="of the largest one's planned training memory (default: 0.5)")
    parser.add_argument('--random', type=int, default=5, help='random sub-nets (default: 5)')
    parser.add_argument('--method', default='lite+bias')
    parser.add_argument('--candidates', type=int, help='of the search (default: its own)')
    parser.add_argument('--epochs', type=int, help='of adapting and training (default: theirs)')
    parser.add_argument('--no-mirror', action='store_true',
                        help='where left and right differ, as in signs')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def training_of(args):
    """Options of what is trained: the super-net in the search, and sub-nets."""
    epochs = ['--epochs', args.epochs] if args.epochs else []
    return epochs + (['--no-mirror'] if args.no_mirror else [])


def search(args, folder, limit):
    """The last object of a search; its backbone."""
    path = folder / 'chosen.safetensors'
    candidates = ['--candidates', args.candidates] if args.candidates else []
    done = run_json([args.tinytl, 'search', '-m', args.supernet, '-d', args.dir, '-o', path,
                     '--method', args.method, '--memory-limit', limit, '--search-limit', '1G',
                     '--seed', args.seed, '--json', '-q', *candidates, *training_of(args)])[-1]
    return done, path


def adapt(args, folder, backbone, limit):
    """Accuracy of a backbone that was adapted."""
    adapter = folder / 'adapter.safetensors'
    limits = ['--memory-limit', limit] if limit else []
    done = run_json([args.tinytl, 'train', '-m', backbone, '-d', args.dir, '-o', adapter,
                     '--method', args.method, '--seed', args.seed, '--json', '-q',
                     *training_of(args), *limits])[-1]
    if not (args.dir / 'test').is_dir():
        return done['val_top1']
    return run_json([args.tinytl, 'eval', '-m', backbone, '-a', adapter, '-d', args.dir,
                     '--json', '-q'])[-1]['top1']


def subnets(args, prefix, limit, n):
    done = subprocess.run([str(word) for word in (args.subnets, args.supernet, args.dir, prefix,
                                                  limit, n, args.seed)],
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.split()


def main():
    args = parse()
    print(f'{machine(args.tinytl)}\n')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        largest = folder / 'largest.safetensors'
        planned, base = (int(word) for word in subnets(args, largest, 0, 1))
        limit = int(base + args.share * planned)
        print(f'The largest sub-net: {planned / 1e6:.1f} MB planned for {args.method}. Limit: '
              f'{limit / 1e6:.1f} MB, {base / 1e6:.1f} MB of them held before.\n')
        rows = [('the largest, without a limit', adapt(args, folder, largest, 0), None)]
        done, path = search(args, folder, limit)
        print(f"Kendall's tau {done['tau']:.2f}; {done['candidates']} sub-nets measured; peak of "
              f"the search {done['peak_rss_bytes'] / 1e6:.1f} MB.\n")
        rows.append((f"chosen, {done['arch']['image_size']} px",
                     adapt(args, folder, path, limit), done['seconds']))
        found = [adapt(args, folder, path, limit)
                 for path in subnets(args, folder / 'random', limit, args.random)]
        if found:
            rows.append((f'median of {len(found)} random ones, {min(found):.3f} to '
                         f'{max(found):.3f}', statistics.median(found), None))
    print('| sub-net | top-1 after training | search, s |\n|---|---|---|')
    for what, top1, seconds in rows:
        print(f'| {what} | {top1:.3f} | {"" if seconds is None else f"{seconds:.0f}"} |')


if __name__ == '__main__':
    main()
