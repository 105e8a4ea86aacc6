#!/usr/bin/env python3
"""PyTorch's side of the comparison: pictures per second of one task, a line of JSON a variant.

The same network (from the same safetensors file, batch norms folded), the same trained
parameters, lite residual modules, loss, optimizer and number of classes as 'tinytl bench'.  What
differs is in PyTorch's favour: symmetric padding, which its convolutions do without a copy, and
pictures that are normalised float32 before the clock starts.
"""
import argparse
import json
import resource
import struct
import time

import torch
import torch.nn.functional as F
from torch import nn

N_CLASSES = 10
LITE_EPS = 1e-3
LITE_KERNEL, LITE_GROUPS = 3, 8  # at most, as of tinytl_arch_add_lite in src/model/arch.h
ACTS = {'relu6': lambda: nn.ReLU6(inplace=True), 'relu': lambda: nn.ReLU(inplace=True),
        'none': nn.Identity}


def read_safetensors(path):
    """The metadata and the float32 tensors of a file."""
    with open(path, 'rb') as file:
        length, = struct.unpack('<Q', file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    metadata = header.pop('__metadata__')
    tensors = {}
    for name, entry in header.items():
        start, end = entry['data_offsets']
        flat = torch.frombuffer(data, dtype=torch.float32, count=(end - start) // 4, offset=start)
        tensors[name] = flat.reshape(entry['shape']).clone()  # aligned as PyTorch does it
    return metadata, tensors


class Lite(nn.Module):
    """Lite residual module; the last norm's scale of 0 makes a new one an exact zero."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        mid = (n_in + 7) // 8 * 8
        groups = LITE_GROUPS
        while groups > 1 and (n_in % groups or n_in == groups):
            groups //= 2
        self.conv = nn.Conv2d(n_in, mid, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm1 = nn.GroupNorm(mid // 8, mid, eps=LITE_EPS)
        self.pointwise = nn.Conv2d(mid, n_out, 1, bias=False)
        self.norm2 = nn.GroupNorm(n_out // 8, n_out, eps=LITE_EPS)
        for conv in (self.conv, self.pointwise):
            nn.init.kaiming_normal_(conv.weight, mode='fan_out')
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x, size):
        x = F.avg_pool2d(x, 2)
        x = self.norm2(self.pointwise(F.relu(self.norm1(self.conv(x)), inplace=True)))
        return F.interpolate(x, size, mode='bilinear', align_corners=False)


class Block(nn.Module):
    """Convolutions in a row, a shortcut around them, a lite module beside them."""

    def __init__(self, layers, shortcut, lite_kernel):
        super().__init__()
        units = []
        for layer in layers:
            units += [nn.Conv2d(layer['in'], layer['out'], layer['kernel'], layer['stride'],
                                layer['kernel'] // 2, groups=layer['groups']),
                      ACTS[layer['act']]()]
        self.main = nn.Sequential(*units)
        self.shortcut = shortcut
        stride = max(layer['stride'] for layer in layers)
        self.lite = Lite(layers[0]['in'], layers[-1]['out'], lite_kernel, stride) \
            if lite_kernel else None

    def forward(self, x):
        y = self.main(x)
        if self.lite is not None:
            y = y + self.lite(x, y.shape[2:])
        return y + x if self.shortcut else y


def lite_kernel(resolution):
    """TinyTL's rule: less 2 while half the nominal resolution is below the kernel."""
    kernel = LITE_KERNEL
    while kernel > 1 and resolution // 2 < kernel:
        kernel -= 2
    return kernel


class Net(nn.Module):
    """The chain of a file: stem, inverted residuals (each ends without activation), last layer."""

    def __init__(self, arch, with_lite, n_classes):
        super().__init__()
        layers = arch['layers']
        blocks, part, resolution = [Block(layers[:1], False, 0)], [], 128
        for layer in layers[1:]:
            part.append(layer)
            if layer['act'] == 'none' or layer is layers[-1]:
                has_lite = with_lite and len(blocks) > 1 and layer is not layers[-1]
                blocks.append(Block(part, layer['add'] is not None,
                                    lite_kernel(resolution) if has_lite else 0))
                resolution //= max(one['stride'] for one in part)
                part = []
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(layers[-1]['out'], n_classes)

    def convs(self):
        return [unit for block in self.blocks for unit in block.main if isinstance(unit, nn.Conv2d)]

    def features(self, x):
        return self.blocks(x).mean((2, 3))

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x)))


