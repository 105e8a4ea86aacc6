#!/usr/bin/env python3
"""PyTorch's side of bench/pretrain.py: pictures per second of a step of pre-training MobileNetV2
from random weights, SGD with Nesterov's momentum, a line of JSON a memory layout.

Pictures are float32 before the clock starts; 'tinytl pretrain' decodes and crops its own.
"""
import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[2] / 'tools'))
from network import Block, ConvNorm  # noqa: E402

# expand, channels, blocks, stride (Sandler et al., 2018, table 2)
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
          (6, 320, 1, 1)]


def scaled(channels, width):
    """The nearest multiple of 8, at least 8 and never below nine tenths."""
    number = max(8, int(channels * width + 4) // 8 * 8)
    return number + 8 if number < 0.9 * channels * width else number


def mobilenet(width, n_classes):
    n_in = scaled(32, width)
    parts = [ConvNorm(3, n_in, 3, 2)]
    for expand, channels, n, stride in STAGES:
        for i in range(n):
            n_out = scaled(channels, width)
            parts.append(Block(n_in, n_out, 3, expand, stride if i == 0 else 1, 0))
            n_in = n_out
    head = scaled(1280, max(1.0, width))
    return nn.Sequential(*parts, ConvNorm(n_in, head, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(head, n_classes))


def measure(args, layout):
    torch.manual_seed(0)
    net = mobilenet(args.width, args.classes).to(memory_format=layout)
    x = torch.randn(args.batch, 3, args.size, args.size).to(memory_format=layout)
    labels = torch.arange(args.batch) % args.classes
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True,
                                weight_decay=5e-4)
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), labels, label_smoothing=0.1).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return args.batch / statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--width', type=float, default=1.0)
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=6)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, layout in (('contiguous', torch.contiguous_format),
                         ('channels last', torch.channels_last)):
        rate = measure(args, layout)
        print(json.dumps({'variant': name, 'images_per_second': rate, 'torch': torch.__version__,
                          'peak_rss_bytes':
                              resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == '__main__':
    main()
