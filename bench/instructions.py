#!/usr/bin/env python3
"""Instructions of the kernels on arm64, NEON beside the portable set, counted under qemu-aarch64.

No arm64 machine is needed: qemu logs every instruction that a program executes. A convolution runs
once and twice; the difference is one time, without the program's start.
"""
import argparse
import os
import subprocess
from pathlib import Path

import report
from common import SOURCE

SETS = ('portable', 'neon')
LOGGED = ['-singlestep', '-d', 'exec,nochain', '-D', '/dev/stdout']


def executed(program, name, times, kernels):
    """Instructions of the whole program: each is a block of its own, and a line."""
    environment = {**os.environ, 'TINYTL_KERNELS': kernels}
    with subprocess.Popen(['qemu-aarch64', *LOGGED, program, name, str(times)], env=environment,
                          stdout=subprocess.PIPE) as process:
        count = 0
        while block := process.stdout.read(1 << 20):
            count += block.count(b'\n')
    if process.returncode != 0:
        raise SystemExit(f'{program} {name}: exit code {process.returncode}')
    return count


def rows(program):
    listed = subprocess.run(['qemu-aarch64', program], stdout=subprocess.PIPE, check=True,
                            text=True).stdout
    for line in listed.splitlines():
        name, macs = line.split('\t')
        each = [(executed(program, name, 2, kernels) - executed(program, name, 1, kernels))
                / int(macs) for kernels in SETS]
        yield [name, f'{int(macs) / 1e6:.2f}', *[f'{one:.3f}' for one in each],
               f'{each[0] / each[1]:.2f}']


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--program', default=SOURCE / 'build-arm64' / 'bench' / 'bench_instructions',
                        type=Path, help='default: build-arm64/bench/bench_instructions')
    args = parser.parse_args()
    print(report.table(['convolution', 'million multiply-adds:', 'portable, instructions each:',
                        'NEON:', 'portable / NEON:'], rows(args.program)), end='')


if __name__ == '__main__':
    main()