def build(path, method, n_classes=N_CLASSES):
    """The network with the file's weights; requires_grad for what the method trains alone.
    Method None, for inference: the file's classifier too."""
    metadata, tensors = read_safetensors(path)
    arch = json.loads(metadata['architecture'])
    net = Net(arch, method == 'lite+bias', n_classes if method else arch['classifier']['out'])
    if not method:
        net.classifier.load_state_dict({key: tensors['classifier.' + key]
                                        for key in ('weight', 'bias')})
    trains_bias = method in ('bias', 'lite+bias', 'full')
    for layer, conv in zip(arch['layers'], net.convs()):
        conv.weight = nn.Parameter(tensors[layer['name'] + '.weight'],
                                   requires_grad=method == 'full')
        conv.bias = nn.Parameter(tensors[layer['name'] + '.bias'], requires_grad=trains_bias)
    for block in net.blocks:
        # The main branch's last bias does the last norm's work.
        if block.lite is not None:
            block.lite.norm2.bias.requires_grad = False
    return net, arch['input'][1]


def adam(params):
    try:
        return torch.optim.Adam(params, fused=True)
    except RuntimeError:  # before PyTorch 2.4, on a GPU only
        return torch.optim.Adam(params)


def freeze(module, x):
    """Traced, constants folded, convolutions and activations fused: the fastest inference."""
    return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module, x)))


class Features(nn.Module):
    """A network's features as a module of their own, which can be traced."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.features(x)


def training_step(net, method, x, variant):
    labels = torch.arange(len(x)) % N_CLASSES
    optimizer = adam([param for param in net.parameters() if param.requires_grad])
    features, forward = Features(net), net
    if 'frozen graph' in variant:
        features = freeze(features.eval(), x)
    elif 'compiled' in variant:
        features, forward = torch.compile(features), torch.compile(net)
    net.train()

    def output():
        if method != 'last':
            return forward(x)
        with torch.no_grad():
            pooled = features(x)
        return net.classifier(net.dropout(pooled))

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(output(), labels, label_smoothing=0.1).backward()
        optimizer.step()

    return step


def inference(net, x, variant):
    net.eval()
    if 'frozen graph' in variant:
        net = freeze(net, x)
    elif 'compiled' in variant:
        net = torch.compile(net)

    def step():
        with torch.inference_mode():
            net(x)

    return step


def measure(step, n_images, seconds):
    for _ in range(5):
        step()
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        n += 1
    return n * n_images / (time.perf_counter() - start)


def run(args, variant):
    """variant: 'NCHW' or 'channels last', then perhaps 'frozen graph' or 'compiled', '1 thread'."""
    torch.set_num_threads(1 if '1 thread' in variant else args.threads)
    torch.manual_seed(0)
    trains = args.task == 'train'
    net, size = build(args.weights, args.method if trains else None)
    x = torch.rand(args.batch, 3, size, size) * 2 - 1
    if 'channels last' in variant:
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    step = training_step(net, args.method, x, variant) if trains else inference(net, x, variant)
    return {
        'task': args.task, 'method': args.method if trains else None, 'batch': args.batch,
        'variant': variant, 'images_per_second': measure(step, args.batch, args.seconds),
        'peak_rss_bytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        'trained': sum(param.numel() for param in net.parameters() if param.requires_grad)
        if trains else 0, 'torch': torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--weights', required=True, help='safetensors file')
    parser.add_argument('--task', choices=('train', 'predict'), default='train')
    parser.add_argument('--method', choices=('last', 'bias', 'lite+bias'), default='lite+bias')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=5)
    parser.add_argument('--variant', action='append',
                        help='such as "channels last, frozen graph"; several are run in turn')
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    for variant in args.variant or ['NCHW']:
        print(json.dumps(run(args, variant)), flush=True)


if __name__ == '__main__':
    main()
