#!/usr/bin/env python3
"""oneDNN's time for the pointwise and depthwise layers of a network, one picture, through PyTorch: a
line of JSON a kind, direction and number of threads.

Every layer runs in each memory layout that oneDNN may like, weights reordered beforehand where that
is possible, and the fastest counts.  What a call costs without arithmetic, measured on 16 channels of
one pixel, is taken off.
"""
import argparse
import json
import math
import time
from collections import Counter

import torch
import torch.nn.functional as F
from torch_step import read_safetensors

MIN_CALLS = 5
ROUNDS = 3  # as of bench/kernels.c
SMALL = 16  # channels


def layers(path, size):
    """Counter of (kind, in, out, kernel, stride, groups, side of the input)."""
    metadata, _ = read_safetensors(path)
    found = Counter()
    for layer in json.loads(metadata['architecture'])['layers']:
        kind = 'depthwise' if layer['groups'] > 1 else 'pointwise' if layer['kernel'] == 1 else None
        if kind:
            found[kind, layer['in'], layer['out'], layer['kernel'], layer['stride'],
                  layer['groups'], size] += 1
        size = math.ceil(size / layer['stride'])
    return found


def forward_ways(x, w, bias, options):
    """Functions of no argument that do the same convolution."""
    for layout in (torch.contiguous_format, torch.channels_last):
        xl, wl = x.contiguous(memory_format=layout), w.contiguous(memory_format=layout)
        yield lambda xl=xl, wl=wl: F.conv2d(xl, wl, bias, *options)
    stride, padding, dilation, groups = options
    blocked = x.to_mkldnn()
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # what torch.utils.mkldnn does
        w.to_mkldnn(), padding, stride, dilation, groups, x.shape)
    yield lambda: torch.mkldnn_convolution(blocked, packed, bias, padding, stride, dilation, groups)


def backward_ways(x, w, bias, options):
    """The gradient of the input."""
    stride, padding, dilation, groups = options
    dy = torch.rand_like(F.conv2d(x, w, bias, *options))
    for layout in (torch.contiguous_format, torch.channels_last):
        xl, wl, dyl = (t.contiguous(memory_format=layout) for t in (x, w, dy))
        yield lambda xl=xl, wl=wl, dyl=dyl: torch.ops.aten.convolution_backward(
            dyl, xl, wl, None, stride, padding, dilation, False, [0, 0], groups,
            [True, False, False])


def fastest(call, seconds):
    """Of several calls, in seconds."""
    best, n, end = math.inf, 0, time.perf_counter() + seconds
    while n < MIN_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        n += 1
    return best


def layer_seconds(layer, ways, seconds):
    _, n_in, n_out, kernel, stride, groups, side = layer
    options = [stride] * 2, [kernel // 2] * 2, [1, 1], groups
    w, bias = torch.rand(n_out, n_in // groups, kernel, kernel), torch.rand(n_out)
    return min(fastest(call, seconds)
               for call in ways(torch.rand(1, n_in, side, side), w, bias, options))


def total_seconds(counts, kind, ways, seconds):
    groups = SMALL if kind == 'depthwise' else 1
    empty = (kind, SMALL, SMALL, 1, 1, groups, 1)
    wanted = [layer for layer in counts if layer[0] == kind]
    rounds = [[layer_seconds(layer, ways, seconds) for layer in (empty, *wanted)]
              for _ in range(ROUNDS)]
    call, *best = map(min, zip(*rounds))
    return sum(counts[layer] * max(taken - call, 0) for layer, taken in zip(wanted, best))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--weights', required=True, help='safetensors file')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--seconds', type=float, default=0.02, help='a layer and way')
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    counts = layers(args.weights, args.size)
    with torch.inference_mode():
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for direction, ways in (('forward', forward_ways), ('backward', backward_ways)):
                for kind in ('pointwise', 'depthwise'):
                    seconds = total_seconds(counts, kind, ways, args.seconds)
                    print(json.dumps({'kind': kind, 'direction': direction, 'threads': threads,
                                      'ms': 1e3 * seconds}), flush=True)


if __name__ == '__main__':
    main()
