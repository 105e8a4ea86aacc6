#!/usr/bin/env python3
"""torch_golden.py DIR [SIZE]: makes checkpoints under the public tensor names, with random weights and batch norm
statistics, and for each what PyTorch computes from it: NAME.golden, a safetensors file with
"pixels" [n][size][size][3] (as float32) and "logits" [n][classes].  For tests/format/test_torch_golden.c.

The networks are described here anew, by what is published of them; nothing but PyTorch is needed."""
import collections
import math
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

PICTURES, CLASSES = 2, 100
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
# kernel, expand, out of every block, by stage; a number stands for a block that was searched away.
PROXYLESS_MOBILE = [
    [(3, 1, 16)], [(5, 3, 32), (3, 3, 32), 0, 0], [(7, 3, 40), (3, 3, 40), (5, 3, 40), (5, 3, 40)],
    [(7, 6, 80), (5, 3, 80), (5, 3, 80), (5, 3, 80)], [(5, 6, 96), (5, 3, 96), (5, 3, 96), (5, 3, 96)],
    [(7, 6, 192), (7, 6, 192), (7, 3, 192), (7, 3, 192)], [(7, 6, 320)]]

Layer = collections.namedtuple('Layer', 'conv norm n_in n_out kernel stride depthwise act add')


def scaled(channels, width):
    """The nearest multiple of 8, at least 8, and never less than 90 % of the exact figure."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def mobilenet_v2(width, repeats=(1, 2, 3, 4, 3, 3, 1)):
    outs = [scaled(c, width) for c in (16, 24, 32, 64, 96, 160, 320)]
    return [[(3, 6 if s else 1, outs[s])] * repeats[s] for s in range(7)], scaled(32, width)


def proxyless(width):
    blocks = [[b and (b[0], b[1], scaled(b[2], width)) for b in stage] for stage in PROXYLESS_MOBILE]
    return blocks, scaled(32, width)


def once_for_all(width):
    outs = [scaled(c, width) for c in (16, 24, 40, 80, 96, 192, 320)]
    repeats = (1, 4, 4, 4, 4, 4, 1)
    return [[(7 if s else 3, 6 if s else 1, outs[s])] * repeats[s] for s in range(7)], scaled(32, width)


def torchvision_names(stage, block, number, expand):
    at = 'features.%d.conv.' % (number + 1)
    names = [('0.0', '0.1'), ('1.0', '1.1'), ('2', '3')] if expand > 1 else [('0.0', '0.1'), ('1', '2')]
    return [(at + conv, at + norm) for conv, norm in names]


def timm_names(stage, block, number, expand):
    at = 'blocks.%d.%d.' % (stage, block)
    convs = ['conv_pw', 'conv_dw', 'conv_pwl'] if expand > 1 else ['conv_dw', 'conv_pw']
    return [(at + conv, at + 'bn%d' % (i + 1)) for i, conv in enumerate(convs)]


def mit_names(block_name, elastic):
    def names(stage, block, number, expand):
        parts = ['inverted_bottleneck', 'depth_conv', 'point_linear'][0 if expand > 1 else 1:]
        at, twice = 'blocks.%d.%s.' % (number, block_name), elastic and expand > 1
        return [(at + p + ('.conv.conv' if twice else '.conv'), at + p + ('.bn.bn' if twice else '.bn')) for p in parts]
    return names


def layers_of(blocks, stem, head, block_names, stem_names, head_names):
    layers = [Layer(*stem_names, 3, stem, 3, 2, False, True, None)]
    number = 0
    for s, stage in enumerate(blocks):
        for b, spec in enumerate(stage):
            if spec:
                kernel, expand, n_out = spec
                n_in, source = layers[-1].n_out, len(layers) - 1
                stride = STRIDES[s] if b == 0 else 1
                names = block_names(s, b, number, expand)
                if expand > 1:
                    layers.append(Layer(*names[0], n_in, n_in * expand, 1, 1, False, True, None))
                layers.append(Layer(*names[-2], n_in * expand, n_in * expand, kernel, stride, True, True, None))
                add = source if stride == 1 and n_in == n_out else None
                layers.append(Layer(*names[-1], n_in * expand, n_out, 1, 1, False, False, add))
            number += 1
    return layers + [Layer(*head_names, layers[-1].n_out, head, 1, 1, False, True, None)]


def random_pictures(size, seed):
    """Patches of colour with soft edges, so that two pictures differ after the pooling too."""
    patches = torch.rand(PICTURES, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(patches, (size, size), mode='bicubic') * 255).round().clamp(0, 255).permute(0, 2, 3, 1)


def normalised(pixels):
    return ((pixels / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def convolution(layer, x, state):
    return F.conv2d(x, state[layer.conv + '.weight'], None, layer.stride, (layer.kernel - 1) // 2,
                    groups=layer.n_in if layer.depthwise else 1)


def batch_norm(layer, y, eps, outputs, state):
    parts = ('.running_mean', '.running_var', '.weight', '.bias')
    y = F.batch_norm(y, *(state[layer.norm + part] for part in parts), eps=eps)
    y = F.relu6(y) if layer.act else y
    return y if layer.add is None else y + outputs[layer.add + 1]


def random_state(layers, classifier, eps, elastic, dtype, pixels, seed):
    """Weights whose size differs from channel to channel, so that eps counts, and statistics near those of the
    pictures: with others, all pictures would give the same logits in the end."""
    g = torch.Generator().manual_seed(seed)
    state, outputs = collections.OrderedDict(), [normalised(pixels)]
    for layer in layers:
        n_in, n_out = 1 if layer.depthwise else layer.n_in, layer.n_out
        size = torch.exp(torch.empty(n_out).uniform_(-3, 0, generator=g)) / math.sqrt(layer.kernel ** 2 * n_in)
        weight = torch.randn(n_out, n_in, layer.kernel, layer.kernel, generator=g)
        state[layer.conv + '.weight'] = weight * size[:, None, None, None]
        state[layer.norm + '.weight'] = torch.empty(n_out).uniform_(0.5, 1.5, generator=g)
        state[layer.norm + '.bias'] = torch.randn(n_out, generator=g) * 0.5
        y = convolution(layer, outputs[-1], state)
        variance, mean = torch.var_mean(y, (0, 2, 3))
        relative = variance / size ** 2  # a channel that hardly varies must not become one of noise
        variance = torch.maximum(relative, relative.mean() / 2) * size ** 2
        state[layer.norm + '.running_mean'] = mean + variance.sqrt() * torch.randn(n_out, generator=g) * 0.2
        state[layer.norm + '.running_var'] = variance * torch.empty(n_out).uniform_(0.5, 1.5, generator=g)
        state[layer.norm + '.num_batches_tracked'] = torch.tensor(1234)
        outputs.append(batch_norm(layer, y, eps, outputs, state))
        if elastic and layer.conv.endswith('depth_conv.conv.conv'):
            for larger, smaller in ((7, 5), (5, 3)):
                state[layer.conv[:-4] + '%dto%d_matrix' % (larger, smaller)] = torch.eye(smaller ** 2)
    n_features = layers[-1].n_out
    state[classifier + '.weight'] = torch.randn(CLASSES, n_features, generator=g) / math.sqrt(n_features)
    state[classifier + '.bias'] = torch.randn(CLASSES, generator=g) * 0.1
    return collections.OrderedDict((k, v.to(dtype) if v.is_floating_point() else v) for k, v in state.items())


def logits_of(layers, classifier, eps, state, pixels):
    state, outputs = {k: v.float() for k, v in state.items()}, [normalised(pixels)]
    for layer in layers:
        outputs.append(batch_norm(layer, convolution(layer, outputs[-1], state), eps, outputs, state))
    return F.linear(outputs[-1].mean((2, 3)), state[classifier + '.weight'], state[classifier + '.bias'])


def networks():
    """name, layers, classifier, eps, elastic, dtype, what a training script saves of the state_dict"""
    v2 = (torchvision_names, ('features.0.0', 'features.0.1'), ('features.18.0', 'features.18.1'))
    timm = (timm_names, ('conv_stem', 'bn1'), ('conv_head', 'bn2'))
    mit = (('first_conv.conv', 'first_conv.bn'), ('feature_mix_layer.conv', 'feature_mix_layer.bn'))
    old, new = 'mobile_inverted_conv', 'conv'

    def entire(state):
        parallel = {'module.' + k: v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v
                    for k, v in state.items()}
        moments = {i: {'step': torch.tensor(7.), 'exp_avg': torch.zeros_like(v)} for i, v in enumerate(state.values())}
        return {'epoch': 90, 'best': 71.8, 'model': parallel, 'args': ['--lr', '0.1', None, True, 1 << 70, -5],
                'optimizer': {'state': moments, 'param_groups': [{'lr': 0.1, 'params': list(range(len(state)))}]}}

    def under(key):
        return lambda state: {key: state}

    yield 'torchvision-1.0.pth', layers_of(*mobilenet_v2(1), 1280, *v2), 'classifier.1', 1e-5, False, torch.float32, dict
    yield 'torchvision-0.5.safetensors', layers_of(*mobilenet_v2(0.5), 1280, *v2), 'classifier.1', 1e-5, False, torch.float32, dict
    yield 'timm-100.safetensors', layers_of(*mobilenet_v2(1), 1280, *timm), 'classifier', 1e-5, False, torch.float32, dict
    yield ('timm-035-half.pth', layers_of(*mobilenet_v2(0.35), 1280, *timm), 'classifier', 1e-5, False, torch.float16,
           under('state_dict'))
    yield ('timm-110d-entire.pth', layers_of(*mobilenet_v2(1.1, (1, 3, 4, 5, 4, 4, 1)), 1280, *timm), 'classifier', 1e-5,
           False, torch.float32, entire)
    yield ('proxyless-mobile.pth', layers_of(*proxyless(1), 1280, mit_names(old, False), *mit), 'classifier.linear', 1e-3,
           False, torch.float32, under('state_dict'))
    yield ('proxyless-0.3-double.pth', layers_of(*proxyless(0.3), 1280, mit_names(new, False), *mit), 'classifier.linear',
           1e-3, False, torch.float64, collections.OrderedDict)
    yield ('ofa_proxyless_d234_e346_k357_w1.3.pth', layers_of(*once_for_all(1.3), 1664, mit_names(old, True), *mit),
           'classifier.linear', 1e-3, True, torch.float32, under('state_dict'))
    yield ('ofa-1.0-bfloat16.safetensors', layers_of(*once_for_all(1), 1280, mit_names(new, True), *mit),
           'classifier.linear', 1e-3, True, torch.bfloat16, dict)


def main():
    directory = sys.argv[1]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 224
    for seed, (name, layers, classifier, eps, elastic, dtype, wrap) in enumerate(networks()):
        pixels = random_pictures(size, 100 + seed)
        state = random_state(layers, classifier, eps, elastic, dtype, pixels, seed)
        logits = logits_of(layers, classifier, eps, state, pixels)
        path = os.path.join(directory, name)
        if name.endswith('.safetensors'):
            save_file(wrap(state), path)
        else:
            torch.save(wrap(state), path)
        save_file({'pixels': pixels.contiguous(), 'logits': logits.contiguous()}, path + '.golden')
        print(name)


main()
