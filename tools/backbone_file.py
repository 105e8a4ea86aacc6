"""Writes, reads and runs tinytl's backbone file ("backbone 1"): the reference for the C reader.

The file is safetensors: the header's length (u64, little-endian), a JSON header, raw data.  Its
`__metadata__` says what the network is (`tinytl.arch`) and what it takes (`tinytl.input`).

    layers.<i>.weight     int8 or float32: [out][k][k][in / groups], depthwise [k][k][channels]
    layers.<i>.scale      float32 [out], with int8 weights: weight = scale * int8
    layers.<i>.bias       float32 [out]
    lite.<b>.conv.weight  float32 [mid][k][k][in / groups]    lite.<b>.pointwise.weight [out][mid]
    lite.<b>.norm1.*, lite.<b>.norm2.*   float32, group norms of 8 channels a group: weight, bias
    classifier.weight     int8 or float32 [classes][features]; classifier.scale, classifier.bias
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

LITE_EPS = 1e-3
TYPES = {'F32': np.dtype('<f4'), 'I8': np.dtype('i1')}


def fold(conv, norm):
    """The weight and bias of a convolution with the batch norm that follows it."""
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * gain.view(-1, 1, 1, 1), norm.bias - norm.running_mean * gain


def quantise(weight):
    """Symmetric int8, one scale for each output channel (the first axis)."""
    flat = weight.reshape(len(weight), -1)
    scale = np.abs(flat).max(1) / np.float32(127)
    scale[scale == 0] = 1
    scaled = weight / scale.reshape(-1, *[1] * (weight.ndim - 1))
    return np.rint(scaled).clip(-127, 127).astype(np.int8), scale


def to_file_order(weight, groups):
    """PyTorch's [out][in / groups][k][k] to the file's order."""
    if groups == len(weight) and groups > 1:
        return np.moveaxis(weight[:, 0], 0, -1)
    return np.moveaxis(weight, 1, -1)


def collect(net):
    """The tensors and the architecture of a network of pretrain.py."""
    tensors, layers, lite = {}, [], []
    for i, (unit, add) in enumerate(net.layers()):
        conv = unit[0]
        weight, bias = fold(conv, unit[1])
        int8, scale = quantise(weight.numpy())
        tensors[f'layers.{i}.weight'] = to_file_order(int8, conv.groups)
        tensors[f'layers.{i}.scale'], tensors[f'layers.{i}.bias'] = scale, bias.numpy()
        layers.append({'in': conv.in_channels, 'out': conv.out_channels,
                       'kernel': conv.kernel_size[0], 'stride': conv.stride[0],
                       'groups': conv.groups, 'act': unit.act, 'pad': 'symmetric', 'add': add})
    for b, block in enumerate(net.blocks):
        module = block.lite
        if module is None:
            continue
        name, conv = f'lite.{b}', module.conv
        tensors[f'{name}.conv.weight'] = to_file_order(conv.weight.numpy(), conv.groups)
        tensors[f'{name}.pointwise.weight'] = module.pointwise.weight.numpy()[:, :, 0, 0]
        for norm in ('norm1', 'norm2'):
            tensors[f'{name}.{norm}.weight'] = getattr(module, norm).weight.numpy()
            tensors[f'{name}.{norm}.bias'] = getattr(module, norm).bias.numpy()
        lite.append({'block': b, 'kernel': conv.kernel_size[0], 'groups': conv.groups,
                     'mid': conv.out_channels})
    int8, scale = quantise(net.classifier.weight.numpy())
    tensors['classifier.weight'], tensors['classifier.scale'] = int8, scale
    tensors['classifier.bias'] = net.classifier.bias.numpy()
    classes, features = net.classifier.weight.shape
    return tensors, {'name': 'tinytl-default', 'layers': layers, 'features': features,
                     'classes': classes, 'lite': lite}


@torch.no_grad()
def write(path, net, metadata):
    """Writes the network with its batch norms folded; float32 first, so that it is aligned."""
    tensors, arch = collect(net)
    compact = {'separators': (',', ':'), 'ensure_ascii': False}
    header = {'__metadata__': {'tinytl.format': 'backbone 1',
                               'tinytl.arch': json.dumps(arch, **compact), **metadata}}
    data = b''
    for kind in ('F32', 'I8'):
        for name, tensor in tensors.items():
            if (tensor.dtype == np.int8) == (kind == 'I8'):
                raw = np.ascontiguousarray(tensor, TYPES[kind]).tobytes()
                header[name] = {'dtype': kind, 'shape': list(tensor.shape),
                                'data_offsets': [len(data), len(data) + len(raw)]}
                data += raw
    text = json.dumps(header, **compact).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


class Backbone:
    """A backbone file, read back and run in float32."""

    def __init__(self, path):
        with open(path, 'rb') as file:
            raw = file.read()
        length, = struct.unpack_from('<Q', raw)
        header = json.loads(raw[8:8 + length])
        self.metadata = header.pop('__metadata__')
        self.arch = json.loads(self.metadata['tinytl.arch'])
        self.tensors = {}
        for name, entry in header.items():
            start, end = (8 + length + offset for offset in entry['data_offsets'])
            tensor = np.frombuffer(raw[start:end], TYPES[entry['dtype']]).reshape(entry['shape'])
            self.tensors[name] = torch.from_numpy(tensor.astype(np.float32))
        self.blocks = self.find_blocks()

    def find_blocks(self):
        """(first, last) layer of each inverted residual: it ends with a convolution without act."""
        blocks, first = [], 1
        for i, layer in enumerate(self.arch['layers']):
            if layer['act'] == 'none':
                blocks.append((first, i))
                first = i + 1
        return blocks

    def weight(self, name, groups=1):
        """A weight in PyTorch's order, in float32."""
        weight = self.tensors[name + '.weight']
        scale = self.tensors.get(name + '.scale')
        if groups > 1 and weight.dim() == 3:
            weight = weight.permute(2, 0, 1).unsqueeze(1)
        elif weight.dim() == 4:
            weight = weight.permute(0, 3, 1, 2)
        return weight if scale is None else weight * scale.view(-1, *[1] * (weight.dim() - 1))

    def norm(self, name, x):
        return F.group_norm(x, x.shape[1] // 8, self.tensors[name + '.weight'],
                            self.tensors[name + '.bias'], LITE_EPS)

    def lite(self, spec, stride, x, size):
        name = f'lite.{spec["block"]}'
        x = F.avg_pool2d(x, [min(2, side) for side in x.shape[2:]], 2)
        x = F.conv2d(x, self.weight(name + '.conv'), None, stride, (spec['kernel'] - 1) // 2, 1,
                     spec['groups'])
        x = F.relu(self.norm(name + '.norm1', x))
        x = F.conv2d(x, self.weight(name + '.pointwise')[:, :, None, None])
        return F.interpolate(self.norm(name + '.norm2', x), size, mode='bilinear',
                             align_corners=False)

    def features(self, x, with_lite=True):
        """x: (n, 3, h, w), normalised."""
        act = {'relu6': F.relu6, 'relu': F.relu, 'none': lambda x: x}
        modules = {self.blocks[spec['block']][1]: spec for spec in self.arch['lite']}
        layers, outputs = self.arch['layers'], []
        for i, layer in enumerate(layers):
            weight = self.weight(f'layers.{i}', layer['groups'])
            y = act[layer['act']](F.conv2d(x, weight, self.tensors[f'layers.{i}.bias'],
                                           layer['stride'], (layer['kernel'] - 1) // 2, 1,
                                           layer['groups']))
            if with_lite and i in modules:
                first, last = self.blocks[modules[i]['block']]
                stride = max(part['stride'] for part in layers[first:last + 1])
                y = y + self.lite(modules[i], stride, outputs[first - 1], y.shape[2:])
            if layer['add'] is not None:
                y = y + outputs[layer['add']]
            outputs.append(y)
            x = y
        return x.mean((2, 3))

    def __call__(self, x):
        return F.linear(self.features(x), self.weight('classifier'),
                        self.tensors['classifier.bias'])
